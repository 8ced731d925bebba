"""The way of a call, from the client's request to the books, with the whole gateway in process."""

import asyncio
import json
from decimal import Decimal
from typing import Any

import httpx
from asgiref.sync import sync_to_async

from accounts import keys
from accounts.models import ApiKey, Attempt, CallRecord, Quota, QuotaWindow, UsageDaily
from accounts.verification import differences
from gateway.capture import read_stage
from gateway.models import Capture
from providers.models import Provider
from routing.models import Policy, RuntimeSettings
from tests.fakes.transport import Reply, chunk, events, json_reply, sse, text_stream
from tests.gateway.case import MESSAGES, UPSTREAM_SECRET, GatewayCase, body
from tests.translation.grammar import check


def error(message: str, status: int, **fields: Any) -> Reply:
    return json_reply({"error": {"message": message, "type": "server_error", **fields}}, status)


def events_of(response: httpx.Response) -> list[dict[str, Any]]:
    return [json.loads(line[5:]) for line in response.text.splitlines() if line.startswith("data:")]


def text_of(message: dict[str, Any]) -> str:
    return "".join(block.get("text", "") for block in message["content"])


def streamed_text(response: httpx.Response) -> str:
    return "".join(event["delta"].get("text", "") for event in events_of(response) if "delta" in event)


class CallTests(GatewayCase):
    async def test_a_call_is_answered_and_booked(self) -> None:
        async with self.gateway(Reply(text_stream("Hello 世界"))) as gateway:
            response = await gateway.send(body("问"), headers={"x-claude-code-session-id": "s-1"})
        assert response.status_code == 200, response.text
        message = response.json()
        assert (message["model"], text_of(message), message["stop_reason"]) == (
            "claude-opus-5-5",
            "Hello 世界",
            "end_turn",
        )
        assert response.headers["x-gateway-model"] == "up/a"
        call = await CallRecord.objects.aget()
        assert response.headers["request-id"] == call.request_id
        assert (call.status, call.provider_name, call.model_name, call.session_id) == ("ok", "up", "a", "s-1")
        assert (call.input_tokens, call.cache_read_tokens, call.output_tokens) == (10, 2, 3)
        assert (call.cost, call.currency) == (Decimal(12) * 3 / 10**6 + Decimal(3) * 15 / 10**6, "USD")
        assert call.ttft_ms is not None
        assert (await UsageDaily.objects.aget()).calls == 1
        assert (await Attempt.objects.aget()).outcome == "ok"

    async def test_a_stream_is_relayed_and_booked(self) -> None:
        async with self.gateway(Reply(text_stream("Hello"))) as gateway:
            response = await gateway.send(body(stream=True))
        assert response.headers["content-type"].startswith("text/event-stream")
        assert response.headers["cache-control"] == "no-cache"
        assert response.headers["x-accel-buffering"] == "no"
        assert "content-length" not in response.headers
        check(events_of(response))
        assert streamed_text(response) == "Hello"
        call = await CallRecord.objects.aget()
        assert (call.status, call.streamed, call.output_tokens) == ("ok", True, 3)

    async def test_the_books_are_closed_before_the_end_is_sent(self) -> None:
        seen: list[str] = []
        async with (
            self.gateway(Reply(text_stream())) as gateway,
            gateway.client.stream("POST", MESSAGES, json=body(stream=True)) as response,
        ):
            async for line in response.aiter_lines():
                if line == "event: message_stop":
                    seen.append((await CallRecord.objects.aget()).status)
        assert seen == ["ok"]

    async def test_every_form_of_the_path_answers_without_a_redirect(self) -> None:
        paths = [
            prefix + "messages" + query
            for prefix in ("/v1/", "/api/v1/claude-code/", "/api/v1/claude-code/v1/", "/")
            for query in ("", "?beta=true", "?x=1&y")
        ]
        async with self.gateway(Reply(text_stream())) as gateway:
            for path in paths:
                assert (await gateway.send(path=path)).status_code == 200, path

    async def test_either_credential_header_lets_in_and_a_valid_one_wins(self) -> None:
        async with self.gateway(Reply(text_stream())) as gateway:
            for headers in (
                {"authorization": f"Bearer {self.secret}"},
                {"authorization": f"bearer  {self.secret} "},
                {"authorization": "", "x-api-key": self.secret},
                {"authorization": "Bearer wg_wrong", "x-api-key": self.secret},
                {"authorization": f"Bearer {self.secret}", "x-api-key": "wg_wrong"},
            ):
                assert (await gateway.send(headers=headers)).status_code == 200, headers
            response = await gateway.send(headers={"authorization": "Bearer wg_wrong"})
        assert response.status_code == 401
        assert response.headers["x-should-retry"] == "false"
        assert response.json()["error"]["type"] == "authentication_error"
        assert len(gateway.upstream.requests) == 5

    async def test_a_revoked_key_is_refused_on_the_next_call(self) -> None:
        async with self.gateway(Reply(text_stream())) as gateway:
            assert (await gateway.send()).status_code == 200
            await sync_to_async(keys.revoke)(self.key)
            response = await gateway.send()
        assert response.status_code == 401
        assert "revoked" in response.json()["error"]["message"]

    async def test_no_secret_reaches_the_other_side_or_the_log(self) -> None:
        with self.assertLogs(level="DEBUG") as logs:
            async with self.gateway(Reply(text_stream("reply-text"))) as gateway:
                await gateway.send(body("prompt-text"), headers={"x-api-key": self.secret, "cookie": self.secret})
                request = gateway.upstream.requests[0]
        assert request.headers["authorization"] == f"Bearer {UPSTREAM_SECRET}"
        assert self.secret not in str(request.headers) + request.content.decode()
        written = "\n".join(logs.output)
        for secret in (self.secret, UPSTREAM_SECRET, "prompt-text", "reply-text"):
            assert secret not in written


class FallbackTests(GatewayCase):
    async def test_a_target_that_fails_before_its_first_event_is_followed_by_the_next(self) -> None:
        failures = [
            error("boom", 500),
            error("slow down", 429),
            error("bad key", 401),
            error("model_not_found", 404),
            Reply(status=503, headers={"content-type": "text/html"}, pieces=[b"<h1>nginx</h1>"]),
            Reply(sse({"error": {"message": "gone", "code": 502}}, done=False)),
            Reply([]),
            Reply([httpx.ReadError("reset")]),
        ]
        for failure in failures:
            for streamed in (False, True):
                async with self.gateway(failure, Reply(text_stream("from b"))) as gateway:
                    response = await gateway.send(body(stream=streamed))
                assert response.status_code == 200, (failure, response.text)
                assert [sent["model"] for sent in gateway.upstream.bodies] == ["a", "b"], failure
                call = await CallRecord.objects.order_by("-started_at").afirst()
                assert call is not None
                assert (call.status, call.model_name) == ("ok", "b")
                assert [each.model_name async for each in call.attempts.all()] == ["a", "b"]

    async def test_an_unstreamed_call_survives_an_upstream_that_dies_in_mid_answer(self) -> None:
        cut = Reply([*sse(chunk({"content": "half"}), done=False), httpx.ReadError("reset")])
        async with self.gateway(cut, Reply(text_stream("whole"))) as gateway:
            response = await gateway.send()
        assert text_of(response.json()) == "whole"

    async def test_a_stream_that_dies_after_its_first_event_ends_in_an_error_event(self) -> None:
        cut = Reply([*sse(chunk({"content": "half"}), done=False), httpx.ReadError("reset")])
        async with self.gateway(cut, Reply(text_stream("never"))) as gateway:
            response = await gateway.send(body(stream=True))
        found = events_of(response)
        assert found[-1]["type"] == "error"
        assert found[-1]["request_id"] == response.headers["request-id"]
        assert "message_stop" not in [event["type"] for event in found]
        assert found[-2]["type"] == "content_block_stop"
        assert streamed_text(response) == "half"
        assert len(gateway.upstream.requests) == 1
        call = await CallRecord.objects.aget()
        assert (call.status, call.error_kind, call.usage_is_estimated) == ("failed", "bad_response", True)
        assert call.output_tokens > 0

    async def test_what_came_in_one_read_with_a_failure_still_arrives_before_it(self) -> None:
        failures = [sse({"error": {"message": "gone", "code": 502}}, done=False), []]
        for failure in failures:
            whole = b"".join(piece for piece in [*sse(chunk({"content": "half"}), done=False), *failure] if piece)
            async with self.gateway(Reply([whole]), Reply(text_stream("never"))) as gateway:
                response = await gateway.send(body(stream=True))
            found = [event["type"] for event in events_of(response)]
            assert found == [
                "message_start",
                "content_block_start",
                "content_block_delta",
                "content_block_stop",
                "error",
            ]
            check(events_of(response), complete=False)

    async def test_an_empty_answer_is_asked_again_elsewhere_and_the_second_is_final(self) -> None:
        empty = Reply(sse(chunk({"role": "assistant", "content": ""}), chunk(finish="stop")))
        for streamed in (False, True):
            async with self.gateway(empty, Reply(text_stream("said"))) as gateway:
                response = await gateway.send(body(stream=streamed))
            assert "said" in response.text
        async with self.gateway(empty, empty) as gateway:
            response = await gateway.send(body(stream=True))
        check(events_of(response))
        assert len(gateway.upstream.requests) == 2

    async def test_a_wrong_request_is_tried_twice_at_most_and_the_first_answer_counts(self) -> None:
        async with self.gateway(error("first words", 400), error("second words", 400)) as gateway:
            response = await gateway.send()
        assert response.status_code == 400
        assert "first words" in response.json()["error"]["message"]
        assert len(gateway.upstream.requests) == 2

    async def test_when_all_are_busy_the_client_learns_when_to_come_back(self) -> None:
        async with self.gateway(
            Reply([b'{"error": {"message": "busy"}}'], 429, {"retry-after": "30"}),
            Reply([b'{"error": {"message": "busy"}}'], 429, {"retry-after": "7"}),
        ) as gateway:
            response = await gateway.send()
        assert (response.status_code, response.headers["retry-after"]) == (429, "7")
        assert response.json()["error"]["type"] == "rate_limit_error"

    async def test_a_target_that_failed_is_tried_last_for_a_while(self) -> None:
        await RuntimeSettings.objects.aupdate_or_create(pk=1, defaults={"cooldown_enabled": True})
        replies = [error("busy", 503), Reply(text_stream("b")), Reply(text_stream("b again"))]
        async with self.gateway(*replies) as gateway:
            await gateway.send()
            await gateway.send()
        assert [sent["model"] for sent in gateway.upstream.bodies] == ["a", "b", "b"]

    async def test_an_empty_answer_is_asked_again_of_a_target_in_cooldown(self) -> None:
        await RuntimeSettings.objects.aupdate_or_create(pk=1, defaults={"cooldown_enabled": True})
        empty = Reply(sse(chunk({"role": "assistant", "content": ""}), chunk(finish="stop")))
        replies = [error("busy", 503), Reply(text_stream("b")), empty, Reply(text_stream("a"))]
        async with self.gateway(*replies) as gateway:
            await gateway.send()
            response = await gateway.send()
        assert [sent["model"] for sent in gateway.upstream.bodies] == ["a", "b", "b", "a"]
        assert response.json()["content"][0]["text"] == "a"


class LifeTests(GatewayCase):
    async def test_a_silent_upstream_is_bridged_by_pings(self) -> None:
        await RuntimeSettings.objects.aupdate_or_create(pk=1, defaults={"ping_interval_s": 0.05})
        gate = asyncio.Event()

        async with self.gateway(Reply(text_stream("late"), gate=gate)) as gateway:
            asyncio.get_running_loop().call_later(0.3, gate.set)
            response = await gateway.send(body(stream=True))
        assert response.status_code == 200
        kinds = [event["type"] for event in events_of(response)]
        assert kinds[0] == "ping"
        assert kinds.count("ping") >= 3
        check([event for event in events_of(response) if event["type"] != "ping"])
        assert streamed_text(response) == "late"

    async def test_a_failure_after_a_ping_is_an_error_event(self) -> None:
        await RuntimeSettings.objects.aupdate_or_create(pk=1, defaults={"ping_interval_s": 0.05})
        gate = asyncio.Event()
        async with self.gateway(Reply([], 500, gate=gate)) as gateway:
            asyncio.get_running_loop().call_later(0.2, gate.set)
            response = await gateway.send(body(stream=True))
        assert response.status_code == 200
        assert [event["type"] for event in events_of(response)][-1] == "error"

    async def test_a_client_that_leaves_cancels_the_upstream_and_pays_what_was_used(self) -> None:
        reply = Reply([*sse(chunk({"content": "some words of an answer"}), done=False), None])
        async with self.gateway(reply) as gateway:
            task = asyncio.create_task(gateway.send(body(stream=True)))
            await reply.began.wait()
            while not await CallRecord.objects.filter(status="running").aexists():
                await asyncio.sleep(0.01)
            await asyncio.sleep(0.05)
            task.cancel()
            async with asyncio.timeout(2):
                while not reply.closed:
                    await asyncio.sleep(0.01)
        call = await CallRecord.objects.aget()
        assert (call.status, call.error_kind, call.http_status) == ("cancelled", "client_closed", 499)
        assert call.output_tokens > 0
        assert call.input_tokens > 0
        assert call.usage_is_estimated

    async def test_a_client_that_leaves_while_a_target_is_chosen_leaves_no_running_call(self) -> None:
        # Large enough for the full estimate, which is made in a thread.
        text = "word " * 200_000
        async with self.gateway(Reply(text_stream())) as gateway:
            task = asyncio.create_task(gateway.send(body(text)))
            while not await CallRecord.objects.aexists():
                await asyncio.sleep(0.001)
            task.cancel()
            async with asyncio.timeout(5):
                while await CallRecord.objects.filter(status="running").aexists():
                    await asyncio.sleep(0.01)
        assert (await CallRecord.objects.aget()).status == "cancelled"
        assert gateway.upstream.requests == []

    async def test_a_full_quota_refuses_before_any_upstream_is_asked(self) -> None:
        await Quota.objects.acreate(key=self.key, unit="requests", window="total", limit=1)
        async with self.gateway(Reply(text_stream())) as gateway:
            assert (await gateway.send()).status_code == 200
            response = await gateway.send()
            count = await gateway.send(path="/v1/messages/count_tokens")
        assert response.status_code == 429
        assert response.json()["error"]["type"] == "billing_error"
        assert response.headers["x-should-retry"] == "false"
        message = response.json()["error"]["message"]
        assert "key dev1/laptop reached: 1 requests in total, 1 used" in message
        assert "配额已用完：密钥 dev1/laptop 累计限额 1 次请求，已用 1。" in message
        assert count.status_code == 200
        assert len(gateway.upstream.requests) == 1
        assert await CallRecord.objects.acount() == 1
        assert (await QuotaWindow.objects.aget()).reserved == 0

    async def test_what_cannot_be_routed_says_so_and_frees_its_reservation(self) -> None:
        await Quota.objects.acreate(key=self.key, unit="requests", window="total", limit=1)
        await ApiKey.objects.filter(pk=self.key.pk).aupdate(allowed_models=["other/*"])
        async with self.gateway(Reply(text_stream())) as gateway:
            forbidden = await gateway.send()
            await ApiKey.objects.filter(pk=self.key.pk).aupdate(allowed_models=[])
            await Provider.objects.filter(name="up").aupdate(is_enabled=False)
            policy = await Policy.objects.aget()
            await policy.asave()
            nobody = await gateway.send()
        assert (forbidden.status_code, forbidden.json()["error"]["type"]) == (403, "permission_error")
        assert (nobody.status_code, nobody.headers["x-should-retry"]) == (503, "false")
        assert await sync_to_async(lambda: list(differences()))() == []
        assert (await QuotaWindow.objects.aget()).used == 0

    async def test_a_native_target_gets_the_body_byte_for_byte(self) -> None:
        start = {"type": "message_start", "message": {"usage": {"input_tokens": 7, "output_tokens": 1}}}
        block = {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}}
        delta = {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "hi"}}
        end = {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 5}}
        stop = {"type": "content_block_stop", "index": 0}
        pieces = events(start, block, delta, stop, end, {"type": "message_stop"})
        async with self.gateway(Reply(pieces)) as gateway:
            sent = json.dumps(body(model="native", future_field={"deep": [1]}, stream=True)).encode()
            response = await gateway.send(sent, headers={"anthropic-beta": "x-2099"})
            request = gateway.upstream.requests[0]
        assert request.content == sent.replace(b'"native"', b'"n"')
        assert request.headers["anthropic-beta"] == "x-2099"
        assert str(request.url) == "http://nat.test/v1/messages?beta=true"
        assert response.content == b"".join(piece for piece in pieces if isinstance(piece, bytes))
        call = await CallRecord.objects.aget()
        assert (call.input_tokens, call.output_tokens, call.stop_reason) == (7, 5, "end_turn")


class CaptureTests(GatewayCase):
    async def capture_of(self, mode: str, **fields: Any) -> Capture | None:
        await RuntimeSettings.objects.aupdate_or_create(pk=1, defaults={"capture": mode, **fields})
        async with self.gateway(Reply(text_stream("reply-text"))) as gateway:
            await gateway.send(body(f"prompt-text {self.secret}", stream=True))
        return await Capture.objects.afirst()

    async def test_full_keeps_four_stages_without_credentials(self) -> None:
        kept = await self.capture_of("full")
        assert kept is not None
        stages = [
            read_stage(bytes(blob))
            for blob in (kept.client_request, kept.upstream_request, kept.upstream_response, kept.client_response)
        ]
        assert "prompt-text" in stages[0]["body"]
        assert json.loads(stages[1]["body"])["model"] == "a"
        assert stages[1]["url"] == "http://up.test/v1/chat/completions"
        assert stages[2]["body"].startswith("data: ")
        assert "message_stop" in stages[3]["body"]
        for stage in stages:
            assert self.secret not in str(stage)
            assert UPSTREAM_SECRET not in str(stage)
        assert stages[0]["headers"]["authorization"] == "***"

    async def test_a_failed_call_shows_what_the_upstream_was_sent_and_said(self) -> None:
        await RuntimeSettings.objects.aupdate_or_create(pk=1, defaults={"capture": "full"})
        async with self.gateway(error("raw words", 500), error("last words", 503)) as gateway:
            await gateway.send(body("prompt-text"))
        kept = await Capture.objects.aget()
        asked, said = read_stage(bytes(kept.upstream_request)), read_stage(bytes(kept.upstream_response))
        assert json.loads(asked["body"])["model"] == "b"
        assert asked["headers"]["authorization"] == "***"
        assert (said["status"], "last words" in said["body"]) == (503, True)

    async def test_metadata_keeps_no_text(self) -> None:
        kept = await self.capture_of("metadata")
        assert kept is not None
        stage = read_stage(bytes(kept.client_request))
        assert stage["body"] is None
        assert stage["bytes"] > 50
        assert not kept.is_full

    async def test_off_keeps_nothing(self) -> None:
        assert await self.capture_of("off") is None

    async def test_a_large_stage_is_cut(self) -> None:
        kept = await self.capture_of("full", capture_max_bytes=40)
        assert kept is not None
        stage = read_stage(bytes(kept.client_response))
        assert kept.is_truncated
        assert (len(stage["body"]), stage["truncated"]) == (40, True)
