"""Whether the books agree: sum of calls = daily usage = quota windows, for every subject and window."""

from collections.abc import Iterator
from decimal import Decimal
from typing import Any

from django.db.models import Case, Count, Q, Sum, Value, When
from django.db.models.functions import Coalesce

from accounts.ledger_rows import QuotaRow
from accounts.models import CallRecord, Quota, QuotaWindow, UsageDaily
from accounts.money import MoneyField
from accounts.quota import Reservation
from accounts.window_sql import used_between


def _money(of: Any, only: Q | None = None) -> Coalesce:
    return Coalesce(Sum(of, filter=only), 0, output_field=MoneyField())


_DIMENSIONS = (
    "key_id",
    "user_id",
    "team_id",
    "provider_name",
    "model_name",
    "scene_name",
    "kind",
    "currency",
    "reference_currency",
)
_TOKENS = ("input_tokens", "output_tokens", "cache_read_tokens", "cache_write_tokens")
_FAILED = Q(status__in=(CallRecord.Status.FAILED, CallRecord.Status.LOST))
_USED_TOKENS = Q(input_tokens__gt=0) | Q(output_tokens__gt=0) | Q(cache_read_tokens__gt=0) | Q(cache_write_tokens__gt=0)
# A call was compared with the reference model if both costs are known.
_COMPARED = Q(cost__isnull=False, reference_cost__isnull=False)
# Each sum of a day, from the calls.
_SUMS: dict[str, Any] = {
    "calls": Count("pk"),
    "failed_calls": Count("pk", filter=_FAILED),
    "fallback_calls": Count("pk", filter=Q(fallbacks__gt=0)),
    "unpriced_calls": Count("pk", filter=Q(cost__isnull=True) & _USED_TOKENS),
    "estimated_calls": Count("pk", filter=Q(usage_is_estimated=True)),
    **{name: Sum(name) for name in _TOKENS},
    "cost": _money("cost"),
    "failed_cost": _money("cost", _FAILED),
    "fallback_cost": _money("cost", Q(fallbacks__gt=0)),
    "reference_cost": _money("reference_cost", _COMPARED),
    "compared_cost": _money("cost", _COMPARED),
    "uncached_cost": _money(Coalesce("uncached_cost", "cost")),
}
# SQLite keeps a window's decimals as floating point of 15 digits.
_TOLERANCE = Decimal("0.000001")


def differences() -> Iterator[str]:
    """Yield each disagreement as a sentence. Run it while nothing is written, or in a snapshot of the database."""
    yield from _daily_usage()
    yield from _quota_windows()


def _daily_usage() -> Iterator[str]:
    calls: dict[tuple[Any, ...], dict[str, Any]] = {}
    compared = Case(When(_COMPARED, then="reference_currency"), default=Value(""))
    settled = CallRecord.objects.exclude(status=CallRecord.Status.RUNNING).annotate(compared_currency=compared)
    dimensions = ["compared_currency" if name == "reference_currency" else name for name in _DIMENSIONS]
    sums = {f"sum_{name}": expression for name, expression in _SUMS.items()}
    for row in settled.values("booked_on", *dimensions).order_by().annotate(**sums):
        calls[tuple(row[name] for name in ("booked_on", *dimensions))] = row
    for day in UsageDaily.objects.all().iterator():
        dimension = tuple(getattr(day, name) for name in ("date", *_DIMENSIONS))
        call = calls.pop(dimension, None)
        for name in _SUMS:
            value, real = getattr(day, name), call[f"sum_{name}"] if call else 0
            if value != real:
                yield f"daily usage {dimension}: {name} is {value}, the calls say {real}"
    for dimension, call in calls.items():
        yield f"daily usage {dimension}: missing, the calls say {call['sum_calls']} calls"


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
