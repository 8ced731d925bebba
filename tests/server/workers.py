"""Talks to each worker of a gateway of several: on connections that only this worker can have accepted."""

import asyncio
import contextlib
import os
import signal
from collections.abc import AsyncIterator, Iterator, Sequence
from typing import Any

import httpx

from tests.fakes.gateway_process import KEY, GatewayProcess, process_tree, wait_until

TOOL = {"name": "Bash", "input_schema": {"type": "object", "properties": {"command": {"type": "string"}}}}


def loop_of(words: str, *results: str) -> list[dict[str, Any]]:
    """Return the messages of a tool loop that began with `words`, after so many results of tools."""
    messages: list[dict[str, Any]] = [{"role": "user", "content": words}]
    for number, result in enumerate(results):
        call = {"type": "tool_use", "id": f"toolu_{number}", "name": "Bash", "input": {"command": "ls"}}
        messages += [
            {"role": "assistant", "content": [call]},
            {"role": "user", "content": [{"type": "tool_result", "tool_use_id": call["id"], "content": result}]},
        ]
    return messages


class Worker:
    """One worker process and connections to it."""

    def __init__(self, pid: int, connections: list[httpx.AsyncClient]) -> None:
        self.pid = pid
        self._connections = connections

    async def ask(
        self, said: str | Sequence[dict[str, Any]], *, session: str = "", model: str = "any", key: str = KEY
    ) -> httpx.Response:
        """Send words, or the messages of a loop, on the first connection and return the whole answer."""
        return await self._ask(self._connections[0], said, session=session, model=model, key=key)

    async def ask_all(
        self, said: str | Sequence[dict[str, Any]], *, session: str = "", model: str = "any", key: str = KEY
    ) -> list[httpx.Response]:
        """Send the same on all connections at once and return the answers."""
        asked = [self._ask(one, said, session=session, model=model, key=key) for one in self._connections]
        return list(await asyncio.gather(*asked))

    async def _ask(
        self, http: httpx.AsyncClient, said: str | Sequence[dict[str, Any]], *, session: str, model: str, key: str
    ) -> httpx.Response:
        messages = [{"role": "user", "content": said}] if isinstance(said, str) else list(said)
        headers = {"x-api-key": key, **({"x-claude-code-session-id": session} if session else {})}
        request = {"model": model, "max_tokens": 1000, "messages": messages, "tools": [TOOL]}
        return await http.post("/v1/messages", json=request, headers=headers)


def worker_pids(gateway: GatewayProcess, count: int) -> list[int]:
    """Return the processes of the `count` workers when all have registered: the server itself where it is the only one."""
    found: list[int] = []

    def registered() -> bool:
        alive = set(process_tree(gateway.pid))
        found[:] = [pid for (pid,) in gateway.query("SELECT pid FROM accounts_worker ORDER BY pid") if pid in alive]
        return len(found) == count

    wait_until(registered, 60)
    return found


@contextlib.asynccontextmanager
async def all_workers(gateway: GatewayProcess, count: int, *, connections: int = 1) -> AsyncIterator[list[Worker]]:
    """Yield the workers of `gateway` with so many connections to each."""
    async with contextlib.AsyncExitStack() as stack:
        workers = []
        pids = await asyncio.to_thread(worker_pids, gateway, count)
        for pid in pids:
            with _stopped(other for other in pids if other != pid):
                clients = [
                    await stack.enter_async_context(
                        httpx.AsyncClient(
                            base_url=gateway.base_url,
                            timeout=30,
                            verify=False,
                            limits=httpx.Limits(max_connections=1, max_keepalive_connections=1, keepalive_expiry=60),
                        )
                    )
                    for _ in range(connections)
                ]
                for client in clients:
                    # It asks no database, whose locks a stopped worker may hold.
                    assert (await client.get("/healthz")).status_code == 200
            workers.append(Worker(pid, clients))
        yield workers


@contextlib.contextmanager
def _stopped(pids: Iterator[int]) -> Iterator[None]:
    """Keep processes from accepting anything meanwhile."""
    held = list(pids)
    try:
        for pid in held:
            os.kill(pid, signal.SIGSTOP)
        yield
    finally:
        for pid in held:
            os.kill(pid, signal.SIGCONT)
