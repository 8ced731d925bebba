"""Rows and items for the tests of the books."""

import uuid
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from accounts import keys
from accounts.ids import new_call_id
from accounts.ledger import admit_batch, settle_batch
from accounts.ledger_items import Admission, Admitted, Settlement
from accounts.models import ApiKey, Quota, Team, User
from providers.target import PriceList, Target, Timeouts
from providers.translation.dialect import Dialect
from providers.translation.usage import Usage
from routing.snapshot import PolicySnapshot, RouteSnapshot, SettingsSnapshot, Snapshot

NOW = datetime(2026, 11, 23, 10, 11, 12, tzinfo=UTC)
PRICE = PriceList("USD", Decimal(3), Decimal(15), Decimal("0.3"), Decimal("3.75"), "price")


def target(name: str = "main/big", **fields: Any) -> Target:
    provider, _, model = name.partition("/")
    values: dict[str, Any] = {
        "provider_name": provider,
        "kind": "openai_compatible",
        "wire_format": "openai",
        "base_url": "http://127.0.0.1:9/v1",
        "secrets": (),
        "model_id": model,
        "timeouts": Timeouts(1, 1, 1, 1),
        "dialect": Dialect(),
        "price": PRICE,
    }
    return Target(**(values | fields))


def snapshot(*targets: Target, settings: SettingsSnapshot | None = None) -> Snapshot:
    all_targets = targets or (target(),)
    route = RouteSnapshot("everyday", tuple(each.name for each in all_targets))
    policy = PolicySnapshot(1, "default", "direct", route, "", None)
    return Snapshot(
        1, {each.name: each for each in all_targets}, (), {1: policy}, policy, settings or SettingsSnapshot()
    )


def person(name: str = "dev1", team: Team | None = None, key_name: str = "laptop", **key: Any) -> tuple[ApiKey, str]:
    user, _ = User.objects.get_or_create(username=name, defaults={"team": team})
    return keys.issue(user, key_name, **key)


def admission(secret: str, **fields: Any) -> Admission:
    values: dict[str, Any] = {
        "call_id": new_call_id(),
        "digests": (keys.digest(secret),),
        "books": True,
        "requested_model": "claude-opus-5-5",
        "input_tokens_estimate": 100,
        "max_output_tokens": 50,
    }
    return Admission(**(values | fields))


def admit(secret: str, *, now: datetime = NOW, view: Snapshot | None = None, **fields: Any) -> Admitted:
    (result,) = admit_batch([admission(secret, **fields)], view or snapshot(), now)
    if isinstance(result, Exception):
        raise result
    return result


def settlement(call_id: uuid.UUID, **fields: Any) -> Settlement:
    values: dict[str, Any] = {
        "call_id": call_id,
        "status": "ok",
        "ended_at": NOW,
        "usage": Usage(input_tokens=80, output_tokens=20),
        "cost": Decimal("0.00054"),
        "currency": "USD",
        "cost_source": "price",
        "provider_name": "main",
        "model_name": "big",
    }
    return Settlement(**(values | fields))


def settle(call: Admitted, view: Snapshot | None = None, **fields: Any) -> int:
    return settle_batch([settlement(call.call_id, **fields)], view or snapshot())


def quota(subject: ApiKey | User | Team, unit: str, window: str, limit: Any, **fields: Any) -> Quota:
    name = {ApiKey: "key", User: "user", Team: "team"}[type(subject)]
    return Quota.objects.create(**{name: subject}, unit=unit, window=window, limit=Decimal(limit), **fields)
