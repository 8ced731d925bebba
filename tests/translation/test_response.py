"""Whole answers: as chunks, as messages, and equal to the same answer streamed."""

import json
from typing import Any

import pytest

from providers.translation.events import PING, MessageBuilder, encode
from providers.translation.response import ReasoningDetails, choice_of, reasoning_of, text_of, to_chunks
from tests.translation.answers import STOP, call, calls, chunk, message, reasoning, text, translate, usage

J1, J2 = '{"path":"1"}', '{"path":"2"}'


def completion(message_: Any, finish: Any = "stop", **members: Any) -> dict[str, Any]:
    return {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "choices": [{"index": 0, "message": message_, "finish_reason": finish}],
        "usage": {"prompt_tokens": 50, "completion_tokens": 9},
        **members,
    }


def whole(document: dict[str, Any], **changes: Any) -> dict[str, Any]:
    return message(to_chunks(document), **changes)


def tool(id_: str, arguments: Any, name: str = "Read", **members: Any) -> dict[str, Any]:
    return {"id": id_, "type": "function", "function": {"name": name, "arguments": arguments}, **members}


@pytest.mark.parametrize(
    ("answer", "blocks", "stop_reason"),
    [
        ({"content": "Hello 世界"}, [("text", "Hello 世界")], "end_turn"),
        ({"content": ""}, [("text", "")], "end_turn"),
        ({"content": None}, [("text", "")], "end_turn"),
        ({}, [("text", "")], "end_turn"),
        (None, [("text", "")], "end_turn"),
        ({"content": [{"type": "text", "text": "a"}, {"type": "x"}, "b"]}, [("text", "ab")], "end_turn"),
        ({"content": None, "refusal": "No."}, [("text", "No.")], "refusal"),
        ({"content": "x", "reasoning_content": "r"}, [("thinking", "r"), ("text", "x")], "end_turn"),
        ({"content": "x", "reasoning": "r"}, [("thinking", "r"), ("text", "x")], "end_turn"),
        ({"content": None, "tool_calls": [tool("a", J1)]}, [("tool_use", {"path": "1"})], "tool_use"),
        (
            {"content": "x", "tool_calls": [tool("a", J1, index=0), tool("b", J2, index=0)]},
            [("text", "x"), ("tool_use", {"path": "1"}), ("tool_use", {"path": "2"})],
            "tool_use",
        ),
        ({"tool_calls": [tool("", {"path": "/o"})]}, [("tool_use", {"path": "/o"})], "tool_use"),
        ({"tool_calls": [tool("a", "", "Ping")]}, [("tool_use", {})], "tool_use"),
        ({"tool_calls": [tool("a", None, "Ping")]}, [("tool_use", {})], "tool_use"),
        ({"tool_calls": [tool("a", "not json")]}, [("tool_use", {"__raw_arguments": "not json"})], "tool_use"),
        ({"tool_calls": [tool("a", J1 + J2)]}, [("tool_use", {"path": "1"}), ("tool_use", {"path": "2"})], "tool_use"),
        ({"function_call": {"name": "Read", "arguments": J1}}, [("tool_use", {"path": "1"})], "tool_use"),
        ({"content": "x", "tool_calls": None}, [("text", "x")], "end_turn"),
        ({"content": "x", "annotations": [{"type": "url_citation"}]}, [("text", "x")], "end_turn"),
    ],
)
def test_whole_answer_becomes_a_message(answer: Any, blocks: list[Any], stop_reason: str) -> None:
    built = whole(completion(answer))
    found = [
        (block["type"], block["input"] if block["type"] == "tool_use" else block[block["type"]])
        for block in built["content"]
    ]
    assert (found, built["stop_reason"]) == (blocks, stop_reason)
    assert (built["usage"]["input_tokens"], built["usage"]["output_tokens"]) == (50, 9)
    assert (built["id"], built["model"]) == ("msg_000000000000000000000000", "claude-test")
    assert set(built) >= {
        "id",
        "type",
        "role",
        "model",
        "content",
        "stop_reason",
        "stop_sequence",
        "stop_details",
        "usage",
    }


def test_whole_and_streamed_answers_are_equal() -> None:
    arguments = '{"path": "/äöü"}'
    streamed = message(
        [
            reasoning("be"),
            reasoning("cause"),
            text("text "),
            text("before"),
            calls(call(0, "c1", "Read", "")),
            *(calls(call(0, arguments=arguments[at : at + 3])) for at in range(0, len(arguments), 3)),
            chunk({}, "tool_calls"),
            usage(50, 9),
        ]
    )
    answer = {"content": "text before", "reasoning_content": "because", "tool_calls": [tool("c1", arguments)]}
    assert whole(completion(answer, "tool_calls")) == streamed


def test_cut_off_call_is_left_out_of_the_message() -> None:
    cut = '{"file_path":"/a","con'
    built = whole(completion({"content": "x", "tool_calls": [tool("a", cut, "Write")]}, "length"))
    assert [block["type"] for block in built["content"]] == ["text"]
    assert built["stop_reason"] == "max_tokens"
    alone = whole(completion({"tool_calls": [tool("a", cut, "Write")]}, "length"))
    assert alone["content"] == [{"type": "text", "text": ""}]


def test_only_choice_0_counts() -> None:
    document = completion({"content": "first"})
    document["choices"].append({"index": 1, "message": {"content": "second"}, "finish_reason": "length"})
    assert whole(document)["content"] == [{"type": "text", "text": "first"}]


@pytest.mark.parametrize("choices", [[], None, {}, "x", [None], [{"index": 1}]])
def test_answer_without_a_choice_gives_no_chunk(choices: Any) -> None:
    assert to_chunks({"object": "chat.completion", "choices": choices}) == []


def test_choice_without_an_index() -> None:
    assert choice_of({"choices": [{"a": 1}, {"a": 2}]}) == {"a": 1}
    assert choice_of({"choices": [{"index": 1}, {"index": 0, "a": 2}]}) == {"index": 0, "a": 2}
    assert choice_of({"choices": [{"index": "0"}]}) == {"index": "0"}
    assert choice_of({"choices": [{"index": 1}, {"a": 2}]}) is None


@pytest.mark.parametrize("content", [None, 1, {}, [None, 1, {"type": "text"}, {"type": "text", "text": 2}]])
def test_content_without_text(content: Any) -> None:
    assert text_of(content) == ""


def test_reasoning_comes_from_one_member_only() -> None:
    both = {"reasoning_content": "", "reasoning": "a", "reasoning_details": [{"type": "reasoning.text", "text": "a"}]}
    assert reasoning_of(both, None) == ("a", "reasoning")
    assert reasoning_of({"reasoning_content": "whole"}, "reasoning") == ("", "reasoning")
    assert reasoning_of({"reasoning_details": [{"summary": "s"}]}, None) == ("s", "reasoning_details")
    assert reasoning_of({"reasoning": {"not": "text"}}, None) == ("", None)


def test_details_of_different_blocks_stay_apart() -> None:
    details = ReasoningDetails()
    details.add([{"type": "reasoning.summary", "summary": "a", "index": 0}])
    details.add([{"type": "reasoning.summary", "summary": "b", "index": 0, "id": None}])
    details.add([{"type": "reasoning.summary", "summary": "c", "index": 1}])
    assert [detail["summary"] for detail in details.whole()] == ["ab", "c"]


def test_events_are_encoded_with_their_names_on_one_line() -> None:
    events = translate([text('a\n"中\u2028'), STOP])
    lines = encode(events).decode().split("\n\n")
    assert lines.pop() == ""
    for event, encoded in zip(events, lines, strict=True):
        name, data = encoded.split("\n")
        assert name == f"event: {event['type']}"
        assert json.loads(data.removeprefix("data: ")) == event
    assert PING == b'event: ping\ndata: {"type":"ping"}\n\n'


def test_lone_surrogates_are_replaced_on_the_wire() -> None:
    for events in (translate([text("\ud83d"), STOP]), translate([reasoning("\ud83d"), STOP])):
        assert "\ufffd" in encode(events).decode()


def test_builder_without_a_start_has_no_message() -> None:
    with pytest.raises(ValueError, match="message_start"):
        MessageBuilder().build()


def test_invalid_input_reaches_the_client_for_its_schema_check() -> None:
    builder = MessageBuilder()
    start = {"usage": {"input_tokens": 1}, "stop_reason": None}
    builder.feed(
        [
            {"type": "message_start", "message": start},
            {"type": "content_block_start", "index": 0, "content_block": {"type": "tool_use", "input": {}}},
            {"type": "content_block_delta", "index": 0, "delta": {"type": "input_json_delta", "partial_json": "[1"}},
            {"type": "message_delta", "delta": {"stop_reason": "tool_use"}, "usage": {"output_tokens": 1}},
        ]
    )
    assert builder.build()["content"][0]["input"] == {"__raw_arguments": "[1"}
