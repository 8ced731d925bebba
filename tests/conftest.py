"""What all tests share: how a test says that it needs something from outside."""

import importlib
import os
from typing import Any

import pytest
from django.conf import settings
from django.db import connection

AUDIT_GUARD = importlib.import_module("accounts.migrations.0004_roles_and_audit_guard")


def pytest_configure() -> None:
    # A good hash takes a quarter of a second, which no test is about.
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]


@pytest.fixture(scope="session")
def django_db_setup(django_db_setup: None, django_db_blocker: Any) -> None:
    """Take the guard of the audit log away: Django empties all tables between tests.

    `tests/accounts/test_audit_guard.py` puts it up for itself.
    """
    with django_db_blocker.unblock(), connection.cursor() as cursor:
        for statement in AUDIT_GUARD.UNGUARD[connection.vendor]:
            cursor.execute(statement)


def require(name: str, available: bool, reason: str) -> None:
    """Skip the test with `reason` unless `available`; fail instead when WOLFGATE_REQUIRE names `name`.

    WOLFGATE_REQUIRE is a comma separated list of marker names, set where a silent skip would hide a broken run.
    """
    if available:
        return
    if name in os.environ.get("WOLFGATE_REQUIRE", "").replace(" ", "").split(","):
        pytest.fail(f"{name} is required here, but: {reason}")
    pytest.skip(reason)
