"""Networks that a key may be used from, and the address of a client behind proxies."""

import pytest
from django.core.exceptions import ValidationError
from django.test import TestCase

from accounts import keys
from accounts.errors import AddressNotAllowed, KeyInvalid
from accounts.models import CallRecord
from accounts.networks import clean_networks, contain, forwarded_for, read_address, site_of
from tests.accounts.books import admit, person


def test_networks_are_brought_into_their_shortest_form_once_each() -> None:
    typed = ["10.1.2.3/16", " 10.1.0.0/255.255.0.0", "192.0.2.7/32", "2001:DB8:0::/48", "::ffff:10.1.0.0/112", "::1"]
    assert clean_networks(typed) == ["10.1.0.0/16", "192.0.2.7", "2001:db8::/48", "::1"]


@pytest.mark.parametrize(
    "text", ["", "10.0.0", "10.0.0.0/33", "example.com", "10.0.0.1-10.0.0.9", "x" * 10_000, "１.2.3.4"]
)
def test_what_is_no_network_is_named(text: str) -> None:
    with pytest.raises(ValidationError) as caught:
        clean_networks(["10.0.0.0/8", text])
    assert text[:60] in caught.value.messages[0]
    assert len(caught.value.messages[0]) < 200


def test_every_fault_is_named() -> None:
    with pytest.raises(ValidationError) as caught:
        clean_networks(["a", "10.0.0.1", "b"])
    assert len(caught.value.messages) == 2


@pytest.mark.parametrize(
    ("address", "is_in"),
    [
        ("10.1.255.1", True),
        ("10.2.0.1", False),
        ("::ffff:10.1.0.1", True),
        ("2001:db8::9", True),
        ("2001:db9::9", False),
        ("fe80::1%eth0", False),
    ],
)
def test_containment_knows_both_families(address: str, is_in: bool) -> None:
    parsed = read_address(address)
    assert parsed is not None
    assert contain(("10.1.0.0/16", "2001:db8::/32"), parsed) is is_in


def test_stored_nonsense_allows_nobody() -> None:
    address = read_address("10.0.0.1")
    assert address is not None
    assert not contain(("nonsense",), address)


PROXIES = ("10.0.0.0/24", "2001:db8:ffff::1")


@pytest.mark.parametrize(
    ("peer", "forwarded", "trusted", "expected"),
    [
        ("203.0.113.9", ["198.51.100.1"], (), "203.0.113.9"),
        ("203.0.113.9", ["198.51.100.1"], PROXIES, "203.0.113.9"),
        ("10.0.0.2", [], PROXIES, "10.0.0.2"),
        ("10.0.0.2", ["198.51.100.1"], PROXIES, "198.51.100.1"),
        ("10.0.0.2", ["1.1.1.1, 198.51.100.1"], PROXIES, "198.51.100.1"),
        ("10.0.0.2", ["1.1.1.1, 198.51.100.1, 10.0.0.7"], PROXIES, "198.51.100.1"),
        ("10.0.0.2", ["1.1.1.1", "198.51.100.1", "2001:db8:ffff::1"], PROXIES, "198.51.100.1"),
        ("10.0.0.2", ["10.0.0.9, 10.0.0.7"], PROXIES, "10.0.0.9"),
        ("10.0.0.2", ["198.51.100.1:4711"], PROXIES, "198.51.100.1"),
        ("10.0.0.2", ["[2001:db8::5]:4711, ,"], PROXIES, "2001:db8::5"),
        ("10.0.0.2", ["198.51.100.1, unknown"], PROXIES, ""),
        ("::ffff:10.0.0.2", ["::ffff:198.51.100.1"], PROXIES, "198.51.100.1"),
        ("", ["198.51.100.1"], PROXIES, ""),
        ("/run/gateway.sock", ["198.51.100.1"], PROXIES, ""),
    ],
)
def test_the_client_is_the_first_from_the_right_that_is_no_proxy(
    peer: str, forwarded: list[str], trusted: tuple[str, ...], expected: str
) -> None:
    assert forwarded_for(peer, forwarded, trusted) == expected


def test_a_site_is_a_24_or_a_48() -> None:
    assert site_of("203.0.113.9") == site_of("::ffff:203.0.113.200") == "203.0.113.0/24"
    assert site_of("2001:db8:1:2::3") == "2001:db8:1::/48"
    assert site_of("") == site_of("nonsense") == ""


class Admitting(TestCase):
    def setUp(self) -> None:
        _key, self.secret = person(allowed_networks=["10.1.2.3/16", "2001:db8::/32"])

    def test_from_inside_the_call_is_admitted(self) -> None:
        for address in ("10.1.0.1", "2001:db8::1"):
            admit(self.secret, client_address=address)

    def test_from_outside_it_is_refused_and_nothing_is_booked(self) -> None:
        for books in (True, False):
            with pytest.raises(AddressNotAllowed, match=r"laptop may not be used from 203\.0\.113\.9"):
                admit(self.secret, client_address="203.0.113.9", books=books)
        with pytest.raises(AddressNotAllowed, match="cannot see from which address"):
            admit(self.secret)
        self.assertFalse(CallRecord.objects.exists())

    def test_another_credential_that_is_good_here_wins(self) -> None:
        _other, other = person("dev2")
        call = admit("", digests=(keys.digest(self.secret), keys.digest(other)), client_address="203.0.113.9")
        self.assertEqual(call.key_name, "dev2/laptop")

    def test_a_revoked_key_does_not_tell_its_networks(self) -> None:
        key, secret = person("dev3", allowed_networks=["10.0.0.1"])
        keys.revoke(key)
        with pytest.raises(KeyInvalid, match="revoked"):
            admit(secret, client_address="203.0.113.9")

    def test_a_key_with_wrong_networks_is_not_issued(self) -> None:
        for networks in (["10.0.0.0/99"], "10.0.0.1", [1], {"a": 1}):
            with self.assertRaises(ValidationError) as caught:
                person("dev4", allowed_networks=networks)
            self.assertEqual(list(caught.exception.error_dict), ["allowed_networks"])
