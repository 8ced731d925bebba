"""A list of people in a file: its head and its rows, as texts, with what is wrong with a cell beside it.

Nothing here knows what the columns mean. What makes a cell unusable (a formula, a date that Excel made of a name) is
kept for the preview to show at its row.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

from django.core.exceptions import ValidationError
from django.utils.translation import gettext as _

from accounts.tables import Fault, Limits, Value, read_table

MAX_BYTES = 5 * 1024 * 1024
# Of a workbook. Ten thousand people take less than a tenth of it.
MAX_UNPACKED_BYTES = 50 * 1024 * 1024
LIMITS = Limits(
    bytes=MAX_BYTES, rows=10_000, columns=50, unpacked_bytes=MAX_UNPACKED_BYTES, characters=10 * 1024 * 1024
)


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


def read(content: bytes, name: str = "") -> Table:
    """Return the list in the file `name`. Raises `ValidationError` for what is no list with a head and a row."""
    table = read_table(name, content, LIMITS, as_texts=True)
    head, *lines = (_line(number, cells) for number, cells in table.rows)
    if not lines:
        raise ValidationError(_("The file has a head, but no row below it."))
    return Table(_form(table.encoding, table.separator), head, lines)


def _form(encoding: str, separator: str) -> str:
    if encoding == "xlsx":
        return _("Excel workbook")
    # Which half of two bytes comes first is of no use to the reader.
    shown = encoding.upper().removesuffix("-LE").removesuffix("-BE")
    return _("CSV in %(encoding)s, separated by “%(delimiter)s”") % {
        "encoding": shown,
        "delimiter": {"\t": _("tab")}.get(separator, separator),
    }


def _line(number: int, values: Sequence[Value]) -> Line:
    cells: list[str] = []
    faults: dict[int, str] = {}
    for position, value in enumerate(values):
        # The spaces of Chinese typing and of copied web pages are spaces.
        text = "" if isinstance(value, Fault) else str(value).replace("\u3000", " ").replace("\xa0", " ")
        if isinstance(value, Fault):
            faults[position] = str(value)
        elif text.startswith("="):
            faults[position] = _("is a formula; enter its value")
        cells.append(text)
    return Line(number, cells, faults)
