"""The audit log: who acts, and what is written of it.

Saving and deleting a row writes its entry by itself (accounts/audit_signals.py). What sends no signal, `update` and
bulk writing, goes through `update`, `created` and `changed` here; an event that changes no row is a `record`.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any

from django.db import models, transaction

from accounts.audit_values import MASK, differences, held, initial, stored_many, watched
from accounts.models import AuditEntry, User

Changes = Mapping[str, tuple[Any, Any]]

_BATCH = 200


@dataclass(frozen=True, slots=True)
class Actor:
    """Who changes something, and by which way."""

    name: str
    via: AuditEntry.Via
    user: User | None = None
    address: str = ""


@dataclass(slots=True)
class _Gathered:
    entries: list[AuditEntry] = field(default_factory=list)
    # The entry that what else happens to a row is added to.
    open: dict[tuple[str, str], AuditEntry] = field(default_factory=dict)


_actor: ContextVar[Actor | None] = ContextVar("actor", default=None)
_gathered: ContextVar[_Gathered | None] = ContextVar("gathered", default=None)
_NOBODY = Actor("Wolfgate", AuditEntry.Via.SYSTEM)


def actor() -> Actor | None:
    """Return who acts, None where nobody said it: then the gateway itself is written down."""
    return _actor.get()


@contextmanager
def acting(actor: Actor) -> Iterator[None]:
    """Let `actor` be who everything inside is written down for."""
    token = _actor.set(actor)
    try:
        yield
    finally:
        _actor.reset(token)


def act_from_now_on(actor: Actor) -> None:
    """Let `actor` be who everything that this process still does is written down for."""
    _actor.set(actor)


@contextmanager
def together() -> Iterator[None]:
    """Run what is inside as one transaction, with one entry for all that changes of a row.

    Entries are written at the end. A part that fails must not be caught inside, with a savepoint of its own: its
    entries would stay.
    """
    if _gathered.get() is not None:
        yield
        return
    with transaction.atomic():
        gathered = _Gathered()
        token = _gathered.set(gathered)
        try:
            yield
        finally:
            _gathered.reset(token)
        # A dry run goes through to here, with everything marked to be undone.
        if not transaction.get_rollback():
            _write([entry for entry in gathered.entries if entry.changes or entry.action != AuditEntry.Action.CHANGE])


def record(
    action: AuditEntry.Action, row: models.Model, changes: Changes | None = None, note: str = "", *, name: str = ""
) -> AuditEntry:
    """Write that `action` was done to `row`; `changes` are before and after by field, without secrets.

    `name` is what the row is called in the log, if not by its own name.
    """
    entry = _entry(action, row, changes or {}, note, name)
    if action == AuditEntry.Action.OTHER or (gathered := _gathered.get()) is None:
        entry.save(force_insert=True)
    else:
        _gather(gathered, entry)
    return entry


def update(queryset: models.QuerySet[Any], note: str = "", **values: Any) -> list[Any]:
    """Set `values` on the rows of `queryset` with one statement, write their entries, return the rows as they were.

    The rows are locked meanwhile. A row that has the values already gets no entry.
    """
    model = queryset.model
    with transaction.atomic():
        rows = list(_locked(queryset))
        before = stored_many(model, [row.pk for row in rows])
        model._base_manager.filter(pk__in=list(before)).update(**values)
        changed(model, before, note)
    return rows


def _locked(queryset: models.QuerySet[Any]) -> models.QuerySet[Any]:
    query: Any = queryset.query
    if query.is_sliced or query.distinct or query.combinator or query.group_by is not None:
        return queryset  # PostgreSQL locks no rows that are made of several
    return queryset.select_for_update(of=("self",), no_key=True)


def changed(model: type[models.Model], before: Mapping[Any, Mapping[str, Any]], note: str = "") -> None:
    """Write the entries of rows that were written in bulk. `before` is what `stored_many` returned before that.

    In the transaction of the writing.
    """
    after = stored_many(model, before)
    relations = [field.name for field in watched(model) if field.is_relation]
    changed_rows = model._default_manager.select_related(*relations) if relations else model._default_manager.all()
    rows = changed_rows.in_bulk([pk for pk in after if after[pk] != before[pk]])
    entries = []
    for pk, row in rows.items():
        if changes := differences(watched(model), before[pk], after[pk], row):
            entries.append(_entry(AuditEntry.Action.CHANGE, row, changes, note))
    _write_all(entries)


def created(rows: Sequence[models.Model], note: str = "") -> None:
    """Write the entries of rows that `bulk_create` made, in its transaction."""
    _write_all(
        [
            _entry(AuditEntry.Action.CREATE, row, initial(watched(type(row)), held(row, watched(type(row))), row), note)
            for row in rows
        ]
    )


def _entry(
    action: AuditEntry.Action, row: models.Model, changes: Changes, note: str = "", name: str = ""
) -> AuditEntry:
    who = _actor.get() or _NOBODY
    return AuditEntry(
        actor=who.user,
        actor_name=who.name[:200],
        via=who.via,
        address=who.address[:45],
        action=action,
        object_type=row._meta.label_lower,
        object_id="" if row.pk is None else str(row.pk)[:64],
        object_name=(name or _name(row))[:200],
        changes={key: [before, after] for key, (before, after) in changes.items()},
        note=note[:300],
    )


def _name(row: models.Model) -> str:
    try:
        return str(row)
    except (AttributeError, TypeError, ValueError):
        # Code may have put a number, or an expression, where the database has a decimal.
        return str(type(row)._base_manager.filter(pk=row.pk).first() or row.pk)


def _write_all(entries: Iterable[AuditEntry]) -> None:
    gathered = _gathered.get()
    if gathered is None:
        _write(list(entries))
        return
    for entry in entries:
        _gather(gathered, entry)


def _write(entries: list[AuditEntry]) -> None:
    AuditEntry.objects.bulk_create(entries, batch_size=_BATCH)


def _gather(gathered: _Gathered, entry: AuditEntry) -> None:
    row = (entry.object_type, entry.object_id)
    first = gathered.open.get(row)
    if first is None or entry.action != AuditEntry.Action.CHANGE or (first.note and entry.note):
        gathered.entries.append(entry)
        gathered.open[row] = entry
        if entry.action == AuditEntry.Action.DELETE:
            del gathered.open[row]
        return
    first.note = first.note or entry.note
    first.object_name = entry.object_name
    for name, (before, after) in entry.changes.items():
        was = first.changes[name][0] if name in first.changes else before
        first.changes[name] = [was, after]
        # Of two secrets behind their masks nobody knows whether they are the same.
        if first.action == AuditEntry.Action.CHANGE and was == after and MASK not in str(after):
            del first.changes[name]
