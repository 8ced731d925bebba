"""The private-network guard: an administrator's typo or a hostile name must not reach the machines around us.

A base URL may name a public host only, unless its provider allows private networks. Literal addresses are known
when the provider is saved; a name is judged by the addresses that the connection is about to use, so a name server
that changes its answer between check and use gains nothing.
"""

import ipaddress
import socket
from functools import lru_cache
from urllib.parse import urlsplit

import aiohttp.abc
from aiohttp.resolver import DefaultResolver

# The well-known prefix under which NAT64 gateways reach IPv4 addresses (RFC 6052).
_NAT64 = ipaddress.ip_network("64:ff9b::/96")


class PrivateAddress(OSError):
    """A name of a guarded provider leads to a private address."""


def is_private(address: str) -> bool:
    """Say whether `address` (a literal IP) is loopback, link-local (cloud metadata), else not public."""
    ip = ipaddress.ip_address(address.split("%", 1)[0])
    if isinstance(ip, ipaddress.IPv6Address):
        if ip.ipv4_mapped is not None:
            ip = ip.ipv4_mapped
        elif ip.sixtofour is not None:
            ip = ip.sixtofour
        elif ip in _NAT64:
            ip = ipaddress.IPv4Address(int(ip) & 0xFFFFFFFF)
    return not ip.is_global or ip.is_multicast


@lru_cache(maxsize=1024)
def is_private_url(url: str) -> bool:
    """Say whether the host in `url` is a private address as written; a name other than localhost is not."""
    host = (urlsplit(url).hostname or "").rstrip(".").lower()
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return is_private(host)
    except ValueError:
        pass
    try:
        # 2130706433, 0x7f.1 and 127.1 are addresses to the C library, which will be asked for them.
        return is_private(socket.inet_ntoa(socket.inet_aton(host)))
    except OSError:
        return False


class GuardedResolver(aiohttp.abc.AbstractResolver):
    """Resolve names to public addresses only. Raises `PrivateAddress` when a name has none."""

    def __init__(self, inner: aiohttp.abc.AbstractResolver | None = None) -> None:
        self._inner = inner or DefaultResolver()

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[aiohttp.abc.ResolveResult]:
        found = await self._inner.resolve(host, port, family)
        public = [result for result in found if not is_private(result["host"])]
        if found and not public:
            raise PrivateAddress(f"{host} is a private address; the provider must allow private networks")
        return public

    async def close(self) -> None:
        await self._inner.close()
