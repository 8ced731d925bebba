"""Calls of Chat Completions clients through the whole gateway, to both kinds of targets."""

import asyncio
import json
from typing import Any

import httpx
from django.db.models import F

from accounts.models import Attempt, CallRecord, Quota
from providers.models import Model
from routing.models import Route, RouteEntry, RuntimeSettings
from tests.fakes.transport import Reply, events, json_reply, text_stream
from tests.gateway.case import MESSAGES, GatewayCase, body

CHAT = "/v1/chat/completions"
USAGE = {"prompt_tokens": 12, "completion_tokens": 3}
MESSAGE_USAGE = {"input_tokens": 10, "cache_read_input_tokens": 4, "output_tokens": 5}
MESSAGE = {
    "id": "msg_up",
    "type": "message",
    "role": "assistant",
    "model": "n",
    "content": [{"type": "text", "text": "Hello"}],
    "stop_reason": "end_turn",
    "stop_sequence": None,
    "usage": MESSAGE_USAGE,
}


def chat(model: str = "anything", **fields: Any) -> dict[str, Any]:
    """Return a request of a Chat Completions client."""
    return {"model": model, "messages": [{"role": "user", "content": "hi"}], **fields}


def message_events() -> list[Any]:
    """Return the stream that makes `MESSAGE`."""
    start = {**MESSAGE, "content": [], "stop_reason": None, "usage": {**MESSAGE_USAGE, "output_tokens": 1}}
    return events(
        {"type": "message_start", "message": start},
        {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
        {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "Hello"}},
        {"type": "content_block_stop", "index": 0},
        {
            "type": "message_delta",
            "delta": {"stop_reason": "end_turn", "stop_sequence": None},
            "usage": {"output_tokens": 5},
        },
        {"type": "message_stop"},
    )


def chunks_of(response: httpx.Response) -> list[Any]:
    """Return the chunks of a streamed answer, decoded; `[DONE]` as it is."""
    data = [line[6:] for line in response.text.split("\n") if line.startswith("data: ")]
    return [item if item == "[DONE]" else json.loads(item) for item in data]


class TestAnthropicTarget(GatewayCase):
    async def test_an_answer_without_a_stream(self) -> None:
        async with self.gateway(json_reply(MESSAGE)) as gateway:
            response = await gateway.send(chat("native"), CHAT)
            sent = gateway.sent()
        answer = response.json()
        assert response.status_code == 200
        assert response.headers["x-request-id"].startswith("req_")
        assert answer["object"] == "chat.completion"
        assert answer["model"] == "native"
        assert answer["choices"][0]["message"]["content"] == "Hello"
        assert answer["choices"][0]["finish_reason"] == "stop"
        assert answer["usage"]["prompt_tokens"] == 14
        assert answer["usage"]["prompt_tokens_details"]["cached_tokens"] == 4
        assert sent["model"] == "n"
        assert sent["max_tokens"] == 8192
        record = await CallRecord.objects.aget()
        assert (record.wire_format, record.status, record.input_tokens, record.output_tokens) == ("openai", "ok", 10, 5)

    async def test_what_an_openai_client_says_of_itself_stays_here(self) -> None:
        headers = {"user-agent": "OpenAI/Python", "x-stainless-lang": "python", "openai-organization": "org"}
        async with self.gateway(json_reply(MESSAGE)) as gateway:
            response = await gateway.send(chat("native", seed=1), f"{CHAT}?api-version=1", headers=headers)
            request = gateway.upstream.requests[0]
        assert response.status_code == 200
        assert str(request.url) == "http://nat.test/v1/messages"
        assert request.headers["anthropic-version"] == "2023-06-01"
        assert not {"x-stainless-lang", "openai-organization"} & set(request.headers)
        assert request.headers["user-agent"] != "OpenAI/Python"
        record = await CallRecord.objects.aget()
        assert record.dropped_fields == ["seed"]

    async def test_a_stream(self) -> None:
        async with self.gateway(Reply(message_events())) as gateway:
            response = await gateway.send(chat("native", stream=True), CHAT)
        *chunks, done = chunks_of(response)
        assert done == "[DONE]"
        assert "event:" not in response.text
        assert "".join(chunk["choices"][0]["delta"].get("content", "") for chunk in chunks) == "Hello"
        assert chunks[-1]["choices"][0]["finish_reason"] == "stop"
        assert not any("usage" in chunk for chunk in chunks)
        assert len({(chunk["id"], chunk["created"], chunk["model"]) for chunk in chunks}) == 1

    async def test_a_stream_without_its_last_event_ends_all_the_same(self) -> None:
        async with self.gateway(Reply(message_events()[:-1])) as gateway:
            response = await gateway.send(chat("native", stream=True), CHAT)
        *chunks, done = chunks_of(response)
        assert (chunks[-1]["choices"][0]["finish_reason"], done) == ("stop", "[DONE]")

    async def test_what_is_no_event_is_passed_over(self) -> None:
        strange: list[dict[str, Any]] = [
            {"type": "content_block_start", "index": 0, "content_block": "text"},
            {"type": "content_block_start", "index": {}, "content_block": {"type": "tool_use"}},
            {"type": "content_block_delta", "index": 0, "delta": [[]]},
            {"type": "content_block_stop", "index": [None]},
        ]
        start, *rest = message_events()
        async with self.gateway(Reply([start, *events(*strange), *rest])) as gateway:
            response = await gateway.send(chat("native", stream=True), CHAT)
        *chunks, done = chunks_of(response)
        assert done == "[DONE]"
        assert "".join(chunk["choices"][0]["delta"].get("content", "") for chunk in chunks) == "Hello"

    async def test_a_stop_reason_that_is_none_is_a_plain_stop(self) -> None:
        async with self.gateway(json_reply({**MESSAGE, "stop_reason": [[]]})) as gateway:
            response = await gateway.send(chat("native"), CHAT)
        assert response.json()["choices"][0]["finish_reason"] == "stop"

    async def test_usage_comes_last_for_who_asks(self) -> None:
        async with self.gateway(Reply(message_events())) as gateway:
            response = await gateway.send(chat("native", stream=True, stream_options={"include_usage": True}), CHAT)
        *chunks, last, done = chunks_of(response)
        assert done == "[DONE]"
        assert all(chunk["usage"] is None for chunk in chunks)
        assert last["choices"] == []
        assert (last["usage"]["prompt_tokens"], last["usage"]["completion_tokens"]) == (14, 5)


class TestOpenAITarget(GatewayCase):
    async def test_the_clients_words_go_upstream_and_the_answer_comes_back(self) -> None:
        async with self.gateway(Reply(text_stream())) as gateway:
            response = await gateway.send(chat("up/a", stream=True, logit_bias={"1": 2}), CHAT)
            sent = gateway.sent()
        assert response.headers["x-gateway-model"] == "up/a"
        assert sent["model"] == "a"
        assert sent["logit_bias"] == {"1": 2}
        assert "max_tokens" not in sent
        *chunks, done = chunks_of(response)
        assert done == "[DONE]"
        assert [chunk["choices"][0]["delta"].get("content") for chunk in chunks] == ["", "Hello", None]
        record = await CallRecord.objects.aget()
        assert (record.status, record.wire_format, record.provider_name, record.model_name) == (
            "ok",
            "openai",
            "up",
            "a",
        )
        assert (record.input_tokens, record.cache_read_tokens, record.output_tokens) == (10, 2, 3)
        assert (record.stop_reason, record.requested_model) == ("end_turn", "up/a")
        assert record.cost is not None

    async def test_a_target_that_fails_is_followed_by_the_next(self) -> None:
        async with self.gateway(json_reply({"error": {"message": "busy"}}, 503), Reply(text_stream())) as gateway:
            response = await gateway.send(chat(stream=True), CHAT)
            models = [body["model"] for body in gateway.upstream.bodies]
        assert models == ["a", "b"]
        assert chunks_of(response)[-1] == "[DONE]"
        assert await Attempt.objects.acount() == 2

    async def test_a_stream_that_breaks_behind_a_whole_answer_leads_on(self) -> None:
        replies = (Reply(text_stream("Half a")[:2]), Reply(text_stream("Whole")))
        async with self.gateway(*replies) as gateway:
            response = await gateway.send(chat(), CHAT)
            models = [body["model"] for body in gateway.upstream.bodies]
        assert models == ["a", "b"]
        answer = response.json()
        assert (response.status_code, answer["model"]) == (200, "anything")
        assert answer["choices"][0]["message"]["content"] == "Whole"
        record = await CallRecord.objects.aget()
        assert (record.status, record.input_tokens, record.output_tokens) == ("ok", 10, 3)

    async def test_a_cut_stream_ends_with_an_error_and_no_done(self) -> None:
        async with self.gateway(Reply(text_stream()[:2])) as gateway:
            response = await gateway.send(chat(stream=True), CHAT)
        *_chunks, last = chunks_of(response)
        assert last["error"]["type"] == "server_error"
        assert "cut off" in last["error"]["message"]
        assert "event:" not in response.text
        assert (await CallRecord.objects.aget()).status == "failed"

    async def test_an_upstreams_own_error_is_quoted(self) -> None:
        body = {"error": {"message": "bad tools", "type": "invalid_request_error", "param": "tools", "code": "odd"}}
        async with self.gateway(json_reply(body, 422)) as gateway:
            response = await gateway.send(chat("up/a"), CHAT)
        assert (response.status_code, response.json()) == (400, body)

    async def test_our_credentials_trouble_is_not_the_clients(self) -> None:
        body = {"error": {"message": "Incorrect API key provided", "code": "invalid_api_key"}}
        async with self.gateway(json_reply(body, 401)) as gateway:
            response = await gateway.send(chat("up/a"), CHAT)
        assert response.status_code == 502
        assert response.headers["x-should-retry"] == "false"
        assert response.json()["error"]["type"] == "server_error"

    async def test_what_only_a_relay_can_do_is_relayed(self) -> None:
        parts = [{"type": "input_audio", "input_audio": {"data": "AAAA", "format": "wav"}}]
        document = chat("up/a", n=2, messages=[{"role": "user", "content": parts}])
        answer = {"choices": [{"index": 0, "message": {"content": "x"}, "finish_reason": "stop"}], "usage": USAGE}
        async with self.gateway(json_reply(answer)) as gateway:
            response = await gateway.send(document, CHAT)
            assert gateway.sent() == {**document, "model": "a"}
        assert response.json() == answer

    async def test_and_refused_elsewhere(self) -> None:
        async with self.gateway(json_reply(MESSAGE)) as gateway:
            response = await gateway.send(chat("native", n=2), CHAT)
            assert gateway.upstream.requests == []
        assert response.status_code == 400
        error = response.json()["error"]
        assert (error["type"], error["param"]) == ("invalid_request_error", "n")

    async def test_a_silent_upstream_is_bridged_by_comments(self) -> None:
        await RuntimeSettings.objects.aupdate(ping_interval_s=0.05)
        gate = asyncio.Event()
        async with self.gateway(Reply(text_stream(), gate=gate)) as gateway:
            asyncio.get_running_loop().call_later(0.2, gate.set)
            response = await gateway.send(chat("up/a", stream=True), CHAT)
        assert response.text.startswith(": ping\n\n")
        assert chunks_of(response)[-1] == "[DONE]"

    async def test_the_books_see_a_call_of_each_format_alike(self) -> None:
        async with self.gateway(Reply(text_stream())) as gateway:
            for path, document in ((CHAT, chat("up/a", stream=True)), (MESSAGES, body(model="up/a", stream=True))):
                assert (await gateway.send(document, path)).status_code == 200
        fields = ("input_tokens", "cache_read_tokens", "output_tokens", "cost", "stop_reason", "status")
        first, second = [record async for record in CallRecord.objects.order_by("started_at").values(*fields)]
        assert first == second

    async def test_a_relay_is_found_behind_targets_that_cannot(self) -> None:
        route = await Route.objects.aget(name="everyday")
        native = await Model.objects.aget(model_id="n")
        await route.entries.aupdate(position=F("position") + 10)
        await RouteEntry.objects.acreate(route=route, model=native, position=0)
        answer = {"choices": [{"index": 0, "message": {"content": "x"}, "finish_reason": "stop"}], "usage": USAGE}
        async with self.gateway(json_reply(answer)) as gateway:
            assert (await gateway.send(chat(n=2), CHAT)).status_code == 200
        record = await CallRecord.objects.aget()
        assert record.model_name == "a"
        assert record.decision["skipped"] == [{"target": "nat/n", "reason": "n: this model gives one choice only"}]


class TestErrors(GatewayCase):
    async def test_every_prefix_serves_chat_completions(self) -> None:
        async with self.gateway(Reply(text_stream())) as gateway:
            for prefix in ("", "/v1", "/v1/v1", "/api/v1/claude-code", "/api/v1/claude-code/v1"):
                response = await gateway.send(chat(stream=True), f"{prefix}/chat/completions?api-version=1")
                assert response.status_code == 200, prefix

    async def test_an_unknown_key_and_a_bad_body(self) -> None:
        async with self.gateway() as gateway:
            stranger = await gateway.send(chat(), CHAT, headers={"authorization": "Bearer wg_unknown"})
            empty = await gateway.send({}, CHAT)
            fault = await gateway.send(chat(messages=[{"role": "user"}]), CHAT)
            no_json = await gateway.send(b"{", CHAT)
            wrong_method = await gateway.client.get(CHAT)
        assert stranger.status_code == 401
        assert stranger.json()["error"]["code"] == "invalid_api_key"
        assert stranger.headers["x-should-retry"] == "false"
        assert empty.json()["error"]["param"] == "model"
        assert fault.json()["error"]["param"] == "messages[0].content"
        assert (no_json.status_code, no_json.json()["error"]["type"]) == (400, "invalid_request_error")
        assert (wrong_method.status_code, set(wrong_method.json())) == (405, {"error"})

    async def test_a_body_nested_too_deeply_for_an_encoder_is_the_clients_fault(self) -> None:
        nested: dict[str, Any] = {}
        for _ in range(400):
            nested = {"x": [nested]}
        tool = {"type": "function", "function": {"name": "Read", "parameters": nested}}
        raw = json.dumps(chat("native", tools=[tool])).replace("{}", '{"x":[' * 105 + "]}" * 105).encode()
        async with self.gateway(json_reply(MESSAGE)) as gateway:
            response = await gateway.send(raw, CHAT)
        assert response.status_code == 400, response.text
        assert response.json()["error"]["type"] == "invalid_request_error"
        assert gateway.upstream.requests == []
        assert (await CallRecord.objects.aget()).error_kind == "invalid_request_error"

    async def test_a_spent_quota_is_insufficient_quota(self) -> None:
        await Quota.objects.acreate(key=self.key, unit="tokens", window="day", limit=1, action="block")
        async with self.gateway(Reply(text_stream())) as gateway:
            await gateway.send(chat("up/a", stream=True), CHAT)
            response = await gateway.send(chat("up/a"), CHAT)
        assert response.status_code == 429
        assert response.json()["error"]["code"] == "insufficient_quota"
        assert response.headers["x-should-retry"] == "false"
        assert int(response.headers["retry-after"]) > 0

    async def test_an_overload_of_every_target_is_503(self) -> None:
        async with self.gateway(json_reply({"type": "error", "error": {"type": "overloaded_error"}}, 529)) as gateway:
            response = await gateway.send(chat("native"), CHAT)
        assert response.status_code == 503
        assert "type" not in response.json()

    async def test_an_error_behind_a_ping_comes_as_a_chunk(self) -> None:
        await RuntimeSettings.objects.aupdate(ping_interval_s=0.05)
        gate = asyncio.Event()
        async with self.gateway(Reply(message_events(), status=500, gate=gate)) as gateway:
            asyncio.get_running_loop().call_later(0.2, gate.set)
            response = await gateway.send(chat("native", stream=True), CHAT)
        assert response.status_code == 200
        assert chunks_of(response)[-1]["error"]["type"] == "server_error"

    async def test_an_unknown_path_is_an_error_in_the_clients_words(self) -> None:
        async with self.gateway() as gateway:
            openai = await gateway.client.post("/v1/embeddings")
            anthropic = await gateway.client.post("/v1/nothing", headers={"anthropic-version": "2023-06-01"})
        assert (openai.status_code, set(openai.json())) == (404, {"error"})
        assert (anthropic.status_code, anthropic.json()["type"]) == (404, "error")


class TestModels(GatewayCase):
    async def test_each_client_gets_the_list_it_knows(self) -> None:
        async with self.gateway() as gateway:
            openai = (await gateway.client.get("/v1/models")).json()
            anthropic = (await gateway.client.get("/v1/models", headers={"anthropic-version": "2023-06-01"})).json()
            one = (await gateway.client.get("/v1/models/up/a")).json()
            missing = await gateway.client.get("/v1/models/none")
            missing_to_anthropic = await gateway.client.get("/v1/models/none", headers={"x-api-key": self.secret})
        assert openai["object"] == "list"
        assert [entry["id"] for entry in openai["data"]] == [entry["id"] for entry in anthropic["data"]]
        assert anthropic["data"][0]["type"] == "model"
        assert anthropic["has_more"] is False
        assert one == {"id": "up/a", "object": "model", "created": one["created"], "owned_by": "up"}
        assert (missing.status_code, set(missing.json())) == (404, {"error"})
        assert missing_to_anthropic.json()["type"] == "error"
