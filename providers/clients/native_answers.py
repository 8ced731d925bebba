"""The answers of Messages endpoints, relayed as received.

Looked at, in passing: usage, the stop reason, and errors.
"""

import asyncio
import re
from collections.abc import Iterator, Mapping
from typing import Any

from providers import wire_json
from providers.clients import event_bytes
from providers.clients.anthropic_headers import relayed_headers, request_id, sends_own_credential
from providers.clients.base import UpstreamCall
from providers.clients.event_bytes import EventBuffer
from providers.clients.http import UpstreamStream
from providers.clients.relayed import Relayed, WholeBody, WholeEvents
from providers.errors import UpstreamError, classify_payload
from providers.target import Target
from providers.translation.events import MessageBuilder
from providers.translation.usage import Usage, from_anthropic, merge_anthropic

# Only events that may be of these types are decoded.
_WATCHED = re.compile(rb'"(?:message_start|message_delta|message_stop|error)"')
# From the first of these on, the answer is the client's and no other upstream can take over.
_SAYS = re.compile(rb'"(?:content_block_start|content_block_delta|message_delta|message_stop)"')
_CONTENT = b'"content_block_'
# How long message_start is held back for an error right behind it, with which another target can still take over.
GRACE_S = 0.25
# What a delta weighs on the wire besides its text, for an estimate where no usage came.
_DELTA_OVERHEAD_BYTES = 130
_BYTES_PER_TOKEN = 4
_MAX_ERROR_BYTES = 1024 * 1024


def is_event_stream(headers: Mapping[str, str]) -> bool:
    """Say whether a body may be a stream: some servers give theirs another type, but never these."""
    content_type = headers.get("content-type", "").lower()
    return "json" not in content_type and "html" not in content_type


class _NativeAnswer(Relayed):
    """What both forms of an answer have. See `providers.clients.base.Answer`."""

    def __init__(self, stream: UpstreamStream, target: Target, call: UpstreamCall) -> None:
        super().__init__(stream, target, request_id(stream.headers))
        self.headers = relayed_headers(stream.headers)
        self.is_empty = False
        self._usage = Usage()
        self._input_tokens_estimate = call.input_tokens_estimate
        self._is_passthrough = call.is_passthrough
        self._relays_auth = sends_own_credential(target, call)

    @property
    def usage(self) -> Usage:
        """The usage so far: the upstream's, completed by an estimate where it reports nothing."""
        usage = self._usage
        if not usage.prompt_tokens:
            usage.input_tokens = max(self._input_tokens_estimate, 1)
            usage.is_estimated = True
        return usage

    def _error_in(self, payload: Any, body: bytes) -> UpstreamError:
        """Return the error that `payload`, decoded from `body`, reports under a 200."""
        error = classify_payload(payload, provider=self._target.provider_name, kind=self._target.kind)
        error.request_id = error.request_id or self.upstream_request_id
        if error.status is None or error.status < 400:
            error.status = 502  # relayed verbatim, it must not look like a success
        error.relays_auth = self._relays_auth
        error.body = body
        error.headers = (("content-type", "application/json"), *self.headers)
        return error


class NativeMessage(WholeBody, _NativeAnswer):
    """The answer to a client that asked for no stream, or whose server gives none."""

    def __init__(self, stream: UpstreamStream, target: Target, call: UpstreamCall) -> None:
        super().__init__(stream, target, call)
        if call.streamed:  # passed through: not what was asked for
            self.headers.append(("content-type", stream.headers.get("content-type", "application/json")))

    async def start(self, before: float) -> None:
        """Read the whole answer. Raises `UpstreamError` where it is no message."""
        self._body = await self._whole(before)
        self._ended = True
        try:
            self._read_message()
        except UpstreamError as error:
            if self._is_passthrough and self._body:
                # The client's to judge, whatever it is.
                error.status, error.body, error.relays_auth = self.status, self._body, True
                content_type = self._stream.headers.get("content-type", "application/json")
                error.headers = (("content-type", content_type), *self.headers)
            raise

    def _read_message(self) -> None:
        body = self._body
        try:
            message = wire_json.decode(body)
        except ValueError as error:
            raise self._bad_response("the answer is not JSON" if body.strip() else "the answer is empty") from error
        if isinstance(message, dict) and (message.get("type") == "error" or message.get("error")):
            raise self._error_in(message, body)
        if not isinstance(message, dict) or not isinstance(message.get("content"), list):
            raise self._bad_response("the answer is not a message")
        self.stop_reason = _text_or_none(message.get("stop_reason"))
        self.upstream_model = _text_or_none(message.get("model")) or ""
        self._usage = from_anthropic(message.get("usage"))
        self.is_empty = not message["content"] and self.stop_reason in (None, "end_turn")
        if not self._usage.output_tokens and message["content"]:
            self._usage.output_tokens = max(1, len(body) // _BYTES_PER_TOKEN)
            self._usage.is_estimated = True


class NativeStream(WholeEvents, _NativeAnswer):
    """The answer to a client that asked for a stream: whole events, as received."""

    def __init__(self, stream: UpstreamStream, target: Target, call: UpstreamCall) -> None:
        super().__init__(stream, target, call)
        self._events = EventBuffer()
        self._ready: list[bytes] = []  # read before the client was answered
        self._tail = b""  # message_stop and what came with it
        self._error: UpstreamError | None = None  # reported by the upstream, behind what is to be relayed
        self._first: bytes | None = None  # the first bytes of a passed-through body
        self._reading: asyncio.Task[bytes | None] | None = None  # a read that outlasted the grace
        self._has_started = False
        self._says = False
        self._has_content = False
        self._has_output_usage = False
        self._delta_count = 0
        self._delta_bytes = 0

    @property
    def usage(self) -> Usage:
        """The usage so far; of an answer that was cut, the output is estimated from what came."""
        usage = super().usage
        if not self._has_output_usage and self._delta_count:
            text_bytes = self._delta_bytes - self._delta_count * _DELTA_OVERHEAD_BYTES
            estimate = max(text_bytes // _BYTES_PER_TOKEN, self._delta_count)
            if estimate > usage.output_tokens:
                usage.output_tokens = estimate
                usage.is_estimated = True
        return usage

    async def start(self, before: float) -> None:
        """Read up to the first event of content, or `GRACE_S` beyond message_start.

        Raises `UpstreamError` where an error or nothing comes before. What is passed through counts from its first
        byte, whatever it says.
        """
        if self._is_passthrough:
            self._first = await self._read(before)
            if self._first is None:
                raise self._bad_response("the answer is empty")
            return
        if not is_event_stream(self._stream.headers):
            raise await self._without_stream(before)
        until: float | None = None
        while not self._ended and (not self._says or self.is_empty):
            if self._has_started:
                until = until or asyncio.get_running_loop().time() + GRACE_S
                if not await self._arrives(until):
                    self.is_empty = False  # whoever takes its place needs it whole
                    break
            piece = await self._advance(None if self._has_started else before)
            if self._error is not None and not self._says:
                raise self._error
            if piece:
                self._ready.append(piece)

    async def _arrives(self, until: float) -> bool:
        """Say whether more of the body comes before the loop time `until`. The read goes on if it does not."""
        if self._reading is None:
            self._reading = asyncio.ensure_future(self._stream.read())
        await asyncio.wait({self._reading}, timeout=max(until - asyncio.get_running_loop().time(), 0))
        return self._reading.done()

    async def _read(self, before: float | None = None) -> bytes | None:
        if self._first is not None:
            first, self._first = self._first, None
            return first
        if self._reading is not None:
            reading, self._reading = self._reading, None
            return await reading
        return await self._stream.read(before=before)

    async def aclose(self) -> None:
        """Close the connection, at once if the answer has not ended."""
        if self._reading is not None:
            self._reading.cancel()
            await asyncio.wait({self._reading})
            if not self._reading.cancelled():
                self._reading.exception()  # of no interest any more
            self._reading = None
        await super().aclose()

    def tail(self) -> bytes:
        """Return the event message_stop, and what came with it."""
        return self._tail

    async def message(self) -> bytes:
        """Return the message that the events make. Raises `UpstreamError`."""
        builder = MessageBuilder()
        events = b"".join([piece async for piece in self.pieces()])
        builder.feed(event for _begin, _data, event in _events_in(events, watched=None) if event is not None)
        return wire_json.encode(builder.build())

    async def _advance(self, before: float | None = None) -> bytes:
        """Return the next whole events that may be relayed; b"" while an event is incomplete."""
        if self._error is not None:
            raise self._error
        data = await self._read(before)
        if data is None:
            return self._end()
        try:
            block = self._events.feed(data)
        except ValueError as error:
            raise self._bad_response(str(error)) from error
        return self._look(block) if block else b""

    def _look(self, block: bytes) -> bytes:
        """Read usage, stop reason and errors from whole events; return those before message_stop or an error."""
        if deltas := block.count(b"content_block_delta"):
            self._delta_count += max(deltas // 2, 1)  # once in `event:`, once in `data:`
            self._delta_bytes += len(block)
        if _WATCHED.search(block) is None:
            self._says = self._has_content = self._says or _SAYS.search(block) is not None
            return block
        for begin, data, event in _events_in(block):
            if event is None:
                continue
            kind = event.get("type")
            if kind == "message_start":
                self._has_started = True
                message = event.get("message")
                if isinstance(message, dict):
                    self.upstream_model = _text_or_none(message.get("model")) or ""
                    merge_anthropic(self._usage, message.get("usage"))
            elif kind == "message_delta":
                usage, delta = event.get("usage"), event.get("delta")
                merge_anthropic(self._usage, usage)
                self._has_output_usage = isinstance(usage, dict) and bool(usage.get("output_tokens"))
                if isinstance(delta, dict):
                    self.stop_reason = _text_or_none(delta.get("stop_reason")) or self.stop_reason
                self._has_content = self._has_content or block.find(_CONTENT, 0, begin) >= 0
                self.is_empty = not self._has_content and self.stop_reason in (None, "end_turn")
            elif kind == "message_stop":
                self._ended = self._says = True
                self._tail = block[begin:]
                return block[:begin]
            elif kind == "error" or (kind is None and event.get("error")):
                self._says = self._says or _SAYS.search(block, 0, begin) is not None
                self._error = self._error_in(event, data)
                return block[:begin]
        self._says = self._says or _SAYS.search(block) is not None
        self._has_content = self._has_content or _CONTENT in block
        return block

    def _end(self) -> bytes:
        """Take what came before the body ended. Raises `UpstreamError` if that is no end of a message."""
        block = self._events.rest()
        relayed = self._look(block) if block.strip() else b""
        if self._error is not None:
            raise self._error
        if not self._ended and self.stop_reason is None:
            cut = self._bad_response(
                "the answer was cut off" if self._has_started or self._says else "the answer is empty"
            )
            if not self._is_passthrough or self._has_started or not block:
                raise cut
            self._error = cut  # behind what is no stream of events at all
            return block
        self._ended = True
        return relayed

    async def _without_stream(self, before: float) -> UpstreamError:
        """Return what a body that is no stream means."""
        body = bytearray()
        while len(body) < _MAX_ERROR_BYTES and (data := await self._read(before)) is not None:
            body += data
        try:
            payload = wire_json.decode(bytes(body))
        except ValueError:
            return self._bad_response("the answer is not an event stream")
        if isinstance(payload, dict) and (payload.get("type") == "error" or payload.get("error")):
            return self._error_in(payload, bytes(body))
        return self._bad_response("the answer is not an event stream")


def _events_in(
    block: bytes, watched: re.Pattern[bytes] | None = _WATCHED
) -> Iterator[tuple[int, bytes, dict[str, Any] | None]]:
    """Yield where each event of `block` begins, its data, and what the data hold.

    That is None for what is no object, or cannot be of a `watched` type.
    """
    for begin, event in event_bytes.split(block):
        data, document = b"", None
        if watched is None or watched.search(event) is not None:
            data = event_bytes.data_of(event)
            try:
                document = wire_json.decode(data)
            except ValueError:
                document = None
        yield begin, data, document if isinstance(document, dict) else None


def _text_or_none(value: Any) -> str | None:
    return value if isinstance(value, str) else None
