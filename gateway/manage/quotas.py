"""Quotas: list, read, create, change, raise for a time, begin a counter anew."""

from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any, Literal

from django.db.models import Q, Sum
from django.utils import timezone
from ninja import Query, Router, Schema
from pydantic import Field

from accounts import counters
from accounts.models import ApiKey, Quota, QuotaRaise, QuotaWindow, Team, User
from accounts.quota_checks import overlapping
from gateway.config.rows import identity_of
from gateway.manage.auth import Caller
from gateway.manage.errors import ManageError, invalid
from gateway.manage.operations import Amount, Body, Moment, Text, operation, without_null
from gateway.manage.paging import Page, PageQuery, each, page_of
from gateway.manage.writing import find, find_to_change, named, save

router = Router(tags=["quotas"])
Unit = Literal["cost", "tokens", "requests"]
Window = Literal["minute", "5h", "day", "week", "month", "total"]
Action = Literal["block", "warn", "downgrade"]


class QuotaOut(Schema):
    """A limit on what a team, a person or a key may use in a window of time, and what is used of it."""

    id: int
    team: str | None
    user: str | None
    key: str | None = Field(description="The owner and the name of the key.", examples=["zhang.wei/laptop"])
    unit: str = Field(description="cost, tokens or requests.")
    window: str = Field(description="minute, 5h, day, week, month or total.")
    limit: Amount
    currency: str | None = Field(description="Of a limit on cost.")
    action: str = Field(description="block, warn or downgrade.")
    active: bool
    raised: Amount = Field(description="By the temporary raises in force.")
    used: Amount
    reserved: Amount = Field(description="By calls that are running.")
    starts_at: datetime | None
    resets_at: datetime | None
    created_at: datetime


class QuotaChange(Body):
    """What changes. Whose quota it is, of what and by which window stays: the counters are of that."""

    limit: Amount = Field(Decimal(0), ge=0, examples=["500000"])
    action: Action = "block"
    active: bool = True


class QuotaNew(QuotaChange):
    """A new quota, of exactly one of team, user and key."""

    team: Text | None = None
    user: Text | None = None
    key: Text | None = Field(None, description="The owner and the name of the key.", examples=["zhang.wei/laptop"])
    unit: Unit
    window: Window
    limit: Amount = Field(ge=0, examples=["500000"])
    currency: Text | None = Field(None, description="Of a limit on cost: only calls priced in it count.")


class QuotaFilter(PageQuery):
    """Which quotas."""

    team: str = ""
    user: str = ""
    key: str = Field("", description="The owner and the name, such as zhang.wei/laptop.")
    unit: Unit | None = None
    window: Window | None = None
    active: bool | None = None


class RaiseOut(Schema):
    """A temporary addition to a limit."""

    id: int
    quota_id: int
    amount: Amount
    reason: str
    granted_by: str | None
    starts_at: datetime
    ends_at: datetime


class RaiseNew(Body):
    """A new raise."""

    amount: Amount = Field(gt=0)
    ends_at: Moment
    starts_at: Moment | None = Field(None, description="Absent: now.")
    reason: Text = ""


class ResetOut(Schema):
    """What became of the counter."""

    reset: bool = Field(description="False: nothing was used.")
    used: Amount | None = Field(description="In the window that was closed; it stays in the books.")
    since: datetime | None


def show_all(quotas: Sequence[Quota]) -> list[QuotaOut]:
    """Return quotas with their open windows and raises, by two queries."""
    now = timezone.now()
    ids = [quota.pk for quota in quotas]
    open_now = Q(ends_at__isnull=True) | Q(ends_at__gt=now)
    windows: dict[int, QuotaWindow] = {}
    for window in QuotaWindow.objects.filter(open_now, quota__in=ids, starts_at__lte=now).order_by("starts_at"):
        windows[window.quota_id] = window
    raises = QuotaRaise.objects.filter(quota__in=ids, starts_at__lte=now, ends_at__gt=now).order_by()
    raised = dict(raises.values_list("quota").annotate(Sum("amount")))
    shown = []
    for quota in quotas:
        found = windows.get(quota.pk)
        shown.append(
            QuotaOut(
                id=quota.pk,
                team=quota.team.name if quota.team else None,
                user=quota.user.username if quota.user else None,
                key=identity_of(quota.key) if quota.key else None,
                unit=quota.unit,
                window=quota.window,
                limit=quota.limit,
                currency=quota.currency if quota.unit == Quota.Unit.COST else None,
                action=quota.action,
                active=quota.is_active,
                raised=raised.get(quota.pk, Decimal(0)),
                used=found.used if found else Decimal(0),
                reserved=found.reserved if found else Decimal(0),
                # The first window of a total begins before all calls, in 1970, which is nothing to show.
                starts_at=found.starts_at if found and quota.window != Quota.Window.TOTAL else None,
                resets_at=found.ends_at if found else None,
                created_at=quota.created_at,
            )
        )
    return shown


def _rows() -> Any:
    return Quota.objects.select_related("team", "user", "key__user")


def key_named(caller: Caller, field: str, name: str) -> ApiKey:
    """Return the key that is written `username/name`. Raises `ManageError`."""
    owner, _, key = name.rpartition("/")
    found = caller.visible(ApiKey.objects.select_related("user__team")).filter(user__username=owner, name=key).first()
    if found is None:
        raise invalid(**{field: f"there is no key {name}; write username/name"})
    return found


def _of_key(rows: Any, name: str) -> Any:
    owner, _, key = name.rpartition("/")
    return rows.filter(key__user__username=owner, key__name=key)


def _may_limit(caller: Caller, quota: Quota) -> None:
    """Raise `ManageError` for a team's own limit: who answers for a team alone does not widen it."""
    if quota.team_id is not None and not caller.sees_all_teams:
        raise ManageError(403, "The limit of a team is set by who sees all teams.")


@operation(router, "GET", "", "accounts.view_quota", summary="List the quotas", answer=Page[QuotaOut])
def list_quotas(caller: Caller, query: Query[QuotaFilter]) -> Page[QuotaOut]:
    rows = caller.visible(_rows())
    if query.team:
        rows = rows.filter(team__name=query.team)
    if query.user:
        rows = rows.filter(user__username=query.user)
    if query.key:
        rows = _of_key(rows, query.key)
    for name, value in (("unit", query.unit), ("window", query.window), ("is_active", query.active)):
        if value is not None:
            rows = rows.filter(**{name: value})
    return page_of(rows, query, show_all)


@operation(router, "GET", "/{int:pk}", "accounts.view_quota", summary="One quota", answer=QuotaOut)
def get_quota(caller: Caller, pk: int) -> QuotaOut:
    return show_all([find(caller, _rows(), pk=pk)])[0]


@operation(
    router,
    "POST",
    "",
    "accounts.add_quota",
    summary="Create a quota",
    description="The calls that are in its first window already count.",
    answer=QuotaOut,
    status=201,
)
def create_quota(caller: Caller, data: QuotaNew) -> QuotaOut:
    subjects = [name for name in ("team", "user", "key") if getattr(data, name) is not None]
    if len(subjects) != 1:
        raise invalid(**dict.fromkeys(subjects or ["team"], "name exactly one of team, user and key"))
    if data.unit == "cost" and data.currency is None:
        raise invalid(currency="is required for a limit on cost")
    if data.unit != "cost" and data.currency is not None:
        raise invalid(currency="belongs to a limit on cost only")
    if data.currency is not None and not (
        len(data.currency) == 3 and data.currency.isascii() and data.currency.isupper()
    ):
        raise invalid(currency="must be a currency code of three capital letters")
    values: dict[str, Any] = {"unit": data.unit, "window": data.window, "limit": data.limit, "action": data.action}
    values["is_active"] = data.active
    if data.currency is not None:
        values["currency"] = data.currency
    if data.team is not None:
        values["team"] = named(caller, Team.objects.all(), "team", "name", data.team)
    elif data.user is not None:
        values["user"] = named(caller, User.objects.all(), "user", "username", data.user)
    elif data.key is not None:
        key = key_named(caller, "key", data.key)
        if not caller.in_charge_of(ApiKey.objects.filter(pk=key.pk)).exists():
            raise invalid(key=f"there is no key {data.key}; write username/name")
        values["key"] = key
    quota = Quota(team=values.get("team"))
    _may_limit(caller, quota)
    if (same := overlapping(Quota(**values))) is not None:
        state = "" if same.is_active else ", which is not active"
        raise invalid(
            window=f"quota {same.pk}{state}, limits the same subject, unit and window already; change that one"
        )
    save(quota, values, {"is_active": "active"})
    return show_all([_rows().get(pk=quota.pk)])[0]


@operation(
    router,
    "PATCH",
    "/{int:pk}",
    "accounts.change_quota",
    summary="Change a quota",
    description="Quotas are never deleted: `active: false` takes one out of force, and its counters stay.",
    answer=QuotaOut,
)
def change_quota(caller: Caller, pk: int, data: QuotaChange) -> QuotaOut:
    quota, values = find_to_change(caller, _rows(), pk=pk), data.given()
    _may_limit(caller, quota)
    without_null(values, "limit", "action", "active")
    if "active" in values:
        values["is_active"] = values.pop("active")
    save(quota, values)
    return show_all([quota])[0]


@operation(
    router,
    "POST",
    "/{int:pk}/reset",
    "accounts.change_quota",
    summary="Begin the counter of a quota anew",
    description="The window that ends keeps what its calls used: history stays. Running calls count there.",
    answer=ResetOut,
)
def reset_quota(caller: Caller, pk: int) -> ResetOut:
    quota = find_to_change(caller, _rows(), pk=pk)
    _may_limit(caller, quota)
    done = counters.reset([quota.pk], timezone.now()).get(quota.pk)
    return ResetOut(reset=done is not None, used=done.used if done else None, since=done.starts_at if done else None)


def _show_raise(row: QuotaRaise) -> RaiseOut:
    return RaiseOut(
        id=row.pk,
        quota_id=row.quota_id,
        amount=row.amount,
        reason=row.reason,
        granted_by=row.granted_by.username if row.granted_by else None,
        starts_at=row.starts_at,
        ends_at=row.ends_at,
    )


@operation(
    router,
    "GET",
    "/{int:pk}/raises",
    "accounts.view_quotaraise",
    summary="List the temporary raises of a quota",
    answer=Page[RaiseOut],
)
def list_raises(caller: Caller, pk: int, query: Query[PageQuery]) -> Page[RaiseOut]:
    quota = find(caller, _rows(), pk=pk)
    return page_of(quota.raises.select_related("granted_by"), query, each(_show_raise), newest_first=True)


@operation(
    router,
    "POST",
    "/{int:pk}/raises",
    "accounts.add_quotaraise",
    summary="Raise the limit of a quota for a time",
    answer=RaiseOut,
    status=201,
)
def grant_raise(caller: Caller, pk: int, data: RaiseNew) -> RaiseOut:
    quota, now = find_to_change(caller, _rows(), pk=pk), timezone.now()
    _may_limit(caller, quota)
    starts_at = data.starts_at or now
    if data.ends_at <= now:
        raise invalid(ends_at="is in the past")
    if data.ends_at <= starts_at:
        raise invalid(ends_at="is not after starts_at")
    row = QuotaRaise(quota=quota, granted_by=caller.user)
    save(row, {"amount": data.amount, "reason": data.reason, "starts_at": starts_at, "ends_at": data.ends_at})
    return _show_raise(row)


@operation(
    router,
    "POST",
    "/{int:pk}/raises/{int:raise_pk}/end",
    "accounts.change_quotaraise",
    summary="End a temporary raise now",
    answer=RaiseOut,
)
def end_raise(caller: Caller, pk: int, raise_pk: int) -> RaiseOut:
    rows = QuotaRaise.objects.select_related("granted_by", "quota")
    row, now = find_to_change(caller, rows, pk=raise_pk, quota_id=pk), timezone.now()
    _may_limit(caller, row.quota)
    if row.starts_at >= now or row.ends_at <= now:
        raise ManageError(409, "The raise is not in force.")
    save(row, {"ends_at": now})
    return _show_raise(row)
