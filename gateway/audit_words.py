"""The entries of the audit log in the words of who reads them."""

import json
from dataclasses import dataclass
from typing import Any

from django.apps import apps
from django.core.exceptions import FieldDoesNotExist
from django.db import models
from django.utils import translation
from django.utils.text import capfirst
from django.utils.translation import gettext, gettext_lazy

from accounts.models import AuditEntry

# What changes are named by that are no fields, or fields that no form has.
_NAMES = {
    "digest": gettext_lazy("secret"),
    "previous_digest": gettext_lazy("former secret"),
    "token_digest": gettext_lazy("link"),
    "encrypted_secret": gettext_lazy("secret"),
    "encrypted_url": gettext_lazy("secret address"),
    "added": gettext_lazy("added models"),
    "changed": gettext_lazy("changed models"),
    "missing": gettext_lazy("models no longer listed"),
    "prices": gettext_lazy("prices"),
    "used": gettext_lazy("used"),
    "keys": gettext_lazy("keys"),
    "captures": gettext_lazy("captures"),
    "failures": gettext_lazy("failures"),
    "left out before": gettext_lazy("not written down before this one"),
}


@dataclass(frozen=True, slots=True)
class Line:
    """One field of an entry."""

    name: str
    before: str
    after: str


def model_of(object_type: str) -> type[models.Model] | None:
    """Return the model that an entry names, None if this version has none of the name."""
    try:
        return apps.get_model(object_type)
    except (LookupError, ValueError):
        return None


def kind_of(object_type: str) -> str:
    """Return what a row of that kind is called."""
    model = model_of(object_type)
    return object_type if model is None else str(capfirst(model._meta.verbose_name))


def note_of(entry: AuditEntry) -> str:
    """Return the note, translated if it is one of ours."""
    # A variable: whoever wrote the note has marked its text.
    return translation.gettext(entry.note) if entry.note else ""


def lines_of(entry: AuditEntry) -> list[Line]:
    """Return what changed, field by field, in the order of the model's fields."""
    model = model_of(entry.object_type)
    fields = {} if model is None else {name: _label(model, name) for name in entry.changes}
    order = [] if model is None else [field.name for field in (*model._meta.fields, *model._meta.many_to_many)]
    places = {name: place for place, name in enumerate(order)}
    return [
        Line(fields.get(name, name), _words(pair, 0), _words(pair, 1))
        for name, pair in sorted(entry.changes.items(), key=lambda item: places.get(item[0], len(places)))
    ]


def _label(model: type[models.Model], name: str) -> str:
    if name in _NAMES:
        return str(capfirst(_NAMES[name]))
    try:
        field: Any = model._meta.get_field(name)
    except FieldDoesNotExist:
        return name
    return str(capfirst(getattr(field, "verbose_name", name)))


def _words(pair: Any, index: int) -> str:
    """Return one of the two values as text. An entry of another version may be of another form."""
    value = pair[index] if isinstance(pair, list) and len(pair) == 2 else pair if index else None
    if value is None or value == "":
        return "-"
    if isinstance(value, bool):
        return gettext("yes") if value else gettext("no")
    if isinstance(value, list):
        return "\n".join(one if isinstance(one, str) else json.dumps(one, ensure_ascii=False) for one in value) or "-"
    if isinstance(value, dict):
        return json.dumps(value, ensure_ascii=False, indent=2)
    return str(value)
