"""Writing the stored configuration as a file that `apply_config` reads. Secrets are left out."""

import re
from collections.abc import Iterable, Mapping
from datetime import datetime, time
from decimal import Decimal
from typing import Any

import yaml
from django.db import models

from accounts.models import ApiKey, Quota, Team, User
from gateway.config.accounts import KEY_COLUMNS, QUOTA_COLUMNS, TEAM_COLUMNS, USER_COLUMNS, role_names
from gateway.config.channels import exported_channels
from gateway.config.policies import POLICY_COLUMNS, shown_kind_action
from gateway.config.prices import exported, stated_prices
from gateway.config.providers import CREDENTIAL_COLUMNS, MODEL_COLUMNS, PROVIDER_COLUMNS
from gateway.config.raises import exported_raises
from gateway.config.rates import exported_rates
from gateway.config.routing import ROUTE_COLUMNS, SEARCH_COLUMNS, SETTINGS_COLUMNS, shown_alias_target
from gateway.config.rows import identity_of, shown
from gateway.config.scenes import RULE_COLUMNS, SCENE_COLUMNS
from gateway.config.schema import VERSION
from gateway.config.shapes import ROLES
from providers.models import Model, Price, Provider
from routing.models import ModelAlias, Policy, Route, RuntimeSettings, Scene

HEAD = """\
# The configuration of a Wolfgate, for `manage.py apply_config FILE`.
#
# Secrets are left out. Applied where a credential, key or channel exists, it keeps its secret. Where it does not, add
# `secret: ...` or `secret_env: NAME` to each credential and `url_env: NAME` to each channel; keys get new secrets with
# `--keys-out FILE`.
# A header with the value null keeps the stored value.
"""
# Names of headers whose values are not shown.
_SECRET_HEADER = re.compile(r"auth|key|token|secret|cookie|password|credential", re.IGNORECASE)


def document() -> dict[str, Any]:
    """Return the configuration as the values of a file. Defaults are left out, except in the settings."""
    sections: dict[str, list[dict[str, Any]]] = {
        "providers": _providers(),
        "routes": _routes(),
        "aliases": _aliases(),
        "scenes": _scenes(),
        "policies": _policies(),
        "teams": _teams(),
        "users": _users(),
        "keys": _keys(),
        "quotas": _quotas(),
        "exchange_rates": exported_rates(),
        "channels": exported_channels(),
    }
    return {
        "version": VERSION,
        **{section: entries for section, entries in sections.items() if entries},
        "settings": _settings(),
    }


def routing_sections() -> dict[str, Any]:
    """Return the part of the configuration that says how calls find their targets, as the values of a file."""
    return {
        "routes": _routes(),
        "aliases": _aliases(),
        "scenes": _scenes(),
        "policies": _policies(),
        "settings": _settings(),
    }


def shown_headers(headers: Mapping[str, str]) -> dict[str, str | None]:
    """Return extra headers with None for those that may hold a secret, which keeps what is stored."""
    return {name: None if _SECRET_HEADER.search(name) else value for name, value in headers.items()}


def export() -> str:
    """Return the configuration as YAML."""
    body = yaml.dump(document(), Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=110)
    return HEAD + body


class _Dumper(yaml.SafeDumper):
    def ignore_aliases(self, data: Any) -> bool:
        return True

    def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:
        super().increase_indent(flow, False)


def _represent_decimal(dumper: _Dumper, value: Decimal) -> yaml.ScalarNode:
    """Write a Decimal as the number it is, without an exponent and without float noise."""
    if value == value.to_integral_value():
        return dumper.represent_int(int(value))
    return dumper.represent_scalar("tag:yaml.org,2002:float", f"{value.normalize():f}")


_Dumper.add_representer(Decimal, _represent_decimal)
# The choices of a model: what an unsaved row holds as its default.
_Dumper.add_multi_representer(str, lambda dumper, value: dumper.represent_str(str(value)))


def _plain(row: models.Model, columns: Mapping[str, str], keep: Iterable[str] = ()) -> dict[str, Any]:
    """Return the plain fields of a row that differ from the default, and those of `keep`."""
    values: dict[str, Any] = {}
    for field, column in columns.items():
        value = getattr(row, column)
        if field not in keep and value == row._meta.get_field(column).get_default():  # type: ignore[union-attr]
            continue
        values[field] = shown(value) if isinstance(value, datetime | time) else value
    return values


def _providers() -> list[dict[str, Any]]:
    prices = stated_prices()
    entries = []
    for provider in Provider.objects.prefetch_related("credentials", "models"):
        entry = _plain(provider, PROVIDER_COLUMNS)
        timeouts = {field: entry.pop(field) for field in list(entry) if field.startswith("timeouts_s.")}
        if timeouts:
            entry["timeouts_s"] = {field.removeprefix("timeouts_s."): value for field, value in timeouts.items()}
        if "extra_headers" in entry:
            entry["extra_headers"] = shown_headers(entry["extra_headers"])
        credentials = [_plain(row, CREDENTIAL_COLUMNS, keep=["name"]) for row in provider.credentials.all()]
        if credentials:
            entry["credentials"] = credentials
        offered = [_model(row, prices.get(row.pk, [])) for row in provider.models.all()]
        if offered:
            entry["models"] = offered
        entries.append(entry)
    return entries


def _model(row: Model, prices: list[Price]) -> dict[str, Any]:
    entry = _plain(row, MODEL_COLUMNS, keep=["manual"])
    if entry["manual"]:
        del entry["manual"]  # as a file's models are
    if (price := exported(prices)) is not None:
        entry["price"] = price
    return entry


def _routes() -> list[dict[str, Any]]:
    return [
        {
            **_plain(route, ROUTE_COLUMNS, keep=["order"]),
            "targets": [
                str(entry.model) if entry.weight == 1 else {"target": str(entry.model), "weight": entry.weight}
                for entry in route.entries.all()
            ],
        }
        for route in Route.objects.prefetch_related("entries__model__provider")
    ]


def _aliases() -> list[dict[str, Any]]:
    return [
        {"pattern": alias.pattern, "target": shown_alias_target(alias)}
        for alias in ModelAlias.objects.select_related("model__provider", "route", "scene")
    ]


def _scenes() -> list[dict[str, Any]]:
    entries = []
    for scene in Scene.objects.select_related("route").prefetch_related("rules"):
        entry = {**_plain(scene, SCENE_COLUMNS), "route": scene.route.name}
        rules = [_plain(rule, RULE_COLUMNS) for rule in scene.rules.all()]
        entries.append(entry | {"rules": rules} if rules else entry)
    return entries


def _policies() -> list[dict[str, Any]]:
    entries = []
    for policy in Policy.objects.select_related(
        "route", "cheap_route", "shadow", "reference_model__provider"
    ).prefetch_related("scenes", "classifier_entries__model__provider", "kind_rules__scene", "kind_rules__route"):
        entry = _plain(policy, POLICY_COLUMNS, keep=["mode"])
        entry |= _references(policy, "route", "reference_model", "cheap_route", "shadow")
        lists: dict[str, Any] = {
            "classifier": [str(classified.model) for classified in policy.classifier_entries.all()],
            "scenes": [scene.name for scene in policy.scenes.all()],
            "kind_rules": {rule.kind: shown_kind_action(rule) for rule in policy.kind_rules.all()},
        }
        entries.append(entry | {field: value for field, value in lists.items() if value})
    return entries


def _teams() -> list[dict[str, Any]]:
    return [
        _plain(team, TEAM_COLUMNS) | _references(team, "parent", "lead", "policy")
        for team in Team.objects.select_related("parent", "lead", "policy")
    ]


def _users() -> list[dict[str, Any]]:
    entries = []
    for user in User.objects.select_related("team", "policy").prefetch_related("groups"):
        entry = _plain(user, USER_COLUMNS) | _references(user, "team", "policy")
        roles = role_names(user)
        entries.append(entry | {"roles": [role for role in ROLES if role in roles]} if roles else entry)
    return entries


def _keys() -> list[dict[str, Any]]:
    return [
        {"user": key.user.username} | _plain(key, KEY_COLUMNS) | _references(key, "policy")
        for key in ApiKey.objects.select_related("user", "policy")
    ]


def _quotas() -> list[dict[str, Any]]:
    entries = []
    for quota in Quota.objects.select_related("key__user", "user", "team").prefetch_related("raises"):
        entry = _references(quota, "key", "user", "team")
        entry |= _plain(quota, QUOTA_COLUMNS, keep=["limit", "currency", "action"])
        if quota.unit != Quota.Unit.COST:
            del entry["currency"]
        if raises := exported_raises(quota):
            entry["raises"] = raises
        entries.append(entry)
    return entries


def _settings() -> dict[str, Any]:
    row = RuntimeSettings.load()
    settings = {field: getattr(row, column) for field, column in SETTINGS_COLUMNS.items()}
    settings["monthly_export_recipients"] = row.monthly_export_recipients.split()
    settings["safety_model"] = identity_of(row.safety_model) if row.safety_model is not None else None
    if row.search_kind:
        settings["search"] = {field: getattr(row, column) for field, column in SEARCH_COLUMNS.items()}
    return settings


def _references(row: models.Model, *fields: str) -> dict[str, Any]:
    """Return field -> name of what the row refers to, of the references that are set."""
    return {field: identity_of(referred) for field in fields if (referred := getattr(row, field)) is not None}
