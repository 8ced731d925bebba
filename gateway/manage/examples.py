"""What a body of each operation may look like, for its document."""

from typing import Any

_CREDENTIAL = {"name": "default", "secret": "sk-…"}
_PRICE = {"currency": "USD", "input": "3", "output": "15", "cache_read": "0.3", "cache_write": "3.75"}

# By the id of the operation.
BODIES: dict[str, dict[str, Any]] = {
    "create_user": {
        "username": "zhang.wei",
        "email": "zhang.wei@example.com",
        "team": "Platform",
        "roles": ["member"],
        "language": "zh-hans",
        "time_zone": "Asia/Shanghai",
    },
    "change_user": {"team": "Search", "active": True},
    "create_team": {"name": "Platform", "cost_center": "4711", "parent": "Engineering", "lead": "li.na"},
    "change_team": {"cost_center": "4712"},
    "issue_key": {
        "user": "zhang.wei",
        "name": "laptop",
        "expires_in_days": 180,
        "allowed_models": ["main/*"],
        "allowed_networks": ["10.1.0.0/16"],
        "requests_per_minute": 60,
    },
    "change_key": {"max_concurrency": 4, "note": "For the nightly build"},
    "rotate_key": {"grace_hours": 24},
    "extend_key": {"days": 180},
    "create_quota": {"team": "Platform", "unit": "cost", "window": "month", "limit": "500", "currency": "USD"},
    "change_quota": {"limit": "750", "action": "warn"},
    "grant_raise": {"amount": "100", "ends_at": "2027-01-01T00:00:00+08:00", "reason": "Launch"},
    "add_price": {"model": "main/big", **_PRICE, "valid_from": "2027-01-01T00:00:00+08:00"},
    "price_unpriced_calls": {"model": "main/big", "since": "2026-11-01", "dry_run": True},
    "add_rate": {"from": "USD", "to": "CNY", "rate": "7.1", "valid_from": "2027-01-01", "note": "Central bank"},
    "add_correction": {
        "key": "zhang.wei/laptop",
        "corrects_on": "2026-11-15",
        "platform": "main",
        "model": "big",
        "cost": "-1.25",
        "currency": "USD",
        "reason": "Credit note 17 of the platform",
    },
    "close_month": {"month": "2026-11", "note": "Checked against the invoices"},
    "create_platform": {
        "name": "main",
        "kind": "openai_compatible",
        "base_url": "https://api.example.com/v1",
        "credentials": [_CREDENTIAL],
        "timeouts_s": {"first_event": 60, "idle": 300},
    },
    "change_platform": {"enabled": False},
    "add_credential": _CREDENTIAL,
    "change_credential": {"position": 1, "enabled": True},
    "try_platform": {"chat": True, "model": "big"},
    "try_all_platforms": {"chat": False},
    "add_model": {
        "platform": "main",
        "model_id": "big",
        "context_window": 200_000,
        "capabilities": ["tools", "vision"],
    },
    "change_model": {"max_output_tokens": 32_000},
    "refresh_models": {"platform": "main"},
    "put_routing": {
        "routes": [{"name": "everyday", "order": "priority", "targets": ["main/big", "backup/big"]}],
        "policies": [{"name": "default", "mode": "direct", "route": "everyday"}],
    },
    "change_mode": {"mode": "smart"},
    "change_policy": {"mode": "direct", "route": "everyday"},
    "change_route": {"targets": ["main/big", "backup/big"]},
    "change_scene": {"route": "everyday"},
    "change_settings": {"capture": "metadata"},
    "clear_records": {"older_than_days": 30},
}


def with_examples(document: dict[str, Any]) -> dict[str, Any]:
    """Return the OpenAPI document with an example beside the schema of each body."""
    for operations in document["paths"].values():
        for operation in operations.values():
            example = BODIES.get(operation["operationId"])
            if example is not None:
                operation["requestBody"]["content"]["application/json"]["example"] = example
    return document
