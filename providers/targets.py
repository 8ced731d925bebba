"""Provider, credential, model and price rows as frozen targets: what the hot path works with instead of the ORM."""

import contextlib
import logging
from collections import defaultdict

from django.db.models import OuterRef, Subquery
from django.utils import timezone

from providers.encryption import Undecryptable
from providers.models import Credential, Model, Price, Provider
from providers.native_dialect import native_dialect_for
from providers.presets import PRESETS, base_url_of, dialect_for, valid_flags
from providers.pricing import price_list_for
from providers.target import Secret, Target, Timeouts

logger = logging.getLogger(__name__)


def load_targets() -> dict[str, Target]:
    """Return all enabled models of enabled providers as targets, by name (`provider/model`).

    Four queries, whatever the number of rows. Sync, and not for the event loop: it decrypts, and may load the price
    catalogue. A credential that no configured key decrypts is logged and left out.
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
    newest = Price.objects.filter(model=OuterRef("model"), valid_from__lte=timezone.now()).order_by(
        "-valid_from", "-pk"
    )
    prices = {
        price.model_id: price
        for price in Price.objects.filter(
            pk=Subquery(newest.values("pk")[:1]), model__is_enabled=True, model__provider__is_enabled=True
        )
    }
    targets = (
        target_of(providers[model.provider_id], model, tuple(secrets[model.provider_id]), prices.get(model.pk))
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
    in_force = Price.objects.filter(model=model, valid_from__lte=timezone.now()).order_by("-valid_from", "-pk")
    return target_of(model.provider, model, tuple(secrets), in_force.first())


def target_of(provider: Provider, model: Model, secrets: tuple[Secret, ...], price: Price | None) -> Target:
    """Return one model as a target. `price` is the row in force, if any."""
    preset = PRESETS[provider.kind]
    wire_format = provider.wire_format or preset.wire_format
    base_url = base_url_of(provider.kind, provider.base_url, wire_format)
    capabilities = None if model.capabilities is None else frozenset(map(str, model.capabilities))
    headers = {
        **preset.extra_headers,
        **{name.lower(): str(text) for name, text in (provider.extra_headers or {}).items()},
    }
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
        price=price_list_for(provider.kind, base_url, model.model_id, price),
        token_ratio=model.token_ratio,
        allow_private_network=provider.allow_private_network or preset.local,
        extra_headers=headers,
        model_pk=model.pk,
        max_concurrency=provider.max_concurrency,
    )


def _timeouts(provider: Provider, default: Timeouts) -> Timeouts:
    def choose(own: float | None, usual: float) -> float:
        return usual if own is None else own

    return Timeouts(
        connect_s=choose(provider.connect_timeout_s, default.connect_s),
        first_event_s=choose(provider.first_event_timeout_s, default.first_event_s),
        idle_s=choose(provider.idle_timeout_s, default.idle_s),
        total_s=choose(provider.total_timeout_s, default.total_s),
    )
