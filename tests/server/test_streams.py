"""Many streams at once through a real server, and clients that leave."""

import asyncio
import os
import time
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import psycopg
import pytest

from tests.conftest import require
from tests.fakes.answers import chunk, stream, text
from tests.fakes.gateway_process import KEY, GatewayProcess, configuration, wait_until
from tests.fakes.upstream import ScriptedUpstream
from tests.server.streams import Stream, assert_complete, body, client, post, read_until_delta

pytestmark = pytest.mark.server

KEYS = [f"wg_{n:02d}{'streams' * 6}"[:46].ljust(46, "x") for n in range(32)]


@pytest.fixture(scope="module")
def upstream() -> Iterator[ScriptedUpstream]:
    with ScriptedUpstream() as upstream:
        yield upstream


@pytest.fixture(scope="module")
def gateway(upstream: ScriptedUpstream) -> Iterator[GatewayProcess]:
    config = configuration(upstream.base_url, models=("main", "slow"), keys=KEYS, ping_interval_s=1)
    with GatewayProcess(config) as gateway:
        yield gateway


def test_32_streams_with_distinct_texts_and_keys_never_mix(gateway: GatewayProcess, upstream: ScriptedUpstream) -> None:
    upstream.clear()
    texts = [f"[{n:02d}] " + f"流{n} stream number {n}. " * 40 for n in range(32)]

    async def one(http: Any, n: int) -> Stream:
        stream = await post(http, body(texts[n]), key=KEYS[n], session=f"session-{n}")
        await stream.read_all()
        return stream

    async def all_at_once() -> list[Stream]:
        async with client(gateway.base_url) as http:
            return list(await asyncio.gather(*(one(http, n) for n in range(32))))

    streams = asyncio.run(all_at_once())
    for n, answer in enumerate(streams):
        assert_complete(answer)
        assert answer.text == texts[n]
    assert len({answer.response.headers["request-id"] for answer in streams}) == 32
    rows = gateway.query(
        "SELECT k.name, c.session_id, c.status, c.output_tokens FROM accounts_callrecord c"
        " JOIN accounts_apikey k ON k.id = c.key_id WHERE c.session_id LIKE 'session-%'"
    )
    assert sorted(rows) == sorted((f"key-{n}", f"session-{n}", "ok", 2) for n in range(32))


def test_a_client_that_hangs_up_cancels_the_upstream_and_pays_for_what_it_got(
    gateway: GatewayProcess, upstream: ScriptedUpstream
) -> None:
    upstream.clear()
    gate = upstream.gate()
    upstream.script("slow", stream(chunk({"content": "The first words of a long answer. " * 4}), gate))

    async def leave() -> float:
        async with client(gateway.base_url) as http:
            answer = await post(http, body(model="up/slow"), key=KEYS[0], session="hang-up")
            await read_until_delta(answer)
            left_at = time.monotonic()
            await answer.response.aclose()
            return left_at

    left_at = asyncio.run(leave())
    (request,) = upstream.requests
    request.wait_end(5)
    assert request.hung_up_at is not None
    assert request.hung_up_at - left_at < 1.0
    calls = "SELECT status, http_status, output_tokens, usage_is_estimated, cost FROM accounts_callrecord"
    wait_until(lambda: gateway.query(f"{calls} WHERE session_id = 'hang-up' AND status <> 'running'"))
    ((status, _, output_tokens, is_estimated, cost),) = gateway.query(f"{calls} WHERE session_id = 'hang-up'")
    assert status == "cancelled"
    assert output_tokens > 10
    assert is_estimated
    assert cost > 0


def test_a_client_that_leaves_before_the_first_event_cancels_the_upstream(
    gateway: GatewayProcess, upstream: ScriptedUpstream
) -> None:
    upstream.clear()
    gate = upstream.gate()
    upstream.script("slow", stream(gate, chunk({"content": "late"})))

    async def leave(streamed: bool) -> float:
        async with client(gateway.base_url) as http:
            asking = asyncio.create_task(
                post(http, body(model="up/slow", streamed=streamed), key=KEYS[1], session=f"early-{streamed}")
            )
            await asyncio.to_thread(upstream.wait_requests, 1 + (not streamed))
            left_at = time.monotonic()
            asking.cancel()
            await asyncio.gather(asking, return_exceptions=True)
            return left_at

    for streamed in (True, False):
        left_at = asyncio.run(leave(streamed))
        request = upstream.requests[-1]
        request.wait_end(5)
        assert request.hung_up_at is not None
        assert request.hung_up_at - left_at < 1.0
        session = f"early-{streamed}"
        query = f"SELECT status FROM accounts_callrecord WHERE session_id = '{session}' AND status <> 'running'"
        wait_until(lambda query=query: gateway.query(query))  # type: ignore[misc]
        assert gateway.query(query) == [("cancelled",)]


def test_silence_is_filled_with_pings(gateway: GatewayProcess, upstream: ScriptedUpstream) -> None:
    upstream.clear()
    gate = upstream.gate()
    upstream.script("slow", stream(chunk({"content": "a"}), gate, chunk({"content": "b"}), chunk({}, "stop")))

    async def listen() -> Stream:
        async with client(gateway.base_url) as http:
            answer = await post(http, body(model="up/slow"), key=KEYS[2])
            async for event in answer.read():
                if event["type"] == "ping" and answer.text:
                    gate.open()
            return answer

    answer = asyncio.run(listen())
    assert_complete(answer)
    assert answer.text == "ab"


def test_a_slow_reader_gets_everything(gateway: GatewayProcess, upstream: ScriptedUpstream) -> None:
    upstream.clear()
    pieces = [f"{n:06d}" + "x" * 20_000 for n in range(1500)]
    upstream.script("slow", stream(*(chunk({"content": piece}) for piece in pieces), chunk({}, "stop")))

    async def listen() -> Stream:
        async with client(gateway.base_url) as http:
            answer = await post(http, body(model="up/slow"), key=KEYS[3])
            await read_until_delta(answer)
            # 30 MB do not fit into the socket buffers: the upstream must be held back until we read on.
            (request,) = upstream.requests
            with pytest.raises(TimeoutError):
                await asyncio.to_thread(request.wait_end, 0.5)
            await answer.read_all()
            return answer

    answer = asyncio.run(listen())
    assert_complete(answer)
    assert answer.text == "".join(pieces)


@pytest.fixture
def postgres_url() -> Iterator[str]:
    """An empty database of its own, dropped afterwards."""
    server_url = os.environ.get("TEST_POSTGRES_URL", "")
    require("postgres", bool(server_url), "TEST_POSTGRES_URL is not set")
    name = f"wolfgate_streams_{os.getpid()}"
    with psycopg.connect(server_url, autocommit=True) as admin:
        admin.execute(f"DROP DATABASE IF EXISTS {name}".encode())
        admin.execute(f"CREATE DATABASE {name}".encode())
        try:
            yield urlunsplit(urlsplit(server_url)._replace(path=f"/{name}"))
        finally:
            admin.execute(f"DROP DATABASE {name} WITH (FORCE)".encode())


@pytest.mark.postgres
def test_200_streams_use_one_database_connection_per_worker(postgres_url: str) -> None:
    workers = 2
    with ScriptedUpstream() as upstream:
        gate = upstream.gate()
        upstream.script("main", stream(chunk({"content": "a"}), gate, chunk({"content": "b"}), chunk({}, "stop")))
        config = configuration(upstream.base_url, capture="off")
        with GatewayProcess(config, database_url=postgres_url, workers=workers) as gateway:
            ((before,),) = gateway.query("SELECT now()")
            # A connection that the pool opened and nobody has used yet ends in the pool's own set_config.
            used_since = (
                "SELECT pid, query FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
                f" AND query_start >= '{before.isoformat()}' AND query NOT LIKE 'SELECT set_config%'"
            )

            async def run() -> tuple[list[tuple[Any, ...]], list[Stream]]:
                async with client(gateway.base_url) as http:
                    streams = await asyncio.gather(*(post(http, body(), key=KEY) for _ in range(200)))
                    await asyncio.gather(*(read_until_delta(answer) for answer in streams))
                    used = await asyncio.to_thread(gateway.query, used_since)
                    gate.open()
                    await asyncio.gather(*(answer.read_all() for answer in streams))
                    return used, streams

            used, streams = asyncio.run(run())
            for answer in streams:
                assert_complete(answer)
            assert 1 <= len(used) <= workers, used
            assert len(gateway.query(used_since)) <= workers, gateway.query(used_since)
            assert gateway.query("SELECT status, count(*) FROM accounts_callrecord GROUP BY status") == [("ok", 200)]


def test_a_concurrent_burst_is_booked_exactly(gateway: GatewayProcess, upstream: ScriptedUpstream) -> None:
    upstream.clear()
    upstream.script("main", text("ok", usage=(7, 3)))

    async def burst() -> list[int]:
        async with client(gateway.base_url) as http:
            answers = await asyncio.gather(
                *(post(http, body(streamed=n % 2 == 0), key=KEYS[n % 32], session="burst") for n in range(96))
            )
            for answer in answers:
                await answer.response.aread()
            return [answer.response.status_code for answer in answers]

    assert set(asyncio.run(burst())) == {200}
    sums = "SELECT count(*), sum(input_tokens), sum(output_tokens) FROM accounts_callrecord"
    assert gateway.query(f"{sums} WHERE session_id = 'burst' AND status = 'ok'") == [(96, 96 * 7, 96 * 3)]
    gateway.manage("verify_ledger")
