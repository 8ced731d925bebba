"""Routing by intent over several workers: what one decides or learns, and what an administrator says, holds on all."""

import asyncio
import os
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import httpx
import psycopg
import pytest

from accounts.ledger_thread import HEALTH_S
from tests.conftest import require
from tests.fakes.answers import chunk, error, stream, text
from tests.fakes.gateway_process import GatewayProcess, configuration, wait_until
from tests.fakes.upstream import ScriptedUpstream
from tests.server.workers import Worker, all_workers, loop_of, worker_pids

pytestmark = pytest.mark.server

HELLO = "hello there"
REFACTOR, MIGRATE = "please refactor the parser", "migrate the database"  # the rules of code and hard say so
PRICES = {"small": (1, 2), "coder": (3, 15), "best": (10, 50), "narrow": (1, 1)}
CHANGING_KEY = "wg_changing0123456789abcdefghijklmnopqrstuvwxyz"
QUOTA_KEY = "wg_downgrade0123456789abcdefghijklmnopqrstuvwxy"
FREE = 10  # calls of the key with a quota before it sends them to the cheap route
NARROW = 4  # calls of its provider at the same time


@dataclass(frozen=True, slots=True)
class Running:
    """A gateway with its workers and its upstream."""

    gateway: GatewayProcess
    upstream: ScriptedUpstream
    workers: int

    def change(self, **sections: Any) -> None:
        """Apply a file with these sections only."""
        self.gateway.apply({"version": 1, **sections})


def settings(upstream_url: str) -> dict[str, Any]:
    """Return scenes chat (the default one, `small`), code (`coder`) and hard (`best`); the cheap route is `small` too."""
    config = configuration(
        upstream_url,
        models=("small", "coder", "best"),
        routes={
            "for-chat": ["small"],
            "for-code": ["coder"],
            "flaky": ["best", "small"],
            "for-hard": ["best", "coder"],
        },
        quotas=[{"user": "thrifty", "unit": "requests", "window": "total", "limit": FREE, "action": "downgrade"}],
        cooldown_enabled=True,
    )
    [up] = config["providers"]
    for model in up["models"]:
        price_in, price_out = PRICES[model["id"]]
        model["price"] = {"currency": "USD", "input": price_in, "output": price_out}
    narrow = {**up["models"][0], "id": "narrow"}
    config["providers"] = [up, {**up, "name": "capped", "max_concurrency": NARROW, "models": [narrow]}]
    config["scenes"] = [
        {"name": "chat", "description": "Small talk and short questions.", "route": "for-chat", "default": True},
        scene("code", "Changes to existing code.", "refactor"),
        scene("hard", "Changes to the whole system.", "migrate"),
    ]
    policy = {"mode": "smart", "scenes": ["chat", "code", "hard"], "cheap_route": "for-chat"}
    config["policies"] = [{**policy, "name": "default", "default": True}, {**policy, "name": "changing"}]
    config["users"].append({"username": "thrifty", "email": "thrifty@example.com", "roles": ["member"]})
    config["keys"].append({"user": "thrifty", "name": "key", "secret": QUOTA_KEY})
    config["keys"].append({"user": "dev", "name": "changing", "secret": CHANGING_KEY, "policy": "changing"})
    return config


def scene(name: str, description: str, keyword: str) -> dict[str, Any]:
    """Return a scene with a rule that sends a word to it."""
    return {"name": name, "description": description, "route": f"for-{name}", "rules": [{"keywords": [keyword]}]}


@pytest.fixture(scope="module")
def postgres_url() -> Iterator[str]:
    """An empty database of its own, dropped afterwards."""
    server_url = os.environ.get("TEST_POSTGRES_URL", "")
    require("postgres", bool(server_url), "TEST_POSTGRES_URL is not set")
    name = f"wolfgate_workers_{os.getpid()}"
    with psycopg.connect(server_url, autocommit=True) as admin:
        admin.execute(f"DROP DATABASE IF EXISTS {name}".encode())
        admin.execute(f"CREATE DATABASE {name}".encode())
        try:
            yield urlunsplit(urlsplit(server_url)._replace(path=f"/{name}"))
        finally:
            admin.execute(f"DROP DATABASE {name} WITH (FORCE)".encode())


@pytest.fixture(scope="module")
def two(postgres_url: str) -> Iterator[Running]:
    """Two workers on PostgreSQL, started as in production."""
    with ScriptedUpstream() as upstream:
        config = settings(upstream.base_url)
        with GatewayProcess(config, database_url=postgres_url, workers=2, by_script=True) as gateway:
            yield Running(gateway, upstream, 2)
            gateway.manage("verify_ledger")


@pytest.fixture(scope="module")
def one() -> Iterator[Running]:
    """One worker on SQLite."""
    with ScriptedUpstream() as upstream, GatewayProcess(settings(upstream.base_url), by_script=True) as gateway:
        yield Running(gateway, upstream, 1)
        gateway.manage("verify_ledger")


@pytest.fixture(params=["one", pytest.param("two", marks=pytest.mark.postgres)])
def each(request: pytest.FixtureRequest) -> Running:
    """Either of them."""
    running: Running = request.getfixturevalue(request.param)
    return running


def chosen(response: httpx.Response) -> tuple[str, str]:
    """Return scene and model of an answer."""
    assert response.status_code == 200, response.text
    return response.headers.get("x-gateway-scene", ""), response.headers["x-gateway-model"]


CHAT, CODE = ("chat", "up/small"), ("code", "up/coder")


@pytest.mark.postgres
def test_a_change_is_in_force_on_the_next_call_of_every_worker(two: Running) -> None:
    def enabled(is_enabled: bool) -> dict[str, Any]:
        return {"providers": [{"name": "up", "models": [{"id": "best", "enabled": is_enabled}]}]}

    def picked(target: str) -> dict[str, Any]:
        return {"aliases": [{"pattern": "picked", "target": target}]}

    hard = ("hard", "up/best")
    changes: list[tuple[dict[str, Any], tuple[str, str]]] = [
        ({}, hard),
        ({"routes": [{"name": "for-hard", "order": "cheapest"}]}, ("hard", "up/coder")),
        ({"routes": [{"name": "for-hard", "order": "priority"}], **enabled(False)}, ("hard", "up/coder")),
        (enabled(True), hard),
        ({"scenes": [{"name": "hard", "route": "for-chat"}]}, ("hard", "up/small")),
        (picked("scene:code"), CODE),
        (picked("up/best"), ("", "up/best")),
        ({"policies": [{"name": "changing", "mode": "direct", "route": "for-code"}]}, ("", "up/best")),
    ]

    async def run() -> None:
        async with all_workers(two.gateway, two.workers) as workers:
            for number, (sections, expected) in enumerate(changes):
                if sections:
                    await asyncio.to_thread(two.change, **sections)
                answers = [
                    await worker.ask(MIGRATE, session=f"s-{number}", model="picked", key=CHANGING_KEY)
                    for worker in workers
                ]
                assert [chosen(answer) for answer in answers] == [expected] * two.workers, sections
            answers = [await worker.ask(MIGRATE, model="other", key=CHANGING_KEY) for worker in workers]
            assert [chosen(answer) for answer in answers] == [("", "up/coder")] * two.workers

    asyncio.run(run())


@pytest.mark.postgres
def test_a_session_stays_in_its_scene_whichever_worker_it_reaches(two: Running) -> None:
    async def run() -> None:
        async with all_workers(two.gateway, two.workers) as workers:
            for first in range(two.workers):
                session = f"wanders-{first}"
                assert chosen(await workers[first].ask(REFACTOR, session=session)) == CODE
                for count in range(1, 7):
                    worker = workers[(first + count) % two.workers]
                    # Nothing but the session says where this belongs: the words of the loop are those of the default scene.
                    turn = loop_of(HELLO, *["done"] * count)
                    assert chosen(await worker.ask(turn, session=session)) == CODE
                for worker in workers:
                    assert chosen(await worker.ask("yes", session=session)) == CODE
                    assert chosen(await worker.ask("yes", session=f"{session}-other")) == CHAT

    asyncio.run(run())


@pytest.mark.postgres
def test_a_failure_that_one_worker_met_spares_the_other_and_a_reset_reaches_all(two: Running) -> None:
    upstream = two.upstream
    upstream.script("best", error(503, "down"))

    def asked() -> int:
        return sum(request.model == "best" for request in upstream.requests)

    async def ask(worker: Worker) -> str:
        return chosen(await worker.ask(HELLO, model="flaky"))[1]

    async def run() -> None:
        async with all_workers(two.gateway, two.workers) as workers:
            before = asked()
            assert await ask(workers[0]) == "up/small"
            assert asked() == before + 1
            # By then any worker that has something to do has read what the others learnt.
            await asyncio.sleep(HEALTH_S)
            for worker in workers:
                assert await ask(worker) == "up/small"
            assert asked() == before + 1
            upstream.script("best", text("Back."))
            # What the button of the health page does.
            deleted = "DELETE FROM routing_targethealth RETURNING model_name"
            assert ("best",) in await asyncio.to_thread(two.gateway.query, deleted)
            await asyncio.sleep(HEALTH_S)
            for worker in workers:
                assert await ask(worker) == "up/best"

    try:
        asyncio.run(run())
    finally:
        upstream.clear()


def test_the_cap_of_a_provider_holds_over_all_workers(each: Running) -> None:
    upstream = each.upstream
    upstream.clear()
    gate = upstream.gate()
    upstream.script("narrow", stream(chunk({"content": "a"}), gate, chunk({"content": "b"}), chunk({}, "stop")))

    async def run() -> list[httpx.Response]:
        async with all_workers(each.gateway, each.workers, connections=6) as workers:
            calls = [asyncio.create_task(worker.ask_all(HELLO, model="capped/narrow")) for worker in workers]
            await asyncio.to_thread(upstream.wait_requests, NARROW)
            await asyncio.sleep(0.3)  # for one too many
            assert len(upstream.requests) == NARROW
            gate.open()
            return [answer for answers in await asyncio.gather(*calls) for answer in answers]

    answers = asyncio.run(run())
    assert [chosen(answer)[1] for answer in answers] == ["capped/narrow"] * 6 * each.workers
    times = [(request.arrived_at, request.answered_at or 0.0) for request in upstream.requests]
    together = [sum(begin <= moment < end for begin, end in times) for moment, _end in times]
    assert max(together) <= NARROW, together


def test_identical_first_turns_at_once_make_one_session(each: Running) -> None:
    async def run() -> list[httpx.Response]:
        async with all_workers(each.gateway, each.workers, connections=20 // each.workers) as workers:
            answers = await asyncio.gather(*(worker.ask_all(REFACTOR, session="at-once") for worker in workers))
            return [answer for some in answers for answer in some]

    before = each.gateway.query("SELECT count(*) FROM routing_stickysession")[0][0]
    assert Counter(map(chosen, asyncio.run(run()))) == {CODE: 20}
    assert each.gateway.query("SELECT count(*) FROM routing_stickysession") == [(before + 1,)]
    rows = "SELECT status, count(*) FROM accounts_callrecord WHERE session_id = 'at-once' GROUP BY status"
    assert each.gateway.query(rows) == [("ok", 20)]


def test_a_quota_that_downgrades_refuses_nobody_and_is_exact(each: Running) -> None:
    async def run() -> list[httpx.Response]:
        async with all_workers(each.gateway, each.workers, connections=40 // each.workers) as workers:
            answers = await asyncio.gather(*(worker.ask_all(REFACTOR, key=QUOTA_KEY) for worker in workers))
            late = [await worker.ask(REFACTOR, key=QUOTA_KEY) for worker in workers]
            assert [chosen(answer) for answer in late] == [("", "up/small")] * each.workers
            return [answer for some in answers for answer in some]

    assert Counter(map(chosen, asyncio.run(run()))) == {CODE: FREE, ("", "up/small"): 40 - FREE}
    [(used, reserved)] = each.gateway.query("SELECT used, reserved FROM accounts_quotawindow")
    assert (int(used), int(reserved)) == (40 + each.workers, 0)
    each.gateway.manage("verify_ledger")


def test_the_turn_after_a_killed_worker_keeps_the_scene(each: Running) -> None:
    upstream, session = each.upstream, "outlives"

    async def begin() -> None:
        async with all_workers(each.gateway, each.workers) as workers:
            victim, others = workers[0], workers[1:]
            assert chosen(await victim.ask(REFACTOR, session=session)) == CODE
            upstream.clear()
            upstream.script("coder", stream(chunk({"content": "Half of it"}), upstream.gate()))
            cut = asyncio.create_task(victim.ask(loop_of(HELLO, "done"), session=session))
            await asyncio.to_thread(upstream.wait_requests, 1)
            kill(victim.pid)
            with pytest.raises(httpx.TransportError):
                await cut
            upstream.script("coder", text("Fine."))
            for worker in others:
                assert chosen(await worker.ask(loop_of(HELLO, "done"), session=session)) == CODE

    def kill(pid: int) -> None:
        if each.workers == 1:
            each.gateway.kill()
        else:
            os.kill(pid, 9)
            wait_until(lambda: pid not in worker_pids(each.gateway, each.workers), 30)

    async def go_on() -> None:
        async with all_workers(each.gateway, each.workers) as workers:
            for worker in workers:
                assert chosen(await worker.ask(loop_of(HELLO, "done", "done"), session=session)) == CODE
                assert chosen(await worker.ask("yes", session=session)) == CODE

    try:
        asyncio.run(begin())
        if each.workers == 1:
            each.gateway.start()
        asyncio.run(go_on())
    finally:
        upstream.clear()
    each.gateway.manage("reap_calls")
    rows = f"SELECT status FROM accounts_callrecord WHERE session_id = '{session}' ORDER BY id"
    statuses = Counter(status for (status,) in each.gateway.query(rows))
    assert statuses == {"lost": 1, "ok": 1 + (each.workers - 1) + 2 * each.workers}


def test_a_start_trains_the_scorers_that_a_new_version_cannot_read(one: Running) -> None:
    gateway, fingerprints = one.gateway, "SELECT fingerprint FROM routing_trainedscorer"
    current = gateway.query(fingerprints)
    assert len(current) == 1
    gateway.terminate()
    gateway.wait()
    of_yesterday = "from routing.models import TrainedScorer as T; T.objects.update(fingerprint='of yesterday')"
    gateway.manage("shell", "-c", of_yesterday)
    gateway.start()
    assert gateway.query(fingerprints) == current
