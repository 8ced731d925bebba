"""Which calls and corrections an export is about. Read in pages, so that a month needs no more memory than a page."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from django.db.models import Q, QuerySet

from accounts.models import CallRecord, Correction
from accounts.reports import Query
from accounts.reports.query import rows_of
from accounts.reports.sources import CALLS, CORRECTIONS

PAGE = 2000


@dataclass(frozen=True, slots=True)
class Selection:
    """The calls and corrections of an export, in no order."""

    calls: "QuerySet[CallRecord]"
    corrections: "QuerySet[Correction]"


def booked(query: Query) -> Selection:
    """Return what the numbers of `query` are the sums of; what it is grouped by does not matter."""
    return Selection(rows_of(CALLS, query).filter(settled_at__isnull=False), rows_of(CORRECTIONS, query))


def pages(selection: Selection, fields: tuple[str, ...], size: int = PAGE) -> Iterator[list[tuple[Any, ...]]]:
    """Yield the values of `fields` of the calls, oldest first, `size` calls at a time.

    Each page is a query of its own that goes on behind the last call of the one before: no transaction and no cursor
    stays open however slowly the client reads.
    """

    def page_of(calls: "QuerySet[CallRecord]") -> list[tuple[Any, ...]]:
        rows: Any = calls.order_by("started_at", "pk").values_list("started_at", "pk", *fields)
        return list(rows[:size])

    page = page_of(selection.calls)
    while page:
        yield [row[2:] for row in page]
        if len(page) < size:
            return
        moment, last = page[-1][:2]
        # The bound stands before those of the selection: of several SQLite goes to the index with the first, and with
        # the beginning of the month each page would read all those before it again.
        behind = CallRecord.objects.filter(started_at__gte=moment) & selection.calls
        page = page_of(behind.filter(Q(started_at__gt=moment) | Q(pk__gt=last)))


def correction_pages(
    selection: Selection, fields: tuple[str, ...], size: int = PAGE
) -> Iterator[list[tuple[Any, ...]]]:
    """Yield the values of `fields` of the corrections, first written first, `size` at a time."""
    rows: Any = selection.corrections.order_by("pk").values_list("pk", *fields)
    page: list[tuple[Any, ...]] = list(rows[:size])
    while page:
        yield [row[1:] for row in page]
        page = list(rows.filter(pk__gt=page[-1][0])[:size]) if len(page) == size else []


def count_up_to(selection: Selection, limit: int) -> int:
    """Return how many lines there are, `limit` + 1 for more than `limit`."""
    calls: int = selection.calls.order_by()[: limit + 1].count()
    corrections: int = selection.corrections.order_by()[: limit + 1].count()
    return min(calls + corrections, limit + 1)
