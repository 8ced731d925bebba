"""A provider's cap: full ones are passed over, then waited for, and no slot is ever lost."""

import asyncio
import random
from unittest.mock import patch

import httpx
from asgiref.sync import sync_to_async

from accounts.models import CallRecord
from providers.models import Credential, Model, Provider
from routing import fallback, slots
from routing.models import Route, RouteEntry, RuntimeSettings
from tests.fakes.transport import Reply, chunk, json_reply, sse, text_stream
from tests.gateway.case import GatewayCase, RunningGateway, body
from tests.gateway.safety_case import RUN, SafetyCase, asking, books_differ, calling, tool_verdicts, verdicts
from tests.gateway.test_pipeline import events_of, streamed_text


class SlotTests(GatewayCase):
    def setUp(self) -> None:
        super().setUp()
        Provider.objects.filter(name="up").update(max_concurrency=1)

    def add_spare(self) -> None:
        """Put a model of another provider at the end of the route."""
        spare = Provider.objects.create(
            name="spare", kind="openai_compatible", base_url="http://spare.test/v1", allow_private_network=True
        )
        credential = Credential(provider=spare)
        credential.set_secret("sk-spare-0123")
        credential.save()
        model = Model.objects.create(provider=spare, model_id="s")
        RouteEntry.objects.create(route=Route.objects.get(), model=model, position=9)

    async def hold(
        self, gateway: RunningGateway, reply: Reply, streamed: bool = True
    ) -> "asyncio.Task[httpx.Response]":
        """Start a call whose answer has begun."""
        task = asyncio.create_task(gateway.send(body(stream=streamed)))
        await reply.began.wait()
        return task

    async def test_a_full_provider_is_passed_over(self) -> None:
        await sync_to_async(self.add_spare)()
        gate = asyncio.Event()
        held = Reply([*sse(chunk({"content": "first"}), done=False), gate, *text_stream(" end")])
        async with self.gateway(held, Reply(text_stream("second"))) as gateway:
            task = await self.hold(gateway, held)
            response = await gateway.send()
            assert response.headers["x-gateway-model"] == "spare/s"
            gate.set()
            await task
        assert [request.url.host for request in gateway.upstream.requests] == ["up.test", "spare.test"]
        assert slots.current().in_use("up") == 0

    async def test_when_all_are_full_calls_wait_and_who_came_first_is_first(self) -> None:
        gate = asyncio.Event()
        held = Reply([*sse(chunk({"content": "first"}), done=False), gate, *text_stream(" end")])
        async with self.gateway(held, lambda _request: Reply(text_stream("next"))) as gateway:
            task = await self.hold(gateway, held)
            waiting = []
            for number in range(5):
                waiting.append(asyncio.create_task(gateway.send(body(f"call {number}", stream=number % 2 == 0))))
                while await CallRecord.objects.filter(status="running").acount() < number + 2:
                    await asyncio.sleep(0.001)
            assert len(gateway.upstream.requests) == 1
            gate.set()
            assert {response.status_code for response in await asyncio.gather(task, *waiting)} == {200}
        said = [sent["messages"][-1]["content"] for sent in gateway.upstream.bodies[1:]]
        assert [str(words) for words in said] == [f"call {number}" for number in range(5)]
        assert slots.current().in_use("up") == 0

    async def test_a_call_that_waits_too_long_hears_when_to_come_back(self) -> None:
        await RuntimeSettings.objects.aupdate(ping_interval_s=0.01)
        for streamed in (False, True):
            held = Reply([*sse(chunk({"content": "first"}), done=False), None])
            async with self.gateway(held) as gateway:
                task = await self.hold(gateway, held)
                with patch.object(fallback, "MAX_SLOT_WAIT_S", 0.1):
                    response = await gateway.send(body(stream=streamed))
                if streamed:
                    last = events_of(response)[-1]
                    assert (last["type"], last["error"]["type"]) == ("error", "overloaded_error")
                else:
                    assert (response.status_code, response.headers["retry-after"]) == (529, "5")
                    assert response.json()["error"]["type"] == "overloaded_error"
                    assert "up: all 1 calls" in response.json()["error"]["message"]
                assert len(gateway.upstream.requests) == 1
                task.cancel()
            call = await CallRecord.objects.filter(status="failed").order_by("-started_at").afirst()
            assert call is not None
            assert [attempt.outcome async for attempt in call.attempts.all()] == ["full", "full"]
            assert slots.current().in_use("up") == 0

    async def test_a_client_that_leaves_while_it_waits_keeps_nobody_waiting(self) -> None:
        gate = asyncio.Event()
        held = Reply([*sse(chunk({"content": "first"}), done=False), gate, *text_stream(" end")])
        async with self.gateway(held, Reply(text_stream("next"))) as gateway:
            task = await self.hold(gateway, held)
            leaving = asyncio.create_task(gateway.send(body("leaves")))
            while await CallRecord.objects.filter(status="running").acount() < 2:
                await asyncio.sleep(0.001)
            staying = asyncio.create_task(gateway.send(body("stays", stream=True)))
            while await CallRecord.objects.filter(status="running").acount() < 3:
                await asyncio.sleep(0.001)
            leaving.cancel()
            await asyncio.wait({leaving})
            gate.set()
            await task
            assert streamed_text(await staying) == "next"
        assert slots.current().in_use("up") == 0
        assert await CallRecord.objects.filter(status="cancelled").acount() == 1

    async def test_no_slot_is_lost_after_hundreds_of_calls_of_every_end(self) -> None:
        await Provider.objects.filter(name="up").aupdate(max_concurrency=7)
        chance = random.Random(7)

        def reply(_request: httpx.Request) -> Reply:
            match chance.randrange(8):
                case 0:
                    return json_reply({"error": {"message": "busy"}}, chance.choice([429, 500, 503, 401, 400]))
                case 1:
                    return Reply(failure=httpx.ReadError("gone"))
                case 2:
                    return Reply([*sse(chunk({"content": "half"}), done=False), httpx.ReadError("cut")])
                case 3:
                    return Reply([])
                case 4:
                    return Reply([*sse(chunk({"content": "half"}), done=False), None])  # until the client leaves
            return Reply(text_stream("whole"))

        async def call(gateway: RunningGateway, number: int) -> int:
            task = asyncio.create_task(gateway.send(body(f"call {number}", stream=number % 2 == 0)))
            done, _ = await asyncio.wait({task}, timeout=0.05 if number % 5 == 0 else 0.2)
            if not done:
                task.cancel()
                await asyncio.wait({task})
                return 0
            return task.result().status_code

        async with self.gateway(reply) as gateway:
            codes: list[int] = []
            for begin in range(0, 300, 30):
                codes += await asyncio.gather(*(call(gateway, number) for number in range(begin, begin + 30)))
            async with asyncio.timeout(5):
                while await CallRecord.objects.filter(status="running").aexists():
                    await asyncio.sleep(0.01)
            assert slots.current().in_use("up") == 0
        assert {0, 200, 502} <= set(codes)
        assert await books_differ() == []


class JudgedSlotTests(SafetyCase):
    async def test_a_judge_of_the_same_provider_does_not_wait_for_the_call_that_it_judges(self) -> None:
        await Provider.objects.filter(name="up").aupdate(max_concurrency=1)
        for streamed in (True, False):
            async with self.gateway(calling("ls"), verdicts("not_flagged")) as gateway, asyncio.timeout(5):
                response = await gateway.send(asking(stream=streamed))
            assert tool_verdicts(response) == {"toolu_0": RUN}
            assert slots.current().in_use("up") == 0
