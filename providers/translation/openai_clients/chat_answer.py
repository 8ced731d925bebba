"""Answers for Chat Completions clients: an Anthropic message or its events -> completion or chunks."""

import json
from collections.abc import Iterable, Mapping
from typing import Any

from providers import wire_json
from providers.translation.events import Event
from providers.translation.openai_clients.errors import error_object
from providers.translation.usage import Usage, from_anthropic, update_anthropic

PING = b": ping\n\n"

_DONE = b"data: [DONE]\n\n"
_FINISH_REASONS = {
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "tool_use": "tool_calls",
    "refusal": "content_filter",
}
# The one member of the wrapper schema that a custom tool, whose input is free text, gets.
CUSTOM_INPUT = "input"


def finish_reason(stop_reason: Any) -> str:
    """Return the `finish_reason` of a stop reason; all that is no limit, call or refusal is a plain stop."""
    return _FINISH_REASONS.get(_text(stop_reason), "stop")


def usage_object(usage: Usage) -> dict[str, Any]:
    """Return the `usage` of a completion: `prompt_tokens` contains what was cached."""
    return {
        "prompt_tokens": usage.prompt_tokens,
        "completion_tokens": usage.output_tokens,
        "total_tokens": usage.prompt_tokens + usage.output_tokens,
        "prompt_tokens_details": {
            "cached_tokens": usage.cache_read_tokens,
            "cache_write_tokens": usage.cache_write_tokens,
        },
        "completion_tokens_details": {"reasoning_tokens": usage.thinking_tokens},
    }


class ChatEncoder:
    """Writes one answer as Chat Completions. See `providers.clients.front_end.AnswerEncoder`."""

    ping = PING

    def __init__(self, request: Mapping[str, Any], *, message_id: str, model: str, created: int) -> None:
        """`request` is the client's own; `created` the time in seconds since the epoch."""
        options = request.get("stream_options")
        self._shows_usage = isinstance(options, dict) and options.get("include_usage") is True
        self._custom_tools = custom_tools(request)
        self._is_legacy = not request.get("tools") and isinstance(request.get("functions"), list)
        self._envelope = {"id": f"chatcmpl-{message_id.removeprefix('msg_')}", "created": created, "model": model}
        self._usage = Usage()
        self._calls: dict[int, int] = {}  # index of a block -> number of its call
        self._bare: set[int] = set()  # indices of calls that have no arguments so far
        self._thinking: dict[int, list[str]] = {}  # index of a thinking block -> its text so far
        self._custom_text: dict[int, list[str]] = {}  # index of a custom tool's block -> its JSON so far

    def feed(self, events: Iterable[Event]) -> bytes:
        """Return the chunks for `events`; usage and `[DONE]` come with `message_stop`."""
        return b"".join([self._encode(event) for event in events])

    def message(self, message: dict[str, Any]) -> dict[str, Any]:
        """Return the completion that `message` is."""
        answer: dict[str, Any] = {"role": "assistant", "content": None, "refusal": None}
        texts, calls, details = [], [], []
        for block in _blocks_of(message):
            match block.get("type"):
                case "text":
                    texts.append(_text(block.get("text")))
                case "thinking":
                    details.append(_detail(_text(block.get("thinking")), block.get("signature")))
                case "tool_use":
                    calls.append(self._call(block))
        reason = finish_reason(message.get("stop_reason"))
        if any(texts) or not calls:
            answer["content"] = "".join(texts)
        if details:
            answer["reasoning_content"] = "".join(detail["text"] for detail in details)
            answer["reasoning_details"] = details
        if calls and self._is_legacy:
            answer["function_call"] = calls[0]["function"]
            reason = "function_call" if reason == "tool_calls" else reason
        elif calls:
            answer["tool_calls"] = calls
        if message.get("stop_reason") == "refusal":
            answer["refusal"] = _explanation(message) or None
        return {
            "id": self._envelope["id"],
            "object": "chat.completion",
            "created": self._envelope["created"],
            "model": self._envelope["model"],
            "choices": [{"index": 0, "message": answer, "logprobs": None, "finish_reason": reason}],
            "usage": usage_object(from_anthropic(message.get("usage"))),
        }

    def error(self, error_type: str, message: str, request_id: str) -> bytes:
        """Return the chunk that ends a broken stream; there is no `[DONE]` behind it."""
        return b"data: " + wire_json.encode(error_object(error_type, message)) + b"\n\n"

    def _encode(self, event: Event) -> bytes:
        match event["type"]:
            case "content_block_delta":
                return self._delta(event.get("index", 0), event.get("delta") or {})
            case "content_block_start":
                return self._start(event.get("index", 0), event.get("content_block") or {})
            case "content_block_stop":
                return self._stop(event.get("index", 0))
            case "message_start":
                update_anthropic(self._usage, (event.get("message") or {}).get("usage"))
                return self._chunk({"role": "assistant", "content": ""})
            case "message_delta":
                return self._finish(event)
            case "message_stop":
                return self._end()
            case "ping":
                return PING
        return b""

    def _start(self, index: int, block: dict[str, Any]) -> bytes:
        kind = _text(block.get("type"))
        if kind == "text" and block.get("text"):
            return self._chunk({"content": _text(block["text"])})
        if kind == "thinking":
            text = _text(block.get("thinking"))
            self._thinking[index] = [text]
            return self._chunk({"reasoning_content": text}) if text else b""
        if kind != "tool_use":
            return b""
        self._calls[index] = len(self._calls)
        name, tool_input = _text(block.get("name")), block.get("input")
        if name in self._custom_tools:
            self._custom_text[index] = [json.dumps(tool_input, ensure_ascii=False)] if tool_input else []
            call = {"id": _text(block.get("id")), "type": "custom", "custom": {"name": name, "input": ""}}
            return self._call_chunk(index, call)
        arguments = json.dumps(tool_input, ensure_ascii=False) if tool_input else ""
        if not arguments:
            self._bare.add(index)
        function = {"name": name, "arguments": arguments}
        if self._is_legacy:
            return self._chunk({"function_call": function}) if self._calls[index] == 0 else b""
        return self._call_chunk(index, {"id": _text(block.get("id")), "type": "function", "function": function})

    def _delta(self, index: int, delta: dict[str, Any]) -> bytes:
        match delta.get("type"):
            case "text_delta":
                return self._chunk({"content": _text(delta.get("text"))})
            case "thinking_delta":
                text = _text(delta.get("thinking"))
                self._thinking.setdefault(index, []).append(text)
                return self._chunk({"reasoning_content": text})
            case "signature_delta":
                # Whole, for a client that keeps it to send it back: the signature is over the text.
                text = "".join(self._thinking.get(index, ()))
                return self._chunk({"reasoning_details": [_detail(text, delta.get("signature"))]})
            case "input_json_delta" if index in self._calls:
                part = _text(delta.get("partial_json"))
                if index in self._custom_text:
                    # The text is inside a JSON string that may be cut anywhere: it is sent when it is whole.
                    self._custom_text[index].append(part)
                    return b""
                if part:
                    self._bare.discard(index)
                    return self._arguments(index, part)
        return b""

    def _arguments(self, index: int, part: str) -> bytes:
        if self._is_legacy:
            return self._chunk({"function_call": {"arguments": part}}) if self._calls[index] == 0 else b""
        return self._call_chunk(index, {"function": {"arguments": part}})

    def _stop(self, index: int) -> bytes:
        if index in self._bare:
            # A call without arguments has none on Anthropic's wire; clients parse what comes.
            self._bare.discard(index)
            return self._arguments(index, "{}")
        if index not in self._custom_text:
            return b""
        return self._call_chunk(index, {"custom": {"input": _custom_input("".join(self._custom_text.pop(index)))}})

    def _finish(self, event: Event) -> bytes:
        update_anthropic(self._usage, event.get("usage"))
        delta = event.get("delta") or {}
        reason = finish_reason(delta.get("stop_reason"))
        if reason == "tool_calls" and self._is_legacy:
            reason = "function_call"
        refusal = _explanation(delta) if delta.get("stop_reason") == "refusal" else None
        return self._chunk({"refusal": refusal} if refusal else {}, reason)

    def _end(self) -> bytes:
        if not self._shows_usage:
            return _DONE
        chunk = {**self._head(), "choices": [], "usage": usage_object(self._usage)}
        return b"data: " + wire_json.encode(chunk) + b"\n\n" + _DONE

    def _call_chunk(self, index: int, call: dict[str, Any]) -> bytes:
        return self._chunk({"tool_calls": [{"index": self._calls[index], **call}]})

    def _chunk(self, delta: dict[str, Any], finish: str | None = None) -> bytes:
        chunk = self._head()
        chunk["choices"] = [{"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}]
        if self._shows_usage:
            chunk["usage"] = None
        return b"data: " + wire_json.encode(chunk) + b"\n\n"

    def _head(self) -> dict[str, Any]:
        return {"id": self._envelope["id"], "object": "chat.completion.chunk", **self._envelope}

    def _call(self, block: dict[str, Any]) -> dict[str, Any]:
        name, tool_input = _text(block.get("name")), block.get("input")
        if name in self._custom_tools:
            text = _custom_input(json.dumps(tool_input, ensure_ascii=False))
            return {"id": _text(block.get("id")), "type": "custom", "custom": {"name": name, "input": text}}
        # Not orjson: integers beyond 64 bits must stay what they are.
        arguments = json.dumps(tool_input if isinstance(tool_input, dict) else {}, ensure_ascii=False)
        function = {"name": name, "arguments": arguments}
        return {"id": _text(block.get("id")), "type": "function", "function": function}


def custom_tools(request: Mapping[str, Any]) -> frozenset[str]:
    """Return the names of the request's custom tools, whose input is free text."""
    tools = request.get("tools")
    names = set()
    for tool in tools if isinstance(tools, list) else ():
        custom = tool.get("custom") if isinstance(tool, dict) and tool.get("type") == "custom" else None
        if isinstance(custom, dict) and isinstance(custom.get("name"), str):
            names.add(custom["name"])
    return frozenset(names)


def _custom_input(encoded: str) -> str:
    """Return the text in a custom tool's wrapper; what is no wrapper is the text itself."""
    try:
        wrapper = json.loads(encoded)
    except ValueError:
        return encoded
    text = wrapper.get(CUSTOM_INPUT) if isinstance(wrapper, dict) else None
    return text if isinstance(text, str) else encoded


def _detail(text: str, signature: Any) -> dict[str, Any]:
    return {"type": "reasoning.text", "text": text, "signature": signature}


def _explanation(stop: Mapping[str, Any]) -> str:
    details = stop.get("stop_details")
    return _text(details.get("explanation")) if isinstance(details, dict) else ""


def _blocks_of(message: dict[str, Any]) -> list[dict[str, Any]]:
    content = message.get("content")
    return [block for block in content if isinstance(block, dict)] if isinstance(content, list) else []


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""
