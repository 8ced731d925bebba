"""The fields of a configuration file, version 1, section by section."""

from typing import Any

from django.core.exceptions import ValidationError
from django.utils.translation import gettext as _

from accounts.models import ApiKey, NotificationChannel, Quota, User
from accounts.notices.events import CHOICES
from accounts.roles import Role
from gateway.config.fields import (
    Field,
    Invalid,
    Problems,
    Shape,
    addresses,
    at,
    boolean,
    choice,
    currency,
    day,
    flags,
    fraction,
    headers,
    list_of,
    mapping,
    moment,
    name,
    network,
    number,
    seconds,
    text,
    time_of_day,
    unique_list_of,
    whole_number,
)
from providers.models import CAPABILITIES, Provider
from providers.price_rows import clean_tiers
from routing.models import CaptureMode, Effort, KindRule, Policy, RequestKind, Route, SearchKind

# From the least to the most, as a file lists them.
ROLES = (Role.MEMBER.value, Role.FINANCE.value, Role.TEAM_LEAD.value, Role.ADMINISTRATOR.value)


def raw_list(value: Any, path: str, problems: Problems) -> list[Any]:
    """Accept a list whose entries are read as items of their own."""
    if not isinstance(value, list):
        raise Invalid(_("must be a list"))
    return value


def _route_target(value: Any, path: str, problems: Problems) -> tuple[str, int]:
    """Accept a target, or `{target: provider/model, weight: n}` for a route by weight."""
    if not isinstance(value, dict):
        return name(value, path, problems), 1
    clean = mapping(WEIGHTED_TARGET)(value, path, problems)
    return clean["target"], clean.get("weight") or 1


def _username(value: Any, path: str, problems: Problems) -> str:
    """Accept a username (or username/key) in the form in which Django stores it."""
    return str(User.normalize_username(name(value, path, problems)))


def _kind_action(value: Any, path: str, problems: Problems) -> tuple[str, str]:
    """Accept what a rule for a kind does, as (action, name of the scene or route)."""
    action, colon, named = name(value, path, problems).partition(":")
    takes_name = action in (KindRule.Action.SCENE, KindRule.Action.ROUTE)
    if (
        action not in KindRule.Action.values
        or takes_name != bool(colon and named.strip())
        or (colon and not takes_name)
    ):
        raise Invalid(_("must be one of classify, same, cheapest, scene:NAME, route:NAME"))
    return action, named.strip()


def _weekday(value: Any, path: str, problems: Problems) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= 7:
        raise Invalid(_("must be a number from 1 (Monday) to 7 (Sunday)"))
    return value


def _tiers(value: Any, path: str, problems: Problems) -> list[dict[str, Any]]:
    """Accept the tiers of a price, in the form in which they are stored."""
    tiers = list_of(mapping(TIER))(value, path, problems)
    try:
        return clean_tiers(tiers)
    except ValidationError as error:
        raise Invalid(" ".join(error.messages)) from error


def _prices(value: Any, path: str, problems: Problems) -> list[dict[str, Any]]:
    """Accept a price, or a list of those that hold at different hours or from different days on."""
    check = mapping(PRICE)
    clean: list[dict[str, Any]]
    clean = list_of(check)(value, path, problems) if isinstance(value, list) else [check(value, path, problems)]
    if not clean:
        raise Invalid(_("must hold a price; null stands for none"))
    seen: list[tuple[Any, ...]] = []
    for index, one in enumerate(clean):
        when = tuple(one.get(name) for name in ("valid_from", "from", "until", "time_zone"))
        if when in seen:
            problems.add(f"{path}[{index}]", _("holds at the same time as another price of the list"))
            raise Invalid
        seen.append(when)
    for since in {one.get("valid_from") for one in clean}:
        if all(one.get("from") for one in clean if one.get("valid_from") == since):
            raise Invalid(_("needs one price without hours beside those with hours, for the rest of the day"))
    return clean


WEIGHTED_TARGET: Shape = {"target": Field(name, required=True), "weight": Field(whole_number(1))}
TIMEOUTS: Shape = {
    "connect": Field(seconds, "connect_timeout_s"),
    "first_event": Field(seconds, "first_event_timeout_s"),
    "idle": Field(seconds, "idle_timeout_s"),
    "total": Field(seconds, "total_timeout_s"),
}
TIER: Shape = {
    "above": Field(whole_number(1), required=True),
    "input": Field(number(0), required=True),
    "output": Field(number(0), required=True),
    "cache_read": Field(number(0)),
    "cache_write": Field(number(0)),
    "cache_write_1h": Field(number(0)),
}
PRICE: Shape = {
    "currency": Field(currency, "currency", required=True),
    "input": Field(number(0), "input_per_million", required=True),
    "output": Field(number(0), "output_per_million", required=True),
    "cache_read": Field(number(0), "cache_read_per_million"),
    "cache_write": Field(number(0), "cache_write_per_million"),
    "cache_write_1h": Field(number(0), "cache_write_1h_per_million"),
    "tiers": Field(_tiers, "tiers", nullable=False),
    "from": Field(time_of_day, "time_from"),
    "until": Field(time_of_day, "time_until"),
    "time_zone": Field(text, "time_zone", nullable=False),
    "valid_from": Field(moment, "valid_from"),
    "note": Field(text, "source_note", nullable=False),
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
    "price": Field(_prices),
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
    "max_concurrency": Field(whole_number(1), "max_concurrency"),
    "enabled": Field(boolean, "is_enabled"),
    "credentials": Field(raw_list, nullable=False),
    "models": Field(raw_list, nullable=False),
}
ROUTE: Shape = {
    "name": Field(name, "name", required=True),
    "order": Field(choice(*Route.Order.values), "order"),
    "targets": Field(list_of(_route_target), nullable=False),
}
ALIAS: Shape = {"pattern": Field(name, "pattern", required=True), "target": Field(name, required=True)}
SCENE_RULE: Shape = {
    "keywords": Field(unique_list_of(name), "keywords"),
    "pattern": Field(text, "pattern"),
    "min_prompt_tokens": Field(whole_number(0), "min_prompt_tokens"),
    "max_prompt_tokens": Field(whole_number(0), "max_prompt_tokens"),
    "efforts": Field(unique_list_of(choice(*Effort.values)), "efforts"),
    "plan_mode": Field(boolean, "plan_mode"),
    "has_image": Field(boolean, "has_image"),
    "has_pdf": Field(boolean, "has_pdf"),
    "has_tools": Field(boolean, "has_tools"),
    "from": Field(time_of_day, "time_from"),
    "until": Field(time_of_day, "time_until"),
    "weekdays": Field(unique_list_of(_weekday), "weekdays"),
    "enabled": Field(boolean, "is_enabled"),
}
SCENE: Shape = {
    "name": Field(name, "name", required=True),
    "description": Field(name, "description"),
    "examples": Field(list_of(text), "examples"),
    "rules": Field(list_of(mapping(SCENE_RULE)), nullable=False),
    "route": Field(name, nullable=False),
    "default": Field(boolean, "is_default"),
    "enabled": Field(boolean, "is_enabled"),
}
# A kind that is absent, or null, has no rule of its own.
KIND_RULES: Shape = {kind: Field(_kind_action) for kind in RequestKind.values if kind != RequestKind.COUNT}
POLICY: Shape = {
    "name": Field(name, "name", required=True),
    "default": Field(boolean, "is_default"),
    "mode": Field(choice(*Policy.Mode.values), "mode"),
    "route": Field(name),
    "reference_model": Field(name),
    "classifier": Field(unique_list_of(name), nullable=False),
    "scenes": Field(unique_list_of(name), nullable=False),
    "kind_rules": Field(mapping(KIND_RULES), nullable=False),
    "cheap_route": Field(name),
    "shadow": Field(name),
    "stickiness": Field(choice(*Policy.Stickiness.values), "stickiness"),
    "session_idle_minutes": Field(whole_number(1), "session_idle_minutes"),
    "min_confidence": Field(fraction, "min_confidence"),
    "continues_streams": Field(boolean, "continues_streams"),
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
    "service": Field(boolean, "is_service"),
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
    "allowed_networks": Field(unique_list_of(network), "allowed_networks"),
    "capture": Field(choice(*CaptureMode.values), "capture"),
    "scope": Field(choice(ApiKey.Scope.FINANCE.value, ApiKey.Scope.ADMIN.value), "scope"),
    "max_concurrency": Field(whole_number(1), "max_concurrency"),
    "note": Field(text, "note"),
    "active": Field(boolean, "is_active"),
}
RAISE: Shape = {
    "amount": Field(number(0), required=True),
    "from": Field(moment, required=True),
    "until": Field(moment, required=True),
    "reason": Field(text),
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
    "raises": Field(list_of(mapping(RAISE)), nullable=False),
}
RATE: Shape = {
    "from": Field(currency, "from_currency", required=True),
    "to": Field(currency, "to_currency", required=True),
    "rate": Field(number(0), "rate", required=True),
    "valid_from": Field(day, "valid_from", required=True),
    "note": Field(text, "note", nullable=False),
}
CHANNEL: Shape = {
    "name": Field(name, "name", required=True),
    "kind": Field(choice(*NotificationChannel.Kind.values), "kind", required=True),
    "url": Field(name, nullable=False),
    "url_env": Field(name, nullable=False),
    "secret": Field(text),
    "secret_env": Field(name, nullable=False),
    "recipients": Field(unique_list_of(name)),
    "team": Field(name),
    "events": Field(unique_list_of(choice(*(event for event, _label in CHOICES))), "events"),
    "language": Field(text, "language"),
    "allow_private_network": Field(boolean, "allow_private_network"),
    "enabled": Field(boolean, "is_enabled"),
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
    "safety_model": Field(name),
    "report_currency": Field(currency, "report_currency"),
    "monthly_export_enabled": Field(boolean, "monthly_export_enabled"),
    "monthly_export_recipients": Field(addresses, "monthly_export_recipients"),
    "mails_people": Field(boolean, "mails_people"),
}


def columns(shape: Shape) -> dict[str, str]:
    """Return config name -> model field of the fields that a column holds as it is; "name.inner" for nested ones."""
    found = {key: field.column for key, field in shape.items() if field.column}
    if "timeouts_s" in shape:
        found |= {at("timeouts_s", key): field.column for key, field in TIMEOUTS.items()}
    return found
