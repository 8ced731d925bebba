"""The official SDK through a real gateway process: stream and non-stream end in the same message."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import anthropic
import pytest

from tests.fakes.answers import (
    Answer,
    chunk,
    cut,
    error,
    json_answer,
    last_user_text,
    stream,
    text,
    tool_calls,
    usage_object,
)
from tests.fakes.gateway_process import KEY, GatewayProcess, configuration
from tests.fakes.upstream import ScriptedUpstream

pytestmark = pytest.mark.server

TOOL = {
    "name": "Read",
    "description": "Reads a file.",
    "input_schema": {
        "type": "object",
        "properties": {"path": {"type": "string"}, "limit": {"type": "integer"}},
        "required": ["path"],
        "additionalProperties": False,
    },
}


@pytest.fixture(scope="module")
def upstream() -> Iterator[ScriptedUpstream]:
    with ScriptedUpstream() as upstream:
        yield upstream


@pytest.fixture(scope="module")
def gateway(upstream: ScriptedUpstream) -> Iterator[GatewayProcess]:
    with GatewayProcess(configuration(upstream.base_url, models=("main", "other"))) as gateway:
        yield gateway


@pytest.fixture
def client(gateway: GatewayProcess, upstream: ScriptedUpstream) -> Iterator[anthropic.Anthropic]:
    upstream.clear()
    with anthropic.Anthropic(
        base_url=gateway.claude_code_url, api_key=None, auth_token=KEY, max_retries=0, timeout=20
    ) as client:
        yield client


def fragment(index: int | None, call_id: str | None, name: str | None, arguments: Any) -> dict[str, Any]:
    """Return a delta with one fragment of a tool call; None leaves a field out."""
    function = {key: value for key, value in (("name", name), ("arguments", arguments)) if value is not None}
    call = {"index": index, "id": call_id, "type": "function", "function": function}
    return {"tool_calls": [{key: value for key, value in call.items() if value is not None}]}


USAGE = chunk(usage=usage_object((10, 2)))


@dataclass(frozen=True, slots=True)
class Case:
    """An upstream answer, and what the message must hold: blocks as (type, text or (name, input)), and the rest."""

    answer: Answer
    blocks: list[tuple[str, Any]]
    stop_reason: str
    usage: Mapping[str, int] = field(default_factory=lambda: {"input_tokens": 10, "output_tokens": 2})
    request: Mapping[str, Any] = field(default_factory=dict)


READ_A, READ_B = ("Read", {"path": "a.txt"}), ("Read", {"path": "b.txt", "limit": 3})
THINK = {"thinking": {"type": "enabled", "budget_tokens": 2048}}
CASES = {
    "text": Case(text("Hello there."), [("text", "Hello there.")], "end_turn"),
    "cjk and emoji": Case(text("你好，世界 👩‍💻\u2028。", piece=1), [("text", "你好，世界 👩‍💻\u2028。")], "end_turn"),
    "one chunk": Case(stream(chunk({"content": "All."}, "stop"), USAGE), [("text", "All.")], "end_turn"),
    "json instead of a stream": Case(
        json_answer(
            {
                "id": "x",
                "object": "chat.completion",
                "choices": [
                    {"index": 0, "message": {"role": "assistant", "content": "Whole."}, "finish_reason": "stop"}
                ],
                "usage": usage_object((10, 2)),
            }
        ),
        [("text", "Whole.")],
        "end_turn",
    ),
    "reasoning shown": Case(
        text("Yes.", reasoning="Let me think."),
        [("thinking", "Let me think."), ("text", "Yes.")],
        "end_turn",
        request=THINK,
    ),
    "reasoning not asked for": Case(text("Yes.", reasoning="Let me think."), [("text", "Yes.")], "end_turn"),
    "reasoning and a tool": Case(
        stream(
            chunk({"reasoning_content": "I must look."}),
            chunk(fragment(0, "call_a", "Read", '{"path": "a.txt"}')),
            chunk({}, "tool_calls"),
            USAGE,
        ),
        [("thinking", "I must look."), ("tool_use", READ_A)],
        "tool_use",
        request=THINK,
    ),
    "tool": Case(tool_calls(("call_a", "Read", {"path": "a.txt"})), [("tool_use", READ_A)], "tool_use"),
    "text and a tool": Case(
        tool_calls(("call_a", "Read", {"path": "a.txt"}), content="Looking."),
        [("text", "Looking."), ("tool_use", READ_A)],
        "tool_use",
    ),
    "parallel tools": Case(
        tool_calls(("call_a", "Read", {"path": "a.txt"}), ("call_b", "Read", {"path": "b.txt", "limit": 3})),
        [("tool_use", READ_A), ("tool_use", READ_B)],
        "tool_use",
    ),
    "interleaved tools": Case(
        stream(
            chunk(fragment(0, "call_a", "Read", '{"path"')),
            chunk(fragment(1, "call_b", "Read", '{"path": "b.txt"')),
            chunk(fragment(0, None, None, ': "a.txt"}')),
            chunk(fragment(1, None, None, ', "limit": 3}')),
            chunk({}, "tool_calls"),
            USAGE,
        ),
        [("tool_use", READ_A), ("tool_use", READ_B)],
        "tool_use",
    ),
    "index 0 for every tool, finish stop": Case(
        stream(
            chunk(fragment(0, "call_a", "Read", '{"path": "a.txt"}')),
            chunk(fragment(0, "call_b", "Read", '{"path": "b.txt", "limit": 3}')),
            chunk({}, "stop"),
            USAGE,
        ),
        [("tool_use", READ_A), ("tool_use", READ_B)],
        "tool_use",
    ),
    "no index, no ids": Case(
        stream(
            chunk(fragment(None, None, "Read", '{"path": "a.txt"}')),
            chunk(fragment(None, None, "Read", '{"path": "b.txt", "limit": 3}')),
            chunk({}, "tool_calls"),
            USAGE,
        ),
        [("tool_use", READ_A), ("tool_use", READ_B)],
        "tool_use",
    ),
    "arguments as an object": Case(
        stream(chunk(fragment(0, "call_a", "Read", {"path": "a.txt"})), chunk({}, "tool_calls"), USAGE),
        [("tool_use", READ_A)],
        "tool_use",
    ),
    "no arguments": Case(
        stream(chunk(fragment(0, "call_a", "Read", "")), chunk({}, "tool_calls"), USAGE),
        [("tool_use", ("Read", {}))],
        "tool_use",
    ),
    "tool, then text": Case(
        stream(
            chunk(fragment(0, "call_a", "Read", '{"path": "a.txt"}')),
            chunk({"content": "Done."}),
            chunk({}, "stop"),
            USAGE,
        ),
        [("tool_use", READ_A), ("text", "Done.")],
        "tool_use",
    ),
    "length": Case(text("Cut sho", finish="length"), [("text", "Cut sho")], "max_tokens"),
    "refusal": Case(
        stream(chunk({"refusal": "I will not."}), chunk({}, "stop"), USAGE), [("text", "I will not.")], "refusal"
    ),
    "empty": Case(text("", usage=(10, 0)), [("text", "")], "end_turn", {"input_tokens": 10, "output_tokens": 0}),
    "cached usage": Case(
        text("Hi.", usage={**usage_object((100, 5)), "prompt_tokens_details": {"cached_tokens": 80}}),
        [("text", "Hi.")],
        "end_turn",
        {"input_tokens": 20, "cache_read_input_tokens": 80, "output_tokens": 5},
    ),
    "wholly cached usage": Case(
        text("Hi.", usage={**usage_object((80, 5)), "prompt_tokens_details": {"cached_tokens": 80}}),
        [("text", "Hi.")],
        "end_turn",
        {"cache_read_input_tokens": 80, "output_tokens": 5},
    ),
    "usage on every chunk": Case(
        stream(
            chunk({"content": "a"}, usage=usage_object((10, 1))),
            chunk({"content": "b"}, usage=usage_object((10, 2))),
            chunk({}, "stop", usage=usage_object((10, 2))),
        ),
        [("text", "ab")],
        "end_turn",
    ),
    "no usage": Case(text("Estimated.", usage=None), [("text", "Estimated.")], "end_turn", {}),
    "no [DONE]": Case(
        stream(chunk({"content": "End."}), chunk({}, "stop"), USAGE, done=False), [("text", "End.")], "end_turn"
    ),
    "bytes split inside a character": Case(
        stream(
            *(bytes([byte]) for byte in 'data: {"choices":[{"index":0,"delta":{"content":"é 世"}}]}\r\n\r\n'.encode()),
            chunk({}, "stop"),
            USAGE,
        ),
        [("text", "é 世")],
        "end_turn",
    ),
}


def blocks(message: anthropic.types.Message) -> list[tuple[str, Any]]:
    found: list[tuple[str, Any]] = []
    for block in message.content:
        if block.type == "text":
            found.append((block.type, block.text))
        elif block.type == "thinking":
            assert block.signature
            found.append((block.type, block.thinking))
        elif block.type == "tool_use":
            found.append((block.type, (block.name, block.input)))
    return found


def comparable(message: anthropic.types.Message) -> dict[str, Any]:
    """Return the message without what is new with each call: its id, and the ids made up for calls without one."""
    plain = message.model_dump(mode="json", exclude_none=True)
    del plain["id"]
    plain.pop("_request_id", None)
    for position, block in enumerate(plain["content"]):
        if block["type"] == "tool_use" and block["id"].startswith("toolu_"):
            block["id"] = f"made up {position}"
        block.pop("parsed_output", None)  # of the SDK's stream accumulator, not of the wire
    return plain


@pytest.mark.parametrize("name", CASES)
def test_stream_and_non_stream_end_in_the_same_message(
    name: str, client: anthropic.Anthropic, upstream: ScriptedUpstream
) -> None:
    case = CASES[name]
    upstream.script("main", case.answer)
    request: dict[str, Any] = {
        "model": "claude-opus-5-5",
        "max_tokens": 4096,
        "messages": [{"role": "user", "content": "Go."}],
        "tools": [TOOL],
        **case.request,
    }
    whole = client.messages.create(**request)
    with client.messages.stream(**request) as events:
        streamed = events.get_final_message()
    assert blocks(whole) == case.blocks
    assert whole.stop_reason == case.stop_reason
    assert whole.model == "claude-opus-5-5"
    usage = whole.usage.model_dump()
    assert {key: usage[key] for key in case.usage} == case.usage
    assert usage["input_tokens"] >= 0
    assert re.fullmatch(r"msg_\w{20,}", whole.id)
    ids = [block.id for block in whole.content if block.type == "tool_use"]
    assert len(set(ids)) == len(ids)
    one, other = comparable(whole), comparable(streamed)
    if name == "wholly cached usage":
        # Claude Code keeps the estimate of message_start when the final counter is 0: a stream says 1 instead.
        one["usage"].pop("input_tokens")
        other["usage"].pop("input_tokens")
    assert one == other


def test_tool_ids_survive_a_round_trip(client: anthropic.Anthropic, upstream: ScriptedUpstream) -> None:
    upstream.script("main", tool_calls(("call_a", "Read", {"path": "a.txt"})), text("Read."))
    question: Any = {"role": "user", "content": "Read it."}
    tools: Any = [TOOL]
    first = client.messages.create(model="x", max_tokens=100, messages=[question], tools=tools)
    (call,) = first.content
    assert call.type == "tool_use"
    history: Any = [
        question,
        {"role": "assistant", "content": first.content},
        {"role": "user", "content": [{"type": "tool_result", "tool_use_id": call.id, "content": "tea"}]},
    ]
    client.messages.create(model="x", max_tokens=100, messages=history, tools=tools)
    *_, asked, answered = upstream.requests[-1].messages
    assert asked["tool_calls"][0]["id"] == answered["tool_call_id"]
    assert answered == {"role": "tool", "tool_call_id": answered["tool_call_id"], "content": "tea"}


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, anthropic.BadRequestError),
        (429, anthropic.RateLimitError),
        (500, anthropic.InternalServerError),
        (503, anthropic.InternalServerError),
    ],
)
def test_an_upstream_error_is_the_sdks_error(
    status: int, kind: type[anthropic.APIStatusError], client: anthropic.Anthropic, upstream: ScriptedUpstream
) -> None:
    upstream.script("main", error(status, "something upstream"))
    with pytest.raises(kind) as whole:
        client.messages.create(model="x", max_tokens=10, messages=[{"role": "user", "content": "Go."}])
    with (
        pytest.raises(kind) as streamed,
        client.messages.stream(model="x", max_tokens=10, messages=[{"role": "user", "content": "Go."}]) as events,
    ):
        events.get_final_message()
    assert whole.value.status_code == streamed.value.status_code
    for caught in (whole.value, streamed.value):
        assert isinstance(caught.body, dict)
        assert caught.body["type"] == "error"
        assert "Traceback" not in caught.message


def test_a_cut_stream_raises_and_is_not_a_message(client: anthropic.Anthropic, upstream: ScriptedUpstream) -> None:
    upstream.script("main", cut("Half a sen"))
    with (
        pytest.raises(anthropic.APIError),
        client.messages.stream(model="x", max_tokens=10, messages=[{"role": "user", "content": "Go."}]) as events,
    ):
        events.get_final_message()
    with pytest.raises(anthropic.APIError):
        client.messages.create(model="x", max_tokens=10, messages=[{"role": "user", "content": "Go."}])


def test_count_tokens_asks_no_upstream(client: anthropic.Anthropic, upstream: ScriptedUpstream) -> None:
    counted = client.messages.count_tokens(model="x", messages=[{"role": "user", "content": "Some words to count."}])
    assert 3 <= counted.input_tokens <= 40
    assert not upstream.requests


def test_the_model_list_is_the_sdks(client: anthropic.Anthropic) -> None:
    models = list(client.models.list())
    assert {"up/main", "up/other"} <= {model.id for model in models}
    assert all(model.type == "model" for model in models)


def test_a_model_may_be_written_out(client: anthropic.Anthropic, upstream: ScriptedUpstream) -> None:
    message = client.messages.create(
        model="up/other", max_tokens=10, messages=[{"role": "user", "content": "Echo me."}]
    )
    assert blocks(message) == [("text", "Echo me.")]
    assert [request.model for request in upstream.requests] == ["other"]
    assert last_user_text(upstream.requests[0]) == "Echo me."
