"""Writing the section `providers`: platforms, their credentials, models and prices."""

from collections.abc import Mapping
from typing import Any

from django.utils import timezone
from django.utils.translation import gettext as _

from gateway.config.fields import at
from gateway.config.rows import Run, shown
from gateway.config.schema import Item
from gateway.config.shapes import CREDENTIAL, MODEL, PRICE, PROVIDER, columns
from providers.encryption import Undecryptable
from providers.models import Credential, Model, Price, Provider

PROVIDER_COLUMNS = columns(PROVIDER)
CREDENTIAL_COLUMNS = columns(CREDENTIAL)
MODEL_COLUMNS = columns(MODEL)
PRICE_COLUMNS = columns(PRICE)
# Prices that a person stated. The bundled list is another step of the price resolution and is not the file's affair.
STATED_SOURCES = (Price.Source.ADMIN, Price.Source.CONFIG)


def stated_prices() -> dict[int, Price]:
    """Return model pk -> the stated price in force."""
    in_force: dict[int, Price] = {}
    for price in Price.objects.filter(source__in=STATED_SOURCES, valid_from__lte=timezone.now()).order_by(
        "valid_from", "pk"
    ):
        in_force[price.model_id] = price
    return in_force


def write_providers(run: Run, items: list[Item]) -> None:
    """Write the platforms with all that hangs below them."""
    prices = stated_prices()
    for item in items:
        provider = _write_provider(run, item)
        if provider is None:
            continue
        if item.credentials is not None:
            for credential in item.credentials:
                _write_credential(run, provider, credential)
            run.arrange(
                "credential",
                item.credentials,
                Credential.objects.filter(provider=provider).order_by("position", "pk"),
                f"credentials {provider.name}",
            )
        for model in item.models or ():
            _write_model(run, provider, model, prices)


def _write_provider(run: Run, item: Item) -> Provider | None:
    if item.is_broken:
        run.refuse(item)
        return None
    row: Provider = run.rows["provider"].get(item.identity) or Provider()
    values = run.plain_values(item, row, PROVIDER_COLUMNS)
    if "extra_headers" in values:
        missing = [
            name for name, value in values["extra_headers"].items() if value is None and name not in row.extra_headers
        ]
        if missing:
            run.refuse(item, *((at("extra_headers", name), _("has no stored value to keep")) for name in missing))
            return None
        values["extra_headers"] = {
            name: row.extra_headers[name] if value is None else value for name, value in values["extra_headers"].items()
        }
    # A header may carry a secret.
    hidden = {"extra_headers": _("extra_headers changed")}
    return row if run.write(item, row, values, PROVIDER_COLUMNS, hidden=hidden) else None


def _write_credential(run: Run, provider: Provider, item: Item) -> None:
    if item.is_broken:
        run.refuse(item)
        return
    row: Credential | None = run.rows["credential"].get(item.identity)
    secret: str | None = item.values.get("secret")
    if secret is not None and not (secret and all("!" <= character <= "~" for character in secret)):
        run.refuse(item, ("secret", _("must consist of printable ASCII characters without spaces")))
        return
    if row is None:
        if secret is None:
            run.refuse(item, ("secret", _("is required for a new credential (or secret_env)")))
            return
        row = Credential(provider=provider, position=run.end("credential", provider=provider))
    values = run.plain_values(item, row, CREDENTIAL_COLUMNS)
    if secret is not None and not _holds(row, secret):
        fresh = Credential()
        fresh.set_secret(secret)
        values |= {"encrypted_secret": fresh.encrypted_secret, "last_four": fresh.last_four}
    run.write(
        item,
        row,
        values,
        {**CREDENTIAL_COLUMNS, "secret": "encrypted_secret"},
        hidden={"encrypted_secret": _("secret changed"), "last_four": ""},
    )


def _holds(row: Credential, secret: str) -> bool:
    if row._state.adding:
        return False
    try:
        return row.secret() == secret
    except Undecryptable:
        return False


def _write_model(run: Run, provider: Provider, item: Item, prices: Mapping[int, Price]) -> None:
    if item.is_broken:
        run.refuse(item)
        return
    stored: Model | None = run.rows["model"].get(item.identity)
    # A refresh of the list must not undo what the file says; `manual: false` permits it.
    row = stored or Model(provider=provider, is_manual=True)
    values = run.plain_values(item, row, MODEL_COLUMNS)
    if "manual" not in item.values and any(getattr(row, column) != value for column, value in values.items()):
        values["is_manual"] = True
    if not run.write(item, row, values, MODEL_COLUMNS, hidden={} if "manual" in item.values else {"is_manual": ""}):
        return
    if item.values.get("price") is not None:
        _append_price(run, item, row, prices.get(row.pk))
    elif ("price" in item.values or run.prune) and row.pk in prices:
        Price.objects.filter(model=row, source__in=STATED_SOURCES).delete()
        run.say("-", "price", item.identity)


def _append_price(run: Run, item: Item, model: Model, current: Price | None) -> None:
    figures: dict[str, Any] = {field: item.values["price"].get(field) for field in PRICE_COLUMNS}
    if current is not None and current.values() == figures:
        return
    price = Price(
        model=model,
        source=Price.Source.CONFIG,
        **{column: figures[field] for field, column in PRICE_COLUMNS.items()},
    )
    row = Item("price", at(item.path, "price"), "", item.values["price"])
    if not run.write(row, price, {}, PRICE_COLUMNS):
        run.refuse(item)
        return
    if current is None:
        run.say("+", "price", item.identity, _shown_price(figures))
    else:
        run.say("~", "price", item.identity, f"{_shown_price(current.values())} -> {_shown_price(figures)}")


def _shown_price(figures: Mapping[str, Any]) -> str:
    """Return e.g. "USD 3 in, 15 out, 0.3 cache_read"."""
    parts = [f"{figures['currency']} {shown(figures['input'])} in", f"{shown(figures['output'])} out"]
    parts += [f"{shown(figures[name])} {name}" for name in ("cache_read", "cache_write") if figures[name] is not None]
    return ", ".join(parts)
