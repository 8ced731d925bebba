"""Whether platforms answer: the connection test of one, and of all."""

import time
from typing import Any

from ninja import Router, Schema
from pydantic import Field

from accounts import audit
from accounts.models import AuditEntry
from gateway.manage.auth import Caller
from gateway.manage.errors import invalid
from gateway.manage.operations import Body, Text, operation
from gateway.manage.writing import find_to_change
from providers import catalog
from providers.models import Model, Provider
from providers.target import ANY_MODEL

router = Router(tags=["platforms"])
# Of all platforms together; each of them has 10 s per request (providers/platform_calls.py).
_TEST_ALL_S = 120.0


class Test(Body):
    """How to test."""

    chat: bool = Field(False, description="Ask also for a word, which costs a few tokens.")
    model: Text | None = Field(None, description="Which model to ask; absent: the first enabled one.")


class TestOut(Schema):
    """What a test found."""

    id: int
    platform: str
    ok: bool
    reachable: bool
    authenticated: bool
    models: int | None
    chat_ok: bool | None = Field(description="Null: no chat was tried.")
    latency_ms: int
    message: str


class TestAllOut(Schema):
    """What the tests found, platform by platform."""

    items: list[TestOut]


@operation(
    router,
    "POST",
    "/{int:pk}/test",
    "providers.change_provider",
    summary="Test the connection to a platform",
    description="A platform that fails is an answer, not an error.",
    answer=TestOut,
    is_atomic=False,
)
def try_platform(caller: Caller, pk: int, data: Test | None = None) -> TestOut:
    data = data or Test(chat=False, model=None)
    provider = find_to_change(caller, Provider.objects.all(), pk=pk)
    chat_model = ""
    if data.chat or data.model is not None:
        chat_model = _chat_model(provider, data.model)
        if not chat_model:
            raise invalid(model="there is no such enabled model; refresh the list of models first")
    return _test(provider, chat_model)


@operation(
    router,
    "POST",
    "/test",
    "providers.change_provider",
    summary="Test the connections to all enabled platforms",
    description="One that fails does not stop the others. Those that no time is left for are said to be untested.",
    answer=TestAllOut,
    is_atomic=False,
)
def try_all_platforms(caller: Caller, data: Test | None = None) -> TestAllOut:
    data = data or Test(chat=False, model=None)
    if data.model is not None:
        raise invalid(model="is for the test of one platform")
    end = time.monotonic() + _TEST_ALL_S
    found = []
    for provider in Provider.objects.filter(is_enabled=True).order_by("name"):
        chat_model = _chat_model(provider, None) if data.chat else ""
        if time.monotonic() > end:
            found.append(_failed(provider, "Not tested: there was no time left."))
        elif data.chat and not chat_model:
            found.append(_failed(provider, "It has no enabled model; refresh the list of models first."))
        else:
            found.append(_test(provider, chat_model))
    return TestAllOut(items=found)


def _chat_model(provider: Provider, wanted: str | None) -> str:
    rows: Any = Model.objects.filter(provider=provider, is_enabled=True, missing_since__isnull=True)
    rows = rows.exclude(model_id=ANY_MODEL) if wanted is None else rows.filter(model_id=wanted)
    return rows.order_by("model_id").values_list("model_id", flat=True).first() or ""


def _test(provider: Provider, chat_model: str) -> TestOut:
    result = catalog.test_connection(provider, chat_model=chat_model)
    audit.record(AuditEntry.Action.OTHER, provider, note=f"Connection test: {result.message}"[:300])
    return TestOut(
        id=provider.pk,
        platform=provider.name,
        ok=result.reachable and result.authenticated and result.chat_ok is not False,
        reachable=result.reachable,
        authenticated=result.authenticated,
        models=result.model_count,
        chat_ok=result.chat_ok,
        latency_ms=round(result.latency_ms),
        message=result.message,
    )


def _failed(provider: Provider, message: str) -> TestOut:
    return TestOut(
        id=provider.pk,
        platform=provider.name,
        ok=False,
        reachable=False,
        authenticated=False,
        models=None,
        chat_ok=None,
        latency_ms=0,
        message=message,
    )
