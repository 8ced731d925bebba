"""The books over HTTP: a budget under 300 calls at once, every kind of end with kills, a revoked key on every worker."""

import asyncio
import contextlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import pytest

from tests.fakes.answers import chunk, stream, usage_object
from tests.fakes.gateway_process import KEY, GatewayProcess, configuration
from tests.fakes.upstream import ScriptedUpstream
from tests.server.databases import postgres_database
from tests.server.mixed import Mix, check, settings
from tests.server.streams import body, client, post
from tests.server.workers import all_workers

pytestmark = pytest.mark.server

UNITS = 10**10
CALLS = 300
PROBE_KEY = "wg_probe00123456789abcdefghijklmnopqrstuvwxyzAB"


@dataclass(frozen=True, slots=True)
class Place:
    """Where a gateway runs."""

    database_url: str
    workers: int

    def gateway(self, config: dict[str, Any]) -> GatewayProcess:
        return GatewayProcess(config, database_url=self.database_url, workers=self.workers, by_script=True)


@pytest.fixture(params=["one worker on SQLite", pytest.param("four on PostgreSQL", marks=pytest.mark.postgres)])
def place(request: pytest.FixtureRequest) -> Iterator[Place]:
    """One worker on SQLite, four on PostgreSQL."""
    with contextlib.ExitStack() as stack:
        is_one = "SQLite" in request.param
        yield Place("" if is_one else stack.enter_context(postgres_database("books")), 1 if is_one else 4)


def test_300_calls_at_once_pass_a_budget_of_100_estimates_by_their_errors_only(place: Place) -> None:
    with ScriptedUpstream() as upstream:
        config = configuration(upstream.base_url, keys=(KEY, PROBE_KEY))
        # As the client announces them, so all answers are expected to be of 50 tokens.
        request = {**body("Say something."), "max_tokens": 50}
        with place.gateway(config) as gateway:

            async def wave(count: int) -> tuple[int, int]:
                """Let `count` calls come at once; return how many got in, and how many were refused."""
                gate = upstream.gate()
                usage = usage_object((40, 50))  # more than was expected of a few words
                answer = stream(chunk({"content": "Yes"}), gate, chunk({}, "stop"), chunk(usage=usage))
                upstream.script("main", answer)
                before = len(upstream.requests)
                async with client(gateway.base_url) as http:
                    calls = [asyncio.create_task(post(http, request)) for _number in range(count)]
                    answers = await asyncio.gather(*calls)
                    granted = [each for each in answers if each.response.status_code == 200]
                    refused = [each for each in answers if each.response.status_code == 429]
                    # All who got in are in flight at the same time: none has ended.
                    assert len(upstream.requests) - before == len(granted)
                    gate.open()
                    await asyncio.gather(*(each.read_all() for each in granted))
                    for each in refused:
                        await each.response.aread()
                        assert each.response.headers["x-should-retry"] == "false"
                return len(granted), len(refused)

            async def probe() -> None:
                async with client(gateway.base_url) as http:
                    await (await post(http, request, key=PROBE_KEY)).read_all()

            asyncio.run(probe())
            [(reservation,)] = gateway.query("SELECT reservation FROM accounts_callrecord")
            found = json.loads(reservation) if isinstance(reservation, str) else reservation
            estimate = Decimal(found["cost"])
            cap = 100 * estimate
            limit = {"key": "dev/key-0", "unit": "cost", "window": "total", "currency": "USD"}
            config["quotas"] = [{**limit, "limit": float(cap)}]
            gateway.apply(config)

            assert asyncio.run(wave(CALLS)) == (100, 200)
            rows = gateway.query(
                "SELECT c.cost, c.worker_id FROM accounts_callrecord c JOIN accounts_apikey k ON k.id = c.key_id"
                " WHERE k.name = 'key-0'"
            )
            spent = sum((Decimal(cost) / UNITS for cost, _worker in rows), Decimal(0))
            errors = sum((Decimal(cost) / UNITS - estimate for cost, _worker in rows), Decimal(0))
            assert len(rows) == 100
            assert 0 < spent - cap <= errors
            assert len({worker for _cost, worker in rows}) >= min(place.workers, 2)
            # And no second wave, whoever comes.
            assert asyncio.run(wave(CALLS)) == (0, 300)
            assert gateway.query("SELECT reserved FROM accounts_quotawindow") == [(0,)]
            gateway.manage("verify_ledger")


def test_every_kind_of_end_and_kill_9_leak_nothing(place: Place) -> None:
    with ScriptedUpstream() as upstream, place.gateway(settings(upstream.base_url)) as gateway:
        mix = Mix(gateway, upstream, place.workers)
        mix.run(calls=400, kills=2)
        by_status = check(mix)
        assert {"ok", "failed", "cancelled", "lost"} <= {status for status, count in by_status.items() if count}
        assert mix.ends["status 429"] > 0  # the small budget was used up


@pytest.mark.postgres
def test_a_revoked_key_is_refused_on_the_next_call_on_every_worker() -> None:
    with (
        postgres_database("revoked") as url,
        ScriptedUpstream() as upstream,
        GatewayProcess(configuration(upstream.base_url), database_url=url, workers=4, by_script=True) as gateway,
    ):

        async def run() -> None:
            async with all_workers(gateway, 4) as workers:
                assert [(await worker.ask("hello")).status_code for worker in workers] == [200] * 4
                revoke = (
                    "from accounts import keys; from accounts.models import ApiKey; keys.revoke(ApiKey.objects.get())"
                )
                await asyncio.to_thread(gateway.manage, "shell", "-c", revoke)
                answers = [await worker.ask("hello") for worker in workers]
                assert [answer.status_code for answer in answers] == [401] * 4
                assert len(upstream.requests) == 4

        asyncio.run(run())
        gateway.manage("verify_ledger")
