"""Which of the secrets that a client presents is good here and now: the rule of every door."""

from collections.abc import Mapping, Sequence
from datetime import datetime

from accounts import networks
from accounts.errors import AddressNotAllowed, KeyInvalid
from accounts.ledger_rows import KeyRow


def usable_key(digests: Sequence[str], client_address: str, keys: Mapping[str, KeyRow], now: datetime) -> KeyRow:
    """Return the first usable key among those presented; `keys` are those that exist, by digest.

    Raises `AddressNotAllowed` if one is good but for the place, else `KeyInvalid` for the most telling reason.
    """
    elsewhere: KeyRow | None = None
    reason = "This API key is unknown to the gateway. Check that it was copied whole."
    for digest in digests:
        key = keys.get(digest)
        if key is None:
            continue
        if not key.is_active or key.revoked_at is not None:
            reason = f"The API key {key.name} was revoked. Ask your administrator for a new one."
        elif key.expires_at is not None and key.expires_at <= now:
            reason = f"The API key {key.name} expired at {key.expires_at:%Y-%m-%d %H:%M} UTC. Ask for a new one."
        elif key.former_ends_at is not None and key.former_ends_at <= now:
            reason = f"The API key {key.name} was given a new secret, and this one no longer works. Use the new one."
        elif not key.user_is_active:
            reason = f"The account {key.username} is deactivated. Ask your administrator."
        elif key.allowed_networks and not _is_at(key.allowed_networks, client_address):
            elsewhere = elsewhere or key
        else:
            return key
    if elsewhere is not None:
        raise AddressNotAllowed(elsewhere.name, client_address)
    if not digests:
        reason = "No API key was sent. Set ANTHROPIC_AUTH_TOKEN, or send the header Authorization: Bearer or x-api-key."
    raise KeyInvalid(reason)


def _is_at(allowed: tuple[str, ...], client_address: str) -> bool:
    address = networks.read_address(client_address)
    return address is not None and networks.contain(allowed, address)
