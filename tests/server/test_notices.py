"""A real gateway tells a real server of a quota that runs low: soon, signed, once; and it ends without waiting."""

import hashlib
import hmac
import http.server
import json
import queue
import threading
import time
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from tests.fakes.answers import text
from tests.fakes.gateway_process import KEY, GatewayProcess, configuration
from tests.fakes.upstream import ScriptedUpstream
from tests.server.streams import body

pytestmark = pytest.mark.server

SECRET = "a-secret-of-the-webhook"
QUOTAS = [{"key": "dev/key-0", "unit": "requests", "window": "month", "limit": 4, "action": "block"}]


class Receiver:
    """A program that takes webhooks; `gate` holds up its answers."""

    def __init__(self) -> None:
        self.got: queue.Queue[tuple[dict[str, str], bytes]] = queue.Queue()
        self.gate = threading.Event()
        self.gate.set()
        receiver = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                content = self.rfile.read(int(self.headers["content-length"]))
                receiver.got.put(({name.lower(): value for name, value in self.headers.items()}, content))
                receiver.gate.wait(30)
                self.send_response(204)
                self.end_headers()

            def log_message(self, *args: Any) -> None:
                pass

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}/in"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self) -> None:
        self.gate.set()
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    found = Receiver()
    yield found
    found.close()


@pytest.fixture
def upstream() -> Iterator[ScriptedUpstream]:
    with ScriptedUpstream() as upstream:
        yield upstream


def config(upstream: ScriptedUpstream, receiver: Receiver) -> dict[str, Any]:
    channel = {"name": "ops", "kind": "webhook", "url": receiver.url, "secret": SECRET, "allow_private_network": True}
    return {**configuration(upstream.base_url, quotas=QUOTAS), "channels": [channel]}


def call(gateway: GatewayProcess) -> int:
    answer = httpx.post(
        f"{gateway.base_url}/v1/messages", headers={"x-api-key": KEY}, json={**body("hi"), "stream": False}, timeout=30
    )
    return answer.status_code


def test_a_program_is_told_within_a_second_and_once(upstream: ScriptedUpstream, receiver: Receiver) -> None:
    upstream.script("main", *[text("Hello")] * 4)
    with GatewayProcess(config(upstream, receiver)) as gateway:
        assert [call(gateway) for _ in range(3)] == [200] * 3
        headers, content = receiver.got.get(timeout=4)  # without being woken it would take five seconds
        document = json.loads(content)
        assert (document["event"], document["facts"]["percent"], document["level"]) == ("quota_warning", 75, "warning")
        assert document["title"] == "Quota of key dev/key-0: 75 % used"
        signed = headers["x-wolfgate-timestamp"].encode() + b"." + content
        expected = hmac.new(SECRET.encode(), signed, hashlib.sha256).hexdigest()
        assert headers["x-wolfgate-signature"] == f"sha256={expected}"
        assert [call(gateway) for _ in range(2)] == [200, 429]
        _headers, content = receiver.got.get(timeout=4)
        assert json.loads(content)["event"] == "quota_exhausted"
        gateway.terminate()
        gateway.wait()
        assert receiver.got.empty()
        rows = gateway.query("SELECT status, attempts FROM accounts_notification ORDER BY id")
        assert rows == [("sent", 1)] * 4


def test_a_server_that_does_not_answer_does_not_hold_up_the_end(upstream: ScriptedUpstream, receiver: Receiver) -> None:
    upstream.script("main", *[text("Hello")] * 3)
    receiver.gate.clear()
    with GatewayProcess(config(upstream, receiver)) as gateway:
        for _ in range(3):
            call(gateway)
        receiver.got.get(timeout=4)
        began = time.monotonic()
        gateway.terminate()
        gateway.wait()
        assert time.monotonic() - began < 5
        assert gateway.query("SELECT status FROM accounts_notification WHERE channel_id IS NOT NULL") == [("pending",)]
