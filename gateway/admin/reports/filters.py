"""What the lists of calls and corrections are narrowed by when they are opened from a number of a report.

The conditions are those by which the number was summed. A filter shows itself only while it is set, so the lists keep
their short row of filters. Every text, the empty one too, is a value: calls without a scene are calls of no scene.
"""

from datetime import date
from typing import Any

from django.contrib import admin
from django.contrib.admin.options import IncorrectLookupParameters
from django.db.models import Q, QuerySet
from django.http import HttpRequest
from django.utils.translation import gettext_lazy as _

from accounts.models import CallRecord, Correction
from accounts.reports import DIMENSIONS, Period
from accounts.reports.dimensions import labels_of, teams_below
from accounts.reports.sources import CALLS, CORRECTIONS, ESTIMATED, FAILED, FALLBACK, UNPRICED, Source
from gateway.admin.books.decisions import kind_label

_MARKS = {"failed": FAILED, "fallback": FALLBACK, "estimated": ESTIMATED, "unpriced": UNPRICED}
# Those whose values are rows of a table, by id.
ROW_DIMENSIONS = ("team", "user", "key")
_LARGEST_ID = 2**63 - 1


def _source(queryset: QuerySet[Any]) -> Source:
    return CORRECTIONS if queryset.model is Correction else CALLS


class GivenFilter(admin.SimpleListFilter):
    """By a value that the address gives: offered while it is set, to be seen and taken away."""

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        """Return the value that is set."""
        value = self.value()
        return [] if value is None else [(value, self.label(value))]

    def label(self, value: str) -> str:
        """Return `value` as a reader knows it."""
        raise NotImplementedError


class BookedFilter(GivenFilter):
    """By the days on which calls were booked, written 2026-11-01..2026-11-30."""

    title = _("booked on")
    parameter_name = "booked"

    def label(self, value: str) -> str:
        """Return the days."""
        period = _period(value)
        return f"{period.start} – {period.end}" if period.days > 1 else str(period.start)

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        """Return the rows of these days."""
        value = self.value()
        return queryset if value is None else queryset.filter(_source(queryset).in_period(_period(value)))


def _period(value: str) -> Period:
    start, _dots, end = value.partition("..")
    try:
        return Period(date.fromisoformat(start), date.fromisoformat(end))
    except ValueError as error:
        raise IncorrectLookupParameters(str(error)) from error


class DimensionFilter(GivenFilter):
    """By a dimension of the reports."""

    def label(self, value: str) -> str:
        """Return the name that belongs to the value."""
        name = str(self.parameter_name)
        if name == "currency":
            return value
        if name == "kind" and value:
            return ", ".join(kind_label(kind) for kind in value.split(","))
        one = self._id(value)
        return labels_of(name, [one])[one]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        """Return the rows with the value."""
        value = self.value()
        if value is None:
            return queryset
        return queryset.filter(_source(queryset).condition(str(self.parameter_name), self._id(value)))

    def _id(self, value: str) -> Any:
        if "\x00" in value:
            # PostgreSQL takes no such text.
            raise IncorrectLookupParameters("a text with NUL")
        if self.parameter_name == "kind":
            return value.split(",")
        if self.parameter_name not in ROW_DIMENSIONS:
            return value
        return _row_id(value) if value else None


def _row_id(value: str) -> int:
    if not value.isascii() or not value.isdigit() or int(value) > _LARGEST_ID:
        raise IncorrectLookupParameters(f"“{value[:20]}” is no id")
    return int(value)


class TeamTreeFilter(GivenFilter):
    """By a team with those under it."""

    title = _("team with those under it")
    parameter_name = "team_tree"

    def label(self, value: str) -> str:
        """Return the name of the team at the top."""
        team_id = _row_id(value)
        return labels_of("team", [team_id])[team_id]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        """Return the rows of the teams."""
        value = self.value()
        if value is None:
            return queryset
        return queryset.filter(_source(queryset).condition("team", teams_below({_row_id(value)})))


class MarkFilter(admin.SimpleListFilter):
    """By what reports count apart."""

    title = _("particular")
    parameter_name = "only"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, Any]]:
        """Return what reports count apart."""
        return [
            ("failed", _("failed or lost")),
            ("fallback", _("answered by a fallback")),
            ("estimated", _("usage estimated")),
            ("unpriced", _("unpriced")),
        ]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        """Return the calls that are so, of those that have ended."""
        condition = _MARKS.get(self.value() or "")
        if condition is None:
            return queryset
        # That it does not run says twice what `booked_on` says: the index of calls without a cost asks for it.
        return queryset.filter(condition, ~Q(status=CallRecord.Status.RUNNING), booked_on__isnull=False)


def _dimension_filter(name: str, title: Any) -> type[DimensionFilter]:
    return type(f"{name.title()}Filter", (DimensionFilter,), {"title": title, "parameter_name": name})


_DIMENSION_FILTERS = {
    name: _dimension_filter(name, dimension.label) for name, dimension in DIMENSIONS.items() if not dimension.is_time
} | {"currency": _dimension_filter("currency", _("currency"))}
# The list of calls has a filter by kind of its own, of the same name.
CALL_REPORT_FILTERS: tuple[type[admin.SimpleListFilter], ...] = (
    MarkFilter,
    BookedFilter,
    TeamTreeFilter,
    *(chosen for name, chosen in _DIMENSION_FILTERS.items() if name != "kind"),
)
CORRECTION_REPORT_FILTERS: tuple[type[GivenFilter], ...] = (BookedFilter, TeamTreeFilter, *_DIMENSION_FILTERS.values())
