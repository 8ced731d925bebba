"""Anthropic stream events: to bytes, and to the message that a client without a stream gets.

Grammar: `message_start (ping | block)* message_delta message_stop`, block = `start delta* stop`, indices 0, 1, 2, …
Content travels in deltas only: Claude Code discards what a `content_block_start` holds (version 2.1.330), and both
official SDKs ignore events without an `event:` line.
"""

import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import orjson

from providers import wire_json
from providers.translation.arguments import RAW_KEY

Event = dict[str, Any]

PING = b'event: ping\ndata: {"type":"ping"}\n\n'

_TRUNCATED = frozenset({"max_tokens", "model_context_window_exceeded"})


def encode(events: Iterable[Event]) -> bytes:
    """Return events as server-sent events, each `event: TYPE`, `data: JSON` in one line, and a blank line."""
    pieces = []
    for event in events:
        kind = event["type"]
        try:
            if kind == "content_block_delta":
                # The common event, put together by hand: one short string is all there is to encode.
                delta = event["delta"]
                if delta["type"] == "text_delta":
                    pieces.append(
                        b'event: content_block_delta\ndata: {"type":"content_block_delta","index":%d,'
                        b'"delta":{"type":"text_delta","text":%b}}\n\n' % (event["index"], orjson.dumps(delta["text"]))
                    )
                    continue
            pieces.append(b"event: %b\ndata: %b\n\n" % (kind.encode(), orjson.dumps(event)))
        except TypeError:  # lone surrogates
            pieces.append(b"event: %b\ndata: %b\n\n" % (kind.encode(), wire_json.encode(event)))
    return b"".join(pieces)


def text_delta(index: int, text: str) -> Event:
    return {"type": "content_block_delta", "index": index, "delta": {"type": "text_delta", "text": text}}


def thinking_delta(index: int, thinking: str) -> Event:
    return {"type": "content_block_delta", "index": index, "delta": {"type": "thinking_delta", "thinking": thinking}}


def signature_delta(index: int, signature: str) -> Event:
    return {"type": "content_block_delta", "index": index, "delta": {"type": "signature_delta", "signature": signature}}


def input_delta(index: int, partial_json: str) -> Event:
    return {
        "type": "content_block_delta",
        "index": index,
        "delta": {"type": "input_json_delta", "partial_json": partial_json},
    }


def block_start(index: int, block: dict[str, Any]) -> Event:
    return {"type": "content_block_start", "index": index, "content_block": block}


def block_stop(index: int) -> Event:
    return {"type": "content_block_stop", "index": index}


@dataclass(slots=True, eq=False)
class ToolUse:
    """A tool call as the client gets it."""

    id: str
    name: str
    pieces: list[str] = field(default_factory=list)  # its input as partial JSON, as in the deltas

    @property
    def input(self) -> dict[str, Any] | None:
        """The input; None where it is no JSON object, which the client does not run."""
        return _tool_input("".join(self.pieces))


class MessageBuilder:
    """Puts events together to the message of the non-streaming API, as the official SDKs do, with two differences.

    Input that is no JSON becomes `{"__raw_arguments": text}`, which the client's schema check reports to the model;
    and a call that the output limit cut off is left out, so that half a call is never run.
    """

    def __init__(self) -> None:
        self._message: dict[str, Any] | None = None
        self._blocks: list[dict[str, Any]] = []
        self._pieces: list[list[str]] = []

    def feed(self, events: Iterable[Event]) -> None:
        """Take the next events, in order."""
        for event in events:
            match event["type"]:
                case "content_block_delta":
                    self._delta(event["index"], event["delta"])
                case "content_block_start":
                    self._blocks.append(dict(event["content_block"]))
                    self._pieces.append([])
                case "message_start":
                    message = dict(event["message"])
                    message["usage"] = dict(message["usage"])
                    self._message = message
                case "message_delta":
                    self._finish(event)

    def build(self) -> dict[str, Any]:
        """Return the message. Raises `ValueError` when no `message_start` came."""
        if self._message is None:
            raise ValueError("no message_start")
        content = []
        for block, pieces in zip(self._blocks, self._pieces, strict=True):
            joined = "".join(pieces)
            if block["type"] == "text":
                block = {**block, "text": joined}
            elif block["type"] == "thinking":
                block = {**block, "thinking": joined}
            elif block["type"] in ("tool_use", "server_tool_use"):
                tool_input = _tool_input(joined)
                if tool_input is None:
                    if self._message["stop_reason"] in _TRUNCATED:
                        continue
                    tool_input = {RAW_KEY: joined}
                block = {**block, "input": tool_input}
            content.append(block)
        # SDK users index content[0].
        return {**self._message, "content": content or [{"type": "text", "text": ""}]}

    def _delta(self, index: int, delta: dict[str, Any]) -> None:
        match delta["type"]:
            case "text_delta":
                self._pieces[index].append(delta["text"])
            case "input_json_delta":
                self._pieces[index].append(delta["partial_json"])
            case "thinking_delta":
                self._pieces[index].append(delta["thinking"])
            case "signature_delta":
                self._blocks[index]["signature"] = delta["signature"]

    def _finish(self, event: Event) -> None:
        if self._message is None:
            raise ValueError("message_delta before message_start")
        self._message.update(event["delta"])
        self._message["usage"].update({name: value for name, value in event["usage"].items() if value is not None})


def _tool_input(text: str) -> dict[str, Any] | None:
    if not text:
        return {}
    try:
        # Not orjson: it turns integers beyond 64 bits into floats.
        tool_input = json.loads(text)
    except (ValueError, RecursionError):
        return None
    if not isinstance(tool_input, dict):
        return None
    if RAW_KEY in tool_input:
        # The stream could only append the unparsable text to what it had sent; here it can stand alone.
        return {RAW_KEY: tool_input[RAW_KEY]}
    return tool_input
