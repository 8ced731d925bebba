"""The Anthropic-wire client over a scripted transport: bytes in, bytes out."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any

import httpx
import pytest

from providers.clients.anthropic import AnthropicClient
from providers.clients.base import Answer, Recording, UpstreamCall
from providers.clients.http import close_shared_client, open_shared_client
from providers.errors import ErrorKind as K
from providers.errors import UpstreamError
from providers.target import Secret, Target, Timeouts
from providers.translation.dialect import Dialect
from tests.fakes.transport import Reply, ScriptedTransport, events, json_reply

SECRET = Secret("default", "sk-vendor-native-0123456789")
TARGET = Target(
    provider_name="nat",
    kind="anthropic_compatible",
    wire_format="anthropic",
    base_url="https://relay.example",
    secrets=(SECRET,),
    model_id="native",
    timeouts=Timeouts(connect_s=5, first_event_s=5, idle_s=5, total_s=30),
    dialect=Dialect(),
)
MESSAGE = {
    "id": "msg_1", "type": "message", "role": "assistant", "model": "native", "content": [{"type": "text", "text": "native ok"}],
    "stop_reason": "end_turn", "stop_sequence": None,
    "usage": {"input_tokens": 3, "output_tokens": 5, "cache_read_input_tokens": 900, "cache_creation_input_tokens": 70},
}  # fmt: skip
START = {
    "type": "message_start",
    "message": {**MESSAGE, "content": [], "stop_reason": None, "usage": {"input_tokens": 11, "output_tokens": 1}},
}
BLOCK = {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}}
PING = {"type": "ping"}
DELTA = {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "native message_stop text"}}
BLOCK_STOP = {"type": "content_block_stop", "index": 0}
END = {
    "type": "message_delta",
    "delta": {"stop_reason": "end_turn", "stop_sequence": None},
    "usage": {"output_tokens": 5},
}
STOP = {"type": "message_stop"}
STREAM = events(START, BLOCK, PING, DELTA, BLOCK_STOP, END, STOP)
ERROR = {"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}}
HEADERS = {
    "anthropic-version": "2026-10-21", "anthropic-beta": "effort-2025-11-24,future-2099-01-01", "user-agent": "claude-cli/2.1",
    "x-app": "cli", "x-stainless-lang": "js", "x-claude-code-session-id": "s1", "authorization": "Bearer wg_client",
    "x-api-key": "wg_client", "cookie": "a=b", "host": "gateway", "x-gateway-key": "wg_client", "x-forwarded-for": "10.0.0.1",
    "accept-encoding": "gzip, zstd", "content-length": "5", "connection": "keep-alive",
}  # fmt: skip


def call(
    streamed: bool = True, model: str = "native", raw: bytes | None = None, query: str = "beta=true"
) -> UpstreamCall:
    raw = (
        raw
        or json.dumps({"messages": [{"role": "user", "content": "hi"}], "model": model, "stream": streamed}).encode()
    )
    return UpstreamCall(
        body=json.loads(raw), raw=raw, streamed=streamed, requested_model=model, message_id="msg_x",
        input_tokens_estimate=10, query=query, headers=HEADERS,
    )  # fmt: skip


def run(
    reply: Reply,
    use: Callable[[Answer], Awaitable[Any]],
    *,
    asked: UpstreamCall | None = None,
    target: Target = TARGET,
    secret: Secret | None = SECRET,
) -> tuple[Any, ScriptedTransport]:
    transport = ScriptedTransport(reply)

    async def scenario() -> Any:
        await open_shared_client(transport)
        try:
            answer = await AnthropicClient().open(target, secret, asked or call())
            try:
                return await use(answer)
            finally:
                await answer.aclose()
        finally:
            await close_shared_client()

    return asyncio.run(scenario()), transport


async def body(answer: Answer) -> bytes:
    return b"".join([piece async for piece in answer.pieces()])


async def whole(answer: Answer) -> bytes:
    return await body(answer) + answer.tail()


async def message(answer: Answer) -> bytes:
    return await answer.message()


async def answer_after(answer: Answer) -> Answer:
    await whole(answer)
    return answer


def joined(pieces: list[Any]) -> bytes:
    return b"".join(pieces)


def fault(
    reply: Reply, asked: UpstreamCall | None = None, use: Callable[[Answer], Awaitable[Any]] = whole
) -> UpstreamError:
    with pytest.raises(UpstreamError) as caught:
        run(reply, use, asked=asked)
    return caught.value


def test_body_is_sent_byte_for_byte() -> None:
    raw = b'{ "future_field" : {"deep":[1,2.50]},\n "model":"native","stream":true, "messages":[{"role":"user","content":"\\u00fc"}] }'
    _, transport = run(Reply(STREAM), whole, asked=call(raw=raw))
    assert transport.requests[0].content == raw
    assert str(transport.requests[0].url) == "https://relay.example/v1/messages?beta=true"


def test_alias_changes_the_model_alone() -> None:
    raw = b'{"tools":[{"model":"x"}], "metadata":{"model":"alias"}, "model" : "alias","stream":true, "messages":[{"role":"user","content":"\\"model\\":\\"alias\\""}]}'
    _, transport = run(Reply(STREAM), whole, asked=call(raw=raw))
    assert transport.requests[0].content == raw.replace(b'"model" : "alias"', b'"model" : "native"')


def test_headers_of_the_protocol_go_up_and_nothing_else() -> None:
    _, transport = run(Reply(STREAM), whole)
    sent = transport.requests[0].headers
    for name in (
        "anthropic-version",
        "anthropic-beta",
        "user-agent",
        "x-app",
        "x-stainless-lang",
        "x-claude-code-session-id",
    ):
        assert sent[name] == HEADERS[name]
    assert sent["accept-encoding"] == "identity"
    assert sent["host"] == "relay.example"
    assert "wg_client" not in str(sent.raw)
    assert not {"cookie", "x-gateway-key", "x-forwarded-for"} & set(sent)


@pytest.mark.parametrize(
    ("secret", "kind", "bearer", "api_key", "beta"),
    [
        ("sk-ant-api03-abc", "anthropic_compatible", False, True, False),
        ("sk-ant-oat01-abc", "anthropic_compatible", True, False, True),
        ("cr_relay", "anthropic_compatible", True, True, False),
        ("sk-or-v1-abc", "openrouter", True, False, False),
    ],
)
def test_credential_goes_where_its_shape_says(secret: str, kind: str, bearer: bool, api_key: bool, beta: bool) -> None:
    _, transport = run(Reply(STREAM), whole, target=replace(TARGET, kind=kind), secret=Secret("d", secret))
    sent = transport.requests[0].headers
    assert (sent.get("authorization") == f"Bearer {secret}", sent.get("x-api-key") == secret) == (bearer, api_key)
    assert ("authorization" in sent, "x-api-key" in sent) == (bearer, api_key)
    assert ("oauth-2025-04-20" in sent["anthropic-beta"]) == beta
    assert sent["anthropic-beta"].startswith(HEADERS["anthropic-beta"])


def test_stream_is_relayed_byte_for_byte_and_its_end_held_back() -> None:
    async def use(answer: Answer) -> tuple[bytes, bytes]:
        return await body(answer), answer.tail()

    (sent, tail), _ = run(Reply(STREAM), use)
    assert sent == joined(STREAM[:-1])
    assert tail == STREAM[-1]


@pytest.mark.parametrize("end", [b"\n\n", b"\r\n\r\n"])
def test_every_byte_boundary_relays_the_same_bytes(end: bytes) -> None:
    data = joined(STREAM).replace(b"\n\n", end)
    for cut in range(1, len(data)):

        async def use(answer: Answer) -> tuple[bytes, bytes]:
            return await body(answer), answer.tail()

        (sent, tail), _ = run(Reply([data[:cut], data[cut:]]), use)
        assert sent + tail == data
        assert tail.startswith(b"event: message_stop")


def test_usage_and_stop_reason_are_read_in_passing() -> None:
    answer, _ = run(Reply(STREAM), answer_after)
    assert (answer.usage.input_tokens, answer.usage.output_tokens, answer.usage.is_estimated) == (11, 5, False)
    assert (answer.stop_reason, answer.upstream_model, answer.is_empty) == ("end_turn", "native", False)


def test_usage_that_comes_only_at_the_end_counts() -> None:
    start = {**START, "message": {**START["message"], "usage": {"input_tokens": 0, "output_tokens": 0}}}  # type: ignore[dict-item]
    end = {**END, "usage": {"input_tokens": 40, "output_tokens": 6, "cache_read_input_tokens": 9}}
    answer, _ = run(Reply(events(start, BLOCK, DELTA, BLOCK_STOP, end, STOP)), answer_after)
    usage = answer.usage
    assert (usage.input_tokens, usage.output_tokens, usage.cache_read_tokens) == (40, 6, 9)


def test_message_is_the_body_as_received() -> None:
    reply = json_reply(
        MESSAGE, headers={"request-id": "req_1", "anthropic-ratelimit-requests-limit": "5", "retry-after": "1"}
    )
    expected = reply.pieces[0]

    async def use(answer: Answer) -> Answer:
        assert await answer.message() == expected
        return answer

    answer, transport = run(reply, use, asked=call(streamed=False))
    usage = answer.usage
    assert (usage.input_tokens, usage.output_tokens, usage.cache_read_tokens, usage.cache_write_tokens) == (
        3,
        5,
        900,
        70,
    )
    assert answer.headers == [("request-id", "req_1"), ("retry-after", "1")]
    assert answer.upstream_request_id == "req_1"
    assert transport.bodies[0]["stream"] is False


def test_error_status_is_relayed_with_its_words_and_headers() -> None:
    text = "prompt is too long: 210118 tokens > 200000 maximum"
    payload = {"type": "error", "error": {"type": "invalid_request_error", "message": text}, "request_id": "req_9"}
    reply = json_reply(
        payload,
        400,
        headers={"x-should-retry": "false", "request-id": "req_9", "set-cookie": "a=b", "anthropic-ratelimit-x": "1"},
    )
    found = fault(reply)
    assert (found.kind, found.status) == (K.CONTEXT_TOO_LONG, 400)
    assert (found.prompt_tokens, found.context_window) == (210118, 200000)
    assert found.body == reply.pieces[0]
    assert set(found.headers) == {
        ("content-type", "application/json"),
        ("x-should-retry", "false"),
        ("request-id", "req_9"),
    }


@pytest.mark.parametrize(
    ("reply", "kind"),
    [
        (Reply(events(ERROR)), K.OVERLOADED),
        (Reply(events(START, PING, ERROR)), K.OVERLOADED),
        (Reply([b'data: {"error": {"message": "x", "type": "new_api_error"}}\n\n']), K.SERVER_ERROR),
        (Reply([]), K.BAD_RESPONSE),
        (Reply(events(START)), K.BAD_RESPONSE),
        (Reply([*events(START), httpx.ReadError("cut")]), K.BAD_RESPONSE),
        (Reply([b"<html></html>"], headers={"content-type": "text/html"}), K.BAD_RESPONSE),
        (json_reply(ERROR), K.OVERLOADED),
        (json_reply(MESSAGE), K.BAD_RESPONSE),
        (Reply(failure=httpx.ConnectError("refused")), K.UNREACHABLE),
    ],
)
def test_fault_before_content_lets_another_target_try(reply: Reply, kind: K) -> None:
    async def never(answer: Answer) -> None:
        raise AssertionError("the call was opened")

    assert fault(reply, use=never).kind == kind


@pytest.mark.parametrize(
    ("reply", "kind"),
    [
        (json_reply(ERROR), K.OVERLOADED),
        (json_reply({"hello": 1}), K.BAD_RESPONSE),
        (json_reply([]), K.BAD_RESPONSE),
        (Reply([b'{"type": "mess'], headers={"content-type": "application/json"}), K.BAD_RESPONSE),
        (Reply([], headers={"content-type": "application/json"}), K.BAD_RESPONSE),
        (Reply([b"<html>"], headers={"content-type": "text/html"}), K.BAD_RESPONSE),
    ],
)
def test_body_that_is_no_message_is_a_bad_response(reply: Reply, kind: K) -> None:
    assert fault(reply, call(streamed=False), message).kind == kind


@pytest.mark.parametrize(
    ("ending", "kind"),
    [(events(ERROR), K.OVERLOADED), ([], K.BAD_RESPONSE), ([httpx.ReadError("cut")], K.BAD_RESPONSE)],
)
def test_fault_after_content_comes_behind_what_was_relayed(ending: list[Any], kind: K) -> None:
    async def use(answer: Answer) -> tuple[bytes, UpstreamError, Answer]:
        sent: list[bytes] = []

        async def read() -> None:
            async for piece in answer.pieces():
                sent[:] = [*sent, piece]

        with pytest.raises(UpstreamError) as caught:
            await read()
        assert answer.interrupted() == b""
        return b"".join(sent), caught.value, answer

    good = events(START, BLOCK, DELTA)
    for pieces in (
        [*good, *ending],
        [joined(good) + joined(ending)] if all(isinstance(p, bytes) for p in ending) else [*good, *ending],
    ):
        (sent, found, answer), _ = run(Reply(list(pieces)), use)
        assert sent == joined(good)
        assert found.kind == kind
        assert answer.usage.is_estimated
        assert answer.usage.output_tokens >= 1


def test_end_without_message_stop_is_an_end_once_the_stop_reason_came() -> None:
    sent, _ = run(Reply(STREAM[:-1]), whole)
    assert sent == joined(STREAM[:-1])


def test_done_marker_of_a_relay_after_message_stop_is_no_trouble() -> None:
    sent, _ = run(Reply([*STREAM, b"data: [DONE]\n\n"]), whole)
    assert sent.startswith(joined(STREAM))


def test_message_of_a_stream_is_put_together() -> None:
    built, _ = run(Reply(STREAM), message)
    assert json.loads(built)["content"] == [{"type": "text", "text": "native message_stop text"}]


def test_a_recording_keeps_both_sides() -> None:
    recording = Recording(keeps_bodies=True)
    _, transport = run(Reply(STREAM), whole, asked=replace(call(), recording=recording))
    assert recording.request_body == transport.requests[0].content
    assert bytes(recording.response_body) == joined(STREAM)
    assert SECRET.value not in repr(recording)


def test_silence_is_a_timeout() -> None:
    quick = replace(TARGET, timeouts=Timeouts(connect_s=5, first_event_s=0.02, idle_s=0.02, total_s=5))
    for reply in (Reply([None]), Reply([*events(START, BLOCK), None])):
        with pytest.raises(UpstreamError) as caught:
            run(reply, whole, target=quick)
        assert caught.value.kind == K.TIMEOUT
        assert reply.closed


def test_page_of_a_proxy_is_not_relayed() -> None:
    found = fault(Reply([b"<html><title>502 Bad Gateway</title></html>"], 502, {"content-type": "text/html"}))
    assert (found.kind, found.body, found.message) == (K.OVERLOADED, None, "502 Bad Gateway")


def test_error_under_a_success_is_relayed_as_an_error() -> None:
    found = fault(json_reply({"error": {"message": "odd"}}), call(streamed=False), message)
    assert found.status == 502
    assert found.body == b'{"error": {"message": "odd"}}'
    assert ("content-type", "application/json") in found.headers
