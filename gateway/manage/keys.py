"""Keys: list, read, issue, change, rotate, extend, revoke, activate, and what was used with one."""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Annotated, Any, Literal

from django.db.models import Q
from django.utils import timezone
from ninja import Query, Router, Schema
from pydantic import Field

from accounts import keys as issuing
from accounts.key_limits import set_minute_limits
from accounts.models import ApiKey, Quota, User
from gateway.manage.auth import Caller
from gateway.manage.errors import ManageError, invalid
from gateway.manage.operations import Amount, Body, Moment, Text, operation, without_null
from gateway.manage.paging import Page, PageQuery, page_of
from gateway.manage.writing import find, find_to_change, named, save
from routing.models import Policy

router = Router(tags=["keys"])
_FARTHEST_DAYS = 36_500
_MAX_GRACE_HOURS = 24 * 90
_LIMITS = {"requests_per_minute": Quota.Unit.REQUESTS, "tokens_per_minute": Quota.Unit.TOKENS}

Scope = Literal["", "finance", "admin"]
Capture = Literal["", "off", "metadata", "full"]
Days = Annotated[int, Field(ge=1, le=_FARTHEST_DAYS)]


class KeyOut(Schema):
    """A key, without its secret."""

    id: int
    user: str = Field(description="The username of the owner.")
    team: str | None
    name: str
    begins_with: str = Field(examples=["wg_4fT9xQa"])
    state: Literal["active", "expired", "revoked"]
    scope: str = Field(description="What it may do here; empty: call models only.")
    policy: str | None
    allowed_models: list[str]
    allowed_networks: list[str]
    capture: str
    max_concurrency: int | None
    requests_per_minute: Amount | None
    tokens_per_minute: Amount | None
    note: str
    expires_at: datetime | None
    revoked_at: datetime | None
    former_begins_with: str = Field(description="Of the secret before the last rotation.")
    former_ends_at: datetime | None
    flagged_at: datetime | None = Field(description="Since when the key looks leaked.")
    flag_reason: str
    created_at: datetime


class KeyWithSecret(KeyOut):
    """A key with its new secret, which cannot be had again."""

    secret: str = Field(examples=["wg_…"])


class KeyChange(Body):
    """What changes; what is absent stays."""

    name: Text = Field("", examples=["laptop"])
    policy: Text | None = Field(None, description="The name of the policy; null: the owner's.")
    allowed_models: list[Text] = Field([], description="Names or patterns; empty: all.", examples=[["main/*"]])
    allowed_networks: list[Text] = Field([], description="Empty: from anywhere.", examples=[["10.1.0.0/16"]])
    capture: Capture = ""
    scope: Scope = Field("", description="Only administrators set it.")
    max_concurrency: int | None = Field(None, ge=1, le=32_767)
    requests_per_minute: int | None = Field(None, ge=1, le=1_000_000)
    tokens_per_minute: int | None = Field(None, ge=1, le=1_000_000_000)
    note: Text = ""
    expires_at: Moment | None = Field(None, description="Null: never.")


class KeyNew(KeyChange):
    """A new key."""

    user: Text = Field(description="The username of the owner.", examples=["zhang.wei"])
    name: Text = Field(min_length=1, examples=["laptop"])
    expires_in_days: Days | None = Field(None, description="Instead of `expires_at`.")


class Rotation(Body):
    """How long the former secret is good beside the new one."""

    grace_hours: int = Field(24, ge=0, le=_MAX_GRACE_HOURS)


class Extension(Body):
    """The new end, as days from now or as a moment."""

    days: Days | None = None
    expires_at: Moment | None = None


class KeyFilter(PageQuery):
    """Which keys."""

    q: str = Field("", max_length=100, description="Part of the name or note, or the begin of the secret.")
    user: str = Field("", description="A username.")
    team: str = Field("", description="The name of a team.")
    state: Literal["active", "expired", "revoked"] | None = None
    scope: Scope | None = None
    flagged: bool | None = None


def _state(key: ApiKey, now: datetime) -> Literal["active", "expired", "revoked"]:
    if key.revoked_at is not None or not key.is_active:
        return "revoked"
    return "expired" if issuing.is_ended(key, now) else "active"


def show_all(keys: Sequence[ApiKey]) -> list[KeyOut]:
    """Return keys as they are shown; their limits by the minute are read at once."""
    quotas = Quota.objects.filter(
        key__in=keys,
        unit__in=list(_LIMITS.values()),
        window=Quota.Window.MINUTE,
        action=Quota.Action.BLOCK,
        is_active=True,
    )
    limits: dict[tuple[int | None, str], Any] = {}
    for quota in quotas:
        place = (quota.key_id, quota.unit)
        limits[place] = min(quota.limit, limits.get(place, quota.limit))
    now = timezone.now()
    return [
        KeyOut(
            id=key.pk,
            user=key.user.username,
            team=key.user.team.name if key.user.team else None,
            name=key.name,
            begins_with=key.prefix,
            state=_state(key, now),
            scope=key.scope,
            policy=key.policy.name if key.policy else None,
            allowed_models=key.allowed_models,
            allowed_networks=key.allowed_networks,
            capture=key.capture,
            max_concurrency=key.max_concurrency,
            requests_per_minute=limits.get((key.pk, Quota.Unit.REQUESTS)),
            tokens_per_minute=limits.get((key.pk, Quota.Unit.TOKENS)),
            note=key.note,
            expires_at=key.expires_at,
            revoked_at=key.revoked_at,
            former_begins_with=key.previous_prefix,
            former_ends_at=key.previous_expires_at,
            flagged_at=key.flagged_at,
            flag_reason=key.flag_reason,
            created_at=key.created_at,
        )
        for key in keys
    ]


def _rows() -> Any:
    return ApiKey.objects.select_related("user__team", "policy")


def _shown(pk: int) -> KeyOut:
    return show_all([_rows().get(pk=pk)])[0]


def _with_secret(pk: int, secret: str) -> KeyWithSecret:
    return KeyWithSecret(**dict(_shown(pk)), secret=secret)


@operation(router, "GET", "", "accounts.view_apikey", summary="List the keys", answer=Page[KeyOut])
def list_keys(caller: Caller, query: Query[KeyFilter]) -> Page[KeyOut]:
    rows = caller.visible(_rows())
    if query.q:
        rows = rows.filter(
            Q(name__icontains=query.q)
            | Q(note__icontains=query.q)
            | Q(prefix__startswith=query.q[: issuing.PREFIX_LENGTH])
        )
    if query.user:
        rows = rows.filter(user__username=query.user)
    if query.team:
        rows = rows.filter(user__team__name=query.team)
    if query.scope is not None:
        rows = rows.filter(scope=query.scope)
    if query.flagged is not None:
        rows = rows.filter(flagged_at__isnull=not query.flagged)
    works, is_over = Q(is_active=True, revoked_at__isnull=True), Q(expires_at__lte=timezone.now())
    match query.state:
        case "active":
            rows = rows.filter(works & (Q(expires_at__isnull=True) | ~is_over))
        case "expired":
            rows = rows.filter(works & is_over)
        case "revoked":
            rows = rows.exclude(works)
    return page_of(rows, query, show_all)


@operation(router, "GET", "/{int:pk}", "accounts.view_apikey", summary="One key", answer=KeyOut)
def get_key(caller: Caller, pk: int) -> KeyOut:
    return show_all([find(caller, _rows(), pk=pk)])[0]


@operation(
    router,
    "POST",
    "",
    "accounts.add_apikey",
    summary="Issue a key",
    description="The answer holds the secret, once.",
    answer=KeyWithSecret,
    status=201,
)
def issue_key(caller: Caller, data: KeyNew) -> KeyWithSecret:
    given = data.given()
    owner = named(caller, User.objects.all(), "user", "username", given.pop("user"))
    assert owner is not None
    if not owner.is_active:
        raise invalid(user="is not active")
    days = given.pop("expires_in_days", None)
    if days is not None:
        if given.get("expires_at") is not None:
            raise invalid(expires_in_days="stands beside expires_at; give one of them")
        given["expires_at"] = timezone.now() + timedelta(days=days)
    key, secret = ApiKey(user=owner), issuing.new_secret()
    issuing.assign(key, secret)
    _write(caller, key, given)
    return _with_secret(key.pk, secret)


@operation(router, "PATCH", "/{int:pk}", "accounts.change_apikey", summary="Change a key", answer=KeyOut)
def change_key(caller: Caller, pk: int, data: KeyChange) -> KeyOut:
    key, given = find_to_change(caller, _rows(), pk=pk), data.given()
    _may_change(caller, key)
    _write(caller, key, given)
    return _shown(pk)


def _may_change(caller: Caller, key: ApiKey) -> None:
    """Raise `ManageError` 403 for a key that can do more than the caller: its secret would be a way up."""
    if key.scope != ApiKey.Scope.NONE and not caller.is_administrator:
        raise ManageError(403, "Only administrators change keys with a scope.")


def _write(caller: Caller, key: ApiKey, given: Mapping[str, Any]) -> None:
    values = dict(given)
    without_null(values, "name", "allowed_models", "allowed_networks", "capture", "scope", "note")
    limits: dict[str, int | None] = {unit: values.pop(name) for name, unit in _LIMITS.items() if name in values}
    if values.get("scope") and not caller.is_administrator:
        raise ManageError(403, "Only administrators give keys a scope.", {"scope": ["only administrators set this"]})
    if limits and not caller.may("accounts.change_quota"):
        raise ManageError(403, "You may not set limits.", {name: ["you may not set limits"] for name in _LIMITS})
    if "policy" in values:
        values["policy"] = named(caller, Policy.objects.all(), "policy", "name", values["policy"])
    if "" in values.get("allowed_models", []):
        raise invalid(allowed_models="must hold names or patterns")
    _check_end(values.get("expires_at"))
    if "name" in values and ApiKey.objects.filter(user=key.user, name=values["name"]).exclude(pk=key.pk).exists():
        raise invalid(name="there is a key of this name and this user already; a revoked one keeps its name, too")
    save(key, values)
    if limits:
        set_minute_limits([key], limits)


def _check_end(expires_at: datetime | None) -> None:
    if expires_at is not None and expires_at <= timezone.now():
        raise invalid(expires_at="is in the past")


@operation(
    router,
    "POST",
    "/{int:pk}/rotate",
    "accounts.change_apikey",
    summary="Give a key a new secret",
    description="The answer holds it, once. Quotas and history stay. The former secret is good for the grace period.",
    answer=KeyWithSecret,
)
def rotate_key(caller: Caller, pk: int, data: Rotation) -> KeyWithSecret:
    key = find_to_change(caller, _rows(), pk=pk)
    _may_change(caller, key)
    secret = issuing.rotate(key, timedelta(hours=data.grace_hours))
    return _with_secret(pk, secret)


@operation(
    router,
    "POST",
    "/{int:pk}/extend",
    "accounts.change_apikey",
    summary="Let a key end later, or earlier",
    answer=KeyOut,
)
def extend_key(caller: Caller, pk: int, data: Extension) -> KeyOut:
    key = find_to_change(caller, _rows(), pk=pk)
    _may_change(caller, key)
    if (data.days is None) == (data.expires_at is None):
        raise invalid(days="give either days or expires_at")
    _check_end(data.expires_at)
    save(key, {"expires_at": data.expires_at or timezone.now() + timedelta(days=data.days or 0)})
    return _shown(pk)


@operation(
    router,
    "POST",
    "/{int:pk}/revoke",
    "accounts.change_apikey",
    summary="Refuse a key from the next call on",
    description="With its former secret, on every worker. Keys are never deleted: the books name them.",
    answer=KeyOut,
)
def revoke_key(caller: Caller, pk: int) -> KeyOut:
    key = find_to_change(caller, _rows(), pk=pk)
    _may_change(caller, key)
    issuing.revoke(key)
    return _shown(pk)


@operation(
    router,
    "POST",
    "/{int:pk}/activate",
    "accounts.change_apikey",
    summary="Take the revocation of a key back",
    answer=KeyOut,
)
def activate_key(caller: Caller, pk: int) -> KeyOut:
    key = find_to_change(caller, _rows(), pk=pk)
    _may_change(caller, key)
    save(key, {"is_active": True, "revoked_at": None})
    return _shown(pk)


@operation(
    router,
    "POST",
    "/{int:pk}/clear-flag",
    "accounts.change_apikey",
    summary="Take the flag off a key that looked leaked",
    description="Its networks are counted anew from then on.",
    answer=KeyOut,
)
def clear_key_flag(caller: Caller, pk: int) -> KeyOut:
    key = find_to_change(caller, _rows(), pk=pk)
    if key.flagged_at is not None:
        issuing.clear_flag(key)
    return _shown(pk)
