"""The books: `admit_batch` opens calls, `settle_batch` closes them. Plain functions over lists, one transaction each.

    admit   key by digest -> caller; quota windows locked and granted in memory; one `running` row per admitted call
    settle  reservation replaced by the truth; one attempt row per try; the day's row raised. Exactly once: a call
            that is no longer `running` is left alone.

These run for every call, so their statements are written by hand (accounts/ledger_sql.py).
"""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import date, datetime
from decimal import Decimal
from typing import Any

from django.db import transaction
from django.utils import timezone

from accounts import ledger_sql as sql
from accounts import session_sql, sightings
from accounts.daily_sql import raise_days
from accounts.errors import AddressNotAllowed, KeyInvalid, Refusal
from accounts.ledger_items import INNER_KINDS, Admission, Admitted, Settlement
from accounts.ledger_rows import DayTotals, KeyRow
from accounts.limits import Limits
from accounts.models import CallRecord
from accounts.money import from_units, to_units
from accounts.output_history import OutputHistory
from accounts.presented_keys import usable_key
from accounts.quota import Reservation, Used
from accounts.thresholds import note_crossings
from accounts.window_sql import save_windows, windows_at
from providers.pricing import cost_of, price_list_for
from providers.translation.usage import Usage
from routing.intent.facts import Facts, SessionMemory
from routing.intent.sessions import session_key
from routing.models import Policy
from routing.select import first_target
from routing.snapshot import PolicySnapshot, Snapshot

logger = logging.getLogger(__name__)

_NO_OUTPUTS = OutputHistory()  # never learns


def admit_batch(
    items: Sequence[Admission], snapshot: Snapshot, now: datetime, outputs: OutputHistory = _NO_OUTPUTS
) -> list[Admitted | Refusal]:
    """Decide on `items` in order and write a `running` row for each admitted one. Must run in a transaction.

    `outputs` says how long answers will be. Returns a result per item; database errors propagate and admit nothing.
    """
    keys = sql.keys_by_digest({digest for item in items for digest in item.digests})
    found: list[KeyRow | Refusal] = []
    for item in items:
        try:
            found.append(usable_key(item.digests, item.client_address, keys, now))
        except (KeyInvalid, AddressNotAllowed) as refusal:
            found.append(refusal)
    callers = [caller if isinstance(caller, KeyRow) else None for caller in found]
    sessions = [
        _session_keys(item, caller, snapshot) if caller else () for item, caller in zip(items, callers, strict=True)
    ]
    memories = session_sql.memories({key for keys in sessions for key in keys})
    results: list[Admitted | Refusal] = [
        _admitted(item, caller, snapshot, session, memories, outputs) if isinstance(caller, KeyRow) else caller
        for item, caller, session in zip(items, found, sessions, strict=True)
    ]
    # Every use counts, also the lists and token counts that are not booked.
    sightings.note(
        ((caller.id, item.client_address) for item, caller in zip(items, callers, strict=True) if caller is not None),
        now,
    )
    booked = [caller for item, caller in zip(items, callers, strict=True) if caller is not None and item.books]
    if not booked:
        return results
    limits = Limits(booked, snapshot, now)
    rows: list[tuple[Admission, Admitted, list[int]]] = []
    for index, (item, caller) in enumerate(zip(items, callers, strict=True)):
        result = results[index]
        if caller is None or not item.books or not isinstance(result, Admitted):
            continue
        is_inner = item.kind in INNER_KINDS
        # The gateway's own calls have their models, which are small.
        if not is_inner and (full_quota := limits.downgrade(caller, result.reservation)):
            result = results[index] = _downgraded(item, result, full_quota, outputs)
        full = limits.refusal(caller, result.reservation, is_inner=is_inner)
        if full is not None:
            results[index] = full
        else:
            rows.append((item, result, limits.take(caller, result.reservation, is_inner=is_inner)))
            if (standing := limits.standing(caller)) is not None:
                results[index] = replace(result, standing=standing)
    limits.save()
    sql.insert_calls(
        [
            {
                "id": item.call_id,
                "key_id": admitted.key_id,
                "user_id": admitted.user_id,
                "team_id": admitted.team_id,
                "worker_id": sql.this_worker,
                "requested_model": item.requested_model[:200],
                "kind": item.kind,
                "wire_format": item.wire_format,
                "streamed": item.streamed,
                "session_id": item.session_id[:100],
                "agent_id": item.agent_id[:100],
                "user_agent": item.user_agent[:200],
                "request_bytes": item.request_bytes,
                "policy_name": admitted.policy.name if admitted.policy else "",
                "reservation": admitted.reservation.as_json(window_ids),
                "started_at": limits.begin(window_ids),
            }
            for item, admitted, window_ids in rows
        ]
    )
    return results


def _policy(key: KeyRow, snapshot: Snapshot) -> PolicySnapshot | None:
    return snapshot.policy(key.policy_id, key.user_policy_id, key.team_policy_id)


def _session_keys(item: Admission, key: KeyRow, snapshot: Snapshot) -> tuple[str, ...]:
    """Return the keys of the sessions that the call belongs to; none where sessions make no difference."""
    policy = _policy(key, snapshot)
    if not item.books or policy is None or policy.mode != Policy.Mode.SMART or item.kind in INNER_KINDS:
        return ()
    return tuple(session_key(key.user_id, session, item.agent_id) for session in item.sessions)


def _admitted(
    item: Admission,
    key: KeyRow,
    snapshot: Snapshot,
    sessions: Sequence[str],
    memories: Mapping[str, SessionMemory],
    outputs: OutputHistory,
) -> Admitted:
    policy = _policy(key, snapshot)
    memory = next((memories[session] for session in sessions if session in memories), None)
    capture = key.capture or (policy.capture if policy else "") or snapshot.settings.capture
    return Admitted(
        call_id=item.call_id,
        key_id=key.id,
        user_id=key.user_id,
        team_id=key.team_id,
        key_name=f"{key.username}/{key.name}",
        allowed_models=key.allowed_models,
        policy=policy,
        capture=capture,
        snapshot=snapshot,
        reservation=_reservation(item, policy, snapshot, memory, outputs),
        session_keys=tuple(sessions),
        memory=memory,
    )


def _downgraded(item: Admission, admitted: Admitted, full_quota: str, outputs: OutputHistory) -> Admitted:
    """Return `admitted` as a call that a quota sends to a cheap target."""
    reservation = _reservation(item, admitted.policy, admitted.snapshot, admitted.memory, outputs, full_quota)
    return replace(admitted, reservation=reservation, downgraded_by=full_quota)


def _reservation(
    item: Admission,
    policy: PolicySnapshot | None,
    snapshot: Snapshot,
    memory: SessionMemory | None,
    outputs: OutputHistory,
    downgraded_by: str = "",
) -> Reservation:
    target = None
    if item.books:
        facts = Facts(
            item.requested_model,
            item.kind,
            prompt_tokens=item.input_tokens_estimate,
            max_tokens=item.max_output_tokens,
        )
        target = first_target(snapshot, policy, facts, memory=memory, downgraded_by=downgraded_by)
    output = outputs.expected(target, item.kind, item.max_output_tokens)
    price = target.price_at(timezone.now()) if target else None
    if target and price is None and target.name not in snapshot.targets:  # a name of the client's own choice
        price = price_list_for(target.kind, target.base_url, target.model_id)
    if price is None:
        return Reservation(item.input_tokens_estimate, output)
    input_cost, currency, _source = cost_of(Usage(input_tokens=item.input_tokens_estimate), price)
    output_cost, _currency, _source = cost_of(Usage(output_tokens=output), price)
    input_cost, output_cost = input_cost or Decimal(0), output_cost or Decimal(0)
    return Reservation(item.input_tokens_estimate, output, input_cost + output_cost, input_cost, currency)


def settle_batch(items: Sequence[Settlement], snapshot: Snapshot, outputs: OutputHistory | None = None) -> int:
    """Close `items` and book what they used; return how many were still running. Must run in a transaction.

    `outputs` learns how long the answers were. Raises nothing of its own; database errors propagate and book nothing.
    """
    by_id = {item.call_id: item for item in items}
    running, first_open = sql.lock_running(by_id)
    if len(running) < len(by_id):
        logger.warning("%d settled calls were not running: settled before, or given up", len(by_id) - len(running))
    if not running:
        return 0
    zone = snapshot.settings.business_time_zone
    windows = windows_at(running, max(item.ended_at for item in items))
    days: dict[tuple[Any, ...], DayTotals] = {}
    booked: list[tuple[Settlement, date]] = []
    for call in running:
        item = by_id[call.id]
        used = _used(item)
        reservation = Reservation.from_json(call.reservation)
        holding = set(call.reservation.get("windows", ()))
        for quota, window in windows.get(call.id, ()):
            if window.contains(call.started_at):
                window.used += used.amount(quota.unit, quota.currency)
            if window.id in holding:
                window.reserved -= reservation.amount(quota.unit, quota.currency)
            window.is_changed = True
        day = call.started_at.astimezone(zone).date()
        if first_open is not None and day < first_open:
            # No month is closed while a call of it runs, but another business time zone, or a clock that is behind,
            # can make it one of a closed month in the end.
            day = first_open
        booked.append((item, day))
        dimension = (
            day,
            call.key_id,
            call.user_id,
            call.team_id,
            item.provider_name,
            item.model_name,
            item.scene_name,
            call.kind,
            item.currency if item.cost is not None else "",
            item.compared_currency,
        )
        days.setdefault(dimension, DayTotals()).add(item)
        if outputs is not None and item.status == CallRecord.Status.OK and not item.usage.is_estimated:
            outputs.learn(item.provider_name, item.model_name, call.kind, item.usage.output_tokens)
    changed = [pair for pairs in windows.values() for pair in pairs]
    note_crossings(changed)
    save_windows(window for _quota, window in changed)
    sql.close_calls(booked)
    sql.insert_attempts([by_id[call.id] for call in running])
    raise_days(days)
    session_sql.remember([item.remembered for call in running if (item := by_id[call.id]).remembered is not None])
    return len(running)


def _used(item: Settlement) -> Used:
    usage = item.usage
    tokens = usage.input_tokens + usage.output_tokens + usage.cache_read_tokens + usage.cache_write_tokens
    # As the call's row holds it, so that a window is the sum of its calls.
    cost = None if item.cost is None else from_units(to_units(item.cost))
    return Used(item.status == CallRecord.Status.OK or tokens > 0, tokens, cost, item.currency)


def run_batch(
    admissions: Sequence[Admission],
    settlements: Sequence[Settlement],
    snapshot: Snapshot,
    now: datetime,
    outputs: OutputHistory | None = None,
) -> list[Admitted | Refusal]:
    """Settle, then admit: what a settled call frees is there for the next one.

    In two transactions, each of which locks quota windows once and in the order of their ids: two workers that settled
    and admitted in one could each hold a window that the other waits for.
    """
    if settlements:
        with transaction.atomic():
            settle_batch(settlements, snapshot, outputs)
    if not admissions:
        return []
    with transaction.atomic():
        return admit_batch(admissions, snapshot, now, outputs or _NO_OUTPUTS)
