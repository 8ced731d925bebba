"""The audit log: who acts, and what is written of it."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

from django.db import models

from accounts.models import AuditEntry, User


@dataclass(frozen=True, slots=True)
class Actor:
    """Who changes something, and by which way."""

    name: str
    via: AuditEntry.Via
    user: User | None = None
    address: str = ""


_actor: ContextVar[Actor | None] = ContextVar("actor", default=None)
_NOBODY = Actor("Wolfgate", AuditEntry.Via.SYSTEM)


@contextmanager
def acting(actor: Actor) -> Iterator[None]:
    """Let `actor` be who everything inside is written down for."""
    token = _actor.set(actor)
    try:
        yield
    finally:
        _actor.reset(token)


def record(
    action: AuditEntry.Action,
    row: models.Model,
    changes: Mapping[str, tuple[Any, Any]] | None = None,
    note: str = "",
) -> AuditEntry:
    """Write that `action` was done to `row`; `changes` are before and after by field, without secrets."""
    actor = _actor.get() or _NOBODY
    return AuditEntry.objects.create(
        actor=actor.user,
        actor_name=actor.name[:200],
        via=actor.via,
        address=actor.address[:45],
        action=action,
        object_type=row._meta.label_lower,
        object_id=str(row.pk)[:64],
        object_name=str(row)[:200],
        changes={name: [before, after] for name, (before, after) in (changes or {}).items()},
        note=note[:300],
    )
