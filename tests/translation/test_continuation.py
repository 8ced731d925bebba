"""One message out of a broken answer and its continuations."""

from typing import Any

import pytest

from providers.translation.continuation import Splicer
from providers.translation.events import (
    Event,
    block_start,
    block_stop,
    input_delta,
    signature_delta,
    text_delta,
    thinking_delta,
)
from tests.translation import grammar

START: Event = {
    "type": "message_start",
    "message": {
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "model": "m",
        "content": [],
        "stop_reason": None,
        "stop_sequence": None,
        "usage": {
            "input_tokens": 1,
            "output_tokens": 0,
            "cache_creation_input_tokens": 0,
            "cache_read_input_tokens": 0,
        },
    },
}
END: list[Event] = [
    {
        "type": "message_delta",
        "delta": {"stop_reason": "end_turn", "stop_sequence": None, "stop_details": None},
        "usage": {
            "input_tokens": 1,
            "output_tokens": 2,
            "cache_creation_input_tokens": 0,
            "cache_read_input_tokens": 0,
        },
    },
    {"type": "message_stop"},
]


def text_block(index: int, *texts: str) -> list[Event]:
    return [
        block_start(index, {"type": "text", "text": ""}),
        *(text_delta(index, text) for text in texts),
        block_stop(index),
    ]


def thinking_block(index: int, thought: str) -> list[Event]:
    block = {"type": "thinking", "thinking": "", "signature": ""}
    return [
        block_start(index, block),
        thinking_delta(index, thought),
        signature_delta(index, "s"),
        block_stop(index),
    ]


def call_block(index: int) -> list[Event]:
    block = {"type": "tool_use", "id": "toolu_1", "name": "ls", "input": {}}
    return [block_start(index, block), input_delta(index, "{}"), block_stop(index)]


def texts_of(events: list[Event]) -> dict[int, str]:
    """Return the text of each text block."""
    texts: dict[int, str] = {}
    for event in events:
        if event["type"] == "content_block_delta" and event["delta"]["type"] == "text_delta":
            texts[event["index"]] = texts.get(event["index"], "") + event["delta"]["text"]
    return texts


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [
        # cut within a text block, which goes on
        (text_block(0, "One, ", "two")[:-1], text_block(0, ", three"), {0: "One, two, three"}),
        # cut after a whole block: another one follows
        (text_block(0, "One."), text_block(0, "Two."), {0: "One.", 1: "Two."}),
        # what was thought stays in front
        ([*thinking_block(0, "hm"), *text_block(1, "One")[:-1]], text_block(0, " two"), {1: "One two"}),
        # who goes on thinks first: the open block is closed
        (text_block(0, "One")[:-1], [*thinking_block(0, "hm"), *text_block(1, "two")], {0: "One", 2: "two"}),
        # further blocks, and a call, follow the merged one
        (
            text_block(0, "One")[:-1],
            [*text_block(0, " two"), *text_block(1, "x"), *call_block(2)],
            {0: "One two", 1: "x"},
        ),
        # white space that the model did not see is not said twice
        (text_block(0, "One\n\n")[:-1], text_block(0, "\n", "\n", "Two\n"), {0: "One\n\nTwo\n"}),
        (text_block(0, "One ")[:-1], text_block(0, "two"), {0: "One two"}),
        (text_block(0, "一，二")[:-1], text_block(0, "，三"), {0: "一，二，三"}),
    ],
)
def test_two_answers_make_one_message(first: list[Event], second: list[Event], expected: dict[int, str]) -> None:
    splicer = Splicer()
    shown = splicer.feed([START, *first])
    assert shown == [START, *first], "what came first goes out as it came"
    assert splicer.can_go_on
    splicer.next_part()
    shown = shown + splicer.feed([START, *second, *END])
    grammar.check(shown)
    assert texts_of(shown) == expected


def test_three_answers_make_one_message() -> None:
    splicer = Splicer()
    shown = splicer.feed([START, *text_block(0, "a")[:-1]])
    for part in ("b", "c"):
        splicer.next_part()
        shown = shown + splicer.feed([START, *text_block(0, part)[:-1]])
    assert splicer.text == "abc"
    shown = [*shown, *splicer.close(), *END]
    grammar.check(shown)
    assert texts_of(shown) == {0: "abc"}
    assert splicer.close() == []


@pytest.mark.parametrize(
    "events",
    [
        [START],
        [START, *thinking_block(0, "hm")],
        [START, *text_block(0, "x"), *thinking_block(1, "hm")[:-1]],
        [START, *text_block(0, " \n")],
        [START, *text_block(0, "I look."), *call_block(1)[:1]],
        [START, *text_block(0, "x"), block_start(1, {"type": "server_tool_use", "id": "s", "name": "w", "input": {}})],
    ],
)
def test_without_text_or_after_a_call_nobody_goes_on(events: list[Any]) -> None:
    splicer = Splicer()
    splicer.feed(events)
    assert not splicer.can_go_on
