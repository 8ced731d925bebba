"""The shared client against a real socket: what each fault of httpx-aiohttp becomes, and how connections are kept."""

import asyncio
import gzip
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest
from aiohttp.abc import AbstractResolver, ResolveResult

from providers.clients.http import UpstreamStream, close_shared_client, open_shared_client, post, shared_client
from providers.errors import ErrorKind as K
from providers.errors import UpstreamError
from providers.network import GuardedResolver
from providers.target import Target, Timeouts
from providers.translation.dialect import Dialect

TARGET = Target(
    provider_name="main",
    kind="openai_compatible",
    wire_format="openai",
    base_url="http://127.0.0.1/v1",
    secrets=(),
    model_id="m",
    timeouts=Timeouts(connect_s=1, first_event_s=1, idle_s=0.05, total_s=2),
    dialect=Dialect(),
    allow_private_network=True,
)

Answer = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


class Server:
    """A socket that answers each request with the same bytes, then does what `after` says: close, keep or hang."""

    def __init__(self, answer: bytes, after: str = "close") -> None:
        self.answer = answer
        self.after = after
        self.connections = 0
        self.requests: list[bytes] = []
        self.peer_gone = asyncio.Event()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                self.requests.append(head)
                await reader.readexactly(2)
                writer.write(self.answer)
                await writer.drain()
                if self.after == "close":
                    break
                if self.after == "hang":
                    await reader.read()
                    break
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            self.peer_gone.set()
            writer.close()


@asynccontextmanager
async def running(server: Server) -> AsyncIterator[str]:
    listener = await asyncio.start_server(server.serve, "127.0.0.1", 0)
    await open_shared_client()
    try:
        yield f"http://127.0.0.1:{listener.sockets[0].getsockname()[1]}/v1/chat/completions"
    finally:
        await close_shared_client()
        listener.close()


async def send(url: str, target: Target = TARGET) -> UpstreamStream:
    now = asyncio.get_running_loop().time()
    return await post(
        target, url, {"content-type": "application/json"}, b"{}",
        before=now + target.timeouts.first_event_s, deadline=now + target.timeouts.total_s,
    )  # fmt: skip


async def read_all(url: str, target: Target = TARGET) -> bytes:
    stream = await send(url, target)
    body = b""
    try:
        while (data := await stream.read()) is not None:
            body += data
    finally:
        await stream.aclose()
    return body


def fault(server: Server, target: Target = TARGET, path: str = "") -> UpstreamError:
    async def scenario() -> None:
        async with running(server) as url:
            await read_all(path or url, target)

    with pytest.raises(UpstreamError) as caught:
        asyncio.run(scenario())
    return caught.value


OK = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n"


@pytest.mark.parametrize(
    ("answer", "after", "kind"),
    [
        (b"", "close", K.UNREACHABLE),  # closes without an answer
        (b"HELLO\r\n\r\n", "close", K.BAD_RESPONSE),  # no status line
        (OK + b"content-length: 100\r\n\r\nabc", "close", K.BAD_RESPONSE),  # a cut body
        (OK + b"transfer-encoding: chunked\r\n\r\n5\r\nab", "close", K.BAD_RESPONSE),
        (OK + b"transfer-encoding: chunked\r\n\r\nzz\r\nab\r\n", "close", K.BAD_RESPONSE),
        (OK + b"x-big: " + b"a" * 200_000 + b"\r\n\r\n", "close", K.BAD_RESPONSE),  # beyond our limit too
        (OK + b"content-length: 100\r\n\r\nabc", "hang", K.TIMEOUT),  # silence in the body
        (OK + b"content-encoding: gzip\r\ncontent-length: 3\r\n\r\nabc", "close", K.BAD_RESPONSE),
    ],
)
def test_fault_of_the_wire(answer: bytes, after: str, kind: K) -> None:
    found = fault(Server(answer, after))
    assert found.kind == kind
    assert found.provider == "main"
    assert found.message
    assert not found.never_connected  # somebody was there: the rest of the platform may be well


def test_silence_before_the_headers_is_a_timeout() -> None:
    target = replace(TARGET, timeouts=Timeouts(connect_s=1, first_event_s=0.05, idle_s=1, total_s=2))
    assert fault(Server(b"", "hang"), target).kind == K.TIMEOUT


def test_the_whole_call_is_bounded() -> None:
    target = replace(TARGET, timeouts=Timeouts(connect_s=1, first_event_s=1, idle_s=1, total_s=0.05))
    found = fault(Server(OK + b"content-length: 9\r\n\r\nabc", "hang"), target)
    assert (found.kind, found.message) == (K.TIMEOUT, "the answer took longer than allowed")


def test_refused_connection_is_unreachable() -> None:
    found = fault(Server(b""), path="http://127.0.0.1:1/v1/chat/completions")
    assert (found.kind, found.message) == (K.UNREACHABLE, "the connection was refused")
    assert (found.never_connected, found.cooldown_scope) == (True, "provider")


def test_handshake_that_does_not_come_about_is_none() -> None:
    async def scenario() -> None:
        async with running(Server(b"", "hang")) as url:
            target = replace(TARGET, timeouts=Timeouts(connect_s=0.1, first_event_s=2, idle_s=2, total_s=2))
            await read_all(url.replace("http:", "https:"), target)

    with pytest.raises(UpstreamError) as caught:
        asyncio.run(scenario())
    assert caught.value.never_connected
    assert caught.value.kind in (K.TIMEOUT, K.UNREACHABLE)


def test_name_that_leads_home_is_refused_by_the_guard(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("providers.clients.http.GuardedResolver", lambda: GuardedResolver(HomeResolver()))

    async def scenario() -> None:
        server = Server(OK + b"content-length: 2\r\n\r\nok", "keep")
        async with running(server) as url:
            named = url.replace("127.0.0.1", "name.example")
            with pytest.raises(UpstreamError) as caught:
                await send(named, replace(TARGET, allow_private_network=False))
            assert caught.value.kind == K.UNREACHABLE
            assert "private address" in caught.value.message
            assert server.requests == []

    asyncio.run(scenario())


class HomeResolver(AbstractResolver):
    """Says that every name is at 127.0.0.1."""

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        return [{"hostname": host, "host": "127.0.0.1", "port": port, "family": family, "proto": 0, "flags": 0}]

    async def close(self) -> None: ...


def test_header_larger_than_aiohttps_default_is_taken() -> None:
    async def scenario() -> bytes:
        async with running(Server(OK + b"x-big: " + b"a" * 20_000 + b"\r\ncontent-length: 2\r\n\r\nok")) as url:
            return await read_all(url)

    assert asyncio.run(scenario()) == b"ok"


def test_compressed_answer_is_decoded() -> None:
    packed = gzip.compress(b"data: {}\n\n")
    head = OK + b"content-encoding: gzip\r\ncontent-length: %d\r\n\r\n" % len(packed)

    async def scenario() -> bytes:
        async with running(Server(head + packed)) as url:
            return await read_all(url)

    assert asyncio.run(scenario()) == b"data: {}\n\n"


def test_finished_answer_keeps_its_connection_and_an_abandoned_one_closes_it() -> None:
    async def scenario() -> None:
        server = Server(OK + b"transfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n", "keep")
        async with running(server) as url:
            for _ in range(3):
                stream = await send(url)
                assert await stream.read() == b"ok"
                await stream.aclose(finished=True)
            assert (server.connections, len(server.requests)) == (1, 3)
        server = Server(OK + b"transfer-encoding: chunked\r\n\r\n2\r\nok\r\n", "hang")
        async with running(server) as url:
            stream = await send(url)
            assert await stream.read() == b"ok"
            await stream.aclose()
            async with asyncio.timeout(1):
                await server.peer_gone.wait()

    asyncio.run(scenario())


def test_no_cookie_of_one_call_reaches_another() -> None:
    async def scenario() -> None:
        server = Server(OK + b"set-cookie: session=abc; path=/\r\ncontent-length: 2\r\n\r\nok", "keep")
        async with running(server) as url:
            await read_all(url)
            await read_all(url)
            assert all(b"cookie" not in request.lower() for request in server.requests)
            assert b"accept-encoding: identity" in server.requests[0].lower()

    asyncio.run(scenario())


def test_client_must_be_open_and_only_once() -> None:
    async def scenario() -> None:
        with pytest.raises(RuntimeError):
            shared_client()
        await open_shared_client()
        with pytest.raises(RuntimeError):
            await open_shared_client()
        await close_shared_client()
        await close_shared_client()

    asyncio.run(scenario())
