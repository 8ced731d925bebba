"""Personal API keys: `wg_` and 43 url-safe characters, shown once, stored as prefix and keyed digest."""

import hmac
import secrets
from typing import Any

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured, ValidationError
from django.utils import timezone
from django.utils.translation import gettext as _

from accounts.models import ApiKey, User

MARK = "wg_"
PREFIX_LENGTH = 10
# A secret that a person brings along. Ours have 46 characters; shorter than this one can be guessed.
MINIMUM_LENGTH = 20


def new_secret() -> str:
    """Return a fresh secret with 256 bits of randomness."""
    return MARK + secrets.token_urlsafe(32)


def digest(secret: str) -> str:
    """Return the HMAC-SHA-256 of `secret` under the pepper, as 64 hex digits.

    A keyed digest, not a password hash: the secret is random, and each call of the API computes one. Any text a
    header can hold is taken. Raises `ImproperlyConfigured` without a pepper.
    """
    if not settings.KEY_PEPPER:
        raise ImproperlyConfigured("WOLFGATE_KEY_PEPPER is empty; API keys can be neither issued nor checked.")
    return hmac.digest(settings.KEY_PEPPER.encode(), secret.encode(errors="surrogatepass"), "sha256").hex()


def prefix(secret: str) -> str:
    """Return the first characters, by which people tell keys apart."""
    return secret[:PREFIX_LENGTH]


def validate_secret(secret: str) -> None:
    """Raise `ValidationError` unless `secret` may serve as a key. The message does not repeat it."""
    if not secret.startswith(MARK):
        raise ValidationError(_("A key starts with %(mark)s."), params={"mark": MARK})
    if len(secret) < MINIMUM_LENGTH:
        raise ValidationError(_("A key has at least %(count)s characters."), params={"count": MINIMUM_LENGTH})
    # Printable ASCII without the space: what an HTTP header carries unchanged.
    if not all("!" <= character <= "~" for character in secret):
        raise ValidationError(_("A key consists of printable ASCII characters without spaces."))


def assign(key: ApiKey, secret: str) -> None:
    """Put `secret` into the row; the caller validates and saves."""
    key.prefix = prefix(secret)
    key.digest = digest(secret)


def issue(user: User, name: str, *, secret: str | None = None, **fields: Any) -> tuple[ApiKey, str]:
    """Create a key and return it with its secret, which cannot be had again.

    `fields` are those of `ApiKey`. Raises `ValidationError` for an unsuitable secret or field.
    """
    if secret is None:
        secret = new_secret()
    else:
        validate_secret(secret)
    key = ApiKey(user=user, name=name, **fields)
    assign(key, secret)
    key.full_clean()
    key.save()
    return key, secret


def revoke(key: ApiKey) -> None:
    """Refuse `key` from the next call on. The row stays, for the books name it."""
    if key.is_active or key.revoked_at is None:
        key.is_active = False
        key.revoked_at = key.revoked_at or timezone.now()
        key.save(update_fields=["is_active", "revoked_at"])
