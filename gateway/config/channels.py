"""Writing the section `channels`: where news goes. Addresses and secrets are read, never written out."""

from typing import Any

from django.core.exceptions import ValidationError
from django.utils.translation import gettext as _

from accounts.addresses import clean_addresses
from accounts.channel_rules import clean_url
from accounts.models import NotificationChannel
from gateway.config.rows import Run, identity_of
from gateway.config.schema import Item
from gateway.config.shapes import CHANNEL, columns
from providers.encryption import Undecryptable

CHANNEL_COLUMNS = columns(CHANNEL)
_EMAIL = NotificationChannel.Kind.EMAIL


def write_channels(run: Run, items: list[Item]) -> None:
    """Write the channels. An address or a secret that the file leaves out is kept; null removes a secret."""
    for item in items:
        team = None if item.is_broken else run.reference(item, "team", "team")
        if team is None:
            run.refuse(item)
            continue
        row: NotificationChannel = run.rows["channel"].get(item.identity) or NotificationChannel()
        values = run.plain_values(item, row, CHANNEL_COLUMNS) | team
        if "recipients" in item.values:
            recipients = item.values["recipients"]
            try:
                values["recipients"] = clean_addresses("\n".join(recipients))
            except ValidationError as error:
                run.refuse(item, *(("recipients", message) for message in error.messages))
                continue
        if not _add_address(run, item, row, values) or not _add_secret(run, item, row, values):
            continue
        hidden = {
            "encrypted_url": _("url changed"),
            "url_host": "",
            "encrypted_secret": _("secret changed"),
            "secret_last_four": "",
        }
        run.write(item, row, values, {**CHANNEL_COLUMNS, "recipients": "recipients"}, hidden=hidden)


def _add_address(run: Run, item: Item, row: NotificationChannel, values: dict[str, Any]) -> bool:
    """Add the address to `values` if it is another one; return whether it may stand."""
    kind = values.get("kind", row.kind)
    stored = _stored(row.url)
    url: str = item.values.get("url", stored)
    if kind == _EMAIL:
        if "url" in item.values:
            run.refuse(item, ("url", _("is not for e-mail, which has recipients")))
            return False
        url, host = "", ""
    else:
        try:
            allows_private = values.get("allow_private_network", row.allow_private_network)
            host = clean_url(url, allows_private=allows_private) if url else ""
        except ValidationError as error:
            run.refuse(item, *(("url", message) for message in error.messages))
            return False
    if url != stored or (row.encrypted_url and kind == _EMAIL):
        fresh = NotificationChannel()
        fresh.set_url(url, host)
        values |= {"encrypted_url": fresh.encrypted_url, "url_host": fresh.url_host}
    return True


def _add_secret(run: Run, item: Item, row: NotificationChannel, values: dict[str, Any]) -> bool:
    """Add the secret to `values` if it is another one; return whether it may stand."""
    if "secret" not in item.values:
        return True
    secret: str = item.values["secret"] or ""
    if item.values["secret"] is not None and not (secret and all("!" <= character <= "~" for character in secret)):
        run.refuse(item, ("secret", _("must consist of printable ASCII characters without spaces")))
        return False
    if secret != _stored(row.secret):
        fresh = NotificationChannel()
        fresh.set_secret(secret)
        values |= {"encrypted_secret": fresh.encrypted_secret, "secret_last_four": fresh.secret_last_four}
    return True


def _stored(read: Any) -> str:
    try:
        return str(read())
    except Undecryptable:
        return ""


def exported_channels() -> list[dict[str, Any]]:
    """Return the channels as a file states them, without addresses and secrets."""
    entries = []
    for row in NotificationChannel.objects.select_related("team"):
        entry: dict[str, Any] = {}
        for field, column in CHANNEL_COLUMNS.items():
            value = getattr(row, column)
            if field in ("name", "kind") or value != getattr(NotificationChannel(), column):
                entry[field] = value
        if row.recipients:
            entry["recipients"] = row.recipients.split()
        if row.team is not None:
            entry["team"] = identity_of(row.team)
        entries.append(entry)
    return entries
