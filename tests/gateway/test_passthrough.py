"""Calls passed through to Anthropic-compatible servers, in process: order, fallback by status, words as they came."""

import asyncio
import json
from datetime import timedelta
from decimal import Decimal
from typing import Any

import httpx
from django.utils import timezone

from accounts.models import ApiKey, Attempt, CallRecord, Quota, QuotaWindow
from providers.models import Credential, Model, Price, Provider
from routing.models import Policy, Route, RouteEntry, RuntimeSettings
from tests.fakes.transport import Reply, events, json_reply, text_stream
from tests.gateway.case import MESSAGES, GatewayCase, body

ERROR = {
    "type": "error",
    "error": {"type": "overloaded_error", "message": "Überlastet — 请稍候"},
    "request_id": "req_up",
}
START = {
    "type": "message_start",
    "message": {
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "model": "claude-opus-5-5",
        "content": [],
        "stop_reason": None,
        "usage": {"input_tokens": 7, "output_tokens": 1},
    },
}
BLOCK = {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}}
DELTA = {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "the speed limit, expired"}}
BLOCK_STOP = {"type": "content_block_stop", "index": 0}
END = {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 5}}
STREAM = events(START, BLOCK, DELTA, BLOCK_STOP, END, {"type": "message_stop"})
MESSAGE = {
    "id": "msg_1",
    "type": "message",
    "role": "assistant",
    "model": "claude-opus-5-5",
    "content": [{"type": "text", "text": "permission limit expired"}],
    "stop_reason": "end_turn",
    "usage": {"input_tokens": 7, "output_tokens": 5},
}


def joined(pieces: list[Any]) -> bytes:
    return b"".join(piece for piece in pieces if isinstance(piece, bytes))


def good(streamed: bool) -> Reply:
    return Reply(list(STREAM)) if streamed else json_reply(MESSAGE, headers={"request-id": "req_good"})


class PassthroughCase(GatewayCase):
    """The default policy passes calls through to `one/*` and `two/*`."""

    def setUp(self) -> None:
        super().setUp()
        route = Route.objects.create(name="claude")
        for position, name in enumerate(("one", "two")):
            server = Provider.objects.create(
                name=name, kind="anthropic_compatible", base_url=f"http://{name}.test", allow_private_network=True
            )
            credential = Credential(provider=server)
            credential.set_secret(f"sk-stored-{name}-0123456789")
            credential.save()
            row = Model.objects.create(provider=server, model_id="*")
            RouteEntry.objects.create(route=route, model=row, position=position)
        Policy.objects.update(mode="passthrough", route=route)


class FallbackTests(PassthroughCase):
    async def ask(self, *replies: Reply, streamed: bool) -> tuple[httpx.Response, list[str]]:
        async with self.gateway(*replies) as gateway:
            response = await gateway.send(body(stream=streamed))
        return response, [request.url.host for request in gateway.upstream.requests]

    async def test_a_200_that_breaks_everywhere_is_heard_of_within_a_200(self) -> None:
        cut = httpx.ReadError("cut")
        for replies in ([Reply([]), Reply([])], [Reply([cut]), Reply([cut])]):
            response, hosts = await self.ask(*replies, streamed=True)
            self.assertEqual(hosts, ["one.test", "two.test"])
            self.assertEqual(response.status_code, 200)
            self.assertTrue(response.text.startswith("event: error\ndata: {"), response.text)
            response, _hosts = await self.ask(*replies, streamed=False)
            self.assertEqual(response.status_code, 502)

    async def test_the_next_server_is_asked_by_status_alone(self) -> None:
        for streamed in (False, True):
            for status in (401, 402, 403, 408, 429, 500, 502, 503, 504, 529):
                for failure in (
                    json_reply(ERROR, status),
                    Reply([b"<h1>nginx</h1>"], status, {"content-type": "text/html"}),
                ):
                    response, asked = await self.ask(failure, good(streamed), streamed=streamed)
                    assert asked == ["one.test", "two.test"], (status, streamed)
                    assert response.status_code == 200
                    assert response.headers["x-gateway-model"] == "two/claude-opus-5-5"

    async def test_a_wrong_request_is_answered_by_the_first_server_in_its_own_words(self) -> None:
        for streamed in (False, True):
            for status in (400, 404, 413, 422):
                for text in ("credit balance is too low, rate limit", "prompt is too long: 3 tokens > 2 maximum"):
                    error = {**ERROR, "error": {"type": "invalid_request_error", "message": text}}
                    response, asked = await self.ask(json_reply(error, status), good(streamed), streamed=streamed)
                    assert asked == ["one.test"], (status, streamed)
                    assert (response.status_code, response.json()) == (status, error)

    async def test_a_thread_is_the_servers_to_keep(self) -> None:
        thread = {"type": "continue", "previous_message_id": "msg_1"}
        async with self.gateway(good(True)) as gateway:
            response = await gateway.send(body(stream=True, thread=thread))
        assert response.status_code == 200
        assert json.loads(gateway.upstream.requests[0].content)["thread"] == thread

    async def test_the_next_server_is_asked_when_one_gives_no_answer(self) -> None:
        await Provider.objects.filter(name="one").aupdate(first_event_timeout_s=0.1, total_timeout_s=0.2)
        for streamed in (False, True):
            for failure in (
                Reply(failure=httpx.ConnectError("refused")),
                Reply(failure=httpx.ReadError("reset")),
                Reply(silent=True),
                Reply([None]),
                Reply([]),
                Reply([], 302, {"location": "http://elsewhere.test"}),
            ):
                response, asked = await self.ask(failure, good(streamed), streamed=streamed)
                assert asked == ["one.test", "two.test"], (failure, streamed)
                assert response.status_code == 200

    async def test_a_success_is_the_clients_whatever_it_says(self) -> None:
        for streamed in (False, True):
            response, asked = await self.ask(good(streamed), streamed=streamed)
            assert asked == ["one.test"]
            assert response.content == (joined(STREAM) if streamed else json.dumps(MESSAGE).encode())
        for reply, content_type in (
            (json_reply(ERROR), "application/json"),
            (json_reply({"odd": "limit"}), "application/json"),
            (Reply([b"<h1>expired</h1>"], headers={"content-type": "text/html"}), "text/html"),
        ):
            for streamed in (False, True):
                response, asked = await self.ask(reply, good(streamed), streamed=streamed)
                assert asked == ["one.test"]
                assert (response.status_code, response.content) == (200, joined(reply.pieces))
                assert response.headers["content-type"] == content_type
                call = await CallRecord.objects.order_by("-started_at").afirst()
                assert call is not None
                assert (call.status, call.http_status) == ("failed", 200)

    async def test_a_message_instead_of_a_stream_is_a_success(self) -> None:
        response, asked = await self.ask(json_reply(MESSAGE), streamed=True)
        assert (response.json(), asked) == (MESSAGE, ["one.test"])
        assert response.headers["content-type"] == "application/json"
        call = await CallRecord.objects.aget()
        assert (call.status, call.output_tokens) == ("ok", 5)

    async def test_an_error_event_is_relayed_and_fails_the_call_in_the_books(self) -> None:
        for begin in ([], events(START), events(START, BLOCK, DELTA)):
            response, asked = await self.ask(Reply([*begin, *events(ERROR)]), good(True), streamed=True)
            assert (response.status_code, asked) == (200, ["one.test"])
            assert response.content == joined([*begin, *events(ERROR)])
            call = await CallRecord.objects.order_by("-started_at").afirst()
            assert call is not None
            assert (call.status, call.error_kind) == ("failed", "overloaded")

    async def test_when_all_fail_the_most_useful_answer_goes_out_as_it_came(self) -> None:
        raw = b'{ "type":"error",\n "error":{"type":"rate_limit_error","message":"slow \\u4e16"}, "x":1.50 }'
        headers = {
            "content-type": "application/json",
            "retry-after": "17",
            "request-id": "req_busy",
            "anthropic-ratelimit-requests-remaining": "0",
        }
        busy = Reply([raw], 429, headers)
        for streamed in (False, True):
            for other in (Reply(failure=httpx.ConnectError("x")), json_reply(ERROR, 401), json_reply(ERROR, 403)):
                for replies in ((busy, other), (other, busy)):
                    response, asked = await self.ask(*replies, streamed=streamed)
                    assert len(asked) == 2
                    assert (response.status_code, response.content) == (429, raw)
                    assert (response.headers["retry-after"], response.headers["request-id"]) == ("17", "req_busy")
                    assert "anthropic-ratelimit-requests-remaining" not in response.headers
                    call = await CallRecord.objects.order_by("-started_at").afirst()
                    assert call is not None
                    assert (call.status, call.http_status) == ("failed", 429)

    async def test_trouble_with_our_credential_is_not_the_clients(self) -> None:
        response, _asked = await self.ask(json_reply(ERROR, 401), json_reply(ERROR, 403), streamed=False)
        assert response.status_code == 502
        assert response.headers["x-should-retry"] == "false"

    async def test_a_page_of_a_proxy_keeps_its_status_and_becomes_json(self) -> None:
        page = Reply([b"<title>404 Not Found</title>"], 404, {"content-type": "text/html"})
        response, _asked = await self.ask(page, streamed=False)
        assert response.status_code == 404
        assert response.json()["error"] == {"type": "not_found_error", "message": "404 Not Found"}

    async def test_an_error_behind_a_ping_is_the_upstreams_own_object(self) -> None:
        await RuntimeSettings.objects.aupdate_or_create(pk=1, defaults={"ping_interval_s": 0.05})
        gate = asyncio.Event()
        pretty = json.dumps(ERROR, indent=1).encode()
        async with self.gateway(Reply([pretty], 529, {"content-type": "application/json"}, gate=gate)) as gateway:
            asyncio.get_running_loop().call_later(0.2, gate.set)
            response = await gateway.send(body(stream=True))
        assert response.status_code == 200
        *pings, last = response.text.strip().split("\n\n")
        assert pings
        assert all(ping.startswith("event: ping") for ping in pings)
        name, *data = last.split("\n")
        assert name == "event: error"
        assert json.loads("\n".join(line.removeprefix("data: ") for line in data)) == ERROR


class AnyModelTests(PassthroughCase):
    async def test_the_body_is_wholly_untouched_and_the_books_use_the_requested_name(self) -> None:
        raw = (
            b'{ "model" : "claude-opus-5-5",\r\n "max_tokens":100, "n":123456789012345678901234567890, "a":1,"a":2.50,'
            b'"messages":[{"role":"user","content":"\\u4e16 \xe4\xb8\x96 \\/"}],\t"stream":true, "future":{"deep":[]}}'
        )
        headers = {
            "anthropic-beta": "future-2099-01-01",
            "anthropic-version": "2026-10-21",
            "anthropic-workspace-id": "w",
            "x-claude-code-session-id": "s",
        }
        async with self.gateway(Reply(list(STREAM))) as gateway:
            response = await gateway.send(raw, path=MESSAGES + "&x=%20y", headers=headers)
        request = gateway.upstream.requests[0]
        assert request.content == raw
        assert str(request.url) == "http://one.test/v1/messages?beta=true&x=%20y"
        assert {name: request.headers[name] for name in headers} == headers
        assert request.headers["authorization"] == "Bearer sk-stored-one-0123456789"
        assert response.headers["x-gateway-model"] == "one/claude-opus-5-5"
        call = await CallRecord.objects.aget()
        assert (call.provider_name, call.model_name, call.input_tokens, call.output_tokens) == (
            "one",
            "claude-opus-5-5",
            7,
            5,
        )
        assert (await Attempt.objects.aget()).model_name == "claude-opus-5-5"

    async def price_of_call(self) -> tuple[Decimal | None, str]:
        async with self.gateway(Reply(list(STREAM))) as gateway:
            await gateway.send(body(stream=True))
        call = await CallRecord.objects.order_by("-started_at").afirst()
        assert call is not None
        return call.cost, call.cost_source

    async def test_the_price_is_that_of_the_row_then_of_any_then_of_the_list(self) -> None:
        assert await self.price_of_call() == (None, "")
        await Provider.objects.filter(name="one").aupdate(base_url="https://api.anthropic.com")
        cost, source = await self.price_of_call()
        assert (cost is not None and cost > 0, source) == (True, "catalogue")
        price = {"currency": "USD", "output_per_million": 10}
        row = await Model.objects.aget(provider__name="one")
        await Price.objects.acreate(model=row, input_per_million=10, **price)
        assert await self.price_of_call() == (Decimal(120) / 10**6, "price")
        own = await Model.objects.acreate(provider_id=row.provider_id, model_id="claude-opus-5-5")
        await Price.objects.acreate(model=own, input_per_million=20, **price)
        assert await self.price_of_call() == (Decimal(190) / 10**6, "price")

    async def test_a_price_comes_into_force_and_goes_by_the_hour_while_the_gateway_runs(self) -> None:
        row = await Model.objects.aget(provider__name="one")
        now = timezone.now()
        clock = {"time_from": (now - timedelta(hours=2)).time(), "time_until": (now + timedelta(hours=2)).time()}
        price = {"model": row, "currency": "USD", "output_per_million": 0}
        await Price.objects.acreate(input_per_million=10, valid_from=now - timedelta(hours=3), **price)
        soon = now + timedelta(seconds=1.5)
        await Price.objects.acreate(input_per_million=20, valid_from=soon, time_zone="UTC", **clock, **price)
        costs = []
        async with self.gateway(Reply(list(STREAM)), Reply(list(STREAM))) as gateway:
            for _turn in range(2):
                await gateway.send(body(stream=True))
                call = await CallRecord.objects.order_by("-started_at").afirst()
                costs.append(call.cost if call else None)
                await asyncio.sleep(max(0, (soon - timezone.now()).total_seconds()))
        assert costs == [Decimal(70) / 10**6, Decimal(140) / 10**6]

    async def test_what_is_cached_for_an_hour_is_booked_and_shown_as_it_came(self) -> None:
        await Provider.objects.filter(name="one").aupdate(base_url="https://api.anthropic.com")
        row = await Model.objects.aget(provider__name="one")
        await Price.objects.acreate(
            model=row, currency="USD", input_per_million=1, output_per_million=0, cache_write_per_million=2,
            cache_write_1h_per_million=4,
        )  # fmt: skip
        split = {"ephemeral_5m_input_tokens": 20, "ephemeral_1h_input_tokens": 50}
        usage = {"input_tokens": 7, "output_tokens": 5, "cache_creation_input_tokens": 70, "cache_creation": split}
        start = {"type": "message_start", "message": {**START["message"], "usage": usage}}  # type: ignore[dict-item]
        stream = events(start, BLOCK, DELTA, BLOCK_STOP, END, {"type": "message_stop"})
        for streamed, reply in ((True, Reply(list(stream))), (False, json_reply({**MESSAGE, "usage": usage}))):
            async with self.gateway(reply) as gateway:
                response = await gateway.send(body(stream=streamed))
            assert json.dumps(split)[1:-1].replace(" ", "") in response.text.replace(" ", "")
            call = await CallRecord.objects.order_by("-started_at").afirst()
            assert call is not None
            assert (call.cache_write_tokens, call.cache_write_1h_tokens) == (70, 50)
            assert call.cost == Decimal(7 + 20 * 2 + 50 * 4) / 10**6

    async def test_any_model_is_not_listed_but_can_be_named(self) -> None:
        async with self.gateway(Reply(list(STREAM))) as gateway:
            listed = [entry["id"] for entry in (await gateway.client.get("/v1/models")).json()["data"]]
            response = await gateway.send(body(model="two/claude/x:1", stream=True))
        assert not [name for name in listed if "*" in name]
        assert response.headers["x-gateway-model"] == "two/claude/x:1"
        assert gateway.sent()["model"] == "claude/x:1"

    async def test_allowed_models_name_what_is_asked_for(self) -> None:
        for patterns, status in ((["one/claude-opus-*"], 200), (["claude-*"], 200), (["two/*"], 200), (["gpt-*"], 403)):
            await ApiKey.objects.filter(pk=self.key.pk).aupdate(allowed_models=patterns)
            async with self.gateway(Reply(list(STREAM))) as gateway:
                assert (await gateway.send(body(stream=True))).status_code == status, patterns
        assert [request.url.host for request in gateway.upstream.requests] == []

    async def test_a_name_that_no_header_holds_is_written_so_that_one_does(self) -> None:
        async with self.gateway(Reply(list(STREAM))) as gateway:
            response = await gateway.send(body(model="模型%", stream=True))
            broken = await gateway.send(body(model="a\r\nset-cookie: x", stream=True))
        assert response.headers["x-gateway-model"] == "one/%E6%A8%A1%E5%9E%8B%25"
        assert broken.status_code == 503


class CountTests(PassthroughCase):
    async def count(self, *replies: Any) -> tuple[httpx.Response, list[httpx.Request]]:
        async with self.gateway(*replies) as gateway:
            path = "/v1/messages/count_tokens?beta=true"
            response = await gateway.send({"model": "m", "messages": [{"role": "user", "content": "hi"}]}, path)
        return response, gateway.upstream.requests

    async def test_the_upstreams_count_is_given_and_nothing_is_booked(self) -> None:
        await Quota.objects.acreate(key=self.key, unit="requests", window="total", limit=0)
        response, requests = await self.count(json_reply({"input_tokens": 4711}))
        assert response.json() == {"input_tokens": 4711}
        assert str(requests[0].url) == "http://one.test/v1/messages/count_tokens?beta=true"
        assert requests[0].content == b'{"model": "m", "messages": [{"role": "user", "content": "hi"}]}'
        assert not await CallRecord.objects.aexists()
        assert not await QuotaWindow.objects.aexists()

    async def test_an_estimate_stands_in(self) -> None:
        for reply in (
            json_reply({"error": "no"}, 404),
            json_reply({"ok": True}),
            json_reply({"input_tokens": "4711"}),
            json_reply({"input_tokens": True}),
            json_reply([]),
            json_reply(ERROR, 529),
            Reply([b"Unexpected endpoint"]),
            Reply([httpx.ReadError("cut")]),
            Reply(failure=httpx.ConnectError("refused")),
        ):
            response, _requests = await self.count(reply)
            assert response.status_code == 200
            assert 0 < response.json()["input_tokens"] < 100

    async def test_where_there_is_no_such_endpoint_none_is_asked(self) -> None:
        await Provider.objects.filter(name="one").aupdate(kind="dashscope", wire_format="anthropic")
        response, requests = await self.count(json_reply({"input_tokens": 4711}))
        assert response.json()["input_tokens"] < 100
        assert requests == []


class DirectTests(GatewayCase):
    """Native targets under other policies keep their fallback by kind."""

    async def test_an_error_right_behind_the_start_still_leads_on(self) -> None:
        route = await Route.objects.acreate(name="mixed")
        for position, name in enumerate(("n", "a")):
            row = await Model.objects.aget(model_id=name)
            await RouteEntry.objects.acreate(route=route, model=row, position=position)
        await Policy.objects.aupdate(route=route)
        async with self.gateway(Reply(events(START, ERROR)), Reply(text_stream("from a"))) as gateway:
            response = await gateway.send(body(stream=True))
        assert "from a" in response.text
        assert [request.url.host for request in gateway.upstream.requests] == ["nat.test", "up.test"]

    async def test_an_openai_target_is_passed_over_when_calls_are_passed_through(self) -> None:
        await Policy.objects.aupdate(mode="passthrough")
        async with self.gateway(Reply(list(STREAM))) as gateway:
            response = await gateway.send(body(stream=True))
        assert (response.status_code, gateway.upstream.requests) == (503, [])
        record = await CallRecord.objects.aget()
        assert record.status == "failed"
