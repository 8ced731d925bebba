"""Answers for Responses clients: an Anthropic message or its events -> Response object or its stream.

One state machine serves both: a whole message is replayed as the events it could have been.
Source: OpenAI Responses API reference, and the types of its Python SDK 3.54.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import orjson

from providers import wire_json
from providers.translation.events import (
    Event,
    block_start,
    block_stop,
    input_delta,
    signature_delta,
    text_delta,
    thinking_delta,
)
from providers.translation.openai_clients.responses_items import (
    CallItem,
    Item,
    MessageItem,
    ReasoningItem,
    SearchItem,
    arguments_of,
)
from providers.translation.openai_clients.responses_request import shows_summary
from providers.translation.openai_clients.responses_tools import ToolTable
from providers.translation.usage import from_anthropic

PING = b": ping\n\n"

_CUT = {
    "max_tokens": "max_output_tokens",
    "model_context_window_exceeded": "max_output_tokens",
    "refusal": "content_filter",
}
_TRUNCATED = ("max_tokens", "model_context_window_exceeded")
# Type of the Messages API -> code of a failed response. Codex retries all but the first two (version 0.169).
_ERROR_CODES = {
    "invalid_request_error": "invalid_prompt",
    "billing_error": "insufficient_quota",
    "rate_limit_error": "rate_limit_exceeded",
}
_SERVER_TOOLS = {"web_search": False, "web_fetch": True}  # name -> whether it fetches a page
# What of the request an answer repeats, with the value where the request is silent.
_ECHOED: dict[str, Any] = {
    "instructions": None,
    "max_output_tokens": None,
    "max_tool_calls": None,
    "metadata": {},
    "parallel_tool_calls": True,
    "prompt_cache_key": None,
    "safety_identifier": None,
    "temperature": None,
    "text": {"format": {"type": "text"}},
    "tool_choice": "auto",
    "tools": [],
    "top_p": None,
    "truncation": "disabled",
    "user": None,
}


class ResponsesEncoder:
    """Writes one answer in the Responses format. See `providers.clients.front_end.AnswerEncoder`."""

    ping = PING

    def __init__(self, request: Mapping[str, Any], *, message_id: str, model: str, created: int) -> None:
        """`request` is the client's own; `created` the time in seconds since the epoch."""
        self._request = request
        self._id = message_id.removeprefix("msg_")
        self._tools = ToolTable(request)
        include = request.get("include")
        self._include = include if isinstance(include, list) else []
        self._response = self._skeleton(model, created)
        self._out: list[bytes] = []
        self._sequence_number = 0
        self._has_started = False
        self._item_count = 0
        self._open: MessageItem | ReasoningItem | CallItem | SearchItem | None = None
        self._searches: dict[str, SearchItem] = {}  # without a result yet, by the id of their block
        self._held: list[CallItem] = []  # calls whose input is no JSON: cut off, or just wrong
        self._done: dict[int, Item] = {}
        self._usage: dict[str, Any] = {}
        self._stop: dict[str, Any] = {}

    def feed(self, events: Iterable[Event]) -> bytes:
        """Return the stream's events for those of a message; what ends it comes with `message_stop`."""
        for event in events:
            self._take(event)
        out, self._out = self._out, []
        return b"".join(out)

    def message(self, message: dict[str, Any]) -> dict[str, Any]:
        """Return the Response object that `message` is."""
        self.feed(_events_of(message))
        return self._response

    def error(self, error_type: str, message: str, request_id: str) -> bytes:
        """Return the event that ends a broken stream."""
        self._start()
        code = _ERROR_CODES.get(error_type, "server_error")
        if error_type == "invalid_request_error" and "prompt is too long" in message:
            code = "context_length_exceeded"  # makes agents compact the conversation
        text = f"{message} (request id {request_id})" if request_id else message
        self._response |= {"status": "failed", "error": {"code": code, "message": text}, "output": self._output()}
        self._emit("response.failed", {"response": self._response})
        return self.feed(())

    def _take(self, event: Event) -> None:
        match event["type"]:
            case "content_block_delta":
                self._delta(_mapping(event.get("delta")))
            case "content_block_start":
                self._begin(_mapping(event.get("content_block")))
            case "content_block_stop":
                self._end_block()
            case "message_start":
                self._merge_usage(_mapping(event.get("message")).get("usage"))
                self._start()
            case "message_delta":
                self._merge_usage(event.get("usage"))
                self._stop.update(_mapping(event.get("delta")))
            case "message_stop":
                self._finish()
            case "ping":
                self._out.append(PING)

    def _start(self) -> None:
        if not self._has_started:
            self._has_started = True
            self._emit("response.created", {"response": self._response})
            self._emit("response.in_progress", {"response": self._response})

    def _begin(self, block: dict[str, Any]) -> None:
        self._start()
        kind = block.get("type")
        if kind == "text":
            if not isinstance(self._open, MessageItem):
                self._close_open()
                self._open = MessageItem(self._emit, *self._next("msg"))
            self._open.begin_block()
            self._delta({"type": "text_delta", "text": block.get("text")})
            return
        if isinstance(kind, str) and kind.endswith("_tool_result"):
            search = self._searches.pop(_text(block.get("tool_use_id")), None)
            if search is not None:
                self._done[search.index] = search.close(block.get("content"))
            return
        self._close_open()
        if kind in ("thinking", "redacted_thinking"):
            self._open = ReasoningItem(
                self._emit,
                *self._next("rs"),
                block,
                is_shown=shows_summary(self._request.get("reasoning")),
                is_encrypted="reasoning.encrypted_content" in self._include,
            )
            self._open.add(_text(block.get("thinking")))
        elif kind == "tool_use":
            tool = self._tools.client_tool(_text(block.get("name")))
            self._open = CallItem(self._emit, *self._next(tool.id_prefix), _text(block.get("id")), tool)
            self._open.add(arguments_of(block.get("input")))
        elif kind == "server_tool_use" and _text(block.get("name")) in _SERVER_TOOLS:
            self._open = SearchItem(
                self._emit,
                *self._next("ws"),
                _text(block.get("id")),
                is_fetch=_SERVER_TOOLS[block["name"]],
                shows_sources="web_search_call.action.sources" in self._include,
            )
            self._open.add(arguments_of(block.get("input")))

    def _delta(self, delta: dict[str, Any]) -> None:
        item = self._open
        if isinstance(item, MessageItem):
            if delta.get("type") == "text_delta":
                self._add_text(item, _text(delta.get("text")))
            elif delta.get("type") == "citations_delta":
                item.cite(delta.get("citation"))
        elif isinstance(item, ReasoningItem):
            item.add(_text(delta.get("thinking")))
            item.sign(delta.get("signature"))
        elif item is not None:
            item.add(_text(delta.get("partial_json")))

    def _add_text(self, item: MessageItem, text: str) -> None:
        if not text:
            return
        item.add(text)
        # The common event, put together by hand: one short string is all there is to encode.
        try:
            encoded = orjson.dumps(text)
        except TypeError:  # lone surrogates
            encoded = wire_json.encode(text)
        self._out.append(
            b'event: response.output_text.delta\ndata: {"type":"response.output_text.delta","sequence_number":%d,'
            b'"item_id":"%b","output_index":%d,"content_index":0,"delta":%b,"logprobs":[]}\n\n'
            % (self._sequence_number, item.item_id.encode(), item.index, encoded)
        )
        self._sequence_number += 1

    def _end_block(self) -> None:
        if isinstance(self._open, MessageItem):
            self._open.end_block()
        else:
            self._close_open()

    def _close_open(self, *, is_cut: bool = False) -> None:
        item, self._open = self._open, None
        if item is None:
            return
        if isinstance(item, CallItem) and not item.is_whole:
            self._held.append(item)
        elif isinstance(item, SearchItem) and item.tool_use_id not in self._searches:
            self._searches[item.tool_use_id] = item
        elif isinstance(item, MessageItem):
            self._done[item.index] = item.close(is_cut=is_cut)
        else:
            self._done[item.index] = item.close()

    def _finish(self) -> None:
        self._start()
        reason = self._stop.get("stop_reason")
        incomplete = _CUT.get(reason) if isinstance(reason, str) else None
        if reason == "refusal":
            self._refuse(_mapping(self._stop.get("stop_details")).get("explanation"))
        self._close_open(is_cut=incomplete is not None)
        for search in self._searches.values():
            self._done[search.index] = search.close()
        if reason not in _TRUNCATED:
            for call in self._held:
                self._done[call.index] = call.close()
        status = "incomplete" if incomplete else "completed"
        if incomplete and self._done and (item := self._done[max(self._done)])["type"] == "message":
            item["status"] = "incomplete"  # also where a call that was cut off followed it
        self._response |= {"status": status, "output": self._output(), "usage": usage_object(self._usage)}
        if incomplete:
            self._response["incomplete_details"] = {"reason": incomplete}
        self._emit(f"response.{status}", {"response": self._response})

    def _refuse(self, explanation: Any) -> None:
        if not isinstance(explanation, str) or not explanation:
            return
        if not isinstance(self._open, MessageItem):
            self._begin({"type": "text"})
        if isinstance(self._open, MessageItem) and self._open.text != explanation:
            self._open.refuse(explanation)

    def _next(self, prefix: str) -> tuple[int, str]:
        """Return index and id of the next item."""
        index, self._item_count = self._item_count, self._item_count + 1
        return index, f"{prefix}_{self._id}_{index}"

    def _output(self) -> list[Item]:
        return [self._done[index] for index in sorted(self._done)]

    def _merge_usage(self, usage: Any) -> None:
        self._usage.update({name: value for name, value in _mapping(usage).items() if value is not None})

    def _emit(self, kind: str, members: dict[str, Any]) -> None:
        event = {"type": kind, "sequence_number": self._sequence_number, **members}
        self._sequence_number += 1
        self._out.append(b"event: %b\ndata: %b\n\n" % (kind.encode(), wire_json.encode(event)))

    def _skeleton(self, model: str, created: int) -> dict[str, Any]:
        request = self._request
        reasoning = _mapping(request.get("reasoning"))
        response: dict[str, Any] = {
            "id": f"resp_{self._id}",
            "object": "response",
            "created_at": created,
            "status": "in_progress",
            "background": False,
            "error": None,
            "incomplete_details": None,
            "model": model,
            "output": [],
            "previous_response_id": None,
            "reasoning": {"effort": reasoning.get("effort"), "summary": reasoning.get("summary")},
            "service_tier": "default",
            "store": False,
            "top_logprobs": 0,
            "usage": None,
        }
        for name, default in _ECHOED.items():
            value = request.get(name)
            response[name] = default if value is None or not _is_plain(value) else value
        return response


def usage_object(usage: dict[str, Any]) -> dict[str, Any]:
    """Return the `usage` of a response: `input_tokens` contains what was cached."""
    found = from_anthropic(usage)
    return {
        "input_tokens": found.prompt_tokens,
        "input_tokens_details": {
            "cached_tokens": found.cache_read_tokens,
            "cache_write_tokens": found.cache_write_tokens,
        },
        "output_tokens": found.output_tokens,
        "output_tokens_details": {"reasoning_tokens": found.thinking_tokens},
        "total_tokens": found.prompt_tokens + found.output_tokens,
    }


def _events_of(message: dict[str, Any]) -> Iterator[Event]:
    """Yield the events that `message` could have come as."""
    yield {"type": "message_start", "message": {**message, "content": []}}
    content = message.get("content")
    for index, block in enumerate(content if isinstance(content, list) else ()):
        if not isinstance(block, dict):
            continue
        kind = block.get("type")
        if kind == "text":
            yield block_start(index, {"type": "text", "text": ""})
            yield text_delta(index, _text(block.get("text")))
            citations = block.get("citations")
            for citation in citations if isinstance(citations, list) else ():
                delta = {"type": "citations_delta", "citation": citation}
                yield {"type": "content_block_delta", "index": index, "delta": delta}
        elif kind == "thinking":
            yield block_start(index, {"type": "thinking", "thinking": "", "signature": ""})
            yield thinking_delta(index, _text(block.get("thinking")))
            yield signature_delta(index, _text(block.get("signature")))
        elif kind in ("tool_use", "server_tool_use"):
            yield block_start(index, {**block, "input": {}})
            yield input_delta(index, arguments_of(block.get("input")))
        else:
            yield block_start(index, block)
        yield block_stop(index)
    delta = {name: message.get(name) for name in ("stop_reason", "stop_sequence", "stop_details")}
    yield {"type": "message_delta", "delta": delta, "usage": message.get("usage")}
    yield {"type": "message_stop"}


def _is_plain(value: Any) -> bool:
    """Say whether every encoder takes `value`: it stands in several events, and must not break the last of them."""
    try:
        orjson.dumps(value)
    except TypeError:
        return False
    return True


def _mapping(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""
