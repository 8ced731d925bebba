"""Reading tables that people upload: CSV in the encodings that Excel writes in China and elsewhere, and XLSX."""

import csv
import io
import unicodedata
import zipfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from itertools import islice
from typing import Any

from django.utils.translation import gettext as _
from openpyxl import load_workbook
from openpyxl.utils.exceptions import InvalidFileException

MAX_BYTES = 10 * 1024 * 1024
MAX_ROWS = 50_000
MAX_COLUMNS = 100
# A small file of the XLSX format can unpack to more than a machine has.
_MAX_UNPACKED_BYTES = 200 * 1024 * 1024
# A sheet that was formatted down to its last row ends here.
_MAX_EMPTY_ROWS = 1000

Value = str | int | Decimal | date | datetime


class TableError(ValueError):
    """The file is no table that could be read; the text says why, in the language of the reader.

    `line` is the line of the file, from 1, None where it is about all of it.
    """

    def __init__(self, message: str, line: int | None = None) -> None:
        super().__init__(message)
        self.line = line


@dataclass(frozen=True, slots=True)
class Table:
    """The lines of a file that hold anything, with their numbers from 1. Texts are stripped, "" is an empty cell."""

    rows: list[tuple[int, tuple[Value, ...]]]
    encoding: str  # "xlsx" for a sheet


def read_table(name: str, content: bytes) -> Table:
    """Return what the file `name` holds: of a workbook its first sheet, of anything else lines of separated values.

    Raises `TableError`.
    """
    if len(content) > MAX_BYTES:
        raise TableError(_("The file is larger than %(size)s MB.") % {"size": MAX_BYTES // 1024 // 1024})
    if not content.strip():
        raise TableError(_("The file is empty."))
    if content.startswith(b"\xd0\xcf\x11\xe0"):
        raise TableError(
            _(
                "This is a workbook of the old .xls format, or one with a password. Save it as .xlsx without a "
                "password, or as CSV."
            )
        )
    if content.startswith(b"PK"):
        table = Table(_numbered(_sheet(content)), "xlsx")
    elif name.lower().endswith((".xlsx", ".xlsm")):
        raise TableError(_("This is no .xlsx workbook, whatever its name says."))
    else:
        text, encoding = decoded(content)
        table = Table(_numbered(_separated(text)), encoding)
    if not table.rows:
        raise TableError(_("The file is empty."))
    return table


def text_of(value: Value) -> str:
    """Return a cell as text: whole numbers without a fraction, days as 2026-11-01."""
    if isinstance(value, datetime):
        return value.date().isoformat() if value.time() == datetime.min.time() else value.isoformat(" ", "seconds")
    if isinstance(value, Decimal):
        return f"{value.normalize():f}"
    return value.isoformat() if isinstance(value, date) else str(value)


def header_name(value: Value) -> str:
    """Return a title in the form in which titles are compared: without case, spaces, full width and underscores."""
    text = unicodedata.normalize("NFKC", text_of(value)).casefold()
    return "".join(character for character in text if character.isalnum() or character in "()")


def decoded(content: bytes) -> tuple[str, str]:
    """Return the text in `content` and its encoding. Raises `TableError` when it cannot be told.

    What no mark names is UTF-8, or else GB18030, of which GBK and GB2312 are parts. Where no table would have bytes
    of both, as in a file of a Western code page, nothing is guessed: names would be stored garbled.
    """
    for mark, encoding in ((b"\xef\xbb\xbf", "utf-8"), (b"\xff\xfe", "utf-16-le"), (b"\xfe\xff", "utf-16-be")):
        if content.startswith(mark):
            return _strict(content[len(mark) :], encoding), encoding
    if b"\x00" in content[:200]:
        encoding = "utf-16-le" if content[1:2] == b"\x00" else "utf-16-be"
        return _strict(content, encoding), encoding
    try:
        return _checked(content.decode("utf-8")), "utf-8"
    except UnicodeDecodeError:
        text = _strict(content, "gb18030")
    wide = [character for character in text if not character.isascii()]
    # An accented letter between ASCII ones swallows the letter behind it; Chinese writes two high bytes as a rule.
    swallowed = [character for character in wide if character.encode("gb18030")[1] < 0x80]
    if 2 * len(swallowed) > len(wide):
        raise TableError(_("The encoding of the file cannot be told. Save it as CSV in UTF-8, or as .xlsx."))
    return text, "gb18030"


def _strict(content: bytes, encoding: str) -> str:
    try:
        return _checked(content.decode(encoding))
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        message = _("The file is neither UTF-8 nor GB18030. Save it as CSV in UTF-8, or as .xlsx.")
        raise TableError(message, line) from None


def _checked(text: str) -> str:
    if "\x00" in text:
        line = text[: text.index("\x00")].count("\n") + 1
        raise TableError(_("The file holds characters that are not text."), line)
    return text


def _separated(text: str) -> Iterator[tuple[int, list[Value]]]:
    first = next((line for line in text.splitlines() if line.strip()), "")
    if first.lower().startswith("sep=") and len(first) == 5:
        # What Excel writes for itself.
        separator, text = first[4], text[text.index(first) + 5 :].lstrip("\r\n")
        skipped = 1
    else:
        separator, skipped = max(",;\t|", key=first.count), 0
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator, strict=True)
    begins = 1
    while True:
        try:
            row = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            line = begins + skipped
            raise TableError(_("The line is broken: %(error)s.") % {"error": error}, line) from None
        yield begins + skipped, [cell.strip() for cell in row]
        begins = reader.line_num + 1


def _sheet(content: bytes) -> Iterator[tuple[int, list[Value]]]:
    damaged = TableError(_("The workbook is damaged."))
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            if sum(entry.file_size for entry in archive.infolist()) > _MAX_UNPACKED_BYTES:
                raise TableError(_("The workbook is too large."))
        book = load_workbook(io.BytesIO(content), read_only=True, data_only=True)
    except TableError:
        raise
    except (zipfile.BadZipFile, InvalidFileException, KeyError, ValueError, OSError, SyntaxError, TypeError):
        raise damaged from None
    try:
        sheet: Any = book.worksheets[0] if book.worksheets else None
        if sheet is None:
            return
        # What a program wrote there is often wrong.
        sheet.reset_dimensions()
        for line, row in enumerate(sheet.iter_rows(values_only=True), 1):
            yield line, [_value(cell) for cell in row]
    except (zipfile.BadZipFile, KeyError, ValueError, OSError, SyntaxError, TypeError, AttributeError) as error:
        raise error if isinstance(error, TableError) else damaged from None
    finally:
        book.close()


def _value(cell: Any) -> Value:
    if cell is None:
        return ""
    if isinstance(cell, bool):
        return "TRUE" if cell else "FALSE"
    if isinstance(cell, float):
        # A sheet holds 15 digits; the rest of a float is noise.
        return Decimal(f"{cell:.15g}") if cell == cell and abs(cell) != float("inf") else str(cell)
    if isinstance(cell, int | date | datetime):
        return cell
    return str(cell).strip()


def _numbered(lines: Iterable[tuple[int, list[Value]]]) -> list[tuple[int, tuple[Value, ...]]]:
    rows: list[tuple[int, tuple[Value, ...]]] = []
    last = 0
    for line, cells in lines:
        while cells and cells[-1] == "":
            cells.pop()
        if not cells:
            if line - last > _MAX_EMPTY_ROWS:
                break
            continue
        last = line
        if len(cells) > MAX_COLUMNS:
            raise TableError(_("The line has more than %(count)s columns.") % {"count": MAX_COLUMNS}, line)
        if len(rows) >= MAX_ROWS:
            raise TableError(_("The file has more than %(count)s lines.") % {"count": f"{MAX_ROWS:,}"}, line)
        rows.append((line, tuple(cells)))
    return rows


def first_rows(table: Table, count: int) -> Iterator[tuple[int, tuple[Value, ...]]]:
    """Yield the first `count` lines, where a header may stand below a title."""
    return islice(table.rows, count)
