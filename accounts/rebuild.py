"""Making `UsageDaily` again from the calls and corrections that it is the sum of."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import date

from django.db import transaction

from accounts.closing import first_open_day
from accounts.daily_sql import Change, lock_days, repair_days, wrong_days
from accounts.ledger_rows import day_after_month
from accounts.verification import consistent_view


@dataclass(frozen=True, slots=True)
class Repair:
    """What was wrong in the days of one month."""

    month: date
    changes: list[Change] = field(default_factory=list)
    is_closed: bool = False  # nothing was changed


def rebuild_days(start: date | None = None, end: date | None = None, *, dry_run: bool = False) -> Iterator[Repair]:
    """Yield, month by month, what was wrong in the rollup of [start, end), and correct it unless it is a `dry_run`.

    Calls go on meanwhile: what is wrong is looked for without a lock, and each month is then corrected in a transaction
    of its own, in which settles wait. A closed month is left as it is.
    """
    with consistent_view():
        days = wrong_days(start, end)
    by_month: dict[date, list[date]] = {}
    for day in days:
        by_month.setdefault(day.replace(day=1), []).append(day)
    for month, wrong in by_month.items():
        last = min(day_after_month(month) or wrong[-1], end or date.max)
        with transaction.atomic():
            # In the order in which settles lock.
            open_since = first_open_day(locks=not dry_run)
            if not dry_run:
                lock_days()
            is_closed = open_since is not None and month < open_since
            changes = repair_days(wrong[0], last, dry_run=dry_run or is_closed)
        yield Repair(month, changes, is_closed)
