"""Django settings. The only file that reads the environment.

Every secret may also be given as `NAME_FILE`, a path whose content is the value (Docker and Kubernetes secrets).
Values come from, in this order: the environment, `.env` beside `manage.py`, `secrets.env` in the data directory
(written by `scripts/serve` on first start).
"""

import contextlib
import socket
from pathlib import Path

import environ
from django.utils.translation import gettext_lazy as _

BASE_DIR = Path(__file__).resolve().parent.parent
env = environ.Env()
with contextlib.suppress(FileNotFoundError):
    env.read_env(BASE_DIR / ".env")
DATA_DIR = Path(env.str("WOLFGATE_DATA_DIR", default=str(BASE_DIR / "var"))).resolve()
DATA_DIR.mkdir(parents=True, exist_ok=True)
with contextlib.suppress(FileNotFoundError):
    env.read_env(DATA_DIR / "secrets.env")


def secret(name: str, default: str = "") -> str:
    """Return the secret `name`, or the content of the file that `name_FILE` names.

    Raises `OSError` when the named file cannot be read: a secret that was asked for must not be silently empty.
    """
    path = env.str(f"{name}_FILE", default="")
    if path:
        return Path(path).read_text(encoding="utf-8").strip()
    return str(env.str(name, default=default))


DEBUG = env.bool("DEBUG", default=False)
_development_only = "development-only-secret" if DEBUG else ""
SECRET_KEY = secret("SECRET_KEY", _development_only)
# HMAC key of the personal API keys. Changing it makes every issued key unknown.
KEY_PEPPER = secret("WOLFGATE_KEY_PEPPER", _development_only)
# Fernet keys of the provider credentials, comma separated; the first encrypts, all decrypt.
ENCRYPTION_KEYS = [
    key.strip()
    for key in secret(
        "WOLFGATE_ENCRYPTION_KEYS", "ZGV2ZWxvcG1lbnQtb25seS1zZWNyZXQtMDAwMDAwMDA=" if DEBUG else ""
    ).split(",")
    if key.strip()
]

HOST = env.str("HOST", default="127.0.0.1")
PORT = env.int("PORT", default=8000)
WORKERS = env.int("WORKERS", default=1)
ALLOWED_HOSTS = env.list(
    "ALLOWED_HOSTS",
    default=sorted({"localhost", "127.0.0.1", "[::1]", socket.gethostname().lower(), *({HOST} - {"0.0.0.0", "::"})}),
)
CSRF_TRUSTED_ORIGINS = env.list("CSRF_TRUSTED_ORIGINS", default=[])
# How the gateway is reached from outside, for the lines that users paste; empty: taken from HOST and PORT.
PUBLIC_URL = env.str("PUBLIC_URL", default="").rstrip("/")
# Addresses and networks of the proxies in front; their X-Forwarded-For and X-Forwarded-Proto are believed.
# The name that uvicorn has for it is read too.
TRUSTED_PROXIES = [
    entry.strip()
    for entry in env.list("TRUSTED_PROXIES", default=env.list("FORWARDED_ALLOW_IPS", default=[]))
    if entry.strip()
]
BEHIND_TLS = env.bool("BEHIND_TLS", default=PUBLIC_URL.startswith("https://"))
if BEHIND_TLS:
    SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")
    SECURE_HSTS_SECONDS = env.int("SECURE_HSTS_SECONDS", default=3600)
    SECURE_SSL_REDIRECT = env.bool("SECURE_SSL_REDIRECT", default=True)
    # Whether all subdomains speak TLS, for all time, is not for one service among them to decide.
    SILENCED_SYSTEM_CHECKS = ["security.W005", "security.W021"]
    # The health checks of a load balancer and the API arrive in clear from inside.
    SECURE_REDIRECT_EXEMPT = [r"^healthz$", r"^readyz$"]
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = BEHIND_TLS

INSTALLED_APPS = [
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "providers",
    "routing",
    "accounts",
    "gateway",
]
# Of the admin and the management API only: the other API paths have a light handler of their own (gateway/asgi.py) and
# see none of it.
MIDDLEWARE = [
    "gateway.manage.errors.JsonErrors",
    "django.middleware.security.SecurityMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.locale.LocaleMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "gateway.audit_trail.AuditTrail",
    "gateway.locale_of_user.LocaleOfUser",
    "gateway.first_login.ForcePasswordChange",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
]
ROOT_URLCONF = "gateway.urls"
ASGI_APPLICATION = "gateway.asgi.application"
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ]
        },
    }
]

DATABASES = {"default": env.db_url("DATABASE_URL", default=f"sqlite:///{DATA_DIR / 'wolfgate.sqlite3'}")}
_database = DATABASES["default"]
# A persistent connection belongs to a thread, and under ASGI threads come and go: the pool keeps connections instead.
_database.setdefault("CONN_MAX_AGE", 0)
if _database["ENGINE"] == "django.db.backends.sqlite3":
    # IMMEDIATE: a transaction that will write takes the lock at its start, so two workers wait instead of failing.
    _database["OPTIONS"] = {
        "transaction_mode": "IMMEDIATE",
        "timeout": 20,
        "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL; PRAGMA foreign_keys=ON",
    }
    # Tests use a file too: databases in memory lock whole tables between threads, which no file does.
    _database["TEST"] = {"NAME": str(DATA_DIR / "test.sqlite3")}
elif _database["ENGINE"] == "django.db.backends.postgresql":
    _database.setdefault("OPTIONS", {}).update(
        pool={"min_size": 0, "max_size": env.int("DATABASE_POOL_SIZE", default=6), "timeout": 3},
        connect_timeout=3,
    )
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

AUTH_USER_MODEL = "accounts.User"
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": "django.contrib.auth.password_validation.UserAttributeSimilarityValidator"},
    {"NAME": "django.contrib.auth.password_validation.MinimumLengthValidator", "OPTIONS": {"min_length": 8}},
    {"NAME": "django.contrib.auth.password_validation.CommonPasswordValidator"},
    {"NAME": "django.contrib.auth.password_validation.NumericPasswordValidator"},
    {"NAME": "gateway.first_login.NotTheOldPassword"},
]
LOGIN_URL = "admin:login"
SESSION_COOKIE_AGE = 7 * 24 * 3600

LANGUAGE_CODE = "en"
LANGUAGES = [("en", _("English")), ("zh-hans", _("Simplified Chinese"))]
LOCALE_PATHS = [BASE_DIR / "locale"]
USE_I18N = True
USE_TZ = True
TIME_ZONE = env.str("TIME_ZONE", default="UTC")

STATIC_URL = "static/"
STATIC_ROOT = Path(env.str("STATIC_ROOT", default=str(DATA_DIR / "static")))
STORAGES = {
    "default": {"BACKEND": "django.core.files.storage.FileSystemStorage"},
    "staticfiles": {"BACKEND": "whitenoise.storage.CompressedStaticFilesStorage"},
}

# The API bounds its own bodies (32 MiB, answered in the caller's wire format); this is the admin's backstop.
DATA_UPLOAD_MAX_MEMORY_SIZE = 34 * 1024 * 1024
MAX_BODY_BYTES = 32 * 1024 * 1024
# Where the scheduled export of each month goes.
EXPORT_DIR = Path(env.str("WOLFGATE_EXPORT_DIR", default=str(DATA_DIR / "exports")))
# How long open streams may go on after SIGTERM.
DRAIN_TIMEOUT_S = env.float("DRAIN_TIMEOUT_S", default=30.0)

# What `manage.py bootstrap` sets up on an empty database.
BOOTSTRAP = {
    "superuser": {
        "username": env.str("DJANGO_SUPERUSER_USERNAME", default="admin"),
        "password": secret("DJANGO_SUPERUSER_PASSWORD"),
        "email": env.str("DJANGO_SUPERUSER_EMAIL", default=""),
    },
    "dashscope": {
        "api_key": secret("DASHSCOPE_API_KEY"),
        "base_url": env.str("DASHSCOPE_BASE_URL", default=""),
    },
    "openrouter": {
        "api_key": secret("OPENROUTER_API_KEY"),
        "base_url": env.str("OPENROUTER_BASE_URL", default=""),
    },
    "siliconflow": {
        "api_key": secret("SILICONFLOW_API_KEY"),
        "base_url": env.str("SILICONFLOW_BASE_URL", default=""),
    },
    "openai_compatible": {
        "api_key": secret("OPENAI_API_KEY"),
        "base_url": env.str("OPENAI_BASE_URL", default=""),
    },
    "anthropic_compatible": {
        "api_key": secret("ANTHROPIC_UPSTREAM_API_KEY"),
        "base_url": env.str("ANTHROPIC_UPSTREAM_BASE_URL", default=""),
    },
    "ollama": {"api_key": "", "base_url": env.str("OLLAMA_BASE_URL", default="")},
    "lmstudio": {"api_key": "", "base_url": env.str("LMSTUDIO_BASE_URL", default="")},
}

# The mail server, such as smtp+tls://user:password@mail.example:587. Without one no mail is sent.
_email_url = secret("EMAIL_URL")
MAIL_IS_SET_UP = bool(_email_url)
_email = env.email_url_config(_email_url or "dummymail://")
EMAIL_BACKEND = _email["EMAIL_BACKEND"]
EMAIL_HOST = _email["EMAIL_HOST"]
EMAIL_HOST_USER, EMAIL_HOST_PASSWORD = _email["EMAIL_HOST_USER"], _email["EMAIL_HOST_PASSWORD"]
EMAIL_USE_TLS, EMAIL_USE_SSL = _email.get("EMAIL_USE_TLS", False), _email.get("EMAIL_USE_SSL", False)
EMAIL_PORT = _email["EMAIL_PORT"] or (465 if EMAIL_USE_SSL else 587 if EMAIL_USE_TLS else 25)
EMAIL_FILE_PATH = _email["EMAIL_FILE_PATH"]
EMAIL_TIMEOUT = env.int("EMAIL_TIMEOUT", default=10)
# Many servers accept a sender only if it is who logged in.
DEFAULT_FROM_EMAIL = env.str(
    "DEFAULT_FROM_EMAIL",
    default=EMAIL_HOST_USER if "@" in (EMAIL_HOST_USER or "") else f"wolfgate@{socket.gethostname().lower()}",
)

LOG_LEVEL = env.str("LOG_LEVEL", default="INFO").upper()
LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "filters": {"call": {"()": "gateway.log_context.AddRequestId"}},
    "formatters": {
        "line": {
            "format": "{asctime} {levelname} {name} [{request_id}] {message}",
            "style": "{",
        }
    },
    "handlers": {"console": {"class": "logging.StreamHandler", "formatter": "line", "filters": ["call"]}},
    "root": {"handlers": ["console"], "level": LOG_LEVEL if LOG_LEVEL != "DEBUG" else "INFO"},
    "loggers": {
        **{name: {"level": LOG_LEVEL} for name in ("gateway", "providers", "routing", "accounts")},
        # A line for each upstream request, beside our own for each call.
        "httpx": {"level": "WARNING"},
    },
}
