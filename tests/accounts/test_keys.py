"""Keys: their form, what is stored of them, and what a secret brought along must be like."""

import re
from datetime import UTC, datetime

import pytest
from django.core.exceptions import ImproperlyConfigured, ValidationError
from django.test import TestCase

from accounts import keys
from accounts.models import User


def test_a_new_secret_has_the_mark_and_43_url_safe_characters() -> None:
    assert re.fullmatch(r"wg_[A-Za-z0-9_-]{43}", keys.new_secret())
    assert keys.new_secret() != keys.new_secret()


def test_the_digest_is_hmac_sha256_under_the_pepper(settings: object) -> None:
    settings.KEY_PEPPER = "key"  # type: ignore[attr-defined]
    # The well-known example of HMAC-SHA-256 (Wikipedia, "HMAC", examples).
    assert (
        keys.digest("The quick brown fox jumps over the lazy dog")
        == "f7bc83f430538424b13298e6aa6fb143ef4d59a14946175997479dbc2d1a3cd8"
    )
    settings.KEY_PEPPER = "other"  # type: ignore[attr-defined]
    assert not keys.digest("The quick brown fox jumps over the lazy dog").startswith("f7bc")


def test_anything_a_header_can_hold_has_a_digest() -> None:
    for secret in ("", "ключ", "\udcff", "x" * 100_000):
        assert re.fullmatch(r"[0-9a-f]{64}", keys.digest(secret))


def test_without_a_pepper_there_is_no_digest(settings: object) -> None:
    settings.KEY_PEPPER = ""  # type: ignore[attr-defined]
    with pytest.raises(ImproperlyConfigured):
        keys.digest("wg_x")


@pytest.mark.parametrize(
    ("secret", "is_suitable"),
    [
        ("wg_conformance0123456789abcdefghijklmnopqrstuv", True),
        ("wg_" + "a" * 17, True),
        ("wg_" + "a" * 16, False),
        ("sk-conformance0123456789", False),
        ("wg_with a space 0123456789", False),
        ("wg_with_a_newline_01234\n", False),
        ("wg_schlüssel_0123456789abc", False),
        ("", False),
    ],
)
def test_a_secret_brought_along_is_long_printable_and_marked(secret: str, is_suitable: bool) -> None:
    if is_suitable:
        keys.validate_secret(secret)
        return
    with pytest.raises(ValidationError) as caught:
        keys.validate_secret(secret)
    assert not secret or secret not in str(caught.value)


class IssueTest(TestCase):
    def setUp(self) -> None:
        self.user = User.objects.create(username="dev1")

    def test_an_issued_key_stores_prefix_and_digest_and_never_the_secret(self) -> None:
        expires_at = datetime(2030, 1, 1, tzinfo=UTC)
        key, secret = keys.issue(self.user, "laptop", note="mine", expires_at=expires_at)
        key.refresh_from_db()
        self.assertEqual((key.prefix, key.digest), (secret[:10], keys.digest(secret)))
        self.assertEqual((key.note, key.expires_at, key.is_active), ("mine", expires_at, True))
        self.assertFalse(any(secret in str(value) for value in vars(key).values()))

    def test_a_given_secret_is_used_and_one_that_is_taken_is_refused(self) -> None:
        given = "wg_0123456789abcdefghij"
        self.assertEqual(keys.issue(self.user, "a", secret=given)[1], given)
        with self.assertRaises(ValidationError):
            keys.issue(self.user, "b", secret=given)

    def test_a_name_is_given_once_per_person(self) -> None:
        keys.issue(self.user, "laptop")
        with self.assertRaises(ValidationError):
            keys.issue(self.user, "laptop")
        keys.issue(User.objects.create(username="dev2"), "laptop")

    def test_revoking_twice_keeps_the_first_time(self) -> None:
        key, _secret = keys.issue(self.user, "laptop")
        keys.revoke(key)
        key.refresh_from_db()
        first = key.revoked_at
        self.assertFalse(key.is_active)
        self.assertIsNotNone(first)
        keys.revoke(key)
        key.refresh_from_db()
        self.assertEqual(key.revoked_at, first)
