"""Whether the books agree: sum of calls = daily usage = quota windows, for every subject and window."""

from collections.abc import Iterator
from decimal import Decimal
from typing import Any

from django.db.models import Count, Q, Sum
from django.db.models.functions import Coalesce

from accounts.ledger_rows import QuotaRow
from accounts.models import CallRecord, Quota, QuotaWindow, UsageDaily
from accounts.quota import Reservation
from accounts.window_sql import used_between

_DIMENSIONS = ("key_id", "user_id", "team_id", "provider_name", "model_name", "scene_name", "kind", "currency")
_SUMS = ("input_tokens", "output_tokens", "cache_read_tokens", "cache_write_tokens", "cost", "reference_cost")
# SQLite keeps a window's decimals as floating point of 15 digits.
_TOLERANCE = Decimal("0.000001")


def differences() -> Iterator[str]:
    """Yield each disagreement as a sentence. Run it while nothing is written, or in a snapshot of the database."""
    yield from _daily_usage()
    yield from _quota_windows()


def _daily_usage() -> Iterator[str]:
    from accounts.money import MoneyField

    calls: dict[tuple[Any, ...], dict[str, Any]] = {}
    settled = CallRecord.objects.exclude(status=CallRecord.Status.RUNNING).values("booked_on", *_DIMENSIONS)
    sums = {f"sum_{name}": Sum(name) for name in _SUMS[:4]} | {
        f"sum_{name}": Coalesce(Sum(name), 0, output_field=MoneyField()) for name in _SUMS[4:]
    }
    for row in settled.order_by().annotate(
        count=Count("pk"), failed=Count("pk", filter=Q(status__in=("failed", "lost"))), **sums
    ):
        calls[tuple(row[name] for name in ("booked_on", *_DIMENSIONS))] = row
    for day in UsageDaily.objects.all().iterator():
        dimension = tuple(getattr(day, name) for name in ("date", *_DIMENSIONS))
        call = calls.pop(dimension, None)
        found = {"calls": day.calls, "failed_calls": day.failed_calls} | {n: getattr(day, n) for n in _SUMS}
        real = (
            {"calls": call["count"], "failed_calls": call["failed"]} | {n: call[f"sum_{n}"] for n in _SUMS}
            if call
            else dict.fromkeys(found, 0)
        )
        for name, value in found.items():
            if value != real[name]:
                yield f"daily usage {dimension}: {name} is {value}, the calls say {real[name]}"
    for dimension, call in calls.items():
        yield f"daily usage {dimension}: missing, the calls say {call['count']} calls"


def _quota_windows() -> Iterator[str]:
    held: dict[int, Decimal] = {}
    units = {window.pk: window.quota for window in QuotaWindow.objects.select_related("quota")}
    for call in CallRecord.objects.filter(status=CallRecord.Status.RUNNING).iterator():
        reservation = Reservation.from_json(call.reservation)
        for window_id in call.reservation.get("windows", ()):
            quota = units.get(window_id)
            if quota is None:  # an old window of a minute, which is kept only while it holds anything
                continue
            held[window_id] = held.get(window_id, Decimal(0)) + reservation.amount(quota.unit, quota.currency)
    for window in QuotaWindow.objects.select_related("quota").iterator():
        row = quota_row(window.quota)
        used = used_between(row, window.starts_at, window.ends_at)
        if abs(used - window.used) > _TOLERANCE:
            yield f"quota window {window}: used is {window.used}, the calls say {used}"
        reserved = held.get(window.pk, Decimal(0))
        if abs(reserved - window.reserved) > _TOLERANCE:
            yield f"quota window {window}: reserved is {window.reserved}, the running calls hold {reserved}"


def quota_row(quota: Quota) -> QuotaRow:
    """Return `quota` as the ledger reads it, without its raises."""
    return QuotaRow(
        quota.pk,
        quota.team_id,
        quota.user_id,
        quota.key_id,
        quota.unit,
        quota.window,
        quota.limit,
        quota.currency,
        quota.action,
    )
