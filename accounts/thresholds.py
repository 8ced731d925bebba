"""What is said when a quota is nearly used up, once per threshold and window."""

import logging
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from django.db import transaction

from accounts.ledger_rows import QuotaRow, WindowRow
from accounts.models import Quota

logger = logging.getLogger(__name__)

THRESHOLDS = (75, 95)  # percent of the limit in force


@dataclass(frozen=True, slots=True)
class Crossing:
    """A quota of which a settlement used more than `percent`."""

    quota_id: int
    percent: int
    used: Decimal
    limit: Decimal  # in force
    resets_at: datetime | None


def crossed(used: Decimal, limit: Decimal) -> int:
    """Return the highest threshold that `used` has reached, 0 for none."""
    return max((percent for percent in THRESHOLDS if used > 0 and 100 * used >= percent * limit), default=0)


def note_crossings(changed: Iterable[tuple[QuotaRow, WindowRow]]) -> None:
    """Note in locked windows which thresholds they have crossed; these are reported when that is committed."""
    for quota, window in changed:
        percent = crossed(window.used, quota.limit_in_force)
        if percent > window.warned_percent:
            window.warned_percent, window.is_changed = percent, True
            crossing = Crossing(quota.id, percent, window.used, quota.limit_in_force, window.ends_at)
            # Robust: what is to be said of a quota must not fail the books.
            transaction.on_commit(lambda crossing=crossing: on_threshold(crossing), robust=True)  # type: ignore[misc]


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
