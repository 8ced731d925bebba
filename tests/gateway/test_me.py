"""What callers learn of their quotas: `GET /v1/me`, headers of answers."""

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any
from unittest.mock import patch

from asgiref.sync import sync_to_async
from django.utils import timezone

from accounts.models import ApiKey, CallRecord, Quota, QuotaRaise, QuotaWindow, Team, UsageDaily, User
from gateway.api import PREFIXES
from routing.models import RuntimeSettings
from tests.fakes.transport import Reply, text_stream
from tests.gateway.case import GatewayCase, body

STATUS, RESET = "anthropic-ratelimit-unified-status", "anthropic-ratelimit-unified-reset"


class Me(GatewayCase):
    async def me(self, path: str = "/v1/me", **options: Any) -> Any:
        async with self.gateway() as gateway:
            return await gateway.client.get(path, **options)

    async def test_it_says_who_calls_and_what_is_used_of_every_quota(self) -> None:
        now = timezone.now()

        def make() -> None:
            RuntimeSettings.objects.update(business_time_zone="Asia/Shanghai")
            team = Team.objects.create(name="平台")
            User.objects.filter(pk=self.user.pk).update(team=team)
            ApiKey.objects.update(expires_at=datetime(2099, 1, 1, tzinfo=UTC), allowed_models=["up/*"])
            cost = Quota.objects.create(team=team, unit="cost", window="month", limit=Decimal("120.5"), currency="CNY")
            QuotaRaise.objects.create(
                quota=cost, amount=Decimal("9.5"), starts_at=now, ends_at=now + timedelta(hours=1)
            )
            QuotaWindow.objects.create(
                quota=cost,
                starts_at=now,
                ends_at=now + timedelta(days=9),
                used=Decimal("97.5"),
                reserved=Decimal("0.01"),
            )
            day = Quota.objects.create(user=self.user, unit="tokens", window="day", limit=10**12, action="warn")
            QuotaWindow.objects.create(quota=day, starts_at=now - timedelta(days=9), ends_at=now, used=7)
            Quota.objects.create(key=self.key, unit="requests", window="5h", limit=0)
            Quota.objects.create(key=self.key, unit="requests", window="total", limit=3, action="downgrade")
            other = User.objects.create(username="other")
            Quota.objects.create(user=other, unit="requests", window="day", limit=1)
            Quota.objects.create(user=self.user, unit="requests", window="day", limit=1, is_active=False)

        await sync_to_async(make)()
        response = await self.me()
        assert response.status_code == 200
        assert response.headers["cache-control"] == "no-store"
        document = response.json()
        quotas = document.pop("quotas")
        assert document.pop("usage")["month"]["calls"] == 0
        assert document == {
            "key": {"name": "laptop", "expires_at": "2099-01-01T00:00:00+00:00"},
            "user": {"name": "dev1"},
            "team": {"name": "平台"},
            "policy": "default",
            "allowed_models": ["up/*"],
            "time_zone": "Asia/Shanghai",
        }
        month, day, hours, total = quotas
        assert month == {
            "subject": "team 平台",
            "unit": "cost",
            "window": "month",
            "currency": "CNY",
            "action": "block",
            "limit": "130",
            "raised": "9.5",
            "used": "97.5",
            "reserved": "0.01",
            "used_percent": 75,
            "state": "warning",
            "starts_at": now.isoformat(),
            "resets_at": (now + timedelta(days=9)).isoformat(),
        }
        # The window that ended is over; today's began at midnight in Shanghai.
        assert (day["subject"], day["used"], day["limit"], day["action"]) == ("user dev1", "0", "1000000000000", "warn")
        assert day["starts_at"][11:] == "16:00:00+00:00"
        assert datetime.fromisoformat(day["resets_at"]) > now
        assert (hours["starts_at"], hours["resets_at"], hours["used_percent"]) == (None, None, 100)
        assert (day["state"], hours["state"]) == ("ok", "used_up")
        assert (total["starts_at"], total["resets_at"], total["currency"]) == (None, None, None)
        assert await CallRecord.objects.acount() == 0
        assert await QuotaWindow.objects.acount() == 2

    async def test_it_is_under_every_path_of_the_clients_and_takes_both_headers(self) -> None:
        async with self.gateway() as gateway:
            for prefix in PREFIXES:
                assert (await gateway.client.get(f"{prefix}me")).json()["user"] == {"name": "dev1"}
            del gateway.client.headers["authorization"]
            assert (await gateway.client.get("/v1/me", headers={"x-api-key": self.secret})).status_code == 200
            refused = await gateway.client.get("/v1/me", headers={"x-api-key": "wg_nobody"})
            assert (refused.status_code, refused.headers["x-should-retry"]) == (401, "false")
            assert refused.json()["error"]["type"] == "authentication_error"

    async def test_it_says_what_was_used_with_the_key_today_and_this_month(self) -> None:
        now = datetime(2026, 11, 30, 18, tzinfo=UTC)  # December in Shanghai

        def make() -> None:
            RuntimeSettings.objects.update(business_time_zone="Asia/Shanghai")
            other = ApiKey.objects.create(user=self.user, name="other", digest="d", prefix="wg_other")
            for key, day, currency, cost in (
                (self.key, date(2026, 12, 1), "USD", "0.25"),
                (self.key, date(2026, 12, 1), "CNY", "2"),
                (self.key, date(2026, 11, 30), "USD", "9"),
                (other, date(2026, 12, 1), "USD", "7"),
            ):
                UsageDaily.objects.create(
                    date=day, key=key, user=self.user, currency=currency, cost=Decimal(cost), calls=2, input_tokens=10
                )

        await sync_to_async(make)()
        with patch("django.utils.timezone.now", return_value=now):
            usage = (await self.me()).json()["usage"]
        assert usage["day"] == usage["month"]
        assert usage["day"]["since"] == "2026-12-01"
        assert (usage["day"]["calls"], usage["day"]["input_tokens"]) == (4, 20)
        assert usage["day"]["costs"] == {"CNY": "2", "USD": "0.25"}

    async def test_a_spent_quota_does_not_hide_itself(self) -> None:
        await Quota.objects.acreate(key=self.key, unit="requests", window="total", limit=1)
        async with self.gateway(Reply(text_stream())) as gateway:
            assert (await gateway.send()).status_code == 200
            assert (await gateway.send()).status_code == 429
            (quota,) = (await gateway.client.get("/v1/me")).json()["quotas"]
        assert (quota["used"], quota["limit"], quota["reserved"], quota["used_percent"]) == ("1", "1", "0", 100)


class Headers(GatewayCase):
    async def test_answers_say_how_near_the_tightest_limit_is(self) -> None:
        await Quota.objects.acreate(key=self.key, unit="requests", window="day", limit=4)
        await Quota.objects.acreate(user=self.user, unit="requests", window="total", limit=1000)
        statuses = []
        async with self.gateway(*[Reply(text_stream())] * 4) as gateway:
            for number in range(5):
                response = await gateway.send({**body(), "stream": number % 2 == 0})
                statuses.append((response.status_code, response.headers[STATUS]))
        assert statuses == [(200, "allowed")] * 3 + [(200, "allowed_warning"), (429, "rejected")]
        window = await QuotaWindow.objects.aget(quota__window="day")
        assert window.ends_at is not None
        assert response.headers[RESET] == str(int(window.ends_at.timestamp()))

    async def test_without_quotas_and_to_other_clients_nothing_is_said(self) -> None:
        async with self.gateway(*[Reply(text_stream())] * 2) as gateway:
            assert STATUS not in (await gateway.send()).headers
            await Quota.objects.acreate(key=self.key, unit="requests", window="total", limit=4)
            chat = {"model": "x", "messages": [{"role": "user", "content": "hi"}]}
            response = await gateway.send(chat, "/v1/chat/completions")
            assert response.status_code == 200
            assert STATUS not in response.headers

    async def test_a_limit_that_never_resets_names_no_time(self) -> None:
        await Quota.objects.acreate(key=self.key, unit="requests", window="total", limit=4)
        async with self.gateway(Reply(text_stream())) as gateway:
            headers = (await gateway.send()).headers
        assert headers[STATUS] == "allowed"
        assert RESET not in headers
