"""Provider, credential, model and price rows as frozen targets: what the hot path works with instead of the ORM."""

import contextlib
import logging
from collections import defaultdict
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from django.db.models import F, OuterRef, Q, QuerySet, Subquery
from django.utils import timezone

from providers.encryption import Undecryptable
from providers.models import Credential, Model, Price, Provider
from providers.native_dialect import native_dialect_for
from providers.presets import PRESETS, base_url_of, dialect_for, valid_flags
from providers.price_rows import dated_prices
from providers.pricing import listed_schedule, price_list_for
from providers.target import ANY_MODEL, DatedPrice, PriceList, Secret, Target, Timeouts, price_in_force

logger = logging.getLogger(__name__)

_UTC = ZoneInfo("UTC")
_LONGEST_CALL = timedelta(days=1)


def load_targets(zone: ZoneInfo = _UTC) -> dict[str, Target]:
    """Return all enabled models of enabled providers as targets, by name (`provider/model`).

    `zone` is that of prices by the hour which name none. Four queries, whatever the number of rows. Sync, and not for
    the event loop: it decrypts, and may load the price catalogue. A credential that no configured key decrypts is
    logged and left out.
    """
    providers = {row.pk: row for row in Provider.objects.filter(is_enabled=True) if row.kind in PRESETS}
    secrets: dict[int, list[Secret]] = defaultdict(list)
    credentials = Credential.objects.filter(is_enabled=True, provider__is_enabled=True)
    for row in credentials.order_by("provider_id", "position", "pk"):
        try:
            secrets[row.provider_id].append(Secret(row.name, row.secret()))
        except Undecryptable:
            provider = providers.get(row.provider_id)
            logger.error("The credential %s of %s cannot be decrypted; it is not used", row.name, provider)
    models = list(Model.objects.filter(is_enabled=True, provider__is_enabled=True).order_by("pk"))
    prices: dict[int, list[Price]] = defaultdict(list)
    for price in _prices().filter(model__is_enabled=True, model__provider__is_enabled=True):
        prices[price.model_id].append(price)
    targets = (
        target_of(providers[model.provider_id], model, tuple(secrets[model.provider_id]), prices[model.pk], zone)
        for model in models
        if model.provider_id in providers
    )
    return {target.name: target for target in targets}


def load_target(model: Model) -> Target:
    """Return one model as a target, whether or not it is enabled. Sync, as `load_targets`."""
    secrets = []
    for row in Credential.objects.filter(provider=model.provider_id, is_enabled=True).order_by("position", "pk"):
        with contextlib.suppress(Undecryptable):
            secrets.append(Secret(row.name, row.secret()))
    return target_of(model.provider, model, tuple(secrets), list(_prices().filter(model=model)), _UTC)


def _prices() -> QuerySet[Price]:
    """Return the prices that a call may still be booked at: in force since a running call can have begun, and later.

    The history before is long, and a target carries its prices along.
    """
    begin = timezone.now() - _LONGEST_CALL
    before = Price.objects.filter(model=OuterRef("model"), time_from__isnull=True, valid_from__lte=begin)
    since = Subquery(before.order_by("-valid_from").values("valid_from")[:1])
    return Price.objects.annotate(since=since).filter(Q(since__isnull=True) | Q(valid_from__gte=F("since")))


def price_history(provider_name: str, model_id: str, zone: ZoneInfo = _UTC) -> Callable[[datetime], PriceList | None]:
    """Return what tells the price of a call of any time, also of a name that the client chose.

    The rows say from when they hold; the lists do not, and count where no row does. Raises `LookupError` for a
    provider that is no more.
    """
    provider = Provider.objects.filter(name=provider_name).first()
    if provider is None or provider.kind not in PRESETS:
        raise LookupError(provider_name)
    models = Model.objects.filter(provider=provider)
    model = models.filter(model_id=model_id).first() or models.filter(model_id=ANY_MODEL).first()
    dated = dated_prices(Price.objects.filter(model=model), zone) if model is not None else ()
    wire_format = provider.wire_format or PRESETS[provider.kind].wire_format
    base_url = base_url_of(provider.kind, provider.base_url, wire_format)
    listed = price_list_for(provider.kind, base_url, model_id)
    dated += _schedule(listed, provider.kind, base_url, model_id)

    def price_at(moment: datetime) -> PriceList | None:
        return price_in_force(dated, moment) or listed

    return price_at


def target_of(
    provider: Provider, model: Model, secrets: tuple[Secret, ...], prices: Sequence[Price], zone: ZoneInfo
) -> Target:
    """Return one model as a target. `prices` are its rows, in any order."""
    now = timezone.now()
    preset = PRESETS[provider.kind]
    wire_format = provider.wire_format or preset.wire_format
    base_url = base_url_of(provider.kind, provider.base_url, wire_format)
    capabilities = None if model.capabilities is None else frozenset(map(str, model.capabilities))
    headers = {
        **preset.extra_headers,
        **{name.lower(): str(text) for name, text in (provider.extra_headers or {}).items()},
    }
    dated = dated_prices(prices, zone)
    listed = None
    if not any(price.hours is None and price.valid_from <= now for price in dated):
        listed = price_list_for(provider.kind, base_url, model.model_id)
        dated += _schedule(listed, provider.kind, base_url, model.model_id)
    return Target(
        provider_name=provider.name,
        kind=provider.kind,
        wire_format=wire_format,
        base_url=base_url,
        secrets=secrets,
        model_id=model.model_id,
        timeouts=_timeouts(provider, preset.timeouts),
        dialect=dialect_for(
            provider.kind,
            provider.flags or {},
            model.flags or {},
            capabilities,
            base_url=base_url,
            model_id=model.model_id,
        ),
        native=native_dialect_for(
            provider.kind,
            valid_flags(provider.flags or {}),
            valid_flags(model.flags or {}),
            model_id=model.model_id,
        ),
        forwards_client_credential=provider.forwards_client_credential and wire_format == "anthropic",
        context_window=model.context_window,
        max_output_tokens=model.max_output_tokens,
        capabilities=capabilities,
        price=price_in_force(dated, now) or listed,
        dated_prices=dated,
        listed_price=listed,
        token_ratio=model.token_ratio,
        allow_private_network=provider.allow_private_network or preset.local,
        extra_headers=headers,
        model_pk=model.pk,
        max_concurrency=provider.max_concurrency,
    )


def _schedule(listed: PriceList | None, kind: str, base_url: str, model_id: str) -> tuple[DatedPrice, ...]:
    """Return when which price of the catalogue holds, where the listed price is of the catalogue."""
    return listed_schedule(kind, base_url, model_id) if listed is not None and listed.source == "catalogue" else ()


def _timeouts(provider: Provider, default: Timeouts) -> Timeouts:
    def choose(own: float | None, usual: float) -> float:
        return usual if own is None else own

    return Timeouts(
        connect_s=choose(provider.connect_timeout_s, default.connect_s),
        first_event_s=choose(provider.first_event_timeout_s, default.first_event_s),
        idle_s=choose(provider.idle_timeout_s, default.idle_s),
        total_s=choose(provider.total_timeout_s, default.total_s),
    )
