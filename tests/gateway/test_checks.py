"""Each wrong combination of settings is found, with a hint."""

from typing import Any

import pytest
from cryptography.fernet import Fernet
from django.conf import settings as real_settings

from gateway import checks

GOOD = {
    "DEBUG": False,
    "SECRET_KEY": "s" * 60,
    "KEY_PEPPER": "p" * 60,
    "ENCRYPTION_KEYS": [Fernet.generate_key().decode()],
    "MAIL_IS_SET_UP": True,
    "EMAIL_BACKEND": "django.core.mail.backends.smtp.EmailBackend",
}
SQLITE = {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:", "CONN_MAX_AGE": 0}
POSTGRES = {"ENGINE": "django.db.backends.postgresql", "NAME": "x", "CONN_MAX_AGE": 0}


class Settings:
    """The real settings, except for what a case changes. Django itself would act on some of the changes."""

    def __init__(self, **changes: Any) -> None:
        self.changes = {**GOOD, **changes}

    def __getattr__(self, name: str) -> Any:
        return self.changes[name] if name in self.changes else getattr(real_settings, name)


def found(monkeypatch: pytest.MonkeyPatch, **changes: Any) -> dict[str, str]:
    monkeypatch.setattr(checks, "settings", Settings(**changes))
    all_checks = (
        checks.secrets_are_set,
        checks.proxies_are_known,
        checks.streams_are_safe,
        checks.mails_arrive,
        checks.mail_is_set_up,
    )
    return {str(found.id): str(found.hint) for check in all_checks for found in check(None)}


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({}, set()),
        ({"SECRET_KEY": ""}, {"gateway.E001"}),
        ({"KEY_PEPPER": ""}, {"gateway.E002"}),
        ({"KEY_PEPPER": "s" * 60}, {"gateway.W001"}),
        ({"ENCRYPTION_KEYS": []}, {"gateway.E003"}),
        ({"ENCRYPTION_KEYS": [GOOD["ENCRYPTION_KEYS"][0], "no-key"]}, {"gateway.E003"}),
        ({"DATABASES": {"default": {**POSTGRES, "CONN_MAX_AGE": 600}}}, {"gateway.E004"}),
        ({"DATABASES": {"default": {**POSTGRES, "CONN_MAX_AGE": None}}}, {"gateway.E004"}),
        ({"MIDDLEWARE": ["django.middleware.gzip.GZipMiddleware"]}, {"gateway.E005"}),
        ({"DATABASES": {"default": SQLITE}, "WORKERS": 2}, {"gateway.E006"}),
        ({"DATABASES": {"default": POSTGRES}, "WORKERS": 2}, set()),
        ({"TIME_ZONE": "Nowhere/City"}, {"gateway.E008"}),
        ({"TRUSTED_PROXIES": ["10.0.0.2", "10.1.0.0/24", "::1"]}, set()),
        ({"TRUSTED_PROXIES": ["proxy.example.com"]}, {"gateway.E009"}),
        ({"TRUSTED_PROXIES": ["10.1.2.3/16"]}, {"gateway.E009"}),
        ({"TRUSTED_PROXIES": ["*"]}, {"gateway.E009"}),
        ({"TRUSTED_PROXIES": ["10.0.0.2", "0.0.0.0/0"]}, {"gateway.E009"}),
        ({"TRUSTED_PROXIES": ["::/0"]}, {"gateway.E009"}),
        ({"DATA_UPLOAD_MAX_MEMORY_SIZE": 2_500_000}, {"gateway.E007"}),
        ({"DATABASES": {"default": {**SQLITE, "ATOMIC_REQUESTS": True}}}, {"gateway.W002"}),
        ({"MAIL_IS_SET_UP": False}, {"gateway.I001"}),
        ({"EMAIL_BACKEND": "django.core.mail.backends.console.EmailBackend"}, {"gateway.W003"}),
        ({"EMAIL_BACKEND": "django.core.mail.backends.console.EmailBackend", "DEBUG": True}, set()),
    ],
)
def test_each_wrong_combination_is_found(
    settings: dict[str, Any], expected: set[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    hints = found(monkeypatch, **settings)
    assert set(hints) == expected
    assert all(hint and hint != "None" for hint in hints.values())
