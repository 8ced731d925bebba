"""Addresses of clients and the networks that a key may be used from."""

import contextlib
import functools
import ipaddress
from collections.abc import Iterable, Sequence

from django.core.exceptions import ValidationError
from django.utils.translation import gettext_lazy as _

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network

MAX_NETWORKS = 200
# What one site has, as far as an address tells: providers give out no longer prefixes.
_SITE_PREFIX = {4: 24, 6: 48}


def read_address(text: str) -> Address | None:
    """Return the address in `text`, None if there is none. IPv4 inside IPv6 is IPv4; a zone (`%eth0`) is left out."""
    try:
        address = ipaddress.ip_address(text.strip().partition("%")[0])
    except ValueError:
        return None
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return mapped or address


def read_network(text: str) -> Network:
    """Return the network in `text`, an address being a network of one; bits beyond the prefix are dropped.

    Raises `ValidationError`.
    """
    try:
        network = ipaddress.ip_network(text.strip(), strict=False)
    except ValueError:
        message = _("“%(text)s” is neither an address nor a network such as 10.1.0.0/16 or 2001:db8::/32.")
        raise ValidationError(message, params={"text": text[:60]}) from None
    mapped = network.network_address.ipv4_mapped if isinstance(network, ipaddress.IPv6Network) else None
    if mapped is not None and network.prefixlen >= 96:
        return ipaddress.IPv4Network((mapped, network.prefixlen - 96))
    return network


def clean_networks(texts: Iterable[str]) -> list[str]:
    """Return the networks in their shortest form, each once. Raises `ValidationError` with all that are none."""
    found: dict[str, None] = {}
    faults: list[ValidationError] = []
    for text in texts:
        try:
            network = read_network(text)
        except ValidationError as error:
            faults.append(error)
            continue
        is_one = network.prefixlen == network.max_prefixlen
        found[str(network.network_address) if is_one else str(network)] = None
    if faults:
        raise ValidationError(faults[:10])
    if len(found) > MAX_NETWORKS:
        raise ValidationError(_("Up to %(limit)d networks are possible."), params={"limit": MAX_NETWORKS})
    return list(found)


@functools.lru_cache(maxsize=1024)
def _networks(texts: tuple[str, ...]) -> tuple[Network, ...]:
    found: list[Network] = []
    for text in texts:
        # Forms and files are checked; of anything else the safe reading is that it allows, and trusts, nobody.
        with contextlib.suppress(ValueError):
            found.append(ipaddress.ip_network(text, strict=False))
    return tuple(found)


def contain(networks: tuple[str, ...], address: Address) -> bool:
    """Return whether `address` is in one of `networks`, in the form that `clean_networks` returns."""
    return any(address in network for network in _networks(networks))


@functools.lru_cache(maxsize=8192)
def site_of(text: str) -> str:
    """Return the network of the site that an address belongs to, "" if `text` is no address."""
    address = read_address(text)
    if address is None:
        return ""
    return str(ipaddress.ip_network((address, _SITE_PREFIX[address.version]), strict=False))


def forwarded_for(peer: str, forwarded: Sequence[str], trusted: tuple[str, ...]) -> str:
    """Return the address of the client whose request came from `peer` with these `X-Forwarded-For` headers.

    Everybody can send the header, and each proxy adds the address that it saw at the right end. So it counts only if
    `peer` is a trusted proxy, and then from the right, to the first address that is none. "" where no address is known.
    """
    address = read_address(peer)
    if address is None:
        return ""
    if trusted and contain(trusted, address):
        for entry in reversed([entry for header in forwarded for entry in header.split(",") if entry.strip()]):
            found = read_address(_without_port(entry.strip()))
            if found is None:
                return ""  # what stands further left was not written by a proxy of ours
            address = found
            if not contain(trusted, address):
                break
    return str(address)


def _without_port(entry: str) -> str:
    """Return the address of `1.2.3.4:5`, `[::1]:5` and the like, as some proxies write them."""
    if entry.startswith("["):
        return entry[1:].partition("]")[0]
    return entry.partition(":")[0] if entry.count(":") == 1 else entry
