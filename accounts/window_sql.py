"""The ledger's statements on quotas and their windows. They run inside the transaction of a batch."""

import bisect
import uuid
from collections.abc import Collection, Iterable, Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any

from accounts.ledger_rows import (
    KeyRow,
    QuotaRow,
    RunningRow,
    WindowRow,
    lock,
    marks,
    query,
    read_decimal,
    read_time,
    time_value,
    write,
)
from accounts.models import Quota
from accounts.money import PLACES, from_units

_WINDOW_QUANTUM = Decimal(1).scaleb(-PLACES)

_QUOTA_COLUMNS = 'q.id, q.team_id, q.user_id, q.key_id, q.unit, q."window", q."limit", q.currency, q.action'


def _quota(row: Sequence[Any]) -> QuotaRow:
    identity, team_id, user_id, key_id, unit, window, limit, currency, action = row
    return QuotaRow(identity, team_id, user_id, key_id, unit, window, read_decimal(limit), currency, action)


def quotas_of(callers: Sequence[KeyRow]) -> list[QuotaRow]:
    """Return the active quotas on the keys, users and teams of `callers`, by id."""
    keys, users = {caller.id for caller in callers}, {caller.user_id for caller in callers}
    teams = {caller.team_id for caller in callers if caller.team_id is not None} or {0}
    rows = query(
        f"SELECT {_QUOTA_COLUMNS} FROM accounts_quota q WHERE q.is_active AND (q.key_id IN ({marks(keys)})"
        f" OR q.user_id IN ({marks(users)}) OR q.team_id IN ({marks(teams)})) ORDER BY q.id",
        [*keys, *users, *teams],
    )
    return [_quota(row) for row in rows]


_WINDOW_COLUMNS = "w.id, w.quota_id, w.starts_at, w.ends_at, w.used, w.reserved"


def _window(row: Sequence[Any]) -> WindowRow:
    starts_at = read_time(row[2])
    assert starts_at is not None
    return WindowRow(row[0], row[1], starts_at, read_time(row[3]), read_decimal(row[4]), read_decimal(row[5]))


def open_windows(quota_ids: Collection[int], now: datetime) -> dict[int, WindowRow]:
    """Return and lock the window around `now` of each quota that has one, by quota."""
    rows = query(
        f"SELECT {_WINDOW_COLUMNS} FROM accounts_quotawindow w WHERE w.quota_id IN ({marks(quota_ids)})"
        f" AND (w.ends_at IS NULL OR w.ends_at > %s) ORDER BY w.id{lock()}",
        [*quota_ids, time_value(now)],
    )
    return {window.quota_id: window for window in map(_window, rows)}


def create_windows(windows: Iterable[tuple[QuotaRow, datetime, datetime | None]]) -> None:
    """Open windows with what the subject has already used in them; one that another worker just opened is kept."""
    for quota, starts_at, ends_at in windows:
        used = used_between(quota, starts_at, ends_at)
        write(
            "INSERT INTO accounts_quotawindow (quota_id, starts_at, ends_at, used, reserved, warned_percent)"
            " VALUES (%s, %s, %s, %s, 0, 0) ON CONFLICT (quota_id, starts_at) DO NOTHING",
            [[quota.id, time_value(starts_at), time_value(ends_at), str(used)]],
        )


def used_between(quota: QuotaRow, starts_at: datetime, ends_at: datetime | None) -> Decimal:
    """Return what the settled calls of the quota's subject used in its unit in [starts_at, ends_at)."""
    column, subject = next(
        (name, value)
        for name, value in (("key_id", quota.key_id), ("user_id", quota.user_id), ("team_id", quota.team_id))
        if value is not None
    )
    total = "input_tokens + output_tokens + cache_read_tokens + cache_write_tokens"
    amount = {
        Quota.Unit.REQUESTS: f"CASE WHEN status = 'ok' OR {total} > 0 THEN 1 ELSE 0 END",
        Quota.Unit.TOKENS: total,
        Quota.Unit.COST: "CASE WHEN currency = %s THEN cost ELSE 0 END",
    }[Quota.Unit(quota.unit)]
    parameters: list[Any] = [quota.currency] if quota.unit == Quota.Unit.COST else []
    until = " AND started_at < %s" if ends_at else ""
    rows = query(
        f"SELECT COALESCE(SUM({amount}), 0) FROM accounts_callrecord"
        f" WHERE {column} = %s AND status <> 'running' AND started_at >= %s{until}",
        [*parameters, subject, time_value(starts_at), *([time_value(ends_at)] if ends_at else [])],
    )
    return from_units(rows[0][0]) if quota.unit == Quota.Unit.COST else Decimal(int(rows[0][0]))


def save_windows(windows: Iterable[WindowRow]) -> None:
    """Write the changed windows. They are locked, so absolute values cannot overwrite another's."""
    changed = {window.id: window for window in windows if window.is_changed}
    write(
        "UPDATE accounts_quotawindow SET used = %s, reserved = %s WHERE id = %s",
        [
            [str(window.used.quantize(_WINDOW_QUANTUM)), str(window.reserved.quantize(_WINDOW_QUANTUM)), window.id]
            for _id, window in sorted(changed.items())
        ],
    )


def windows_at(calls: Sequence[RunningRow]) -> dict[uuid.UUID, list[tuple[QuotaRow, WindowRow]]]:
    """Return and lock the quota windows that each call counts in: those that hold it, those around its start.

    Also windows of quotas switched off meanwhile: what they hold must be released, and their sum stays true.
    """
    keys, users = {call.key_id for call in calls}, {call.user_id for call in calls}
    teams = {call.team_id for call in calls if call.team_id is not None} or {0}
    earliest = min(call.started_at for call in calls)
    rows = query(
        f"SELECT {_WINDOW_COLUMNS}, {_QUOTA_COLUMNS} FROM accounts_quotawindow w JOIN accounts_quota q"
        f" ON q.id = w.quota_id WHERE (q.key_id IN ({marks(keys)}) OR q.user_id IN ({marks(users)})"
        f" OR q.team_id IN ({marks(teams)})) AND (w.ends_at IS NULL OR w.ends_at > %s) ORDER BY w.id"
        f"{lock() and ' FOR UPDATE OF w'}",
        [*keys, *users, *teams, time_value(earliest)],
    )
    pairs = [(_quota(row[6:]), _window(row)) for row in rows]
    found: dict[uuid.UUID, list[tuple[QuotaRow, WindowRow]]] = {}
    for call in calls:
        for quota, window in pairs:
            if (
                quota.covers(call.key_id, call.user_id, call.team_id)
                and window.starts_at <= call.started_at
                and (window.ends_at is None or call.started_at < window.ends_at)
            ):
                found.setdefault(call.id, []).append((quota, window))
    return found


def cost_windows_at(calls: Sequence[RunningRow]) -> dict[uuid.UUID, list[tuple[QuotaRow, WindowRow]]]:
    """Return and lock the windows of quotas on cost that each of these settled calls counts in, by their start.

    The calls may be old, and the windows since then many: only those of the time of the calls are read.
    """
    keys, users = {call.key_id for call in calls}, {call.user_id for call in calls}
    teams = {call.team_id for call in calls if call.team_id is not None} or {0}
    begin, end = min(call.started_at for call in calls), max(call.started_at for call in calls)
    rows = query(
        f"SELECT {_WINDOW_COLUMNS}, {_QUOTA_COLUMNS} FROM accounts_quotawindow w JOIN accounts_quota q"
        f" ON q.id = w.quota_id WHERE (q.key_id IN ({marks(keys)}) OR q.user_id IN ({marks(users)})"
        f" OR q.team_id IN ({marks(teams)})) AND q.unit = %s AND (w.ends_at IS NULL OR w.ends_at > %s)"
        f" AND w.starts_at <= %s ORDER BY w.id{lock() and ' FOR UPDATE OF w'}",
        [*keys, *users, *teams, Quota.Unit.COST.value, time_value(begin), time_value(end)],
    )
    by_quota: dict[int, tuple[QuotaRow, list[WindowRow]]] = {}
    for row in rows:
        quota = _quota(row[6:])
        by_quota.setdefault(quota.id, (quota, []))[1].append(_window(row))
    found: dict[uuid.UUID, list[tuple[QuotaRow, WindowRow]]] = {}
    for quota, windows in by_quota.values():
        windows.sort(key=lambda window: window.starts_at)
        starts = [window.starts_at for window in windows]
        for call in calls:
            position = bisect.bisect_right(starts, call.started_at) - 1
            if position < 0 or not quota.covers(call.key_id, call.user_id, call.team_id):
                continue
            window = windows[position]
            if window.ends_at is None or call.started_at < window.ends_at:
                found.setdefault(call.id, []).append((quota, window))
    return found
