"""What all tests share: how a test says that it needs something from outside."""

import os
from typing import Any

import pytest
from django.conf import settings
from django.db import connection


def pytest_configure() -> None:
    # A good hash takes a quarter of a second, which no test is about.
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]


@pytest.fixture(scope="session")
def django_db_setup(django_db_setup: None, django_db_blocker: Any) -> None:
    """Take the guard of the audit log away on SQLite, where Django empties tables with DELETE between tests.

    `tests/accounts/test_audit_guard.py` puts it up for itself.
    """
    if connection.vendor == "sqlite":
        with django_db_blocker.unblock(), connection.cursor() as cursor:
            cursor.execute("DROP TRIGGER accounts_auditentry_no_update")
            cursor.execute("DROP TRIGGER accounts_auditentry_no_delete")


def require(name: str, available: bool, reason: str) -> None:
    """Skip the test with `reason` unless `available`; fail instead when WOLFGATE_REQUIRE names `name`.

    WOLFGATE_REQUIRE is a comma separated list of marker names, set where a silent skip would hide a broken run.
    """
    if available:
        return
    if name in os.environ.get("WOLFGATE_REQUIRE", "").replace(" ", "").split(","):
        pytest.fail(f"{name} is required here, but: {reason}")
    pytest.skip(reason)
