"""One line per call and per correction, as many as there are."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import IO, Any
from zoneinfo import ZoneInfo

from django.utils.text import capfirst
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _
from openpyxl.utils import get_column_letter

from accounts.exports.cells import BOM, Cell, csv_bytes
from accounts.exports.selection import PAGE, Selection, correction_pages, count_up_to, pages
from accounts.exports.sheets import COUNT, DAY, EXCEL_ROWS, MOMENT, MONEY, Book, Formula, SheetColumn
from accounts.models import CallRecord


@dataclass(frozen=True, slots=True)
class Column:
    """A column of the file: where its values come from in a call and in a correction; "" leaves it empty."""

    name: str
    call: str
    correction: str = ""
    title: Any = None  # None: that of the field of a call


_TOKENS = ("input_tokens", "output_tokens", "cache_read_tokens", "cache_write_tokens")
COLUMNS: tuple[Column, ...] = (
    Column("entry", "", "", _("entry")),
    Column("when", "started_at", "created_at", _("when (%(zone)s)")),
    Column("when_utc", "started_at", "created_at", _("when (UTC)")),
    Column("booked_on", "booked_on", "booked_on"),
    Column("corrects_on", "", "corrects_on", _("corrects")),
    Column("request_id", "id", "call_id", _("request id")),
    Column("user", "user__username", "user__username"),
    Column("team", "team__name", "team__name"),
    Column("cost_center", "team__cost_center", "team__cost_center", _("cost center")),
    Column("key", "key__name", "key__name"),
    Column("requested_model", "requested_model"),
    Column("provider", "provider_name", "provider_name"),
    Column("model", "model_name", "model_name"),
    Column("scene", "scene_name", "scene_name"),
    Column("kind", "kind", "kind"),
    Column("session", "session_id"),
    Column("agent", "agent_id"),
    Column("status", "status"),
    Column("http_status", "http_status"),
    *(Column(name, name, name) for name in _TOKENS),
    Column("cache_write_1h_tokens", "cache_write_1h_tokens"),
    Column("thinking_tokens", "thinking_tokens"),
    Column("usage_is_estimated", "usage_is_estimated"),
    Column("cost", "cost", "cost"),
    Column("currency", "currency", "currency", _("currency")),
    Column("cost_source", "cost_source", "source"),
    Column("reference_cost", "reference_cost"),
    Column("reference_currency", "reference_currency"),
    Column("uncached_cost", "uncached_cost"),
    Column("fallbacks", "fallbacks"),
    Column("ttft_ms", "ttft_ms"),
    Column("duration_ms", "duration_ms"),
    Column("reason", "", "reason", _("reason")),
)


def titles(zone: ZoneInfo) -> list[str]:
    """Return the titles of the columns in the language in force."""
    return [capfirst(_title(column) % {"zone": zone.key}) for column in COLUMNS]


def _title(column: Column) -> str:
    field: Any = CallRecord._meta.get_field(column.call.partition("__")[0] or "id")
    return str(column.title or field.verbose_name)


def rows(selection: Selection, zone: ZoneInfo, size: int = PAGE) -> Iterator[list[list[Cell]]]:
    """Yield the lines of the file a page at a time: the calls, oldest first, then the corrections.

    Codes such as the status stay as the books hold them, whatever the language.
    """
    for entry, sources, found in (
        (gettext("call"), [column.call for column in COLUMNS], pages),
        (gettext("correction"), [column.correction for column in COLUMNS], correction_pages),
    ):
        fields = tuple(source for source in sources if source)
        for page in found(selection, fields, size):
            yield [_line(entry, sources, dict(zip(fields, values, strict=True)), zone) for values in page]


def _line(entry: str, sources: list[str], values: dict[str, Any], zone: ZoneInfo) -> list[Cell]:
    return [
        entry if column.name == "entry" else _cell(column, values.get(source), zone)
        for column, source in zip(COLUMNS, sources, strict=True)
    ]


def _cell(column: Column, value: Any, zone: ZoneInfo) -> Cell:
    if isinstance(value, datetime):
        return value.astimezone(UTC if column.name == "when_utc" else zone).replace(tzinfo=None)
    if column.name == "request_id":
        return f"req_{value.hex}" if value is not None else None
    if isinstance(value, bool):
        return int(value)
    cell: Cell = value
    return cell


def calls_csv(selection: Selection, zone: ZoneInfo, size: int = PAGE) -> Iterator[bytes]:
    """Yield the file in UTF-8 with a byte order mark; no more of it than a page is ever in memory.

    Times are of `zone`, titles in the language in force at the first page.
    """
    yield BOM + csv_bytes([titles(zone)])
    for page in rows(selection, zone, size):
        yield csv_bytes(page)


def write_calls(selection: Selection, zone: ZoneInfo, file: IO[bytes]) -> None:
    """Write the workbook: typed cells, sums by formula. Raises `TooManyRows` beyond what a sheet holds."""
    size = count_up_to(selection, EXCEL_ROWS)
    columns = [
        SheetColumn(title, _SHOWN.get(column.name, "@"), is_summed=column.name in _SUMMED, width=_width(column.name))
        for column, title in zip(COLUMNS, titles(zone), strict=True)
    ]
    currencies: set[str] = set()

    def lines() -> Iterator[list[Cell]]:
        at = [column.name for column in COLUMNS].index("currency")
        for page in rows(selection, zone):
            currencies.update(str(line[at]) for line in page if line[at])
            yield from page

    name = gettext("Calls")
    with Book() as book:
        book.add(name, columns, lines(), gettext("Total"), size)
        head = [SheetColumn(capfirst(gettext("currency"))), SheetColumn(capfirst(gettext("cost")), MONEY)]
        book.add(gettext("Costs"), head, [_cost_line(name, currency) for currency in sorted(currencies)])
        book.save(file)


def _cost_line(sheet: str, currency: str) -> list[Cell | Formula]:
    """Return the cost in one currency, worked out from the sheet of the calls. A currency is three capital letters."""
    names = [column.name for column in COLUMNS]
    cost, of_currency = (get_column_letter(names.index(name) + 1) for name in ("cost", "currency"))
    formula = f"=SUMIF('{sheet}'!{of_currency}:{of_currency},\"{currency}\",'{sheet}'!{cost}:{cost})"
    return [currency, Formula(formula)]


# Not the costs, which are of several currencies; they have a sheet of their own.
_SUMMED = frozenset({*_TOKENS, "cache_write_1h_tokens", "thinking_tokens"})
_SHOWN = {
    "when": MOMENT,
    "when_utc": MOMENT,
    "booked_on": DAY,
    "corrects_on": DAY,
    **dict.fromkeys(("cost", "reference_cost", "uncached_cost"), MONEY),
    **dict.fromkeys((*_TOKENS, "cache_write_1h_tokens", "thinking_tokens", "ttft_ms", "duration_ms"), COUNT),
    **dict.fromkeys(("usage_is_estimated", "fallbacks", "http_status"), "0"),
}


def _width(name: str) -> int:
    return 37 if name in ("request_id", "session") else 0
