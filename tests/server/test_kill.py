"""The books stay exact: after a `kill -9` in the middle of calls, and under a burst."""

import asyncio
from collections.abc import Iterator
from decimal import Decimal

import httpx
import pytest

from tests.fakes.answers import chunk, stream, text
from tests.fakes.gateway_process import GatewayProcess, configuration
from tests.fakes.upstream import ScriptedUpstream
from tests.server.streams import assert_complete, body, client, post, read_until_delta

pytestmark = pytest.mark.server

CALLS = 20
QUOTAS = [
    {"key": "dev/key-0", "unit": "requests", "window": "day", "limit": 1000, "action": "block"},
    {"key": "dev/key-0", "unit": "tokens", "window": "month", "limit": 100_000_000, "action": "block"},
    {"user": "dev", "unit": "cost", "window": "total", "limit": 10_000, "action": "block"},
]


@pytest.fixture
def upstream() -> Iterator[ScriptedUpstream]:
    with ScriptedUpstream() as upstream:
        yield upstream


def test_kill_9_during_20_streams_loses_no_call_and_no_quota(upstream: ScriptedUpstream) -> None:
    gate = upstream.gate()
    upstream.script("main", stream(chunk({"content": "Half of it"}), gate))
    gateway = GatewayProcess(configuration(upstream.base_url, quotas=QUOTAS))
    try:
        gateway.start()

        async def kill_in_the_middle() -> None:
            async with client(gateway.base_url) as http:
                streams = await asyncio.gather(*(post(http, body(f"call {n}")) for n in range(CALLS)))
                await asyncio.gather(*(read_until_delta(answer) for answer in streams))
                assert gateway.query("SELECT status, count(*) FROM accounts_callrecord GROUP BY status") == [
                    ("running", CALLS)
                ]
                await asyncio.to_thread(gateway.kill)

        asyncio.run(kill_in_the_middle())
        gateway.start()
        gateway.manage("reap_calls")
        rows = gateway.query("SELECT status, usage_is_estimated, settled_at IS NOT NULL FROM accounts_callrecord")
        assert rows == [("lost", 1, 1)] * CALLS
        windows = gateway.query(
            "SELECT q.unit, w.used, w.reserved FROM accounts_quotawindow w JOIN accounts_quota q ON q.id = w.quota_id"
        )
        used = {unit: Decimal(str(amount)) for unit, amount, _ in windows}
        assert all(Decimal(str(reserved)) == 0 for _, _, reserved in windows), windows
        assert used["requests"] == CALLS
        assert used["tokens"] > 0

        # Reaping again changes nothing, and the key works on.
        gateway.manage("reap_calls")
        upstream.script("main", text("Back again."))

        async def ask() -> None:
            async with client(gateway.base_url) as http:
                answer = await post(http, body())
                assert await answer.read_all() == "Back again."
                assert_complete(answer)

        asyncio.run(ask())
        counts = dict(gateway.query("SELECT status, count(*) FROM accounts_callrecord GROUP BY status"))
        assert counts == {"lost": CALLS, "ok": 1}
        gateway.manage("verify_ledger")
    finally:
        gateway.stop()


def test_a_quota_is_exact_under_a_burst_and_a_revoked_key_is_refused_at_once(upstream: ScriptedUpstream) -> None:
    upstream.script("main", text("ok"))
    quotas = [{"key": "dev/key-0", "unit": "requests", "window": "total", "limit": 10, "action": "block"}]
    with GatewayProcess(configuration(upstream.base_url, quotas=quotas)) as gateway:

        async def burst(calls: int) -> list[httpx.Response]:
            async with client(gateway.base_url) as http:
                answers = await asyncio.gather(*(post(http, body()) for _ in range(calls)))
                for answer in answers:
                    await answer.response.aread()
                return [answer.response for answer in answers]

        responses = asyncio.run(burst(40))
        refused = [response for response in responses if response.status_code == 429]
        assert len(refused) == 30
        assert [response.status_code for response in responses].count(200) == 10
        for response in refused:
            assert response.json()["error"]["type"] == "billing_error"
            assert response.headers["x-should-retry"] == "false"
        assert gateway.query("SELECT count(*) FROM accounts_callrecord") == [(10,)]
        gateway.manage("verify_ledger")

        gateway.manage("shell", "-c", "from accounts.models import ApiKey; ApiKey.objects.update(is_active=False)")
        (response,) = asyncio.run(burst(1))
        assert response.status_code == 401
        assert response.json()["error"]["type"] == "authentication_error"
        assert response.headers["x-should-retry"] == "false"
        assert len(upstream.requests) == 10
