"""The parts of the self-test by themselves: its HTTP clients, the grammar of streams, its files, its words."""

import asyncio
import base64
import re
import zlib
from pathlib import Path
from typing import Any

import pytest

from gateway.selftest_texts import SENTENCES
from providers.clients.http import private_clients, shared_client
from providers.selftest import battery, judges, prompts
from providers.selftest.asking import events_in, grammar_fault
from providers.translation import tokens
from providers.translation.events import encode
from tests.fakes.platform import Platform


def test_private_clients_are_used_inside_only() -> None:
    async def in_a_task() -> Any:
        return shared_client()

    async def scenario() -> None:
        async with private_clients(Platform().transport()):
            inside = shared_client(), shared_client(allow_private=True)
            assert await asyncio.create_task(in_a_task()) is inside[0] is not inside[1]
        assert [client.is_closed for client in inside] == [True, True]
        with pytest.raises(RuntimeError):
            shared_client()

    asyncio.run(scenario())


def test_each_fault_of_the_grammar_is_named() -> None:
    start = {"type": "message_start", "message": {}}
    block = {"type": "content_block_start", "index": 0, "content_block": {"type": "text"}}
    delta = {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "a"}}
    stop, end, last = {"type": "content_block_stop", "index": 0}, {"type": "message_delta"}, {"type": "message_stop"}
    good = [start, {"type": "ping"}, block, delta, stop, end, last]
    assert grammar_fault(events_in(encode(good))) == ""
    for events, fault in (
        ([], "no message_start"),
        ([block, *good], "no message_start"),
        ([start, *good], "two message_start"),
        ([start, block, block, stop, end, last], "a block inside a block"),
        ([start, delta, end, last], "content_block_delta outside of its block"),
        ([start, block, stop, stop, end, last], "content_block_stop outside of its block"),
        ([start, block, delta, end, last], "a block without an end"),
        ([start, block, delta, stop, last], "no message_delta"),
        ([start, block, delta, stop, end], "no message_stop at the end"),
    ):
        assert grammar_fault(events) == fault


def test_every_code_has_a_sentence_and_every_sentence_a_code() -> None:
    source = "".join(Path(module.__file__).read_text(encoding="utf-8") for module in (battery, judges))
    codes = set(re.findall(r'Finding\(\s*"\w+",\s*"(\w+)"', source)) | {"limit_repaired", "limit_ignored"}
    named = {"usage_cached", "usage_reported", "schema_by_prompt", "schema_obeyed"}
    assert codes | named == set(SENTENCES)


def test_the_picture_is_yellow_and_blue() -> None:
    data = base64.b64decode(prompts.two_coloured_png())
    assert data[:8] == b"\x89PNG\r\n\x1a\n"
    position, pixels = 8, b""
    while position < len(data):
        length, kind = int.from_bytes(data[position : position + 4]), data[position + 4 : position + 8]
        content = data[position + 8 : position + 8 + length]
        assert int.from_bytes(data[position + 8 + length : position + 12 + length]) == zlib.crc32(kind + content)
        pixels += zlib.decompress(content) if kind == b"IDAT" else b""
        position += 12 + length
    assert len(pixels) == 224 * (1 + 224 * 3)
    assert (pixels[1:4], pixels[-3:]) == (b"\xff\xdd\x00", b"\x00\x33\xdd")


def test_the_tables_of_the_pdf_file_lead_to_its_objects() -> None:
    data = base64.b64decode(prompts.one_page_pdf())
    match = re.search(rb"startxref\n(\d+)\n%%EOF", data)
    assert match is not None
    assert data[int(match[1]) :].startswith(b"xref\n0 6\n")
    offsets = re.findall(rb"(\d{10}) 00000 n \n", data)
    for number, offset in enumerate(offsets, 1):
        assert data[int(offset) :].startswith(b"%d 0 obj\n" % number)
    assert len(offsets) == 5
    assert prompts.PDF_WORD.encode() in data


@pytest.mark.parametrize("ratio", [1.0, 1.4])
def test_a_text_is_as_long_as_asked(ratio: float) -> None:
    text = prompts.haystack(10_000, ratio)
    assert 9_700 < tokens.text_tokens(text) * ratio < 10_300
    assert text.index(prompts.NEEDLE) < 100
