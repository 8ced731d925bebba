"""Calls of Responses clients through the whole gateway, to both kinds of targets."""

import asyncio
import json
from typing import Any

import httpx

from accounts.models import CallRecord, Quota
from providers.models import Provider
from routing.models import RuntimeSettings
from tests.fakes.transport import Reply, chunk, events, json_reply, sse, text_stream
from tests.gateway.case import GatewayCase
from tests.translation import openai_sdk

RESPONSES = "/v1/responses"
READ = {
    "type": "function",
    "name": "Read",
    "parameters": {"type": "object", "properties": {"path": {"type": "string"}}, "required": ["path"]},
    "strict": False,
}
PATCH = {"type": "custom", "name": "apply_patch", "description": "Edit files."}
ENCRYPTED = {"reasoning": {"summary": "auto"}, "include": ["reasoning.encrypted_content"], "store": False}


def request(items: Any = "hi", model: str = "anything", **fields: Any) -> dict[str, Any]:
    """Return a request of a Responses client."""
    return {"model": model, "input": items, **fields}


def streamed(response: httpx.Response) -> list[dict[str, Any]]:
    """Return the checked events of a streamed answer."""
    assert response.status_code == 200, response.text
    assert response.headers["content-type"].startswith("text/event-stream")
    return openai_sdk.events(response.content)


def final(response: httpx.Response) -> dict[str, Any]:
    """Return the Response object of either form of answer."""
    if response.headers["content-type"].startswith("text/event-stream"):
        document: dict[str, Any] = streamed(response)[-1]["response"]
    else:
        assert response.status_code == 200, response.text
        document = response.json()
    openai_sdk.check_response(document)
    return document


def call(index: int, call_id: str, name: str, arguments: str) -> dict[str, Any]:
    function = {"name": name, "arguments": arguments}
    return chunk({"tool_calls": [{"index": index, "id": call_id, "type": "function", "function": function}]})


def calls(*found: dict[str, Any], reasoning: str = "") -> Reply:
    usage = {"choices": [], "usage": {"prompt_tokens": 12, "completion_tokens": 3}}
    thoughts = [chunk({"reasoning_content": reasoning})] if reasoning else []
    return Reply(sse(*thoughts, *found, chunk(finish="tool_calls"), usage))


def native(*blocks: tuple[dict[str, Any], list[dict[str, Any]]], stop: str = "end_turn") -> list[Any]:
    """Return the events of an Anthropic upstream."""
    usage = {"input_tokens": 10, "cache_read_input_tokens": 4, "output_tokens": 1}
    found: list[Any] = [{"type": "message_start", "message": {"id": "m", "model": "n", "content": [], "usage": usage}}]
    for index, (block, deltas) in enumerate(blocks):
        found.append({"type": "content_block_start", "index": index, "content_block": block})
        found += [{"type": "content_block_delta", "index": index, "delta": delta} for delta in deltas]
        found.append({"type": "content_block_stop", "index": index})
    delta = {"stop_reason": stop, "stop_sequence": None}
    found += [{"type": "message_delta", "delta": delta, "usage": {"output_tokens": 5}}, {"type": "message_stop"}]
    return events(*found)


THINKING = (
    {"type": "thinking", "thinking": "", "signature": ""},
    [{"type": "thinking_delta", "thinking": "because"}, {"type": "signature_delta", "signature": "EqQBsig"}],
)
TEXT = ({"type": "text", "text": ""}, [{"type": "text_delta", "text": "Hello"}])
USE = (
    {"type": "tool_use", "id": "toolu_1", "name": "Read", "input": {}},
    [{"type": "input_json_delta", "partial_json": '{"path": "x"}'}],
)
MESSAGE = {
    "id": "msg_up",
    "type": "message",
    "role": "assistant",
    "model": "n",
    "content": [{"type": "text", "text": "Hello"}],
    "stop_reason": "end_turn",
    "stop_sequence": None,
    "usage": {"input_tokens": 10, "cache_read_input_tokens": 4, "output_tokens": 5},
}


class TestAnswers(GatewayCase):
    async def test_text_in_both_forms_and_on_every_path(self) -> None:
        async with self.gateway(Reply(text_stream("Hello"))) as gateway:
            for path in ("/v1/responses", "/responses", "/api/v1/claude-code/responses", "/v1/v1/responses?x=1"):
                for stream in (False, True):
                    response = await gateway.send(request(stream=stream, instructions="be brief"), path)
                    answer = final(response)
                    assert (answer["status"], answer["model"]) == ("completed", "anything")
                    assert answer["output"][0]["content"][0]["text"] == "Hello"
                    assert answer["usage"]["input_tokens"] == 12
                    assert answer["usage"]["input_tokens_details"]["cached_tokens"] == 2
                    assert response.headers["x-request-id"].startswith("req_")
            sent = gateway.sent()
        assert [message["role"] for message in sent["messages"]] == ["system", "user"]
        record = await CallRecord.objects.afirst()
        assert record is not None
        assert (record.wire_format, record.status, record.output_tokens) == ("responses", "ok", 3)

    async def test_a_native_target_gets_messages(self) -> None:
        for stream in (False, True):
            reply = Reply(native(TEXT)) if stream else json_reply(MESSAGE)
            async with self.gateway(reply) as gateway:
                response = await gateway.send(request(model="native", stream=stream, prompt_cache_key="k"), RESPONSES)
                sent = gateway.sent()
            answer = final(response)
            assert answer["output"][0]["content"][0]["text"] == "Hello"
            assert (answer["usage"]["input_tokens"], answer["usage"]["output_tokens"]) == (14, 5)
            assert sent["model"] == "n"
            assert sent["max_tokens"] > 0
            (block,) = sent["messages"][0]["content"]
            assert block["cache_control"] == {"type": "ephemeral"}
        assert (await CallRecord.objects.alast()).session_id == "k"  # type: ignore[union-attr]

    async def test_a_native_stream_without_its_last_event_is_completed_all_the_same(self) -> None:
        async with self.gateway(Reply(native(TEXT)[:-1])) as gateway:
            response = await gateway.send(request(model="native", stream=True), RESPONSES)
        assert final(response)["status"] == "completed"

    async def test_a_tool_loop(self) -> None:
        question = {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "read x"}]}
        first = calls(call(0, "c1", "Read", '{"path":"x"}'), call(1, "c2", "apply_patch", '{"input":"*** Begin"}'))
        async with self.gateway(first, Reply(text_stream("done"))) as gateway:
            response = await gateway.send(request([question], tools=[READ, PATCH], stream=True), RESPONSES)
            output = final(response)["output"]
            results = [
                {"type": "function_call_output", "call_id": "c1", "output": "tea"},
                {"type": "custom_tool_call_output", "call_id": "c2", "output": "applied"},
            ]
            response = await gateway.send(request([question, *output, *results], tools=[READ, PATCH]), RESPONSES)
            sent = gateway.sent()
        assert [(item["type"], item["call_id"]) for item in output] == [
            ("function_call", "c1"),
            ("custom_tool_call", "c2"),
        ]
        assert output[1]["input"] == "*** Begin"
        assert final(response)["output"][0]["content"][0]["text"] == "done"
        assert [message["role"] for message in sent["messages"]] == ["user", "assistant", "tool", "tool"]
        assert [message.get("content") for message in sent["messages"][2:]] == ["tea", "applied"]
        assert [tool["function"]["name"] for tool in sent["tools"]] == ["Read", "apply_patch"]

    async def test_reasoning_travels_to_the_client_and_back(self) -> None:
        await self.use_reasoning_replay()
        first = calls(call(0, "c1", "Read", '{"path":"x"}'), reasoning="because")
        async with self.gateway(first, Reply(text_stream("done"))) as gateway:
            response = await gateway.send(request(tools=[READ], stream=True, **ENCRYPTED), RESPONSES)
            thought, made = final(response)["output"]
            assert thought["summary"] == [{"type": "summary_text", "text": "because"}]
            result = {"type": "function_call_output", "call_id": "c1", "output": "tea"}
            history = [{"role": "user", "content": "hi"}, thought, made, result]
            await gateway.send(request(history, tools=[READ], **ENCRYPTED), RESPONSES)
            sent = gateway.sent()
        assert sent["messages"][1]["reasoning_content"] == "because"

    async def test_hidden_reasoning_travels_as_well(self) -> None:
        await self.use_reasoning_replay()
        hidden = {**ENCRYPTED, "reasoning": {"effort": "high"}}
        first = calls(call(0, "c1", "Read", '{"path":"x"}'), reasoning="because")
        async with self.gateway(first, Reply(text_stream("done"))) as gateway:
            response = await gateway.send(request(tools=[READ], stream=True, **hidden), RESPONSES)
            assert "because" not in response.text
            thought, made = final(response)["output"]
            assert thought["summary"] == []
            result = {"type": "function_call_output", "call_id": "c1", "output": "tea"}
            history = [{"role": "user", "content": "hi"}, thought, made, result]
            await gateway.send(request(history, tools=[READ], **hidden), RESPONSES)
            sent = gateway.sent()
        assert sent["messages"][1]["reasoning_content"] == "because"

    async def test_a_native_targets_reasoning_comes_back_signed(self) -> None:
        first = Reply(native(THINKING, USE, stop="tool_use"))
        async with self.gateway(first, Reply(native(TEXT))) as gateway:
            ask = {"model": "native", "tools": [READ], "stream": True, **ENCRYPTED}
            output = final(await gateway.send(request(**ask), RESPONSES))["output"]
            result = {"type": "function_call_output", "call_id": "toolu_1", "output": "tea"}
            history = [{"role": "user", "content": "hi"}, *output, result]
            response = await gateway.send(request(history, **ask), RESPONSES)
            sent = gateway.sent()
        assert final(response)["status"] == "completed"
        assert sent["messages"][1]["content"] == [
            {"type": "thinking", "thinking": "because", "signature": "EqQBsig"},
            {"type": "tool_use", "id": "toolu_1", "name": "Read", "input": {"path": "x"}},
        ]
        assert sent["messages"][2]["content"][0]["tool_use_id"] == "toolu_1"

    async def use_reasoning_replay(self) -> None:
        await Provider.objects.filter(name="up").aupdate(flags={"reasoning_replay": "reasoning_content"})


class TestErrors(GatewayCase):
    async def test_what_refers_to_something_stored_is_refused(self) -> None:
        async with self.gateway(Reply(text_stream())) as gateway:
            response = await gateway.send(request(previous_response_id="resp_1", stream=True), RESPONSES)
            missing = await gateway.client.get("/v1/responses/resp_1")
        assert response.status_code == 400
        error = response.json()["error"]
        assert (error["type"], error["param"]) == ("invalid_request_error", "previous_response_id")
        assert "send the whole conversation" in error["message"]
        assert missing.status_code == 404
        assert "type" not in missing.json()
        assert gateway.upstream.requests == []
        assert await CallRecord.objects.acount() == 0

    async def test_a_wrong_key_is_told_in_openais_words(self) -> None:
        async with self.gateway(Reply(text_stream())) as gateway:
            response = await gateway.send(request(), RESPONSES, headers={"authorization": "Bearer wg_wrong"})
        assert response.status_code == 401
        assert response.json()["error"]["code"] == "invalid_api_key"

    async def test_a_full_quota_refuses(self) -> None:
        await Quota.objects.acreate(key=self.key, unit="requests", window="total", limit=1)
        async with self.gateway(Reply(text_stream())) as gateway:
            assert (await gateway.send(request(), RESPONSES)).status_code == 200
            response = await gateway.send(request(stream=True), RESPONSES)
        assert response.status_code == 429
        assert response.json()["error"]["code"] == "insufficient_quota"
        assert response.headers["x-should-retry"] == "false"

    async def test_an_upstream_error_before_the_stream_has_a_status(self) -> None:
        for status, expected in ((500, 502), (429, 429), (400, 400)):
            failure = json_reply({"error": {"message": "words", "type": "x"}}, status)
            async with self.gateway(failure, failure) as gateway:
                response = await gateway.send(request(stream=True), RESPONSES)
            assert response.status_code == expected
            assert "words" in response.json()["error"]["message"]

    async def test_a_prompt_that_is_too_long_has_the_code_that_agents_know(self) -> None:
        failure = json_reply(
            {"error": {"message": "This model's maximum context length is 8 tokens", "type": "x"}}, 400
        )
        async with self.gateway(failure, failure) as gateway:
            response = await gateway.send(request(), RESPONSES)
        assert (response.status_code, response.json()["error"]["code"]) == (400, "context_length_exceeded")

    async def test_a_stream_that_dies_ends_in_a_failed_response(self) -> None:
        for model, pieces in (
            ("anything", [*sse(chunk({"content": "half"}), done=False), httpx.ReadError("reset")]),
            ("native", [*native(TEXT)[:3], httpx.ReadError("reset")]),
        ):
            async with self.gateway(Reply(pieces), Reply(text_stream("never"))) as gateway:
                response = await gateway.send(request(model=model, stream=True), RESPONSES)
            found = streamed(response)
            assert found[-1]["type"] == "response.failed"
            assert final(response)["error"]["code"] == "server_error"
            assert [event["type"] for event in found].count("response.created") == 1
            assert "response.completed" not in [event["type"] for event in found]
            record = await CallRecord.objects.order_by("-started_at").afirst()
            assert record is not None
            assert record.status == "failed"

    async def test_silence_is_bridged_by_comments_and_a_late_failure_is_a_failed_response(self) -> None:
        await RuntimeSettings.objects.aupdate_or_create(pk=1, defaults={"ping_interval_s": 0.05})
        gate = asyncio.Event()
        async with self.gateway(Reply([], 500, gate=gate)) as gateway:
            asyncio.get_running_loop().call_later(0.2, gate.set)
            response = await gateway.send(request(stream=True), RESPONSES)
        assert response.content.startswith(b": ping\n\n")
        assert [event["type"] for event in streamed(response)] == [
            "response.created",
            "response.in_progress",
            "response.failed",
        ]

    async def test_a_client_that_leaves_cancels_the_upstream(self) -> None:
        reply = Reply([*sse(chunk({"content": "some words of an answer"}), done=False), None])
        async with self.gateway(reply) as gateway:
            task = asyncio.create_task(gateway.send(request(stream=True), RESPONSES))
            await reply.began.wait()
            task.cancel()
            async with asyncio.timeout(2):
                while not reply.closed:
                    await asyncio.sleep(0.01)
        record = await CallRecord.objects.aget()
        assert (record.status, record.http_status) == ("cancelled", 499)

    async def test_what_is_nested_too_deeply_to_be_repeated_is_not(self) -> None:
        raw = json.dumps(request(metadata={"x": 17}, stream=True)).replace("17", "[" * 1000 + "]" * 1000).encode()
        async with self.gateway(Reply(text_stream("Hello"))) as gateway:
            response = await gateway.send(raw, RESPONSES)
        assert (final(response)["status"], final(response)["metadata"]) == ("completed", {})

    async def test_what_was_left_out_is_on_record(self) -> None:
        tools = [READ, {"type": "file_search", "vector_store_ids": ["v"]}]
        async with self.gateway(Reply(text_stream())) as gateway:
            await gateway.send(request(tools=tools, future_member=1), RESPONSES)
        dropped = (await CallRecord.objects.aget()).dropped_fields
        assert {"tools.file_search", "future_member"} <= set(dropped)
        assert json.dumps(dropped).count("store") == 0
