"""System checks: every combination of settings that would go wrong later says so at the start, with a hint.

gateway.E001  SECRET_KEY is missing
gateway.E002  the key pepper is missing
gateway.E003  the encryption keys are missing or unusable
gateway.E004  database connections are kept per thread
gateway.E005  GZipMiddleware would break streams
gateway.E006  several workers on SQLite
gateway.E007  the body limit of Django is below the API's
gateway.E008  an unknown time zone
gateway.E009  trusted proxies that are no addresses, or everybody
gateway.W001  one key serves two purposes
gateway.W002  transactions around requests hold a connection through a stream
gateway.W003  mails are set up, and go nowhere
gateway.I001  no mail server (with --deploy only)
"""

import ipaddress
import zoneinfo
from collections.abc import Sequence
from typing import Any

from cryptography.fernet import Fernet
from django.conf import settings
from django.core import checks
from django.core.checks import CheckMessage, Error, register
from django.core.exceptions import ImproperlyConfigured


def _secret_key() -> str:
    try:
        return str(settings.SECRET_KEY)
    except ImproperlyConfigured:
        return ""


@register()
def secrets_are_set(app_configs: Any, **_kwargs: Any) -> Sequence[CheckMessage]:
    """Find missing and unusable secrets."""
    found: list[CheckMessage] = []
    hint = "Set {0} or {0}_FILE; scripts/serve makes one in the data directory by itself."
    if not _secret_key():
        found.append(Error("SECRET_KEY is not set.", hint=hint.format("SECRET_KEY"), id="gateway.E001"))
    if not settings.KEY_PEPPER:
        found.append(
            Error("The pepper of the API keys is not set.", hint=hint.format("WOLFGATE_KEY_PEPPER"), id="gateway.E002")
        )
    elif _secret_key() == settings.KEY_PEPPER and not settings.DEBUG:
        found.append(
            checks.Warning(
                "WOLFGATE_KEY_PEPPER equals SECRET_KEY.",
                hint="Use different values: changing SECRET_KEY must not make every API key unknown.",
                id="gateway.W001",
            )
        )
    found += _encryption_keys()
    return found


def _encryption_keys() -> list[CheckMessage]:
    if not settings.ENCRYPTION_KEYS:
        return [
            Error(
                "The encryption keys of the provider credentials are not set.",
                hint="Set WOLFGATE_ENCRYPTION_KEYS or WOLFGATE_ENCRYPTION_KEYS_FILE to one or more Fernet keys.",
                id="gateway.E003",
            )
        ]
    for position, key in enumerate(settings.ENCRYPTION_KEYS, 1):
        try:
            Fernet(key)
        except ValueError:
            return [
                Error(
                    f"Encryption key number {position} is not a Fernet key.",
                    hint='Make one with python -c "from cryptography.fernet import Fernet;'
                    ' print(Fernet.generate_key().decode())".',
                    id="gateway.E003",
                )
            ]
    return []


@register()
def proxies_are_known(app_configs: Any, **_kwargs: Any) -> Sequence[CheckMessage]:
    """Find entries of TRUSTED_PROXIES that trust nobody or everybody."""
    found: list[CheckMessage] = []
    for entry in settings.TRUSTED_PROXIES:
        try:
            network = ipaddress.ip_network(entry)
        except ValueError as error:
            text, hint = (
                f"TRUSTED_PROXIES holds {entry!r}: {error}.",
                "Write addresses or networks, such as 10.0.0.2,10.1.0.0/24.",
            )
        else:
            if network.prefixlen > 0:
                continue
            text = f"TRUSTED_PROXIES holds {entry!r}, which is everybody: each client could choose its own address."
            hint = "Name the addresses of your proxies."
        found.append(Error(text, hint=hint, id="gateway.E009"))
    return found


@register()
def streams_are_safe(app_configs: Any, **_kwargs: Any) -> Sequence[CheckMessage]:
    """Find settings under which streams lose data or hold resources."""
    found: list[CheckMessage] = []
    database = settings.DATABASES["default"]
    if database.get("CONN_MAX_AGE") != 0:
        found.append(
            Error(
                "CONN_MAX_AGE is not 0: under ASGI each thread would keep a connection of its own.",
                hint="Remove conn_max_age from DATABASE_URL; PostgreSQL is pooled (DATABASE_POOL_SIZE).",
                id="gateway.E004",
            )
        )
    if "django.middleware.gzip.GZipMiddleware" in settings.MIDDLEWARE:
        found.append(
            Error(
                "GZipMiddleware compresses each piece of a stream by itself, and clients lose all but the first.",
                hint="Remove it; let a proxy compress the pages of the admin.",
                id="gateway.E005",
            )
        )
    if settings.WORKERS > 1 and database["ENGINE"] == "django.db.backends.sqlite3":
        found.append(
            Error(
                f"{settings.WORKERS} workers cannot share SQLite.",
                hint="Set DATABASE_URL to a PostgreSQL server, or WORKERS=1.",
                id="gateway.E006",
            )
        )
    if settings.DATA_UPLOAD_MAX_MEMORY_SIZE is not None and (
        settings.DATA_UPLOAD_MAX_MEMORY_SIZE < settings.MAX_BODY_BYTES
    ):
        found.append(
            Error(
                "DATA_UPLOAD_MAX_MEMORY_SIZE is below the API's limit: large requests would get a page of HTML.",
                hint="Leave it at its default.",
                id="gateway.E007",
            )
        )
    if database.get("ATOMIC_REQUESTS"):
        found.append(
            checks.Warning(
                "ATOMIC_REQUESTS holds a transaction through each page.",
                hint="Remove it; what must be atomic says so itself.",
                id="gateway.W002",
            )
        )
    try:
        zoneinfo.ZoneInfo(settings.TIME_ZONE)
    except (zoneinfo.ZoneInfoNotFoundError, ValueError):
        found.append(
            Error(f"TIME_ZONE {settings.TIME_ZONE!r} is unknown.", hint="Use a name such as UTC.", id="gateway.E008")
        )
    return found


_NOWHERE = ("console", "dummy", "locmem")


@register()
def mails_arrive(app_configs: Any, **_kwargs: Any) -> Sequence[CheckMessage]:
    """Find a mail server that is none."""
    backend = settings.EMAIL_BACKEND.split(".")[-2]
    if not settings.MAIL_IS_SET_UP or settings.DEBUG or backend not in _NOWHERE:
        return []
    return [
        checks.Warning(
            f"EMAIL_URL sends mails to {backend}, where nobody reads them.",
            hint="Name a server, such as smtp+tls://user:password@mail.example:587, or leave it out.",
            id="gateway.W003",
        )
    ]


@register(deploy=True)
def mail_is_set_up(app_configs: Any, **_kwargs: Any) -> Sequence[CheckMessage]:
    """Say that nobody is mailed."""
    if settings.MAIL_IS_SET_UP:
        return []
    hint = "Set EMAIL_URL, such as smtp+tls://user:password@mail.example:587, and DEFAULT_FROM_EMAIL."
    return [
        checks.Info("No mail server is set up: e-mail channels and people get nothing.", hint=hint, id="gateway.I001")
    ]
