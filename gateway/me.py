"""What a key may do, what was used with it and of its quotas: for its owner's tools."""

from datetime import datetime
from decimal import Decimal
from typing import Any

from asgiref.sync import sync_to_async
from django.db import InterfaceError, OperationalError, connections
from django.db.models import Sum
from django.http import HttpResponse
from django.utils import timezone

from accounts.errors import LedgerUnavailable
from accounts.ledger_items import Admitted
from accounts.ledger_rows import QuotaRow
from accounts.models import ApiKey, Quota, QuotaWindow, UsageDaily
from accounts.quota import bounds
from accounts.thresholds import state
from accounts.window_sql import quotas_of
from providers import wire_json

_COUNTS = (
    "calls",
    "failed_calls",
    "unpriced_calls",
    "input_tokens",
    "output_tokens",
    "cache_read_tokens",
    "cache_write_tokens",
)


async def answer(caller: Admitted) -> HttpResponse:
    """Return the answer to `GET /v1/me`. Raises `LedgerUnavailable`."""
    document = await sync_to_async(_document, thread_sensitive=False)(caller, timezone.now())
    headers = {"request-id": f"req_{caller.call_id.hex}", "cache-control": "no-store"}
    return HttpResponse(wire_json.encode(document), content_type="application/json", headers=headers)


def _document(caller: Admitted, now: datetime) -> dict[str, Any]:
    try:
        key = ApiKey.objects.select_related("user__team").get(pk=caller.key_id)
        team = key.user.team
        return {
            "key": {"name": key.name, "expires_at": _moment(key.expires_at)},
            "user": {"name": key.user.username},
            "team": {"name": team.name} if team is not None else None,
            "policy": caller.policy.name if caller.policy is not None else None,
            "allowed_models": list(caller.allowed_models),
            "time_zone": str(caller.snapshot.settings.business_time_zone),
            "usage": _usage(caller, now),
            "quotas": _quotas(caller, key, now),
        }
    except (OperationalError, InterfaceError) as error:
        raise LedgerUnavailable("the database does not answer") from error
    finally:
        # The thread goes back to its pool, and would keep the connection.
        connections.close_all()


def _usage(caller: Admitted, now: datetime) -> dict[str, Any]:
    """Return what was used with the key today and this month, in days of the business time zone. One query."""
    today = now.astimezone(caller.snapshot.settings.business_time_zone).date()
    month = today.replace(day=1)
    days = UsageDaily.objects.filter(key=caller.key_id, date__gte=month, date__lte=today).order_by()
    sums: Any = {f"sum_{name}": Sum(name) for name in _COUNTS}
    rows: Any = days.values("date", "currency").annotate(sum_cost=Sum("cost"), **sums)
    found: dict[str, Any] = {
        name: {"since": since.isoformat(), **dict.fromkeys(_COUNTS, 0), "costs": {}}
        for name, since in (("day", today), ("month", month))
    }
    for row in rows:
        for name in ("day", "month") if row["date"] == today else ("month",):
            used = found[name]
            for count in _COUNTS:
                used[count] += row[f"sum_{count}"]
            if row["sum_cost"]:
                used["costs"][row["currency"]] = used["costs"].get(row["currency"], Decimal(0)) + row["sum_cost"]
    for used in found.values():
        used["costs"] = {currency: _amount(cost) for currency, cost in sorted(used["costs"].items())}
    return found


def _quotas(caller: Admitted, key: ApiKey, now: datetime) -> list[dict[str, Any]]:
    teams = {caller.team_id} if caller.team_id is not None else set()
    found = quotas_of({caller.key_id}, {caller.user_id}, teams, now)
    windows = QuotaWindow.objects.in_bulk([last.id for _quota, last in found if last is not None and last.is_open(now)])
    zone = caller.snapshot.settings.business_time_zone
    team_name = key.user.team.name if key.user.team is not None else ""
    uses = []
    for quota, last in found:
        window = windows.get(last.id) if last is not None else None
        if window is not None:
            starts_at, ends_at = window.starts_at, window.ends_at
        elif quota.window == Quota.Window.FIVE_HOURS:
            starts_at, ends_at = None, None  # begins with the next call
        else:
            starts_at, ends_at = bounds(quota.window, now, zone)
        used, reserved = (window.used, window.reserved) if window is not None else (Decimal(0), Decimal(0))
        limit = quota.limit_in_force
        uses.append(
            {
                "subject": quota.subject_name(key.user.username, key.name, team_name),
                "unit": quota.unit,
                "window": quota.window,
                "currency": quota.currency if quota.unit == Quota.Unit.COST else None,
                "action": quota.action,
                "limit": _amount(limit),
                "raised": _amount(quota.raised),
                "used": _amount(used),
                "reserved": _amount(reserved),
                "used_percent": int(100 * used / limit) if limit else 100,
                "state": state(used, limit),
                "starts_at": _start(quota, starts_at),
                "resets_at": _moment(ends_at),
            }
        )
    return uses


def _start(quota: QuotaRow, starts_at: datetime | None) -> str | None:
    # The first window of a total begins before all calls, in 1970, which is nothing to show.
    return None if quota.window == Quota.Window.TOTAL else _moment(starts_at)


def _amount(amount: Decimal) -> str:
    return f"{amount.normalize():f}"


def _moment(moment: datetime | None) -> str | None:
    return None if moment is None else moment.isoformat()
