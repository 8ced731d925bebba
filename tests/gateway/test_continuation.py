"""A stream that breaks after some text goes on with the next target, where the policy says so."""

import asyncio
import json
from typing import Any

import httpx
from asgiref.sync import sync_to_async
from django.db.models import QuerySet

from accounts.models import CallRecord, Quota, QuotaWindow
from accounts.verification import differences
from providers.models import Model, Provider
from routing import health, slots
from routing.models import Policy, Route, RouteEntry, RuntimeSettings
from tests.fakes.transport import Piece, Reply, chunk, events, json_reply, sse, text_stream
from tests.gateway.case import MESSAGES, GatewayCase, body
from tests.gateway.test_pipeline import events_of, streamed_text
from tests.translation.grammar import check

CUT = httpx.ReadError("cut")
TOOL = {"name": "ls", "input_schema": {"type": "object"}}


def broken(*texts: str) -> list[Piece]:
    """Return a stream that is cut off after these texts."""
    return [*sse(*(chunk({"content": text}) for text in texts), done=False), CUT]


def call_chunk() -> dict[str, Any]:
    function = {"name": "ls", "arguments": '{"path": "'}
    return chunk({"tool_calls": [{"index": 0, "id": "c1", "type": "function", "function": function}]})


class ContinuationCase(GatewayCase):
    """Both targets of the route continue a prefill, and the policy lets them."""

    def setUp(self) -> None:
        super().setUp()
        Policy.objects.update(continues_streams=True)
        Provider.objects.filter(name="up").update(flags={"prefill": True})

    async def calls(self) -> list[CallRecord]:
        rows: QuerySet[CallRecord] = CallRecord.objects.order_by("started_at")
        return [row async for row in rows]


class ContinuationTests(ContinuationCase):
    async def test_the_next_target_goes_on_and_both_are_booked(self) -> None:
        replies = Reply(broken("One, ", "two")), Reply(text_stream(", three"))
        asked = body("数到三", stream=True, thinking={"type": "adaptive"}, max_tokens=100)
        async with self.gateway(*replies) as gateway:
            response = await gateway.send(asked)
            sent = gateway.sent()
        found = events_of(response)
        check(found)
        self.assertEqual(streamed_text(response), "One, two, three")
        self.assertEqual([event["type"] for event in found].count("content_block_start"), 1)
        self.assertEqual(sent["messages"][-1], {"role": "assistant", "content": "One, two"})
        self.assertLess(sent["max_tokens"], 100)
        self.assertNotIn("reasoning_effort", sent)
        first, second = await self.calls()
        self.assertEqual((first.status, first.model_name, first.kind), ("ok", "a", "main"))
        self.assertEqual((second.status, second.model_name, second.kind), ("ok", "b", "continuation"))
        self.assertTrue(first.usage_is_estimated)
        self.assertEqual((second.output_tokens, second.usage_is_estimated), (3, False))
        self.assertEqual(second.decision["for"], first.request_id)
        note = f"broke after 8 characters (bad_response); up/b goes on in {second.request_id}"
        self.assertIn(note, first.decision["notes"])
        # The client sees one prompt, and the output of both.
        usage = found[-2]["usage"]
        self.assertEqual(usage["output_tokens"], first.output_tokens + 3)
        self.assertEqual(usage["input_tokens"], first.input_tokens)
        self.assertEqual(await sync_to_async(lambda: list(differences()))(), [])

    async def test_a_native_answer_goes_on_too(self) -> None:
        await Provider.objects.filter(name="nat").aupdate(flags={"native_prefill": True})
        start = {"type": "message_start", "message": {"id": "m", "usage": {"input_tokens": 7, "output_tokens": 1}}}
        block = {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}}
        delta = {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "One, two "}}
        await self.route_to_native_first()
        async with self.gateway(Reply([*events(start, block, delta), CUT]), Reply(text_stream("three"))) as gateway:
            response = await gateway.send(body(stream=True))
        self.assertEqual(streamed_text(response), "One, two three")
        self.assertEqual(events_of(response)[-1], {"type": "message_stop"})
        types = [event["type"] for event in events_of(response)]
        self.assertEqual((types.count("message_start"), types.count("content_block_stop")), (1, 1))

    async def route_to_native_first(self) -> None:
        route, model = await Route.objects.aget(), await Model.objects.aget(model_id="n")
        await RouteEntry.objects.aupdate(position=5)
        await RouteEntry.objects.acreate(route=route, model=model, position=0)

    async def test_a_third_target_goes_on_from_the_second(self) -> None:
        route, up = await Route.objects.aget(), await Provider.objects.aget(name="up")
        model = await Model.objects.acreate(provider=up, model_id="c")
        await RouteEntry.objects.acreate(route=route, model=model, position=9)
        async with self.gateway(Reply(broken("a")), Reply(broken("b")), Reply(text_stream("c"))) as gateway:
            response = await gateway.send(body(stream=True))
        check(events_of(response))
        self.assertEqual(streamed_text(response), "abc")
        calls = await self.calls()
        self.assertEqual([(row.status, row.model_name) for row in calls], [("ok", "a"), ("failed", "b"), ("ok", "c")])

    async def test_an_openai_client_gets_one_answer(self) -> None:
        await self.route_to_native_first()
        start = {"type": "message_start", "message": {"id": "m", "usage": {"input_tokens": 7, "output_tokens": 1}}}
        block = {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}}
        delta = {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "One"}}
        asked = {"model": "x", "stream": True, "messages": [{"role": "user", "content": "hi"}]}
        async with self.gateway(Reply([*events(start, block, delta), CUT]), Reply(text_stream(" two"))) as gateway:
            response = await gateway.send(asked, path="/v1/chat/completions")
        lines = [line[6:] for line in response.text.splitlines() if line.startswith("data: ")]
        self.assertEqual(lines[-1], "[DONE]")
        choices = [choice for line in lines[:-1] for choice in json.loads(line)["choices"]]
        self.assertEqual("".join(choice["delta"].get("content") or "" for choice in choices), "One two")
        self.assertEqual([choice["finish_reason"] for choice in choices if choice["finish_reason"]], ["stop"])


class HealthTests(ContinuationCase):
    async def test_who_breaks_rests_and_its_place_is_free_again(self) -> None:
        await Provider.objects.filter(name="up").aupdate(max_concurrency=1)
        await RuntimeSettings.objects.aupdate(cooldown_enabled=True)
        async with self.gateway(Reply(broken("One")), Reply(text_stream(" two"))) as gateway:
            # With one place for both, the second part could not begin while the first held it.
            response = await gateway.send(body(stream=True))
            cooling = [(one.key[1], one.error_kind) for one in health.current().cooling()]
            used = slots.current().in_use("up")
        self.assertEqual(streamed_text(response), "One two")
        self.assertEqual((cooling, used), ([("a", "bad_response")], 0))

    async def test_each_target_rests_for_its_own_failure(self) -> None:
        await RuntimeSettings.objects.aupdate(cooldown_enabled=True)
        limited = chunk({}, error={"message": "Please try again in 90s.", "code": 429})
        second = Reply([*sse(chunk({"content": " two"}), limited, done=False)])
        async with self.gateway(Reply(broken("One")), second) as gateway:
            await gateway.send(body(stream=True))
            cooling = [(one.key[1], one.error_kind) for one in health.current().cooling()]
        self.assertEqual(cooling, [("a", "bad_response"), ("b", "rate_limited")])


class RefusalTests(ContinuationCase):
    async def assert_error_after(self, text: str, *replies: Reply, **fields: Any) -> list[CallRecord]:
        async with self.gateway(*replies) as gateway:
            response = await gateway.send(body(stream=True, **fields))
        found = events_of(response)
        check(found)
        self.assertEqual(found[-1]["type"], "error")
        self.assertEqual(streamed_text(response), text)
        self.assertEqual(await sync_to_async(lambda: list(differences()))(), [])
        return await self.calls()

    async def test_it_is_off_by_default(self) -> None:
        self.assertFalse(Policy._meta.get_field("continues_streams").default)
        await Policy.objects.aupdate(continues_streams=False)
        calls = await self.assert_error_after("One", Reply(broken("One")), Reply(text_stream("!")))
        self.assertEqual([row.status for row in calls], ["failed"])

    async def test_a_target_without_prefill_is_not_asked(self) -> None:
        await Provider.objects.filter(name="up").aupdate(flags={})
        calls = await self.assert_error_after("One", Reply(broken("One")), Reply(text_stream("!")))
        self.assertEqual(len(calls), 1)

    async def test_after_a_tool_call_nobody_goes_on(self) -> None:
        pieces = [*sse(chunk({"content": "I look."}), call_chunk(), done=False), CUT]
        calls = await self.assert_error_after("I look.", Reply(pieces), Reply(text_stream("!")), tools=[TOOL])
        self.assertEqual(len(calls), 1)

    async def test_a_target_that_fails_as_well_ends_it(self) -> None:
        down = json_reply({"error": {"message": "down"}}, 503)
        first, second = await self.assert_error_after("One", Reply(broken("One")), down)
        self.assertEqual((first.status, first.error_kind), ("failed", "bad_response"))
        self.assertEqual((second.status, second.error_kind, second.output_tokens), ("failed", "overloaded", 0))
        self.assertIn("nobody goes on", json.dumps(first.decision["notes"]))

    async def test_a_full_quota_ends_it(self) -> None:
        quota = await Quota.objects.acreate(user=self.user, unit="requests", window="day", limit=1)
        calls = await self.assert_error_after("One", Reply(broken("One")), Reply(text_stream("!")))
        self.assertEqual([row.status for row in calls], ["failed"])
        self.assertEqual((await QuotaWindow.objects.aget(quota=quota)).reserved, 0)

    async def test_a_client_that_leaves_during_the_continuation_is_booked(self) -> None:
        hanging = Reply([*sse(chunk({"content": " two"}), done=False), None])
        async with self.gateway(Reply(broken("One")), hanging) as gateway:
            request = gateway.client.build_request("POST", MESSAGES, json=body(stream=True))
            # The transport in process gives the answer when it is whole: the call is cancelled from outside.
            task = asyncio.ensure_future(gateway.client.send(request))
            await asyncio.wait_for(hanging.began.wait(), 5)
            for _ in range(20):
                await asyncio.sleep(0)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            for _ in range(200):
                if not await CallRecord.objects.filter(status="running").aexists():
                    break
                await asyncio.sleep(0.01)
        calls = await self.calls()
        self.assertEqual([row.status for row in calls], ["cancelled", "cancelled"])
        self.assertTrue(hanging.closed)
        self.assertEqual(await sync_to_async(lambda: list(differences()))(), [])
