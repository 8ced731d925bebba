"""The answer on its way to the client: SSE out, a ping in silence, the end held back until the books are closed.

One task per call, the producer, reads the upstream and fills an `Outbox`; the response drains it. So a slow client
slows the upstream down, silence is bridged by a ping without a timer per event, and what gathers while the client is
busy leaves in one piece.
"""

import asyncio
from collections.abc import AsyncIterator, Callable

from django.http import StreamingHttpResponse

# What may wait for a slow client before the upstream is read no further.
HIGH_WATER_BYTES = 256 * 1024


class Outbox:
    """A bounded buffer of bytes between the producer and the response."""

    def __init__(self) -> None:
        self._parts: list[bytes] = []
        self._size = 0
        self._closed = False
        self._filled = asyncio.Event()
        self._room = asyncio.Event()
        self._room.set()

    async def put(self, part: bytes) -> None:
        """Add `part`; wait while the client is too far behind."""
        if self._closed or not part:  # nothing to send would read as silence
            return
        self._parts.append(part)
        self._size += len(part)
        self._filled.set()
        if self._size > HIGH_WATER_BYTES:
            self._room.clear()
            await self._room.wait()

    def close(self) -> None:
        """End the buffer: nothing more will come, or nobody is there to take it."""
        self._closed = True
        self._filled.set()
        self._room.set()

    async def get(self, patience_s: float) -> bytes | None:
        """Return what has gathered; b"" when nothing came for `patience_s`, None at the end."""
        if not self._parts and not self._closed:
            try:
                async with asyncio.timeout(patience_s):
                    await self._filled.wait()
            except TimeoutError:
                return b""
        parts, self._parts = self._parts, []
        self._size = 0
        self._room.set()
        if parts:
            if not self._closed:
                self._filled.clear()
            return parts[0] if len(parts) == 1 else b"".join(parts)
        return None


class EventStream(StreamingHttpResponse):
    """A streaming answer, fed by a producer through its outbox."""

    def __init__(
        self,
        outbox: Outbox,
        *,
        ping: bytes,
        ping_interval_s: float,
        headers: dict[str, str],
        on_sent: Callable[[bytes], None],
        on_close: Callable[[], None],
    ) -> None:
        self._on_close = on_close
        super().__init__(
            _drain(outbox, ping, ping_interval_s, on_sent),
            headers={
                "Content-Type": "text/event-stream; charset=utf-8",
                "Cache-Control": "no-cache",
                "X-Accel-Buffering": "no",
                **headers,
            },
        )

    def close(self) -> None:
        """Say that the client has everything, or is gone.

        Without Django's signal for the end of a request, as its begin has none here: what listens to it cares for
        connections and caches of the thread, of which a call uses none.
        """
        self.closed = True
        self._on_close()


async def _drain(
    outbox: Outbox, ping: bytes, ping_interval_s: float, on_sent: Callable[[bytes], None]
) -> AsyncIterator[bytes]:
    while (part := await outbox.get(ping_interval_s)) is not None:
        # Pings keep the client (300 s of silence) and proxies (often 60 s) from giving up.
        part = part or ping
        on_sent(part)
        yield part
