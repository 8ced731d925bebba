"""Server-sent events as bytes, for answers that are relayed as they come: whole ones, and the data in them."""

import re
from collections.abc import Iterator

MAX_BYTES = 64 * 1024 * 1024  # of one event, and of an answer that is no stream
_END = re.compile(rb"\r?\n\r?\n")


class EventBuffer:
    """Gathers the pieces of a body until they make whole events."""

    def __init__(self) -> None:
        self._pending = bytearray()  # the beginning of an event

    def feed(self, data: bytes) -> bytes:
        """Return the whole events that `data` completes; b"" while one is incomplete.

        Raises `ValueError` for an event above `MAX_BYTES`.
        """
        if not self._pending and data.endswith(b"\n\n"):
            return data
        searched = max(len(self._pending) - 3, 0)
        self._pending += data
        if len(self._pending) > MAX_BYTES:
            raise ValueError("an event is larger than 64 MiB")
        lf, crlf = self._pending.rfind(b"\n\n", searched), self._pending.rfind(b"\r\n\r\n", searched)
        end = max(lf + 2 if lf >= 0 else 0, crlf + 4 if crlf >= 0 else 0)
        block = bytes(self._pending[:end])
        del self._pending[:end]
        return block

    def rest(self) -> bytes:
        """Return what is no whole event, once no more will come."""
        rest, self._pending = bytes(self._pending), bytearray()
        return rest


def split(block: bytes) -> Iterator[tuple[int, bytes]]:
    """Yield where each event of `block` begins, and its bytes; what is behind the last one comes as one too."""
    begin = 0
    for end in [*(match.end() for match in _END.finditer(block)), len(block)]:
        yield begin, block[begin:end]
        begin = end


def data_of(event: bytes) -> bytes:
    """Return the data of an event, b"" where it has none."""
    return b"\n".join(line[5:].strip() for line in event.splitlines() if line.startswith(b"data:"))
