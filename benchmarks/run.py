"""Wolfgate against the floor in one interleaved run: CPU per call of the process tree, and latency.

    python -m benchmarks.run [--rounds 5] [--scenario small] [--transport aiohttp,httpx] [--profile profile.svg]

README.md beside this file says how to read the table. Linux only (/proc).
"""

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.fakes.gateway_process import KEY, ROOT, GatewayProcess, configuration, free_port, process_tree, wait_until

OFFERED = ROOT / "routing" / "data" / "offered_scenes.json"
ROUND_TIMEOUT_S = 120.0
TICKS_PER_S = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True)
class Scenario:
    """A load: which model answers, how large the request is, how many at once, how many calls in a round."""

    model: str
    request_bytes: int
    concurrency: int
    calls: int
    goal: float  # where the ratio Wolfgate / floor wants to be, at most


SCENARIOS = {
    "small": Scenario("bench-short", 300, 16, 1500, 1.0),
    "large": Scenario("bench-short", 120_000, 1, 300, 2.0),
    "stream": Scenario("bench-long", 300, 4, 40, 1.0),
}


@dataclass(frozen=True, slots=True)
class Contestant:
    """A running server under test."""

    name: str
    url: str
    key: str
    expect: str
    pid: int
    model: str = ""  # what it is asked for; "": the target of the scenario by its name, which leaves nothing to decide


def request_body(scenario: Scenario, model: str = "") -> bytes:
    """Return a streamed Messages request; a large one has the make-up of Claude Code's: tools, then a tool loop."""
    body: dict[str, Any] = {
        "model": model or f"up/{scenario.model}",
        "max_tokens": 1000,
        "stream": True,
        "messages": [{"role": "user", "content": "Please say something."}],
    }
    if scenario.request_bytes > 1000:
        prose = "Use this when the task needs it, and read the rules below before the first call. "
        body["system"] = [{"type": "text", "text": prose * 80, "cache_control": {"type": "ephemeral"}}]
        schema = {
            "type": "object",
            "properties": {"path": {"type": "string", "description": prose}},
            "required": ["path"],
        }
        body["tools"] = [{"name": f"Tool{n}", "description": prose * 18, "input_schema": schema} for n in range(20)]
        while len(json.dumps(body)) < scenario.request_bytes:
            call_id = f"toolu_{len(body['messages']):06d}"
            call = {"type": "tool_use", "id": call_id, "name": "Tool1", "input": {"path": f"/src/{call_id}.py"}}
            result = {"type": "tool_result", "tool_use_id": call_id, "content": "def work() -> None:\n    pass\n" * 60}
            body["messages"] += [
                {"role": "assistant", "content": [{"type": "text", "text": "Reading."}, call]},
                {"role": "user", "content": [result]},
            ]
    return json.dumps(body).encode()


def cpu_s(pid: int) -> float:
    """Return the user and system seconds that the process tree of `pid` has used."""
    ticks = 0
    for member in process_tree(pid):
        fields = Path(f"/proc/{member}/stat").read_text().rpartition(")")[2].split()
        ticks += int(fields[11]) + int(fields[12])
    return ticks / TICKS_PER_S


@contextmanager
def server(command: list[str], port: int, environment: Mapping[str, str]) -> Iterator[int]:
    """Run `command` until the end of the block, which starts when `port` answers; yield its pid."""
    process = subprocess.Popen(command, cwd=ROOT, env={**os.environ, **environment})

    def answers() -> bool:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=2):
                return True
        except OSError:
            assert process.poll() is None, f"{command} has ended"
            return False

    try:
        wait_until(answers)
        yield process.pid
    finally:
        process.terminate()
        process.wait(10)


@contextmanager
def floor(upstream_url: str, transport: str) -> Iterator[Contestant]:
    port = free_port()
    command = [sys.executable, "-m", "uvicorn", "benchmarks.floor:application", "--host", "127.0.0.1"]
    command += ["--port", str(port), "--no-access-log", "--log-level", "warning"]
    environment = {"FLOOR_UPSTREAM": f"{upstream_url}/chat/completions", "FLOOR_TRANSPORT": transport}
    with server(command, port, environment) as pid:
        yield Contestant(f"floor/{transport}", f"http://127.0.0.1:{port}/v1/messages", "", "[DONE]", pid)


@contextmanager
def wolfgate(upstream_url: str, transport: str, capture: str, policy: str) -> Iterator[Contestant]:
    config = configuration(upstream_url, models=("bench-short", "bench-long"), capture=capture)
    if policy == "smart":
        by_intent(config)
    application = "gateway.asgi:application" if transport == "aiohttp" else "benchmarks.stock_transport:application"
    with GatewayProcess(config, application=application) as gateway:
        name = f"wolfgate/{policy if policy != 'direct' else transport}"
        model = "claude-of-the-client" if policy == "smart" else ""
        yield Contestant(name, f"{gateway.base_url}/v1/messages", KEY, "message_stop", gateway.pid, model)


def by_intent(config: dict[str, Any]) -> None:
    """Let the scenes that a new installation is offered decide in `config`, by a scorer that is trained at its start.

    No small model is asked. Every scene leads to the model of short answers: `stream` is not for this policy.
    """
    config["scenes"] = [
        {
            "name": scene["name"]["en"],
            "description": scene["description"]["en"],
            "examples": scene["examples"]["en"] + scene["examples"]["zh-hans"],
            "route": "everyday",
            "default": scene.get("is_default", False),
        }
        for scene in json.loads(OFFERED.read_text(encoding="utf-8"))["defaults"]
    ]
    config["policies"] = [{"name": "default", "default": True, "mode": "smart"}]


def measure(contestant: Contestant, scenario: Scenario, body: Path, calls: int) -> dict[str, float]:
    """Put one round of `scenario` on `contestant` and return its figures."""
    command = [sys.executable, "benchmarks/load.py", contestant.url, str(body), "--key", contestant.key]
    command += ["--calls", str(calls), "--concurrency", str(scenario.concurrency), "--expect", contestant.expect]
    before_s = cpu_s(contestant.pid)
    done = subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True, timeout=ROUND_TIMEOUT_S)
    used_s = cpu_s(contestant.pid) - before_s
    figures: dict[str, Any] = json.loads(done.stdout)
    if figures["failures"]:
        raise SystemExit(f"{contestant.name}: {figures['failures']} calls failed: {figures['failed_answer']}")
    return {
        "cpu_ms": used_s / figures["calls"] * 1000,
        **{k: figures[k] for k in ("p50_ms", "p95_ms", "first_byte_p50_ms")},
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5, help="counted rounds, after one that is not")
    parser.add_argument("--scenario", default=",".join(SCENARIOS))
    parser.add_argument("--transport", default="aiohttp", help="of Wolfgate: aiohttp (as it is), httpx, or both")
    parser.add_argument("--floor", default="httpx", help="transport of the floor: httpx, aiohttp, or both")
    parser.add_argument("--capture", default="metadata", help="Wolfgate's capture setting: off, metadata or full")
    parser.add_argument("--policy", default="direct", help="of Wolfgate: direct, smart (by intent), or both")
    parser.add_argument("--profile", default="", help="write a py-spy flame graph of Wolfgate to this file")
    arguments = parser.parse_args()
    port = free_port()
    upstream_url = f"http://127.0.0.1:{port}/v1"
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        stack.enter_context(server([sys.executable, "benchmarks/upstream.py", str(port)], port, {}))
        contestants = [stack.enter_context(floor(upstream_url, name)) for name in arguments.floor.split(",")]
        contestants += [
            stack.enter_context(wolfgate(upstream_url, name, arguments.capture, policy))
            for name in arguments.transport.split(",")
            for policy in arguments.policy.split(",")
            if name
        ]
        if arguments.profile:
            stack.enter_context(profile(contestants[-1].pid, arguments.profile))
        head = f"{'scenario':9} {'server':17} {'CPU ms/call':>12} {'ratio':>16}"
        print(f"{head} {'p50 ms':>8} {'p95 ms':>8} {'1st byte':>8}")
        for name in arguments.scenario.split(","):
            compare(name, SCENARIOS[name], contestants, folder, arguments.rounds)


def compare(name: str, scenario: Scenario, contestants: list[Contestant], folder: Path, rounds: int) -> None:
    """Measure all contestants in turn, `rounds` times, and print a line of medians for each."""
    bodies = {contestant.name: folder / f"{number}.json" for number, contestant in enumerate(contestants)}
    for contestant in contestants:
        bodies[contestant.name].write_bytes(request_body(scenario, contestant.model))
        measure(contestant, scenario, bodies[contestant.name], max(scenario.calls // 5, scenario.concurrency))
    figures: dict[str, list[dict[str, float]]] = {contestant.name: [] for contestant in contestants}
    for turn in range(rounds):
        for contestant in contestants if turn % 2 == 0 else reversed(contestants):
            figures[contestant.name].append(measure(contestant, scenario, bodies[contestant.name], scenario.calls))
    base = figures[contestants[0].name]
    for contestant in contestants:
        own = figures[contestant.name]
        ratios = [one["cpu_ms"] / other["cpu_ms"] for one, other in zip(own, base, strict=True)]
        median = {key: statistics.median(figure[key] for figure in own) for key in own[0]}
        ratio = f"{statistics.median(ratios):.2f}"
        if contestant.name.startswith("wolfgate"):
            ratio += f" (goal {scenario.goal})"
        print(
            f"{name:9} {contestant.name:17} {median['cpu_ms']:12.2f} {ratio:>16} {median['p50_ms']:8.1f}"
            f" {median['p95_ms']:8.1f} {median['first_byte_p50_ms']:8.1f}",
            flush=True,
        )


@contextmanager
def profile(pid: int, path: str) -> Iterator[None]:
    """Record a flame graph of `pid` for the length of the block, when py-spy is there."""
    program = shutil.which("py-spy")
    if program is None:
        raise SystemExit("--profile needs py-spy on PATH (pip install py-spy)")
    recording = subprocess.Popen([program, "record", "--pid", str(pid), "--output", path, "--rate", "200"])
    time.sleep(0.5)
    try:
        yield
    finally:
        recording.send_signal(2)
        recording.wait(30)


if __name__ == "__main__":
    main()
