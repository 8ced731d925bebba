"""Undoes the content encodings that some upstreams apply although none was asked for.

Streams come as one member, frame or block per event from some servers (each flushed by itself), which httpx's own
decoders end after the first of.
"""

import zlib
from collections.abc import AsyncIterator
from typing import Protocol

import brotli
import httpx
import zstandard


class Decoder(Protocol):
    def decode(self, data: bytes) -> bytes: ...


class _Gzip:
    """gzip, of any number of members."""

    def __init__(self) -> None:
        self._member = zlib.decompressobj(zlib.MAX_WBITS | 16)

    def decode(self, data: bytes) -> bytes:
        found = self._member.decompress(data)
        while self._member.eof and (rest := self._member.unused_data.lstrip(b"\0")):
            self._member = zlib.decompressobj(zlib.MAX_WBITS | 16)
            found += self._member.decompress(rest)
        return found


class _Deflate:
    """deflate with the header of zlib, or, as some servers send it, without."""

    def __init__(self) -> None:
        self._begin = b""
        self._stream: zlib._Decompress | None = None

    def decode(self, data: bytes) -> bytes:
        if self._stream is None:
            self._begin += data
            if len(self._begin) < 2:
                return b""
            first, second = self._begin[:2]
            has_header = first & 0x0F == 8 and (first * 256 + second) % 31 == 0
            self._stream = zlib.decompressobj(zlib.MAX_WBITS if has_header else -zlib.MAX_WBITS)
            data = self._begin
        return self._stream.decompress(data)


class _Brotli:
    def __init__(self) -> None:
        self._decompressor = brotli.Decompressor()

    def decode(self, data: bytes) -> bytes:
        return bytes(self._decompressor.process(data))


class _Zstandard:
    def __init__(self) -> None:
        self._frame = zstandard.ZstdDecompressor().decompressobj()

    def decode(self, data: bytes) -> bytes:
        found = b""
        while data:
            if self._frame.eof:
                self._frame = zstandard.ZstdDecompressor().decompressobj()
            found += self._frame.decompress(data)
            data = self._frame.unused_data if self._frame.eof else b""
        return found


def decoder_of(content_encoding: str) -> Decoder | None:
    """Return what undoes a content-encoding header, None for none. Raises `LookupError` for an unknown one."""
    names = [name.strip().lower() for name in content_encoding.split(",")]
    names = [name for name in names if name not in ("", "identity")]
    if not names:
        return None
    if len(names) > 1:
        raise LookupError(content_encoding)
    match names[0]:
        case "gzip" | "x-gzip":
            return _Gzip()
        case "deflate":
            return _Deflate()
        case "br":
            return _Brotli()
        case "zstd":
            return _Zstandard()
    raise LookupError(content_encoding)


async def decoded(chunks: AsyncIterator[bytes], decoder: Decoder) -> AsyncIterator[bytes]:
    """Yield what `chunks` hold. Raises `httpx.DecodingError` where they are not so encoded."""
    async for data in chunks:
        try:
            found = decoder.decode(data)
        except (zlib.error, brotli.error, zstandard.ZstdError) as error:
            raise httpx.DecodingError(str(error)) from error
        if found:
            yield found
