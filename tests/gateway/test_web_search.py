"""Web searches that the gateway runs, with the whole gateway in process and a search backend below httpx."""

import asyncio
import json
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
from asgiref.sync import sync_to_async

from accounts.models import Attempt, CallRecord, UsageDaily
from accounts.verification import differences
from gateway import token_count
from gateway.capture import read_stage
from gateway.models import Capture
from providers.models import Provider
from routing.models import RuntimeSettings
from tests.fakes.transport import Reply, chunk, json_reply, sse, text_stream
from tests.gateway.case import GatewayCase, RunningGateway, body
from tests.translation.grammar import check, outline
from tests.translation.sdk import replay

SEARCH = {"type": "web_search_20250305", "name": "web_search", "max_uses": 8}
READ = {"name": "Read", "input_schema": {"type": "object", "properties": {"path": {"type": "string"}}}}
SECRET = "tvly-0123456789abcdef"
WOLVES = {
    "results": [
        {"title": "Wolf", "url": "https://wolf.example/a", "content": "A wolf\n howls.", "publishedDate": "2026-01-02"},
        {"title": "Gate", "url": "https://gate.example/", "content": "A gate."},
    ]
}


def calls(*named: tuple[str, dict[str, Any]], prompt: int = 20, output: int = 5, text: str = "") -> Reply:
    """Return an answer of the model that calls tools: (name, arguments)."""
    fragments = [
        {
            "index": index,
            "id": f"call_{name}_{index}",
            "type": "function",
            "function": {"name": name, "arguments": json.dumps(arguments)},
        }
        for index, (name, arguments) in enumerate(named)
    ]
    return Reply(
        sse(
            *([chunk({"content": text})] if text else []),
            chunk({"tool_calls": fragments}),
            chunk(finish="tool_calls"),
            {"choices": [], "usage": {"prompt_tokens": prompt, "completion_tokens": output}},
        )
    )


def search_call(query: str = "wolves", **more: Any) -> Reply:
    return calls(("web_search", {"query": query}), **more)


def events_of(response: httpx.Response) -> list[dict[str, Any]]:
    return [json.loads(line[5:]) for line in response.text.splitlines() if line.startswith("data:")]


class WebSearchTests(GatewayCase):
    def setUp(self) -> None:
        super().setUp()
        RuntimeSettings.objects.filter(pk=1).update(search_kind="searxng", search_url="http://127.0.0.1:8888/")

    async def ask(self, *replies: Any, **fields: Any) -> tuple[httpx.Response, RunningGateway]:
        async with self.gateway(*replies) as gateway:
            return await gateway.send(body("wolves?", **{"tools": [SEARCH], **fields})), gateway

    async def test_inner_request_of_claude_code_is_answered_with_a_search(self) -> None:
        response, gateway = await self.ask(
            search_call(),
            json_reply(WOLVES),
            Reply(text_stream("Wolves howl.")),
            tool_choice={"type": "auto"},
            stream=True,
        )
        events = events_of(response)
        check(events)
        identifier = events[1]["content_block"]["id"]
        assert outline(events) == [
            f"S0 server_tool_use({identifier},web_search)",
            'D0 {"query": "wolves"}',
            "X0",
            "S1 web_search_tool_result",
            "X1",
            "S2 text",
            "D2 Wolves howl.",
            "X2",
            "MD(end_turn)",
            "MS",
        ]
        assert events[-2]["usage"]["server_tool_use"] == {"web_search_requests": 1, "web_fetch_requests": 0}
        assert (events[-2]["usage"]["input_tokens"], events[-2]["usage"]["output_tokens"]) == (30, 8)
        offered = gateway.sent(0)["tools"]
        assert [tool["function"]["name"] for tool in offered] == ["web_search"]
        asked = gateway.upstream.requests[1]
        assert (asked.method, str(asked.url).split("?")[0]) == ("GET", "http://127.0.0.1:8888/search")
        assert parse_qs(urlsplit(str(asked.url)).query) == {"q": ["wolves"], "format": ["json"]}
        messages = gateway.sent(2)["messages"]
        assert [message["role"] for message in messages] == ["user", "assistant", "tool"]
        assert messages[1]["tool_calls"][0]["function"] == {"name": "web_search", "arguments": '{"query": "wolves"}'}
        assert messages[2]["tool_call_id"] == messages[1]["tool_calls"][0]["id"]
        assert "1. Wolf\nhttps://wolf.example/a\n2026-01-02\nA wolf howls." in messages[2]["content"]

    async def test_official_sdk_understands_the_stream(self) -> None:
        response, _gateway = await self.ask(
            search_call(), json_reply(WOLVES), Reply(text_stream("Wolves howl.")), stream=True
        )
        message = replay(response.content)
        use, result, text = message["content"]
        assert (use["type"], use["name"], use["input"]) == ("server_tool_use", "web_search", {"query": "wolves"})
        assert (result["type"], result["tool_use_id"]) == ("web_search_tool_result", use["id"])
        assert [(one["type"], one["title"], one["page_age"]) for one in result["content"]] == [
            ("web_search_result", "Wolf", "2026-01-02"),
            ("web_search_result", "Gate", None),
        ]
        assert text["text"] == "Wolves howl."
        assert message["usage"]["server_tool_use"]["web_search_requests"] == 1

    async def test_without_a_stream_the_message_is_the_same(self) -> None:
        response, _gateway = await self.ask(search_call(), json_reply(WOLVES), Reply(text_stream("Wolves howl.")))
        message = response.json()
        assert [block["type"] for block in message["content"]] == ["server_tool_use", "web_search_tool_result", "text"]
        assert message["content"][0]["input"] == {"query": "wolves"}
        assert message["content"][1]["tool_use_id"] == message["content"][0]["id"]
        assert message["stop_reason"] == "end_turn"
        assert message["usage"]["server_tool_use"]["web_search_requests"] == 1

    async def test_usage_of_all_rounds_is_booked(self) -> None:
        await self.ask(
            search_call("a"),
            json_reply(WOLVES),
            search_call("b", prompt=40, output=6),
            json_reply(WOLVES),
            Reply(text_stream("Done.")),
            stream=True,
        )
        call = await CallRecord.objects.aget()
        # text_stream: 12 tokens of prompt, 2 of them cached, and 3 of output
        assert (call.input_tokens, call.cache_read_tokens, call.output_tokens) == (20 + 40 + 10, 2, 5 + 6 + 3)
        assert call.decision["web_search_requests"] == 2
        assert (await UsageDaily.objects.aget()).input_tokens == 70
        assert await Attempt.objects.acount() == 1
        assert await sync_to_async(lambda: list(differences()))() == []

    async def test_a_forced_search_is_free_after_the_first_round(self) -> None:
        response, gateway = await self.ask(
            search_call(),
            json_reply(WOLVES),
            Reply(text_stream("Done.")),
            tool_choice={"type": "tool", "name": "web_search"},
        )
        assert response.json()["stop_reason"] == "end_turn"
        assert gateway.sent(0)["tool_choice"] == {"type": "function", "function": {"name": "web_search"}}
        assert gateway.sent(2)["tool_choice"] == "auto"

    async def test_searches_beyond_max_uses_are_refused_and_the_model_answers(self) -> None:
        response, gateway = await self.ask(
            search_call("a"),
            json_reply(WOLVES),
            search_call("b"),
            Reply(text_stream("Done.")),
            tools=[{**SEARCH, "max_uses": 1}],
            stream=True,
        )
        events = events_of(response)
        check(events)
        results = [e["content_block"]["content"] for e in events if e.get("content_block", {}).get("tool_use_id")]
        assert isinstance(results[0], list)
        assert results[1] == {"type": "web_search_tool_result_error", "error_code": "max_uses_exceeded"}
        assert events[-2]["usage"]["server_tool_use"]["web_search_requests"] == 1
        assert "tools" in gateway.sent(2)
        assert "tools" not in gateway.sent(3)
        assert "used up" in gateway.sent(3)["messages"][-1]["content"]

    async def test_a_model_that_never_stops_searching_is_ended(self) -> None:
        replies: list[Reply] = []
        for number in range(30):
            replies += [search_call(str(number)), json_reply(WOLVES)]
        response, gateway = await self.ask(*replies, tools=[{**SEARCH, "max_uses": 100}], stream=True)
        events = events_of(response)
        check(events)
        assert len(gateway.upstream.requests) == 10 + 9
        assert outline(events)[-2:] == ["MD(end_turn)", "MS"]
        assert events[-2]["usage"]["server_tool_use"]["web_search_requests"] == 9

    async def test_a_backend_that_is_down_gives_an_error_block_and_the_model_answers(self) -> None:
        for failure in (
            Reply(failure=httpx.ConnectError("refused")),
            json_reply({"error": "forbidden"}, 403),
            Reply([b"<html>"], headers={"content-type": "text/html"}),
            json_reply({"unexpected": 1}),
        ):
            with self.subTest(failure=failure):
                response, gateway = await self.ask(search_call(), failure, Reply(text_stream("I know.")), stream=True)
                events = events_of(response)
                check(events)
                assert events[4]["content_block"]["content"] == {
                    "type": "web_search_tool_result_error",
                    "error_code": "unavailable",
                }
                assert "server_tool_use" not in events[-2]["usage"]
                assert "search failed" in gateway.sent(2)["messages"][-1]["content"]

    async def test_the_token_estimate_learns_nothing_from_several_rounds(self) -> None:
        token_count._calibrated_at.clear()
        await self.ask(search_call(), json_reply(WOLVES), Reply(text_stream("Wolves howl.")))
        await self.ask(search_call(), Reply(failure=httpx.ConnectError("down")), Reply(text_stream("No idea.")))
        assert not token_count._calibrated_at
        await self.ask(Reply(text_stream("Wolves howl.")))
        assert list(token_count._calibrated_at) == ["up/a"]

    async def test_a_bad_query_is_reported_to_the_model(self) -> None:
        for arguments, code in (
            ({"q": 1}, "invalid_tool_input"),
            ({"query": "  "}, "invalid_tool_input"),
            ({"query": "x" * 401}, "query_too_long"),
        ):
            with self.subTest(code=code):
                response, gateway = await self.ask(calls(("web_search", arguments)), Reply(text_stream("Oh.")))
                assert response.json()["content"][1]["content"]["error_code"] == code
                assert len(gateway.upstream.requests) == 2

    async def test_a_round_with_a_call_of_the_client_ends_the_message(self) -> None:
        response, gateway = await self.ask(
            calls(("web_search", {"query": "wolves"}), ("Read", {"path": "/a"}), text="Let me look."),
            json_reply(WOLVES),
            tools=[READ, SEARCH],
            stream=True,
        )
        events = events_of(response)
        check(events)
        kinds = [e["content_block"]["type"] for e in events if e["type"] == "content_block_start"]
        assert kinds == ["text", "server_tool_use", "tool_use", "web_search_tool_result"]
        assert events[-2]["delta"]["stop_reason"] == "tool_use"
        assert len(gateway.upstream.requests) == 2

    async def test_several_searches_of_one_round_are_run_at_once(self) -> None:
        gate, arrived = asyncio.Event(), []

        def backend(request: httpx.Request) -> Reply:
            arrived.append(request)
            if len(arrived) == 2:
                gate.set()
            reply = json_reply(WOLVES)
            reply.gate = gate  # the first is answered when the second has come
            return reply

        two = calls(("web_search", {"query": "a"}), ("web_search", {"query": "b"}))
        response, gateway = await self.ask(two, backend, backend, Reply(text_stream("Done.")), stream=True)
        check(events_of(response))
        assert [message["role"] for message in gateway.sent(3)["messages"]] == ["user", "assistant", "tool", "tool"]
        assert events_of(response)[-2]["usage"]["server_tool_use"]["web_search_requests"] == 2

    async def test_an_upstream_that_fails_in_a_later_round_ends_in_an_error_event(self) -> None:
        down = json_reply({"error": {"message": "overloaded"}}, 503)
        response, gateway = await self.ask(search_call(), json_reply(WOLVES), down, stream=True)
        events = events_of(response)
        check(events)
        assert events[-1]["type"] == "error"
        assert len(gateway.upstream.requests) == 3
        call = await CallRecord.objects.aget()
        assert (call.status, call.input_tokens, call.output_tokens) == ("failed", 20, 5)

    async def test_a_later_round_that_is_cut_closes_its_block_by_its_own_index(self) -> None:
        cut = Reply([*sse(chunk({"content": "Wol"}), done=False), httpx.ReadError("cut")])
        response, _gateway = await self.ask(search_call(), json_reply(WOLVES), cut, stream=True)
        events = events_of(response)
        check(events)
        assert outline(events[:-1])[-3:] == ["S2 text", "D2 Wol", "X2"]
        assert events[-1]["type"] == "error"

    async def test_without_a_stream_a_later_failure_leads_to_the_next_target(self) -> None:
        down = json_reply({"error": {"message": "overloaded"}}, 503)
        response, gateway = await self.ask(search_call(), json_reply(WOLVES), down, Reply(text_stream("From b.")))
        assert response.json()["content"][-1]["text"] == "From b."
        assert response.headers["x-gateway-model"] == "up/b"
        assert len(gateway.upstream.requests) == 4

    async def test_a_client_that_leaves_during_a_search_closes_it(self) -> None:
        slow = Reply([None], headers={"content-type": "application/json"})
        async with self.gateway(search_call(), slow) as gateway:
            call = asyncio.create_task(gateway.send(body("wolves?", tools=[SEARCH], stream=True)))
            await slow.began.wait()
            call.cancel()
            await asyncio.gather(call, return_exceptions=True)
            while not slow.closed:
                await asyncio.sleep(0.005)
            while not await CallRecord.objects.filter(status="cancelled").aexists():
                await asyncio.sleep(0.005)
        record = await CallRecord.objects.aget()
        assert (record.input_tokens, record.output_tokens) == (20, 5)

    async def test_results_come_back_to_the_model_in_the_next_turn(self) -> None:
        response, _gateway = await self.ask(search_call(), json_reply(WOLVES), Reply(text_stream("Wolves howl.")))
        history = [
            {"role": "user", "content": "wolves?"},
            {"role": "assistant", "content": response.json()["content"]},
            {"role": "user", "content": "And what else?"},
        ]
        _response, gateway = await self.ask(Reply(text_stream("Nothing.")), messages=history)
        said = gateway.sent(0)["messages"][1]["content"]
        assert "[web_search: wolves]" in said
        assert "Wolf (https://wolf.example/a)\nA wolf howls." in said
        assert said.endswith("Wolves howl.")

    async def test_allowed_and_blocked_domains(self) -> None:
        response, gateway = await self.ask(
            search_call(),
            json_reply(WOLVES),
            Reply(text_stream("Done.")),
            tools=[{**SEARCH, "allowed_domains": ["gate.example"]}],
        )
        assert [result["title"] for result in response.json()["content"][1]["content"]] == ["Gate"]
        assert "site%3Agate.example" in str(gateway.upstream.requests[1].url)
        response, _gateway = await self.ask(
            search_call(),
            json_reply(WOLVES),
            Reply(text_stream("Done.")),
            tools=[{**SEARCH, "blocked_domains": ["gate.example"]}],
        )
        assert [result["title"] for result in response.json()["content"][1]["content"]] == ["Wolf"]

    async def test_tavily_is_asked_with_the_secret_which_no_capture_keeps(self) -> None:
        row = await RuntimeSettings.objects.aget()
        row.search_kind, row.search_url, row.capture = "tavily", "https://tavily.test", "full"
        row.set_search_secret(SECRET)
        await row.asave()
        leaky = {"results": [{"title": f"key {SECRET}", "url": "https://wolf.example/", "content": "x"}]}
        response, gateway = await self.ask(
            search_call(),
            json_reply(leaky),
            Reply(text_stream("Done.")),
            tools=[{**SEARCH, "allowed_domains": ["wolf.example"]}],
            stream=True,
        )
        check(events_of(response))
        asked = gateway.upstream.requests[1]
        assert (asked.method, str(asked.url)) == ("POST", "https://tavily.test/search")
        assert asked.headers["authorization"] == f"Bearer {SECRET}"
        assert json.loads(asked.content) == {
            "query": "wolves",
            "max_results": 10,
            "include_domains": ["wolf.example"],
        }
        capture = await Capture.objects.aget()
        stage = read_stage(capture.client_response)
        assert SECRET not in json.dumps(stage)
        assert "key ***" in stage["body"]

    async def test_without_a_backend_the_answer_says_so(self) -> None:
        await RuntimeSettings.objects.filter(pk=1).aupdate(search_kind="")
        response, gateway = await self.ask(Reply(text_stream("never")))
        assert "cannot search the web" in response.json()["content"][0]["text"]
        assert gateway.upstream.requests == []

    async def test_a_provider_may_be_without_search(self) -> None:
        await Provider.objects.filter(name="up").aupdate(flags={"server_tools": "drop"})
        response, gateway = await self.ask(Reply(text_stream("never")))
        assert "cannot search the web" in response.json()["content"][0]["text"]
        assert gateway.upstream.requests == []

    async def test_a_platform_may_search_itself(self) -> None:
        await Provider.objects.filter(name="up").aupdate(flags={"server_tools": "native"})
        cited = {"type": "url_citation", "url_citation": {"url": "https://wolf.example/", "title": "Wolf"}}
        reply = Reply(
            sse(
                chunk({"content": "Wolves howl."}),
                chunk({"annotations": [cited]}),
                chunk(finish="stop"),
                {
                    "choices": [],
                    "usage": {
                        "prompt_tokens": 9,
                        "completion_tokens": 3,
                        "server_tool_use": {"web_search_requests": 2},
                    },
                },
            )
        )
        response, gateway = await self.ask(reply)
        assert gateway.sent(0)["web_search_options"] == {}
        assert "tools" not in gateway.sent(0)
        message = response.json()
        assert message["content"] == [
            {"type": "text", "text": "Wolves howl.\n\nSources:\n- [Wolf](https://wolf.example/)"}
        ]
        assert message["usage"]["server_tool_use"]["web_search_requests"] == 2
        assert (await CallRecord.objects.aget()).decision["web_search_requests"] == 2

    async def test_searches_of_a_native_upstream_are_counted(self) -> None:
        message = {
            "id": "m",
            "type": "message",
            "role": "assistant",
            "model": "n",
            "content": [{"type": "text", "text": "x"}],
            "stop_reason": "end_turn",
            "usage": {"input_tokens": 5, "output_tokens": 2, "server_tool_use": {"web_search_requests": 3}},
        }
        _response, gateway = await self.ask(json_reply(message), model="native")
        assert gateway.sent(0)["tools"] == [SEARCH]
        assert (await CallRecord.objects.aget()).decision["web_search_requests"] == 3
