"""What goes up to and comes back from a Messages endpoint besides the body: credentials, errors, counts."""

import asyncio
import base64
import json
from dataclasses import replace

import pytest

from providers.clients import anthropic as anthropic_client
from providers.clients.base import Answer, UpstreamCall
from providers.clients.http import close_shared_client, open_shared_client
from providers.errors import ErrorKind as K
from providers.errors import UpstreamError
from providers.native_dialect import ROWS
from providers.target import Timeouts
from tests.fakes.pdfs import text_pdf
from tests.fakes.transport import Reply, ScriptedTransport, events, json_reply
from tests.providers.test_anthropic_client import (
    BLOCK,
    ERROR,
    SECRET,
    START,
    STREAM,
    TARGET,
    call,
    fault,
    run,
    whole,
)

TEXT_ONLY = replace(TARGET, native=ROWS["llamacpp"])
OWN = {"authorization": "Bearer sk-ant-own-credential", "x-api-key": "sk-ant-other-own"}


def test_the_clients_own_credential_goes_to_who_forwards_it_alone() -> None:
    asked = replace(call(), client_credential=OWN, gateway_secrets=("wg_client",))
    _, transport = run(Reply(STREAM), whole, asked=asked, target=replace(TARGET, forwards_client_credential=True))
    assert {name: transport.requests[0].headers[name] for name in OWN} == OWN
    _, transport = run(Reply(STREAM), whole, asked=asked)
    assert "own" not in str(transport.requests[0].headers.raw)
    assert transport.requests[0].headers["authorization"] == f"Bearer {SECRET.value}"


def test_no_header_or_query_hides_a_credential() -> None:
    hiding = {"anthropic-a": "x wg_client", "x-stainless-b": "old-style-key", "x-claude-code-c": "sk-ant-other-own"}
    asked = replace(
        call(query="a=1&k=old-style-key&b=2"),
        headers={**hiding, "anthropic-version": "2026-10-21", "x-app": "wgx"},
        client_credential=OWN,
        gateway_secrets=("old-style-key",),
    )
    _, transport = run(Reply(STREAM), whole, asked=asked, target=replace(TARGET, forwards_client_credential=True))
    request = transport.requests[0]
    assert not hiding.keys() & request.headers.keys()
    assert (request.headers["x-app"], str(request.url)) == ("wgx", "https://relay.example/v1/messages?a=1&b=2")


def test_a_header_that_http_does_not_allow_for_is_left_out() -> None:
    asked = replace(call(), headers={"user-agent": "\u00dcn\u00ef", "anthropic-beta": "a"})
    _, transport = run(Reply(STREAM), whole, asked=asked)
    sent = transport.requests[0].headers
    assert (sent["user-agent"], sent["anthropic-beta"]) == ("Wolfgate", "a")


def test_betas_stay_away_from_who_takes_none() -> None:
    _, transport = run(Reply(STREAM), whole, target=replace(TARGET, native=ROWS["dashscope"]))
    assert "anthropic-beta" not in transport.requests[0].headers
    assert transport.requests[0].headers["anthropic-version"] == "2026-10-21"


def test_an_error_that_repeats_our_secret_is_relayed_without_it() -> None:
    payload = {"type": "error", "error": {"type": "invalid_request_error", "message": f"bad key {SECRET.value}"}}
    found = fault(json_reply(payload, 400))
    assert found.body is not None
    assert SECRET.value.encode() not in found.body
    assert b"bad key [secret]" in found.body


def test_an_error_of_any_json_form_is_relayed() -> None:
    for payload in ({"detail": [{"loc": ["body"], "msg": "x"}]}, {"code": 20012, "message": "x", "data": None}):
        reply = json_reply(payload, 400)
        assert fault(reply).body == reply.pieces[0]
    for body in (b'"Invalid token"', b"[]", b"text"):
        assert fault(Reply([body], 400, {"content-type": "application/json"})).body is None


def test_the_data_of_an_error_event_are_kept_as_they_came() -> None:
    data = b'{ "type": "error", "error": {"type":"overloaded_error", "message":"\\u4e16"}, "n": 1.50 }'
    found = fault(Reply([*events(START, BLOCK), b"event: error\ndata: " + data + b"\n\n"]))
    assert found.body == data


def test_a_large_body_is_changed_all_the_same() -> None:
    document = {"messages": [{"role": "user", "content": "x" * 300_000}], "model": "alias", "stream": True}
    _, transport = run(Reply(STREAM), whole, asked=call(raw=json.dumps(document).encode()))
    assert transport.bodies[0] == {**document, "model": "native"}


@pytest.mark.parametrize(
    ("reply", "expected"),
    [
        (json_reply({"input_tokens": 12}), 12),
        (json_reply({"input_tokens": 0}), 0),
        (json_reply({"input_tokens": -1}), None),
        (json_reply({"input_tokens": 1.5}), None),
        (json_reply({}), None),
        (json_reply({"input_tokens": 12}, 404), None),
        (Reply([None]), None),
        (Reply(silent=True), None),
    ],
)
def test_a_count_is_a_whole_number_in_time_or_none(
    reply: Reply, expected: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(anthropic_client, "_COUNT_WITHIN_S", 0.05)
    transport = ScriptedTransport(reply)

    async def scenario() -> int | None:
        await open_shared_client(transport)
        try:
            return await anthropic_client.count_tokens(TARGET, SECRET, call(streamed=False))
        finally:
            await close_shared_client()

    assert asyncio.run(scenario()) == expected
    assert str(transport.requests[0].url) == "https://relay.example/v1/messages/count_tokens?beta=true"


def reading(*pages: str) -> UpstreamCall:
    data = base64.b64encode(text_pdf(*pages)).decode()
    source = {"type": "base64", "media_type": "application/pdf", "data": data}
    content = [{"type": "document", "source": source}]
    return call(raw=json.dumps({"model": "native", "messages": [{"role": "user", "content": content}]}).encode())


def count_of(asked: UpstreamCall, transport: ScriptedTransport) -> int | None:
    async def scenario() -> int | None:
        await open_shared_client(transport)
        try:
            return await anthropic_client.count_tokens(TEXT_ONLY, SECRET, asked)
        finally:
            await close_shared_client()

    return asyncio.run(scenario())


def test_what_is_counted_is_what_would_go_out() -> None:
    counting = ScriptedTransport(json_reply({"input_tokens": 12}))
    assert count_of(reading("counted"), counting) == 12
    _, answering = run(Reply(STREAM), whole, asked=reading("counted"), target=TEXT_ONLY)
    assert counting.bodies == answering.bodies
    [block] = counting.bodies[0]["messages"][0]["content"]
    assert block == {"type": "text", "text": '<document pages="1">\n[page 1]\ncounted\n</document>'}


def test_a_count_does_not_wait_for_a_file(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(anthropic_client, "_COUNT_WITHIN_S", 0.001)
    transport = ScriptedTransport(json_reply({"input_tokens": 12}))
    assert count_of(reading("read by nobody before"), transport) is None
    assert transport.requests == []


def test_the_estimate_of_an_answer_without_usage_counts_the_text_of_a_file() -> None:
    async def estimate(answer: Answer) -> int:
        assert answer.dropped_fields == (["block:document:layout"] if answer.usage.input_tokens > 3 else [])
        return answer.usage.input_tokens

    silent = events(START | {"message": {**START["message"], "usage": {}}}, BLOCK)
    asked = replace(reading("many words " * 6000), input_tokens_estimate=3)
    taken, _ = run(Reply([*silent]), estimate, asked=asked)
    read, _ = run(Reply([*silent]), estimate, asked=asked, target=TEXT_ONLY)
    assert (taken, read > 10_000) == (3, True)


def test_what_is_passed_through_counts_from_its_first_byte() -> None:
    passing = replace(call(), is_passthrough=True)
    for pieces in (events(ERROR), [b": hello\n\n", None], events(START)):
        quick = replace(TARGET, timeouts=Timeouts(connect_s=5, first_event_s=1, idle_s=0.02, total_s=5))
        with pytest.raises(UpstreamError) as caught:
            run(Reply(list(pieces)), whole, asked=passing, target=quick)
        assert caught.value.kind in (K.OVERLOADED, K.TIMEOUT, K.BAD_RESPONSE)

    async def never(answer: Answer) -> None:
        raise AssertionError("the call was opened")

    with pytest.raises(UpstreamError):
        run(Reply([]), never, asked=passing)


def test_a_read_that_outlasts_the_grace_is_given_up_with_the_answer() -> None:
    async def leave(answer: Answer) -> None:
        assert answer.stop_reason is None

    reply = Reply([*events(START), None])
    run(reply, leave)
    assert reply.closed


def test_a_call_that_is_given_up_within_the_grace_leaves_no_read_behind() -> None:
    reply = Reply([*events(START), None])

    async def scenario() -> set[asyncio.Task[None]]:
        await open_shared_client(ScriptedTransport(reply))
        try:
            opening = asyncio.create_task(anthropic_client.AnthropicClient().open(TARGET, SECRET, call()))
            await reply.began.wait()
            for _ in range(20):
                await asyncio.sleep(0)
            opening.cancel()
            await asyncio.wait({opening})
            assert opening.cancelled()
            return asyncio.all_tasks() - {asyncio.current_task()}  # type: ignore[arg-type]
        finally:
            await close_shared_client()

    assert asyncio.run(scenario()) == set()
    assert reply.closed
