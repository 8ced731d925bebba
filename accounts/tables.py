"""Reading tables that people upload: CSV in the encodings that Excel writes in China and elsewhere, and XLSX.

Nothing here knows what the columns mean. What a file says in a way that could be misread is refused, never guessed.
"""

import csv
import io
import re
import unicodedata
import zipfile
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from itertools import islice
from typing import Any

from django.core.exceptions import ValidationError
from django.utils.translation import gettext as _

MAX_BYTES = 10 * 1024 * 1024
MAX_ROWS = 50_000
MAX_COLUMNS = 100
# Lines with nothing in them, which a table calculation may keep by the hundred thousand, per row that is allowed.
_LINES_PER_ROW = 10
_SEPARATORS = (",", ";", "\t", "|")
# How a separator is typed in Chinese. A title above the table may have it too.
_WIDE_COMMA = "，"
_OTHER_FILES = (b"%PDF", b"\x89PNG", b"\xff\xd8\xff", b"GIF8", b"\x1f\x8b", b"{\\rtf")
_MERGED = re.compile(rb'<(?:\w+:)?mergeCell\s[^>]*?ref="([A-Z0-9:]{1,30})"')
# Excel keeps 15 digits of a number.
_MAX_EXACT = 10**15

Value = str | int | Decimal | date | datetime
Rows = list[tuple[int, tuple[Value, ...]]]
_Line = tuple[int, list[Value]]


class TableError(ValidationError):
    """The file is no table that could be read; the text says why, in the language of the reader.

    `line` is the line of the file, from 1, None where it is about all of it. The text names it too.
    """

    def __init__(self, message: str, line: int | None = None) -> None:
        super().__init__(message)
        self.line = line

    def __str__(self) -> str:
        return str(self.message)


class Fault(str):
    """A cell that cannot be used; the text says why."""

    __slots__ = ()


@dataclass(frozen=True, slots=True)
class Limits:
    """How large a file may be. `rows` are those below a head, `unpacked_bytes` is of a workbook, which is a zip file.

    `characters` is of all cells: in a workbook a text is stored once, however many cells hold it.
    """

    bytes: int = MAX_BYTES
    rows: int = MAX_ROWS
    columns: int = MAX_COLUMNS
    unpacked_bytes: int = 200 * 1024 * 1024
    characters: int = 40 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Table:
    """The lines of a file that hold anything, with their numbers from 1. Texts are stripped, "" is an empty cell."""

    rows: Rows
    encoding: str  # "xlsx" for a sheet
    separator: str = ""


def read_table(name: str, content: bytes, limits: Limits | None = None, *, as_texts: bool = False) -> Table:
    """Return what the file `name` holds: of a workbook its first visible sheet, else lines of separated values.

    `as_texts` reads a workbook as a person sees it: what Excel made of a text (a date, a rounded number), formulas and
    errors are `Fault`s, and merged cells are refused. Raises `TableError`.
    """
    limits = limits or Limits()
    check_size(len(content), limits)
    if not content.strip():
        raise TableError(_("The file is empty."))
    if content.startswith(b"\xd0\xcf\x11\xe0"):
        raise TableError(
            _("This is an old Excel file (.xls), or one with a password. Save it as .xlsx or CSV, without a password.")
        )
    if content.startswith(b"PK\x03\x04"):
        table = Table(_bounded(_sheet(content, limits, as_texts), limits), "xlsx")
    elif name.lower().endswith((".xlsx", ".xlsm")):
        raise TableError(_("This is no .xlsx workbook, whatever its name says."))
    elif content.startswith(_OTHER_FILES):
        raise _no_table()
    else:
        text, encoding = decoded(content)
        separator, skip = _separator(text)
        table = Table(_bounded(_separated(text, separator, skip), limits), encoding, separator)
    if not table.rows:
        raise TableError(_("The file is empty."))
    return table


def check_size(size: int, limits: Limits) -> None:
    """Raise `TableError` for a file of `size` bytes that nobody should take into memory."""
    if size > limits.bytes:
        raise _too_large(limits.bytes)


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


def first_rows(table: Table, count: int) -> Iterator[tuple[int, tuple[Value, ...]]]:
    """Yield the first `count` lines, where a header may stand below a title."""
    return islice(table.rows, count)


def decoded(content: bytes) -> tuple[str, str]:
    """Return the text in `content` and its encoding. Raises `TableError` when it cannot be told.

    What no mark names is UTF-8, or else GB18030, of which GBK and GB2312 are parts. Where no table would have bytes
    of both, as in a file of a Western code page, nothing is guessed: names would be stored garbled.
    """
    for mark, encoding in ((b"\xef\xbb\xbf", "utf-8"), (b"\xff\xfe", "utf-16-le"), (b"\xfe\xff", "utf-16-be")):
        if content.startswith(mark):
            return _strict(content[len(mark) :], encoding), encoding
    try:
        return _checked(content.decode("utf-8")), "utf-8"
    except UnicodeDecodeError:
        # What Excel writes in China. Unlike Latin-1 it is no encoding that takes any bytes.
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
        line = content.count(b"\n", 0, error.start) + 1
        text = _("Line %(line)d is text neither in UTF-8 nor in GB18030. Save the file as CSV UTF-8.")
        raise TableError(text % {"line": line}, line) from None


def _checked(text: str) -> str:
    if "\x00" in text:
        raise _no_table()
    return text


def _no_table() -> TableError:
    return TableError(_("This is neither a CSV file nor an Excel workbook."))


def _too_large(limit: int) -> TableError:
    return TableError(_("The file has more than %(limit)d MB.") % {"limit": limit // 1024 // 1024})


def _separator(text: str) -> tuple[str, int]:
    """Return what stands between the cells, and how many lines to skip: Excel may be told the separator in one."""
    lines = ((number, line) for number, line in enumerate(text.splitlines(), 1) if line.strip())
    number, first = next(lines, (0, ""))
    if first[:4].lower() == "sep=" and len(first) == 5:
        return first[4], number
    separator = max(_SEPARATORS, key=first.count)
    if separator not in first and (count := first.count(_WIDE_COMMA)):
        _number, second = next(lines, (0, ""))
        return (_WIDE_COMMA if second.count(_WIDE_COMMA) == count else separator), 0
    return separator, 0


def _separated(text: str, separator: str, skip: int) -> Iterator[_Line]:
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator, strict=True)
    # A cell may hold line breaks: the row is where it begins.
    begins = 1
    try:
        for row in reader:
            if begins > skip:
                yield begins, [cell.strip() for cell in row]
            begins = reader.line_num + 1
    except csv.Error as error:
        text = _("Line %(line)d cannot be read: %(error)s.") % {"line": begins, "error": error}
        raise TableError(text, begins) from None


def _sheet(content: bytes, limits: Limits, as_texts: bool) -> Iterator[_Line]:
    # Slow to load, and of use to those who upload a workbook only.
    from openpyxl import load_workbook
    from openpyxl.utils.exceptions import InvalidFileException

    broken = TableError(_("This Excel workbook cannot be read. Save it anew as .xlsx, or as CSV."))
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            # A member never gives more than it declares: reading stops there.
            if sum(member.file_size for member in archive.infolist()) > limits.unpacked_bytes:
                text = _("Unpacked, the workbook has more than %(limit)d MB.")
                raise TableError(text % {"limit": limits.unpacked_bytes // 1024 // 1024})
            if "[Content_Types].xml" not in archive.namelist():
                raise _no_table()
            # Read-only: a row at a time, not the whole sheet. Entities that grow are refused by expat itself.
            book = load_workbook(io.BytesIO(content), read_only=True, data_only=not as_texts)
            sheet: Any = next((one for one in book.worksheets if one.sheet_state == "visible"), None)
            if sheet is None:
                raise broken
            if as_texts and (merged := _MERGED.search(archive.read(sheet._worksheet_path.lstrip("/")))):
                text = _("The cells %(cells)s are merged. Take them apart and fill each one.")
                raise TableError(text % {"cells": merged[1].decode()})
        # What a program wrote there is often wrong.
        sheet.reset_dimensions()
        value: Callable[[Any], Value] = _shown if as_texts else _typed
        for line, row in enumerate(sheet.iter_rows(), 1):
            yield line, [value(cell) for cell in row]
    except (
        zipfile.BadZipFile,
        InvalidFileException,
        KeyError,
        ValueError,
        TypeError,
        AttributeError,
        IndexError,
        SyntaxError,  # ElementTree.ParseError is one
        EOFError,
        OSError,
        NotImplementedError,
        RuntimeError,
    ) as error:
        # Whatever is inside a broken file, openpyxl has no exception of its own for it.
        raise broken from error


def _typed(cell: Any) -> Value:
    value = cell.value
    if value is None:
        return ""
    if isinstance(value, bool):
        return "TRUE" if value else "FALSE"
    if isinstance(value, float):
        # A sheet holds 15 digits; the rest of a float is noise.
        return Decimal(f"{value:.15g}") if value == value and abs(value) != float("inf") else str(value)
    if isinstance(value, int | date | datetime):
        return value
    return str(value).strip()


def _shown(cell: Any) -> str:
    """Return what a person sees in the cell, or the fault of what was no text to begin with."""
    value = cell.value
    if value is None:
        return ""
    if cell.data_type == "f":
        return Fault(_("is a formula; enter its value"))
    if cell.data_type == "e":
        return Fault(_("holds the error %(error)s") % {"error": value})
    if isinstance(value, date | time | timedelta):
        return Fault(_("was made a date by Excel; format the cell as text and enter it again"))
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        if abs(value) >= _MAX_EXACT:
            return Fault(_("is a number that Excel has rounded; format the cell as text and enter it again"))
        text = str(int(value)) if value == int(value) else repr(value)
        # Numbers of staff that are shown with zeros in front.
        shown_as = str(cell.number_format or "")
        return text.zfill(len(shown_as)) if shown_as and set(shown_as) == {"0"} else text
    return str(value).strip()


def _bounded(lines: Iterable[_Line], limits: Limits) -> Rows:
    """Return the lines that hold anything, without the empty cells behind the last one. Raises `TableError`."""
    rows: Rows = []
    characters = 0
    for line, cells in lines:
        characters += sum(len(cell) for cell in cells if isinstance(cell, str))
        if characters > limits.characters:
            raise _too_large(limits.characters)
        while cells and cells[-1] == "":
            cells.pop()
        if line > _LINES_PER_ROW * limits.rows or (cells and len(rows) > limits.rows):
            text = _("The file has more than %(limit)d rows. Split it.")
            raise TableError(text % {"limit": limits.rows}, line)
        if len(cells) > limits.columns:
            text = _("Row %(row)d has more than %(limit)d cells.")
            raise TableError(text % {"row": line, "limit": limits.columns}, line)
        if cells:
            rows.append((line, tuple(cells)))
    return rows
