"""Rows behind every list, with secrets that no answer may hold."""

import json
import zlib
from datetime import timedelta
from decimal import Decimal
from typing import Any

from django.utils import timezone

from accounts.models import ApiKey, Attempt, CallRecord, Quota, UsageDaily
from gateway.models import Capture
from providers.models import Credential, Model, Price, Provider
from routing.models import Policy, Route, RouteEntry, RuntimeSettings, Scene
from tests.admin.rows import make_call

CREDENTIAL = "sk-very-secret-0123456789-wxyz"
HEADER = "header-secret-0123456789"
SEARCH = "search-secret-0123456789"


def make_platform(name: str = "main", **fields: Any) -> Provider:
    """Make a platform with a credential, two models and a price."""
    provider = Provider.objects.create(
        name=name,
        kind=Provider.Kind.OPENAI_COMPATIBLE,
        base_url="https://example.com/v1",
        extra_headers={"x-api-token": HEADER, "x-note": "shown"},
        **fields,
    )
    credential = Credential(provider=provider, name="default")
    credential.set_secret(CREDENTIAL)
    credential.save()
    for model_id in ("big", "small"):
        model = Model.objects.create(provider=provider, model_id=model_id)
        Price.objects.create(model=model, currency="USD", input_per_million=Decimal(3), output_per_million=Decimal(15))
    return provider


def make_routing(provider: Provider) -> Policy:
    """Make the default policy with a route, and a default scene."""
    route = Route.objects.create(name="everyday")
    for position, model in enumerate(provider.models.order_by("model_id")):
        RouteEntry.objects.create(route=route, model=model, position=position)
    Scene.objects.filter(is_default=True).update(is_default=False)
    Scene.objects.create(name="闲聊", description="Everything that is nothing else", route=route, is_default=True)
    Policy.objects.filter(is_default=True).update(is_default=False)
    return Policy.objects.create(name="office", route=route, mode=Policy.Mode.DIRECT, is_default=True)


def set_search_secret() -> None:
    """Store a search backend with its secret."""
    settings = RuntimeSettings.load()
    settings.search_kind, settings.search_url = "tavily", "https://search.example.com"
    settings.set_search_secret(SEARCH)
    settings.save()


def book(key: ApiKey, number: int = 0, **fields: Any) -> CallRecord:
    """Write a settled call with its attempt, its day and what was captured of it."""
    now = timezone.now() - timedelta(minutes=number)
    team = key.user.team
    call = make_call(
        key,
        **{
            "started_at": now,
            "settled_at": now,
            "booked_on": now.date(),
            "provider_name": "main",
            "model_name": "big",
            "scene_name": "闲聊",
            "session_id": "s1",
            "input_tokens": 100,
            "output_tokens": 10,
            "cost": Decimal("0.5"),
            "currency": "USD",
            "decision": {"why": "测试"},
            **fields,
        },
    )
    Attempt.objects.create(
        call=call,
        position=0,
        provider_name="main",
        credential_name="default",
        model_name="big",
        outcome="ok",
        started_at=now,
        duration_ms=5,
    )
    day, _is_new = UsageDaily.objects.get_or_create(
        date=now.date(),
        key=key,
        user=key.user,
        team=team,
        provider_name=call.provider_name,
        model_name=call.model_name,
        scene_name=call.scene_name,
        kind=call.kind,
        currency=call.currency,
    )
    day.calls += 1
    day.input_tokens += call.input_tokens
    day.output_tokens += call.output_tokens
    day.cost += call.cost or 0
    day.unpriced_calls += call.cost is None
    day.save()
    stage = {"headers": {"authorization": "***"}, "bytes": 9, "method": "POST", "body": "你好", "truncated": False}
    packed = zlib.compress(json.dumps(stage).encode())
    Capture.objects.create(
        call=call,
        client_request=packed,
        upstream_request=packed,
        upstream_response=packed,
        client_response=b"damaged",
        is_full=True,
        expires_at=now + timedelta(days=30),
    )
    return call


def make_quota(**fields: Any) -> Quota:
    """Make a quota of 100 tokens a day."""
    return Quota.objects.create(
        **{"unit": Quota.Unit.TOKENS, "window": Quota.Window.DAY, "limit": Decimal(100), **fields}
    )
