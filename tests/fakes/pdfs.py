"""Small PDF files, written by hand as far as possible so that each byte of what is read is known."""

import io
import zlib

from pypdf import PdfReader, PdfWriter

# A font of CID-keyed glyphs, as word processors embed it; only the ToUnicode map says what its codes mean.
_CHINESE = {0x0001: "季", 0x0002: "度", 0x0003: "报", 0x0004: "告"}
_TO_UNICODE = (
    b"/CIDInit /ProcSet findresource begin\n12 dict begin\nbegincmap\n/CMapName /Adobe-Identity-UCS def\n"
    b"/CMapType 2 def\n1 begincodespacerange\n<0000> <FFFF>\nendcodespacerange\n4 beginbfchar\n"
    + b"".join(b"<%04X> <%04X>\n" % (code, ord(character)) for code, character in _CHINESE.items())
    + b"endbfchar\nendcmap\nend\nend"
)


def _file(objects: list[bytes]) -> bytes:
    """Return the file of these objects, numbered from 1; the first is the catalogue."""
    out, offsets = bytearray(b"%PDF-1.4\n"), []
    for number, content in enumerate(objects, 1):
        offsets.append(len(out))
        out += b"%d 0 obj\n%s\nendobj\n" % (number, content)
    table = len(out)
    out += b"xref\n0 %d\n0000000000 65535 f \n" % (len(objects) + 1)
    out += b"".join(b"%010d 00000 n \n" % offset for offset in offsets)
    out += b"trailer\n<</Size %d/Root 1 0 R>>\nstartxref\n%d\n%%%%EOF\n" % (len(objects) + 1, table)
    return bytes(out)


def _stream(content: bytes, entries: bytes = b"") -> bytes:
    return b"<<%s/Length %d>>\nstream\n%s\nendstream" % (entries, len(content), content)


def _pages(streams: list[bytes], resources: bytes, extra: list[bytes]) -> bytes:
    """Return a file with one page per content stream. `extra` objects have the numbers from 3 on."""
    first = 3 + len(extra)
    kids = b" ".join(b"%d 0 R" % (first + 2 * at) for at in range(len(streams)))
    objects = [
        b"<</Type/Catalog/Pages 2 0 R>>",
        b"<</Type/Pages/Kids[%s]/Count %d>>" % (kids, len(streams)),
        *extra,
    ]
    for at, stream in enumerate(streams):
        objects.append(
            b"<</Type/Page/Parent 2 0 R/MediaBox[0 0 595 842]/Resources<<%s>>/Contents %d 0 R>>"
            % (resources, first + 2 * at + 1)
        )
        objects.append(stream)
    return _file(objects)


def text_pdf(*pages: str) -> bytes:
    """Return a file with these lines of ASCII text, one page each; "" is a page without text."""
    streams = [
        _stream(b"BT /F1 12 Tf 72 720 Td (%s) Tj ET" % page.encode("ascii") if page else b"0 0 10 10 re f")
        for page in pages
    ]
    return _pages(streams, b"/Font<</F1 3 0 R>>", [b"<</Type/Font/Subtype/Type1/BaseFont/Helvetica>>"])


def chinese_pdf() -> bytes:
    """Return a file whose one page reads 季度报告."""
    fonts = [
        b"<</Type/Font/Subtype/Type0/BaseFont/Song/Encoding/Identity-H/DescendantFonts[4 0 R]/ToUnicode 5 0 R>>",
        b"<</Type/Font/Subtype/CIDFontType2/BaseFont/Song/CIDSystemInfo<</Registry(Adobe)/Ordering(Identity)"
        b"/Supplement 0>>/DW 1000>>",
        _stream(_TO_UNICODE),
    ]
    codes = b"".join(b"%04X" % code for code in _CHINESE)
    return _pages([_stream(b"BT /F1 12 Tf 72 720 Td <%s> Tj ET" % codes)], b"/Font<</F1 3 0 R>>", fonts)


def scanned_pdf(pages: int = 1) -> bytes:
    """Return a file that holds a picture per page and no text, as scanners write it."""
    picture = _stream(
        zlib.compress(bytes(64 * 64)),
        b"/Type/XObject/Subtype/Image/Width 64/Height 64/ColorSpace/DeviceGray/BitsPerComponent 8/Filter/FlateDecode",
    )
    return _pages([_stream(b"q 595 0 0 842 0 0 cm /I Do Q")] * pages, b"/XObject<</I 3 0 R>>", [picture])


def slow_pdf() -> bytes:
    """Return a small file whose second page unfolds into millions of operators: minutes of work for any reader."""
    endless = zlib.compress(b"BT /F1 12 Tf (a) Tj ET\n" * 2_000_000, 9)
    streams = [_stream(b"BT /F1 12 Tf 72 720 Td (first) Tj ET"), _stream(endless, b"/Filter/FlateDecode")]
    return _pages(streams, b"/Font<</F1 3 0 R>>", [b"<</Type/Font/Subtype/Type1/BaseFont/Helvetica>>"])


def encrypted_pdf(password: str) -> bytes:
    """Return a file that opens with `password`; "" is what files have whose owner only forbids printing."""
    writer = PdfWriter(clone_from=PdfReader(io.BytesIO(text_pdf("secret plans"))))
    writer.encrypt(password, owner_password="owner", algorithm="AES-256")
    out = io.BytesIO()
    writer.write(out)
    return out.getvalue()
