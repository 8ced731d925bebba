"""The Chat Completions client over a scripted transport: faults, repairs, timeouts, aggregation."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import httpx
import pytest

from providers.clients import client_for
from providers.clients.base import Answer, Recording, UpstreamCall
from providers.clients.http import close_shared_client, open_shared_client
from providers.clients.openai import OpenAIClient
from providers.errors import ErrorKind as K
from providers.errors import UpstreamError
from providers.target import Secret, Target, Timeouts
from providers.translation.dialect import Dialect
from tests.fakes.transport import Reply, ScriptedTransport, chunk, json_reply, sse, text_stream

SECRET = Secret("default", "sk-vendor-0123456789")
TARGET = Target(
    provider_name="main",
    kind="openai_compatible",
    wire_format="openai",
    base_url="https://up.example/v1",
    secrets=(SECRET,),
    model_id="big",
    timeouts=Timeouts(connect_s=5, first_event_s=5, idle_s=5, total_s=30),
    dialect=Dialect(),
    extra_headers={"x-team": "a"},
)
QUICK = replace(TARGET, timeouts=Timeouts(connect_s=5, first_event_s=0.02, idle_s=0.02, total_s=5))


def call(streamed: bool = True, **members: Any) -> UpstreamCall:
    body = {
        "model": "alias",
        "max_tokens": 100,
        "messages": [{"role": "user", "content": "hi"}],
        "stream": streamed,
        **members,
    }
    return UpstreamCall(
        body=body, raw=json.dumps(body).encode(), streamed=streamed, requested_model="alias",
        message_id="msg_000000000000000000000001", input_tokens_estimate=10,
    )  # fmt: skip


@asynccontextmanager
async def upstream(transport: ScriptedTransport) -> AsyncIterator[ScriptedTransport]:
    await open_shared_client(transport)
    try:
        yield transport
    finally:
        await close_shared_client()


def run(
    *replies: Reply | Callable[[httpx.Request], Reply],
    asked: UpstreamCall | None = None,
    target: Target = TARGET,
    use: Callable[[Answer], Awaitable[Any]] | None = None,
    client: OpenAIClient | None = None,
) -> tuple[Any, ScriptedTransport]:
    """Open one call, use the answer, close it. Returns what `use` returned (default: the answer) and the transport."""
    transport = ScriptedTransport(*replies)

    async def scenario() -> Any:
        async with upstream(transport):
            answer = await (client or OpenAIClient()).open(target, SECRET, asked or call())
            try:
                return await use(answer) if use else answer
            finally:
                await answer.aclose()

    return asyncio.run(scenario()), transport


async def read_stream(answer: Answer) -> bytes:
    return b"".join([piece async for piece in answer.pieces()]) + answer.tail()


async def read_message(answer: Answer) -> Any:
    return json.loads(await answer.message())


def refuse(*replies: Reply, **options: Any) -> tuple[UpstreamError, ScriptedTransport]:
    """Open a call that fails; return its error and the transport."""
    transport = ScriptedTransport(*replies)

    async def scenario() -> None:
        async with upstream(transport):
            target = options.get("target", TARGET)
            await OpenAIClient().open(target, SECRET, options.get("asked") or call())

    with pytest.raises(UpstreamError) as caught:
        asyncio.run(scenario())
    return caught.value, transport


def error(message: str, status: int = 400, **members: Any) -> Reply:
    return json_reply({"error": {"message": message, **members}}, status)


def names(stream: bytes) -> list[str]:
    return [line[7:].decode() for line in stream.split(b"\n") if line.startswith(b"event: ")]


def test_stream_is_translated_and_its_end_held_back() -> None:
    async def use(answer: Answer) -> tuple[bytes, bytes]:
        return b"".join([piece async for piece in answer.pieces()]), answer.tail()

    (body, tail), transport = run(Reply(text_stream()), use=use)
    assert names(body) == ["message_start", "content_block_start", "content_block_delta", "content_block_stop"]
    assert names(tail) == ["message_delta", "message_stop"]
    assert b'"model":"alias"' in body
    request = transport.requests[0]
    assert str(request.url) == "https://up.example/v1/chat/completions"
    assert request.headers["authorization"] == f"Bearer {SECRET.value}"
    assert request.headers["accept"] == "text/event-stream"
    assert request.headers["accept-encoding"] == "identity"
    assert request.headers["x-team"] == "a"
    assert transport.bodies[0]["model"] == "big"
    assert transport.bodies[0]["stream_options"] == {"include_usage": True}
    assert transport.replies[0].closed  # type: ignore[union-attr]


def test_answer_knows_usage_stop_reason_and_request_id() -> None:
    async def use(answer: Answer) -> None:
        await read_stream(answer)
        usage = answer.usage
        assert (usage.input_tokens, usage.cache_read_tokens, usage.output_tokens) == (10, 2, 3)
        assert (answer.stop_reason, answer.status, answer.headers) == ("end_turn", 200, [])
        assert answer.upstream_request_id == "r-1"

    run(Reply(text_stream(), headers={"content-type": "text/event-stream", "x-request-id": "r-1"}), use=use)


def test_message_is_the_stream_put_together() -> None:
    message, transport = run(Reply(text_stream()), asked=call(streamed=False), use=read_message)
    assert message["content"] == [{"type": "text", "text": "Hello"}]
    assert message["stop_reason"] == "end_turn"
    assert transport.bodies[0]["stream"] is True


def test_every_byte_boundary_gives_the_same_stream() -> None:
    whole = b"".join(piece for piece in text_stream("Grüße 😀") if isinstance(piece, bytes))
    expected, _ = run(Reply([whole]), use=read_stream)
    for cut in range(1, len(whole)):
        assert run(Reply([whole[:cut], whole[cut:]]), use=read_stream)[0] == expected


COMPLETION = {
    "id": "c",
    "object": "chat.completion",
    "choices": [{"index": 0, "message": {"role": "assistant", "content": "Hello"}, "finish_reason": "stop"}],
    "usage": {"prompt_tokens": 10, "completion_tokens": 3},
}


def test_json_answer_to_a_stream_request_is_streamed() -> None:
    stream, _ = run(json_reply(COMPLETION), use=read_stream)
    assert names(stream)[-2:] == ["message_delta", "message_stop"]
    assert b'"text":"Hello"' in stream


@pytest.mark.parametrize(
    ("reply", "kind", "words"),
    [
        (error("boom", 500), K.SERVER_ERROR, "boom"),
        (error("slow", 429), K.RATE_LIMITED, "slow"),
        (Reply([b"<html><head><title>Bad Gateway</title>"], 502, {"content-type": "text/html"}), K.OVERLOADED, "Bad Gateway"),
        (Reply([b"<html><head><title>Log in</title></head></html>"], 200, {"content-type": "text/html"}), K.BAD_RESPONSE, "Log in"),
        (Reply([b'{"id": "x", "choi'], 200, {"content-type": "application/json"}), K.BAD_RESPONSE, ""),
        (Reply([]), K.BAD_RESPONSE, "empty"),
        (json_reply({"id": "x", "object": "chat.completion", "choices": []}), K.BAD_RESPONSE, "empty"),
        (json_reply({"error": {"code": 502, "message": "Provider returned error PTEXT"}}), K.OVERLOADED, "PTEXT"),
        (Reply(sse({"error": {"code": 429, "message": "gone"}}, done=False)), K.RATE_LIMITED, "gone"),
        (Reply([b'"Invalid token"'], 401, {"content-type": "application/json"}), K.AUTH, "Invalid token"),
        (Reply(sse(chunk({"role": "assistant", "content": ""}), done=False)), K.BAD_RESPONSE, "empty"),
        (Reply(status=302, headers={"location": "https://login.example"}), K.BAD_RESPONSE, "302"),
        (Reply([httpx.ReadError("cut")]), K.BAD_RESPONSE, "cut off"),
        (Reply(failure=httpx.ConnectError("refused")), K.UNREACHABLE, "connection"),
        (Reply(failure=httpx.RemoteProtocolError("closed")), K.BAD_RESPONSE, "cut off"),
        (Reply([b"not gzip"], headers={"content-encoding": "gzip"}), K.BAD_RESPONSE, "compression"),
    ],
)  # fmt: skip
def test_fault_before_output_is_an_error_that_lets_another_target_try(reply: Reply, kind: K, words: str) -> None:
    found, transport = refuse(reply)
    assert found.kind == kind
    assert words in found.message
    assert found.provider == "main"
    assert len(transport.requests) == 1
    if reply.failure is None:
        assert reply.closed


def test_error_never_holds_the_credential() -> None:
    found, _ = refuse(error(f"key {SECRET.value} is bad", 401))
    assert SECRET.value not in str(found)


@pytest.mark.parametrize("ending", [[httpx.ReadError("cut")], [], sse({"error": {"message": "late"}}, done=False)])
def test_fault_after_output_ends_the_stream_with_an_error(ending: list[Any]) -> None:
    async def use(answer: Answer) -> tuple[bytes, UpstreamError, bytes]:
        sent: list[bytes] = []

        async def read() -> None:
            async for piece in answer.pieces():
                sent[:] = [*sent, piece]

        with pytest.raises(UpstreamError) as caught:
            await read()
        return b"".join(sent), caught.value, answer.interrupted()

    (sent, found, closing), _ = run(Reply([*sse(chunk({"content": "Hel"}), done=False), *ending]), use=use)
    assert names(sent) == ["message_start", "content_block_start", "content_block_delta"]
    assert names(closing) == ["content_block_stop"]
    assert found.kind in (K.BAD_RESPONSE, K.SERVER_ERROR)


@pytest.mark.parametrize("ending", [[httpx.ReadError("cut")], []])
def test_fault_after_the_finish_reason_does_not_spoil_the_answer(ending: list[Any]) -> None:
    pieces = sse(chunk({"content": "Hello"}), chunk(finish="stop"), done=False)
    stream, _ = run(Reply([*pieces, *ending]), use=read_stream)
    assert names(stream)[-1] == "message_stop"


def test_usage_of_a_cut_answer_is_estimated() -> None:
    async def use(answer: Answer) -> None:
        with pytest.raises(UpstreamError):
            await read_stream(answer)
        assert answer.usage.is_estimated
        assert answer.usage.input_tokens == 10
        assert answer.usage.output_tokens > 10

    run(Reply([*sse(chunk({"content": "many words " * 20}), done=False), httpx.ReadError("cut")]), use=use)


def test_answer_without_content_is_empty_and_still_whole() -> None:
    async def use(answer: Answer) -> bytes:
        assert answer.is_empty
        await answer.aclose()  # routing asks another target, and comes back if that fails
        return await read_stream(answer)

    stream, _ = run(Reply(sse(chunk({"content": ""}, "stop"))), use=use)
    assert names(stream)[0] == "message_start"
    assert names(stream)[-1] == "message_stop"


@pytest.mark.parametrize(
    "reply", [Reply(silent=True), Reply([None]), Reply([*sse(chunk({"role": "assistant"}), done=False), None])]
)
def test_silence_before_the_first_event_is_a_timeout(reply: Reply) -> None:
    found, _ = refuse(reply, target=QUICK)
    assert found.kind == K.TIMEOUT


def test_silence_in_mid_stream_is_a_timeout() -> None:
    async def use(answer: Answer) -> UpstreamError:
        with pytest.raises(UpstreamError) as caught:
            await read_stream(answer)
        return caught.value

    found, transport = run(Reply([*sse(chunk({"content": "x"}), done=False), None]), target=QUICK, use=use)
    assert found.kind == K.TIMEOUT
    assert transport.replies[0].closed  # type: ignore[union-attr]


def test_hidden_reasoning_counts_as_life_but_not_as_output() -> None:
    target = replace(TARGET, timeouts=Timeouts(connect_s=5, first_event_s=0.02, idle_s=5, total_s=0.1))
    found, _ = refuse(Reply([*sse(chunk({"reasoning_content": "hm"}), done=False), None]), target=target)
    assert found.kind == K.TIMEOUT
    assert "longer than allowed" in found.message


def test_cancelling_closes_the_upstream() -> None:
    reply = Reply([None])
    transport = ScriptedTransport(reply)

    async def scenario() -> None:
        async with upstream(transport):
            task = asyncio.ensure_future(OpenAIClient().open(TARGET, SECRET, call()))
            async with asyncio.timeout(2):
                await reply.began.wait()
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            assert reply.closed

    asyncio.run(scenario())


TOOLS = [{"name": "Bash", "description": "d", "input_schema": {"type": "object", "properties": {}}}]


@pytest.mark.parametrize(
    ("refusal", "asked", "changed"),
    [
        ("Unknown parameter: 'stream_options'.", {}, {"stream_options": None}),
        ("Unsupported parameter: 'max_tokens'. Use 'max_completion_tokens' instead.", {}, {"max_tokens": None, "max_completion_tokens": 100}),
        ("Range of max_tokens should be [1, 64]", {}, {"max_tokens": 64}),
        ("Unsupported value: 'temperature' does not support 0.2", {"temperature": 0.2, "top_p": 0.5}, {"temperature": None, "top_p": None}),
        ("unknown field parallel_tool_calls", {"tools": TOOLS, "tool_choice": {"type": "auto", "disable_parallel_tool_use": True}}, {"parallel_tool_calls": None}),
        ("tool_choice should be one of none, auto", {"tools": TOOLS, "tool_choice": {"type": "any"}}, {"tool_choice": "auto"}),
        ("response_format is unavailable", {"output_config": {"format": {"type": "json_schema", "schema": {"type": "object"}}}}, {"response_format": None}),
        ("stop is not supported", {"stop_sequences": ["x"]}, {"stop": None}),
        ("role 'system' is not supported", {"system": "be brief"}, {"messages": [{"role": "user", "content": "be brief\n\nhi"}]}),
        ("This model's maximum context length is 8192 tokens. However, you requested 9000 tokens (1000 in the messages, 8000 in the completion).", {"max_tokens": 8000}, {"max_tokens": 6192}),
    ],
)  # fmt: skip
def test_refused_parameter_is_repaired_once(refusal: str, asked: dict[str, Any], changed: dict[str, Any]) -> None:
    message, transport = run(error(refusal), Reply(text_stream()), asked=call(**asked), use=read_message)
    assert message["content"][0]["text"] == "Hello"
    assert len(transport.requests) == 2
    second = transport.bodies[1]
    assert {name: second.get(name) for name in changed} == changed


def test_what_a_model_refuses_is_remembered_for_it_alone() -> None:
    client = OpenAIClient()
    run(error("Unknown parameter: 'stream_options'."), Reply(text_stream()), client=client)
    _, transport = run(Reply(text_stream()), client=client, use=read_message)
    assert "stream_options" not in transport.bodies[0]
    _, transport = run(Reply(text_stream()), client=client, target=replace(TARGET, model_id="other"))
    assert "stream_options" in transport.bodies[0]


def test_repair_that_does_not_help_is_not_remembered() -> None:
    client = OpenAIClient()
    transport = ScriptedTransport(error("Unknown parameter: 'stream_options'."), error("no", 500))

    async def scenario() -> None:
        async with upstream(transport):
            await client.open(TARGET, SECRET, call())

    with pytest.raises(UpstreamError):
        asyncio.run(scenario())
    _, second = run(Reply(text_stream()), client=client)
    assert "stream_options" in second.bodies[0]


@pytest.mark.parametrize(
    "message",
    ["parameter foo is wrong", "bad", "this model does not support tools", "Range of input length should be [1, 10]"],
)
def test_other_refusals_are_not_tried_again(message: str) -> None:
    _, transport = refuse(error(message))
    assert len(transport.requests) == 1


def test_a_refusal_that_persists_ends_after_one_repair() -> None:
    _, transport = refuse(error("Unknown parameter: 'stream_options'."))
    assert len(transport.requests) == 2


def test_repair_also_follows_an_error_under_a_success() -> None:
    reply = Reply(sse({"error": {"code": 400, "message": "Unknown parameter: 'stream_options'."}}, done=False))
    message, transport = run(reply, Reply(text_stream()), use=read_message)
    assert message["stop_reason"] == "end_turn"
    assert len(transport.requests) == 2


def test_max_tokens_zero_is_answered_without_a_call() -> None:
    async def use(answer: Answer) -> None:
        assert names(await read_stream(answer)) == ["message_start", "message_delta", "message_stop"]
        assert json.loads(await answer.message())["stop_reason"] == "max_tokens"

    _, transport = run(Reply(text_stream()), asked=call(max_tokens=0), use=use)
    assert transport.requests == []


def test_local_text_is_a_whole_answer() -> None:
    search = [{"type": "web_search_20250305", "name": "web_search"}]
    choice = {"type": "tool", "name": "web_search"}
    message, transport = run(Reply(), asked=call(tools=search, tool_choice=choice), use=read_message)
    assert message["content"][0]["text"]
    assert (message["stop_reason"], message["stop_details"]) == ("end_turn", None)
    assert message["usage"]["input_tokens"] > 0
    assert transport.requests == []


def test_a_recording_keeps_both_sides_of_the_last_request() -> None:
    recording = Recording(keeps_bodies=True)
    asked = replace(call(), recording=recording)
    _, transport = run(Reply(text_stream()), use=read_stream, asked=asked)
    assert recording.request_body == transport.requests[0].content
    assert recording.url == "https://up.example/v1/chat/completions"
    assert recording.status == 200
    assert bytes(recording.response_body).endswith(b"data: [DONE]\n\n")
    assert SECRET.value not in repr(recording)


def test_a_recording_of_an_error_keeps_what_the_upstream_said() -> None:
    recording = Recording(keeps_bodies=True)
    refuse(json_reply({"error": {"message": "broken"}}, 500), asked=replace(call(), recording=recording))
    assert recording.status == 500
    assert b"broken" in recording.response_body


def test_a_recording_without_bodies_keeps_sizes() -> None:
    recording = Recording(keeps_bodies=False)
    run(Reply(text_stream()), use=read_stream, asked=replace(call(), recording=recording))
    assert (recording.request_body, bytes(recording.response_body)) == (b"", b"")
    assert recording.request_bytes > 50
    assert recording.response_bytes > 50


def test_azure_gets_its_own_header() -> None:
    target = replace(TARGET, base_url="https://r.openai.azure.com/openai/v1")
    _, transport = run(Reply(text_stream()), target=target)
    assert transport.requests[0].headers["api-key"] == SECRET.value
    assert "authorization" not in transport.requests[0].headers


def test_literal_private_address_is_refused_without_permission() -> None:
    target = replace(TARGET, base_url="http://127.0.0.1:9/v1")
    found, transport = refuse(Reply(text_stream()), target=target)
    assert found.kind == K.UNREACHABLE
    assert transport.requests == []
    run(Reply(text_stream()), target=replace(target, allow_private_network=True))


def test_client_for_follows_the_wire_format() -> None:
    assert isinstance(client_for(TARGET), OpenAIClient)
    assert not isinstance(client_for(replace(TARGET, wire_format="anthropic")), OpenAIClient)
