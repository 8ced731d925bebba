"""Which calls and corrections an export is about. Read in pages, so that a month needs no more memory than a page."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import Any

from django.db.models import Q, QuerySet

from accounts.models import CallRecord, Correction, User
from accounts.roles import visible

PAGE = 2000
# What a filter of a report compares: of a call, and of a correction.
_LOOKUPS: dict[str, tuple[str, str]] = {
    "team": ("team", "team"),
    "cost_center": ("team__cost_center", "team__cost_center"),
    "user": ("user", "user"),
    "key": ("key", "key"),
    "model": ("model_name", "model_name"),
    "provider": ("provider_name", "provider_name"),
    "scene": ("scene_name", "scene_name"),
    "kind": ("kind", "kind"),
    "session": ("session_id", "call__session_id"),
    "subagent": ("agent_id", "call__agent_id"),
    "currency": ("currency", "currency"),
}


@dataclass(frozen=True, slots=True)
class Selection:
    """The calls and corrections of an export, in no order."""

    calls: "QuerySet[CallRecord]"
    corrections: "QuerySet[Correction]"


def booked(start: date, end: date, filters: Mapping[str, Any] | None = None, viewer: User | None = None) -> Selection:
    """Return what was booked from `start` to `end`, both included, as the reports count it.

    `filters` are by dimension of the reports; `viewer` None sees everything. Raises `ValueError` for a dimension that
    calls do not have.
    """
    of_call, of_correction = Q(), Q()
    for name, value in (filters or {}).items():
        if name not in _LOOKUPS:
            raise ValueError(name)
        call_lookup, correction_lookup = _LOOKUPS[name]
        of_call &= _condition(call_lookup, value)
        of_correction &= _condition(correction_lookup, value)
    calls = CallRecord.objects.filter(of_call, settled_at__isnull=False, booked_on__range=(start, end))
    # The day is of the business time zone of then, which no index knows; time zones reach 14 hours from UTC.
    calls = calls.filter(started_at__gte=_midnight(start) - timedelta(days=1))
    calls = calls.filter(started_at__lt=_midnight(end) + timedelta(days=2))
    corrections = Correction.objects.filter(of_correction, booked_on__range=(start, end))
    if viewer is not None:
        calls, corrections = visible(calls, viewer), visible(corrections, viewer)
    return Selection(calls, corrections)


def _condition(lookup: str, value: Any) -> Q:
    if value is None:
        return Q(**{f"{lookup}__isnull": True})
    if value == "" and "__" in lookup:
        # What has no team has no cost centre, and a correction without a call no session.
        return Q(**{lookup: ""}) | Q(**{f"{lookup.partition('__')[0]}__isnull": True})
    return Q(**{f"{lookup}__in": value}) if isinstance(value, list | tuple | set) else Q(**{lookup: value})


def _midnight(day: date) -> datetime:
    return datetime.combine(day, time(), UTC)


def pages(selection: Selection, fields: tuple[str, ...], size: int = PAGE) -> Iterator[list[tuple[Any, ...]]]:
    """Yield the values of `fields` of the calls, oldest first, `size` calls at a time.

    Each page is a query of its own that goes on behind the last call of the one before: no transaction and no cursor
    stays open however slowly the client reads.
    """
    rows: Any = selection.calls.order_by("started_at", "pk").values_list("started_at", "pk", *fields)
    page: list[tuple[Any, ...]] = list(rows[:size])
    while page:
        yield [row[2:] for row in page]
        if len(page) < size:
            return
        moment, last = page[-1][:2]
        # Two conditions, because an index serves only the second one.
        behind = Q(started_at__gt=moment) | Q(pk__gt=last)
        page = list(rows.filter(behind, started_at__gte=moment)[:size])


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
