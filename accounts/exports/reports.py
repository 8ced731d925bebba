"""A report as a file: every number of its rows, and what was asked."""

import io
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

from django.db.models import Q
from django.utils.text import capfirst
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from accounts.exports.cells import BOM, Cell, csv_bytes
from accounts.exports.sheets import COUNT, DAY, MONEY, MONTH, Book, SheetColumn
from accounts.models import ExchangeRate
from accounts.reports import DIMENSIONS, FILTERS, Report, Row, Totals
from accounts.reports.dimensions import labels_of
from routing.models import RuntimeSettings

_PAGE = 1000


@dataclass(frozen=True, slots=True)
class Number:
    """A number of each row; `is_money` are amounts in the currency of the report."""

    title: Any
    value: Callable[[Totals], int | Decimal | None]
    is_money: bool = False


def _named(name: str, title: Any, is_money: bool = False) -> Number:
    def value(totals: Totals) -> int | Decimal | None:
        found: int | Decimal | None = getattr(totals, name)
        return found

    return Number(title, value, is_money)


_COUNTS = (
    _named("calls", _("calls")),
    _named("failed_calls", _("failed calls")),
    _named("fallback_calls", _("calls answered by a fallback")),
    _named("unpriced_calls", _("unpriced calls")),
    _named("estimated_calls", _("estimated calls")),
    _named("input_tokens", _("input tokens")),
    _named("cache_read_tokens", _("cache read tokens")),
    _named("cache_write_tokens", _("cache write tokens")),
    _named("output_tokens", _("output tokens")),
)
_AMOUNTS = (
    _named("cost", _("cost"), True),
    _named("failed_cost", _("cost of failed calls"), True),
    _named("fallback_cost", _("cost of calls answered by a fallback"), True),
    _named("compared_cost", _("cost of the calls with a reference"), True),
    _named("reference_cost", _("cost on the reference model"), True),
    _named("saved", _("saved by routing"), True),
    _named("uncached_cost", _("cost without cache"), True),
    _named("cache_saved", _("saved by caches"), True),
)
_CORRECTIONS = _named("corrections", _("corrections"))


def _cost_in(currency: str) -> Number:
    return Number(
        gettext("cost in %(currency)s") % {"currency": currency},
        lambda totals: totals.costs.get(currency, Decimal(0)),
        True,
    )


def numbers(report: Report) -> list[Number]:
    """Return the numbers of a report: counts, the cost in each currency as it was booked, the converted amounts."""
    return [*_COUNTS, *(_cost_in(currency) for currency in report.total.costs), *_AMOUNTS, _CORRECTIONS]


def _titles(report: Report) -> list[str]:
    dimensions = [capfirst(str(DIMENSIONS[name].label)) for name in report.query.by]
    titles = []
    for number in numbers(report):
        title = capfirst(str(number.title))
        is_converted = number in _AMOUNTS
        titles.append(f"{title} ({report.currency})" if is_converted else title)
    return [*dimensions, *titles]


def _labels(report: Report, row: Row) -> list[Cell]:
    """Return what a row stands for: times as days, all else as text."""
    return [
        one if DIMENSIONS[name].is_time and isinstance(one, date) else text
        for name, text, one in zip(report.query.by, row.labels, row.ids, strict=True)
    ]


def report_csv(report: Report) -> Iterator[bytes]:
    """Yield the rows and their total in UTF-8 with a byte order mark; titles in the language in force."""
    found = numbers(report)
    yield BOM + csv_bytes([_titles(report)])
    for start in range(0, len(report.rows), _PAGE):
        rows = report.rows[start : start + _PAGE]
        yield csv_bytes([[*_labels(report, row), *(number.value(row.totals) for number in found)] for row in rows])
    labels: list[Cell] = [gettext("Total"), *([""] * (len(report.query.by) - 1))] if report.query.by else []
    yield csv_bytes([[*labels, *(number.value(report.total) for number in found)]])


def report_xlsx(report: Report, made_at: datetime, made_by: str = "") -> bytes:
    """Return the workbook: the rows with sums by formula, and a second sheet that says what was asked.

    Names are in the language in force.
    """
    file = io.BytesIO()
    with Book() as book:
        add_report(book, report, gettext("Usage"))
        book.add_words(gettext("About"), about(report, made_at, made_by))
        book.save(file)
    return file.getvalue()


def add_report(book: Book, report: Report, name: str) -> None:
    """Add a sheet of the rows, with the row of their sums."""
    found = numbers(report)
    titles = iter(_titles(report))
    shown: dict[str, str] = {"month": MONTH, "week": DAY, "day": DAY}
    columns = [SheetColumn(next(titles), shown.get(each, "@")) for each in report.query.by]
    columns += [SheetColumn(next(titles), MONEY if number.is_money else COUNT, is_summed=True) for number in found]
    rows = ([*_labels(report, row), *(number.value(row.totals) for number in found)] for row in report.rows)
    if not report.query.by:
        columns.insert(0, SheetColumn(""))
        rows = ([gettext("All"), *row] for row in rows)
    book.add(name, columns, rows, gettext("Total"), len(report.rows))


def about(report: Report, made_at: datetime, made_by: str = "") -> Iterator[list[Cell]]:
    """Yield what was asked, and what the numbers rest on, as names and values."""
    settings = RuntimeSettings.load()
    query = report.query
    yield [gettext("Period"), f"{query.period.start} – {query.period.end}"]
    yield [gettext("Time zone"), settings.business_time_zone]
    by = ", ".join(str(DIMENSIONS[name].label) for name in query.by)
    yield [gettext("Grouped by"), by or "-"]
    for name, value in query.filters.items():
        yield [gettext("Only"), f"{filter_label(name)}: {filter_text(name, value)}"]
    if query.viewer is not None:
        yield [gettext("As seen by"), query.viewer.get_username()]
    yield [gettext("Currency"), report.currency]
    for rate in rates_used(report):
        yield [gettext("Exchange rate"), gettext("%(rate)s from %(day)s") % {"rate": rate, "day": rate.valid_from}]
    for currency in sorted(report.missing_rates):
        text = gettext("Amounts in %(currency)s are in no converted sum: there is no exchange rate.")
        yield [gettext("Note"), text % {"currency": currency}]
    made = made_at.astimezone(ZoneInfo(settings.business_time_zone))
    yield [gettext("Made"), f"{made:%Y-%m-%d %H:%M:%S} {made_by}".rstrip()]


def filter_label(name: str) -> str:
    """Return what a filter is called."""
    return str(DIMENSIONS[name].label) if name in DIMENSIONS else gettext("currency")


def filter_text(name: str, value: Any) -> str:
    """Return the chosen value, or values, of a filter as text."""
    assert name in FILTERS
    values = list(value) if isinstance(value, list | tuple | set | frozenset) else [value]
    if name not in DIMENSIONS:
        return ", ".join(str(one) for one in values)
    labels = labels_of(name, values)
    return ", ".join(labels[one] for one in values)


def rates_used(report: Report) -> list[ExchangeRate]:
    """Return the rates that may have converted an amount of the report: of its currencies, in force in its days."""
    currencies = {*report.total.costs, report.currency}
    if len(currencies) < 2:
        return []
    period = report.query.period
    rates = ExchangeRate.objects.filter(Q(from_currency__in=currencies) | Q(to_currency__in=currencies))
    found: dict[tuple[str, str], list[ExchangeRate]] = {}
    for rate in rates.filter(valid_from__lte=period.end).order_by("from_currency", "to_currency", "-valid_from"):
        of_pair = found.setdefault((rate.from_currency, rate.to_currency), [])
        # The one before the first day is in force on it; older ones are not.
        if not of_pair or of_pair[-1].valid_from > period.start:
            of_pair.append(rate)
    return [rate for of_pair in found.values() for rate in reversed(of_pair)]
