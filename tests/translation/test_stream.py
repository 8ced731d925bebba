"""Chunks to events: every known fault of upstreams, failures, and the official SDK as judge."""

import json
from typing import Any

import pytest

from providers.translation import signature
from providers.translation.arguments import RAW_KEY
from providers.translation.events import MessageBuilder, encode
from providers.translation.stream import ErrorInStream, StreamTranslator, Truncated
from tests.translation import grammar
from tests.translation.answers import (
    KEY,
    LENGTH,
    ROLE,
    STOP,
    TOOL_STOP,
    call,
    calls,
    chunk,
    message,
    options,
    outline,
    reasoning,
    text,
    translate,
    usage,
)
from tests.translation.cases import CASES
from tests.translation.sdk import replay
from tests.translation.tool_cases import J1

IDS = [name for name, *_ in CASES]


@pytest.mark.parametrize(("chunks", "changes", "expected"), [case[1:] for case in CASES], ids=IDS)
def test_answer_becomes_these_events(chunks: list[Any], changes: dict[str, Any], expected: list[str]) -> None:
    assert outline(chunks, **changes) == expected


@pytest.mark.parametrize(("chunks", "changes"), [case[1:3] for case in CASES], ids=IDS)
def test_the_calls_of_an_answer_are_known_as_the_client_gets_them(chunks: list[Any], changes: dict[str, Any]) -> None:
    translator = StreamTranslator(options(**changes))
    events = [event for chunk in chunks for event in translator.feed(chunk)] + translator.finish(True)
    blocks = replay(encode(events))["content"]
    expected = [(block["id"], block["name"]) for block in blocks if block["type"] == "tool_use"]
    assert [(use.id, use.name) for use in translator.tool_uses] == expected
    builder = MessageBuilder()
    builder.feed(events)
    inputs = {block["id"]: block["input"] for block in builder.build()["content"] if block["type"] == "tool_use"}
    known = {use.id: use.input for use in translator.tool_uses if use.input is not None}
    assert known == {call_id: inputs[call_id] for call_id in known}
    assert all(RAW_KEY in inputs[call_id] for call_id in inputs.keys() - known.keys())


@pytest.mark.parametrize(("chunks", "changes"), [case[1:3] for case in CASES], ids=IDS)
def test_sdk_accumulates_the_message_that_a_client_without_a_stream_gets(
    chunks: list[Any], changes: dict[str, Any]
) -> None:
    events = translate(chunks, **changes)
    builder = MessageBuilder()
    builder.feed(events)
    built = builder.build()
    theirs = replay(encode(events))
    if built["stop_reason"] == "max_tokens":
        # The SDK keeps the readable part of a call that was cut off; we never let half a call run.
        theirs["content"] = [block for block in theirs["content"] if block["type"] != "tool_use"] or [
            {"type": "text", "text": ""}
        ]
    ours = json.loads(json.dumps(built))
    for block, other in zip(ours["content"], theirs["content"], strict=True):
        assert block == {name: other[name] for name in block}
    for name in ("id", "type", "role", "model", "stop_reason", "stop_sequence"):
        assert ours[name] == theirs[name]
    if ours["stop_details"] is not None:
        assert ours["stop_details"] == theirs["stop_details"]
    for name in ("input_tokens", "output_tokens", "cache_read_input_tokens", "cache_creation_input_tokens"):
        assert ours["usage"][name] == theirs["usage"][name]


def test_message_starts_with_the_first_meaningful_item() -> None:
    translator = StreamTranslator(options(shows_thinking=False))
    for quiet in (ROLE, text(""), reasoning("hidden"), text("\n"), usage(1, 1)):
        assert translator.feed(quiet) == []
        assert not translator.has_output
    assert translator.is_generating
    first = translator.feed(text("Hi"))
    assert [event["type"] for event in first] == ["message_start", "content_block_start", "content_block_delta"]
    assert translator.has_output
    start = first[0]["message"]
    assert (start["id"], start["model"]) == ("msg_000000000000000000000000", "claude-test")
    assert start["usage"]["input_tokens"] == 50


def test_text_delta_leaves_at_once_and_complete_arguments_keep_the_block_open() -> None:
    translator = StreamTranslator(options())
    assert grammar.outline(translator.feed(text("a"))) == ["S0 text", "D0 a"]
    assert grammar.outline(translator.feed(text("b"))) == ["D0 b"]
    # Complete JSON does not end a call: more may follow until something else arrives.
    assert grammar.outline(translator.feed(calls(call(0, "a", "Read", J1)))) == [
        "X0",
        "S1 tool_use(a,Read)",
        "D1 " + J1,
    ]
    assert grammar.outline(translator.feed(TOOL_STOP)) == []
    assert grammar.outline(translator.finish(True)) == ["X1", "MD(tool_use)", "MS"]


def test_the_last_two_events_end_the_message() -> None:
    events = translate([text("x"), STOP])
    assert [event["type"] for event in events[-2:]] == ["message_delta", "message_stop"]


@pytest.mark.parametrize(
    ("chunks", "changes", "is_empty"),
    [
        ([ROLE, STOP], {}, True),
        ([], {}, True),
        ([reasoning("a"), STOP], {"shows_thinking": False}, True),
        ([text("\n"), STOP], {}, True),
        ([reasoning("a"), STOP], {}, False),
        ([LENGTH], {}, False),
        ([chunk({}, "content_filter")], {}, False),
        ([text("x"), STOP], {}, False),
    ],
)
def test_answer_without_content_is_empty(chunks: list[Any], changes: dict[str, Any], is_empty: bool) -> None:
    translator = StreamTranslator(options(**changes))
    for item in chunks:
        translator.feed(item)
    translator.finish(True)
    assert translator.is_empty is is_empty


def test_stream_without_finish_and_done_is_truncated() -> None:
    translator = StreamTranslator(options())
    translator.feed(text("Par"))
    with pytest.raises(Truncated):
        translator.finish(False)
    assert grammar.outline(translator.interrupt()) == ["X0"]


def test_body_without_any_answer_is_truncated_even_for_lenient_upstreams() -> None:
    with pytest.raises(Truncated):
        StreamTranslator(options(lenient_eof=True)).finish(False)


def test_finish_without_done_and_lenient_end_are_normal() -> None:
    assert translate([text("x"), STOP], saw_done=False)[-1] == {"type": "message_stop"}
    assert translate([text("x")], saw_done=False, lenient_eof=True)[-1] == {"type": "message_stop"}


@pytest.mark.parametrize(
    ("chunks", "expected"),
    [
        ([], []),
        ([reasoning("a")], ["S0 thinking", "D0 a", "D0 signature", "X0"]),
        ([text("a")], ["S0 text", "D0 a", "X0"]),
        ([calls(call(0, "a", "Read", '{"pa'))], ["S0 tool_use(a,Read)", 'D0 {"pa', "X0"]),
        ([calls(call(0, "a", "Read", ""))], []),
        ([calls(call(0, "a", "Read", '{"pa')), text("waits")], ["S0 tool_use(a,Read)", 'D0 {"pa', "X0"]),
    ],
)
def test_interrupt_closes_the_open_block(chunks: list[Any], expected: list[str]) -> None:
    translator = StreamTranslator(options())
    events = [event for item in chunks for event in translator.feed(item)]
    events += translator.interrupt()
    grammar.check([*events, {"type": "error", "error": {}}])
    assert grammar.outline(events) == expected
    assert translator.interrupt() == []


@pytest.mark.parametrize(
    ("bad", "expected"),
    [
        ({"error": {"code": 502, "message": "gone"}}, {"error": {"code": 502, "message": "gone"}}),
        ({"error": "text"}, {"error": "text"}),
        ({"error": [{"message": "gone"}]}, {"error": [{"message": "gone"}]}),
        (
            {"error": {"message": "gone"}, "choices": [{"delta": {"content": ""}, "finish_reason": "error"}]},
            {"error": {"message": "gone"}},
        ),
        ({"choices": [{"index": 0, "delta": {}, "error": {"message": "gone"}}]}, {"error": {"message": "gone"}}),
        (
            {"object": "error", "message": "gone", "code": 400},
            {"error": {"object": "error", "message": "gone", "code": 400}},
        ),
        ({"code": 20012, "message": "gone", "data": None}, {"error": {"code": 20012, "message": "gone", "data": None}}),
        ({"detail": "gone"}, {"error": {"message": "gone"}}),
        ({"base_resp": {"status_code": 1008, "status_msg": "gone"}}, {"error": {"code": 1008, "message": "gone"}}),
    ],
)
def test_error_in_the_stream_is_raised_with_its_payload(bad: dict[str, Any], expected: Any) -> None:
    for before in ([], [text("Par")]):
        translator = StreamTranslator(options())
        events = [event for item in before for event in translator.feed(item)]
        with pytest.raises(ErrorInStream) as raised:
            translator.feed(bad)
        assert raised.value.payload == expected
        grammar.check([*events, *translator.interrupt()], complete=False)


@pytest.mark.parametrize(
    ("finish", "kind"),
    [
        ("error", "api_error"),
        ("insufficient_system_resource", "overloaded_error"),
        ("abort", "overloaded_error"),
        ("network_error", "overloaded_error"),
    ],
)
def test_finish_that_is_no_end_is_an_error(finish: str, kind: str) -> None:
    translator = StreamTranslator(options())
    with pytest.raises(ErrorInStream) as raised:
        translator.feed(chunk({}, finish))
    assert raised.value.payload["error"]["type"] == kind


def test_stop_details() -> None:
    assert message([chunk({"refusal": "No."}), STOP])["stop_details"] == {
        "type": "refusal",
        "category": None,
        "explanation": "No.",
    }
    assert message([text("x"), {**STOP, "stopping_word": "END"}], stop_sequences=["END"])["stop_sequence"] == "END"
    assert message([text("x"), STOP])["stop_details"] is None


def sealed(events: list[Any]) -> list[Any]:
    return [
        signature.unseal(event["delta"]["signature"], KEY)
        for event in events
        if event["type"] == "content_block_delta" and event["delta"]["type"] == "signature_delta"
    ]


def test_signature_names_the_model_and_carries_what_the_block_does_not_show() -> None:
    assert sealed(translate([reasoning("a"), text("x"), STOP])) == [{"p": "main", "m": "big"}]
    omitted = translate([reasoning("a"), reasoning("b"), text("x"), STOP], omits_thinking=True)
    assert sealed(omitted) == [{"p": "main", "m": "big", "t": "ab"}]


def test_streamed_reasoning_details_are_joined_for_the_replay() -> None:
    details = [
        {"type": "reasoning.text", "text": "a", "index": 0, "format": "f"},
        {"type": "reasoning.text", "text": "b", "index": 0},
        {"type": "reasoning.text", "text": "", "signature": "s", "index": 0},
        {"type": "reasoning.encrypted", "data": "z", "index": 1},
    ]
    events = translate([*(chunk({"reasoning_details": [detail]}) for detail in details), text("x"), STOP])
    assert sealed(events)[0]["d"] == [
        {"type": "reasoning.text", "text": "ab", "index": 0, "format": "f", "signature": "s"},
        {"type": "reasoning.encrypted", "data": "z", "index": 1},
    ]


@pytest.mark.parametrize(
    ("chunks", "expected"),
    [
        ([text("x"), STOP, usage(1234, 56)], (1234, 56, False)),
        ([text("x"), {**STOP, "usage": {"prompt_tokens": 77, "completion_tokens": 8}}], (77, 8, False)),
        ([{**text("x"), "usage": {"prompt_tokens": 10, "completion_tokens": n}} for n in (1, 2, 3)], (10, 3, False)),
        ([text("x"), STOP, usage(10, 3), usage(0, 0)], (10, 3, False)),
        ([usage(10, 0), text("x"), STOP, usage(0, 3)], (10, 3, False)),
        (
            [
                text("x"),
                {
                    "choices": [
                        {
                            "index": 0,
                            "delta": {},
                            "finish_reason": "stop",
                            "usage": {"prompt_tokens": 5, "completion_tokens": 2},
                        }
                    ]
                },
            ],
            (5, 2, False),
        ),
        ([text("x"), {**STOP, "x_groq": {"usage": {"prompt_tokens": 5, "completion_tokens": 2}}}], (5, 2, False)),
        ([text("Hello there"), STOP, usage(0, 0)], (50, 2, True)),
        ([text("Hello there"), STOP], (50, 2, True)),
        ([text("Hello there"), STOP, usage(10, 0)], (10, 2, True)),
        ([STOP, usage(10, 0)], (10, 0, False)),
    ],
)
def test_usage_is_the_last_that_says_something_or_an_estimate(
    chunks: list[Any], expected: tuple[int, int, bool]
) -> None:
    translator = StreamTranslator(options())
    for item in chunks:
        translator.feed(item)
    final = translator.finish(True)[-2]["usage"]
    found = translator.usage
    assert (found.input_tokens, found.output_tokens, found.is_estimated) == expected
    assert (final["input_tokens"], final["output_tokens"]) == expected[:2]


def test_usage_is_known_before_the_end() -> None:
    translator = StreamTranslator(options())
    translator.feed(text("Hello there"))
    assert (translator.usage.output_tokens, translator.usage.is_estimated) == (2, True)


def test_estimate_of_a_long_text_is_projected() -> None:
    translator = StreamTranslator(options())
    for _ in range(30):
        translator.feed(text("one two " * 250))
    assert 14_000 < translator.usage.output_tokens < 16_000


def test_hidden_reasoning_counts_in_an_estimate() -> None:
    translator = StreamTranslator(options(shows_thinking=False))
    translator.feed(reasoning("one two three"))
    translator.feed(text("four"))
    assert translator.usage.thinking_tokens >= 3
    assert translator.usage.output_tokens > translator.usage.thinking_tokens


def test_notes_name_what_was_odd() -> None:
    translator = StreamTranslator(options())
    translator.feed(calls(call(0, "a", "Write", "")))
    translator.feed(LENGTH)
    translator.finish(True)
    assert len(translator.notes) == 1
    unknown = StreamTranslator(options())
    unknown.feed(chunk({}, "whatever"))
    unknown.finish(True)
    assert "whatever" in unknown.notes[0]
