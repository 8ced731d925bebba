"""Chat Completions relayed over a scripted transport: the client's bytes up, the upstream's bytes down."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any

import httpx
import pytest

from providers.clients.base import Answer, UpstreamCall
from providers.clients.http import close_shared_client, open_shared_client
from providers.clients.openai_relay import OpenAIRelay
from providers.errors import ErrorKind as K
from providers.errors import UpstreamError
from providers.target import Secret, Target, Timeouts
from providers.translation.dialect import Dialect
from tests.fakes.transport import Piece, Reply, ScriptedTransport, chunk, json_reply, sse

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
)
QUICK = replace(TARGET, timeouts=Timeouts(connect_s=5, first_event_s=0.02, idle_s=0.02, total_s=5))
USAGE = {"prompt_tokens": 12, "completion_tokens": 3, "prompt_tokens_details": {"cached_tokens": 2}}
COMPLETION = {
    "id": "c1",
    "object": "chat.completion",
    "created": 1,
    "model": "big-2026",
    "choices": [{"index": 0, "message": {"role": "assistant", "content": "Hello"}, "finish_reason": "stop"}],
    "usage": USAGE,
    "vendor_extra": [1],
}
FIRST = chunk({"role": "assistant", "content": ""})
HELLO = chunk({"content": "Hello"})
STOP = chunk(finish="stop")
USAGE_ONLY: dict[str, Any] = {"id": "c1", "object": "chat.completion.chunk", "choices": [], "usage": USAGE}
STREAM = sse(FIRST, HELLO, STOP, USAGE_ONLY)


def call(streamed: bool = True, raw: bytes | None = None, **members: Any) -> UpstreamCall:
    """Return a client's call of the model `alias`."""
    if raw is None:
        document = {"model": "alias", "messages": [{"role": "user", "content": "hi"}], **members}
        raw = json.dumps({**document, "stream": True} if streamed else document).encode()
    body = json.loads(raw)
    return UpstreamCall(
        body=body, raw=raw, streamed=streamed, requested_model=body["model"], message_id="msg_1",
        input_tokens_estimate=10, wire_format="openai", client_body=body,
    )  # fmt: skip


def run(
    *replies: Reply | Callable[[httpx.Request], Reply],
    asked: UpstreamCall | None = None,
    target: Target = TARGET,
    use: Callable[[Answer], Awaitable[Any]] | None = None,
    relay: OpenAIRelay | None = None,
) -> tuple[Any, Answer, ScriptedTransport]:
    """Open one call, read the answer, close it. Returns what was read, the answer and the transport."""
    transport = ScriptedTransport(*replies)

    async def scenario() -> tuple[Any, Answer]:
        await open_shared_client(transport)
        try:
            answer = await (relay or OpenAIRelay()).open(target, SECRET, asked or call())
            try:
                return await (use or read)(answer), answer
            finally:
                await answer.aclose()
        finally:
            await close_shared_client()

    result, answer = asyncio.run(scenario())
    return result, answer, transport


async def read(answer: Answer) -> bytes:
    return b"".join([piece async for piece in answer.pieces()]) + answer.tail()


async def read_message(answer: Answer) -> bytes:
    return await answer.message()


async def read_broken(answer: Answer) -> tuple[bytes, UpstreamError]:
    """Return what came before the answer broke, and how it did."""
    pieces = []
    try:
        async for piece in answer.pieces():
            pieces.append(piece)
    except UpstreamError as error:
        return b"".join(pieces), error
    raise AssertionError("the answer did not break")


def refuse(*replies: Reply, **options: Any) -> UpstreamError:
    with pytest.raises(UpstreamError) as caught:
        run(*replies, **options)
    return caught.value


def joined(pieces: list[Piece]) -> bytes:
    return b"".join(piece for piece in pieces if isinstance(piece, bytes))


def test_a_request_keeps_its_bytes_but_for_the_model() -> None:
    raw = b'{ "messages":[{"role":"user","content":"\\u4f60 \\"model\\":\\"alias\\""}],\n  "model" : "alias", "seed": 1.0, "x_new":{"a":1e3} }'
    _answer, _, transport = run(json_reply(COMPLETION), asked=call(False, raw), use=read_message)
    assert transport.requests[0].content == raw.replace(b'"model" : "alias"', b'"model" : "big"')
    assert transport.requests[0].headers["accept"] == "application/json"


def test_a_stream_is_asked_for_its_usage_in_the_clients_own_bytes() -> None:
    raw = b'{"model":"alias","stream":true, "messages":[{"role":"user","content":"hi"}]}'
    _, _, transport = run(Reply(STREAM), asked=call(raw=raw))
    assert transport.requests[0].content == (
        b'{"model":"big","stream":true, "messages":[{"role":"user","content":"hi"}],'
        b'"stream_options":{"include_usage":true}}'
    )


def test_a_client_that_asks_for_usage_is_not_asked_for_more() -> None:
    raw = b'{"model":"big","stream":true,"stream_options":{"include_usage":true},"messages":[{"role":"user","content":"hi"}]}'
    result, _, transport = run(Reply(STREAM), asked=call(raw=raw))
    assert transport.requests[0].content == raw
    assert result == joined(STREAM)


def test_other_stream_options_are_kept() -> None:
    _, _, transport = run(Reply(STREAM), asked=call(stream_options={"include_obfuscation": False}))
    assert transport.bodies[0]["stream_options"] == {"include_obfuscation": False, "include_usage": True}


def test_usage_nobody_asked_for_is_booked_and_swallowed() -> None:
    result, answer, _ = run(Reply(STREAM))
    assert result == joined(sse(FIRST, HELLO, STOP))
    assert (answer.usage.input_tokens, answer.usage.cache_read_tokens, answer.usage.output_tokens) == (10, 2, 3)
    assert not answer.usage.is_estimated
    assert answer.stop_reason == "end_turn"


def test_usage_beside_content_is_taken_out_of_the_chunk() -> None:
    result, answer, _ = run(Reply(sse(FIRST, HELLO, {**STOP, "usage": USAGE})))
    assert b"usage" not in result
    assert b'"finish_reason":"stop"' in result
    assert answer.usage.output_tokens == 3


def test_an_answer_is_relayed_at_every_cut() -> None:
    whole = b": OPENROUTER PROCESSING\n\n" + joined(STREAM).replace(b"Hello", "héllo 👋".encode())
    expected, _, _ = run(Reply([whole]))
    assert b"\xf0\x9f\x91\x8b" in expected
    for cut in range(1, len(whole), 7):
        result, answer, _ = run(Reply([whole[:cut], whole[cut:]]))
        assert result == expected
        assert answer.usage.output_tokens == 3


def test_the_answer_carries_the_model_that_was_asked_for() -> None:
    said = {"content": 'say "model":"big-2026" again'}
    chunks = [{**item, "model": "big-2026"} for item in (FIRST, chunk(said), STOP)]
    result, answer, _ = run(Reply(sse(*chunks)))
    decoded = [json.loads(line[6:]) for line in result.decode().splitlines() if line.startswith("data: {")]
    assert [item["model"] for item in decoded] == ["alias"] * 3
    assert decoded[1]["choices"][0]["delta"] == said
    assert answer.notes == ["the upstream says it answered with big-2026"]


def test_a_whole_answer_keeps_its_bytes_but_for_the_model() -> None:
    body = json.dumps(COMPLETION, indent=1).encode()
    reply = Reply([body], headers={"content-type": "application/json"})
    result, answer, _ = run(reply, asked=call(False), use=read_message)
    assert result == body.replace(b"big-2026", b"alias")
    assert (answer.usage.input_tokens, answer.usage.output_tokens) == (10, 3)


def test_a_whole_answer_nested_too_deeply_is_a_bad_one() -> None:
    # A decoder takes 1,024 levels; renaming the model by its bytes cannot.
    deep = json.dumps({"x": None, **COMPLETION}).replace("null", "[" * 1000 + "]" * 1000, 1)
    twice = deep.replace('"model"', '"mod\\u0065l"').encode()
    error = refuse(Reply([twice], headers={"content-type": "application/json"}), asked=call(False))
    assert (error.kind, error.may_fall_back) == (K.BAD_RESPONSE, True)


def test_a_json_document_for_a_stream_becomes_one() -> None:
    result, answer, _ = run(json_reply(COMPLETION))
    *chunks, done = [line[6:] for line in result.decode().split("\n\n") if line]
    assert done == "[DONE]"
    (only,) = map(json.loads, chunks)
    assert only["object"] == "chat.completion.chunk"
    assert only["choices"][0]["delta"]["content"] == "Hello"
    assert answer.usage.output_tokens == 3


@pytest.mark.parametrize(
    ("finish", "stop_reason"),
    [("length", "max_tokens"), ("tool_calls", "tool_use"), ("content_filter", "refusal"), ("eos", "end_turn")],
)
def test_the_finish_reason_is_noted(finish: str, stop_reason: str) -> None:
    _, answer, _ = run(Reply(sse(FIRST, HELLO, chunk(finish=finish))))
    assert answer.stop_reason == stop_reason


def test_usage_that_never_comes_is_estimated() -> None:
    _, answer, _ = run(Reply(sse(FIRST, chunk({"content": "x" * 4000}), STOP)))
    assert answer.usage.is_estimated
    assert answer.usage.input_tokens == 10
    assert 800 < answer.usage.output_tokens < 1200


def test_the_end_without_done_is_given_one() -> None:
    result, _, _ = run(Reply(sse(FIRST, HELLO, STOP, done=False)))
    assert result.endswith(b"data: [DONE]\n\n")


def test_silence_after_the_finish_does_not_hold_up_the_end() -> None:
    quick = replace(QUICK, timeouts=replace(QUICK.timeouts, total_s=0.1))
    result, answer, _ = run(Reply([*sse(FIRST, HELLO, STOP, done=False), None]), target=quick)
    assert result.endswith(b"data: [DONE]\n\n")
    assert answer.stop_reason == "end_turn"


def test_two_choices_are_both_waited_for() -> None:
    second = {"id": "c1", "choices": [{"index": 1, "delta": {"content": "Bye"}, "finish_reason": "stop"}]}
    result, _, _ = run(Reply(sse(FIRST, HELLO, STOP, second)), asked=call(n=2))
    assert result == joined(sse(FIRST, HELLO, STOP, second))


def test_a_cut_answer_breaks_behind_what_came() -> None:
    (relayed, error), _, _ = run(Reply(sse(FIRST, HELLO, done=False)), use=read_broken)
    assert relayed == joined(sse(FIRST, HELLO, done=False))
    assert (error.kind, error.message) == (K.BAD_RESPONSE, "the answer was cut off")


def test_an_error_behind_content_in_one_piece_comes_behind_it() -> None:
    trouble = {"error": {"message": "Provider disconnected", "code": 502}}
    pieces: list[Piece] = [joined(sse(FIRST, HELLO, trouble, done=False))]
    (relayed, error), _, _ = run(Reply(pieces), use=read_broken)
    assert relayed == joined(sse(FIRST, HELLO, done=False))
    assert "Provider disconnected" in error.message


@pytest.mark.parametrize(
    ("reply", "kind"),
    [
        (Reply(sse({"error": {"message": "overloaded", "code": 503}})), K.OVERLOADED),
        (Reply(sse(FIRST, {"error": {"message": "overloaded", "code": 503}})), K.OVERLOADED),
        (json_reply({"error": {"message": "bad key", "code": "invalid_api_key"}}), K.AUTH),
        (Reply([b"<html>hi</html>"], headers={"content-type": "text/html"}), K.BAD_RESPONSE),
        (Reply([]), K.BAD_RESPONSE),
        (Reply(sse(FIRST, done=False)), K.BAD_RESPONSE),
        (json_reply({"error": {"message": "slow down"}}, 429, {"retry-after": "7"}), K.RATE_LIMITED),
        (Reply(sse(FIRST, chunk(finish="error"))), K.OVERLOADED),
    ],
)
def test_trouble_before_the_first_content_leads_on(reply: Reply, kind: K) -> None:
    assert refuse(reply).kind is kind
    assert reply.closed


def test_an_answer_that_says_nothing_is_empty() -> None:
    _, answer, _ = run(Reply(sse(FIRST, STOP)))
    assert answer.is_empty
    _, answer, _ = run(Reply(sse(FIRST, chunk({"tool_calls": [{"index": 0, "id": "a"}]}), chunk(finish="tool_calls"))))
    assert not answer.is_empty


def test_a_silent_upstream_times_out() -> None:
    assert refuse(Reply(silent=True), target=QUICK).kind is K.TIMEOUT
    assert refuse(Reply([*sse(FIRST, done=False), None]), target=QUICK).kind is K.TIMEOUT


def test_an_openai_error_body_is_kept_for_the_client_but_not_with_our_secret() -> None:
    body = {
        "error": {"message": "bad temperature", "type": "invalid_request_error", "param": "temperature", "code": "x"}
    }
    error = refuse(json_reply(body, 400))
    assert (json.loads(error.body or b""), error.body_format) == (body, "openai")
    assert refuse(json_reply({"detail": "no"}, 400)).body is None
    leaky = {"error": {"message": f"bad request of {SECRET.value}"}}
    assert refuse(json_reply(leaky, 400)).body is None


def test_a_refused_parameter_is_left_out_and_remembered() -> None:
    refusal = json_reply(
        {"error": {"message": "Unsupported parameter: stream_options", "param": "stream_options"}}, 400
    )
    relay = OpenAIRelay()
    _, answer, transport = run(refusal, Reply(sse(FIRST, HELLO, STOP)), relay=relay)
    assert ["stream_options" in body for body in transport.bodies] == [True, False]
    assert answer.dropped_fields == ["stream_options"]
    _, _, transport = run(Reply(sse(FIRST, HELLO, STOP)), relay=relay)
    assert "stream_options" not in transport.bodies[0]


def test_a_refused_format_of_a_strange_form_is_left_out() -> None:
    refusal = json_reply({"error": {"message": "response_format is not supported"}}, 400)
    asked = call(response_format={"type": "json_schema", "json_schema": None})
    _answer, _, transport = run(refusal, Reply(STREAM), asked=asked)
    assert "response_format" not in transport.bodies[1]


def test_the_platforms_headers_stay_with_us() -> None:
    headers = {"content-type": "text/event-stream", "x-ratelimit-remaining-requests": "5", "x-request-id": "up-1"}
    _, answer, _ = run(Reply(STREAM, headers=headers))
    assert answer.headers == []
    assert answer.upstream_request_id == "up-1"
