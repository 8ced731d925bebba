"""The outbox: an event is written with what caused it, and told afterwards, once.

`tell` writes one row per event, without a recipient: a single INSERT, so that the ledger, which holds locks on quotas
at that moment, neither reads nor decides anything. Whichever worker takes that row first (accounts/notices/sending.py)
replaces it by one row per recipient (accounts/notices/recipients.py). The unique constraint on occasion, channel and
recipient makes both steps harmless to repeat.
"""

import logging
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta

from django.db import DatabaseError, InterfaceError, OperationalError, transaction

from accounts.models import Notification
from accounts.notices.events import Event

logger = logging.getLogger(__name__)

KEPT_DAYS = 90
_PURGE_BATCH = 1000


class _Bell:
    """Who is woken when something was written; the thread of this process, if it has one (gateway/background.py)."""

    ring: Callable[[], None] | None = None


def on_written(ring: Callable[[], None] | None) -> None:
    """Call `ring` after each commit that wrote an event in this process. It must return at once. None: nobody."""
    _Bell.ring = ring


def tell(events: Sequence[Event]) -> None:
    """Write `events` in the transaction that is open, those that were not told before. Raises database errors.

    In a savepoint: a caller whose own work matters more may catch them and go on.
    """
    if not events:
        return
    rows = [
        Notification(event=event.kind, occasion=event.occasion[:200], content=dict(event.facts)) for event in events
    ]
    with transaction.atomic():
        Notification.objects.bulk_create(rows, ignore_conflicts=True)
        transaction.on_commit(wake, robust=True)


def tell_beside(events: Sequence[Event], what: str, log: logging.Logger) -> None:
    """Write `events` as `tell` does, or `log` that `what` cannot be told: the books go on without it.

    Raises what is the connection's fault: the ledger repeats the batch.
    """
    try:
        tell(events)
    except (OperationalError, InterfaceError):
        raise
    except DatabaseError:
        log.exception("%s cannot be told: %s", what, events)


def wake() -> None:
    """Have this process send at once what is due. Other processes find it within seconds by themselves."""
    if _Bell.ring is not None:
        _Bell.ring()


def purge(now: datetime) -> None:
    """Delete what was sent, or given up, more than 90 days ago."""
    done = Notification.objects.exclude(status=Notification.Status.PENDING).filter(
        created_at__lt=now - timedelta(days=KEPT_DAYS)
    )
    deleted = 0
    while ids := list(done.order_by().values_list("pk", flat=True)[:_PURGE_BATCH]):
        deleted += Notification.objects.filter(pk__in=ids).delete()[0]
    if deleted:
        logger.info("deleted %d old notifications", deleted)
