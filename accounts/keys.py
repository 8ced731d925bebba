"""Personal API keys: `wg_` and 43 url-safe characters, shown once, stored as prefix and keyed digest."""

import hmac
import secrets
from datetime import datetime, timedelta
from typing import Any

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured, ValidationError
from django.db import transaction
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
        if ApiKey.objects.filter(previous_digest=digest(secret)).exists():
            raise ValidationError(_("Another key had this secret before it was rotated."))
    key = ApiKey(user=user, name=name, **fields)
    assign(key, secret)
    key.full_clean()
    key.save()
    return key, secret


def is_ended(key: ApiKey, now: datetime) -> bool:
    """Return whether the key is past its end."""
    return key.expires_at is not None and key.expires_at <= now


def rotate(key: ApiKey, grace: timedelta, *, instead_of: str | None = None) -> str:
    """Give `key` a new secret and return it; the former one is good for `grace` longer.

    Quotas, use and history are the row's and stay. A secret that an earlier rotation left behind ends. With
    `instead_of`, a digest, only that secret is replaced: a form that is sent twice must not end the secret which its
    first answer showed. Raises `ValidationError` for a key that would not work, and where another secret is in force.
    """
    now, secret = timezone.now(), new_secret()
    with transaction.atomic():
        row = ApiKey.objects.select_for_update().get(pk=key.pk)
        if not row.is_active or row.revoked_at is not None:
            raise ValidationError(_("The key %(key)s is revoked; activate it first."), params={"key": key})
        if is_ended(row, now):
            raise ValidationError(_("The key %(key)s has expired; extend it first."), params={"key": key})
        if instead_of is not None and row.prefix != instead_of:
            raise ValidationError(_("The key %(key)s was given a new secret meanwhile."), params={"key": key})
        changed = {
            "previous_prefix": row.prefix,
            "previous_digest": row.digest,
            "previous_expires_at": now + grace,
            "prefix": prefix(secret),
            "digest": digest(secret),
        }
        for name, value in changed.items():
            setattr(key, name, value)
        key.save(update_fields=list(changed))
    return secret


def revoke(key: ApiKey) -> None:
    """Refuse `key` from the next call on, with its former secret. The row stays, for the books name it."""
    now = timezone.now()
    if key.is_active or key.revoked_at is None:
        key.is_active = False
        key.revoked_at = key.revoked_at or now
        key.save(update_fields=["is_active", "revoked_at"])
    # Should the key be activated again, its former secret must not come back with it.
    if ApiKey.objects.filter(pk=key.pk, previous_expires_at__gt=now).update(previous_expires_at=now):
        key.previous_expires_at = now
