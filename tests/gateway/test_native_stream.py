"""Streams of native targets as a client sees them: the first byte at once, every byte as it came, pings in silence."""

import asyncio
import json
import time
from typing import Any

import anthropic
import httpx2

from accounts.models import CallRecord
from gateway.asgi import application
from providers.clients.native_answers import GRACE_S
from routing.models import Policy, RuntimeSettings
from tests.fakes.transport import Reply, events, json_reply
from tests.gateway.case import body
from tests.gateway.test_passthrough import BLOCK, DELTA, ERROR, MESSAGE, START, STREAM, PassthroughCase, joined


class Client:
    """A client of the ASGI application that notes when each piece of the body arrives."""

    def __init__(self, secret: str, content: bytes) -> None:
        self.status = 0
        self.pieces: list[tuple[float, bytes]] = []
        self._content = content
        self._gone = asyncio.Event()
        self._arrived = asyncio.Event()
        self._was_read = False
        headers = [(b"authorization", f"Bearer {secret}".encode()), (b"content-type", b"application/json")]
        self._scope = {
            "type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": "POST", "scheme": "http",
            "path": "/v1/messages", "raw_path": b"/v1/messages", "query_string": b"beta=true", "headers": headers,
            "server": ("gateway.test", 80), "client": ("127.0.0.1", 1), "root_path": "",
        }  # fmt: skip
        self._task = asyncio.create_task(application(self._scope, self._receive, self._send))  # type: ignore[arg-type]

    async def _receive(self) -> dict[str, Any]:
        if not self._was_read:
            self._was_read = True
            return {"type": "http.request", "body": self._content, "more_body": False}
        await self._gone.wait()
        return {"type": "http.disconnect"}

    async def _send(self, message: Any) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
        elif message.get("body"):
            self.pieces.append((time.monotonic(), message["body"]))
            self._arrived.set()

    async def first(self) -> tuple[float, bytes]:
        async with asyncio.timeout(5):
            await self._arrived.wait()
        return self.pieces[0]

    async def all(self) -> bytes:
        async with asyncio.timeout(5):
            await self._task
        return b"".join(piece for _at, piece in self.pieces)

    async def leave(self) -> None:
        self._gone.set()
        await asyncio.wait({self._task}, timeout=5)


class FirstByteTests(PassthroughCase):
    async def first_of(self, *pieces: Any) -> tuple[float, bytes]:
        """Return how long after the upstream's first byte the client has its own, and what that is."""
        reply = Reply([*pieces, None])
        async with self.gateway(reply) as gateway:
            client = Client(self.secret, json.dumps(body(stream=True)).encode())
            await reply.began.wait()
            begin = time.monotonic()
            at, piece = await client.first()
            assert client.status == 200
            await client.leave()
            assert reply.closed
        assert gateway.upstream.requests
        call = await CallRecord.objects.order_by("-started_at").afirst()
        assert call is not None
        assert call.status == "cancelled"
        return at - begin, piece

    async def test_passed_through_it_is_there_at_once(self) -> None:
        for pieces in (events(START), events({"type": "ping"}), [b": keep-alive\n\n"]):
            waited, piece = await self.first_of(*pieces)
            assert piece == joined(pieces)
            assert waited < GRACE_S

    async def test_else_the_start_is_held_for_a_short_grace_alone(self) -> None:
        await Policy.objects.aupdate(mode="direct")
        waited, piece = await self.first_of(*events(START))
        assert piece == joined(events(START))
        assert GRACE_S * 0.9 < waited < GRACE_S + 1
        waited, piece = await self.first_of(*events(START, BLOCK))
        assert waited < GRACE_S
        assert piece == joined(events(START, BLOCK))

    async def test_what_comes_behind_the_grace_is_relayed_error_or_not(self) -> None:
        await Policy.objects.aupdate(mode="direct")
        for rest in (STREAM[1:], events(ERROR)):
            gate = asyncio.Event()
            async with self.gateway(Reply([*events(START), gate, *rest])) as gateway:
                client = Client(self.secret, json.dumps(body(stream=True)).encode())
                await client.first()
                gate.set()
                assert await client.all() == joined([*events(START), *rest])
            assert len(gateway.upstream.requests) == 1


class PingTests(PassthroughCase):
    async def test_pings_come_in_silence_alone(self) -> None:
        await RuntimeSettings.objects.aupdate_or_create(pk=1, defaults={"ping_interval_s": 0.05})
        async with self.gateway(Reply(list(STREAM))) as gateway:
            response = await gateway.send(body(stream=True))
        assert response.content == joined(STREAM)
        gate = asyncio.Event()
        async with self.gateway(Reply([*STREAM[:3], gate, *STREAM[3:]])) as gateway:
            asyncio.get_running_loop().call_later(0.3, gate.set)
            response = await gateway.send(body(stream=True))
        ping = b'event: ping\ndata: {"type":"ping"}\n\n'
        before, between, after = response.content.partition(ping)
        assert between
        assert before == joined(STREAM[:3])
        assert (ping + after).replace(ping, b"") == joined(STREAM[3:])


class SdkTests(PassthroughCase):
    """The official SDK reads what is passed through."""

    async def test_stream_and_message_are_the_same(self) -> None:
        async with self.gateway(Reply(list(STREAM)), json_reply(MESSAGE)), self.sdk() as client:
            asked: Any = {
                "model": "claude-opus-5-5",
                "max_tokens": 100,
                "messages": [{"role": "user", "content": "hi"}],
            }
            text = ""
            async with client.messages.stream(**asked) as stream:
                async for part in stream.text_stream:
                    text += part
                final = await stream.get_final_message()
            message = await client.messages.create(**asked)
        assert text == DELTA["delta"]["text"]  # type: ignore[index]
        assert (final.stop_reason, final.usage.output_tokens) == ("end_turn", 5)
        assert message.content[0].text == "permission limit expired"  # type: ignore[union-attr]

    async def test_an_error_is_the_upstreams(self) -> None:
        async with self.gateway(json_reply(ERROR, 400), Reply(events(START, ERROR))), self.sdk() as client:
            for streamed in (False, True):
                with self.assertRaises(anthropic.APIStatusError) as caught:
                    answer = await client.messages.create(
                        model="m", max_tokens=9, messages=[{"role": "user", "content": "hi"}], stream=streamed
                    )
                    async for _event in answer:  # type: ignore[union-attr]
                        pass
                assert caught.exception.body == ERROR

    def sdk(self) -> anthropic.AsyncAnthropic:
        transport = httpx2.ASGITransport(application)  # type: ignore[arg-type]
        return anthropic.AsyncAnthropic(
            base_url="http://gateway.test",
            api_key=None,
            auth_token=self.secret,
            max_retries=0,
            http_client=httpx2.AsyncClient(transport=transport),
        )
