"""Encryption of provider credentials at rest: Fernet, with key rotation.

`ENCRYPTION_KEYS` holds one or more Fernet keys; the first encrypts, all decrypt. To rotate, put a new key first,
run `manage.py rotate_encryption`, then remove the old one.
"""

from functools import lru_cache

from cryptography.fernet import Fernet, InvalidToken, MultiFernet
from django.conf import settings
from django.core.exceptions import ImproperlyConfigured


class Undecryptable(Exception):
    """A stored credential was encrypted with a key that is no longer configured."""


@lru_cache(maxsize=4)
def _cipher(keys: tuple[str, ...]) -> MultiFernet:
    if not keys:
        raise ImproperlyConfigured("WOLFGATE_ENCRYPTION_KEYS is empty; provider credentials cannot be stored.")
    try:
        return MultiFernet([Fernet(key) for key in keys])
    except ValueError as error:
        raise ImproperlyConfigured("WOLFGATE_ENCRYPTION_KEYS holds a value that is not a Fernet key.") from error


def encrypt(secret: str) -> str:
    """Return `secret` encrypted with the first key, as text."""
    return _cipher(tuple(settings.ENCRYPTION_KEYS)).encrypt(secret.encode()).decode()


def decrypt(token: str) -> str:
    """Return the secret behind `token`. Raises `Undecryptable` when no configured key fits."""
    try:
        return _cipher(tuple(settings.ENCRYPTION_KEYS)).decrypt(token.encode()).decode()
    except InvalidToken as error:
        raise Undecryptable("no configured encryption key fits this credential") from error


def reencrypt(token: str) -> str:
    """Return `token` encrypted anew with the first key. Raises `Undecryptable`."""
    try:
        return _cipher(tuple(settings.ENCRYPTION_KEYS)).rotate(token.encode()).decode()
    except InvalidToken as error:
        raise Undecryptable("no configured encryption key fits this credential") from error
