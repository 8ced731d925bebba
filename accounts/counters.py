"""Counters of quotas that an administrator sets back, and old windows that nobody needs any more."""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal

from django.db import connection
from django.utils.translation import gettext_noop

from accounts import audit
from accounts.ledger_rows import time_value, write
from accounts.models import AuditEntry, Quota, QuotaWindow
from accounts.verification import quota_row
from accounts.window_sql import create_window, lock_quotas, lock_windows, save_windows

# Windows of a minute are rate limits: nobody accounts by them, and each key makes up to 1440 a day.
_MINUTES_KEPT = timedelta(days=2)
_PURGED_AT_ONCE = 5000
# As the audit log says it.
RESET = gettext_noop("Counter reset.")
_TICK = timedelta(microseconds=1)


@dataclass(frozen=True, slots=True)
class Reset:
    """A counter that was set back."""

    used: Decimal  # in the window that was closed
    starts_at: datetime  # of that window
    ends_at: datetime | None  # of the one that was opened, as it was of the closed one


def reset(quota_ids: Collection[int], now: datetime) -> dict[int, Reset]:
    """Close the open windows of quotas and begin empty ones up to the same end. Must run in a transaction.

    Returns what was done by quota; one without a window, or in whose window is nothing, is left alone. History stays:
    the closed window keeps what its calls used. A call that runs meanwhile keeps its reservation there, and counts
    there when it ends, because it began there.
    """
    last = lock_quotas(quota_ids)
    windows = lock_windows([window.id for window in last.values() if window.is_open(now)])
    quotas = Quota.objects.in_bulk(list(windows))
    done: dict[int, Reset] = {}
    for quota_id, window in windows.items():
        if not window.used and not window.reserved:
            continue
        # Another worker's clock may be ahead, and have opened the window.
        moment = max(now, window.starts_at + _TICK)
        done[quota_id] = Reset(window.used, window.starts_at, window.ends_at)
        write("UPDATE accounts_quotawindow SET ends_at = %s WHERE id = %s", [[time_value(moment), window.id]])
        # By such a clock, calls may have begun after this moment already: they count in the new window.
        moved = create_window(quota_row(quotas[quota_id]), moment, window.ends_at)
        window.used -= moved
        window.is_changed = True
        used = (f"{done[quota_id].used.normalize():f}", "0")
        audit.record(AuditEntry.Action.OTHER, quotas[quota_id], {"used": used}, RESET)
    save_windows(windows.values())
    return done


def purge_minutes(now: datetime) -> int:
    """Delete windows of a minute that ended days ago and hold nothing; return how many. Safe to run anywhere."""
    old = QuotaWindow.objects.filter(
        quota__window=Quota.Window.MINUTE, starts_at__lt=now - _MINUTES_KEPT, ends_at__lt=now, reserved=0
    ).order_by("pk")
    if connection.features.has_select_for_update_skip_locked:
        old = old.select_for_update(skip_locked=True, of=("self",))
    ids = list(old.values_list("pk", flat=True)[:_PURGED_AT_ONCE])
    # SQLite bounds the parameters of a statement.
    for begin in range(0, len(ids), 500):
        QuotaWindow.objects.filter(pk__in=ids[begin : begin + 500]).delete()
    return len(ids)
