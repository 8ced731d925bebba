"""Messages and their events as Chat Completions: whole and streamed alike."""

import json
from typing import Any

import pytest

from providers.translation.events import (
    MessageBuilder,
    block_start,
    block_stop,
    input_delta,
    signature_delta,
    text_delta,
    thinking_delta,
)
from providers.translation.openai_clients.chat_answer import ChatEncoder, finish_reason

USAGE = {"input_tokens": 10, "cache_read_input_tokens": 4, "cache_creation_input_tokens": 1, "output_tokens": 7}
CUSTOM = {"type": "custom", "custom": {"name": "patch"}}


def encoder(**request: Any) -> ChatEncoder:
    return ChatEncoder(request, message_id="msg_abc", model="asked", created=5)


def message_events(*content: Any, stop: str = "end_turn", **delta: Any) -> list[dict[str, Any]]:
    message = {
        "id": "msg_abc", "type": "message", "role": "assistant", "model": "m", "content": [], "stop_reason": None,
        "stop_sequence": None, "usage": {"input_tokens": 99, "output_tokens": 0},
    }  # fmt: skip
    return [
        {"type": "message_start", "message": message},
        *content,
        {"type": "message_delta", "delta": {"stop_reason": stop, "stop_sequence": None, **delta}, "usage": USAGE},
        {"type": "message_stop"},
    ]


def text(index: int, *pieces: str) -> list[dict[str, Any]]:
    return [
        block_start(index, {"type": "text", "text": ""}), *(text_delta(index, piece) for piece in pieces), block_stop(index)
    ]  # fmt: skip


def tool(index: int, name: str, *pieces: str) -> list[dict[str, Any]]:
    block = {"type": "tool_use", "id": f"toolu_{index}", "name": name, "input": {}}
    return [block_start(index, block), *(input_delta(index, piece) for piece in pieces), block_stop(index)]


def thinking(index: int, *pieces: str) -> list[dict[str, Any]]:
    block = {"type": "thinking", "thinking": "", "signature": ""}
    deltas = [thinking_delta(index, piece) for piece in pieces]
    return [block_start(index, block), *deltas, signature_delta(index, "SIG"), block_stop(index)]


def streamed(events: list[dict[str, Any]], **request: Any) -> list[Any]:
    """Return the chunks, decoded; `[DONE]` as it is."""
    data = encoder(**request).feed(events).decode().split("\n\n")
    assert data.pop() == ""
    payloads = [item.removeprefix("data: ") for item in data]
    return [item if item == "[DONE]" else json.loads(item) for item in payloads]


def whole(events: list[dict[str, Any]], **request: Any) -> dict[str, Any]:
    builder = MessageBuilder()
    builder.feed(events)
    return encoder(**request).message(builder.build())


def deltas(chunks: list[Any]) -> list[dict[str, Any]]:
    return [chunk["choices"][0]["delta"] for chunk in chunks if chunk != "[DONE]" and chunk["choices"]]


def assembled(chunks: list[Any]) -> dict[str, Any]:
    """Return the message that a client puts together from the chunks."""
    message: dict[str, Any] = {"role": "assistant", "content": "", "refusal": None}
    calls: list[dict[str, Any]] = []
    for delta in deltas(chunks):
        for name in ("content", "reasoning_content"):
            if name in delta:
                message[name] = message.get(name, "") + delta[name]
        if "refusal" in delta:
            message["refusal"] = delta["refusal"]
        message.setdefault("reasoning_details", []).extend(delta.get("reasoning_details", ()))
        for call in delta.get("tool_calls", ()):
            if call["index"] == len(calls):
                calls.append(json.loads(json.dumps(call)))
                del calls[-1]["index"]
                continue
            kind = "custom" if "custom" in call else "function"
            for name, value in call[kind].items():
                calls[call["index"]][kind][name] += value
    if calls:
        message["tool_calls"] = calls
        message["content"] = message["content"] or None
    if not message["reasoning_details"]:
        del message["reasoning_details"]
    return message


CASES: dict[str, tuple[list[dict[str, Any]], dict[str, Any], str]] = {
    "text": (message_events(*text(0, "Hel", "lo")), {}, "stop"),
    "two texts": (message_events(*text(0, "a"), *text(1, "b")), {}, "stop"),
    "nothing": (message_events(), {}, "stop"),
    "length": (message_events(*text(0, "a"), stop="max_tokens"), {}, "length"),
    "thinking": (message_events(*thinking(0, "h", "m"), *text(1, "Yes")), {}, "stop"),
    "calls": (message_events(*tool(0, "f", '{"a"', ": 1}"), *tool(1, "g", "{}"), stop="tool_use"), {}, "tool_calls"),
    "text and a call": (message_events(*text(0, "Look"), *tool(1, "f", "{}"), stop="tool_use"), {}, "tool_calls"),
    "a call without arguments": (message_events(*tool(0, "f", ""), stop="tool_use"), {}, "tool_calls"),
    "custom tool": (
        message_events(*tool(0, "patch", '{"inp', 'ut": "a\\n\\"b"}'), stop="tool_use"), {"tools": [CUSTOM]}, "tool_calls"
    ),
    "refusal": (
        message_events(*text(0, "I"), stop="refusal", stop_details={"type": "refusal", "explanation": "No."}),
        {},
        "content_filter",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_stream_and_whole_answer_say_the_same(name: str) -> None:
    events, request, finish = CASES[name]
    chunks, completion = streamed(events, **request), whole(events, **request)
    assert assembled(chunks) == completion["choices"][0]["message"]
    assert completion["choices"][0]["finish_reason"] == chunks[-2]["choices"][0]["finish_reason"] == finish
    assert chunks[-1] == "[DONE]"
    assert chunks[0]["choices"][0]["delta"] == {"role": "assistant", "content": ""}
    envelope = {"id": "chatcmpl-abc", "created": 5, "model": "asked"}
    assert all(envelope.items() <= chunk.items() for chunk in [*chunks[:-1], completion])


def test_a_custom_tools_input_is_its_text() -> None:
    events, request, _finish = CASES["custom tool"]
    (call,) = whole(events, **request)["choices"][0]["message"]["tool_calls"]
    assert call == {"id": "toolu_0", "type": "custom", "custom": {"name": "patch", "input": 'a\n"b'}}


def test_a_signature_comes_with_the_whole_thought() -> None:
    events, request, _finish = CASES["thinking"]
    detail = {"type": "reasoning.text", "text": "hm", "signature": "SIG"}
    assert whole(events, **request)["choices"][0]["message"]["reasoning_details"] == [detail]


def test_legacy_functions_get_a_function_call() -> None:
    events = message_events(*tool(0, "f", '{"a"', ": 1}"), *tool(1, "g", "{}"), stop="tool_use")
    request = {"functions": [{"name": "f"}]}
    message = whole(events, **request)["choices"][0]
    assert (message["message"]["function_call"], message["finish_reason"]) == (
        {"name": "f", "arguments": '{"a": 1}'},
        "function_call",
    )
    parts = [delta["function_call"] for delta in deltas(streamed(events, **request)) if "function_call" in delta]
    assert "".join(part["arguments"] for part in parts) == '{"a": 1}'
    assert [part.get("name") for part in parts] == ["f", None, None]


def test_usage_contains_what_was_cached() -> None:
    expected = {
        "prompt_tokens": 15,
        "completion_tokens": 7,
        "total_tokens": 22,
        "prompt_tokens_details": {"cached_tokens": 4, "cache_write_tokens": 1},
        "completion_tokens_details": {"reasoning_tokens": 0},
    }
    events = CASES["text"][0]
    assert whole(events)["usage"] == expected
    *chunks, last, done = streamed(events, stream_options={"include_usage": True})
    assert done == "[DONE]"
    assert (last["choices"], last["usage"]) == ([], expected)
    assert all(chunk["usage"] is None for chunk in chunks)
    assert not any("usage" in chunk for chunk in streamed(events)[:-1])


@pytest.mark.parametrize(
    ("stop", "finish"),
    [
        *[(stop, "stop") for stop in ("end_turn", "stop_sequence", "pause_turn", "compaction", None)],
        *[(stop, "length") for stop in ("max_tokens", "model_context_window_exceeded")],
        ("tool_use", "tool_calls"),
        ("refusal", "content_filter"),
    ],
)
def test_each_stop_reason_has_a_finish_reason(stop: str | None, finish: str) -> None:
    assert finish_reason(stop) == finish


def test_a_ping_is_a_comment_and_what_is_unknown_is_nothing() -> None:
    events = [
        {"type": "ping"},
        {"type": "content_block_start", "index": 0, "content_block": {"type": "server_tool_use"}},
    ]
    assert encoder().feed([*events, {"type": "future"}]) == b": ping\n\n"


def test_an_error_ends_the_stream_without_done() -> None:
    data = encoder().error("overloaded_error", "busy", "req_1")
    assert data.startswith(b"data: ")
    assert data.endswith(b"\n\n")
    error = {"message": "busy", "type": "server_error", "param": None, "code": "overloaded_error"}
    assert json.loads(data[6:]) == {"error": error}
