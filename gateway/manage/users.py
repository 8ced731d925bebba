"""People and services: list, read, create, change, deactivate, activate."""

from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Any, Literal

from django.conf import settings
from django.contrib.auth.password_validation import validate_password
from django.core.exceptions import ValidationError
from django.db.models import Q
from ninja import Query, Router, Schema
from pydantic import AfterValidator, Field

from accounts.models import Team, User
from accounts.roles import Role, roles_of
from gateway.locale_of_user import zone_called
from gateway.manage.auth import Caller
from gateway.manage.errors import ManageError, invalid
from gateway.manage.operations import Body, Text, operation, without_null
from gateway.manage.paging import Page, PageQuery, each, page_of
from gateway.manage.writing import apply_entry, find, find_to_change, named, save

router = Router(tags=["users"])
RoleName = Literal["member", "finance", "team_lead", "administrator"]


def _zone(name: str) -> str:
    if name and zone_called(name) is None:
        raise ValueError("is no time zone such as Asia/Shanghai")
    return name


def _language(code: str) -> str:
    if code and code not in dict(settings.LANGUAGES):
        raise ValueError("must be one of " + ", ".join(code for code, _name in settings.LANGUAGES))
    return code


class UserOut(Schema):
    """A person, or a service: a program whose keys are a team's."""

    id: int
    username: str
    email: str
    first_name: str
    last_name: str
    team: str | None
    policy: str | None
    service: bool
    roles: list[str] = Field(examples=[["member"]])
    language: str = Field(description="Empty: as the browser asks.")
    time_zone: str = Field(description="Empty: the business time zone.")
    active: bool
    must_change_password: bool
    last_login_at: datetime | None
    created_at: datetime


class UserChange(Body):
    """What changes; what is absent stays."""

    username: Text = Field("", examples=["zhang.wei"])
    email: Text | None = Field(None, examples=["zhang.wei@example.com"])
    first_name: Text | None = None
    last_name: Text | None = None
    team: Text | None = Field(None, description="The name of the team.")
    policy: Text | None = Field(None, description="The name of the policy; null: the team's, else the default one.")
    service: bool | None = None
    roles: list[RoleName] = Field([], description="All of them. Only administrators set roles.")
    language: Annotated[Text, AfterValidator(_language)] | None = None
    time_zone: Annotated[Text, AfterValidator(_zone)] | None = None
    password: Text = Field(
        "", description="Write-only; a temporary one, to be changed at the next login. Only administrators set it."
    )
    active: bool | None = None


class UserNew(UserChange):
    """A new person or service."""

    username: Text = Field(min_length=1, examples=["zhang.wei"])


class UserFilter(PageQuery):
    """Which people."""

    q: str = Field("", max_length=100, description="Part of the name, the username or the address.")
    team: str = Field("", description="The name of the team.")
    role: RoleName | None = None
    active: bool | None = None
    service: bool | None = None


def show(user: User) -> UserOut:
    return UserOut(
        id=user.pk,
        username=user.username,
        email=user.email,
        first_name=user.first_name,
        last_name=user.last_name,
        team=user.team.name if user.team else None,
        policy=user.policy.name if user.policy else None,
        service=user.is_service,
        roles=sorted(roles_of(user)),
        language=user.language,
        time_zone=user.time_zone,
        active=user.is_active,
        must_change_password=user.must_change_password,
        last_login_at=user.last_login,
        created_at=user.date_joined,
    )


def _rows() -> Any:
    return User.objects.select_related("team", "policy").prefetch_related("groups")


@operation(router, "GET", "", "accounts.view_user", summary="List the people and services", answer=Page[UserOut])
def list_users(caller: Caller, query: Query[UserFilter]) -> Page[UserOut]:
    rows = caller.visible(_rows())
    if query.q:
        parts = ("username", "email", "first_name", "last_name")
        rows = rows.filter(
            Q(**{f"{parts[0]}__icontains": query.q})
            | Q(**{f"{parts[1]}__icontains": query.q})
            | Q(**{f"{parts[2]}__icontains": query.q})
            | Q(**{f"{parts[3]}__icontains": query.q})
        )
    if query.team:
        rows = rows.filter(team__name=query.team)
    if query.role is not None:
        holds = Q(pk__in=User.groups.through.objects.filter(group__name=query.role).values("user_id"))
        rows = rows.filter(holds | Q(is_superuser=True) if query.role == Role.ADMINISTRATOR.value else holds)
    if query.active is not None:
        rows = rows.filter(is_active=query.active)
    if query.service is not None:
        rows = rows.filter(is_service=query.service)
    return page_of(rows, query, each(show))


@operation(router, "GET", "/{int:pk}", "accounts.view_user", summary="One person or service", answer=UserOut)
def get_user(caller: Caller, pk: int) -> UserOut:
    return show(find(caller, _rows(), pk=pk))


@operation(
    router,
    "POST",
    "",
    "accounts.add_user",
    summary="Create a person or a service",
    description="Without a password the person cannot sign in, and can have keys.",
    answer=UserOut,
    status=201,
)
def create_user(caller: Caller, data: UserNew) -> UserOut:
    given = data.given()
    _check(caller, None, given)
    if User.objects.filter(username=User.normalize_username(data.username)).exists():
        raise invalid(username="there is a user of this name already")
    return _write(caller, data.username, given)


@operation(
    router,
    "PATCH",
    "/{int:pk}",
    "accounts.change_user",
    summary="Change a person or a service",
    description="`active: false` refuses all keys of the person from the next call on.",
    answer=UserOut,
)
def change_user(caller: Caller, pk: int, data: UserChange) -> UserOut:
    user, given = find_to_change(caller, _rows(), pk=pk), data.given()
    without_null(given, "username", "roles", "password")
    _check(caller, user, given)
    if "username" in given:
        save(user, {"username": User.normalize_username(given["username"])})
    return _write(caller, user.username, given)


@operation(
    router,
    "POST",
    "/{int:pk}/deactivate",
    "accounts.change_user",
    summary="Deactivate a person or a service",
    description="All keys are refused from the next call on. People are never deleted: the books name them.",
    answer=UserOut,
)
def deactivate_user(caller: Caller, pk: int) -> UserOut:
    user = find_to_change(caller, _rows(), pk=pk)
    _check(caller, user, {"active": False})
    return _write(caller, user.username, {"active": False})


@operation(
    router,
    "POST",
    "/{int:pk}/activate",
    "accounts.change_user",
    summary="Activate a person or a service again",
    answer=UserOut,
)
def activate_user(caller: Caller, pk: int) -> UserOut:
    user = find_to_change(caller, _rows(), pk=pk)
    _check(caller, user, {"active": True})
    return _write(caller, user.username, {"active": True})


def _check(caller: Caller, user: User | None, given: Mapping[str, Any]) -> None:
    """Raise `ManageError` for what would make somebody more than the caller may, or lock the caller out."""
    if user is not None and not caller.is_administrator and Role.ADMINISTRATOR.value in roles_of(user):
        raise ManageError(403, "Only administrators change an administrator.")
    for name in ("roles", "password", "service"):
        if given.get(name) and not caller.is_administrator:
            raise ManageError(403, "Only administrators set this.", {name: ["only administrators set this"]})
    if "team" in given and not caller.is_administrator:
        if given["team"] is None:
            raise invalid(team="must be one of your teams")
        named(caller, Team.objects.all(), "team", "name", given["team"])
    if user is not None and user.pk == caller.user.pk and caller.key is None and given.get("active") is False:
        raise invalid(active="you cannot deactivate yourself")


def _write(caller: Caller, username: str, given: Mapping[str, Any]) -> UserOut:
    password = given.get("password", "")
    entry = {name: value for name, value in given.items() if name != "password"} | {"username": username}
    apply_entry("users", entry)
    user: User = _rows().get(username=User.normalize_username(username))
    if password:
        _set_password(user, password)
    return show(user)


def _set_password(user: User, password: str) -> None:
    if user.is_service:
        raise invalid(password="a service has no password")
    try:
        validate_password(password, user)
    except ValidationError as error:
        raise ManageError(400, "The password cannot be used.", {"password": error.messages}) from error
    user.set_password(password)
    user.must_change_password = True
    user.save(update_fields=["password", "must_change_password"])
