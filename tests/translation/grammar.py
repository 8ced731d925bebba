"""One strict checker of the Anthropic event grammar for every test of a stream, and a short notation of events."""

import re
from collections.abc import Iterable
from typing import Any

Event = dict[str, Any]

DELTAS = {
    "text": {"text_delta"},
    "thinking": {"thinking_delta", "signature_delta"},
    "tool_use": {"input_json_delta"},
    "server_tool_use": {"input_json_delta"},
    "web_search_tool_result": set(),
}
STOP_REASONS = {
    "end_turn",
    "max_tokens",
    "stop_sequence",
    "tool_use",
    "refusal",
    "model_context_window_exceeded",
}
TOOL_ID = re.compile(r"[a-zA-Z0-9_-]+")
SERVER_TOOL_ID = re.compile(r"srvtoolu_[a-zA-Z0-9_]+")
SEARCH_ERRORS = {"unavailable", "max_uses_exceeded", "query_too_long", "invalid_tool_input"}


def check(events: Iterable[Event], *, complete: bool = True) -> None:
    """Assert that events follow the grammar; with `complete` also that the message has its end.

    message_start (ping | block)* message_delta message_stop; a block is start delta* stop with the next index, one
    open at a time, nothing inside its start; thinking ends with exactly one signature; an error is the last event.
    Every server_tool_use has one web_search_tool_result behind it, which is whole in its start.
    """
    started = ended = False
    deltas_seen = 0
    open_block: Event | None = None
    next_index = 0
    signatures = 0
    ids: list[str] = []
    searches: set[str] = set()  # without a result yet
    failed = False
    for event in events:
        kind = event["type"]
        if kind == "ping":
            continue
        assert not ended, f"{kind} after message_stop"
        assert not failed, f"{kind} after an error"
        if kind == "error":
            assert open_block is None, "error inside a block"
            failed = True
            continue
        if kind == "message_start":
            assert not started, "second message_start"
            started = True
            _check_message(event["message"])
            continue
        assert started, f"{kind} before message_start"
        if kind == "content_block_start":
            assert open_block is None, "a block inside a block"
            assert deltas_seen == 0, "a block after message_delta"
            assert event["index"] == next_index, f"index {event['index']}, expected {next_index}"
            next_index += 1
            open_block, signatures = event, 0
            _check_start(event["content_block"], ids, searches)
        elif kind == "content_block_delta":
            assert open_block is not None, "delta outside of a block"
            assert event["index"] == open_block["index"], "delta for another block"
            delta = event["delta"]
            assert delta["type"] in DELTAS[open_block["content_block"]["type"]], f"{delta['type']} does not fit"
            assert signatures == 0, "a delta after the signature"
            signatures += delta["type"] == "signature_delta"
            value = next(value for name, value in delta.items() if name != "type")
            assert isinstance(value, str), f"{delta['type']} of {type(value).__name__}"
            assert value, f"empty {delta['type']}"
        elif kind == "content_block_stop":
            assert open_block is not None, "stop outside of a block"
            assert event["index"] == open_block["index"], "stop for another block"
            if open_block["content_block"]["type"] == "thinking":
                assert signatures == 1, "thinking without a signature"
            open_block = None
        elif kind == "message_delta":
            assert open_block is None, "message_delta inside a block"
            deltas_seen += 1
            assert deltas_seen == 1, "second message_delta"
            _check_end(event)
        elif kind == "message_stop":
            assert deltas_seen == 1, "message_stop without message_delta"
            ended = True
        else:
            raise AssertionError(f"unknown event {kind}")
    assert len(set(ids)) == len(ids), f"duplicate tool ids {ids}"
    if complete:
        assert ended or failed, "no end"
        assert failed or not searches, f"searches without a result: {searches}"


def _check_message(message: Event) -> None:
    assert message["type"] == "message"
    assert message["role"] == "assistant"
    assert message["id"]
    assert message["model"]
    assert message["content"] == []
    assert message["stop_reason"] is None
    assert message["usage"]["input_tokens"] >= 1
    assert message["usage"]["output_tokens"] == 0


def _check_start(block: Event, ids: list[str], searches: set[str]) -> None:
    if block["type"] == "tool_use":
        assert TOOL_ID.fullmatch(block["id"]), f"tool id {block['id']!r}"
        assert isinstance(block["name"], str)
        assert block["name"], "tool without a name"
        assert block["input"] == {}
        ids.append(block["id"])
    elif block["type"] == "server_tool_use":
        assert SERVER_TOOL_ID.fullmatch(block["id"]), f"server tool id {block['id']!r}"
        assert block == {"type": "server_tool_use", "id": block["id"], "name": "web_search", "input": {}}
        ids.append(block["id"])
        searches.add(block["id"])
    elif block["type"] == "web_search_tool_result":
        assert set(block) == {"type", "tool_use_id", "content"}
        assert block["tool_use_id"] in searches, "a result without a search"
        searches.remove(block["tool_use_id"])
        _check_results(block["content"])
    elif block["type"] == "thinking":
        assert block == {"type": "thinking", "thinking": "", "signature": ""}
    else:
        assert block == {"type": "text", "text": ""}


def _check_results(content: Any) -> None:
    if isinstance(content, dict):
        assert set(content) == {"type", "error_code"}
        assert content["type"] == "web_search_tool_result_error"
        assert content["error_code"] in SEARCH_ERRORS
        return
    for result in content:
        assert set(result) == {"type", "url", "title", "encrypted_content", "page_age"}
        assert result["type"] == "web_search_result"
        assert result["url"].startswith("http")
        assert isinstance(result["title"], str)
        assert isinstance(result["encrypted_content"], str)
        assert result["page_age"] is None or isinstance(result["page_age"], str)


def _check_end(event: Event) -> None:
    assert event["delta"]["stop_reason"] in STOP_REASONS
    assert set(event["delta"]) == {"stop_reason", "stop_sequence", "stop_details"}
    assert (event["delta"]["stop_sequence"] is not None) == (event["delta"]["stop_reason"] == "stop_sequence")
    assert (event["delta"]["stop_details"] is not None) == (event["delta"]["stop_reason"] == "refusal")
    usage = event["usage"]
    for name in ("input_tokens", "output_tokens", "cache_read_input_tokens", "cache_creation_input_tokens"):
        assert isinstance(usage[name], int)
        assert usage[name] >= 0
    assert usage["input_tokens"] >= 1


def outline(events: Iterable[Event]) -> list[str]:
    """Return events in short: `S0 text`, `S1 tool_use(id,Name)`, `D0 "x"`, `X0`, `MD(end_turn)`, `MS`."""
    lines = []
    for event in events:
        match event["type"]:
            case "content_block_start":
                block = event["content_block"]
                call = f"({block['id']},{block['name']})" if block["type"] in ("tool_use", "server_tool_use") else ""
                lines.append(f"S{event['index']} {block['type']}{call}")
            case "content_block_delta":
                delta = event["delta"]
                if delta["type"] == "signature_delta":
                    lines.append(f"D{event['index']} signature")
                else:
                    value = next(value for name, value in delta.items() if name != "type")
                    lines.append(f"D{event['index']} {value}")
            case "content_block_stop":
                lines.append(f"X{event['index']}")
            case "message_delta":
                lines.append(f"MD({event['delta']['stop_reason']})")
            case "message_stop":
                lines.append("MS")
            case "message_start":
                continue
    return lines
