"""What the audit log shows of a row's fields: nothing secret, nothing endless, and only what a person decides."""

import functools
import json
import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import UTC, date, datetime, time
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from django.core.exceptions import ObjectDoesNotExist, ValidationError
from django.core.serializers.json import DjangoJSONEncoder
from django.db import models

MASK = "••••"
# JSON characters of a value; what is longer is cut.
MAX_LENGTH = 2000
_MAX_ENTRY_OF_LIST = 200

_SECRETS = frozenset({"password", "digest", "previous_digest", "token_digest"})
# The names of such headers are no secret, their values may be.
_SECRET_VALUES = frozenset({"extra_headers"})
_USER_INFO = re.compile(r"(?<=://)[^/?#@\s]+@")
# Written by the gateway as it goes, or by the row's other changes.
_UNWATCHED = {
    "accounts.user": {"last_login", "date_joined"},
    "accounts.notificationchannel": {"last_sent_at", "last_error"},
    "providers.provider": {"checked_at", "check_result"},
    "providers.model": {"compatibility", "compatibility_checked_at"},
}
_TIMES = {"created_at", "updated_at"}

if TYPE_CHECKING:
    Field = models.Field[Any, Any]
else:
    Field = models.Field
Fields = tuple[Field, ...]
# By the name of the column's attribute, as `QuerySet.values` gives it: `team_id`.
Values = Mapping[str, Any]


@functools.cache
def watched(model: type[models.Model]) -> Fields:
    """Return the fields of `model` whose changes are written down."""
    left_out = _TIMES | _UNWATCHED.get(model._meta.label_lower, set())
    return tuple(field for field in model._meta.concrete_fields if not field.primary_key and field.name not in left_out)


def stored(row: models.Model, fields: Fields) -> Values | None:
    """Return what the database holds of `row`, None if it does not know it."""
    return type(row)._base_manager.filter(pk=row.pk).values(*(field.attname for field in fields)).first()


def stored_many(model: type[models.Model], pks: Iterable[Any]) -> dict[Any, Values]:
    """Return what the database holds of these rows, by primary key."""
    names = [field.attname for field in watched(model)]
    found: dict[Any, Values] = {}
    pending = list(pks)
    # SQLite bounds the parameters of a statement.
    for begin in range(0, len(pending), 500):
        rows = model._base_manager.filter(pk__in=pending[begin : begin + 500]).order_by("pk")
        found.update((row.pop("pk"), row) for row in rows.values("pk", *names))
    return found


def held(row: models.Model, fields: Fields) -> Values:
    """Return what `row` holds, as the database would give it back."""
    values = {field.attname: getattr(row, field.attname) for field in fields}
    if any(hasattr(value, "resolve_expression") for value in values.values()):
        return stored(row, fields) or {}
    return {field.attname: _as_stored(field, values[field.attname]) for field in fields}


def _as_stored(field: Field, value: Any) -> Any:
    if isinstance(field, models.JSONField):
        return json.loads(json.dumps(value, cls=DjangoJSONEncoder))
    try:
        return field.to_python(value)
    except (ValidationError, TypeError, ValueError):
        return value


def differences(fields: Fields, before: Values, after: Values, row: models.Model) -> dict[str, tuple[Any, Any]]:
    """Return {field: (before, after)}, as the log shows it, of those fields that differ."""
    found: dict[str, tuple[Any, Any]] = {}
    for field in fields:
        if field.attname not in before or field.attname not in after:
            continue
        was, now = before[field.attname], after[field.attname]
        if was != now:
            found[field.name] = bounded(_shown(field, was, None), _shown(field, now, row))
    return found


def initial(fields: Fields, values: Values, row: models.Model) -> dict[str, tuple[Any, Any]]:
    """Return {field: (None, value)} of what a new row has."""
    shown = ((field.name, _shown(field, values[field.attname], row)) for field in fields)
    return {name: bounded(None, value) for name, value in shown if not _is_nothing(value)}


def final(fields: Fields, values: Values, row: models.Model) -> dict[str, tuple[Any, Any]]:
    """Return {field: (value, None)} of what a deleted row had."""
    return {name: (value, none) for name, (none, value) in initial(fields, values, row).items()}


def _is_nothing(value: Any) -> bool:
    return value is None or value in ("", [], {})


def _shown(field: Field, value: Any, row: models.Model | None) -> Any:
    """Return `value` as JSON that may be read; `row` is the one that has it, whose relations may be loaded."""
    if value is None:
        return None
    if field.name in _SECRETS or field.name.startswith("encrypted_"):
        return MASK if value else ""
    if field.name in _SECRET_VALUES:
        return dict.fromkeys(value, MASK) if isinstance(value, dict) else MASK
    if isinstance(field, models.ForeignKey):
        return _related(field, value, row)
    if isinstance(value, Decimal):
        return f"{value.normalize():f}"
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat() if value.tzinfo else value.isoformat()
    if isinstance(value, date | time):
        return value.isoformat()
    if isinstance(value, bool | int | float | list | dict):
        return value
    return _USER_INFO.sub(f"{MASK}@", str(value))


def _related(field: "models.ForeignKey[Any, Any]", pk: Any, row: models.Model | None) -> str:
    """Return the name and the id of the row that a foreign key leads to; the id alone where there is none any more."""
    try:
        related = getattr(row, field.name) if row is not None else field.related_model._base_manager.get(pk=pk)
    except ObjectDoesNotExist:
        related = None
    try:
        return f"{related} ({pk})" if related is not None else f"({pk})"
    except (AttributeError, TypeError, ValueError):
        # Code may have put a number, or an expression, where the database has a decimal.
        return _related(field, pk, None)


def bounded(before: Any, after: Any) -> tuple[Any, Any]:
    """Return both values, cut where they are long; of long lists first goes what they have in common."""
    if _length(before) <= MAX_LENGTH and _length(after) <= MAX_LENGTH:
        return before, after
    if isinstance(before, list) and isinstance(after, list):
        gone = _without(before, after)
        come = _without(after, before)
        same = len(before) - len(gone)
        if same and (gone or come):
            note = [f"… {same} others, the same before and after"]
            before, after = gone + note, come + note
    return _cut(before), _cut(after)


def _without(entries: Sequence[Any], others: Collection[Any]) -> list[Any]:
    known = {json.dumps(other, sort_keys=True) for other in others}
    return [entry for entry in entries if json.dumps(entry, sort_keys=True) not in known]


def _length(value: Any) -> int:
    return len(json.dumps(value, ensure_ascii=False))


def _cut(value: Any) -> Any:
    if _length(value) <= MAX_LENGTH:
        return value
    if isinstance(value, list):
        kept: list[Any] = []
        left = MAX_LENGTH
        for entry in value:
            text = entry if _length(entry) <= _MAX_ENTRY_OF_LIST else _cut_text(entry, _MAX_ENTRY_OF_LIST)
            left -= _length(text) + 2
            if left < 0:
                return [*kept, f"… {len(value) - len(kept)} more"]
            kept.append(text)
        return kept
    return _cut_text(value, MAX_LENGTH)


def _cut_text(value: Any, limit: int) -> str:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return f"{text[:limit]}… {len(text) - limit} more characters"
