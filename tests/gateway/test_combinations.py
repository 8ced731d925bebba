"""What two parts of the gateway make of one call together: searches, verdicts, files, formats, captures, leaving."""

import asyncio
import json
import threading
from typing import Any
from unittest.mock import patch

from accounts.models import CallRecord
from gateway import pipeline
from gateway.capture import read_stage
from gateway.models import Capture
from providers import documents
from providers.clients import attachments
from providers.models import Model, Provider
from routing.models import Policy, Route, RouteEntry, RuntimeSettings
from tests.fakes.transport import Reply, chunk, json_reply, sse, text_stream
from tests.gateway.case import UPSTREAM_SECRET, GatewayCase, body
from tests.gateway.safety_case import RUN, SafetyCase, asking, books_differ, calling, tool_verdicts, verdicts
from tests.gateway.test_chat import CHAT, MESSAGE, chat, message_events
from tests.gateway.test_documents import EXTRACT, PDF
from tests.gateway.test_pipeline import error
from tests.gateway.test_responses import RESPONSES, final, request
from tests.gateway.test_web_search import SEARCH, WOLVES, calls, search_call

SEARXNG = {"search_kind": "searxng", "search_url": "http://127.0.0.1:8888/"}


class JudgedSearches(SafetyCase):
    async def test_a_call_behind_a_search_is_judged_and_the_search_is_not(self) -> None:
        await RuntimeSettings.objects.filter(pk=1).aupdate(**SEARXNG)
        replies = [search_call(), json_reply(WOLVES), calling("ls"), verdicts("not_flagged")]
        tools = [*asking()["tools"], SEARCH]
        for streamed in (True, False):
            async with self.gateway(*replies) as gateway:
                response = await gateway.send(asking(tools=tools, stream=streamed))
            assert tool_verdicts(response) == {"toolu_0": RUN}
            assert len(gateway.upstream.requests) == 4
        assert await CallRecord.objects.filter(status="ok", kind="main").acount() == 2
        assert await CallRecord.objects.filter(status="ok", kind="safety").acount() == 2
        assert await books_differ() == []

    async def test_where_the_native_target_fails_the_verdicts_are_ours(self) -> None:
        route = await Route.objects.acreate(name="native first")
        for position, name in enumerate(("n", "a")):
            await RouteEntry.objects.acreate(
                route=route, model=await Model.objects.aget(model_id=name), position=position
            )
        await Policy.objects.aupdate(route=route)
        for streamed in (True, False):
            async with self.gateway(error("busy", 503), calling("ls"), verdicts("not_flagged")) as gateway:
                response = await gateway.send(asking(stream=streamed))
            assert gateway.sent(0)["safeguards"] == asking()["safeguards"]
            assert "safeguards" not in gateway.sent(1)
            assert tool_verdicts(response) == {"toolu_0": RUN}
        assert await books_differ() == []


class SearchesOfOpenAIClients(GatewayCase):
    async def test_a_responses_client_gets_the_search_as_an_item(self) -> None:
        await RuntimeSettings.objects.filter(pk=1).aupdate(**SEARXNG)
        for streamed in (True, False):
            async with self.gateway(search_call(), json_reply(WOLVES), Reply(text_stream("They howl."))) as gateway:
                response = await gateway.send(request(tools=[{"type": "web_search"}], stream=streamed), RESPONSES)
            output = final(response)["output"]
            assert [item["type"] for item in output] == ["web_search_call", "message"]
            assert output[0]["action"]["query"] == "wolves"
            assert final(response)["usage"]["input_tokens"] == 32
        record = await CallRecord.objects.order_by("-started_at").afirst()
        assert record is not None
        assert (record.status, record.wire_format, record.decision["web_search_requests"]) == ("ok", "responses", 1)

    async def test_a_search_that_fails_in_a_later_round_is_a_failed_response(self) -> None:
        await RuntimeSettings.objects.filter(pk=1).aupdate(**SEARXNG)
        async with self.gateway(search_call(), json_reply(WOLVES), error("down", 503)) as gateway:
            response = await gateway.send(request(tools=[{"type": "web_search"}], stream=True), RESPONSES)
        assert final(response)["status"] == "failed"
        assert (await CallRecord.objects.aget()).status == "failed"


class FilesAndSearches(GatewayCase):
    async def test_a_file_is_read_once_for_all_rounds(self) -> None:
        await RuntimeSettings.objects.filter(pk=1).aupdate(**SEARXNG)
        message = {"role": "user", "content": [PDF, {"type": "text", "text": "Who else?"}]}
        with (
            patch.object(attachments, "_cache", attachments.Cache(10**6)),
            patch.object(documents, "extract", side_effect=documents.extract) as extract,
        ):
            async with self.gateway(search_call(), json_reply(WOLVES), Reply(text_stream("Nobody."))) as gateway:
                response = await gateway.send(body(messages=[message], tools=[SEARCH]))
        assert response.status_code == 200
        assert extract.call_count == 1
        for sent in (gateway.sent(0), gateway.sent(2)):
            assert EXTRACT.split("\n")[2] in json.dumps(sent["messages"])


class PassedThrough(GatewayCase):
    def setUp(self) -> None:
        super().setUp()
        route = Route.objects.create(name="claude")
        native = Provider.objects.get(name="nat")
        RouteEntry.objects.create(route=route, model=Model.objects.create(provider=native, model_id="*"))
        Policy.objects.update(mode="passthrough", route=route)
        RuntimeSettings.objects.filter(pk=1).update(capture="full")

    async def test_openai_clients_are_answered_in_their_format_and_no_credential_is_kept(self) -> None:
        own = "sk-ant-own-0123456789"
        await Provider.objects.filter(name="nat").aupdate(forwards_client_credential=True)
        headers = {"x-gateway-key": self.secret, "authorization": f"Bearer {own}"}
        async with self.gateway(json_reply(MESSAGE)) as gateway:
            answer = await gateway.send(chat("claude-x"), CHAT, headers=headers)
            assert answer.json()["choices"][0]["message"]["content"] == "Hello"
            sent = gateway.upstream.requests[-1]
            assert (sent.headers["authorization"], gateway.sent()["model"]) == (f"Bearer {own}", "claude-x")
            assert "x-gateway-key" not in sent.headers
            answer = await gateway.send(request("hi", "claude-x", metadata={"a": own}), RESPONSES, headers=headers)
            assert final(answer)["output"][0]["content"][0]["text"] == "Hello"
            assert answer.headers["x-request-id"].startswith("req_")
            assert "request-id" not in answer.headers
        async for capture in Capture.objects.all():
            for stage in ("client_request", "upstream_request", "upstream_response", "client_response"):
                kept = json.dumps(read_stage(getattr(capture, stage)))
                assert not any(secret in kept for secret in (own, self.secret, UPSTREAM_SECRET)), stage
            assert read_stage(capture.client_response)["body"]
        assert await Capture.objects.acount() == 2

    async def test_errors_are_in_the_clients_format_and_not_contradicted_by_headers(self) -> None:
        busy = json_reply(
            {"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}},
            529,
            {"request-id": "req_up", "retry-after": "7", "x-should-retry": "true"},
        )
        async with self.gateway(busy) as gateway:
            for path, content in ((CHAT, chat("claude-x")), (RESPONSES, request("hi", "claude-x"))):
                response = await gateway.send(content, path)
                assert response.status_code == 503
                assert isinstance(response.json()["error"]["message"], str)
                assert response.headers["x-request-id"] != "req_up"
                assert (response.headers.get("request-id"), response.headers["retry-after"]) == (None, "7")
            relayed = await gateway.send(body())
        assert (relayed.status_code, relayed.headers["request-id"]) == (529, "req_up")


class Leaving(GatewayCase):
    """A client that leaves: nothing runs on, nothing is reserved, and the books agree."""

    async def left(self, sending: "asyncio.Task[Any]") -> CallRecord:
        """Let the client of `sending` leave; return its call once it is closed."""
        sending.cancel()
        async with asyncio.timeout(5):
            await asyncio.gather(sending, return_exceptions=True)
            while pipeline._tasks or await CallRecord.objects.filter(status="running").aexists():
                await asyncio.sleep(0.01)
        assert await books_differ() == []
        return await CallRecord.objects.alatest("started_at")

    async def test_while_its_file_is_read(self) -> None:
        begun, end = threading.Event(), threading.Event()

        def slow(data: bytes) -> Any:
            begun.set()
            end.wait(5)
            raise ValueError("too late")

        message = {"role": "user", "content": [PDF]}
        with patch.object(attachments, "_cache", attachments.Cache(0)), patch.object(documents, "extract", slow):
            async with self.gateway(Reply(text_stream())) as gateway:
                sending = asyncio.create_task(gateway.send(body(messages=[message], stream=True)))
                await asyncio.to_thread(begun.wait, 5)
                record = await self.left(sending)
                end.set()
        assert (record.status, record.input_tokens, gateway.upstream.requests) == ("cancelled", 0, [])

    async def test_before_the_upstream_answers_in_a_later_round(self) -> None:
        await RuntimeSettings.objects.filter(pk=1).aupdate(**SEARXNG)
        for content, path in (
            (body(tools=[SEARCH], stream=True), "/v1/messages"),
            (request(tools=[{"type": "web_search"}], stream=True), RESPONSES),
        ):
            silent = Reply(silent=True)
            async with self.gateway(search_call(), json_reply(WOLVES), silent) as gateway:
                sending = asyncio.create_task(gateway.send(content, path))
                while len(gateway.upstream.requests) < 3:
                    await asyncio.sleep(0.005)
                record = await self.left(sending)
            assert (record.status, record.input_tokens, record.output_tokens) == ("cancelled", 20, 5)

    async def test_in_mid_answer_of_every_format(self) -> None:
        for path, content in ((CHAT, chat(stream=True)), (RESPONSES, request(stream=True))):
            for model in ("anything", "native"):
                translated = sse(chunk({"content": "some words"}), done=False)
                reply = Reply([*(message_events()[:3] if model == "native" else translated), None])
                async with self.gateway(reply) as gateway:
                    sending = asyncio.create_task(gateway.send({**content, "model": model}, path))
                    await reply.began.wait()
                    await asyncio.sleep(0.05)
                    record = await self.left(sending)
                    assert reply.closed
                assert (record.status, record.error_kind, record.http_status) == ("cancelled", "client_closed", 499)
                assert record.input_tokens > 0


class CallsBesideSearches(GatewayCase):
    async def test_a_search_beside_a_call_of_the_client_reaches_a_responses_client(self) -> None:
        await RuntimeSettings.objects.filter(pk=1).aupdate(**SEARXNG)
        both = calls(("web_search", {"query": "wolves"}), ("Read", {"path": "x"}))
        tools = [{"type": "web_search"}, {"type": "function", "name": "Read", "parameters": {"type": "object"}}]
        for streamed in (True, False):
            async with self.gateway(both, json_reply(WOLVES)) as gateway:
                response = await gateway.send(request(tools=tools, stream=streamed), RESPONSES)
            assert [item["type"] for item in final(response)["output"]] == ["web_search_call", "function_call"]
