"""What the callers of one batch may still use: their quotas and running calls, locked, and granted from in memory."""

from collections.abc import Sequence
from datetime import datetime

from accounts.errors import QuotaExceeded, Refusal, TooManyCalls
from accounts.ledger_items import Standing
from accounts.ledger_rows import KeyRow, QuotaRow, WindowRow
from accounts.ledger_sql import running_calls
from accounts.models import Quota
from accounts.quota import Reservation, has_room
from accounts.thresholds import note_refusals
from accounts.window_sql import LastWindow, begin_windows, lock_windows, quotas_of, save_windows
from routing.snapshot import Snapshot


class Limits:
    """The locked quota windows and running calls of the callers of one batch, granted from in memory."""

    def __init__(self, callers: Sequence[KeyRow], snapshot: Snapshot, now: datetime) -> None:
        self._now = now
        self._zone = snapshot.settings.business_time_zone
        capped = {caller.id for caller in callers if caller.max_concurrency}
        self._running = running_calls(capped) if capped else {}
        found = quotas_of(
            {caller.id for caller in callers},
            {caller.user_id for caller in callers},
            {caller.team_id for caller in callers if caller.team_id is not None},
            now,
        )
        self._quotas = [quota for quota, _window in found]
        self._windows = self._lock_windows(found)
        self._refusing: list[tuple[QuotaRow, WindowRow]] = []

    def _lock_windows(self, found: Sequence[tuple[QuotaRow, LastWindow | None]]) -> dict[int, WindowRow]:
        windows = {quota.id: last for quota, last in found if last is not None and last.is_open(self._now)}
        if missing := [quota for quota, _last in found if quota.id not in windows]:
            windows |= begin_windows(missing, self._now, self._zone)
        return lock_windows({last.id for last in windows.values()})

    def _of(self, caller: KeyRow) -> list[QuotaRow]:
        return [quota for quota in self._quotas if quota.covers(caller.id, caller.user_id, caller.team_id)]

    def _full(self, caller: KeyRow, reservation: Reservation, action: str) -> list[tuple[QuotaRow, WindowRow]]:
        """Return the quotas of this action in which the call has no room."""
        return [
            (quota, window)
            for quota in self._of(caller)
            if quota.action == action
            and not has_room(
                quota.limit_in_force,
                (window := self._windows[quota.id]).used,
                window.reserved,
                reservation.amount(quota.unit, quota.currency),
                reservation.certain(quota.unit, quota.currency),
            )
        ]

    def downgrade(self, caller: KeyRow, reservation: Reservation) -> str:
        """Return the first full quota that sends the call to a cheap target, in words; "" when there is none."""
        full = self._full(caller, reservation, Quota.Action.DOWNGRADE)
        return full[0][0].in_words(caller.username, caller.name, caller.team_name) if full else ""

    def refusal(self, caller: KeyRow, reservation: Reservation, *, is_inner: bool) -> Refusal | None:
        """Return why the caller is refused: of several full quotas the one that resets last."""
        if caller.max_concurrency and not is_inner and self._running.get(caller.id, 0) >= caller.max_concurrency:
            return TooManyCalls(caller.max_concurrency)
        full = self._full(caller, reservation, Quota.Action.BLOCK)
        if not full:
            return None
        self._refusing += full
        quota, window = max(full, key=lambda pair: pair[1].ends_at.timestamp() if pair[1].ends_at else float("inf"))
        seconds = max(1, round((window.ends_at - self._now).total_seconds())) if window.ends_at else None
        return QuotaExceeded(
            subject=quota.subject_name(caller.username, caller.name, caller.team_name),
            unit=quota.unit,
            window=quota.window,
            limit=quota.limit_in_force,
            used=window.used,
            currency=quota.currency,
            resets_at=window.ends_at.astimezone(self._zone) if window.ends_at else None,
            retry_after_s=seconds,
            reserved=window.reserved,
            expected=reservation.amount(quota.unit, quota.currency),
            raised=quota.raised,
            certain=reservation.certain(quota.unit, quota.currency),
        )

    def take(self, caller: KeyRow, reservation: Reservation, *, is_inner: bool) -> list[int]:
        """Reserve in every window of the caller; return their ids."""
        if caller.max_concurrency and not is_inner:
            self._running[caller.id] = self._running.get(caller.id, 0) + 1
        ids = []
        for quota in self._of(caller):
            window = self._windows[quota.id]
            window.reserved += reservation.amount(quota.unit, quota.currency)
            window.is_changed = True
            ids.append(window.id)
        return ids

    def standing(self, caller: KeyRow) -> Standing | None:
        """Return how the caller stands after this call: by the tightest of his quotas, None without any.

        Windows of a minute are rate limits, which are full or not a moment later.
        """
        found: Standing | None = None
        for quota in self._of(caller):
            if quota.window == Quota.Window.MINUTE:
                continue
            window, limit = self._windows[quota.id], quota.limit_in_force
            percent = int(100 * window.used / limit) if limit else 100
            if found is None or percent > found.used_percent:
                found = Standing(percent, window.ends_at)
        return found

    def begin(self, window_ids: list[int]) -> datetime:
        """Return the start to record: not before a window that holds the call, whose worker's clock may be ahead."""
        starts = [window.starts_at for window in self._windows.values() if window.id in window_ids]
        return max([self._now, *starts])

    def save(self) -> None:
        """Write what was taken, and which quotas are used up so far that they refuse."""
        note_refusals(self._refusing)
        save_windows(self._windows.values())
