"""The sections and fields of a configuration file, version 1, and the reading of a file into items."""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

from django.utils.translation import gettext as _

from accounts.models import Quota, User
from gateway.config.fields import (
    Field,
    Invalid,
    Problems,
    Shape,
    alias_target,
    at,
    boolean,
    choice,
    currency,
    flags,
    headers,
    list_of,
    mapping,
    moment,
    name,
    number,
    read,
    seconds,
    target,
    text,
    unique_list_of,
    whole_number,
)
from providers.models import CAPABILITIES, Provider
from routing.models import CaptureMode, Policy, Route, SearchKind

VERSION = 1
ROLES = ("member", "finance", "team_lead", "administrator")


def _raw_list(value: Any, path: str, problems: Problems) -> list[Any]:
    """Accept a list whose entries are read as items of their own."""
    if not isinstance(value, list):
        raise Invalid(_("must be a list"))
    return value


def _route_target(value: Any, path: str, problems: Problems) -> tuple[str, int]:
    """Accept `provider/model`, or `{target: provider/model, weight: n}` for a route by weight."""
    if not isinstance(value, dict):
        return target(value, path, problems), 1
    clean = mapping(WEIGHTED_TARGET)(value, path, problems)
    return clean["target"], clean.get("weight") or 1


def _username(value: Any, path: str, problems: Problems) -> str:
    """Accept a username (or username/key) in the form in which Django stores it."""
    return str(User.normalize_username(name(value, path, problems)))


WEIGHTED_TARGET: Shape = {"target": Field(target, required=True), "weight": Field(whole_number(1))}
TIMEOUTS: Shape = {
    "connect": Field(seconds, "connect_timeout_s"),
    "first_event": Field(seconds, "first_event_timeout_s"),
    "idle": Field(seconds, "idle_timeout_s"),
    "total": Field(seconds, "total_timeout_s"),
}
PRICE: Shape = {
    "currency": Field(currency, "currency", required=True),
    "input": Field(number(0), "input_per_million", required=True),
    "output": Field(number(0), "output_per_million", required=True),
    "cache_read": Field(number(0), "cache_read_per_million"),
    "cache_write": Field(number(0), "cache_write_per_million"),
}
CREDENTIAL: Shape = {
    "name": Field(name, "name"),
    "secret": Field(text, nullable=False),
    "secret_env": Field(name, nullable=False),
    "enabled": Field(boolean, "is_enabled"),
}
MODEL: Shape = {
    "id": Field(name, "model_id", required=True),
    "display_name": Field(text, "display_name"),
    "context_window": Field(whole_number(1), "context_window"),
    "max_output_tokens": Field(whole_number(1), "max_output_tokens"),
    "capabilities": Field(unique_list_of(choice(*CAPABILITIES)), "capabilities"),
    "flags": Field(flags, "flags"),
    "enabled": Field(boolean, "is_enabled"),
    "manual": Field(boolean, "is_manual"),
    "price": Field(mapping(PRICE)),
}
PROVIDER: Shape = {
    "name": Field(name, "name", required=True),
    "kind": Field(choice(*Provider.Kind.values), "kind"),
    "base_url": Field(text, "base_url"),
    "wire_format": Field(choice(*Provider.WireFormat.values), "wire_format"),
    "timeouts_s": Field(mapping(TIMEOUTS), flatten=True, nullable=False),
    "allow_private_network": Field(boolean, "allow_private_network"),
    "forward_client_credential": Field(boolean, "forwards_client_credential"),
    "flags": Field(flags, "flags"),
    "extra_headers": Field(headers, "extra_headers"),
    "enabled": Field(boolean, "is_enabled"),
    "credentials": Field(_raw_list, nullable=False),
    "models": Field(_raw_list, nullable=False),
}
ROUTE: Shape = {
    "name": Field(name, "name", required=True),
    "order": Field(choice(*Route.Order.values), "order"),
    "targets": Field(list_of(_route_target), nullable=False),
}
ALIAS: Shape = {"pattern": Field(name, "pattern", required=True), "target": Field(alias_target, required=True)}
SCENE: Shape = {
    "name": Field(name, "name", required=True),
    "description": Field(text, "description"),
    "examples": Field(list_of(text), "examples"),
    "route": Field(name, nullable=False),
    "default": Field(boolean, "is_default"),
    "enabled": Field(boolean, "is_enabled"),
}
POLICY: Shape = {
    "name": Field(name, "name", required=True),
    "default": Field(boolean, "is_default"),
    "mode": Field(choice(*Policy.Mode.values), "mode"),
    "route": Field(name),
    "reference_model": Field(target),
    "classifier": Field(unique_list_of(target), nullable=False),
    "scenes": Field(unique_list_of(name), nullable=False),
    "classifier_timeout_ms": Field(whole_number(1), "classifier_timeout_ms"),
    "capture": Field(choice(*CaptureMode.values), "capture"),
}
TEAM: Shape = {
    "name": Field(name, "name", required=True),
    "cost_center": Field(text, "cost_center"),
    "parent": Field(name),
    "lead": Field(_username),
    "policy": Field(name),
    "active": Field(boolean, "is_active"),
}
USER: Shape = {
    "username": Field(_username, "username", required=True),
    "email": Field(text, "email"),
    "first_name": Field(text, "first_name"),
    "last_name": Field(text, "last_name"),
    "team": Field(name),
    "policy": Field(name),
    "roles": Field(unique_list_of(choice(*ROLES)), nullable=False),
    "language": Field(text, "language"),
    "time_zone": Field(text, "time_zone"),
    "password_env": Field(name, nullable=False),
    "active": Field(boolean, "is_active"),
}
KEY: Shape = {
    "user": Field(_username, required=True),
    "name": Field(name, "name", required=True),
    "secret": Field(text, nullable=False),
    "secret_env": Field(name, nullable=False),
    "policy": Field(name),
    "expires_at": Field(moment, "expires_at"),
    "allowed_models": Field(unique_list_of(name), "allowed_models"),
    "capture": Field(choice(*CaptureMode.values), "capture"),
    "max_concurrency": Field(whole_number(1), "max_concurrency"),
    "note": Field(text, "note"),
    "active": Field(boolean, "is_active"),
}
QUOTA: Shape = {
    "key": Field(_username, nullable=False),
    "user": Field(_username, nullable=False),
    "team": Field(name, nullable=False),
    "unit": Field(choice(*Quota.Unit.values), "unit", required=True),
    "window": Field(choice(*Quota.Window.values), "window", required=True),
    "limit": Field(number(0), "limit", required=True),
    "currency": Field(currency, "currency", nullable=False),
    "action": Field(choice(*Quota.Action.values), "action"),
    "active": Field(boolean, "is_active"),
}
SEARCH: Shape = {
    "kind": Field(choice(*SearchKind.values), "search_kind", required=True),
    "url": Field(name, "search_url", required=True),
    "secret": Field(text),
    "secret_env": Field(name, nullable=False),
}
SETTINGS: Shape = {
    "capture": Field(choice(*CaptureMode.values), "capture"),
    "capture_retention_days": Field(whole_number(0), "capture_retention_days"),
    "capture_max_bytes": Field(whole_number(0), "capture_max_bytes"),
    "search": Field(mapping(SEARCH)),
    "business_time_zone": Field(name, "business_time_zone"),
    "ping_interval_s": Field(seconds, "ping_interval_s"),
    "cooldown_enabled": Field(boolean, "cooldown_enabled"),
    "safety_model": Field(target),
}


def columns(shape: Shape) -> dict[str, str]:
    """Return config name -> model field of the fields that a column holds as it is; "name.inner" for nested ones."""
    found = {key: field.column for key, field in shape.items() if field.column}
    if "timeouts_s" in shape:
        found |= {at("timeouts_s", key): field.column for key, field in TIMEOUTS.items()}
    return found


@dataclasses.dataclass(slots=True)
class Item:
    """One row that a file describes."""

    kind: str  # provider, credential, model, route …
    path: str
    identity: str  # how the file and the output name the row; "" when that could not be read
    values: dict[str, Any]
    is_broken: bool = False
    credentials: "list[Item] | None" = None
    models: "list[Item] | None" = None


@dataclasses.dataclass(slots=True)
class Document:
    """A file, read. `sections` holds those that it contains."""

    sections: dict[str, list[Item]]
    settings: Item | None = None


# section -> (kind of its rows, shape, identity from the clean values)
SECTIONS: dict[str, tuple[str, Shape, Callable[[Mapping[str, Any]], str]]] = {
    "providers": ("provider", PROVIDER, lambda values: str(values["name"])),
    "routes": ("route", ROUTE, lambda values: str(values["name"])),
    "aliases": ("alias", ALIAS, lambda values: str(values["pattern"])),
    "scenes": ("scene", SCENE, lambda values: str(values["name"])),
    "policies": ("policy", POLICY, lambda values: str(values["name"])),
    "teams": ("team", TEAM, lambda values: str(values["name"])),
    "users": ("user", USER, lambda values: str(values["username"])),
    "keys": ("key", KEY, lambda values: f"{values['user']}/{values['name']}"),
    "quotas": ("quota", QUOTA, lambda values: quota_identity(values)),
}
_TOP: Shape = {
    "version": Field(whole_number(1), required=True),
    "settings": Field(lambda value, path, problems: value, nullable=False),
    **{section: Field(_raw_list, nullable=False) for section in SECTIONS},
}


def quota_identity(values: Mapping[str, Any]) -> str:
    """Return e.g. "key dev1/laptop tokens/day" or "team x cost/month USD"."""
    [subject] = [kind for kind in ("key", "user", "team") if kind in values]
    # A currency says nothing of tokens and requests.
    suffix = f" {values.get('currency', 'USD')}" if values["unit"] == Quota.Unit.COST else ""
    return f"{subject} {values[subject]} {values['unit']}/{values['window']}{suffix}"


def parse(raw: Any, problems: Problems, read_secret: Callable[[str], str]) -> Document:
    """Return the items of a file's plain values; what is wrong with them goes to `problems`.

    `read_secret` gives the value of an environment variable, "" when it is not set; `OSError` when it names a file
    that cannot be read. Items with a problem are kept, marked broken, so that references to them raise no second one.
    """
    document = Document({})
    try:
        top, _is_clean = read(raw, _TOP, "", problems)
    except Invalid as error:
        problems.add("", _("the file %(problem)s") % {"problem": str(error)})
        return document
    if top.get("version", VERSION) != VERSION:
        problems.add("version", _("must be %(version)s") % {"version": VERSION})
    for section, (kind, shape, identify) in SECTIONS.items():
        if section in top:
            document.sections[section] = _items(top[section], section, kind, shape, identify, problems, read_secret)
    for section in ("scenes", "policies"):
        _at_most_one_default(document.sections.get(section, []), problems)
    if "settings" in top:
        document.settings = _item(top["settings"], "settings", "settings", SETTINGS, lambda _values: "", problems)
        if document.settings.values.get("search") is not None:
            search = Item("settings", "settings.search", "", document.settings.values["search"])
            _take_secret(search, problems, read_secret)
            document.settings.is_broken |= search.is_broken
    return document


def _items(
    raw: list[Any],
    path: str,
    kind: str,
    shape: Shape,
    identify: Callable[[Mapping[str, Any]], str],
    problems: Problems,
    read_secret: Callable[[str], str],
) -> list[Item]:
    items: list[Item] = []
    seen: set[str] = set()
    for index, one in enumerate(raw):
        item = _item(one, f"{path}[{index}]", kind, shape, identify, problems)
        if item.identity and item.identity in seen:
            item.is_broken = True
            problems.add(item.path, _("%(name)s is described twice") % {"name": f"{kind} {item.identity}"})
        seen.add(item.identity)
        if "secret" in shape:
            _take_secret(item, problems, read_secret)
        if "password_env" in item.values:
            item.values["password"] = _from_environment(item, "password_env", problems, read_secret)
        if kind == "provider":
            item.credentials = _children(item, "credentials", "credential", CREDENTIAL, problems, read_secret)
            item.models = _children(item, "models", "model", MODEL, problems, read_secret)
        items.append(item)
    return items


def _item(
    raw: Any,
    path: str,
    kind: str,
    shape: Shape,
    identify: Callable[[Mapping[str, Any]], str],
    problems: Problems,
) -> Item:
    try:
        values, is_clean = read(raw, shape, path, problems)
    except Invalid as error:
        problems.add(path, str(error))
        return Item(kind, path, "", {}, is_broken=True)
    if kind == "quota" and sum(subject in values for subject in ("key", "user", "team")) != 1:
        problems.add(path, _("must name exactly one of key, user and team"))
        return Item(kind, path, "", values, is_broken=True)
    try:
        identity = identify(values)
    except KeyError:
        identity = ""
    return Item(kind, path, identity, values, is_broken=not is_clean)


def _children(
    provider: Item, field: str, kind: str, shape: Shape, problems: Problems, read_secret: Callable[[str], str]
) -> list[Item] | None:
    raw = provider.values.pop(field, None)
    if raw is None:
        return None
    key = "id" if kind == "model" else "name"

    def identify(values: Mapping[str, Any]) -> str:
        own = values[key] if kind == "model" else values.get(key) or "default"
        return f"{provider.identity}/{own}"

    return _items(raw, f"{provider.path}.{field}", kind, shape, identify, problems, read_secret)


def _take_secret(item: Item, problems: Problems, read_secret: Callable[[str], str]) -> None:
    """Put the secret of `secret_env` where a written one would stand."""
    if "secret" in item.values and "secret_env" in item.values:
        item.is_broken = True
        problems.add(at(item.path, "secret_env"), _("stands beside a secret; give one of them"))
    elif "secret_env" in item.values:
        item.values["secret"] = _from_environment(item, "secret_env", problems, read_secret)


def _from_environment(item: Item, field: str, problems: Problems, read_secret: Callable[[str], str]) -> str:
    variable = item.values.pop(field)
    try:
        value = read_secret(variable).strip()
    except OSError as error:
        value = ""
        problems.add(
            at(item.path, field),
            _("the file that %(name)s names cannot be read (%(error)s)")
            % {"name": f"{variable}_FILE", "error": error.strerror},
        )
        item.is_broken = True
    else:
        if not value:
            item.is_broken = True
            problems.add(at(item.path, field), _("%(name)s is not set in the environment") % {"name": variable})
    return value


def _at_most_one_default(items: list[Item], problems: Problems) -> None:
    defaults = [item for item in items if item.values.get("default")]
    for item in defaults[1:]:
        item.is_broken = True
        problems.add(at(item.path, "default"), _("%(path)s is the default already") % {"path": defaults[0].path})
