"""What all tests share: how a test says that it needs something from outside."""

import os

import pytest
from django.conf import settings


def pytest_configure() -> None:
    # A good hash takes a quarter of a second, which no test is about.
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]


def require(name: str, available: bool, reason: str) -> None:
    """Skip the test with `reason` unless `available`; fail instead when WOLFGATE_REQUIRE names `name`.

    WOLFGATE_REQUIRE is a comma separated list of marker names, set where a silent skip would hide a broken run.
    """
    if available:
        return
    if name in os.environ.get("WOLFGATE_REQUIRE", "").replace(" ", "").split(","):
        pytest.fail(f"{name} is required here, but: {reason}")
    pytest.skip(reason)
