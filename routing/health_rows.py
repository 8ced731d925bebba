"""The rows by which the workers share the health of targets, written and read by the ledger thread.

Whoever changes something writes it at once, in one statement and in the order of the keys, so that two workers never
wait for each other crosswise. The table is tiny; everybody reads it whole. The last writer wins: two workers that see
a target fail at the same moment write the same.
"""

from datetime import timedelta
from time import time

from django.db import InterfaceError, OperationalError, connection, transaction
from django.utils import timezone

from routing.health import Cooldown, Health, Key
from routing.models import TargetHealth

# Nothing was heard of it for so long: the model is gone, or nobody asks for it, and what was learnt is stale.
KEPT = timedelta(days=2)
_KEY = ("provider_name", "model_name", "credential_name")
_COOLDOWN = ("failures", "error_kind", "http_status", "message", "failed_at", "cooling_until")


def write(health: Health) -> None:
    """Write what this process has learnt since the last time. What a database that is away cannot take waits."""
    changes = health.take_changes()
    try:
        _upsert(
            [
                TargetHealth(**_names(key), **{name: getattr(cooldown, name) for name in _COOLDOWN})
                for key, cooldown in changes.items()
            ],
            _COOLDOWN,
        )
    except (OperationalError, InterfaceError):
        health.give_back(changes)
        raise
    speeds = health.speeds.take()
    try:
        # The row of a target as such has no credential.
        _upsert(
            [
                TargetHealth(**_names((*_split(name), "")), ttft_ms=round(ttft_ms, 1))
                for name, ttft_ms in speeds.items()
            ],
            ("ttft_ms",),
        )
    except (OperationalError, InterfaceError):
        health.speeds.give_back(speeds)
        raise


def read(health: Health) -> None:
    """Take over what the other workers have learnt, and what an administrator has reset."""
    health.skew_s = _skew_s()
    rows = list(TargetHealth.objects.order_by().values_list(*_KEY, *_COOLDOWN, "ttft_ms"))
    health.adopt({(row[0], row[1], row[2]): Cooldown(*row[3:9]) for row in rows})
    health.speeds.adopt({f"{row[0]}/{row[1]}": row[9] for row in rows if row[9] is not None and not row[2]})


def purge() -> int:
    """Delete the rows of which nothing was heard for long; return how many. Safe to run anywhere at the same time."""
    now = timezone.now()
    with transaction.atomic():
        stale = TargetHealth.objects.filter(updated_at__lt=now - KEPT).exclude(cooling_until__gt=now)
        # A worker that is writing one of them has locked it, and it is stale no longer.
        found = list(stale.select_for_update(skip_locked=True).values_list("pk", flat=True))
        if found:
            TargetHealth.objects.filter(pk__in=found).delete()
    return len(found)


def _upsert(rows: list[TargetHealth], columns: tuple[str, ...]) -> None:
    if rows:
        TargetHealth.objects.bulk_create(
            rows, update_conflicts=True, unique_fields=_KEY, update_fields=(*columns, "updated_at")
        )


def _names(key: Key) -> dict[str, str]:
    return dict(zip(_KEY, key, strict=True))


def _split(target_name: str) -> tuple[str, str]:
    provider, _, model = target_name.partition("/")
    return provider, model


def _skew_s() -> float:
    """Return by how much the database's clock is ahead: machines differ, and the rows need one clock."""
    if connection.vendor != "postgresql":
        return 0.0  # SQLite is on this machine
    with connection.cursor() as cursor:
        cursor.execute("SELECT EXTRACT(EPOCH FROM clock_timestamp())")
        row = cursor.fetchone()
    return float(row[0]) - time() if row else 0.0
