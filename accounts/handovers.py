"""One-time links: a secret on its way to its owner, which the first who opens the link sees, and nobody after that.

The link carries a token, of which a digest is stored; the secret is stored encrypted, and only until it was shown, its
time was over, or the key was revoked or got another secret.
"""

import hashlib
import logging
import secrets
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db import transaction
from django.db.models import Q
from django.utils import timezone
from django.utils.translation import gettext_noop

from accounts import audit, keys
from accounts.models import ApiKey, AuditEntry, KeyHandover, User
from providers.encryption import Undecryptable, decrypt, encrypt

logger = logging.getLogger(__name__)

DEFAULT_LIFETIME = timedelta(days=7)
MAX_LIFETIME = timedelta(days=30)

# As the audit log says it.
WITHDRAWN = gettext_noop("Withdrawn.")


class Over(Exception):
    """The link was opened, its time is over, or its key is not what it was."""


class Unknown(Over):
    """There never was such a link."""


@dataclass(frozen=True, slots=True)
class Opened:
    """What the one who opens a link gets."""

    key: ApiKey
    secret: str


def digest(token: str) -> str:
    """Return the SHA-256 of a link's token as 64 hex digits; with 256 random bits it needs no pepper."""
    return hashlib.sha256(token.encode(errors="surrogatepass")).hexdigest()


def create(key: ApiKey, secret: str, created_by: User | None, lifetime: timedelta = DEFAULT_LIFETIME) -> str:
    """Put `secret` behind a link and return the link's token, which cannot be had again. See `create_all`."""
    [(_key, token)] = create_all([(key, secret)], created_by, lifetime)
    return token


def create_all(
    issued: Sequence[tuple[ApiKey, str]], created_by: User | None, lifetime: timedelta = DEFAULT_LIFETIME
) -> list[tuple[ApiKey, str]]:
    """Put each (key, secret) behind a link of its own and return each key with its token.

    Raises `ValueError` for a lifetime that is none, or longer than `MAX_LIFETIME`.
    """
    if not timedelta(0) < lifetime <= MAX_LIFETIME:
        raise ValueError(f"A link lives up to {MAX_LIFETIME.days} days, not {lifetime}.")
    expires_at = timezone.now() + lifetime
    made: list[tuple[ApiKey, str]] = []
    rows: list[KeyHandover] = []
    for key, secret in issued:
        token = secrets.token_urlsafe(32)
        rows.append(
            KeyHandover(
                key=key,
                token_digest=digest(token),
                encrypted_secret=encrypt(secret),
                created_by=created_by,
                expires_at=expires_at,
            )
        )
        made.append((key, token))
    with transaction.atomic():
        audit.created(KeyHandover.objects.bulk_create(rows, batch_size=500))
    return made


def is_open(handover: KeyHandover, now: datetime) -> bool:
    """Return whether the link still shows something. Reads the key and its owner."""
    key = handover.key
    return (
        bool(handover.encrypted_secret)
        and handover.opened_at is None
        and handover.expires_at > now
        and key.is_active
        and key.revoked_at is None
        and not keys.is_ended(key, now)
        and key.user.is_active
    )


def find(token: str, now: datetime) -> KeyHandover:
    """Return the link with `token`, without opening it. Raises `Unknown`, and `Over` for one that shows nothing."""
    row = KeyHandover.objects.select_related("key__user").filter(token_digest=digest(token)).first()
    if row is None:
        raise Unknown
    if not is_open(row, now):
        raise Over
    return row


def open_once(token: str, address: str) -> Opened:
    """Return the secret behind a link to the client at `address` and end the link. Raises `Unknown` and `Over`.

    Of two that open it together one gets the secret: the row is claimed by one conditional update.
    """
    now = timezone.now()
    with transaction.atomic():
        row = find(token, now)
        try:
            secret = decrypt(row.encrypted_secret)
        except Undecryptable:
            logger.error("The one-time link %s cannot be decrypted with the configured keys.", row.pk)
            raise Over from None
        # A secret that a file or a form replaced without telling us.
        if keys.digest(secret) != row.key.digest:
            raise Over
        unopened = KeyHandover.objects.filter(pk=row.pk, opened_at__isnull=True, expires_at__gt=now)
        if not unopened.exclude(encrypted_secret="").update(
            encrypted_secret="", opened_at=now, opened_from=address[:45]
        ):
            raise Over
        with audit.acting(audit.Actor("one-time link", AuditEntry.Via.SYSTEM, address=address)):
            audit.record(AuditEntry.Action.OTHER, row.key, note="The secret was shown behind its one-time link.")
    return Opened(row.key, secret)


def withdraw(handovers: Iterable[int]) -> int:
    """End the links with these ids that nobody opened, erase their secrets, and return how many there were."""
    now = timezone.now()
    unopened = KeyHandover.objects.filter(pk__in=list(handovers), opened_at__isnull=True, expires_at__gt=now)
    return len(audit.update(unopened.exclude(encrypted_secret=""), WITHDRAWN, encrypted_secret="", expires_at=now))


def purge(now: datetime) -> int:
    """Erase the secrets of the links that no longer show them; return how many. The rows stay, as a record."""
    over = Q(expires_at__lte=now) | Q(key__is_active=False) | Q(key__expires_at__lte=now)
    return KeyHandover.objects.filter(over).exclude(encrypted_secret="").update(encrypted_secret="")
