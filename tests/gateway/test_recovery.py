"""How a target comes back: one call tries it when its time is over, on a clock that the test moves."""

import asyncio

import httpx

from routing import health
from routing.health import Health
from routing.models import RuntimeSettings, TargetHealth
from tests.fakes.transport import Reply, chunk, json_reply, sse, text_stream
from tests.gateway.case import GatewayCase, RunningGateway, body


class RecoveryTests(GatewayCase):
    def setUp(self) -> None:
        super().setUp()
        RuntimeSettings.objects.update(cooldown_enabled=True)
        self.now = 1000.0
        self.health = health.start_anew(Health(lambda: self.now, lambda: self.now + 1_700_000_000))
        self.is_down = True
        self.gate: asyncio.Event | None = None

    def reply(self, request: httpx.Request) -> Reply:
        """Answer as `up/a`, which may be down, or as `up/b`, which never is."""
        if b'"b"' in request.content:
            return Reply(text_stream("from b"))
        if self.is_down:
            return json_reply({"error": {"message": "busy"}}, 503)
        return Reply(text_stream("from a"), gate=self.gate)

    def asked(self, gateway: RunningGateway) -> str:
        """Return the models that were asked since the last time."""
        models = "".join(sent["model"] for sent in gateway.upstream.bodies)
        gateway.upstream.requests.clear()
        return models

    async def test_a_target_that_is_well_again_is_found_by_one_call_while_the_others_go_on_without_it(self) -> None:
        async with self.gateway(self.reply) as gateway:
            await gateway.send()
            await gateway.send()
            assert self.asked(gateway) == "abb"
            self.now += 30
            await gateway.send()  # tries, and fails
            await gateway.send()
            assert self.asked(gateway) == "abb"
            self.now += 59
            await gateway.send()
            assert self.asked(gateway) == "b"  # twice as long
            self.now += 1
            self.is_down, self.gate = False, asyncio.Event()
            probe = asyncio.create_task(gateway.send(body(stream=True)))
            while not gateway.upstream.requests:
                await asyncio.sleep(0.001)
            others = await asyncio.gather(*(gateway.send() for _ in range(5)))
            assert self.asked(gateway) == "abbbbb"
            assert {response.headers["x-gateway-model"] for response in others} == {"up/b"}
            self.gate.set()
            assert (await probe).headers["x-gateway-model"] == "up/a"
            await asyncio.gather(*(gateway.send() for _ in range(5)))
            assert self.asked(gateway) == "aaaaa"
            assert self.health.cooling() == []
        row = await TargetHealth.objects.aget(credential_name="default")
        assert (row.failures, row.cooling_until, row.error_kind) == (0, None, "overloaded")

    async def test_a_probe_whose_client_hangs_up_leaves_the_trial_to_the_next_call(self) -> None:
        async with self.gateway(self.reply) as gateway:
            await gateway.send()
            self.now += 30
            self.is_down, self.gate = False, asyncio.Event()
            self.asked(gateway)
            probe = asyncio.create_task(gateway.send())
            while not gateway.upstream.requests:
                await asyncio.sleep(0.001)
            probe.cancel()
            await asyncio.wait({probe})
            async with asyncio.timeout(2):
                while self.health.is_cooling("up/a", "default"):
                    await asyncio.sleep(0.001)
            self.gate.set()
            assert (await gateway.send()).headers["x-gateway-model"] == "up/a"

    async def test_a_request_that_is_wrong_neither_cools_nor_heals(self) -> None:
        wrong = json_reply({"error": {"message": "no such field"}}, 400)
        async with self.gateway(wrong) as gateway:
            assert (await gateway.send()).status_code == 400
        assert self.health.cooling() == []
        assert not await TargetHealth.objects.aexists()

    async def test_an_unreachable_platform_comes_back_for_all_its_models_at_once(self) -> None:
        replies = [Reply(failure=httpx.ConnectError("refused")), Reply(text_stream()), Reply(text_stream())]
        async with self.gateway(*replies) as gateway:
            assert (await gateway.send()).status_code == 502
            assert self.health.is_cooling("up/b", "another")
            self.now += 30
            assert (await gateway.send()).status_code == 200
            assert not self.health.is_cooling("up/b", "another")

    async def test_only_streams_teach_how_soon_a_target_begins(self) -> None:
        self.is_down = False
        async with self.gateway(self.reply) as gateway:
            await gateway.send()
            assert self.health.ttft_ms("up/a") is None
            await gateway.send(body(stream=True))
            known = self.health.ttft_ms("up/a")
            assert known is not None
            # The first row is written with the next batch.
            await gateway.send(body(stream=True))
        row = await TargetHealth.objects.aget(ttft_ms__isnull=False)
        assert (row.provider_name, row.model_name, row.credential_name) == ("up", "a", "")
        assert row.ttft_ms is not None
        assert row.ttft_ms == round(known, 1)

    async def test_a_target_that_says_nothing_teaches_nothing(self) -> None:
        empty = Reply(sse(chunk({"role": "assistant", "content": ""}), chunk(finish="stop")))
        async with self.gateway(empty) as gateway:
            await gateway.send(body(stream=True))
        assert (self.health.ttft_ms("up/a"), self.health.ttft_ms("up/b")) == (None, None)
