"""The answer that the gateway gives itself, where no upstream has anything to add."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from typing import Any

from providers import wire_json
from providers.clients.base import UpstreamCall
from providers.translation.events import Event, ToolUse, encode
from providers.translation.usage import Usage, to_anthropic


class LocalAnswer:
    """An answer that needs no upstream. See `providers.clients.base.Answer`."""

    def __init__(self, text: str, stop_reason: str, call: UpstreamCall, dropped_fields: list[str]) -> None:
        self.usage = Usage()
        self.stop_reason: str | None = stop_reason
        self.is_empty = False
        self.notes: list[str] = []
        self.tool_uses: list[ToolUse] = []
        self.status = 200
        self.headers: list[tuple[str, str]] = []
        self.upstream_request_id = ""
        self.dropped_fields = dropped_fields
        # Nothing is booked. Clients meter their context by the input, which is there whether a model reads it or not.
        usage = to_anthropic(Usage(input_tokens=max(call.input_tokens_estimate, 1)))
        message: dict[str, Any] = {
            "id": call.message_id,
            "type": "message",
            "role": "assistant",
            "model": call.requested_model,
            "content": [],
            "stop_reason": None,
            "stop_sequence": None,
            "stop_details": None,
            "usage": usage,
        }
        self._events: list[Event] = [{"type": "message_start", "message": message}]
        if text:
            self._events += [
                {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
                {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": text}},
                {"type": "content_block_stop", "index": 0},
            ]
        delta = {"stop_reason": stop_reason, "stop_sequence": None, "stop_details": None}
        self._tail: list[Event] = [
            {"type": "message_delta", "delta": delta, "usage": usage},
            {"type": "message_stop"},
        ]
        self._message = {**message, **delta, "content": [{"type": "text", "text": text}] if text else []}

    async def pieces(self) -> AsyncIterator[bytes]:
        """Yield all but the end."""
        await asyncio.sleep(0)  # a generator that never awaits would not let others run
        yield encode(self._events)

    def tail(self) -> bytes:
        """Return the events that end the message."""
        return encode(self._tail)

    def interrupted(self) -> bytes:
        """Return nothing: no block is ever left open."""
        return b""

    async def message(self) -> bytes:
        """Return the whole message as JSON."""
        return wire_json.encode(self._message)

    def add_to_end(self, members: Mapping[str, Any]) -> None:
        """Add members to the delta that ends the message."""
        self._tail[0]["delta"].update(members)
        self._message.update(members)

    async def aclose(self) -> None:
        """Do nothing: there is no connection."""
