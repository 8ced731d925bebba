"""Compressed answers of upstreams that were asked for none."""

import gzip
import zlib
from collections.abc import Callable

import brotli
import pytest
import zstandard

from providers.clients.encoding import decoder_of
from providers.errors import ErrorKind
from tests.fakes.transport import Reply
from tests.providers.test_anthropic_client import STREAM, call, fault, joined, json_reply, message, run, whole

PLAIN = joined(STREAM)


def _raw_deflate(data: bytes) -> bytes:
    compressor = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return compressor.compress(data) + compressor.flush()


def _per_event(compress: Callable[[bytes], bytes]) -> bytes:
    return b"".join(compress(piece) for piece in STREAM if isinstance(piece, bytes))


ENCODED = [
    ("gzip", gzip.compress(PLAIN)),
    ("GZIP", _per_event(gzip.compress)),
    ("deflate", zlib.compress(PLAIN)),
    ("deflate", _raw_deflate(PLAIN)),
    ("br", brotli.compress(PLAIN)),
    ("zstd", zstandard.ZstdCompressor().compress(PLAIN)),
    ("zstd", _per_event(zstandard.ZstdCompressor().compress)),
    ("identity", PLAIN),
]


@pytest.mark.parametrize(("name", "encoded"), ENCODED)
@pytest.mark.parametrize("size", [1, 7, 100_000])
def test_a_stream_survives_its_encoding(name: str, encoded: bytes, size: int) -> None:
    pieces = [encoded[at : at + size] for at in range(0, len(encoded), size)]
    headers = {"content-type": "text/event-stream", "content-encoding": name}
    sent, _ = run(Reply(list(pieces), headers=headers), whole)
    assert sent == PLAIN


@pytest.mark.parametrize("name", ["gzip", "br", "zstd"])
def test_each_event_arrives_when_it_was_flushed(name: str) -> None:
    first, second = b"data: one\n\n", b"data: two\n\n"
    compressors = {
        "gzip": lambda: zlib.compressobj(wbits=zlib.MAX_WBITS | 16),
        "br": brotli.Compressor,
        "zstd": lambda: zstandard.ZstdCompressor().compressobj(),
    }
    flushes = {
        "gzip": lambda compressor: compressor.flush(zlib.Z_SYNC_FLUSH),
        "br": lambda compressor: compressor.flush(),
        "zstd": lambda compressor: compressor.flush(zstandard.COMPRESSOBJ_FLUSH_BLOCK),
    }
    compressor, decoder = compressors[name](), decoder_of(name)
    feed = compressor.process if name == "br" else compressor.compress
    assert decoder is not None
    for event in (first, second):
        assert decoder.decode(feed(event) + flushes[name](compressor)) == event


@pytest.mark.parametrize("name", ["gzip", "deflate", "br", "zstd"])
def test_what_is_not_so_encoded_is_a_bad_response(name: str) -> None:
    headers = {"content-type": "text/event-stream", "content-encoding": name}
    found = fault(Reply([b"event: plain text, not compressed at all\n\n"], headers=headers))
    assert found.kind is ErrorKind.BAD_RESPONSE


@pytest.mark.parametrize("name", ["lzma", "gzip, br"])
@pytest.mark.parametrize("status", [200, 429])
def test_an_unknown_encoding_is_named(name: str, status: int) -> None:
    reply = Reply([b"\x00\x01"], status, {"content-type": "application/json", "content-encoding": name})
    found = fault(reply)
    assert (found.kind, found.status) == (ErrorKind.BAD_RESPONSE, status)
    assert name in found.message
    assert reply.closed


def test_an_encoded_error_keeps_its_words() -> None:
    body = b'{"type":"error","error":{"type":"rate_limit_error","message":"slow down"}}'
    found = fault(Reply([brotli.compress(body)], 429, {"content-type": "application/json", "content-encoding": "br"}))
    assert (found.kind, found.body) == (ErrorKind.RATE_LIMITED, body)


def test_an_encoded_message_is_relayed_decoded() -> None:
    plain = json_reply({"type": "message", "content": [], "stop_reason": "end_turn"}).pieces[0]
    assert isinstance(plain, bytes)
    reply = Reply([gzip.compress(plain)], headers={"content-type": "application/json", "content-encoding": "gzip"})
    assert run(reply, message, asked=call(streamed=False))[0] == plain
