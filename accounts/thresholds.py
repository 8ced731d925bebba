"""What is said when a quota is nearly used up, or is: once per threshold and window."""

import logging
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from django.db import transaction

from accounts.ledger_rows import QuotaRow, WindowRow
from accounts.models import Quota
from accounts.notices import events, outbox

logger = logging.getLogger(__name__)

THRESHOLDS = (75, 95)  # percent of the limit in force
USED_UP = 100


@dataclass(frozen=True, slots=True)
class Crossing:
    """A quota of which a settlement used more than `percent`, or of which so little is left that a call was refused."""

    quota_id: int
    window: str
    percent: int  # 75, 95, or 100: used up
    used: Decimal
    limit: Decimal  # in force
    starts_at: datetime
    resets_at: datetime | None


def crossed(used: Decimal, limit: Decimal) -> int:
    """Return the highest threshold that `used` has reached, 0 for none."""
    return max((percent for percent in (*THRESHOLDS, USED_UP) if used > 0 and 100 * used >= percent * limit), default=0)


def state(used: Decimal, limit: Decimal) -> str:
    """Return how a quota stands, for a banner: `ok`, `warning` from 75 %, `critical` from 95 %, `used_up`."""
    if not limit:
        return "used_up"
    return {0: "ok", THRESHOLDS[0]: "warning", THRESHOLDS[1]: "critical", USED_UP: "used_up"}[crossed(used, limit)]


def note_crossings(changed: Iterable[tuple[QuotaRow, WindowRow]]) -> None:
    """Note in locked windows which thresholds they have crossed, and write that for those who are to be told."""
    _tell([_note(quota, window, percent) for quota, window, percent in _newly_crossed(changed)])


def note_refusals(full: Iterable[tuple[QuotaRow, WindowRow]]) -> None:
    """Note in locked windows that calls are refused, if what is left of them is a remnant; write that once.

    Where more is left, it was the size of the call that did not fit, and its caller knows.
    """
    spent = {
        window.id: (quota, window)
        for quota, window in full
        if window.warned_percent < USED_UP and crossed(window.used, quota.limit_in_force) >= THRESHOLDS[-1]
    }
    _tell([_note(quota, window, USED_UP) for quota, window in spent.values()])


def _newly_crossed(changed: Iterable[tuple[QuotaRow, WindowRow]]) -> Iterable[tuple[QuotaRow, WindowRow, int]]:
    for quota, window in changed:
        percent = crossed(window.used, quota.limit_in_force)
        if percent > window.warned_percent:
            yield quota, window, percent


def _note(quota: QuotaRow, window: WindowRow, percent: int) -> Crossing:
    window.warned_percent, window.is_changed = percent, True
    limit = quota.limit_in_force
    crossing = Crossing(quota.id, quota.window, percent, window.used, limit, window.starts_at, window.ends_at)
    # Robust: what is to be said of a quota must not fail the books.
    transaction.on_commit(lambda: on_threshold(crossing), robust=True)
    return crossing


def _tell(crossings: list[Crossing]) -> None:
    """Write what was crossed into the outbox, with what crossed it; no statement when nothing was."""
    # Windows of a minute are rate limits, which are full or not a moment later.
    told = [_event(crossing) for crossing in crossings if crossing.window != Quota.Window.MINUTE]
    outbox.tell_beside(told, "what was crossed", logger)


def _event(crossing: Crossing) -> events.Event:
    kind = events.QUOTA_EXHAUSTED if crossing.percent >= USED_UP else events.QUOTA_WARNING
    facts = {
        "quota_id": crossing.quota_id,
        "percent": crossing.percent,
        "used": f"{crossing.used.normalize():f}",
        "limit": f"{crossing.limit.normalize():f}",
        "resets_at": crossing.resets_at.isoformat() if crossing.resets_at else None,
    }
    # With the limit: of a raised one the same share is another piece of news.
    occasion = (
        f"quota:{crossing.quota_id}:{crossing.starts_at.isoformat()}:{crossing.percent}:{crossing.limit.normalize():f}"
    )
    return events.Event(kind, occasion, facts)


def on_threshold(crossing: Crossing) -> None:
    """Say that a threshold was crossed."""
    quota = Quota.objects.select_related("team", "user", "key__user").get(pk=crossing.quota_id)
    logger.warning(
        "quota %s: %d %% reached, %s of %s used, resets at %s",
        quota,
        crossing.percent,
        f"{crossing.used.normalize():f}",
        f"{crossing.limit.normalize():f}",
        f"{crossing.resets_at:%Y-%m-%d %H:%M} UTC" if crossing.resets_at else "no time",
    )
