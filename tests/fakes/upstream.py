"""A scripted OpenAI-compatible upstream: a real HTTP/1.1 server on loopback, in a thread with its own event loop.

A test says what a model answers (`script("big", text("Hi"), error(500, "down"))`), starts the gateway against
`base_url`, and reads afterwards what arrived (`requests`) and when the peer hung up. Delays, byte boundaries, cut
connections and silence are placed exactly, which is why no HTTP library sits in between.
"""

import asyncio
import json
import socket
import struct
import threading
import time

from tests.fakes.answers import WAIT_S, Answer, End, Gate, Pause, Received, Script, echo, error, json_answer


class ScriptedUpstream:
    """The server. `start()` and `stop()`, or a `with` block. A model without a script echoes the last user text."""

    def __init__(self) -> None:
        self.port = 0
        self.requests: list[Received] = []  # the chat requests, in order of arrival
        self._scripts: dict[str, list[Answer | Script]] = {}
        self._used: dict[str, int] = {}
        self._changed = threading.Condition()
        self.loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, name="scripted-upstream", daemon=True)
        self._ready = threading.Event()
        self.connections: set[_Connection] = set()

    @property
    def base_url(self) -> str:
        return f"http://127.0.0.1:{self.port}/v1"

    def start(self) -> "ScriptedUpstream":
        self._thread.start()
        self._ready.wait(WAIT_S)
        return self

    def stop(self) -> None:
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join(WAIT_S)

    def __enter__(self) -> "ScriptedUpstream":
        return self.start()

    def __exit__(self, *exc_info: object) -> None:
        self.stop()

    def script(self, model: str, *answers: Answer | Script) -> None:
        """Answer the next requests for `model` with `answers`, one each; the last is repeated for ever."""
        with self._changed:
            self._scripts[model] = list(answers)
            self._used[model] = 0

    def gate(self) -> Gate:
        """Return a closed gate to put between the steps of an answer."""
        return Gate(self.loop)

    def clear(self) -> None:
        """Forget the requests and the scripts."""
        with self._changed:
            self.requests.clear()
            self._scripts.clear()
            self._used.clear()

    def wait_requests(self, count: int, timeout_s: float = WAIT_S) -> list[Received]:
        """Return the requests when at least `count` have arrived. Raises `TimeoutError`."""
        with self._changed:
            if not self._changed.wait_for(lambda: len(self.requests) >= count, timeout_s):
                raise TimeoutError(f"{len(self.requests)} of {count} requests arrived in {timeout_s} s")
            return list(self.requests)

    def answer(self, request: Received) -> Answer:
        """Return the scripted answer to `request` and record it."""
        if request.method == "GET":
            with self._changed:
                names = list(self._scripts) or ["echo"]
            return json_answer({"object": "list", "data": [{"id": name, "object": "model"} for name in names]})
        with self._changed:
            self.requests.append(request)
            answers = self._scripts.get(request.model)
            position = self._used.get(request.model, 0)
            self._used[request.model] = position + 1
            self._changed.notify_all()
        chosen = echo if answers is None else answers[min(position, len(answers) - 1)]
        return chosen if isinstance(chosen, Answer) else chosen(request)

    def _run(self) -> None:
        asyncio.set_event_loop(self.loop)
        server = self.loop.run_until_complete(
            self.loop.create_server(lambda: _Connection(self), "127.0.0.1", 0, backlog=512)
        )
        self.port = server.sockets[0].getsockname()[1]
        self._ready.set()
        self.loop.run_forever()
        server.close()
        for connection in list(self.connections):
            connection.abort()
        self.loop.run_until_complete(asyncio.sleep(0))
        pending = asyncio.all_tasks(self.loop)
        for task in pending:
            task.cancel()
        self.loop.run_until_complete(asyncio.gather(*pending, return_exceptions=True))
        self.loop.close()


class _Connection(asyncio.Protocol):
    """One connection: requests one after the other, each answered by a task that ends when the peer leaves."""

    def __init__(self, upstream: ScriptedUpstream) -> None:
        self._upstream = upstream
        self._buffer = bytearray()
        self._head: list[str] | None = None
        self._task: asyncio.Task[None] | None = None
        self._request: Received | None = None
        self._may_write = asyncio.Event()
        self._may_write.set()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._upstream.connections.add(self)
        transport.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def connection_lost(self, exc: Exception | None) -> None:
        self._upstream.connections.discard(self)
        self._may_write.set()
        if self._request is not None and not self._request.ended.is_set():
            self._request.hung_up_at = time.monotonic()
            self._request.ended.set()
        if self._task is not None:
            self._task.cancel()

    def pause_writing(self) -> None:
        self._may_write.clear()

    def resume_writing(self) -> None:
        self._may_write.set()

    def abort(self) -> None:
        self._transport.abort()

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        if self._task is None:
            self._take_request()

    def _take_request(self) -> None:
        """Start answering when the buffer holds a whole request. Only bodies with a content-length are understood."""
        if self._head is None:
            end = self._buffer.find(b"\r\n\r\n")
            if end < 0:
                return
            self._head = self._buffer[:end].decode("latin-1").split("\r\n")
            del self._buffer[: end + 4]
        request_line, *header_lines = self._head
        pairs = (line.partition(":") for line in header_lines)
        headers = {name.strip().lower(): value.strip() for name, _, value in pairs}
        length = int(headers.get("content-length", "0"))
        if len(self._buffer) < length:
            return
        raw = bytes(self._buffer[:length])
        del self._buffer[:length]
        self._head = None
        method, path, _ = request_line.split(" ", 2)
        try:
            body = json.loads(raw) if raw else None
        except ValueError:
            body = None
        self._request = Received(method, path, headers, raw, body, time.monotonic())
        self._task = self._upstream.loop.create_task(self._answer(self._request))

    async def _answer(self, request: Received) -> None:
        try:
            answer = self._upstream.answer(request)
        except Exception as failure:  # noqa: BLE001 - the test must see it, and not as a hanging connection
            answer = error(400, f"the script failed: {failure!r}")
        if answer.delay_s:
            await asyncio.sleep(answer.delay_s)
        headers = dict(answer.headers)
        if answer.sized:
            headers["content-length"] = str(sum(len(step) for step in answer.steps if isinstance(step, bytes)))
        else:
            headers["transfer-encoding"] = "chunked"
        lines = [f"HTTP/1.1 {answer.status} Scripted", *(f"{name}: {value}" for name, value in headers.items())]
        self._transport.write("\r\n".join([*lines, "", ""]).encode("latin-1"))
        for step in answer.steps:
            if isinstance(step, bytes):
                await self._may_write.wait()
                self._transport.write(step if answer.sized else b"%x\r\n%s\r\n" % (len(step), step))
                request.steps_sent += 1
                await asyncio.sleep(0)  # each step its own write, so that the peer sees it at once
            elif isinstance(step, Pause):
                await asyncio.sleep(step.seconds)
            elif isinstance(step, Gate):
                await step.wait()
            else:
                await self._end(step)
                return
        if not answer.sized:
            self._transport.write(b"0\r\n\r\n")
        request.answered_at = time.monotonic()
        request.ended.set()
        self._task = None
        self._take_request()

    async def _end(self, end: End) -> None:
        assert self._request is not None
        if end is End.SILENCE:
            await asyncio.Event().wait()
        # What was written must have been read, or a reset would throw it away in the peer's kernel.
        await asyncio.sleep(0.05)
        self._request.answered_at = time.monotonic()
        self._request.ended.set()
        if end is End.RESET:
            linger = struct.pack("ii", 1, 0)
            self._transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
            self._transport.abort()
        else:
            self._transport.close()
