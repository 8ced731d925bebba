"""Pricing calls afterwards that were booked without a cost, at the price that was in force when they began.

A cost that is there is never overwritten. With the calls move their day's row and the quotas on cost, in one
transaction, so the books go on to agree; each call keeps when, by whom and at which price it was priced. A call of a
closed month stays as it is, without a cost, and its price is booked once as a correction of the open month.
"""

import json
import uuid
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from decimal import Decimal
from typing import Any

from django.db import connection, transaction
from django.db.models import Exists, OuterRef, Q
from django.utils import timezone

from accounts import audit
from accounts.closing import append, booking_day, business_zone, first_open_day
from accounts.daily_sql import lower_days, raise_days
from accounts.ledger_rows import DayTotals, RunningRow, uuid_value, write
from accounts.models import AuditEntry, CallRecord, Correction, User
from accounts.money import from_units, to_units
from accounts.window_sql import cost_windows_at, save_windows
from providers.models import Model, Provider
from providers.pricing import cost_of, uncached_cost_of
from providers.target import PriceList

BATCH = 500
_LATE = Correction.Source.LATE_PRICE
# What a call without a cost is: settled, tokens were used, and no correction has its price.
UNPRICED = (
    Q(cost__isnull=True)
    & ~Q(status=CallRecord.Status.RUNNING)
    & (Q(input_tokens__gt=0) | Q(output_tokens__gt=0) | Q(cache_read_tokens__gt=0) | Q(cache_write_tokens__gt=0))
    & ~Q(Exists(Correction.objects.filter(call=OuterRef("pk"), source=_LATE)))
)
# The price of a call that began at a moment; None: unknown.
PriceAt = Callable[[datetime], PriceList | None]


@dataclass(slots=True)
class Summary:
    """What pricing afterwards did, or would do."""

    priced: int = 0
    costs: dict[str, Decimal] = field(default_factory=dict)  # by currency
    corrected: int = 0  # calls of closed months, whose price became a correction
    corrected_costs: dict[str, Decimal] = field(default_factory=dict)
    unknown: int = 0  # no price was in force when they began

    def in_words(self) -> str:
        """Return the amounts of the priced calls, such as "1.5 CNY, 0.2 USD"."""
        return _in_words(self.costs)

    def corrected_in_words(self) -> str:
        """Return the amounts of the corrections."""
        return _in_words(self.corrected_costs)

    def add(self, other: "Summary") -> None:
        """Count what a batch did."""
        self.priced += other.priced
        self.corrected += other.corrected
        self.unknown += other.unknown
        for total, part in ((self.costs, other.costs), (self.corrected_costs, other.corrected_costs)):
            for currency, cost in part.items():
                total[currency] = total.get(currency, Decimal(0)) + cost


def _in_words(costs: dict[str, Decimal]) -> str:
    return ", ".join(f"{cost.normalize():f} {currency}" for currency, cost in sorted(costs.items())) or "0"


def price_calls(
    provider_name: str,
    model_name: str,
    price_at: PriceAt,
    *,
    by: str,
    since: datetime | None = None,
    until: datetime | None = None,
    dry_run: bool = False,
    user: User | None = None,
) -> Summary:
    """Price the calls of a model that have no cost and began in [since, until).

    `by` is noted with each call, `user` with each correction, and the run in the audit log. In batches, each a
    transaction of its own: what is interrupted goes on where it stopped.
    """
    calls = CallRecord.objects.filter(UNPRICED, provider_name=provider_name, model_name=model_name)
    if since is not None:
        calls = calls.filter(started_at__gte=since)
    if until is not None:
        calls = calls.filter(started_at__lt=until)
    summary = Summary()
    today = timezone.now().astimezone(business_zone()).date()
    last: uuid.UUID | None = None
    try:
        while True:
            done = Summary()
            with transaction.atomic():
                first_open = first_open_day(locks=not dry_run)
                rest = calls.filter(pk__gt=last) if last is not None else calls
                if not dry_run and connection.features.has_select_for_update:
                    rest = rest.select_for_update(of=("self",))
                batch = list(rest.order_by("pk")[:BATCH])
                if not batch:
                    return summary
                last = batch[-1].pk
                open_calls, closed_calls = _by_month(batch, first_open)
                priced = list(_priced(open_calls, price_at, done))
                corrected = list(_priced(closed_calls, price_at, done, are_closed=True))
                if not dry_run:
                    _book(priced, [_correction(each, by, user, today, first_open) for each in corrected], by)
            summary.add(done)
    finally:
        if not dry_run and (summary.priced or summary.corrected):
            _record(provider_name, model_name, summary)


def _by_month(batch: Sequence[CallRecord], first_open: date | None) -> tuple[list[CallRecord], list[CallRecord]]:
    """Return the calls of open months, and those of closed months that no correction has priced.

    Asked for again once the calls are locked: somebody else may have written corrections since they were chosen.
    """
    closed = [
        call for call in batch if first_open is not None and call.booked_on is not None and call.booked_on < first_open
    ]
    if not closed:
        return list(batch), []
    corrected = set(Correction.objects.filter(call__in=closed, source=_LATE).values_list("call_id", flat=True))
    found = {call.pk for call in closed}
    return [call for call in batch if call.pk not in found], [call for call in closed if call.pk not in corrected]


def _correction(each: "_Priced", by: str, user: User | None, today: date, first_open: date | None) -> Correction:
    call = each.call
    assert call.booked_on is not None
    return Correction(
        call=call,
        key_id=call.key_id,
        user_id=call.user_id,
        team_id=call.team_id,
        provider_name=call.provider_name,
        model_name=call.model_name,
        scene_name=call.scene_name,
        kind=call.kind,
        source=_LATE,
        cost=each.cost,
        currency=each.price.currency,
        reason=f"{by}: {_figures(each.price)}",
        corrects_on=call.booked_on,
        booked_on=booking_day(call.booked_on, today, first_open),
        made_by=user,
    )


def _record(provider_name: str, model_name: str, summary: Summary) -> None:
    """Write the run into the audit log, at the model, or where that is no row at its provider."""
    row = (
        Model.objects.select_related("provider").filter(provider__name=provider_name, model_id=model_name).first()
        or Provider.objects.filter(name=provider_name).first()
        or Provider(name=provider_name)
    )
    changes: dict[str, tuple[Any, Any]] = {
        "priced_calls": (None, summary.priced),
        "cost": (None, summary.in_words()),
        "corrections": (None, summary.corrected),
        "corrected_cost": (None, summary.corrected_in_words()),
    }
    audit.record(AuditEntry.Action.OTHER, row, changes, f"Calls of {provider_name}/{model_name} priced afterwards.")


@dataclass(frozen=True, slots=True)
class _Priced:
    call: CallRecord
    cost: Decimal
    uncached_cost: Decimal
    price: PriceList


def _priced(
    batch: Sequence[CallRecord], price_at: PriceAt, summary: Summary, *, are_closed: bool = False
) -> Iterator[_Priced]:
    for call in batch:
        price = price_at(call.started_at)
        cost, currency, _source = cost_of(call.usage, price)
        if price is None or cost is None:
            summary.unknown += 1
            continue
        # As the column holds it, so that the sums are those of the rows.
        cost = from_units(to_units(cost))
        if are_closed:
            summary.corrected += 1
        else:
            summary.priced += 1
        costs = summary.corrected_costs if are_closed else summary.costs
        costs[currency] = costs.get(currency, Decimal(0)) + cost
        uncached = uncached_cost_of(call.usage, cost, currency, price)
        yield _Priced(call, cost, from_units(to_units(cost if uncached is None else uncached)), price)


def _book(priced: Sequence[_Priced], corrections: Sequence[Correction], by: str) -> None:
    """Write the costs into calls, quota windows and days, in the order in which the ledger locks, and corrections."""
    now = timezone.now()
    write(
        "UPDATE accounts_callrecord SET cost = %s, currency = %s, cost_source = %s, uncached_cost = %s, decision = %s"
        " WHERE id = %s AND cost IS NULL",
        [
            [
                to_units(each.cost),
                each.price.currency,
                each.price.source,
                to_units(each.uncached_cost),
                json.dumps({**each.call.decision, "priced": _trail(each.price, by, now)}, ensure_ascii=False),
                uuid_value(each.call.pk),
            ]
            for each in priced
        ],
    )
    if priced:
        _raise_windows(priced)
    put: dict[tuple[Any, ...], DayTotals] = {}
    append(corrections, put)
    _move_days(priced, put)


def _trail(price: PriceList, by: str, now: datetime) -> dict[str, Any]:
    """Return what a call keeps of its late pricing."""
    return {"at": now.isoformat(timespec="seconds"), "by": by, "price": _figures(price)}


def _figures(price: PriceList) -> str:
    return f"{price.currency} {price.input.normalize():f} / {price.output.normalize():f}"


def _raise_windows(priced: Sequence[_Priced]) -> None:
    windows = cost_windows_at([_row(each.call) for each in priced])
    for each in priced:
        for quota, window in windows.get(each.call.pk, ()):
            if quota.currency == each.price.currency:
                window.used += each.cost
                window.is_changed = True
    save_windows(window for pairs in windows.values() for _quota, window in pairs)


def _row(call: CallRecord) -> RunningRow:
    return RunningRow(call.pk, call.key_id, call.user_id, call.team_id, call.kind, call.reservation, call.started_at)


def _move_days(priced: Sequence[_Priced], put: dict[tuple[Any, ...], DayTotals]) -> None:
    """Take the calls out of the day rows without a currency and into those of theirs, with what else is `put`."""
    taken: dict[tuple[Any, ...], DayTotals] = {}
    for each in priced:
        call = each.call
        dimension = (
            call.booked_on,
            call.key_id,
            call.user_id,
            call.team_id,
            call.provider_name,
            call.model_name,
            call.scene_name,
            call.kind,
        )
        compared_currency = call.reference_currency if call.reference_cost is not None else ""
        _add(taken.setdefault((*dimension, "", ""), DayTotals()), call, None, None)
        row = (*dimension, each.price.currency, compared_currency)
        _add(put.setdefault(row, DayTotals()), call, each.cost, each.uncached_cost)
    # In one order over both, that of the ledger: it may be raising the same rows.
    for row in sorted([*taken, *put], key=lambda row: tuple(map(str, row))):
        if row in taken:
            lower_days({row: taken[row]})
        else:
            raise_days({row: put[row]})


def _add(totals: DayTotals, call: CallRecord, cost: Decimal | None, uncached_cost: Decimal | None) -> None:
    is_failed = call.status in (CallRecord.Status.FAILED, CallRecord.Status.LOST)
    totals.calls += 1
    totals.failed_calls += is_failed
    totals.fallback_calls += call.fallbacks > 0
    totals.unpriced_calls += cost is None
    totals.estimated_calls += call.usage_is_estimated
    totals.input_tokens += call.input_tokens
    totals.output_tokens += call.output_tokens
    totals.cache_read_tokens += call.cache_read_tokens
    totals.cache_write_tokens += call.cache_write_tokens
    if cost is not None:
        units = to_units(cost)
        totals.cost += units
        totals.failed_cost += units if is_failed else 0
        totals.fallback_cost += units if call.fallbacks else 0
        totals.uncached_cost += to_units(uncached_cost or Decimal(0))
        if call.reference_cost is not None and call.reference_currency:
            totals.reference_cost += to_units(call.reference_cost)
            totals.compared_cost += units
