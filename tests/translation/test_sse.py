"""Bytes to chunks."""

import json
import time
from typing import Any

import pytest

from providers.translation.sse import ChunkReader, MalformedStream
from tests.translation.answers import STOP, sse, text


def read(*pieces: bytes) -> tuple[list[dict[str, Any]], bool]:
    reader = ChunkReader()
    chunks = [chunk for piece in pieces for chunk in reader.feed(piece)]
    return chunks + reader.finish(), reader.saw_done


A, B = text("a"), text("b")
JA, JB = (json.dumps(item).encode() for item in (A, B))
COMPLETION = {
    "object": "chat.completion",
    "choices": [{"index": 0, "message": {"content": "a"}, "finish_reason": "stop"}],
}


@pytest.mark.parametrize(
    ("body", "chunks", "saw_done"),
    [
        (sse([A, B]), [A, B], True),
        (sse([A, B], end=False), [A, B], False),
        (sse([A, B], eol="\r\n"), [A, B], True),
        (sse([A, B], eol="\r"), [A, B], True),
        (b"\xef\xbb\xbf" + sse([A]), [A], True),
        (sse([": c", A, ":", B]), [A, B], True),
        (sse([A, B]).replace(b"data: ", b"data:"), [A, B], True),
        (b"data: " + JA + b"\ndata: " + JB + b"\ndata: [DONE]\n", [A, B], True),
        (JA + b"\n" + JB + b"\n", [A, B], False),
        (b"id: 1\nretry: 5\nevent: message\ndata: " + JA + b"\n\n", [A], False),
        (b"data: " + JA, [A], False),
        (b"data: " + JA + b"\n\ndata:  [DONE] \n\ndata: " + JB + b"\n\n", [A], True),
        (b'data: {"choices":\ndata: []}\n\n', [{"choices": []}], False),
        (b'data: {"choices":[\ndata: {"index":0}\ndata: ]}\n\n', [{"choices": [{"index": 0}]}], False),
        (b'data: {"choices":\n\ndata: []}\n\n', [{"choices": []}], False),
        (b'data: {"choices":[],"x":"a\nb"}\n\n', [{"choices": [], "x": "a\nb"}], False),
        (b"data: " + JA + b"\n\ndata: {broken\n\ndata: " + JB + b"\n\n", [A, B], False),
        (b"data: null\n\ndata: 1\n\ndata: null\n\ndata: " + JA + b"\n\n", [A], False),
        (b"data:\n\ndata\n\ndata: " + JA + b"\n\n", [A], False),
        (b'event: error\ndata: {"message":"gone"}\n\n', [{"error": {"message": "gone"}}], False),
        (b"event: error\ndata: gone\n\n", [{"error": {"message": "gone"}}], False),
        (b'error: {"code":500,"message":"gone"}\n\n', [{"error": {"code": 500, "message": "gone"}}], False),
        (b'{"error":{"message":"gone"}}', [{"error": {"message": "gone"}}], False),
        (b'\n\n{\n "error": {\n  "message": "gone"\n }\n}\n', [{"error": {"message": "gone"}}], False),
        (b'"Invalid token"', [{"error": {"message": "Invalid token"}}], False),
        (b'[{"error":{"message":"gone"}}]', [{"error": {"message": "gone"}}], False),
        (b"", [], False),
        (b": keep-alive\n\n", [], False),
    ],
)
def test_bytes_become_chunks(body: bytes, chunks: list[Any], saw_done: bool) -> None:
    assert read(body) == (chunks, saw_done)
    assert read(*(body[at : at + 1] for at in range(len(body)))) == (chunks, saw_done)


@pytest.mark.parametrize("indent", [None, 1])
def test_whole_answer_instead_of_a_stream_is_complete(indent: int | None) -> None:
    chunks, saw_done = read(b"\n\n" + json.dumps(COMPLETION, indent=indent).encode())
    assert [chunk["choices"][0]["delta"] for chunk in chunks] == [{"content": "a"}]
    assert saw_done


def test_lines_of_ollamas_own_api_become_chunks() -> None:
    lines = [
        {"model": "m", "message": {"role": "assistant", "content": "a"}, "done": False},
        {
            "model": "m",
            "message": {"content": ""},
            "done": True,
            "done_reason": "length",
            "prompt_eval_count": 5,
            "eval_count": 2,
        },
    ]
    chunks, _ = read(b"".join(json.dumps(line).encode() + b"\n" for line in lines))
    assert chunks[0]["choices"][0]["delta"]["content"] == "a"
    assert chunks[1]["choices"][0]["finish_reason"] == "length"
    assert chunks[1]["usage"] == {"prompt_tokens": 5, "completion_tokens": 2}


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"<html><head><title>Log in &amp; wait</title></head><body>x</body></html>", "Log in & wait"),
        (b"<p>Bad gateway</p>\n", "Bad gateway"),
        (b"upstream is asleep", "upstream is asleep"),
        (b"data: {broken\n\n", ""),
    ],
)
def test_other_bodies_are_malformed_and_described_without_markup(body: bytes, words: str) -> None:
    with pytest.raises(MalformedStream) as raised:
        read(body)
    assert words in str(raised.value)
    assert "<" not in str(raised.value)


def test_three_broken_events_in_a_row_end_the_stream() -> None:
    broken = b"data: {broken\n\n"
    good = b"data: " + JA + b"\n\n"
    chunks, _ = read(broken + broken + good + broken + broken + good)
    assert chunks == [A, A]
    reader = ChunkReader()
    reader.feed(good)
    with pytest.raises(MalformedStream):
        reader.feed(broken * 3)


def test_comments_are_signs_of_life_only() -> None:
    reader = ChunkReader()
    assert reader.feed(b": OPENROUTER PROCESSING\n\n") == []
    assert reader.liveness_only
    assert reader.feed(sse([A], end=False)) == [A]
    assert not reader.liveness_only


def test_event_is_read_when_its_line_ends() -> None:
    reader = ChunkReader()
    assert reader.feed(b"data: " + JA + b"\r") == [A]
    assert reader.feed(b"\n\r") == []
    assert reader.feed(b"\ndata: " + JB + b"\r\n") == [B]


def test_invalid_utf8_does_not_lose_the_event() -> None:
    chunks, _ = read(b'data: {"choices":[],"x":"\xff"}\n\n')
    assert chunks == [{"choices": [], "x": "\ufffd"}]


def test_large_event_in_small_pieces_takes_linear_time() -> None:
    body = sse([text("x" * 4_000_000), STOP])
    begun = time.process_time()
    chunks, _ = read(*(body[at : at + 16_384] for at in range(0, len(body), 16_384)))
    assert len(chunks[0]["choices"][0]["delta"]["content"]) == 4_000_000
    assert time.process_time() - begun < 2
