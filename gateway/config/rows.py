"""One run of apply: the stored rows by name, the differences written so far, and what was refused."""

import json
from collections.abc import Iterable, Mapping
from datetime import date, time
from decimal import Decimal
from typing import Any

from django.core.exceptions import ValidationError
from django.db import models
from django.utils.translation import gettext as _

from accounts.models import ApiKey, ExchangeRate, NotificationChannel, Quota, Team, User
from gateway.config.fields import Problems, at, did_you_mean
from gateway.config.schema import Item, quota_identity, rate_identity
from providers.models import Credential, Model, Provider
from routing.models import ModelAlias, Policy, Route, Scene

_KINDS: dict[type[models.Model], str] = {
    Provider: "provider",
    Credential: "credential",
    Model: "model",
    Route: "route",
    ModelAlias: "alias",
    Scene: "scene",
    Policy: "policy",
    Team: "team",
    User: "user",
    ApiKey: "key",
    Quota: "quota",
    ExchangeRate: "exchange rate",
    NotificationChannel: "channel",
}


def kind_of(row: models.Model) -> str:
    """Return the kind of a row as a configuration file calls it."""
    return _KINDS.get(type(row), str(row._meta.verbose_name))


def identity_of(row: models.Model) -> str:
    """Return how a configuration file names a row."""
    if isinstance(row, Credential):
        return f"{row.provider.name}/{row.name}"
    if isinstance(row, User):
        return row.username
    if isinstance(row, Quota):
        subject: dict[str, str] = {}
        if row.key is not None:
            subject["key"] = identity_of(row.key)
        elif row.user is not None:
            subject["user"] = row.user.username
        elif row.team is not None:
            subject["team"] = row.team.name
        return quota_identity({**subject, "unit": row.unit, "window": row.window, "currency": row.currency})
    if isinstance(row, ExchangeRate):
        return rate_identity({"from": row.from_currency, "to": row.to_currency, "valid_from": row.valid_from})
    if isinstance(row, ApiKey):
        return f"{row.user.username}/{row.name}"
    return str(row)


def shown(value: Any) -> str:
    """Return a value as the diff prints it."""
    if value is None:
        return "none"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, Decimal):
        return f"{value.normalize():f}"
    if isinstance(value, float):
        return f"{value:g}"
    if isinstance(value, date):  # or a moment
        return value.isoformat()
    if isinstance(value, time):
        return value.isoformat("auto" if value.second or value.microsecond else "minutes")
    if isinstance(value, models.Model):
        return identity_of(value)
    if isinstance(value, list):
        return ", ".join(shown(one) for one in value) or "none"
    if isinstance(value, dict):
        return json.dumps(value, sort_keys=True, ensure_ascii=False)
    # One line, and no control characters for the terminal.
    text = str(value)
    return text if text.isprintable() and text else json.dumps(text)


class _RowsByName(dict[str, dict[str, Any]]):
    """kind -> identity -> row, read when a kind is first asked for: one row that changes needs few of the kinds."""

    def __missing__(self, kind: str) -> dict[str, Any]:
        self[kind] = {identity_of(row): row for row in _stored()[kind]}
        return self[kind]


class Run:
    """The state of one run. Everything it writes is inside the transaction of `apply`."""

    def __init__(self, problems: Problems, prune: bool) -> None:
        self.problems = problems
        self.prune = prune
        self.changes: list[str] = []
        self.notes: list[str] = []
        # Secrets made for keys that the file gives none: "user/name" -> secret.
        self.new_secrets: dict[str, str] = {}
        self.created: set[tuple[str, str]] = set()
        self._refused: set[tuple[str, str]] = set()
        self.rows = _RowsByName()

    def refuse(self, item: Item, *problems: tuple[str, str]) -> None:
        """Note that `item` is not written. `problems` are (field or "", message)."""
        for field, message in problems:
            self.problems.add(at(item.path, field) if field else item.path, message)
        item.is_broken = True
        self._refused.add((item.kind, item.identity))
        for child in [*(item.credentials or ()), *(item.models or ())]:
            self._refused.add((child.kind, child.identity))

    def find(self, kind: str, identity: str, path: str) -> Any:
        """Return the row that `identity` names, or None: then the reason is reported, here or where it arose.

        A model may be named by its id alone where one provider has it.
        """
        row = self.rows[kind].get(identity)
        if row is not None or (kind, identity) in self._refused:
            return row
        known = list(self.rows[kind])
        if kind == "model":
            offers = [name for name, model in self.rows["model"].items() if model.model_id == identity]
            if len(offers) == 1:
                return self.rows["model"][offers[0]]
            if offers:
                fault = _("%(name)s is offered by several providers; write one of %(models)s")
                self.problems.add(path, fault % {"name": shown(identity), "models": ", ".join(sorted(offers))})
                return None
            if any(one == "model" and name.partition("/")[2] == identity for one, name in self._refused):
                return None
            known += [model.model_id for model in self.rows["model"].values()]
        self.problems.add(
            path,
            _("there is no %(kind)s %(name)s") % {"kind": kind, "name": shown(identity)}
            + did_you_mean(identity, known),
        )
        return None

    def find_all(self, kind: str, identities: Iterable[str], path: str) -> list[Any] | None:
        """Return the rows of a list, or None when one is missing or named twice."""
        found = [self.find(kind, identity, f"{path}[{index}]") for index, identity in enumerate(identities)]
        again = [index for index, row in enumerate(found) if row is not None and row in found[:index]]
        for index in again:
            self.problems.add(f"{path}[{index}]", _("%(entry)s is named twice") % {"entry": shown(found[index])})
        return None if again or any(row is None for row in found) else found

    def reference(self, item: Item, field: str, kind: str) -> dict[str, Any] | None:
        """Return {field: row} of a reference that the file gives, {} when it gives none, None when it is wrong."""
        if field not in item.values:
            return {}
        identity = item.values[field]
        if identity is None:
            return {field: None}
        row = self.find(kind, identity, at(item.path, field))
        return None if row is None else {field: row}

    def plain_values(self, item: Item, row: models.Model, columns: Mapping[str, str]) -> dict[str, Any]:
        """Return model field -> value of the plain fields that the file gives; null is the model's default."""
        values: dict[str, Any] = {}
        for field, column in columns.items():
            if field in item.values:
                value = item.values[field]
                values[column] = row._meta.get_field(column).get_default() if value is None else value  # type: ignore[union-attr]
        return values

    def write(
        self,
        item: Item,
        row: models.Model,
        values: Mapping[str, Any],
        columns: Mapping[str, str],
        *,
        hidden: Mapping[str, str] | None = None,
        extra: Iterable[str] = (),
    ) -> bool:
        """Write what differs of `values` (model field -> value) into `row`, and say so. Returns whether it may stand.

        `columns` maps names in the file to model fields. `hidden` maps model fields to what the diff says of them
        instead of their values (None of it: nothing). `extra` are more parts of the diff line, of things that the
        caller writes itself.
        """
        field_names = {column: field for field, column in columns.items()}
        hidden = hidden or {}
        is_new = row._state.adding
        changed: list[str] = []
        details: list[str] = []
        for column, value in values.items():
            old = None if is_new else getattr(row, column)
            if old == value and not is_new:
                continue
            setattr(row, column, value)
            changed.append(column)
            if column in hidden:
                details += [hidden[column]] if hidden[column] else []
            else:
                details.append(f"{field_names.get(column, column)} {shown(old)} -> {shown(value)}")
        details += extra
        if is_new or changed:
            try:
                row.full_clean()
            except ValidationError as error:
                self.refuse(item, *located(error, field_names, item.values))
                return False
            if is_new:
                row.save()
            else:
                automatic = [field.name for field in row._meta.fields if getattr(field, "auto_now", False)]
                row.save(update_fields=[*changed, *automatic])
        if item.identity:
            self.rows[item.kind][item.identity] = row
        if is_new and item.identity:
            self.created.add((item.kind, item.identity))
            self.say("+", item.kind, item.identity)
        elif details:
            self.say("~", item.kind, item.identity, "; ".join(details))
        return True

    def say(self, sign: str, kind: str, identity: str, details: str = "") -> None:
        """Add a line of the diff."""
        name = f"{kind} {shown(identity)}" if identity else kind
        self.changes.append(f"{sign} {name}: {details}" if details else f"{sign} {name}")

    def end(self, kind: str, **same: models.Model) -> int:
        """Return the position after the last row of a kind, or of those whose fields equal `same`."""
        return 1 + max(
            (
                row.position
                for row in self.rows[kind].values()
                if all(getattr(row, field) == value for field, value in same.items())
            ),
            default=-1,
        )

    def free_the_default(self, kind: str, items: list[Item]) -> None:
        """Take the mark off the default row when the file names another one: the database allows only one at a time."""
        coming = next((item.identity for item in items if item.values.get("default") and not item.is_broken), None)
        if coming is None:
            return
        for identity, row in self.rows[kind].items():
            if row.is_default and identity != coming:
                row.is_default = False
                row.save(update_fields=["is_default"])
                self.say("~", kind, identity, "default true -> false")

    def arrange(self, kind: str, items: list[Item], siblings: Iterable[Any], label: str) -> None:
        """Give rows with a `position` the order of the file, when theirs is another one.

        `siblings` are all rows of the list in their stored order; those that the file does not name follow.
        """
        named = [self.rows[kind][item.identity] for item in items if item.identity in self.rows[kind]]
        named_pks = {row.pk for row in named}
        stored = list(siblings)
        if [row.pk for row in stored if row.pk in named_pks] == [row.pk for row in named]:
            return
        for position, row in enumerate([*named, *(row for row in stored if row.pk not in named_pks)]):
            if row.position != position:
                row.position = position
                row.save(update_fields=["position"])
        if any((kind, item.identity) not in self.created for item in items):
            self.changes.append(f"~ {label}: " + _("order changed"))


def located(error: ValidationError, field_names: Mapping[str, str], given: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return (field of the file, message) pairs of a model's complaint. `given` are the fields that the file gives."""
    found: list[tuple[str, str]] = []
    for column, errors in error.error_dict.items() if hasattr(error, "error_dict") else [("__all__", error.error_list)]:
        field = field_names.get(column, "" if column == "__all__" else column)
        if field not in given and any(one.code in ("blank", "null") for one in errors):
            found.append((field, _("is required")))
        else:
            found += [(field, message) for one in errors for message in one.messages]
    return found


def _stored() -> dict[str, Iterable[models.Model]]:
    return {
        "provider": Provider.objects.all(),
        "credential": Credential.objects.select_related("provider"),
        "model": Model.objects.select_related("provider"),
        "route": Route.objects.prefetch_related("entries__model__provider"),
        "alias": ModelAlias.objects.select_related("model__provider", "route", "scene"),
        "scene": Scene.objects.select_related("route").prefetch_related("rules"),
        "policy": Policy.objects.select_related(
            "route", "cheap_route", "shadow", "reference_model__provider"
        ).prefetch_related("scenes", "classifier_entries__model__provider", "kind_rules__scene", "kind_rules__route"),
        "team": Team.objects.select_related("parent", "lead", "policy"),
        "user": User.objects.select_related("team", "policy").prefetch_related("groups"),
        "key": ApiKey.objects.select_related("user", "policy"),
        "quota": Quota.objects.select_related("key__user", "user", "team").prefetch_related("raises"),
        "exchange rate": ExchangeRate.objects.all(),
        "channel": NotificationChannel.objects.select_related("team"),
    }
