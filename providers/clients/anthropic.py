"""The client of Anthropic Messages upstreams: bytes in, bytes out.

Nothing is decoded and encoded again: new fields, betas and signatures of a client newer than we are must arrive, and
its own retry logic matches the upstream's words (Claude Code LLM gateway protocol, read 2026-08). Looked at, in
passing: usage, the stop reason, and errors.
"""

import asyncio
import re
from collections.abc import AsyncIterator, Iterator
from typing import Any

from providers import wire_json
from providers.clients.anthropic_headers import relayed_headers, request_headers, request_id
from providers.clients.base import Answer, NotChanged, UpstreamCall
from providers.clients.http import UpstreamStream, post
from providers.clients.native_body import content_for
from providers.errors import ErrorKind, UpstreamError, classify, classify_payload
from providers.presets import endpoint
from providers.target import Secret, Target
from providers.translation.events import MessageBuilder
from providers.translation.usage import Usage, from_anthropic, merge_anthropic

_EVENT_END = re.compile(rb"\r?\n\r?\n")
# Only events that may be of these types are decoded.
_WATCHED = re.compile(rb'"(?:message_start|message_delta|message_stop|error)"')
# From the first of these on, the answer is the client's and no other upstream can take over.
_SAYS = re.compile(rb'"(?:content_block_start|content_block_delta|message_delta|message_stop)"')
# What a delta weighs on the wire besides its text, for an estimate where no usage came.
_DELTA_OVERHEAD_BYTES = 130
_BYTES_PER_TOKEN = 4
_MAX_MESSAGE_BYTES = 64 * 1024 * 1024
_MAX_ERROR_BYTES = 1024 * 1024
# A body above this is changed off the event loop: a megabyte takes 10 ms.
_CHANGED_IN_THREAD_BYTES = 256 * 1024


class AnthropicClient:
    """Speaks Anthropic Messages."""

    async def open(self, target: Target, secret: Secret | None, call: UpstreamCall) -> Answer:
        """Ask `target` in the client's own words; see `providers.clients.base.Client`. Raises `UpstreamError`."""
        url = endpoint(target.base_url, "anthropic", "/messages") + (f"?{call.query}" if call.query else "")
        content = (
            content_for(target, call)
            if len(call.raw) < _CHANGED_IN_THREAD_BYTES
            else await asyncio.to_thread(content_for, target, call)
        )
        headers = request_headers(target, secret, call)
        now = asyncio.get_running_loop().time()
        deadline = now + target.timeouts.total_s
        # Without a stream the first byte comes with the last.
        before = now + target.timeouts.first_event_s if call.streamed else deadline
        stream = await post(target, url, headers, content, before=before, deadline=deadline, recording=call.recording)
        try:
            if stream.status != 200:
                raise await _error_of(stream, target, secret)
            answer_type = NativeStream if call.streamed else NativeMessage
            answer = answer_type(stream, target, call.input_tokens_estimate)
            await answer.start(before)
        except BaseException:
            await stream.aclose()
            raise
        return answer


class _NativeAnswer(NotChanged):
    """What both forms of an answer have. See `providers.clients.base.Answer`."""

    def __init__(
        self,
        stream: UpstreamStream,
        target: Target,
        input_tokens_estimate: int,
    ) -> None:
        self.status = stream.status
        self.headers = relayed_headers(stream.headers)
        self.upstream_request_id = request_id(stream.headers)
        self.dropped_fields: list[str] = []
        self.stop_reason: str | None = None
        self.is_empty = False
        self.upstream_model = ""  # what the upstream says it answered with: relays substitute
        self._usage = Usage()
        self._input_tokens_estimate = input_tokens_estimate
        self._stream = stream
        self._target = target
        self._ended = False

    @property
    def usage(self) -> Usage:
        """The usage so far: the upstream's, completed by an estimate where it reports nothing."""
        usage = self._usage
        if not usage.prompt_tokens:
            usage.input_tokens = max(self._input_tokens_estimate, 1)
            usage.is_estimated = True
        return usage

    @property
    def notes(self) -> list[str]:
        """What was odd: relays that answer with another model than was asked for."""
        if self.upstream_model in ("", self._target.model_id):
            return []
        return [f"the upstream says it answered with {self.upstream_model[:100]}"]

    async def aclose(self) -> None:
        """Close the connection, at once if the answer has not ended."""
        await self._stream.aclose(finished=self._ended)

    async def _read(self, before: float | None = None) -> bytes | None:
        return await self._stream.read(before=before)

    def _bad_response(self, message: str) -> UpstreamError:
        return UpstreamError(
            ErrorKind.BAD_RESPONSE, message, status=self.status, provider=self._target.provider_name,
            request_id=self.upstream_request_id,
        )  # fmt: skip

    def _error_in(self, payload: Any, body: bytes) -> UpstreamError:
        """Return the error that `payload`, decoded from `body`, reports under a 200."""
        error = classify_payload(payload, provider=self._target.provider_name, kind=self._target.kind)
        error.request_id = error.request_id or self.upstream_request_id
        if error.status is None or error.status < 400:
            error.status = 502  # relayed verbatim, it must not look like a success
        error.body = body
        error.headers = (("content-type", "application/json"), *self.headers)
        return error


class NativeMessage(_NativeAnswer):
    """The answer to a client that asked for no stream."""

    _body = b""

    async def start(self, before: float) -> None:
        """Read the whole answer. Raises `UpstreamError` where it is no message."""
        body = bytearray()
        while (data := await self._read(before)) is not None:
            body += data
            if len(body) > _MAX_MESSAGE_BYTES:
                raise self._bad_response("the answer is larger than 64 MiB")
        self._body = bytes(body)
        self._ended = True
        try:
            message = wire_json.decode(self._body)
        except ValueError as error:
            raise self._bad_response("the answer is not JSON" if body.strip() else "the answer is empty") from error
        if isinstance(message, dict) and (message.get("type") == "error" or message.get("error")):
            raise self._error_in(message, self._body)
        if not isinstance(message, dict) or not isinstance(message.get("content"), list):
            raise self._bad_response("the answer is not a message")
        self.stop_reason = _text_or_none(message.get("stop_reason"))
        self.upstream_model = _text_or_none(message.get("model")) or ""
        self._usage = from_anthropic(message.get("usage"))
        self.is_empty = not message["content"] and self.stop_reason in (None, "end_turn")
        if not self._usage.output_tokens and message["content"]:
            self._usage.output_tokens = max(1, len(self._body) // _BYTES_PER_TOKEN)
            self._usage.is_estimated = True

    async def pieces(self) -> AsyncIterator[bytes]:
        """Yield the body: there is no stream to a client that asked for none."""
        await asyncio.sleep(0)
        yield self._body

    def tail(self) -> bytes:
        """Return nothing: the body is whole."""
        return b""

    def interrupted(self) -> bytes:
        """Return nothing: a body cannot be interrupted, it has been read."""
        return b""

    async def message(self) -> bytes:
        """Return the body as received."""
        return self._body


class NativeStream(_NativeAnswer):
    """The answer to a client that asked for a stream: whole events, as received."""

    def __init__(
        self,
        stream: UpstreamStream,
        target: Target,
        input_tokens_estimate: int,
    ) -> None:
        super().__init__(stream, target, input_tokens_estimate)
        self._pending = bytearray()  # the beginning of an event
        self._ready: list[bytes] = []  # read before the client was answered
        self._tail = b""  # message_stop and what came with it
        self._error: UpstreamError | None = None  # reported by the upstream, behind what is to be relayed
        self._has_started = False
        self._says = False
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
        """Read up to the first event of content. Raises `UpstreamError` where an error or nothing comes before it."""
        content_type = self._stream.headers.get("content-type", "").lower()
        if "json" in content_type or "html" in content_type:
            raise await self._without_stream(before)
        while not self._ended and not self._says:
            piece = await self._advance(None if self._has_started else before)
            if self._error is not None and not self._says:
                raise self._error
            if piece:
                self._ready.append(piece)

    async def pieces(self) -> AsyncIterator[bytes]:
        """Yield whole events as received, up to message_stop. Raises `UpstreamError`."""
        ready, self._ready = b"".join(self._ready), []
        if ready:
            yield ready
        while not self._ended:
            piece = await self._advance()
            if piece:
                yield piece

    def tail(self) -> bytes:
        """Return the event message_stop, and what came with it."""
        return self._tail

    def interrupted(self) -> bytes:
        """Return nothing: only whole events were relayed, and an error event may follow any of them."""
        return b""

    async def message(self) -> bytes:
        """Return the message that the events make. Raises `UpstreamError`."""
        builder = MessageBuilder()
        events = b"".join([piece async for piece in self.pieces()])
        builder.feed(event for _begin, event in _events_in(events, watched=None) if event is not None)
        return wire_json.encode(builder.build())

    async def _advance(self, before: float | None = None) -> bytes:
        """Return the next whole events that may be relayed; b"" while an event is incomplete."""
        if self._error is not None:
            raise self._error
        data = await self._read(before)
        if data is None:
            return self._end()
        if not self._pending and data.endswith(b"\n\n"):
            block = data
        else:
            searched = max(len(self._pending) - 3, 0)
            self._pending += data
            if len(self._pending) > _MAX_MESSAGE_BYTES:
                raise self._bad_response("an event is larger than 64 MiB")
            lf, crlf = self._pending.rfind(b"\n\n", searched), self._pending.rfind(b"\r\n\r\n", searched)
            end = max(lf + 2 if lf >= 0 else 0, crlf + 4 if crlf >= 0 else 0)
            if not end:
                return b""
            block = bytes(self._pending[:end])
            del self._pending[:end]
        return self._look(block)

    def _look(self, block: bytes) -> bytes:
        """Read usage, stop reason and errors from whole events; return those before message_stop or an error."""
        if deltas := block.count(b"content_block_delta"):
            self._delta_count += max(deltas // 2, 1)  # once in `event:`, once in `data:`
            self._delta_bytes += len(block)
        if _WATCHED.search(block) is None:
            self._says = self._says or _SAYS.search(block) is not None
            return block
        for begin, event in _events_in(block):
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
            elif kind == "message_stop":
                self._ended = self._says = True
                self._tail = block[begin:]
                return block[:begin]
            elif kind == "error" or (kind is None and event.get("error")):
                self._says = self._says or _SAYS.search(block, 0, begin) is not None
                self._error = self._error_in(event, wire_json.encode(event))
                return block[:begin]
        self._says = self._says or _SAYS.search(block) is not None
        return block

    def _end(self) -> bytes:
        """Take what came before the body ended. Raises `UpstreamError` if that is no end of a message."""
        block, self._pending = bytes(self._pending), bytearray()
        relayed = self._look(block) if block.strip() else b""
        if self._error is not None:
            raise self._error
        if not self._ended and self.stop_reason is None:
            raise self._bad_response(
                "the answer was cut off" if self._has_started or self._says else "the answer is empty"
            )
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
) -> Iterator[tuple[int, dict[str, Any] | None]]:
    """Yield where each event of `block` begins, and its data if it is an object (and may be of a `watched` type)."""
    begin = 0
    for end in [*(match.end() for match in _EVENT_END.finditer(block)), len(block)]:
        event = block[begin:end]
        document = None
        if watched is None or watched.search(event) is not None:
            lines = (line[5:] for line in event.splitlines() if line.startswith(b"data:"))
            try:
                document = wire_json.decode(b"\n".join(lines))
            except ValueError:
                document = None
        yield begin, document if isinstance(document, dict) else None
        begin = end


async def _error_of(stream: UpstreamStream, target: Target, secret: Secret | None) -> UpstreamError:
    """Return the error that an answer without success is, with its words to be relayed."""
    body = await stream.read_error()
    error = classify(
        stream.status,
        stream.headers,
        body,
        provider=target.provider_name,
        kind=target.kind,
        secret=secret.value if secret else "",
    )
    try:
        is_error_object = "error" in wire_json.decode(body)
    except (ValueError, TypeError):
        is_error_object = False
    if is_error_object and stream.status >= 400:
        # A proxy's page is not relayed: Claude Code retries what is no JSON (version 2.1.330).
        error.body = body
        error.headers = (("content-type", "application/json"), *relayed_headers(stream.headers))
    return error


def _text_or_none(value: Any) -> str | None:
    return value if isinstance(value, str) else None
