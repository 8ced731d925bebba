"""SIGTERM: open streams end properly, new ones are not taken."""

import asyncio
import signal
import socket
from collections.abc import Iterator

import pytest

from tests.fakes.answers import chunk, stream
from tests.fakes.gateway_process import GatewayProcess, configuration, wait_until
from tests.fakes.upstream import ScriptedUpstream
from tests.server.streams import assert_complete, body, client, post, read_until_delta

pytestmark = pytest.mark.server


@pytest.fixture
def upstream() -> Iterator[ScriptedUpstream]:
    with ScriptedUpstream() as upstream:
        yield upstream


def is_listening(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


@pytest.mark.parametrize("by_script", [False, True], ids=["uvicorn", "scripts/serve"])
def test_sigterm_drains_an_open_stream(by_script: bool, upstream: ScriptedUpstream) -> None:
    gate = upstream.gate()
    upstream.script("main", stream(chunk({"content": "first, "}), gate, chunk({"content": "last"}), chunk({}, "stop")))
    with GatewayProcess(configuration(upstream.base_url), by_script=by_script) as gateway:

        async def drain() -> None:
            async with client(gateway.base_url) as http:
                answer = await post(http, body())
                await read_until_delta(answer)
                gateway.terminate()
                await asyncio.to_thread(wait_until, lambda: not is_listening(gateway.port))
                gate.open()
                assert await answer.read_all() == "first, last"
                assert_complete(answer)

        asyncio.run(drain())
        # uvicorn on its own raises the signal again when it has drained; the start script turns that into 0.
        assert gateway.wait(10) == (0 if by_script else -signal.SIGTERM)
        assert gateway.query("SELECT status FROM accounts_callrecord") == [("ok",)]
        assert "Traceback" not in gateway.log()


def test_a_stream_that_outlasts_the_drain_is_booked_all_the_same(upstream: ScriptedUpstream) -> None:
    gate = upstream.gate()
    upstream.script("main", stream(chunk({"content": "endless"}), gate))
    with GatewayProcess(configuration(upstream.base_url), drain_timeout_s=1) as gateway:

        async def outlast() -> None:
            async with client(gateway.base_url) as http:
                answer = await post(http, body())
                await read_until_delta(answer)
                gateway.terminate()
                await asyncio.to_thread(gateway.wait, 15)
                await answer.response.aclose()

        asyncio.run(outlast())
        ((status,),) = gateway.query("SELECT status FROM accounts_callrecord")
        if status == "running":  # the process had no time left to settle: the reaper's case
            gateway.manage("reap_calls")
            ((status,),) = gateway.query("SELECT status FROM accounts_callrecord")
        assert status in ("cancelled", "failed", "lost")
        gateway.manage("verify_ledger")
