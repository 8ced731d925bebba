"""The rounds of an answer with web searches, over a scripted transport: what each round is asked."""

import json
from dataclasses import replace
from typing import Any

import httpx
import pytest

from providers.clients.base import UpstreamCall
from providers.errors import UpstreamError
from providers.target import SearchBackend
from providers.translation.dialect import Dialect
from tests.fakes.transport import Reply, ScriptedTransport, chunk, json_reply, sse, text_stream
from tests.providers.test_openai_client import TARGET, call, error, read_message, read_stream, run
from tests.translation import grammar

SEARCH = {"type": "web_search_20250305", "name": "web_search"}
READ = {"name": "Read", "input_schema": {"type": "object", "properties": {"path": {"type": "string"}}}}
FOUND = json_reply({"results": [{"title": "Wolf", "url": "https://wolf.example/", "content": "A wolf."}]})


def searching(streamed: bool = True, **members: Any) -> UpstreamCall:
    asked = call(streamed, **{"tools": [SEARCH], **members})
    return replace(asked, search=SearchBackend("searxng", "http://127.0.0.1:8888"))


def calls(name: str = "web_search", arguments: str = '{"query": "wolves"}', **delta: Any) -> Reply:
    function = {"name": name, "arguments": arguments}
    return Reply(
        sse(
            *([chunk(delta)] if delta else []),
            chunk({"tool_calls": [{"index": 0, "id": "c1", "type": "function", "function": function}]}),
            chunk(finish="tool_calls"),
        )
    )


def bodies(transport: ScriptedTransport) -> list[dict[str, Any]]:
    """Return what the model was asked, round by round."""
    return [json.loads(request.content) for request in transport.requests if request.method == "POST"]


def events_in(stream: bytes) -> list[dict[str, Any]]:
    return [json.loads(line[6:]) for line in stream.split(b"\n") if line.startswith(b"data: ")]


@pytest.mark.parametrize("display", [None, "omitted"])
def test_the_reasoning_before_a_search_goes_back_with_its_call(display: str | None) -> None:
    target = replace(TARGET, dialect=Dialect(thinking_dialect="deepseek", reasoning_replay="reasoning_content"))
    thinking = {"type": "adaptive", **({"display": display} if display else {})}
    first = calls(reasoning_content="I must look that up.")
    stream, transport = run(
        first, FOUND, Reply(text_stream()), asked=searching(thinking=thinking), target=target, use=read_stream
    )
    events = events_in(stream)
    grammar.check(events)
    assert [e["content_block"]["type"] for e in events if e["type"] == "content_block_start"] == [
        "thinking",
        "server_tool_use",
        "web_search_tool_result",
        "text",
    ]
    assert bodies(transport)[1]["messages"][1]["reasoning_content"] == "I must look that up."


def test_a_tool_of_the_client_may_have_the_same_name() -> None:
    own = {**READ, "name": "web_search"}
    message, transport = run(
        calls("server_web_search"), FOUND, calls("web_search", "{}"),
        asked=searching(False, tools=[own, SEARCH]), use=read_message,
    )  # fmt: skip
    assert [block["type"] for block in message["content"]] == ["server_tool_use", "web_search_tool_result", "tool_use"]
    assert message["content"][0]["name"] == "web_search"
    assert message["stop_reason"] == "tool_use"
    again = bodies(transport)[1]["messages"][1]["tool_calls"][0]["function"]["name"]
    assert again == "server_web_search"


def test_what_was_refused_in_the_first_round_is_left_out_in_the_next() -> None:
    message, transport = run(
        error("Unsupported parameter: 'stream_options'"), calls(), FOUND, Reply(text_stream("Done.")),
        asked=searching(False), use=read_message,
    )  # fmt: skip
    assert message["content"][-1]["text"] == "Done."
    assert ["stream_options" in body for body in bodies(transport)] == [True, False, False]


def test_what_was_written_counts_against_the_limit() -> None:
    spent = {"choices": [], "usage": {"prompt_tokens": 9, "completion_tokens": 60}}
    first = calls()
    first.pieces[-1:] = sse(spent)
    _message, transport = run(first, FOUND, Reply(text_stream()), asked=searching(False), use=read_message)
    assert [body["max_tokens"] for body in bodies(transport)] == [100, 40]


def test_the_output_limit_ends_the_message_behind_the_result() -> None:
    limited = calls()
    limited.pieces[1] = sse(chunk(finish="length"))[0]
    stream, transport = run(limited, FOUND, Reply(text_stream()), asked=searching(), use=read_stream)
    events = events_in(stream)
    grammar.check(events)
    assert events[-2]["delta"]["stop_reason"] == "max_tokens"
    assert len(bodies(transport)) == 1


def test_usage_is_estimated_where_a_round_reports_none() -> None:
    async def use(answer: Any) -> Any:
        await read_stream(answer)
        return answer.usage

    usage, _transport = run(calls(), FOUND, Reply(text_stream()), asked=searching(), use=use)
    assert usage.is_estimated
    assert usage.input_tokens >= 10 + 10
    assert usage.web_search_requests == 1


def test_an_answer_without_a_search_is_asked_for_once() -> None:
    stream, transport = run(Reply(text_stream()), asked=searching(tools=[READ, SEARCH]), use=read_stream)
    grammar.check(events_in(stream))
    assert len(transport.requests) == 1
    assert b"server_tool_use" not in stream


def test_a_model_that_calls_a_search_it_is_not_offered_any_more_gets_no_more_rounds() -> None:
    asked = searching(tools=[{**SEARCH, "max_uses": 0}])
    stream, transport = run(calls(), calls(), asked=asked, use=read_stream)
    events = events_in(stream)
    grammar.check(events)
    assert [
        e["content_block"]["content"]["error_code"] for e in events if "tool_use_id" in e.get("content_block", {})
    ] == [
        "max_uses_exceeded",
        "max_uses_exceeded",
    ]
    assert ["tools" in body for body in bodies(transport)] == [True, False]
    assert events[-2]["delta"]["stop_reason"] == "end_turn"


def test_closing_in_mid_round_closes_that_round() -> None:
    later = Reply([*sse(chunk({"content": "Howl"}), done=False), None])

    async def use(answer: Any) -> None:
        pieces = answer.pieces()
        async for piece in pieces:
            if b"Howl" in piece:
                break
        await pieces.aclose()

    _none, _transport = run(calls(), FOUND, later, asked=searching(), use=use)
    assert later.closed


def test_a_failure_before_the_next_round_leaves_no_open_block() -> None:
    async def use(answer: Any) -> bytes:
        pieces = answer.pieces()
        # The start of the message; the call of the search; its result.
        begun = b"".join([await anext(pieces) for _ in range(3)])
        with pytest.raises(UpstreamError):
            await anext(pieces)
        return begun + bytes(answer.interrupted())

    down = Reply(failure=httpx.ConnectError("x"))
    stream, _transport = run(calls(), FOUND, down, asked=searching(), use=use)
    events = events_in(stream)
    grammar.check(events, complete=False)
    assert events[-1]["type"] == "content_block_stop"
