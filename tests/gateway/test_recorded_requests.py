"""Every request that Claude Code makes, through the whole gateway: translated, and as it is."""

import hashlib
import json
from typing import Any

import httpx

from accounts.models import CallRecord
from providers.models import Credential, Model, Provider
from routing.models import ModelAlias
from tests.fakes.recorded import Recorded, messages_requests, recorded
from tests.fakes.transport import Reply, events, json_reply, text_stream
from tests.gateway.case import UPSTREAM_SECRET, GatewayCase, RunningGateway
from tests.translation.grammar import check
from tests.translation.strict_openai import complaints

# Anthropic's API refuses a thinking block without a signature, so what goes out here is not always what came.
WITHOUT_SIGNATURE = "main_thinking_nosig_history"


def parsed(response: httpx.Response) -> list[dict[str, Any]]:
    return [json.loads(line[5:]) for line in response.text.splitlines() if line.startswith("data:")]


async def replay(gateway: RunningGateway, item: Recorded) -> httpx.Response:
    """Send a request as Claude Code did, with the key of the test."""
    return await gateway.client.request(item.method, item.url, content=item.raw, headers=item.own_headers)


def native_reply(request: httpx.Request) -> Reply:
    """Answer in Anthropic's own format, as a stream if one was asked for."""
    body = json.loads(request.content)
    message = {
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "model": body["model"],
        "content": [],
        "stop_reason": None,
        "stop_sequence": None,
        "stop_details": None,
        "usage": {"input_tokens": 9, "output_tokens": 0},
    }
    if not body.get("stream"):
        return json_reply(message | {"content": [{"type": "text", "text": "Yes."}], "stop_reason": "end_turn"})
    usage = {"input_tokens": 9, "output_tokens": 2, "cache_read_input_tokens": 0, "cache_creation_input_tokens": 0}
    delta = {"stop_reason": "end_turn", "stop_sequence": None, "stop_details": None}
    return Reply(
        events(
            {"type": "message_start", "message": message},
            {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
            {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "Yes."}},
            {"type": "content_block_stop", "index": 0},
            {"type": "message_delta", "delta": delta, "usage": usage},
            {"type": "message_stop"},
        )
    )


class RecordedRequestsTests(GatewayCase):
    def check_answer(self, item: Recorded, response: httpx.Response) -> None:
        self.assertEqual(response.status_code, 200, f"{item.kind}: {response.text[:500]}")
        if item.body.get("stream"):
            self.assertTrue(response.headers["content-type"].startswith("text/event-stream"), item.kind)
            check(parsed(response))
            model = parsed(response)[0]["message"]["model"]
        else:
            message = response.json()
            self.assertEqual((message["type"], message["content"][0]["type"]), ("message", "text"), item.kind)
            model = message["model"]
        self.assertEqual(model, item.body["model"], item.kind)

    async def test_all_are_answered_by_an_openai_upstream(self) -> None:
        await Provider.objects.filter(name="up").aupdate(flags={"prompt_cache_key": True})
        cache_keys: dict[str, str] = {}
        async with self.gateway(lambda _request: Reply(text_stream("Yes."))) as gateway:
            for kind in messages_requests():
                asked = len(gateway.upstream.requests)
                self.check_answer(recorded()[kind], await replay(gateway, recorded()[kind]))
                for number in range(asked, len(gateway.upstream.requests)):
                    sent = gateway.sent(number)
                    self.assertEqual(complaints(sent, extensions=frozenset({"prompt_cache_key"})), [], kind)
                    session = recorded()[kind].own_headers["X-Claude-Code-Session-Id"]
                    self.assertEqual(sent["prompt_cache_key"], cache_keys.setdefault(session, sent["prompt_cache_key"]))
        self.assertEqual(len(set(cache_keys.values())), len(cache_keys))
        self.assertEqual(await CallRecord.objects.filter(status="ok").acount(), len(messages_requests()))
        sessions = {recorded()[kind].own_headers["X-Claude-Code-Session-Id"] for kind in messages_requests()}
        self.assertEqual({call.session_id async for call in CallRecord.objects.all()}, sessions)

    async def test_a_title_is_json_from_a_model_that_knows_no_formats(self) -> None:
        refusal = {
            "error": {"message": "response_format is not supported by this model", "type": "invalid_request_error"}
        }
        fenced = '```json\n{"title": "Wolves"}\n```'
        async with self.gateway(json_reply(refusal, 400), Reply(text_stream(fenced))) as gateway:
            for _ in range(2):  # the second time the model is known
                response = await replay(gateway, recorded()["side_title"])
                self.check_answer(recorded()["side_title"], response)
                said = "".join(event["delta"].get("text", "") for event in parsed(response) if "delta" in event)
                self.assertEqual(said, '{"title": "Wolves"}')
        self.assertEqual(["response_format" in body for body in gateway.upstream.bodies], [True, False, False])

    async def test_all_reach_anthropic_as_they_came(self) -> None:
        anthropic = await Provider.objects.acreate(
            name="anthropic", kind="anthropic_compatible", base_url="https://api.anthropic.com"
        )
        credential = Credential(provider=anthropic)
        credential.set_secret(UPSTREAM_SECRET)
        await credential.asave()
        for name in {body["model"] for body in messages_requests().values()}:
            model = await Model.objects.acreate(provider=anthropic, model_id=name)
            await ModelAlias.objects.acreate(pattern=name, model=model)
        async with self.gateway(native_reply) as gateway:
            for kind in messages_requests():
                item = recorded()[kind]
                self.check_answer(item, await replay(gateway, item))
                sent = gateway.upstream.requests[-1]
                self.assertEqual(sent.url.host, "api.anthropic.com")
                if kind != WITHOUT_SIGNATURE:
                    self.assertEqual(hashlib.sha256(sent.content).digest(), hashlib.sha256(item.raw).digest(), kind)
                names = {name.lower() for name in item.own_headers if name.lower().startswith("anthropic-")}
                self.assertLessEqual(names, set(sent.headers), kind)
        self.assertEqual(len(gateway.upstream.requests), len(messages_requests()))

    async def test_tokens_are_counted_and_side_requests_answered_without_an_upstream(self) -> None:
        async with self.gateway(Reply(text_stream("no"))) as gateway:
            for kind in ("count_tokens_text", "count_tokens_tools"):
                response = await replay(gateway, recorded()[kind])
                self.assertEqual(response.status_code, 200, kind)
                self.assertGreater(response.json()["input_tokens"], 100, kind)
            hello = await replay(gateway, recorded()["head_hello"])
            self.assertEqual((hello.status_code, hello.content), (200, b""))
            models = await replay(gateway, recorded()["models_discovery"])
            self.assertEqual(models.status_code, 200)
            self.assertEqual([entry["id"] for entry in models.json()["data"]], ["native", "up/a", "up/b", "nat/n"])
        self.assertEqual(gateway.upstream.requests, [])
        self.assertFalse(await CallRecord.objects.aexists())
