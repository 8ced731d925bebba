"""The tables of the reports: columns of numbers, each number a link to the calls behind it."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from accounts.reports import DIMENSIONS, Report, Row, Totals
from gateway.admin.books.decisions import kind_label
from gateway.admin.reports.links import calls_url, corrections_url, parameters

_CENT = Decimal("0.01")


def money(amount: Decimal | None, currency: str = "") -> str:
    """Return an amount for reading: cents, of less than one unit four decimals; None: no rate converts it."""
    if amount is None:
        return gettext("no rate")
    if not amount:
        text = "0.00"
    elif abs(amount) >= 1:
        text = f"{amount:,.2f}"
    elif abs(amount) >= Decimal("0.0001"):
        text = f"{amount:,.4f}"
    else:
        text = f"{amount:.10f}".rstrip("0")
    return f"{text} {currency}".rstrip()


def percent(part: Decimal | int, whole: Decimal | int | None) -> str:
    """Return a share for reading; of nothing there is none."""
    return f"{100 * Decimal(part) / Decimal(whole):,.1f} %" if whole else "-"


@dataclass(frozen=True, slots=True)
class Column:
    """One number of each row. `only` is the mark of the calls that it counts, `currency` the one they are priced in."""

    name: str
    label: Any
    value: Callable[[Totals], Decimal | int | None]
    text: Callable[[Totals], str]
    only: str = ""
    currency: str = ""
    is_link: bool = True
    sums: tuple[str, ...] = ()  # what it is made of, as `Query.sums` names it


# What numbers that are no sums themselves are made of.
_MADE_OF = {
    "tokens": ("input_tokens", "output_tokens", "cache_read_tokens", "cache_write_tokens"),
    "saved": ("reference_cost", "compared_cost"),
    "cache_saved": ("uncached_cost", "cost"),
}


def made_of(name: str) -> tuple[str, ...]:
    """Return the sums behind a number of `Totals`."""
    return _MADE_OF.get(name, (name,))


def sums_of(columns: Iterable[Column], *names: str) -> frozenset[str]:
    """Return the sums behind columns and other numbers: all that a page needs of a report."""
    return frozenset(part for column in columns for part in column.sums) | {
        part for name in names for part in made_of(name)
    }


def count(name: str, label: Any, only: str = "") -> Column:
    """Return a column of a count."""
    return Column(
        name,
        label,
        lambda totals: getattr(totals, name),
        lambda totals: f"{getattr(totals, name):,}",
        only,
        sums=made_of(name),
    )


def amount(name: str, label: Any, only: str = "") -> Column:
    """Return a column of a converted amount."""
    return Column(
        name,
        label,
        lambda totals: getattr(totals, name),
        lambda totals: money(getattr(totals, name)),
        only,
        sums=made_of(name),
    )


def share(name: str, label: Any, part: str, whole: str) -> Column:
    """Return a column that says how much of another one a number is."""

    def value(totals: Totals) -> Decimal | int | None:
        divisor = getattr(totals, whole)
        return Decimal(getattr(totals, part)) / divisor if divisor else None

    return Column(
        name,
        label,
        value,
        lambda totals: percent(getattr(totals, part), getattr(totals, whole)),
        is_link=False,
        sums=(*made_of(part), *made_of(whole)),
    )


def cost_in(currency: str) -> Column:
    """Return the column of what was priced in one currency."""
    return Column(
        f"cost_{currency}",
        currency,
        lambda totals: totals.costs.get(currency, Decimal(0)),
        lambda totals: money(totals.costs[currency]) if currency in totals.costs else "-",
        currency=currency,
    )


_CALLS = count("calls", _("calls"))
_COST = amount("cost", _("cost"))
_APART = (
    count("failed_calls", _("failed"), "failed"),
    count("fallback_calls", _("fallback"), "fallback"),
    count("unpriced_calls", _("unpriced"), "unpriced"),
    count("estimated_calls", _("estimated"), "estimated"),
)
_TOKENS = (
    count("input_tokens", _("input tokens")),
    count("cache_read_tokens", _("cache read tokens")),
    count("cache_write_tokens", _("cache write tokens")),
    count("output_tokens", _("output tokens")),
)
SAVINGS = (
    _CALLS,
    _COST,
    amount("compared_cost", _("of it compared")),
    amount("reference_cost", _("on the reference model")),
    amount("saved", _("saved by routing")),
    share("saved_share", _("share saved"), "saved", "reference_cost"),
    amount("uncached_cost", _("without cache")),
    amount("cache_saved", _("saved by caches")),
)
FAILURES = (
    _CALLS,
    count("failed_calls", _("failed"), "failed"),
    share("failed_share", _("failed share"), "failed_calls", "calls"),
    amount("failed_cost", _("cost of failed calls"), "failed"),
    count("fallback_calls", _("fallback"), "fallback"),
    share("fallback_share", _("fallback share"), "fallback_calls", "calls"),
    amount("fallback_cost", _("cost of fallback calls"), "fallback"),
    count("unpriced_calls", _("unpriced"), "unpriced"),
    count("estimated_calls", _("estimated"), "estimated"),
)


USAGE_SUMS = sums_of((_CALLS, _COST, *_TOKENS, *_APART))


def usage_columns(report: Report) -> tuple[Column, ...]:
    """Return the columns of usage: the converted cost, and one for each currency that something was priced in."""
    return (_CALLS, _COST, *(cost_in(currency) for currency in report.total.costs), *_TOKENS, *_APART)


def row_labels(report: Report, row: Row) -> tuple[str, ...]:
    """Return what a row stands for, in the language of the reader."""
    return tuple(
        kind_label(text) if name == "kind" and one else text
        for name, text, one in zip(report.query.by, row.labels, row.ids, strict=True)
    )


def sorted_rows(report: Report, columns: Sequence[Column], order: str) -> tuple[list[Row], str]:
    """Return the rows in the order of a column, "-" before its name: the largest first; and the order that was taken.

    Without one that is there, times go forward and all else by cost, or by calls where the cost is no column.
    """
    name, is_descending = order.removeprefix("-"), order.startswith("-")
    if name in report.query.by:
        position = report.query.by.index(name)
        is_time = DIMENSIONS[name].is_time
        rows = sorted(
            report.rows,
            key=lambda row: row.ids[position] if is_time else row.labels[position].casefold(),
            reverse=is_descending,
        )
        return rows, order
    column = next((column for column in columns if column.name == name), None)
    if column is None:
        if report.query.by and DIMENSIONS[report.query.by[0]].is_time:
            return report.rows, report.query.by[0]
        column, is_descending = next((column for column in columns if column.name == "cost"), columns[0]), True
    by = column.value
    rows = sorted(
        report.rows,
        key=lambda row: value if (value := by(row.totals)) is not None else Decimal(0),
        reverse=is_descending,
    )
    return rows, f"{'-' if is_descending else ''}{column.name}"


def cells(report: Report, columns: Sequence[Column], row: Row | None, is_linked: bool) -> list[SafeString | str]:
    """Return the numbers of a row, or of the total, as links to their calls if `is_linked`."""
    totals = report.total if row is None else row.totals
    found = parameters(report.query, () if row is None else row.ids)
    return [cell(column, totals, found, is_linked, report.currency) for column in columns]


def cell(column: Column, totals: Totals, found: Mapping[str, str], is_linked: bool, currency: str) -> SafeString | str:
    """Return one number, as a link to the calls with the parameters `found`."""
    text, value = column.text(totals), column.value(totals)
    if not (is_linked and column.is_link and value) or not totals.calls:
        return text
    more = {name: chosen for name, chosen in (("only", column.only), ("currency", column.currency)) if chosen}
    exact = f"{value:,f} {column.currency or currency}" if isinstance(value, Decimal) else ""
    if exact:
        return format_html('<a href="{}" title="{}">{}</a>', calls_url(found, **more), exact, text)
    return format_html('<a href="{}">{}</a>', calls_url(found, **more), text)


def corrections_cell(report: Report, row: Row | None, is_linked: bool) -> SafeString | str:
    """Return how many corrections are in a row, as a link to them."""
    totals = report.total if row is None else row.totals
    if not totals.corrections:
        return ""
    if not is_linked:
        return str(totals.corrections)
    found = parameters(report.query, () if row is None else row.ids)
    return format_html('<a href="{}">{}</a>', corrections_url(found), totals.corrections)
