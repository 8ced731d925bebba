"""`manage.py check_provider` as an operator runs it: in a process of its own, and interrupted."""

import signal
import subprocess
import sys

import pytest

from tests.fakes.answers import Answer, End
from tests.fakes.gateway_process import ROOT, GatewayProcess, configuration
from tests.fakes.platform import Platform
from tests.fakes.upstream import ScriptedUpstream

pytestmark = pytest.mark.server


def test_beside_a_running_gateway_and_interrupted() -> None:
    with ScriptedUpstream() as upstream:
        for name in ("main", "wolfgate-no-such-model"):
            upstream.script(name, Platform().script)
        with GatewayProcess(configuration(upstream.base_url)) as gateway:
            printed = gateway.manage("check_provider", "up", "--write").stdout
            assert "up/main (openai)" in printed
            assert "found capabilities: tools, vision, pdf, thinking" in printed
            assert "Written to up/main: capabilities." in printed
            assert gateway.query("SELECT is_manual FROM providers_model") == [(1,)]

            upstream.clear()
            upstream.script("main", Answer([End.SILENCE], headers={"content-type": "text/event-stream"}))
            command = [sys.executable, "manage.py", "check_provider", "up"]
            with subprocess.Popen(
                command, cwd=ROOT, env=gateway.environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE
            ) as process:
                try:
                    (request,) = upstream.wait_requests(1)
                    process.send_signal(signal.SIGINT)
                    out, error = process.communicate(timeout=20)
                finally:
                    process.kill()  # else leaving the block waits for one that was not interrupted
            assert (process.returncode, out) == (130, "")
            assert error.strip() == "CommandError: Interrupted; nothing was stored."
            request.wait_end()
            assert request.hung_up_at is not None
