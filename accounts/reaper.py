"""Calls whose worker died: found by its missing heartbeat, closed with their reservation as estimated usage."""

import os
import socket
import uuid
from datetime import datetime, timedelta

from django.db import transaction
from django.db.models import Q
from django.utils import timezone

from accounts import counters, session_sql
from accounts.ledger import settle_batch
from accounts.ledger_items import Settlement
from accounts.models import CallRecord, Worker
from accounts.quota import Reservation
from providers.translation.usage import Usage
from routing.snapshot import Snapshot

# A worker writes every 10 s; one that was silent for this long is dead, or as good as dead.
SILENCE = timedelta(seconds=120)
# The longest idle time that a policy can have. A tool loop that pauses for less goes on where it was.
SESSIONS_KEPT = timedelta(days=1)
_BATCH = 200


def register(worker_id: uuid.UUID, host: str, pid: int) -> None:
    """Write the row of a worker that starts. An older row of the same process id on this host was its predecessor."""
    with transaction.atomic():
        Worker.objects.filter(host=host, pid=pid).delete()
        Worker.objects.create(id=worker_id, host=host, pid=pid)


def heartbeat(worker_id: uuid.UUID) -> None:
    """Say that the worker lives."""
    Worker.objects.filter(pk=worker_id).update(heartbeat_at=timezone.now())


def sign_off(worker_id: uuid.UUID) -> None:
    """Remove the row of a worker that ends in order; calls it left behind, if any, are reaped at once."""
    Worker.objects.filter(pk=worker_id).delete()


def count_living() -> int:
    """Return how many workers have said lately that they live."""
    return Worker.objects.filter(heartbeat_at__gte=timezone.now() - SILENCE).count()


def _dead_workers(now: datetime) -> list[uuid.UUID]:
    """Return the ids of registered workers that have died."""
    host = socket.gethostname()
    return [
        worker.pk
        for worker in Worker.objects.all()
        if worker.heartbeat_at < now - SILENCE or (worker.host == host and not _is_running(worker.pid))
    ]


def _is_running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def reap_calls(snapshot: Snapshot, now: datetime | None = None) -> int:
    """Close the running calls of dead workers; return how many. Safe to run anywhere and at the same time."""
    now = now or timezone.now()
    dead = _dead_workers(now)
    if dead:
        Worker.objects.filter(pk__in=dead).delete()
    living = list(Worker.objects.values_list("pk", flat=True))
    orphans = CallRecord.objects.filter(Q(worker_id__isnull=True) | ~Q(worker_id__in=living), status="running")
    closed = 0
    while calls := list(orphans[:_BATCH]):
        with transaction.atomic():
            settled = settle_batch([_estimate(call, now) for call in calls], snapshot)
        if not settled:
            break
        closed += settled
    return closed


def forget_sessions(now: datetime | None = None) -> int:
    """Delete the sessions that no call will go on with; return how many. Safe to run anywhere and at the same time."""
    with transaction.atomic():
        return session_sql.forget_before((now or timezone.now()) - SESSIONS_KEPT)


def forget_minutes(now: datetime | None = None) -> int:
    """Delete the windows of minutes of long ago; return how many. Safe to run anywhere and at the same time."""
    with transaction.atomic():
        return counters.purge_minutes(now or timezone.now())


def _estimate(call: CallRecord, now: datetime) -> Settlement:
    reservation = Reservation.from_json(call.reservation)
    return Settlement(
        call_id=call.pk,
        status=CallRecord.Status.LOST,
        ended_at=now,
        usage=Usage(input_tokens=reservation.input_tokens, output_tokens=reservation.output_tokens, is_estimated=True),
        cost=reservation.cost if reservation.currency else None,
        currency=reservation.currency,
        cost_source=CallRecord.CostSource.PRICE if reservation.currency else "",
        policy_name=call.policy_name,
        decision=call.decision,
        error_kind="worker_lost",
        error_message="The process that served the call died.",
        duration_ms=max(0, round((now - call.started_at).total_seconds() * 1000)),
    )
