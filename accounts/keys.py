"""Personal API keys: `wg_` and 43 url-safe characters, shown once, stored as prefix and keyed digest."""

import hmac
import secrets
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured, ValidationError
from django.db import transaction
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import gettext_noop

from accounts import audit
from accounts.audit_values import stored_many
from accounts.models import ApiKey, KeyHandover, KeyNetwork, User

MARK = "wg_"
PREFIX_LENGTH = 10
# As the audit log says it.
ISSUED_TOGETHER = gettext_noop("Issued with others.")
ROTATED = gettext_noop("Rotated.")
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


def issue_all(users: Sequence[User], name: str, **fields: Any) -> list[tuple[ApiKey, str]]:
    """Create a key of this name for each of `users`, or none at all, and return them with their secrets.

    Raises `ValidationError` for an unsuitable field, and with everybody who is inactive or has such a key already.
    """
    sample = ApiKey(name=name, **fields)
    sample.clean_fields(exclude=["user", "prefix", "digest"])
    sample.clean()
    fields["allowed_networks"] = sample.allowed_networks
    faults = [_("%(user)s is not active.") % {"user": user} for user in users if not user.is_active]
    issued: list[tuple[ApiKey, str]] = []
    for user in users:
        key, secret = ApiKey(user=user, name=name, **fields), new_secret()
        assign(key, secret)
        issued.append((key, secret))
    with transaction.atomic():
        # The lock on the people keeps a second one from issuing the same between the look and the writing.
        list(
            User.objects.select_for_update(no_key=True)
            .filter(pk__in=[user.pk for user in users])
            .order_by("pk")
            .values("pk")
        )
        taken = set(ApiKey.objects.filter(user__in=users, name=name).values_list("user_id", flat=True))
        faults += [
            _("%(user)s already has a key called %(name)s.") % {"user": user, "name": name}
            for user in users
            if user.pk in taken
        ]
        if faults:
            raise ValidationError(_some(faults))
        rows = ApiKey.objects.bulk_create([key for key, _secret in issued], batch_size=500)
        audit.created(rows, ISSUED_TOGETHER if len(rows) > 1 else "")
    return issued


def _some(faults: list[str]) -> list[str]:
    """Return the first faults, and how many there are more."""
    limit = 20
    if len(faults) <= limit:
        return faults
    return [*faults[:limit], _("and %(count)d more") % {"count": len(faults) - limit}]


def is_ended(key: ApiKey, now: datetime) -> bool:
    """Return whether the key is past its end."""
    return key.expires_at is not None and key.expires_at <= now


def rotate(key: ApiKey, grace: timedelta, *, instead_of: str | None = None) -> str:
    """Give `key` a new secret and return it; the former one is good for `grace` longer. See `rotate_all`."""
    [(row, secret)] = rotate_all({key.pk: instead_of}, grace)
    for name in _ROTATED:
        setattr(key, name, getattr(row, name))
    return secret


_ROTATED = ["prefix", "digest", "previous_prefix", "previous_digest", "previous_expires_at"]


def rotate_all(instead_of: Mapping[int, str | None], grace: timedelta) -> list[tuple[ApiKey, str]]:
    """Give each of these keys a new secret, or none at all; the former ones are good for `grace` longer.

    Quotas, use and history are the row's and stay. A secret that an earlier rotation left behind ends. `instead_of`
    maps the key to the begin of the secret that is to be replaced (None: whichever it is): a form that is sent twice
    must not end the secrets which its first answer showed. Raises `ValidationError` with all keys that would not work,
    and those that have another secret.
    """
    now, faults = timezone.now(), []
    rotated: list[tuple[ApiKey, str]] = []
    with transaction.atomic():
        rows = ApiKey.objects.select_for_update(of=("self",), no_key=True).select_related("user").order_by("pk")
        for row in rows.filter(pk__in=list(instead_of)):
            expected = instead_of[row.pk]
            if not row.is_active or row.revoked_at is not None:
                faults.append(_("The key %(key)s is revoked; activate it first.") % {"key": row})
            elif is_ended(row, now):
                faults.append(_("The key %(key)s has expired; extend it first.") % {"key": row})
            elif expected is not None and row.prefix != expected:
                faults.append(_("The key %(key)s was given a new secret meanwhile.") % {"key": row})
            row.previous_prefix, row.previous_digest, row.previous_expires_at = row.prefix, row.digest, now + grace
            secret = new_secret()
            assign(row, secret)
            rotated.append((row, secret))
        if faults:
            raise ValidationError(_some(faults))
        before = stored_many(ApiKey, [row.pk for row, _secret in rotated])
        ApiKey.objects.bulk_update([row for row, _secret in rotated], _ROTATED, batch_size=100)
        audit.changed(ApiKey, before, ROTATED)
        _end_links((row.pk for row, _secret in rotated), now)
    return rotated


def _end_links(key_ids: Iterable[int], now: datetime) -> None:
    """End the one-time links (accounts/handovers.py) to the secrets that these keys had."""
    links = KeyHandover.objects.filter(key__in=list(key_ids)).exclude(encrypted_secret="")
    audit.update(links.filter(expires_at__gt=now), encrypted_secret="", expires_at=now)
    links.update(encrypted_secret="")


def clear_flag(key: ApiKey) -> str:
    """Take the flag off `key` and begin its count of networks anew; return what was counted, for the log."""
    with transaction.atomic():
        seen = KeyNetwork.objects.filter(key=key)
        networks = ", ".join(seen.order_by("-last_seen_at").values_list("network", flat=True)[:50])
        seen.delete()
        audit.update(ApiKey.objects.filter(pk=key.pk), flagged_at=None, flag_reason="")
    return networks


def revoke(key: ApiKey) -> None:
    """Refuse `key` from the next call on, with its former secret. The row stays, for the books name it."""
    now = timezone.now()
    if key.is_active or key.revoked_at is None:
        key.is_active = False
        key.revoked_at = key.revoked_at or now
        key.save(update_fields=["is_active", "revoked_at"])
    # Should the key be activated again, its former secret must not come back with it.
    if audit.update(ApiKey.objects.filter(pk=key.pk, previous_expires_at__gt=now), previous_expires_at=now):
        key.previous_expires_at = now
    _end_links([key.pk], now)
