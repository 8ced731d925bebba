"""From a number of a report to what it is the sum of."""

from collections.abc import Mapping
from datetime import date, timedelta
from functools import cache
from typing import Any

from django.urls import get_script_prefix, reverse
from django.utils.http import urlencode

from accounts.models import CallRecord, Correction
from accounts.reports import Period, Query


def bucket(name: str, first: date) -> Period:
    """Return the days of the day, week or month that begins with `first`."""
    if name == "month":
        return Period.month(first)
    return Period(first, first + timedelta(days=6)) if name == "week" else Period(first, first)


def parameters(query: Query, ids: tuple[Any, ...] = ()) -> dict[str, str]:
    """Return the parameters by which the lists of calls and corrections hold the rows behind one line of a report.

    Without `ids` they are those of all lines.
    """
    start, end = query.period.start, query.period.end
    chosen: dict[str, Any] = dict(query.filters)
    for name, value in zip(query.by, ids, strict=False):
        if name in ("day", "week", "month"):
            # The first and the last week of a report are rarely whole.
            days = bucket(name, value)
            start, end = max(start, days.start), min(end, days.end)
        else:
            chosen[name] = value
    if query.roll_up and chosen.get("team") is not None:
        chosen["team_tree"] = chosen.pop("team")
    # Of several values only kinds are asked for at once; none has a comma in it.
    texts = {
        name: ",".join(value) if isinstance(value, list) else "" if value is None else str(value)
        for name, value in chosen.items()
    }
    return {"booked": f"{start}..{end}", **texts}


def calls_url(found: Mapping[str, str], **more: str) -> str:
    """Return the address of the list of calls with these parameters; `more` are `only` and `currency`."""
    return _url(CallRecord, {**found, **more})


def corrections_url(found: Mapping[str, str]) -> str:
    """Return the address of the list of corrections with these parameters."""
    return _url(Correction, found)


def _url(model: Any, found: Mapping[str, str]) -> str:
    return f"{_list_url(model, get_script_prefix())}?{urlencode(found)}"


@cache
def _list_url(model: Any, _prefix: str) -> str:
    # A page of a report has a thousand links, and finding an address takes longer than all else about them.
    return reverse(f"admin:{model._meta.app_label}_{model._meta.model_name}_changelist")
