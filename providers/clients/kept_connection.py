"""Connections kept for the next call, and the race that comes with them.

An upstream may close a kept connection at the moment at which a request goes out on it. Of that request it has read
nothing: RFC 9110 (9.2.2) lets a client send it again, once it knows that the original was never applied, and RFC 9112
(9.3.1) expects that for connections that were idle. What tells the race from a fault of the upstream: the connection
had carried an answer before, not a byte came on it since, and it ended at once.
"""

import asyncio
import contextlib
from collections.abc import Iterable, Iterator
from contextvars import ContextVar
from dataclasses import dataclass
from functools import partial
from typing import Any

import aiohttp
from aiohttp.client_proto import ResponseHandler

# Within a round trip or two the upstream's reset is here. Who closes later may have begun to work on the call.
_RACE_S = 1.0
_ENDS = (aiohttp.ServerDisconnectedError, ConnectionResetError, BrokenPipeError)


class _CountingHandler(ResponseHandler):
    """aiohttp's end of a connection; knows whether anything has come."""

    received_bytes = 0

    def data_received(self, data: bytes) -> None:
        self.received_bytes += len(data)
        super().data_received(data)


@dataclass(slots=True)
class Sending:
    """One request on its way, with what tells why it failed."""

    needs_fresh: bool = False
    connection: _CountingHandler | None = None  # none where aiohttp is not the transport, or it got no connection
    received_bytes: int = 0  # by the connection, before this request
    sent_at: float = 0.0  # of the loop

    def lost_race(self, errors: Iterable[BaseException]) -> bool:
        """Say whether `errors`, an error and its causes, mean that a kept connection had just been closed."""
        return (
            self.connection is not None
            and self.received_bytes > 0
            and self.connection.received_bytes == self.received_bytes
            and asyncio.get_running_loop().time() - self.sent_at < _RACE_S
            and any(isinstance(error, _ENDS) for error in errors)
        )


_sending: ContextVar[Sending | None] = ContextVar("sending", default=None)


@contextlib.contextmanager
def sending(*, needs_fresh: bool = False) -> Iterator[Sending]:
    """Watch the one request that is sent inside, on a connection of its own if it `needs_fresh`."""
    watched = Sending(needs_fresh)
    token = _sending.set(watched)
    try:
        yield watched
    finally:
        _sending.reset(token)


class Connector(aiohttp.TCPConnector):
    """A pool that tells the request being sent which connection it got.

    aiohttp sends again by itself, but never a POST. Its tracing says that a connection was reused, not whether
    anything came on it; `_factory` and `_get` are not public, so tests/providers/test_kept_connection.py must pass
    before aiohttp's pin is moved.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        factory: partial[Any] = partial(_CountingHandler, loop=self._loop)
        self._factory = factory

    async def connect(self, *args: Any, **options: Any) -> Any:
        connection = await super().connect(*args, **options)
        watched = _sending.get()
        if watched is not None and isinstance(connection.protocol, _CountingHandler):
            watched.connection = connection.protocol
            watched.received_bytes = connection.protocol.received_bytes
            watched.sent_at = asyncio.get_running_loop().time()
        return connection

    async def _get(self, *args: Any, **options: Any) -> Any:
        watched = _sending.get()
        # The others may have been closed in the same moment.
        if watched is not None and watched.needs_fresh:
            return None
        return await super()._get(*args, **options)
