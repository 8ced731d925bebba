"""Models of the platforms: list, read, add by hand, change, refresh."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Literal

from django.db import transaction
from django.db.models import Q
from ninja import Query, Router, Schema
from pydantic import Field

from gateway.manage.auth import Caller
from gateway.manage.errors import invalid
from gateway.manage.operations import Body, Text, operation
from gateway.manage.paging import Page, PageQuery, each, page_of
from gateway.manage.writing import apply_sections, find
from providers import catalog
from providers.errors import UpstreamError
from providers.models import Model, Provider
from routing.model_choice import fill_default_route

router = Router(tags=["models"])
Capability = Literal["tools", "vision", "pdf", "thinking"]


class ModelOut(Schema):
    """A model that a platform offers."""

    id: int
    name: str = Field(description="As targets are written.", examples=["main/big"])
    platform: str
    model_id: str = Field(description="As the platform writes it.")
    display_name: str
    context_window: int | None
    max_output_tokens: int | None
    capabilities: list[str] | None = Field(description="Null: unknown, nothing is withheld.")
    flags: dict[str, Any]
    enabled: bool
    manual: bool = Field(description="A refresh leaves it alone.")
    missing_since: datetime | None = Field(description="Since when the platform no longer lists it.")
    created_at: datetime
    updated_at: datetime


class ModelChange(Body):
    """What changes. What a refresh would undo makes the model one that is entered by hand."""

    display_name: Text | None = None
    context_window: int | None = Field(None, ge=1, le=2**31 - 1)
    max_output_tokens: int | None = Field(None, ge=1, le=2**31 - 1)
    capabilities: list[Capability] | None = None
    flags: dict[str, Any] | None = None
    enabled: bool | None = None
    manual: bool | None = None


class ModelNew(ModelChange):
    """A model that is entered by hand."""

    platform: Text = Field(description="The name of the platform.")
    model_id: Text = Field(min_length=1, description="As the platform writes it.")


class ModelFilter(PageQuery):
    """Which models."""

    platform: str = ""
    q: str = Field("", max_length=100, description="Part of the id or the name.")
    enabled: bool | None = None
    missing: bool | None = None


class Refresh(Body):
    """Which lists to read."""

    platform: Text | None = Field(None, description="The name; null: all enabled platforms.")


class Refreshed(Schema):
    """What became of a platform's list."""

    platform: str
    ok: bool
    added: int
    updated: int
    gone: int = Field(description="No longer listed; such models are kept and marked.")
    error: str


class RefreshOut(Schema):
    """What became of the lists, and of an empty default route."""

    items: list[Refreshed]
    default_route: list[str] = Field(description="What the default route was filled with, if it was empty.")


def _show(row: Model) -> ModelOut:
    return ModelOut(
        id=row.pk,
        name=str(row),
        platform=row.provider.name,
        model_id=row.model_id,
        display_name=row.display_name,
        context_window=row.context_window,
        max_output_tokens=row.max_output_tokens,
        capabilities=row.capabilities,
        flags=row.flags,
        enabled=row.is_enabled,
        manual=row.is_manual,
        missing_since=row.missing_since,
        created_at=row.created_at,
        updated_at=row.updated_at,
    )


def _rows() -> Any:
    return Model.objects.select_related("provider")


@operation(router, "GET", "", "providers.view_model", summary="List the models", answer=Page[ModelOut])
def list_models(caller: Caller, query: Query[ModelFilter]) -> Page[ModelOut]:
    rows = _rows()
    if query.platform:
        rows = rows.filter(provider__name=query.platform)
    if query.q:
        rows = rows.filter(Q(model_id__icontains=query.q) | Q(display_name__icontains=query.q))
    if query.enabled is not None:
        rows = rows.filter(is_enabled=query.enabled)
    if query.missing is not None:
        rows = rows.filter(missing_since__isnull=not query.missing)
    return page_of(rows, query, each(_show))


@operation(router, "GET", "/{int:pk}", "providers.view_model", summary="One model", answer=ModelOut)
def get_model(caller: Caller, pk: int) -> ModelOut:
    return _show(find(caller, _rows(), pk=pk))


@operation(router, "POST", "", "providers.add_model", summary="Enter a model by hand", answer=ModelOut, status=201)
def add_model(caller: Caller, data: ModelNew) -> ModelOut:
    given = data.given()
    provider = Provider.objects.filter(name=given.pop("platform")).first()
    if provider is None:
        raise invalid(platform=f"there is no platform {data.platform}")
    model_id = given.pop("model_id")
    if provider.models.filter(model_id=model_id).exists():
        raise invalid(model_id="the platform has this model already")
    _write(provider, model_id, given)
    return _show(_rows().get(provider=provider, model_id=model_id))


@operation(
    router,
    "PATCH",
    "/{int:pk}",
    "providers.change_model",
    summary="Change a model",
    description="In force on the next call of every worker.",
    answer=ModelOut,
)
def change_model(caller: Caller, pk: int, data: ModelChange) -> ModelOut:
    row = find(caller, _rows(), pk=pk)
    given = data.given()
    if set(given) == {"enabled"}:
        # Switching one off is no reason to keep a refresh from its limits.
        given["manual"] = row.is_manual
    _write(row.provider, row.model_id, given)
    return _show(_rows().get(pk=pk))


def _write(provider: Provider, model_id: str, given: Mapping[str, Any]) -> None:
    entry = {"name": provider.name, "models": [{"id": model_id, **given}]}
    apply_sections({"providers": [entry]}, "providers[0]", "providers[0].models[0]")


@operation(
    router,
    "POST",
    "/refresh",
    "providers.change_provider",
    summary="Read the lists of models of one platform or all",
    description="One that fails does not stop the others. Models are added and updated, never deleted.",
    answer=RefreshOut,
    is_atomic=False,
)
def refresh_models(caller: Caller, data: Refresh | None = None) -> RefreshOut:
    providers = Provider.objects.order_by("name")
    if data is not None and data.platform is not None:
        providers = providers.filter(name=data.platform)
        if not providers:
            raise invalid(platform=f"there is no platform {data.platform}")
    else:
        providers = providers.filter(is_enabled=True)
    items = [_refresh(provider) for provider in providers]
    with transaction.atomic():
        filled = fill_default_route()
    return RefreshOut(items=items, default_route=[str(model) for model in filled])


def _refresh(provider: Provider) -> Refreshed:
    try:
        done = catalog.refresh_models(provider)
    except UpstreamError as error:
        return Refreshed(platform=provider.name, ok=False, added=0, updated=0, gone=0, error=error.message)
    return Refreshed(
        platform=provider.name, ok=True, added=done.added, updated=done.updated, gone=done.missing, error=""
    )
