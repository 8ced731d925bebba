"""Temporary raises of quotas, as a configuration file states them below their quota."""

from datetime import datetime
from typing import Any

from django.core.exceptions import ValidationError
from django.utils import timezone
from django.utils.translation import gettext as _

from accounts.models import Quota, QuotaRaise
from gateway.config.rows import Run, shown
from gateway.config.schema import Item


def write_raises(run: Run, item: Item, quota: Quota) -> None:
    """Write the raises that the file gives for `quota`. One is known by its begin and its end.

    Raises that the file does not name stay, and those of the past as they were: what was granted is history.
    """
    now = timezone.now()
    stored = {(row.starts_at, row.ends_at): row for row in quota.raises.all()}
    met: set[tuple[datetime, datetime]] = set()
    for index, values in enumerate(item.values.get("raises", [])):
        path = f"raises[{index}]"
        when = (values["from"], values["until"])
        if problem := _problem(values, when in met):
            run.refuse(item, (f"{path}.{problem[0]}" if problem[0] else path, problem[1]))
            continue
        met.add(when)
        row = stored.get(when)
        name = f"{item.identity} {values['from'].isoformat()} - {values['until'].isoformat()}"
        if row is None and when[1] <= now:
            run.notes.append(_("The raise %(name)s is over and is not written.") % {"name": shown(name)})
        elif row is None or when[1] > now:
            _write(run, item, path, row or QuotaRaise(quota=quota, starts_at=when[0], ends_at=when[1]), values, name)


def _problem(values: dict[str, Any], is_met: bool) -> tuple[str, str] | None:
    """Return (field, message) of what is wrong with a raise by itself."""
    if not values["amount"]:
        return "amount", _("must be more than 0")
    if values["until"] <= values["from"]:
        return "until", _("is not after the begin")
    return ("", _("is there twice")) if is_met else None


def _write(run: Run, item: Item, path: str, row: QuotaRaise, values: dict[str, Any], name: str) -> None:
    is_new = row._state.adding
    wanted = {"amount": values["amount"]} | ({"reason": values["reason"] or ""} if "reason" in values else {})
    details: list[str] = []
    changed: list[str] = []
    for column, value in wanted.items():
        before = getattr(row, column)
        if is_new or before != value:
            details.append(f"{column} {shown(before)} -> {shown(value)}")
            changed.append(column)
            setattr(row, column, value)
    if not changed:
        return
    try:
        row.clean_fields(exclude=["quota", "granted_by"])
    except ValidationError as error:
        for field, messages in error.message_dict.items():
            run.refuse(item, *((f"{path}.{field}", message) for message in messages))
        return
    if is_new:
        row.save()
        run.say("+", "raise", name)
    else:
        row.save(update_fields=changed)
        run.say("~", "raise", name, "; ".join(details))


def exported_raises(quota: Quota) -> list[dict[str, Any]]:
    """Return the raises of `quota` that are not over, the earliest first."""
    now = timezone.now()
    return [
        {"amount": row.amount, "from": shown(row.starts_at), "until": shown(row.ends_at)}
        | ({"reason": row.reason} if row.reason else {})
        for row in sorted(quota.raises.all(), key=lambda row: row.starts_at)
        if row.ends_at > now
    ]
