"""Reading a list of people from a file: CSV in whatever form table calculations save it, or an Excel workbook.

Nothing here knows what the columns mean. A cell is text; what makes it unusable (a formula, a date that Excel made of
a name) is kept beside it, for the preview to show at its row.
"""

import csv
import io
import re
import zipfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import date, time, timedelta
from typing import Any

from django.core.exceptions import ValidationError
from django.utils.translation import gettext as _

MAX_BYTES = 5 * 1024 * 1024
MAX_ROWS = 10_000
MAX_COLUMNS = 50
# Of a workbook, which is a zip file. Ten thousand people take less than a tenth of it.
MAX_UNPACKED_BYTES = 50 * 1024 * 1024
# Of all cells. In a workbook a text is stored once, however many cells hold it.
_MAX_CHARACTERS = 10 * 1024 * 1024
# Rows with nothing in them, which a table calculation may keep by the hundred thousand.
_MAX_LINES = 10 * MAX_ROWS
_DELIMITERS = (",", ";", "\t", "，")
_MERGED = re.compile(rb'<(?:\w+:)?mergeCell\s[^>]*?ref="([A-Z0-9:]{1,30})"')
# Excel keeps 15 digits of a number.
_MAX_EXACT = 10**15


@dataclass(frozen=True, slots=True)
class Line:
    """One row of the file: its number there, its cells, and what is wrong with some of them by their position."""

    number: int
    cells: list[str]
    faults: dict[int, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Table:
    """What a file holds. `form` says how it was read, for the reader to see whether that was right."""

    form: str
    head: Line
    lines: list[Line]


def read(data: bytes) -> Table:
    """Return the table in the file `data`. Raises `ValidationError` for what is no list with a head and a row."""
    if not data.strip():
        raise ValidationError(_("The file is empty."))
    if len(data) > MAX_BYTES:
        raise ValidationError(_("The file has more than %(limit)d MB.") % {"limit": MAX_BYTES // 1024 // 1024})
    if data.startswith(b"PK\x03\x04"):
        form, lines = _("Excel workbook"), _workbook_lines(data)
    elif data.startswith(b"\xd0\xcf\x11\xe0"):
        raise ValidationError(
            _("This is an old Excel file (.xls), or one with a password. Save it as .xlsx or CSV, without a password.")
        )
    else:
        form, lines = _csv_lines(data)
    found: list[Line] = []
    characters = 0
    for line in lines:
        characters += sum(map(len, line.cells))
        if characters > _MAX_CHARACTERS:
            raise ValidationError(
                _("The file has more than %(limit)d MB.") % {"limit": _MAX_CHARACTERS // 1024 // 1024}
            )
        if line.number > _MAX_LINES or len(found) > MAX_ROWS:
            raise ValidationError(_("The file has more than %(limit)d rows. Split it.") % {"limit": MAX_ROWS})
        if any(line.cells) or line.faults:
            found.append(line)
    if not found:
        raise ValidationError(_("The file is empty."))
    head, *rows = found
    if not rows:
        raise ValidationError(_("The file has a head, but no row below it."))
    return Table(form, head, rows)


def _cell(text: str) -> str:
    # The spaces of Chinese typing and of copied web pages are spaces.
    return text.replace("\u3000", " ").replace("\xa0", " ").strip()


def _decoded(data: bytes) -> tuple[str, str]:
    """Return the text and the name of its encoding. Raises `ValidationError` naming the line that is none."""
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        encoding = "UTF-16"
    elif data.startswith(b"\xef\xbb\xbf"):
        encoding = "UTF-8-SIG"
    else:
        try:
            return data.decode("utf-8"), "UTF-8"
        except UnicodeDecodeError:
            # What Excel writes in China. Unlike Latin-1 it is no encoding that takes any bytes.
            encoding = "GB18030"
    try:
        return data.decode(encoding), encoding.removesuffix("-SIG")
    except UnicodeDecodeError as error:
        raise ValidationError(
            _("Line %(line)d is text neither in UTF-8 nor in GB18030. Save the file as CSV UTF-8.")
            % {"line": data.count(b"\n", 0, error.start) + 1}
        ) from None


def _csv_lines(data: bytes) -> tuple[str, Iterator[Line]]:
    if data.startswith((b"%PDF", b"\x89PNG", b"\xff\xd8\xff", b"GIF8", b"\x1f\x8b", b"{\\rtf")):
        raise ValidationError(_("This is neither a CSV file nor an Excel workbook."))
    text, encoding = _decoded(data)
    if "\x00" in text:
        raise ValidationError(_("This is neither a CSV file nor an Excel workbook."))
    first = next((line for line in text.lstrip("\ufeff \r\n\t").splitlines() if line.strip()), "")
    skip = 0
    if first[:4].lower() == "sep=" and len(first) == 5:
        # A line that tells Excel what separates the cells.
        delimiter, skip = first[4], 1
    else:
        delimiter = max(_DELIMITERS, key=first.count)
    name = {"\t": _("tab")}.get(delimiter, delimiter)
    form = _("CSV in %(encoding)s, separated by “%(delimiter)s”") % {"encoding": encoding, "delimiter": name}
    return form, _parsed(text.removeprefix("\ufeff"), delimiter, skip)


def _parsed(text: str, delimiter: str, skip: int) -> Iterator[Line]:
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    number = 1
    try:
        for cells in reader:
            if number > skip:
                yield _line(number, cells)
            # A cell may hold line breaks: the row is where it begins.
            number = reader.line_num + 1
    except csv.Error as error:
        raise ValidationError(
            _("Line %(line)d cannot be read: %(error)s.") % {"line": reader.line_num, "error": error}
        ) from None


def _line(number: int, values: Iterable[str]) -> Line:
    cells = [_cell(value) for value in values]
    formula = _("is a formula; enter its value")
    faults = {position: formula for position, cell in enumerate(cells) if cell.startswith("=")}
    if any(cells[MAX_COLUMNS:]):
        raise ValidationError(_("Row %(row)d has more than %(limit)d cells.") % {"row": number, "limit": MAX_COLUMNS})
    return Line(number, cells[:MAX_COLUMNS], faults)


def _workbook_lines(data: bytes) -> Iterator[Line]:
    # Slow to load, and of use to those who upload a workbook only.
    from openpyxl import load_workbook
    from openpyxl.utils.exceptions import InvalidFileException

    broken = ValidationError(_("This Excel workbook cannot be read. Save it anew as .xlsx, or as CSV."))
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            # A member never gives more than it declares: reading stops there.
            if sum(member.file_size for member in archive.infolist()) > MAX_UNPACKED_BYTES:
                raise ValidationError(
                    _("Unpacked, the workbook has more than %(limit)d MB.")
                    % {"limit": MAX_UNPACKED_BYTES // 1024 // 1024}
                )
            if "[Content_Types].xml" not in archive.namelist():
                raise ValidationError(_("This is neither a CSV file nor an Excel workbook."))
            # Read-only: a row at a time, not the whole sheet. Entities that grow are refused by expat itself.
            workbook = load_workbook(io.BytesIO(data), read_only=True)
            sheet: Any = next((one for one in workbook.worksheets if one.sheet_state == "visible"), None)
            if sheet is None:
                raise broken
            if merged := _MERGED.search(archive.read(sheet._worksheet_path.lstrip("/"))):
                raise ValidationError(
                    _("The cells %(cells)s are merged. Take them apart and fill each one.")
                    % {"cells": merged[1].decode()}
                )
            sheet.reset_dimensions()
            yield from (_sheet_line(number, row) for number, row in enumerate(sheet.iter_rows(), 1))
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


def _sheet_line(number: int, row: Iterable[Any]) -> Line:
    values: list[str] = []
    faults: dict[int, str] = {}
    for position, cell in enumerate(row):
        try:
            values.append(_cell(_text_of(cell)))
        except ValidationError as error:
            values.append("")
            faults[position] = error.messages[0]
    line = _line(number, values)
    return Line(line.number, line.cells, {**line.faults, **faults})


def _text_of(cell: Any) -> str:
    """Return what a person sees in the cell. Raises `ValidationError` for what was no text to begin with."""
    value = cell.value
    if value is None:
        return ""
    if cell.data_type == "f":
        raise ValidationError(_("is a formula; enter its value"))
    if cell.data_type == "e":
        raise ValidationError(_("holds the error %(error)s") % {"error": value})
    if isinstance(value, date | time | timedelta):
        raise ValidationError(_("was made a date by Excel; format the cell as text and enter it again"))
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        if abs(value) >= _MAX_EXACT:
            raise ValidationError(_("is a number that Excel has rounded; format the cell as text and enter it again"))
        text = str(int(value)) if value == int(value) else repr(value)
        # Numbers of staff that are shown with zeros in front.
        shown_as = str(cell.number_format or "")
        return text.zfill(len(shown_as)) if shown_as and set(shown_as) == {"0"} else text
    return str(value)
