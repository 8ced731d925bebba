"""The version number of everything that routing reads: it reaches every worker without a message bus.

A change to a configuration row raises the number in its own transaction. The ledger reads it with each batch of
admissions and rebuilds the worker's snapshot when it moved, so a change is in force on the next call of every worker.
"""

from typing import Any

from django.db.models import F, Model
from django.db.models.signals import m2m_changed, post_delete, post_save
from django.dispatch import Signal

from providers.models import ConfigVersion

# Sent within the transaction of the change. What follows from a change belongs behind its commit.
changed = Signal()


def bump() -> None:
    """Raise the version. Call it after a `QuerySet.update` or `bulk_create`, which send no signal."""
    if not ConfigVersion.objects.filter(pk=1).update(number=F("number") + 1):
        ConfigVersion.objects.get_or_create(pk=1, defaults={"number": 1})
    changed.send(sender=ConfigVersion)


def current() -> int:
    """Return the version, 0 before the first configuration row."""
    return ConfigVersion.objects.filter(pk=1).values_list("number", flat=True).first() or 0


def _bump_receiver(**_kwargs: Any) -> None:
    bump()


def bump_on_change(*senders: type[Model]) -> None:
    """Raise the version whenever a row of one of `senders` is saved or deleted."""
    for sender in senders:
        uid = f"bump-{sender._meta.label}"
        post_save.connect(_bump_receiver, sender=sender, dispatch_uid=uid)
        post_delete.connect(_bump_receiver, sender=sender, dispatch_uid=uid)


def bump_on_relation(through: type[Model]) -> None:
    """Raise the version whenever rows of the many-to-many table `through` change."""
    m2m_changed.connect(_bump_receiver, sender=through, dispatch_uid=f"bump-{through._meta.label}")
