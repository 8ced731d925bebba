"""Calls of every end against a running gateway, and workers killed in the middle of them.

The upstream answers, fails, is cut off or is slow as the words of the call say; the client reads to the end, hangs up
after the first word, or before it. Deterministic by seed but for what the kills hit.
"""

import asyncio
import os
import random
import signal
from collections import Counter
from collections.abc import Sequence
from typing import Any

import httpx

from tests.fakes.answers import (
    Answer,
    End,
    Pause,
    Received,
    chunk,
    cut,
    error,
    last_user_text,
    stream,
    text,
    usage_object,
)
from tests.fakes.gateway_process import KEY, GatewayProcess, configuration, process_tree
from tests.fakes.upstream import ScriptedUpstream
from tests.server.streams import body, client, post, read_until_delta
from tests.server.workers import worker_pids

THRIFTY_KEY = "wg_thrifty0123456789abcdefghijklmnopqrstuvwxyzA"
# What the upstream does, and how often; then what the client does of it.
ENDS = {"answer": 8, "unpriced": 1, "busy": 1, "broken": 1, "refused": 1, "cut": 1, "slow": 3}
CLIENTS = {"reads": 6, "hangs up": 2, "leaves": 1}
AT_ONCE = 24
_BUSY = (
    "SELECT w.pid, count(*) FROM accounts_worker w JOIN accounts_callrecord c ON c.worker_id = w.id"
    " WHERE c.status = 'running' GROUP BY w.pid ORDER BY count(*) DESC"
)
# Long enough to be killed or left in, short enough for thousands.
PAUSE_S = 0.1


def settings(upstream_url: str) -> dict[str, Any]:
    """Return a configuration with quotas of every unit on key, user and team, and one that refuses before long."""
    quotas = [
        {"key": "dev/key-0", "unit": "requests", "window": "minute", "limit": 10**6},
        {"key": "dev/key-0", "unit": "tokens", "window": "day", "limit": 10**9},
        {"user": "dev", "unit": "cost", "window": "month", "limit": 10**6, "currency": "USD"},
        {"user": "dev", "unit": "requests", "window": "5h", "limit": 10**6},
        {"team": "platform", "unit": "tokens", "window": "total", "limit": 10**10},
        {"team": "platform", "unit": "cost", "window": "day", "limit": 10**6, "currency": "USD", "action": "warn"},
        {"key": "dev/key-1", "unit": "cost", "window": "total", "limit": 0.05, "currency": "USD"},
    ]
    config = configuration(upstream_url, models=("main", "spare"), routes={"both": ["main", "spare"]}, quotas=quotas)
    config["keys"].append({"user": "dev", "name": "key-1", "secret": THRIFTY_KEY})
    config["teams"] = [{"name": "platform", "cost_center": "4711"}]
    config["users"][0]["team"] = "platform"
    config["policies"][0]["route"] = "both"  # what the first cannot answer falls to the second
    return config


def _answer(request: Received) -> Answer:
    end = last_user_text(request).split(":")[0]
    usage = (len(last_user_text(request)) * 3, 40)
    if request.model == "main":
        if end == "busy":
            return error(429, "busy")
        if end == "broken":
            return error(500, "down")
    if end == "refused":
        return error(400, "no such parameter")
    if end == "cut":
        return cut("Half of it", End.RESET)
    if end == "unpriced":
        return text("No usage at all.", usage=None)
    if end == "slow":
        return stream(
            chunk({"content": "Well"}), Pause(PAUSE_S), chunk({"content": ", yes."}), chunk({}, "stop"),
            chunk(usage=usage_object(usage)),
        )  # fmt: skip
    return text("Here it is.", usage=usage)


class Mix:
    """A run of many calls; `ends` counts what their clients saw."""

    def __init__(self, gateway: GatewayProcess, upstream: ScriptedUpstream, workers: int, seed: int = 7) -> None:
        self.gateway, self.upstream, self.workers = gateway, upstream, workers
        self.ends: Counter[str] = Counter()
        self._chance = random.Random(seed)
        for model in ("main", "spare"):
            upstream.script(model, _answer)

    def run(self, calls: int, kills: int) -> None:
        """Make at least `calls` calls that are in the books, with `kills` kills spread over them."""
        done, killed = 0, 0
        while done < calls or killed < kills:
            size = max(1, min(calls // (kills + 1), 500))
            kill = killed < kills and done >= calls * killed // max(kills, 1)
            asyncio.run(self._batch(size, kill=kill))
            if kill:
                killed += 1
                if self.workers == 1:
                    self.gateway.start()
                else:
                    worker_pids(self.gateway, self.workers)
            self.upstream.requests.clear()
            [(done,)] = self.gateway.query("SELECT count(*) FROM accounts_callrecord")

    async def _batch(self, size: int, *, kill: bool) -> None:
        slots = asyncio.Semaphore(AT_ONCE)
        started = 0

        async def one(http: httpx.AsyncClient, end: str, who: str, key: str) -> None:
            nonlocal started
            async with slots:
                started += 1
                if kill and started == size // 2:
                    # In the middle: the others are in every state that a call can be in.
                    await asyncio.to_thread(self._kill)
                self.ends[await self._call(http, end, who, key)] += 1

        plan = [
            (self._pick(ENDS), self._pick(CLIENTS), THRIFTY_KEY if self._chance.random() < 0.1 else KEY)
            for _number in range(size)
        ]
        async with client(self.gateway.base_url) as http:
            await asyncio.gather(*(one(http, *each) for each in plan))

    def _pick(self, weights: dict[str, int]) -> str:
        [chosen] = self._chance.choices(list(weights), list(weights.values()))
        return chosen

    def _kill(self) -> None:
        """Kill one of several workers, with calls running in it; the only one with its server."""
        if self.workers == 1:
            self.gateway.kill()
            return
        for _try in range(20):
            alive = set(process_tree(self.gateway.pid))
            busy = [pid for pid, _calls in self.gateway.query(_BUSY) if pid in alive]
            if not busy:
                continue
            # Stopped first: between the look and the blow its calls could end.
            os.kill(busy[0], signal.SIGSTOP)
            if busy[0] in {pid for pid, _calls in self.gateway.query(_BUSY)}:
                os.kill(busy[0], signal.SIGKILL)
                return
            os.kill(busy[0], signal.SIGCONT)
        raise AssertionError("no worker was ever seen with a call running in it")

    async def _call(self, http: httpx.AsyncClient, end: str, who: str, key: str) -> str:
        """Make one call and return what became of it for its client."""
        words = f"{end}: {'word ' * self._chance.randrange(1, 60)}"
        try:
            if who == "leaves":
                async with asyncio.timeout(self._chance.random() * PAUSE_S):
                    return await self._read(http, words, who, key)
            return await self._read(http, words, who, key)
        except TimeoutError:
            return "left"
        except httpx.HTTPError:
            return "broken off"

    async def _read(self, http: httpx.AsyncClient, words: str, who: str, key: str) -> str:
        answer = await post(http, body(words), key=key)
        try:
            if answer.response.status_code != 200:
                await answer.response.aread()
                return f"status {answer.response.status_code}"
            if who == "hangs up":
                await read_until_delta(answer)
                return "hung up"
            await answer.read_all()
            return "complete" if answer.types[-1:] == ["message_stop"] else "broken off"
        finally:
            await answer.response.aclose()


def check(mix: Mix) -> Counter[str]:
    """Reap, and assert that nothing leaked and the books agree; return the calls by status."""
    gateway = mix.gateway
    # Who hung up last is settled without being waited for; a restarted server ends in order.
    if mix.workers == 1:
        gateway.terminate()
        gateway.wait()
    _settled(gateway)
    rows: Sequence[tuple[str, int]] = gateway.query("SELECT status, count(*) FROM accounts_callrecord GROUP BY status")
    by_status = Counter(dict(rows))
    assert by_status["running"] == 0, by_status
    assert gateway.query("SELECT count(*) FROM accounts_quotawindow WHERE reserved <> 0") == [(0,)]
    gateway.manage("verify_ledger")
    # What a client saw complete is on the books.
    assert by_status["ok"] >= mix.ends["complete"], (by_status, mix.ends)
    return by_status


def _settled(gateway: GatewayProcess) -> None:
    for _try in range(20):
        gateway.manage("reap_calls")
        if gateway.query("SELECT count(*) FROM accounts_callrecord WHERE status = 'running'") == [(0,)]:
            return
