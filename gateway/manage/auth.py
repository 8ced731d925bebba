"""Who calls the management API: a key with a scope, or a signed-in person's session; and what the caller may."""

from dataclasses import dataclass
from typing import Any, TypeVar

from django.contrib.auth.models import Permission
from django.core.handlers.asgi import ASGIRequest
from django.db.models import Model, QuerySet
from django.http import HttpRequest
from django.utils import timezone
from ninja.security import APIKeyCookie, APIKeyHeader, HttpBearer
from ninja.utils import check_csrf

from accounts import keys
from accounts.audit import Actor
from accounts.errors import AddressNotAllowed, KeyInvalid
from accounts.ledger_sql import keys_by_digest
from accounts.models import ApiKey, AuditEntry, User
from accounts.networks import forwarded_for
from accounts.presented_keys import usable_key
from accounts.roles import Role, in_charge_of, roles_of, sees_everything, visible
from gateway.incoming import client_address, credentials
from gateway.manage.errors import ManageError

_M = TypeVar("_M", bound=Model)
# What a member reads here: `visible` leaves of it what is one's own. The admin has no page for that.
_OWN_DATA = frozenset(
    f"accounts.view_{name}" for name in ("apikey", "attempt", "callrecord", "quota", "usagedaily", "user")
)


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks. `key` is None for a session; a key may what its scope says, whoever owns it."""

    user: User
    key: ApiKey | None = None
    address: str = ""

    @property
    def name(self) -> str:
        """How the audit log calls the caller."""
        return self.user.get_username() if self.key is None else f"key {self.key}"

    @property
    def actor(self) -> Actor:
        """Whom changes are written down for."""
        return Actor(self.name, AuditEntry.Via.API, self.user, self.address)

    @property
    def is_administrator(self) -> bool:
        """Whether the caller may give others rights."""
        if self.key is not None:
            return self.key.scope == ApiKey.Scope.ADMIN
        return Role.ADMINISTRATOR.value in roles_of(self.user)

    @property
    def sees_all_teams(self) -> bool:
        """Whether the caller's view is not bound to teams."""
        return self.key is not None or sees_everything(self.user)

    @property
    def viewer(self) -> User | None:
        """Whose eyes reports are seen with; None: everything is seen."""
        return self.user if self.key is None else None

    def may(self, permission: str) -> bool:
        """Return whether the caller has `permission`, written `app.action_model`."""
        if self.key is None:
            return self.user.has_perm(permission) or (
                permission in _OWN_DATA and Role.MEMBER.value in roles_of(self.user)
            )
        return self.key.scope == ApiKey.Scope.ADMIN or (
            self.key.scope == ApiKey.Scope.FINANCE and _finance_may(permission)
        )

    def require(self, permission: str) -> None:
        """Raise `ManageError` 403 unless the caller has `permission`."""
        if not self.may(permission):
            who = "This key" if self.key is not None else "Your account"
            raise ManageError(403, f"{who} lacks the permission {permission}.")

    def visible(self, rows: "QuerySet[_M]") -> "QuerySet[_M]":
        """Return those of `rows` that the caller may see. A key with a scope sees everything that it may read."""
        return rows if self.key is not None else visible(rows, self.user)

    def in_charge_of(self, rows: "QuerySet[_M]") -> "QuerySet[_M]":
        """Return those of `rows` that the caller may change, given the permission: not those that are merely own."""
        return rows if self.key is not None else in_charge_of(rows, self.user)


def _finance_may(permission: str) -> bool:
    """Return whether the role Finance has `permission`, if it is one to read."""
    app, _, codename = permission.partition(".")
    return (
        codename.startswith("view_")
        and Permission.objects.filter(
            group__name=Role.FINANCE.value, content_type__app_label=app, codename=codename
        ).exists()
    )


def address_of(request: HttpRequest) -> str:
    """Return the address of the client, through trusted proxies."""
    if isinstance(request, ASGIRequest):
        return client_address(request)
    return forwarded_for(request.META.get("REMOTE_ADDR", ""), (), ())


def _by_key(request: HttpRequest) -> Caller | None:
    """Return the caller whose key the request carries, None if it carries none. Raises `ManageError`."""
    secrets = credentials({name.lower(): value for name, value in request.headers.items()})
    if not secrets:
        return None
    digests = tuple(keys.digest(secret) for secret in secrets)
    address = address_of(request)
    try:
        found = usable_key(digests, address, keys_by_digest(set(digests)), timezone.now())
    except KeyInvalid as error:
        raise ManageError(401, str(error)) from error
    except AddressNotAllowed as error:
        raise ManageError(403, str(error)) from error
    key = ApiKey.objects.select_related("user__team").get(pk=found.id)
    if key.scope == ApiKey.Scope.NONE:
        raise ManageError(403, f"The API key {key.name} may call models only; management needs a key with a scope.")
    return Caller(key.user, key, address)


def _by_session(request: HttpRequest) -> Caller | None:
    """Return the signed-in person, None if nobody is. Raises `ManageError` 403 for a form from elsewhere."""
    user = request.user
    if not isinstance(user, User) or not user.is_active:
        return None
    if check_csrf(request) is not None:
        raise ManageError(403, "The CSRF token is missing or wrong; send the header X-CSRFToken.", kind="csrf_failed")
    if user.must_change_password:
        raise ManageError(403, "Change your password first.", kind="password_change_required")
    return Caller(user, None, address_of(request))


class Bearer(HttpBearer):
    """A key with a scope, as `Authorization: Bearer`; asked first, for whichever way a key comes."""

    def __init__(self, permission: str) -> None:
        super().__init__()
        self._permission = permission

    def __call__(self, request: HttpRequest) -> Any:
        caller = _by_key(request)
        if caller is not None and self._permission:
            caller.require(self._permission)
        return caller

    def authenticate(self, request: HttpRequest, token: str) -> Any:
        """Return nothing: `__call__` has looked at all headers."""
        return None


class ApiKeyHeader(APIKeyHeader):
    """A key with a scope, as `x-api-key`. For the document: `Bearer` takes it."""

    param_name = "x-api-key"

    def authenticate(self, request: HttpRequest, key: str | None) -> Any:
        """Return nothing: what was good was taken."""
        return None


class AdminSession(APIKeyCookie):
    """The session cookie of the admin; what changes something needs the header X-CSRFToken."""

    param_name = "sessionid"

    def __init__(self, permission: str) -> None:
        super().__init__(csrf=False)
        self._permission = permission

    def authenticate(self, request: HttpRequest, key: str | None) -> Any:
        """Return the person. Raises `ManageError`."""
        caller = _by_session(request)
        if caller is not None and self._permission:
            caller.require(self._permission)
        return caller


def ways_in(permission: str) -> list[Any]:
    """Return the ways to authenticate for an operation that needs `permission` ("": none in particular)."""
    return [Bearer(permission), ApiKeyHeader(), AdminSession(permission)]
