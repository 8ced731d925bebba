"""A target that takes a call and says nothing: nobody waits for it twice as long as for the others."""

import asyncio
from unittest.mock import patch

import httpx

from accounts import ledger_thread
from providers.errors import ErrorKind, UpstreamError
from routing import health, patience
from routing.health import Health
from routing.models import RuntimeSettings, TargetHealth
from tests.fakes.transport import Reply, text_stream
from tests.gateway.case import GatewayCase, RunningGateway, body


class PatienceTests(GatewayCase):
    def setUp(self) -> None:
        super().setUp()
        RuntimeSettings.objects.update(cooldown_enabled=True)
        self.now = 1000.0
        self.health = health.start_anew(Health(lambda: self.now, lambda: self.now + 1_700_000_000))

    def reply(self, request: httpx.Request) -> Reply:
        """Say nothing as `up/a`, ever; answer as `up/b`."""
        if b'"a"' in request.content:
            return Reply([], silent=True)
        return Reply(text_stream("from b"))

    def asked(self, gateway: RunningGateway) -> str:
        """Return the models that were asked since the last time."""
        models = "".join(sent["model"] for sent in gateway.upstream.bodies)
        gateway.upstream.requests.clear()
        return models

    async def test_who_tries_a_silent_target_again_soon_asks_the_next_one(self) -> None:
        async with self.gateway(self.reply) as gateway:
            snapshot = ledger_thread.current().snapshot
            assert snapshot is not None
            silence = UpstreamError(ErrorKind.TIMEOUT, "no answer came in time", provider="up")
            self.health.failed(snapshot.targets["up/a"], "default", silence)
            self.now += 60
            with patch.object(patience, "OF_A_PROBE_S", 0.02):
                async with asyncio.timeout(5):
                    answer = await gateway.send(body(stream=True))
            assert answer.headers["x-gateway-model"] == "up/b"
            assert self.asked(gateway) == "ab"
            assert self.health.is_cooling("up/a", "default")

    async def test_a_client_that_gives_up_on_a_silent_target_spares_the_others(self) -> None:
        for streamed, name in ((True, "OF_A_CLIENT_S"), (False, "OF_A_CLIENT_WITHOUT_STREAM_S")):
            self.health = health.start_anew(Health(lambda: self.now, lambda: self.now + 1_700_000_000))
            async with self.gateway(self.reply) as gateway:
                with patch.object(patience, name, 0.01):
                    call = asyncio.create_task(gateway.send(body(stream=streamed)))
                    while not gateway.upstream.requests:
                        await asyncio.sleep(0.001)
                    await asyncio.sleep(0.02)
                    call.cancel()
                    await asyncio.wait({call})
                    async with asyncio.timeout(2):
                        while not self.health.is_cooling("up/a", "default"):
                            await asyncio.sleep(0.001)
                self.asked(gateway)
                assert (await gateway.send(body(stream=True))).headers["x-gateway-model"] == "up/b"
                assert self.asked(gateway) == "b"
            await TargetHealth.objects.all().adelete()

    async def test_a_client_that_hangs_up_early_says_nothing_of_the_target(self) -> None:
        async with self.gateway(self.reply) as gateway:
            call = asyncio.create_task(gateway.send(body(stream=True)))
            while not gateway.upstream.requests:
                await asyncio.sleep(0.001)
            call.cancel()
            await asyncio.wait({call})
            assert self.health.cooling() == []
