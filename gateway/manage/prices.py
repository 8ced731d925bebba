"""Prices: those in force, their history, new ones; models without a price, and pricing their calls afterwards."""

import dataclasses
from datetime import date, datetime, time
from zoneinfo import ZoneInfo

from django.core.exceptions import ValidationError
from django.db.models import Q
from django.utils import timezone
from ninja import Query, Router, Schema
from pydantic import Field

from accounts.late_prices import price_calls
from accounts.models import Correction, UsageDaily
from accounts.unpriced import unpriced_by_model
from gateway.manage.auth import Caller
from gateway.manage.errors import ManageError, invalid
from gateway.manage.operations import Amount, Body, Moment, Text, operation
from gateway.manage.paging import Page, PageQuery, each, page_of
from gateway.manage.writing import save
from providers.models import Model, Price
from providers.presets import PRESETS, base_url_of
from providers.price_rows import clean_tiers, rows_in_force
from providers.pricing import origin_of, price_list_for
from providers.target import PriceList
from providers.targets import price_history
from routing.models import RuntimeSettings

router = Router(tags=["prices"])
# Field of a request -> column.
_COLUMNS = {
    "input": "input_per_million",
    "output": "output_per_million",
    "cache_read": "cache_read_per_million",
    "cache_write": "cache_write_per_million",
    "cache_write_1h": "cache_write_1h_per_million",
    "hours_from": "time_from",
    "hours_until": "time_until",
    "note": "source_note",
}


class Tier(Body):
    """The prices of a whole call whose input exceeds a size."""

    above: int = Field(ge=1, description="Tokens.")
    input: Amount = Field(ge=0)
    output: Amount = Field(ge=0)
    cache_read: Amount | None = Field(None, ge=0)
    cache_write: Amount | None = Field(None, ge=0)
    cache_write_1h: Amount | None = Field(None, ge=0)


class Figures(Schema):
    """What a million tokens cost."""

    currency: str
    input: Amount
    output: Amount
    cache_read: Amount | None = Field(description="Null: as input.")
    cache_write: Amount | None = Field(description="Null: as input.")
    cache_write_1h: Amount | None = Field(description="Null: as cache_write.")
    tiers: list[Tier]
    source: str = Field(examples=["admin"], description="admin, config, bundled, catalogue or free.")
    note: str = Field(description="Where the price is from.")


class PriceOut(Figures):
    """A price that was entered or read: from a moment on, and perhaps at hours of the day only."""

    id: int
    model: str = Field(examples=["main/big"])
    valid_from: datetime
    hours_from: time | None
    hours_until: time | None
    time_zone: str
    created_at: datetime


class InForce(Schema):
    """What a model costs at this moment; the first price that holds counts."""

    id: int = Field(description="Of the model.")
    model: str
    stored: list[PriceOut] = Field(description="Entered prices in force; those with hours stand before the other.")
    listed: Figures | None = Field(description="Of the bundled list or the catalogue, where no stored price counts.")


class PriceNew(Body):
    """A new price. It never changes the past: what calls have cost stays."""

    model: Text = Field(examples=["main/big"])
    currency: Text = Field(examples=["USD"])
    input: Amount = Field(ge=0, examples=["3"])
    output: Amount = Field(ge=0, examples=["15"])
    cache_read: Amount | None = Field(None, ge=0)
    cache_write: Amount | None = Field(None, ge=0)
    cache_write_1h: Amount | None = Field(None, ge=0)
    tiers: list[Tier] = []
    hours_from: time | None = Field(None, description="With hours_until: in force at this time of day only.")
    hours_until: time | None = None
    time_zone: Text = Field("", description="Of the hours; empty: the business time zone.")
    valid_from: Moment | None = Field(None, description="Absent: from now on.")
    note: Text = ""


class PriceFilter(PageQuery):
    """Which prices."""

    model: str = Field("", description="As provider/model.")
    platform: str = ""


class ModelFilter(PageQuery):
    """Which models."""

    platform: str = ""
    q: str = Field("", max_length=100, description="Part of the model's id.")


class Unpriced(Schema):
    """A model whose calls were booked without a cost."""

    model: str
    calls: int
    tokens: int


class UnpricedList(Schema):
    """All such models."""

    items: list[Unpriced]


class LatePricing(Body):
    """Which calls are to be priced."""

    model: Text = Field(description="As the calls name their target.", examples=["main/big"])
    since: date | None = Field(None, description="Calls from this day on.")
    until: date | None = Field(None, description="Calls before this day.")
    dry_run: bool = False


class LatePriced(Schema):
    """What pricing did, or would do."""

    priced: int
    costs: dict[str, Amount] = Field(description="By currency.")
    corrected: int = Field(0, description="Calls of closed months, whose price became a correction.")
    corrected_costs: dict[str, Amount] = {}
    unknown: int = Field(description="Calls without a price that was in force when they began.")


def _show(row: Price) -> PriceOut:
    return PriceOut(
        id=row.pk,
        model=str(row.model),
        currency=row.currency,
        input=row.input_per_million,
        output=row.output_per_million,
        cache_read=row.cache_read_per_million,
        cache_write=row.cache_write_per_million,
        cache_write_1h=row.cache_write_1h_per_million,
        tiers=[Tier(**tier) for tier in row.tiers],
        source=row.source,
        note=row.source_note,
        valid_from=row.valid_from,
        hours_from=row.time_from,
        hours_until=row.time_until,
        time_zone=row.time_zone,
        created_at=row.created_at,
    )


def _listed(model: Model) -> Figures | None:
    preset = PRESETS.get(model.provider.kind)
    if preset is None:
        return None
    provider = model.provider
    base_url = base_url_of(provider.kind, provider.base_url, provider.wire_format or preset.wire_format)
    found = price_list_for(provider.kind, base_url, model.model_id)
    return None if found is None else _figures(found, origin_of(found, provider.kind, base_url, model.model_id))


def _figures(price: PriceList, note: str) -> Figures:
    return Figures(
        currency=price.currency,
        input=price.input,
        output=price.output,
        cache_read=price.cache_read,
        cache_write=price.cache_write,
        cache_write_1h=price.cache_write_1h,
        tiers=[
            Tier(
                above=tier.above_tokens,
                input=tier.input,
                output=tier.output,
                cache_read=tier.cache_read,
                cache_write=tier.cache_write,
                cache_write_1h=tier.cache_write_1h,
            )
            for tier in price.tiers
        ],
        source=price.source,
        note=note,
    )


def by_name(name: str) -> Q:
    """Return the condition for the model that is written `provider/model`."""
    provider, _, model_id = name.partition("/")
    return Q(provider__name=provider, model_id=model_id)


def find_model(field: str, name: str) -> Model:
    """Return the model that a field of the request names. Raises `ManageError`."""
    found = Model.objects.select_related("provider").filter(by_name(name)).first()
    if found is None:
        raise invalid(**{field: f"there is no model {name}; write platform/model"})
    return found


@operation(
    router, "GET", "", "providers.view_price", summary="List all prices, the newest first", answer=Page[PriceOut]
)
def list_prices(caller: Caller, query: Query[PriceFilter]) -> Page[PriceOut]:
    rows = Price.objects.select_related("model__provider")
    if query.model:
        provider, _, model_id = query.model.partition("/")
        rows = rows.filter(model__provider__name=provider, model__model_id=model_id)
    if query.platform:
        rows = rows.filter(model__provider__name=query.platform)
    return page_of(rows, query, each(_show), newest_first=True)


@operation(
    router,
    "GET",
    "/in-force",
    "providers.view_price",
    summary="List what each model costs at this moment",
    answer=Page[InForce],
)
def list_prices_in_force(caller: Caller, query: Query[ModelFilter]) -> Page[InForce]:
    now = timezone.now()
    models = Model.objects.select_related("provider").prefetch_related("prices")
    if query.platform:
        models = models.filter(provider__name=query.platform)
    if query.q:
        models = models.filter(model_id__icontains=query.q)

    def show(rows: list[Model]) -> list[InForce]:
        shown = []
        for model in rows:
            prices = list(model.prices.all())
            for price in prices:
                price.model = model
            stored = rows_in_force(prices, now)
            is_covered = bool(stored) and stored[-1].time_from is None
            listed = None if is_covered else _listed(model)
            shown.append(InForce(id=model.pk, model=str(model), stored=[_show(row) for row in stored], listed=listed))
        return shown

    return page_of(models, query, show)


@operation(router, "POST", "", "providers.add_price", summary="Append a price", answer=PriceOut, status=201)
def add_price(caller: Caller, data: PriceNew) -> PriceOut:
    given = data.given()
    price = Price(model=find_model("model", given.pop("model")), source=Price.Source.ADMIN)
    if given.get("valid_from") is None:
        given["valid_from"] = timezone.now()
    try:
        # Before the model's own check: the column takes no Decimal.
        given["tiers"] = clean_tiers(given.get("tiers", []))
    except ValidationError as error:
        raise ManageError(400, "The tiers are wrong; nothing was changed.", {"tiers": error.messages}) from error
    values = {_COLUMNS.get(name, name): value for name, value in given.items()}
    save(price, values, {column: name for name, column in _COLUMNS.items()})
    return _show(price)


@operation(
    router,
    "GET",
    "/unpriced",
    "providers.view_price",
    summary="List the models whose calls were booked without a cost",
    answer=UnpricedList,
)
def list_unpriced(caller: Caller) -> UnpricedList:
    found = unpriced_by_model(caller.visible(UsageDaily.objects.all()), caller.visible(Correction.objects.all()))
    return UnpricedList(
        items=[Unpriced(model="/".join(model), calls=calls, tokens=tokens) for model, (calls, tokens) in found.items()]
    )


@operation(
    router,
    "POST",
    "/price-calls",
    "providers.add_price",
    summary="Price the calls of a model that have no cost",
    description=(
        "At the price that was in force when each began. A cost that is there stays; days and quotas follow in the same"
        " transaction. To be repeated at will."
    ),
    answer=LatePriced,
    is_atomic=False,
)
def price_unpriced_calls(caller: Caller, data: LatePricing) -> LatePriced:
    if not caller.sees_all_teams:
        raise ManageError(403, "Calls are priced late by who sees all teams: they are those of every team.")
    provider_name, _, model_name = data.model.partition("/")
    zone = ZoneInfo(RuntimeSettings.load().business_time_zone)
    try:
        price_at = price_history(provider_name, model_name, zone)
    except LookupError:
        raise invalid(model=f"there is no platform {provider_name}") from None
    since, until = (
        None if day is None else datetime.combine(day, time(), tzinfo=zone) for day in (data.since, data.until)
    )
    summary = price_calls(
        provider_name,
        model_name,
        price_at,
        by=caller.name,
        since=since,
        until=until,
        dry_run=data.dry_run,
        user=caller.user,
    )
    return LatePriced(**dataclasses.asdict(summary))
