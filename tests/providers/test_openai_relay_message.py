"""Chat Completions clients that ask for no stream: what they get of an upstream that streams all the same."""

import json
from dataclasses import replace
from typing import Any

import pytest
from openai.types.chat import ChatCompletion

from providers.clients.openai_relay import OpenAIRelay
from providers.errors import ErrorKind as K
from providers.target import Timeouts
from providers.translation.dialect import Dialect
from tests.fakes.transport import Piece, Reply, chunk, json_reply, sse
from tests.providers.test_openai_relay import (
    COMPLETION,
    FIRST,
    HELLO,
    QUICK,
    STOP,
    TARGET,
    call,
    joined,
    read_message,
    refuse,
    run,
)  # fmt: skip

USAGE: dict[str, Any] = {**COMPLETION["usage"], "total_tokens": 15}
WHOLE: dict[str, Any] = {**COMPLETION, "usage": USAGE}
STREAM = sse(FIRST, HELLO, STOP, {"choices": [], "usage": USAGE})
STREAM_ONLY = json_reply(
    {
        "error": {
            "message": "This model only support stream mode, please enable the stream parameter to access the model. ",
            "type": "invalid_request_error",
            "param": None,
            "code": "invalid_parameter_error",
        }
    },
    400,
)


def nested(depth: int) -> Any:
    """Return an object within an object, and so on."""
    value: Any = 1
    for _ in range(depth):
        value = {"x": value}
    return value


TRUNCATED = sse(FIRST, HELLO, done=False)


def completed(*replies: Reply, **options: Any) -> tuple[dict[str, Any], Any, Any]:
    """Return the completion that a client gets, as valid by the SDK's types, the answer and the transport."""
    body, answer, transport = run(*replies, **{"asked": call(False), "use": read_message, **options})
    completion = json.loads(body)
    ChatCompletion.model_validate({"created": 1, **completion})
    return completion, answer, transport


def test_a_stream_becomes_the_completion_that_was_asked_for() -> None:
    chunks = [{**item, "model": "big-2026"} for item in (FIRST, HELLO, STOP)]
    completion, answer, transport = completed(Reply(sse(*chunks, {"choices": [], "usage": USAGE})))
    assert "stream" not in transport.bodies[0]
    assert completion["choices"] == [
        {
            "index": 0,
            "message": {"role": "assistant", "content": "Hello", "refusal": None},
            "logprobs": None,
            "finish_reason": "stop",
        }
    ]
    assert (completion["object"], completion["model"], completion["usage"]) == ("chat.completion", "alias", USAGE)
    assert (answer.usage.input_tokens, answer.usage.cache_read_tokens, answer.usage.output_tokens) == (10, 2, 3)
    assert answer.stop_reason == "end_turn"
    assert answer.notes == ["the upstream says it answered with big-2026"]
    assert not answer.is_empty


@pytest.mark.parametrize("content_type", ["text/event-stream;charset=utf-8", "application/json", "text/plain"])
def test_a_stream_is_known_by_its_type_or_its_lines(content_type: str) -> None:
    pieces: list[Piece] = [b": OPENROUTER PROCESSING\n\n", *STREAM]
    completion, _, _ = completed(Reply(pieces, headers={"content-type": content_type}))
    assert completion["choices"][0]["message"]["content"] == "Hello"


def test_a_stream_is_put_together_at_every_cut() -> None:
    whole = joined(STREAM).replace(b"Hello", "héllo 👋".encode())
    for cut in range(1, len(whole), 7):
        completion, answer, _ = completed(Reply([whole[:cut], whole[cut:]]))
        assert completion["choices"][0]["message"]["content"] == "héllo 👋"
        assert answer.usage.output_tokens == 3


def test_a_document_called_a_stream_keeps_its_bytes() -> None:
    body = json.dumps(WHOLE, indent=1).encode()
    reply = Reply([body[:50], body[50:]], headers={"content-type": "text/event-stream"})
    result, _, _ = run(reply, asked=call(False), use=read_message)
    assert result == body.replace(b"big-2026", b"alias")


def test_several_choices_are_waited_for() -> None:
    second = {"id": "c1", "choices": [{"index": 1, "delta": {"content": "Bye"}, "finish_reason": "stop"}]}
    completion, _, _ = completed(Reply(sse(FIRST, HELLO, STOP, second, done=False)), asked=call(False, n=2))
    assert [choice["message"]["content"] for choice in completion["choices"]] == ["Hello", "Bye"]


@pytest.mark.parametrize(
    ("reply", "kind", "message"),
    [
        (Reply(TRUNCATED), K.BAD_RESPONSE, "the answer was cut off"),
        (Reply([*TRUNCATED, ConnectionResetError("gone")]), K.UNREACHABLE, "the upstream reset the connection"),
        (Reply([b": hello\n\n"]), K.BAD_RESPONSE, "the answer is empty"),
        (Reply([]), K.BAD_RESPONSE, "the answer is empty"),
        (Reply([b"data: {broken\n\n"] * 3), K.BAD_RESPONSE, "three events in a row are no JSON"),
        (Reply(sse(FIRST, chunk({"x": nested(900)}), STOP)), K.BAD_RESPONSE, "the answer is nested too deeply"),
        (Reply(sse(FIRST, HELLO, {"error": {"message": "busy", "code": 503}})), K.OVERLOADED, "busy"),
        (Reply(sse(FIRST, chunk(finish="error"))), K.OVERLOADED, "the upstream broke the answer off: error"),
    ],
)
def test_a_broken_stream_leads_on_to_the_next_target(reply: Reply, kind: K, message: str) -> None:
    error = refuse(reply, asked=call(False))
    assert (error.kind, error.message) == (kind, message)
    assert reply.closed


def test_silence_breaks_a_stream_but_not_behind_its_finish() -> None:
    assert refuse(Reply([*TRUNCATED, None]), asked=call(False), target=QUICK).kind is K.TIMEOUT
    quick = replace(QUICK, timeouts=replace(QUICK.timeouts, total_s=0.1))
    completion, _, _ = completed(Reply([*sse(FIRST, HELLO, STOP, done=False), None]), target=quick)
    assert completion["choices"][0]["finish_reason"] == "stop"


def test_a_server_that_never_says_the_end_is_believed_where_its_dialect_says_so() -> None:
    completion, _, _ = completed(Reply(TRUNCATED), target=replace(TARGET, dialect=Dialect(lenient_eof=True)))
    assert completion["choices"][0]["message"]["content"] == "Hello"


def test_a_model_that_only_streams_is_asked_again_and_remembered() -> None:
    relay = OpenAIRelay()
    raw = b'{ "model":"alias", "stream" : false, "messages":[{"role":"user","content":"hi"}]}'
    completion, answer, transport = completed(STREAM_ONLY, Reply(STREAM), asked=call(False, raw), relay=relay)
    assert completion["choices"][0]["message"]["content"] == "Hello"
    assert answer.dropped_fields == []
    first, second = transport.requests
    assert first.content == raw.replace(b"alias", b"big")
    assert second.content == (
        b'{ "model":"big", "stream" : true, "messages":[{"role":"user","content":"hi"}],'
        b'"stream_options":{"include_usage":true}}'
    )
    assert (first.headers["accept"], second.headers["accept"]) == ("application/json", "text/event-stream")
    _, _, transport = completed(Reply(STREAM), relay=relay)
    assert [body["stream"] for body in transport.bodies] == [True]


@pytest.mark.parametrize(
    "message",
    [
        "parameter.enable_thinking must be set to false for non-streaming calls",
        "Stream must be set to true",
        "Non-streaming requests are not supported for this model",
    ],
)
def test_the_words_of_other_models_that_only_stream(message: str) -> None:
    _, _, transport = completed(json_reply({"error": {"message": message}}, 400), Reply(STREAM))
    assert transport.bodies[1]["stream"] is True


def test_a_stream_that_cannot_report_usage_is_asked_without() -> None:
    no_usage = json_reply({"error": {"message": "Unknown parameter: stream_options"}}, 400)
    relay = OpenAIRelay()
    _, answer, transport = completed(STREAM_ONLY, no_usage, Reply(STREAM), relay=relay)
    assert ["stream_options" in body for body in transport.bodies] == [False, True, False]
    assert answer.dropped_fields == ["stream_options"]
    _, _, transport = completed(Reply(STREAM), relay=relay)
    assert (transport.bodies[0]["stream"], "stream_options" in transport.bodies[0]) == (True, False)


def test_a_flag_spares_the_first_refusal() -> None:
    target = replace(TARGET, dialect=Dialect(stream_only=True))
    _, _, transport = completed(Reply(STREAM), target=target)
    assert [(body["stream"], body["stream_options"]) for body in transport.bodies] == [(True, {"include_usage": True})]
    # It may know better than its flag.
    completion, _, _ = completed(json_reply(WHOLE), target=target)
    assert completion["vendor_extra"] == [1]


def test_a_stream_that_was_asked_for_must_begin_in_time() -> None:
    timeouts = Timeouts(connect_s=5, first_event_s=0.02, idle_s=5, total_s=30)
    target = replace(TARGET, dialect=Dialect(stream_only=True), timeouts=timeouts)
    assert refuse(Reply(silent=True), asked=call(False), target=target).kind is K.TIMEOUT


def test_a_refused_parameter_leaves_the_other_bytes_as_they_are() -> None:
    refusal = json_reply({"error": {"message": "Unsupported parameter: top_k", "param": "top_k"}}, 400)
    raw = b'{"model":"alias",  "top_k":3, "seed" : 1.0,"messages":[{"role":"user","content":"\\u4f60"}]}'
    _, answer, transport = completed(refusal, json_reply(WHOLE), asked=call(False, raw))
    assert transport.requests[1].content == raw.replace(b"alias", b"big").replace(b'  "top_k":3,', b"")
    assert answer.dropped_fields == ["top_k"]
