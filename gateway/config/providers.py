"""Writing the section `providers`: platforms, their credentials, models and prices."""

from collections.abc import Mapping

from django.utils.translation import gettext as _

from gateway.config.fields import at
from gateway.config.prices import stated_prices, write_prices
from gateway.config.rows import Run
from gateway.config.schema import Item
from gateway.config.shapes import CREDENTIAL, MODEL, PROVIDER, columns
from providers.encryption import Undecryptable
from providers.models import Credential, Model, Price, Provider

PROVIDER_COLUMNS = columns(PROVIDER)
CREDENTIAL_COLUMNS = columns(CREDENTIAL)
MODEL_COLUMNS = columns(MODEL)


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


def _write_model(run: Run, provider: Provider, item: Item, prices: Mapping[int, list[Price]]) -> None:
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
    write_prices(run, item, row, prices.get(row.pk, []))
