"""Kept connections against a real socket: what is sent again after the upstream closed one, and what never is."""

import asyncio
import contextlib
import socket
import struct
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import pytest

from providers.clients.base import Recording
from providers.clients.http import close_shared_client, open_shared_client, post
from providers.errors import ErrorKind as K
from providers.errors import UpstreamError
from providers.target import Target, Timeouts
from tests.providers.test_http import OK, TARGET

ANSWER = OK + b"content-length: 2\r\n\r\nok"


class Upstream:
    """A socket whose n-th request, over all connections, meets the n-th act; each says whether to go on reading."""

    def __init__(self, *acts: "Act") -> None:
        self.acts = list(acts)
        self.requests: list[int] = []  # the number of the connection that each came on
        self.connections = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        number = self.connections
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                await reader.readuntil(b"\r\n\r\n")
                await reader.readexactly(2)
                self.requests.append(number)
                act = self.acts[len(self.requests) - 1]
                if not await act(writer):
                    break
        writer.close()


Act = Callable[[asyncio.StreamWriter], Awaitable[bool]]


async def answer(writer: asyncio.StreamWriter) -> bool:
    writer.write(ANSWER)
    await writer.drain()
    return True


async def close(_writer: asyncio.StreamWriter) -> bool:
    return False


async def reset(writer: asyncio.StreamWriter) -> bool:
    linger = struct.pack("ii", 1, 0)
    writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
    writer.transport.abort()
    return False


async def begin_and_close(writer: asyncio.StreamWriter) -> bool:
    writer.write(b"HTTP/1.1 200 O")
    await writer.drain()
    return False


async def hang(_writer: asyncio.StreamWriter) -> bool:
    await asyncio.Event().wait()
    return False


@asynccontextmanager
async def running(upstream: Upstream) -> AsyncIterator[str]:
    listener = await asyncio.start_server(upstream.serve, "127.0.0.1", 0)
    await open_shared_client()
    try:
        yield f"http://127.0.0.1:{listener.sockets[0].getsockname()[1]}/v1/chat/completions"
    finally:
        await close_shared_client()
        listener.close()


async def ask(url: str, target: Target = TARGET, recording: Recording | None = None) -> bytes:
    """Return the body of one answer, whose connection is kept."""
    now = asyncio.get_running_loop().time()
    stream = await post(
        target, url, {"content-type": "application/json"}, b"{}", recording=recording,
        before=now + target.timeouts.first_event_s, deadline=now + target.timeouts.total_s,
    )  # fmt: skip
    body = b""
    while (data := await stream.read()) is not None:
        body += data
    await stream.aclose(finished=True)
    return body


async def failure(asking: Coroutine[Any, Any, bytes]) -> UpstreamError:
    with pytest.raises(UpstreamError) as caught:
        await asking
    return caught.value


def run(upstream: Upstream, use: Callable[[str], Awaitable[None]]) -> None:
    async def scenario() -> None:
        async with running(upstream) as url:
            await use(url)

    asyncio.run(scenario())


def with_upstream(*acts: Act, use: Callable[[str], Awaitable[None]]) -> Upstream:
    upstream = Upstream(*acts)
    run(upstream, use)
    return upstream


@pytest.mark.parametrize("end", [close, reset])
def test_a_request_that_a_kept_connection_was_closed_under_is_sent_again_on_a_fresh_one(end: Act) -> None:
    recording = Recording(keeps_bodies=True)

    async def use(url: str) -> None:
        assert await ask(url) == b"ok"
        assert await ask(url, recording=recording) == b"ok"

    upstream = with_upstream(answer, end, answer, use=use)
    assert upstream.requests == [1, 1, 2]
    assert (recording.request_bytes, recording.status, bytes(recording.response_body)) == (2, 200, b"ok")


@pytest.mark.parametrize("end", [close, reset])
def test_a_fresh_connection_that_is_closed_is_not_asked_again(end: Act) -> None:
    async def use(url: str) -> None:
        assert (await failure(ask(url))).kind is K.UNREACHABLE

    assert with_upstream(end, answer, use=use).requests == [1]


@pytest.mark.parametrize("end", [close, reset])
def test_nothing_is_sent_a_third_time(end: Act) -> None:
    async def use(url: str) -> None:
        await ask(url)
        assert (await failure(ask(url))).kind is K.UNREACHABLE

    assert with_upstream(answer, end, end, answer, use=use).requests == [1, 1, 2]


def test_other_kept_connections_are_not_tried() -> None:
    async def use(url: str) -> None:
        meeting = asyncio.Barrier(2)

        async def together(writer: asyncio.StreamWriter) -> bool:
            await meeting.wait()
            return await answer(writer)

        upstream.acts[:2] = [together, together]
        await asyncio.gather(ask(url), ask(url))
        assert await ask(url) == b"ok"

    upstream = Upstream(answer, answer, close, answer)
    run(upstream, use)
    assert upstream.requests[:2] == [1, 2]
    assert upstream.requests[2] in (1, 2)
    assert upstream.requests[3:] == [3]


def test_an_answer_that_had_begun_is_not_asked_for_again() -> None:
    async def use(url: str) -> None:
        await ask(url)
        assert (await failure(ask(url))).kind in (K.UNREACHABLE, K.BAD_RESPONSE)

    assert with_upstream(answer, begin_and_close, answer, use=use).requests == [1, 1]


def test_a_timeout_is_not_asked_again() -> None:
    target = replace(TARGET, timeouts=Timeouts(connect_s=1, first_event_s=0.05, idle_s=1, total_s=2))

    async def use(url: str) -> None:
        await ask(url)
        assert (await failure(ask(url, target))).kind is K.TIMEOUT

    assert with_upstream(answer, hang, answer, use=use).requests == [1, 1]


def test_who_closes_after_a_while_is_not_asked_again(monkeypatch: pytest.MonkeyPatch) -> None:
    # The call may have been worked on until then.
    monkeypatch.setattr("providers.clients.kept_connection._RACE_S", 0.0)

    async def use(url: str) -> None:
        await ask(url)
        assert (await failure(ask(url))).kind is K.UNREACHABLE

    assert with_upstream(answer, close, answer, use=use).requests == [1, 1]
