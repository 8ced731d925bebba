"""The private-network guard, at its two moments: addresses as written, and names as they resolve."""

import asyncio
import socket
from typing import Any

import aiohttp.abc
import pytest

from providers.network import GuardedResolver, PrivateAddress, is_private, is_private_url

PRIVATE = [
    "127.0.0.1", "127.9.9.9", "10.1.2.3", "172.16.0.1", "192.168.0.1", "169.254.169.254", "100.64.0.1", "0.0.0.0",
    "198.18.0.1", "224.0.0.1", "255.255.255.255", "::1", "::", "fe80::1", "fe80::1%eth0", "fc00::1", "ff02::1",
    "::ffff:10.0.0.1", "::ffff:127.0.0.1", "64:ff9b::7f00:1", "2002:7f00:1::",
]  # fmt: skip
PUBLIC = ["1.1.1.1", "8.8.8.8", "2606:4700::1111", "::ffff:8.8.8.8", "64:ff9b::808:808"]


@pytest.mark.parametrize("address", PRIVATE)
def test_private_address(address: str) -> None:
    assert is_private(address)


@pytest.mark.parametrize("address", PUBLIC)
def test_public_address(address: str) -> None:
    assert not is_private(address)


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("http://127.0.0.1:1/v1", True),
        ("http://[::1]/v1", True),
        ("http://LOCALHOST./v1", True),
        ("http://api.localhost/v1", True),
        ("http://2130706433/", True),
        ("http://0x7f.1/", True),
        ("http://127.1/", True),
        ("http://example.com/", False),
        ("http://8.8.8.8/", False),
        ("http://intern/", False),  # a name: judged when it resolves
    ],
)
def test_private_url(url: str, expected: bool) -> None:
    assert is_private_url(url) is expected


class Names(aiohttp.abc.AbstractResolver):
    """A name server with one answer."""

    def __init__(self, *addresses: str) -> None:
        self.addresses = addresses

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[aiohttp.abc.ResolveResult]:
        return [
            {"hostname": host, "host": address, "port": port, "family": family, "proto": 0, "flags": 0}
            for address in self.addresses
        ]

    async def close(self) -> None: ...


def resolve(*addresses: str) -> list[Any]:
    return [found["host"] for found in asyncio.run(GuardedResolver(Names(*addresses)).resolve("name.example", 443))]


def test_name_with_only_private_addresses_is_refused() -> None:
    with pytest.raises(PrivateAddress, match=r"name\.example"):
        resolve("10.0.0.1", "127.0.0.1")


def test_private_addresses_of_a_mixed_name_are_left_out() -> None:
    assert resolve("10.0.0.1", "1.1.1.1") == ["1.1.1.1"]


def test_name_without_addresses_stays_without() -> None:
    assert resolve() == []
