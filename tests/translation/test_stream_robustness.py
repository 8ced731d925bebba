"""Streams cut anywhere, and chunks with anything in them."""

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from providers.translation.events import MessageBuilder, encode
from providers.translation.sse import ChunkReader, MalformedStream
from providers.translation.stream import ErrorInStream, StreamTranslator, Truncated
from tests.translation import grammar
from tests.translation.answers import ROLE, STOP, TOOL_STOP, USAGE, call, calls, inputs, options, reasoning, sse, text
from tests.translation.sdk import replay

STREAMS = {
    "text": sse([ROLE, text("中文🙂é\u2028\x85"), text("x"), STOP, USAGE]),
    "tools": sse([calls(call(0, "a", "Read", '{"path":"中🙂')), calls(call(0, arguments='"}')), TOOL_STOP, USAGE]),
    "crlf": sse([": PROCESSING", reasoning("考"), text("a"), "event: message", text("b"), STOP], eol="\r\n"),
    "cr": sse([text("aé"), ": keep-alive", text("b"), STOP, USAGE], eol="\r"),
    "bom": b"\xef\xbb\xbf" + sse([text("é"), STOP]).replace(b"data: ", b"data:"),
    "broken event": sse([text("a")], end=False) + b"data: {broken\n\n" + sse([text("b"), STOP]),
    "several data lines": b'data: {"choices":[{"index":0,"delta":\ndata: {"content":"x"},"finish_reason":"stop"}]}\n\n',
    "NDJSON": sse([text("é"), STOP]).replace(b"data: {", b"{"),
    "whole answer": json.dumps(
        {"object": "chat.completion", "choices": [{"message": {"content": "é"}, "finish_reason": "stop"}]}, indent=1
    ).encode(),
}


def read(pieces: list[bytes]) -> list[str]:
    reader, translator = ChunkReader(), StreamTranslator(options())
    events = [event for piece in pieces for item in reader.feed(piece) for event in translator.feed(item)]
    events += [event for item in reader.finish() for event in translator.feed(item)]
    events += translator.finish(reader.saw_done)
    grammar.check(events)
    return grammar.outline(events)


@pytest.mark.parametrize("body", STREAMS.values(), ids=STREAMS.keys())
def test_stream_cut_at_every_byte_gives_the_same_events(body: bytes) -> None:
    whole = read([body])
    assert "\ufffd" not in "".join(whole)
    assert len(whole) > 4
    for at in range(1, len(body)):
        assert read([body[:at], body[at:]]) == whole
    assert read([body[at : at + 1] for at in range(len(body))]) == whole


JUNK = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-3, 5)
    | st.floats()
    | st.sampled_from(
        ["", "a", "0", "Read", "stop", "length", "error", '{"a":', '{"path":"1"}', "}", "not json", '"', "\\", " "]
    )
    | st.text(max_size=3),
    lambda values: (
        st.lists(values, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["index", "id", "name", "arguments", "function", "content", "type", "text", "delta", "message", "error"]
            ),
            values,
            max_size=3,
        )
    ),
    max_leaves=5,
)


def either(strategy: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return strategy | strategy | strategy | JUNK


ARGUMENTS = st.sampled_from(
    [
        '{"pa',
        'th":"1"}',
        '{"path":"1"}',
        "{}",
        "",
        "not json",
        "```json\n",
        '{"a":1,}',
        '{"path": nope',
        "null",
        "'",
        '"x',
    ]
)
FRAGMENT = st.fixed_dictionaries(
    {},
    optional={
        "index": either(st.integers(0, 2)),
        "id": either(st.sampled_from(["a", "b", "", "x.y:0"])),
        "function": either(
            st.fixed_dictionaries(
                {},
                optional={
                    "name": either(st.sampled_from(["Read", "Re", "ad", "Bash"])),
                    "arguments": either(ARGUMENTS),
                },
            )
        ),
    },
)
DELTA = st.fixed_dictionaries(
    {},
    optional={
        "content": either(st.sampled_from(["x", " ", "", "<think>", "</think>", "<tool_call>", "</tool_call>"])),
        "reasoning_content": either(st.sampled_from(["r", ""])),
        "reasoning_details": either(st.just([{"type": "reasoning.encrypted", "data": "z"}])),
        "refusal": st.none() | JUNK,
        "tool_calls": either(st.lists(either(FRAGMENT), max_size=2)),
        "function_call": st.none() | JUNK,
    },
)
COUNTS = st.none() | st.integers(-5, 50) | st.sampled_from(["3", "x"]) | st.floats() | JUNK
CHUNKS = st.lists(
    st.fixed_dictionaries(
        {},
        optional={
            "choices": either(
                st.lists(
                    either(
                        st.fixed_dictionaries(
                            {},
                            optional={
                                "index": st.just(0) | JUNK,
                                "delta": either(DELTA),
                                "message": st.none() | JUNK,
                                "finish_reason": either(
                                    st.sampled_from([None, None, "stop", "length", "tool_calls", "content_filter"])
                                ),
                                "stop_reason": JUNK,
                            },
                        )
                    ),
                    min_size=1,
                    max_size=2,
                )
            ),
            "usage": st.none()
            | st.dictionaries(
                st.sampled_from(
                    ["prompt_tokens", "completion_tokens", "prompt_tokens_details", "cached_tokens", "cost"]
                ),
                COUNTS,
            )
            | JUNK,
        },
    ),
    max_size=8,
)


@settings(max_examples=300, deadline=None)
@given(
    chunks=CHUNKS,
    changes=st.fixed_dictionaries(
        {},
        optional={
            "shows_thinking": st.booleans(),
            "omits_thinking": st.booleans(),
            "single_tool_call": st.booleans(),
            "buffer_tool_args": st.booleans(),
            "think_tags": st.booleans(),
            "tool_text_parser": st.booleans(),
            "stop_sequences": st.just(["a"]),
            "context_window": st.just(20),
            "content_filter_as": st.sampled_from(["refusal", "end_turn"]),
        },
    ),
    saw_done=st.booleans(),
)
def test_no_chunk_breaks_the_translator_or_the_grammar(
    chunks: list[Any], changes: dict[str, Any], saw_done: bool
) -> None:
    translator = StreamTranslator(options(**changes))
    events: list[Any] = []
    is_complete = False
    try:
        for item in chunks:
            events += translator.feed(item)
        events += translator.finish(saw_done)
        is_complete = True
    except (ErrorInStream, Truncated):
        events += translator.interrupt()
    grammar.check(events, complete=is_complete)
    if is_complete:
        builder = MessageBuilder()
        builder.feed(events)
        for block in builder.build()["content"]:
            assert block["type"] != "tool_use" or isinstance(block["input"], dict)
        if translator.stop_reason == "tool_use":
            # What the SDK cannot parse it answers with an exception.
            replay(encode(events))


@settings(max_examples=200, deadline=None)
@given(
    st.lists(
        st.binary(max_size=12)
        | st.sampled_from(
            [b"data: ", b"{", b"}", b"\n", b"\n\n", b"\r", b"[DONE]", b'{"choices":[]}', b"event: error\n", b":x\n"]
        ),
        max_size=12,
    )
)
def test_no_bytes_break_the_reader(pieces: list[bytes]) -> None:
    reader = ChunkReader()
    try:
        chunks = [item for piece in pieces for item in reader.feed(piece)] + reader.finish()
    except MalformedStream:
        return
    assert all(isinstance(item, dict) for item in chunks)


def test_arguments_reach_the_client_in_every_split() -> None:
    whole = '{"path": "a\\"b\\\\ \\u4e2d\\ud83d\\ude42 中", "n": [1, -2.5e3, {"x": null}]}'
    for size in range(1, len(whole) + 1):
        parts = [whole[at : at + size] for at in range(0, len(whole), size)]
        found = inputs(
            [calls(call(0, "a", "Read", "")), *(calls(call(0, arguments=part)) for part in parts), TOOL_STOP]
        )
        assert found == [json.loads(whole)]
