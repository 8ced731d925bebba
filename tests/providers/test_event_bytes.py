"""Whole server-sent events out of the pieces of a body."""

import pytest

from providers.clients import event_bytes
from providers.clients.event_bytes import EventBuffer, data_of, split

LF = b'event: a\ndata: {"x":\ndata: 1}\n\n: comment\n\ndata:[DONE]\n\n'


@pytest.mark.parametrize("body", [LF, LF.replace(b"\n", b"\r\n")])
def test_every_cut_gives_whole_events_and_every_byte(body: bytes) -> None:
    end = b"\r\n\r\n" if b"\r" in body else b"\n\n"
    for cut in range(len(body) + 1):
        buffer = EventBuffer()
        blocks = [buffer.feed(piece) for piece in (body[:cut], body[cut:]) if piece]
        assert all(block.endswith(end) for block in blocks if block)
        assert b"".join(blocks) == body
        assert buffer.rest() == b""


def test_what_is_left_at_the_end_is_given_out_once() -> None:
    buffer = EventBuffer()
    assert buffer.feed(b"data: 1\n\ndata: 2\n") == b"data: 1\n\n"
    assert (buffer.rest(), buffer.rest()) == (b"data: 2\n", b"")


def test_an_event_without_end_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(event_bytes, "MAX_BYTES", 10)
    buffer = EventBuffer()
    assert buffer.feed(b"data: 1") == b""
    with pytest.raises(ValueError, match="larger"):
        buffer.feed(b"2345")


def test_events_and_their_data() -> None:
    found = list(split(LF))
    assert b"".join(event for _begin, event in found) == LF
    assert [LF[begin : begin + len(event)] for begin, event in found] == [event for _begin, event in found]
    assert [data_of(event) for _begin, event in found] == [b'{"x":\n1}', b"", b"[DONE]", b""]
