"""The sections of a configuration file, version 1, and the reading of a file into items."""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

from django.utils.translation import gettext as _

from accounts.models import Quota
from gateway.config.fields import Field, Invalid, Problems, Shape, at, read, whole_number
from gateway.config.shapes import (
    ALIAS,
    CHANNEL,
    CREDENTIAL,
    KEY,
    MODEL,
    POLICY,
    PROVIDER,
    QUOTA,
    RATE,
    ROUTE,
    SCENE,
    SETTINGS,
    TEAM,
    USER,
    raw_list,
)

VERSION = 1


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
    "exchange_rates": ("exchange rate", RATE, lambda values: rate_identity(values)),
    "channels": ("channel", CHANNEL, lambda values: str(values["name"])),
}
_TOP: Shape = {
    "version": Field(whole_number(1), required=True),
    "settings": Field(lambda value, path, problems: value, nullable=False),
    **{section: Field(raw_list, nullable=False) for section in SECTIONS},
}


def quota_identity(values: Mapping[str, Any]) -> str:
    """Return e.g. "key dev1/laptop tokens/day" or "team x cost/month USD"."""
    [subject] = [kind for kind in ("key", "user", "team") if kind in values]
    # A currency says nothing of tokens and requests.
    suffix = f" {values.get('currency', 'USD')}" if values["unit"] == Quota.Unit.COST else ""
    return f"{subject} {values[subject]} {values['unit']}/{values['window']}{suffix}"


def rate_identity(values: Mapping[str, Any]) -> str:
    """Return e.g. "USD/CNY 2026-11-01"."""
    return f"{values['from']}/{values['to']} {values['valid_from']}"


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
        for field in ("secret", "url"):
            if f"{field}_env" in shape:
                _take_secret(item, problems, read_secret, field)
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


def _take_secret(item: Item, problems: Problems, read_secret: Callable[[str], str], field: str = "secret") -> None:
    """Put the secret of `secret_env`, or of another such field, where a written one would stand."""
    variable = f"{field}_env"
    if field in item.values and variable in item.values:
        item.is_broken = True
        problems.add(at(item.path, variable), _("stands beside a %(field)s; give one of them") % {"field": field})
    elif variable in item.values:
        item.values[field] = _from_environment(item, variable, problems, read_secret)


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
