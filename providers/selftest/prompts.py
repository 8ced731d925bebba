"""What the self-test shows a model: a picture, a PDF file, texts of a length. All of it is made here, from nothing."""

import base64
import struct
import zlib

from providers.translation import tokens

# Two colours beside each other: a model that sees nothing guesses one, and seldom both in their order.
LEFT_COLOUR, RIGHT_COLOUR = "yellow", "blue"
_LEFT, _RIGHT = b"\xff\xdd\x00", b"\x00\x33\xdd"
_SIZE = 224  # some vision models refuse what is smaller than their patches
PDF_WORD = "PELICAN"
NEEDLE = "Kingfisher"


def two_coloured_png() -> str:
    """Return a PNG in base64 whose left half is yellow and whose right half is blue."""
    row = b"\x00" + _LEFT * (_SIZE // 2) + _RIGHT * (_SIZE // 2)
    header = struct.pack(">IIBBBBB", _SIZE, _SIZE, 8, 2, 0, 0, 0)
    parts = ((b"IHDR", header), (b"IDAT", zlib.compress(row * _SIZE)), (b"IEND", b""))
    data = b"\x89PNG\r\n\x1a\n" + b"".join(_png_chunk(kind, content) for kind, content in parts)
    return base64.b64encode(data).decode()


def _png_chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def one_page_pdf() -> str:
    """Return a PDF file of one page in base64 that says the word PELICAN."""
    text = f"BT /F1 24 Tf 72 720 Td (The bird of this page is the {PDF_WORD}.) Tj ET".encode()
    objects = (
        b"<< /Type /Catalog /Pages 2 0 R >>",
        b"<< /Type /Pages /Kids [3 0 R] /Count 1 >>",
        b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 612 792] /Contents 4 0 R "
        b"/Resources << /Font << /F1 5 0 R >> >> >>",
        b"<< /Length %d >>\nstream\n%b\nendstream" % (len(text), text),
        b"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>",
    )
    data, offsets = b"%PDF-1.4\n", []
    for number, content in enumerate(objects, 1):
        offsets.append(len(data))
        data += b"%d 0 obj\n%b\nendobj\n" % (number, content)
    table = b"".join(b"%010d 00000 n \n" % offset for offset in offsets)
    size, start = len(objects) + 1, len(data)
    data += b"xref\n0 %d\n0000000000 65535 f \n%b" % (size, table)
    data += b"trailer\n<< /Size %d /Root 1 0 R >>\nstartxref\n%d\n%%%%EOF\n" % (size, start)
    return base64.b64encode(data).decode()


def filler(token_count: int, ratio: float = 1.0) -> str:
    """Return a text of about `token_count` tokens; `ratio` is a model's real tokens per estimated one."""
    per_line = tokens.text_tokens(f"{_line(1000)}\n") * ratio
    return "\n".join(_line(number) for number in range(1000, 1000 + max(int(token_count / per_line), 1)))


def _line(number: int) -> str:
    return f"On day {number} the lighthouse keeper wrote down the wind, the tide and the ships that went by."


def haystack(token_count: int, ratio: float = 1.0) -> str:
    """Return a text of about `token_count` tokens that names a boat at its start and asks for it at its end."""
    return (
        f"The boat of the lighthouse keeper is called {NEEDLE}.\n{filler(token_count, ratio)}\n"
        "What is the boat of the lighthouse keeper called? Answer with the name alone."
    )
