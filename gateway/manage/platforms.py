"""Platforms: list, read, create, change, switch, remove, their credentials, and whether they answer."""

from datetime import datetime
from typing import Any, Literal

from django.db.models import Count, ProtectedError
from ninja import Query, Router, Schema
from pydantic import Field

from gateway.config.export import shown_headers
from gateway.manage.auth import Caller
from gateway.manage.errors import ManageError, invalid
from gateway.manage.operations import Body, Text, operation, without_null
from gateway.manage.paging import Page, PageQuery, each, page_of
from gateway.manage.writing import apply_entry, find_to_change, save
from providers.models import Credential, Provider

router = Router(tags=["platforms"])
_SECRET_NOTE = "Write-only: answers hold its last four characters."


class CredentialOut(Schema):
    """A secret of a platform, without the secret."""

    id: int
    name: str
    last_four: str = Field(description="Empty of a short secret.")
    position: int
    enabled: bool


class Timeouts(Body):
    """Seconds; null: the usual ones of this kind."""

    connect: float | None = Field(None, ge=0.1, le=86_400)
    first_event: float | None = Field(None, ge=0.1, le=86_400)
    idle: float | None = Field(None, ge=0.1, le=86_400)
    total: float | None = Field(None, ge=0.1, le=86_400)


class PlatformOut(Schema):
    """A platform account that answers calls."""

    id: int
    name: str
    kind: str
    base_url: str = Field(description="Empty: the usual address of this kind.")
    wire_format: str = Field(description="Empty: the usual one of this kind.")
    timeouts_s: Timeouts
    allow_private_network: bool
    forward_client_credential: bool
    flags: dict[str, Any]
    extra_headers: dict[str, str | None] = Field(description="Null: a header that may hold a secret.")
    max_concurrency: int | None
    enabled: bool
    credentials: list[CredentialOut]
    models: int = Field(description="How many it has.")
    checked_at: datetime | None
    check_result: str
    created_at: datetime
    updated_at: datetime


class CredentialNew(Body):
    """A new credential."""

    name: Text = Field("default", min_length=1)
    secret: str = Field(min_length=1, max_length=5000, description=_SECRET_NOTE)
    enabled: bool = True


class CredentialChange(Body):
    """What changes."""

    name: Text = Field("", min_length=1)
    secret: str = Field("", min_length=1, max_length=5000, description=_SECRET_NOTE)
    position: int = Field(0, ge=0, le=10_000)
    enabled: bool = True


class PlatformChange(Body):
    """What changes; what is absent stays."""

    name: Text = Field("", examples=["main"])
    base_url: Text | None = Field(None, examples=["https://api.example.com/v1"])
    wire_format: Literal["", "openai", "anthropic"] | None = None
    timeouts_s: Timeouts | None = None
    allow_private_network: bool | None = None
    forward_client_credential: bool | None = None
    flags: dict[str, Any] | None = None
    extra_headers: dict[str, str | None] | None = Field(None, description="Null of a header keeps its stored value.")
    max_concurrency: int | None = Field(None, ge=1, le=1_000_000)
    enabled: bool | None = None


class PlatformNew(PlatformChange):
    """A new platform."""

    name: Text = Field(min_length=1, examples=["main"])
    kind: Text = Field(examples=["openai_compatible"], description=", ".join(Provider.Kind.values))
    credentials: list[CredentialNew] = []


class PlatformFilter(PageQuery):
    """Which platforms."""

    kind: str = ""
    enabled: bool | None = None


def _show(row: Provider) -> PlatformOut:
    return PlatformOut(
        id=row.pk,
        name=row.name,
        kind=row.kind,
        base_url=row.base_url,
        wire_format=row.wire_format,
        timeouts_s=Timeouts.model_construct(
            connect=row.connect_timeout_s,
            first_event=row.first_event_timeout_s,
            idle=row.idle_timeout_s,
            total=row.total_timeout_s,
        ),
        allow_private_network=row.allow_private_network,
        forward_client_credential=row.forwards_client_credential,
        flags=row.flags,
        extra_headers=shown_headers(row.extra_headers),
        max_concurrency=row.max_concurrency,
        enabled=row.is_enabled,
        credentials=[_show_credential(one) for one in row.credentials.all()],
        models=getattr(row, "model_count", 0),
        checked_at=row.checked_at,
        check_result=row.check_result,
        created_at=row.created_at,
        updated_at=row.updated_at,
    )


def _show_credential(row: Credential) -> CredentialOut:
    return CredentialOut(
        id=row.pk, name=row.name, last_four=row.last_four, position=row.position, enabled=row.is_enabled
    )


def _rows() -> Any:
    return Provider.objects.prefetch_related("credentials").annotate(model_count=Count("models"))


def _shown(pk: int) -> PlatformOut:
    return _show(_rows().get(pk=pk))


@operation(router, "GET", "", "providers.view_provider", summary="List the platforms", answer=Page[PlatformOut])
def list_platforms(caller: Caller, query: Query[PlatformFilter]) -> Page[PlatformOut]:
    rows = _rows()
    if query.kind:
        rows = rows.filter(kind=query.kind)
    if query.enabled is not None:
        rows = rows.filter(is_enabled=query.enabled)
    return page_of(rows, query, each(_show))


@operation(router, "GET", "/{int:pk}", "providers.view_provider", summary="One platform", answer=PlatformOut)
def get_platform(caller: Caller, pk: int) -> PlatformOut:
    return _show(find_to_change(caller, _rows(), pk=pk))


@operation(router, "POST", "", "providers.add_provider", summary="Create a platform", answer=PlatformOut, status=201)
def create_platform(caller: Caller, data: PlatformNew) -> PlatformOut:
    if Provider.objects.filter(name=data.name).exists():
        raise invalid(name="there is a platform of this name already")
    names = [one.name for one in data.credentials]
    if len(set(names)) != len(names):
        raise invalid(credentials="must have different names")
    apply_entry("providers", data.given())
    return _show(_rows().get(name=data.name))


@operation(
    router,
    "PATCH",
    "/{int:pk}",
    "providers.change_provider",
    summary="Change a platform",
    description="In force on the next call of every worker. The kind stays.",
    answer=PlatformOut,
)
def change_platform(caller: Caller, pk: int, data: PlatformChange) -> PlatformOut:
    row, given = find_to_change(caller, Provider.objects.all(), pk=pk), data.given()
    without_null(given, "name", "timeouts_s")
    if "name" in given:
        save(row, {"name": given["name"]})
    apply_entry("providers", given | {"name": row.name})
    return _shown(pk)


def _switch(caller: Caller, pk: int, *, on: bool) -> PlatformOut:
    save(find_to_change(caller, Provider.objects.all(), pk=pk), {"is_enabled": on}, {"is_enabled": "enabled"})
    return _shown(pk)


@operation(
    router, "POST", "/{int:pk}/enable", "providers.change_provider", summary="Use a platform", answer=PlatformOut
)
def enable_platform(caller: Caller, pk: int) -> PlatformOut:
    return _switch(caller, pk, on=True)


@operation(
    router,
    "POST",
    "/{int:pk}/disable",
    "providers.change_provider",
    summary="Leave a platform out, from the next call on",
    answer=PlatformOut,
)
def disable_platform(caller: Caller, pk: int) -> PlatformOut:
    return _switch(caller, pk, on=False)


@operation(
    router,
    "DELETE",
    "/{int:pk}",
    "providers.delete_provider",
    summary="Remove a platform with its models and credentials",
    description="The books keep its name. Refused (409) while routes lead to its models.",
    answer=None,
    status=204,
)
def delete_platform(caller: Caller, pk: int) -> None:
    row = find_to_change(caller, Provider.objects.all(), pk=pk)
    try:
        row.delete()
    except ProtectedError as error:
        users = sorted({str(one) for one in error.protected_objects})[:10]
        raise ManageError(409, f"It is still used: {', '.join(users)}.") from error


def _check_secret(secret: str) -> None:
    if not all("!" <= character <= "~" for character in secret):
        raise invalid(secret="must consist of printable ASCII characters without spaces")


@operation(
    router,
    "POST",
    "/{int:pk}/credentials",
    "providers.add_credential",
    summary="Add a credential; several share the calls",
    answer=CredentialOut,
    status=201,
)
def add_credential(caller: Caller, pk: int, data: CredentialNew) -> CredentialOut:
    provider = find_to_change(caller, Provider.objects.all(), pk=pk)
    _check_secret(data.secret)
    last = provider.credentials.order_by("-position").values_list("position", flat=True).first()
    row = Credential(provider=provider, position=0 if last is None else last + 1)
    row.set_secret(data.secret)
    save(row, {"name": data.name, "is_enabled": data.enabled}, {"is_enabled": "enabled"})
    return _show_credential(row)


@operation(
    router,
    "PATCH",
    "/{int:pk}/credentials/{int:credential_pk}",
    "providers.change_credential",
    summary="Replace or rename a credential, or switch it",
    answer=CredentialOut,
)
def change_credential(caller: Caller, pk: int, credential_pk: int, data: CredentialChange) -> CredentialOut:
    row, values = find_to_change(caller, Credential.objects.all(), pk=credential_pk, provider_id=pk), data.given()
    without_null(values, "name", "secret", "position", "enabled")
    if "enabled" in values:
        values["is_enabled"] = values.pop("enabled")
    if secret := values.pop("secret", ""):
        _check_secret(secret)
        fresh = Credential()
        fresh.set_secret(secret)
        values |= {"encrypted_secret": fresh.encrypted_secret, "last_four": fresh.last_four}
    save(row, values, {"is_enabled": "enabled"})
    return _show_credential(row)


@operation(
    router,
    "DELETE",
    "/{int:pk}/credentials/{int:credential_pk}",
    "providers.delete_credential",
    summary="Remove a credential",
    answer=None,
    status=204,
)
def delete_credential(caller: Caller, pk: int, credential_pk: int) -> None:
    find_to_change(caller, Credential.objects.all(), pk=credential_pk, provider_id=pk).delete()
