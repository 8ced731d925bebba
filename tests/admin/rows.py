"""Rows of every table, `count` of each, for the pages to list."""

import json
import uuid
import zlib
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

from django.contrib.auth.models import Group

from accounts import keys
from accounts.models import (
    ApiKey,
    Attempt,
    AuditEntry,
    CallRecord,
    ClosedMonth,
    Correction,
    ExchangeRate,
    Invoice,
    InvoiceLine,
    KeyHandover,
    KeyNetwork,
    MonthlyExport,
    Notification,
    NotificationChannel,
    Quota,
    QuotaRaise,
    QuotaWindow,
    Team,
    UsageDaily,
    User,
    Worker,
)
from gateway.models import Capture
from providers.models import Credential, Model, Price, Provider
from routing.models import (
    ClassifierEntry,
    KindRule,
    ModelAlias,
    Policy,
    RequestKind,
    Route,
    RouteEntry,
    Scene,
    SceneRule,
    StickySession,
    TargetHealth,
    TrainedScorer,
)

NOW = datetime(2026, 1, 15, 12, 0, tzinfo=UTC)
SCRIPT = "<script>alert(1)</script>"
# Of the form of a policy, what a browser sends without anybody's doing.
POLICY_FIELDS = {
    "stickiness": "turn",
    "session_idle_minutes": "30",
    "min_confidence": "0.6",
    "classifier_timeout_ms": "1500",
    "classifier_entries-TOTAL_FORMS": "0",
    "classifier_entries-INITIAL_FORMS": "0",
    "kind_rules-TOTAL_FORMS": "0",
    "kind_rules-INITIAL_FORMS": "0",
}


def stage(body: str | None = None, **fields: Any) -> bytes:
    """Return a stage of a capture as gateway/capture.py writes it."""
    document = {"headers": {}, "bytes": len(body or ""), **fields}
    if body is not None:
        document["body"] = body
        document.setdefault("truncated", False)
    return zlib.compress(json.dumps(document).encode())


def make_call(key: ApiKey, **fields: Any) -> CallRecord:
    """Write a settled call of `key`, with `fields` instead of the defaults."""
    values: dict[str, Any] = {
        "id": uuid.uuid4(),
        "key": key,
        "user": key.user,
        "team": key.user.team,
        "requested_model": "claude-sonnet-4-5",
        "status": CallRecord.Status.OK,
        "http_status": 200,
        "started_at": NOW,
        "settled_at": NOW,
    }
    return CallRecord.objects.create(**{**values, **fields})


def make_key(user: User, name: str, **fields: Any) -> ApiKey:
    """Issue a key whose secret nobody needs."""
    return keys.issue(user, name, **fields)[0]


def make_rows(count: int, text: str = "text") -> None:
    """Write `count` rows of every table; `text` is in each column that takes any text."""
    start = Provider.objects.count()
    Worker.objects.create(host=text, pid=start + 1)
    for number in range(start, start + count):
        provider = Provider.objects.create(
            name=f"provider{number}",
            kind=Provider.Kind.OPENAI_COMPATIBLE,
            base_url="https://example.com/v1",
            flags={"note": text},
            check_result=text,
        )
        credential = Credential(provider=provider, name=text)
        credential.set_secret("sk-0123456789abcdef")
        credential.save()
        model = Model.objects.create(provider=provider, model_id=f"{text}{number}", display_name=text)
        for price in (Decimal(1), Decimal(2)):
            Price.objects.create(
                model=model, currency="USD", input_per_million=price, output_per_million=price, valid_from=NOW
            )
        ExchangeRate.objects.create(
            from_currency="USD",
            to_currency="CNY",
            rate=Decimal("7.1"),
            # In force for nobody yet: only such a rate may be deleted.
            valid_from=date(2999, 1, 1) + timedelta(days=number),
            note=text[:200],
        )
        route = Route.objects.create(name=f"route{number}")
        RouteEntry.objects.create(route=route, model=model)
        scene = Scene.objects.create(name=f"{text}{number}", description=text * 3, examples=[text], route=route)
        policy = Policy.objects.create(name=f"policy{number}", route=route, reference_model=model)
        policy.scenes.add(scene)
        SceneRule.objects.create(scene=scene, keywords=[text], pattern="x")
        KindRule.objects.create(policy=policy, kind=RequestKind.TITLE, action=KindRule.Action.SCENE, scene=scene)
        TrainedScorer.objects.create(fingerprint=f"{number}", weights=b"", report={"scenes": [text]})
        TargetHealth.objects.create(
            provider_name=provider.name, model_name=text, error_kind="timeout", message=text, failed_at=NOW, failures=1
        )
        StickySession.objects.create(
            key=f"{number}", policy_name=policy.name, scene_name=text, target_name=text, used_at=NOW
        )
        ClassifierEntry.objects.create(policy=policy, model=model)
        ModelAlias.objects.create(pattern=f"{text}{number}", model=model)
        Group.objects.create(name=f"{text}{number}")
        team = Team.objects.create(name=f"{text}{number}", cost_center=text, policy=policy)
        user = User.objects.create(username=f"{text}{number}", email=text, first_name=text, team=team, policy=policy)
        key = make_key(user, f"key{number}", policy=policy, note=text, allowed_models=[text])
        KeyNetwork.objects.create(key=key, network=text[:50], first_seen_at=NOW, last_seen_at=NOW)
        quotas = [
            Quota.objects.create(**subject, unit=Quota.Unit.COST, window=Quota.Window.DAY, limit=Decimal("12.5"))
            for subject in ({"team": team}, {"user": user}, {"key": key})
        ]
        for quota in quotas:
            QuotaWindow.objects.create(quota=quota, starts_at=NOW, ends_at=NOW + timedelta(days=1), used=Decimal(1))
            QuotaRaise.objects.create(
                quota=quota,
                amount=Decimal("7.5"),
                reason=text,
                granted_by=user,
                starts_at=NOW,
                ends_at=NOW + timedelta(days=1),
            )
        call = make_call(
            key,
            started_at=NOW - timedelta(minutes=number),
            requested_model=text,
            session_id=text,
            agent_id=text,
            user_agent=text,
            policy_name=policy.name,
            route_name=route.name,
            scene_name=f"{text}{number}"[:50],
            provider_name=provider.name,
            model_name=text,
            decision={"why": text},
            dropped_fields=[text],
            error_kind=text[:30],
            error_message=text,
            stop_reason=text,
            upstream_request_id=text,
            cost=Decimal("0.0012"),
            currency="USD",
        )
        Attempt.objects.create(
            call=call,
            position=0,
            provider_name=provider.name,
            credential_name=text,
            model_name=text,
            outcome=text[:30],
            message=text,
            started_at=NOW,
            duration_ms=5,
        )
        UsageDaily.objects.create(
            date=NOW.date(),
            key=key,
            user=user,
            team=team,
            provider_name=provider.name,
            model_name=text,
            scene_name=text,
            kind="main",
            currency="USD",
            cost=Decimal("0.5"),
        )
        Capture.objects.create(
            call=call,
            client_request=stage(json.dumps({"prompt": text}), method="POST", url=f"/v1/messages?{text}"),
            upstream_request=stage(text, headers={"x-note": text}),
            upstream_response=stage(f"event: {text}\ndata: {text}\n\n", status=200),
            client_response=stage(None),
            expires_at=NOW,
        )
        _make_afterwards(number, text, call)


def _make_afterwards(number: int, text: str, call: CallRecord) -> None:
    """Write a row of each table that is about the books, or about who changed what."""
    key, user, team = call.key, call.user, call.team
    month = date(2000 + number // 12, number % 12 + 1, 1)
    AuditEntry.objects.create(
        actor=user,
        actor_name=text,
        via=AuditEntry.Via.ADMIN,
        action=AuditEntry.Action.CHANGE,
        object_type="accounts.apikey",
        object_id=str(key.pk),
        object_name=text,
        changes={"note": ["", text]},
        note=text,
    )
    KeyHandover.objects.create(key=key, token_digest=f"{number}", created_by=user, expires_at=NOW)
    Correction.objects.create(
        call=call,
        key=key,
        user=user,
        team=team,
        provider_name=text,
        model_name=text,
        cost=Decimal("0.5"),
        currency="USD",
        reason=text,
        corrects_on=NOW.date(),
        booked_on=NOW.date(),
        made_by=user,
    )
    ClosedMonth.objects.create(month=month, note=text, closed_by=user)
    MonthlyExport.objects.create(month=month, files=[text], recipients=[text], error=text, started_at=NOW)
    invoice = Invoice.objects.create(
        provider_name=text, currency="USD", file_name=text, sha256=f"{number}", note=text, uploaded_by=user
    )
    InvoiceLine.objects.create(invoice=invoice, date=NOW.date(), model_name=text, amount=Decimal("0.5"))
    channel = NotificationChannel.objects.create(
        name=f"{text}{number}", kind=NotificationChannel.Kind.EMAIL, recipients=text, url_host=text, team=team
    )
    Notification.objects.create(
        channel=channel, event="quota", occasion=f"{number}", recipient=text, content={"text": text}, error=text
    )
