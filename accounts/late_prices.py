"""Pricing calls afterwards that were booked without a cost, at the price that was in force when they began.

A cost that is there is never overwritten. With the calls move their day's row and the quotas on cost, in one
transaction, so the books go on to agree; each call keeps when, by whom and at which price it was priced.
"""

import json
import uuid
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import Any

from django.db import connection, transaction
from django.db.models import Q
from django.utils import timezone

from accounts.ledger_rows import DayTotals, RunningRow, uuid_value, write
from accounts.ledger_sql import lower_days, raise_days
from accounts.models import CallRecord
from accounts.money import from_units, to_units
from accounts.window_sql import cost_windows_at, save_windows
from providers.pricing import cost_of, uncached_cost_of
from providers.target import PriceList

BATCH = 500
# What a call without a cost is, as `UsageDaily.unpriced_calls` counts it: settled, and tokens were used.
UNPRICED = (
    Q(cost__isnull=True)
    & ~Q(status=CallRecord.Status.RUNNING)
    & (Q(input_tokens__gt=0) | Q(output_tokens__gt=0) | Q(cache_read_tokens__gt=0) | Q(cache_write_tokens__gt=0))
)
# The price of a call that began at a moment; None: unknown.
PriceAt = Callable[[datetime], PriceList | None]


@dataclass(slots=True)
class Summary:
    """What pricing afterwards did, or would do."""

    priced: int = 0
    costs: dict[str, Decimal] = field(default_factory=dict)  # by currency
    unknown: int = 0  # no price was in force when they began

    def in_words(self) -> str:
        """Return the amounts, such as "1.5 CNY, 0.2 USD"."""
        return ", ".join(f"{cost.normalize():f} {currency}" for currency, cost in sorted(self.costs.items())) or "0"


def price_calls(
    provider_name: str,
    model_name: str,
    price_at: PriceAt,
    *,
    by: str,
    since: datetime | None = None,
    until: datetime | None = None,
    dry_run: bool = False,
) -> Summary:
    """Price the calls of a model that have no cost and began in [since, until). `by` is noted with each call.

    In batches, each a transaction of its own: what is interrupted goes on where it stopped.
    """
    calls = CallRecord.objects.filter(UNPRICED, provider_name=provider_name, model_name=model_name)
    if since is not None:
        calls = calls.filter(started_at__gte=since)
    if until is not None:
        calls = calls.filter(started_at__lt=until)
    summary = Summary()
    last: uuid.UUID | None = None
    while True:
        with transaction.atomic():
            rest = calls.filter(pk__gt=last) if last is not None else calls
            if not dry_run and connection.features.has_select_for_update:
                rest = rest.select_for_update(of=("self",))
            batch = list(rest.order_by("pk")[:BATCH])
            if not batch:
                return summary
            last = batch[-1].pk
            priced = list(_priced(batch, price_at, summary))
            if priced and not dry_run:
                _book(priced, by)


@dataclass(frozen=True, slots=True)
class _Priced:
    call: CallRecord
    cost: Decimal
    uncached_cost: Decimal
    price: PriceList


def _priced(batch: Sequence[CallRecord], price_at: PriceAt, summary: Summary) -> Iterator[_Priced]:
    for call in batch:
        price = price_at(call.started_at)
        cost, currency, _source = cost_of(call.usage, price)
        if price is None or cost is None:
            summary.unknown += 1
            continue
        # As the column holds it, so that the sums are those of the rows.
        cost = from_units(to_units(cost))
        summary.priced += 1
        summary.costs[currency] = summary.costs.get(currency, Decimal(0)) + cost
        uncached = uncached_cost_of(call.usage, cost, currency, price)
        yield _Priced(call, cost, from_units(to_units(cost if uncached is None else uncached)), price)


def _book(priced: Sequence[_Priced], by: str) -> None:
    """Write the costs into the calls, their quota windows and their days, in the order in which the ledger locks."""
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
    _raise_windows(priced)
    _move_days(priced)


def _trail(price: PriceList, by: str, now: datetime) -> dict[str, Any]:
    """Return what a call keeps of its late pricing."""
    figures = f"{price.input.normalize():f} / {price.output.normalize():f}"
    return {"at": now.isoformat(timespec="seconds"), "by": by, "price": f"{price.currency} {figures}"}


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


def _move_days(priced: Sequence[_Priced]) -> None:
    """Take the calls out of the day rows without a currency and put them into those of theirs."""
    taken: dict[tuple[Any, ...], DayTotals] = {}
    put: dict[tuple[Any, ...], DayTotals] = {}
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
        totals.cost += cost
        totals.failed_cost += cost if is_failed else 0
        totals.fallback_cost += cost if call.fallbacks else 0
        totals.uncached_cost += uncached_cost or 0
        if call.reference_cost is not None:
            totals.reference_cost += call.reference_cost
            totals.compared_cost += cost
