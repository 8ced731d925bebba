"""The ledger's statements on quotas and their windows. They run inside the transaction of a batch."""

import bisect
import uuid
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta, tzinfo
from decimal import Decimal
from typing import Any

from django.db import connection

from accounts.ledger_rows import (
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
from accounts.quota import bounds

_WINDOW_QUANTUM = Decimal(1).scaleb(-PLACES)

# A worker whose clock is ahead may have begun a call after the end of the window that holds it.
_SKEW = timedelta(minutes=2)

# With what is raised at a moment, twice a parameter of the statement. No query of its own: most quotas have no raise,
# and the index on their quota says so at once.
_QUOTA_COLUMNS = (
    'q.id, q.team_id, q.user_id, q.key_id, q.unit, q."window", q."limit", q.currency, q.action,'
    " (SELECT COALESCE(SUM(r.amount), 0) FROM accounts_quotaraise r"
    " WHERE r.quota_id = q.id AND r.starts_at <= %s AND r.ends_at > %s)"
)
# The windows of a quota follow each other, so only the last can be open. The unique index on (quota, start) finds it.
_LAST_WINDOW = (
    " LEFT JOIN accounts_quotawindow w ON w.quota_id = q.id AND w.starts_at ="
    " (SELECT MAX(l.starts_at) FROM accounts_quotawindow l WHERE l.quota_id = q.id)"
)


@dataclass(frozen=True, slots=True)
class LastWindow:
    """The newest window of a quota; open unless it has ended."""

    id: int
    ends_at: datetime | None

    def is_open(self, now: datetime) -> bool:
        """Return whether the window is the one around `now`."""
        return self.ends_at is None or self.ends_at > now


def _quota(row: Sequence[Any]) -> QuotaRow:
    identity, team_id, user_id, key_id, unit, window, limit, currency, action, raised = row
    return QuotaRow(
        identity,
        team_id,
        user_id,
        key_id,
        unit,
        window,
        read_decimal(limit),
        currency,
        action,
        read_decimal(raised),
    )


def _last(window_id: int | None, ends_at: Any) -> LastWindow | None:
    return None if window_id is None else LastWindow(window_id, read_time(ends_at))


def quotas_of(
    keys: Collection[int], users: Collection[int], teams: Collection[int], now: datetime
) -> list[tuple[QuotaRow, LastWindow | None]]:
    """Return the active quotas on these keys, users and teams, by id, each with its last window."""
    teams = teams or {0}
    rows = query(
        f"SELECT {_QUOTA_COLUMNS}, w.id, w.ends_at FROM accounts_quota q{_LAST_WINDOW}"
        f" WHERE q.is_active AND (q.key_id IN ({marks(keys)}) OR q.user_id IN ({marks(users)})"
        f" OR q.team_id IN ({marks(teams)})) ORDER BY q.id",
        [*[time_value(now)] * 2, *keys, *users, *teams],
    )
    return [(_quota(row[:10]), _last(*row[10:])) for row in rows]


_WINDOW_COLUMNS = "w.id, w.quota_id, w.starts_at, w.ends_at, w.used, w.reserved, w.warned_percent"


def _window(row: Sequence[Any]) -> WindowRow:
    starts_at = read_time(row[2])
    assert starts_at is not None
    used, reserved = read_decimal(row[4]), read_decimal(row[5])
    return WindowRow(row[0], row[1], starts_at, read_time(row[3]), used, reserved, row[6])


def lock_windows(window_ids: Collection[int]) -> dict[int, WindowRow]:
    """Return and lock the windows `window_ids`, by quota."""
    if not window_ids:
        return {}
    rows = query(
        f"SELECT {_WINDOW_COLUMNS} FROM accounts_quotawindow w WHERE w.id IN ({marks(window_ids)})"
        f" ORDER BY w.id{lock()}",
        list(window_ids),
    )
    return {window.quota_id: window for window in map(_window, rows)}


def lock_quotas(quota_ids: Collection[int]) -> dict[int, LastWindow]:
    """Lock quotas whose windows shall change, and return the last window of each that has any.

    Whoever opens or closes a window holds its quota, and takes quotas before windows: of two workers that find none
    open, one opens it and the other finds it, and they never wait crosswise.
    """
    ids = sorted(quota_ids)
    if not ids:
        return {}
    if connection.features.has_select_for_update:
        query(f"SELECT id FROM accounts_quota WHERE id IN ({marks(ids)}) ORDER BY id FOR NO KEY UPDATE", ids)
    rows = query(f"SELECT q.id, w.id, w.ends_at FROM accounts_quota q{_LAST_WINDOW} WHERE q.id IN ({marks(ids)})", ids)
    return {quota_id: last for quota_id, *window in rows if (last := _last(*window)) is not None}


def begin_windows(quotas: Sequence[QuotaRow], now: datetime, zone: tzinfo) -> dict[int, LastWindow]:
    """Open the windows around `now` of `quotas`, cut in `zone`; return them by quota.

    One that another worker has just opened is kept. A window begins where the one before it ended: when the business
    time zone changes, a call must not count in two windows of a quota.
    """
    last = lock_quotas([quota.id for quota in quotas])
    for quota in quotas:
        before = last.get(quota.id)
        if before is not None and before.is_open(now):
            continue
        starts_at, ends_at = bounds(quota.window, now, zone)
        if before is not None and before.ends_at is not None:
            starts_at = max(starts_at, before.ends_at)
        create_window(quota, starts_at, ends_at)
    return lock_quotas([quota.id for quota in quotas])


def create_window(quota: QuotaRow, starts_at: datetime, ends_at: datetime | None) -> Decimal:
    """Open a window with what the subject has already used in it, and return that."""
    used = used_between(quota, starts_at, ends_at)
    write(
        "INSERT INTO accounts_quotawindow (quota_id, starts_at, ends_at, used, reserved, warned_percent)"
        " VALUES (%s, %s, %s, %s, 0, 0) ON CONFLICT (quota_id, starts_at) DO NOTHING",
        [[quota.id, time_value(starts_at), time_value(ends_at), str(used)]],
    )
    return used


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
        "UPDATE accounts_quotawindow SET used = %s, reserved = %s, warned_percent = %s WHERE id = %s",
        [
            [
                str(window.used.quantize(_WINDOW_QUANTUM)),
                str(window.reserved.quantize(_WINDOW_QUANTUM)),
                window.warned_percent,
                window.id,
            ]
            for _id, window in sorted(changed.items())
        ],
    )


def windows_at(calls: Sequence[RunningRow], now: datetime) -> dict[uuid.UUID, list[tuple[QuotaRow, WindowRow]]]:
    """Return and lock the quota windows of each call: those around its start, in which it counts, those that hold it.

    They are the same but for a window that was closed early, or by another clock. Also windows of quotas switched off
    meanwhile: what they hold must be released, and their sum stays true.
    """
    keys, users = {call.key_id for call in calls}, {call.user_id for call in calls}
    teams = {call.team_id for call in calls if call.team_id is not None} or {0}
    earliest = min(call.started_at for call in calls) - _SKEW
    rows = query(
        f"SELECT {_WINDOW_COLUMNS}, {_QUOTA_COLUMNS} FROM accounts_quotawindow w JOIN accounts_quota q"
        f" ON q.id = w.quota_id WHERE (q.key_id IN ({marks(keys)}) OR q.user_id IN ({marks(users)})"
        f" OR q.team_id IN ({marks(teams)})) AND (w.ends_at IS NULL OR w.ends_at > %s) ORDER BY w.id"
        f"{lock() and ' FOR UPDATE OF w'}",
        [*[time_value(now)] * 2, *keys, *users, *teams, time_value(earliest)],
    )
    pairs = [(_quota(row[7:]), _window(row[:7])) for row in rows]
    found: dict[uuid.UUID, list[tuple[QuotaRow, WindowRow]]] = {}
    for call in calls:
        holding = call.reservation.get("windows", ())
        for quota, window in pairs:
            if quota.covers(call.key_id, call.user_id, call.team_id) and (
                window.contains(call.started_at) or window.id in holding
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
        # What is raised says nothing of what counts; the columns ask for it.
        [
            time_value(end),
            time_value(end),
            *keys,
            *users,
            *teams,
            Quota.Unit.COST.value,
            time_value(begin),
            time_value(end),
        ],
    )
    by_quota: dict[int, tuple[QuotaRow, list[WindowRow]]] = {}
    for row in rows:
        quota = _quota(row[7:])
        by_quota.setdefault(quota.id, (quota, []))[1].append(_window(row[:7]))
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
