"""What answers that are relayed as received have in common, whatever format they are in."""

import asyncio
from collections.abc import AsyncIterator

from providers.clients import event_bytes
from providers.clients.base import NotChanged
from providers.clients.http import UpstreamStream
from providers.errors import ErrorKind, UpstreamError
from providers.target import Target


class Relayed(NotChanged):
    """An answer whose bytes are the upstream's. See `providers.clients.base.Answer`."""

    def __init__(self, stream: UpstreamStream, target: Target, upstream_request_id: str) -> None:
        self.status = stream.status
        self.upstream_request_id = upstream_request_id
        self.dropped_fields: list[str] = []
        self.stop_reason: str | None = None
        self.upstream_model = ""  # what the upstream says it answered with: relays substitute
        self._stream = stream
        self._target = target
        self._ended = False

    @property
    def notes(self) -> list[str]:
        """What was odd: relays that answer with another model than was asked for."""
        if self.upstream_model in ("", self._target.model_id):
            return []
        return [f"the upstream says it answered with {self.upstream_model[:100]}"]

    async def aclose(self) -> None:
        """Close the connection, at once if the answer has not ended."""
        await self._stream.aclose(finished=self._ended)

    async def _whole(self, before: float | None, begin: bytes = b"") -> bytes:
        """Return the body from `begin` to its end. Raises `UpstreamError`."""
        body = bytearray(begin)
        while (data := await self._stream.read(before=before)) is not None:
            body += data
            if len(body) > event_bytes.MAX_BYTES:
                raise self._bad_response("the answer is larger than 64 MiB")
        return bytes(body)

    def _bad_response(self, message: str) -> UpstreamError:
        return UpstreamError(
            ErrorKind.BAD_RESPONSE, message, status=self.status, provider=self._target.provider_name,
            request_id=self.upstream_request_id,
        )  # fmt: skip


class WholeBody:
    """The part of an answer to a client that asked for no stream: `start` has read the `_body`."""

    _body = b""

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
        """Return the body."""
        return self._body


class WholeEvents:
    """The part of an answer to a client that asked for a stream: `_advance` reads whole events and looks at them."""

    _ended: bool
    _ready: list[bytes]  # read before the client was answered

    async def pieces(self) -> AsyncIterator[bytes]:
        """Yield whole events, up to the one that ends the answer. Raises `UpstreamError`."""
        ready, self._ready = b"".join(self._ready), []
        if ready:
            yield ready
        while not self._ended:
            piece = await self._advance()
            if piece:
                yield piece

    def interrupted(self) -> bytes:
        """Return nothing: only whole events were relayed, and an error may follow any of them."""
        return b""

    async def _advance(self, before: float | None = None) -> bytes:
        """Return the next whole events for the client; b"" while an event is incomplete. Raises `UpstreamError`."""
        raise NotImplementedError
