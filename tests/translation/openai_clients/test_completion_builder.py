"""A stream put together: what each part of a chunk becomes, judged by the official SDK's types and its accumulator."""

from typing import Any

import pytest
from openai.lib.streaming.chat import ChatCompletionStreamState
from openai.types.chat import ChatCompletion, ChatCompletionChunk

from providers.translation.openai_clients.completion_builder import CompletionBuilder, tool_names
from tests.fakes.transport import chunk

USAGE = {"prompt_tokens": 12, "completion_tokens": 3, "total_tokens": 15}
KNOWN = frozenset({"Read", "Write"})


def built(*chunks: dict[str, Any], is_checked: bool = True) -> dict[str, Any]:
    """Return the completion, valid by the SDK's types unless it must not be checked."""
    builder = CompletionBuilder(KNOWN)
    for item in chunks:
        builder.feed(item)
    completion = builder.build(fallback_id="chatcmpl-own", model="m", created=7)
    if is_checked:
        ChatCompletion.model_validate(completion)
    return completion


def message(*deltas: dict[str, Any], finish: str = "stop", is_checked: bool = True) -> dict[str, Any]:
    """Return the message that the deltas of one choice become."""
    completion = built(*[chunk(delta) for delta in deltas], chunk(finish=finish), is_checked=is_checked)
    found: dict[str, Any] = completion["choices"][0]["message"]
    return found


def call(arguments: Any = None, name: str | None = None, **members: Any) -> dict[str, Any]:
    """Return a delta with one fragment of a tool call; "" and None are left out where they stand for nothing."""
    function = {key: value for key, value in (("name", name), ("arguments", arguments)) if value is not None}
    return {"tool_calls": [{**members, "function": function}]}


def calls(*deltas: dict[str, Any], **options: Any) -> list[tuple[str, str, str]]:
    """Return (id, name, arguments) of each call."""
    found = message(*deltas, finish=options.pop("finish", "tool_calls")).get("tool_calls", [])
    return [(item["id"], item["function"]["name"], item["function"]["arguments"]) for item in found]


def test_the_sdks_accumulator_makes_the_same_of_a_stream() -> None:
    entry = {"token": "Hel", "logprob": -0.1, "bytes": None, "top_logprobs": []}
    base = {"id": "c1", "object": "chat.completion.chunk", "created": 5, "model": "big", "system_fingerprint": "fp"}

    def of(index: int, delta: dict[str, Any], finish: str | None = None, logprobs: Any = None) -> dict[str, Any]:
        choice = {"index": index, "delta": delta, "finish_reason": finish, "logprobs": logprobs}
        return {**base, "choices": [choice], "usage": None}

    chunks = [
        of(0, {"role": "assistant", "content": ""}),
        of(0, {"content": "Hel"}, logprobs={"content": [entry], "refusal": None}),
        of(1, {"role": "assistant", "content": None}),
        of(1, call('{"a":', "Read", index=0, id="a", type="function")),
        of(1, call("", "Write", index=1, id="b", type="function")),
        of(0, {"content": "lo"}, logprobs={"content": [{**entry, "token": "lo"}], "refusal": None}),
        of(1, call("1}", index=0)),
        of(1, call('{"b":2}', index=1)),
        of(0, {}, "stop"),
        of(1, {}, "tool_calls"),
        {**base, "choices": [], "usage": USAGE},
    ]
    state = ChatCompletionStreamState()
    for item in chunks:
        state.handle_chunk(ChatCompletionChunk.model_validate(item))
    expected = state.get_final_completion().model_dump(exclude_none=True)
    for choice in expected["choices"]:
        for item in choice["message"].get("tool_calls", []):
            # The accumulator's own additions.
            item.pop("index", None)
            item["function"].pop("parsed_arguments", None)
    assert ChatCompletion.model_validate(built(*chunks)).model_dump(exclude_none=True) == expected


def test_texts_are_joined_and_the_envelope_is_that_of_the_first_chunk() -> None:
    completion = built(
        chunk({"role": "assistant", "content": ""}, created=5, model="big", provider="P"),
        chunk({"reasoning_content": "thi"}, created=6, model="other", service_tier="default", obfuscation="xx"),
        chunk({"reasoning_content": "nk", "content": None}),
        chunk({"content": "Hel"}),
        chunk({"content": "lo", "reasoning_content": ""}, finish="length"),
        {"id": "c2", "object": "chat.completion.chunk", "choices": [], "usage": USAGE, "citations": ["https://a"]},
    )
    assert completion == {
        "id": "c1",
        "object": "chat.completion",
        "created": 5,
        "model": "big",
        "provider": "P",
        "service_tier": "default",
        "citations": ["https://a"],
        "choices": [
            {
                "index": 0,
                "message": {"role": "assistant", "content": "Hello", "refusal": None, "reasoning_content": "think"},
                "logprobs": None,
                "finish_reason": "length",
            }
        ],
        "usage": USAGE,
    }


def test_what_the_upstream_does_not_say_is_filled_in() -> None:
    completion = built({"choices": [{"delta": {"content": "Hi"}}]})
    assert (completion["id"], completion["model"], completion["created"]) == ("chatcmpl-own", "m", 7)
    assert completion["choices"][0]["finish_reason"] == "stop"
    assert "usage" not in completion


@pytest.mark.parametrize(
    ("deltas", "expected"),
    [
        # index only; index and id; the id on every fragment, or an empty one (DashScope)
        ([call("", "Read", index=0, id="a"), call('{"p"', index=0), call(":1}", index=0)], [("a", "Read", '{"p":1}')]),
        ([call("", "Read", index=0, id="a"), call("{}", index=0, id="")], [("a", "Read", "{}")]),
        ([call('{"p"', "Read", index=0, id="a"), call(":1}", index=0, id="a")], [("a", "Read", '{"p":1}')]),
        # one index for all calls (Ollama, Gemini)
        (
            [call('{"f":1}', "Write", index=0, id="a"), call('{"f":2}', "Write", index=0, id="b")],
            [("a", "Write", '{"f":1}'), ("b", "Write", '{"f":2}')],
        ),
        # no index; neither index nor id
        (
            [call('{"f":', "Write", id="a"), call("1}"), call("{}", "Read", id="b")],
            [("a", "Write", '{"f":1}'), ("b", "Read", "{}")],
        ),
        (
            [call('{"f":1}', "Write"), call('{"f":2}', "Read")],
            [("call_c1_0_0", "Write", '{"f":1}'), ("call_c1_0_1", "Read", '{"f":2}')],
        ),
        # fragments of two calls in turn
        (
            [
                call('{"x', "Read", index=0, id="a"), call('{"y', "Write", index=1, id="b"),
                call('":1}', index=0), call('":2}', index=1),
            ],
            [("a", "Read", '{"x":1}'), ("b", "Write", '{"y":2}')],
        ),
        # a name in two pieces, a name on every fragment, an object, none at all, a placeholder
        ([call(None, "Re", index=0, id="a"), call("{}", "ad", index=0, id="a")], [("a", "Read", "{}")]),
        ([call('{"a"', "Read", index=0, id="a"), call(":1}", "Read", index=0)], [("a", "Read", '{"a":1}')]),
        ([call({"a": "é"}, "Read", index=0, id="a")], [("a", "Read", '{"a": "é"}')]),
        ([call(None, "Read", index=0, id="a")], [("a", "Read", "{}")]),
        ([call("{}", "Read", index=0, id="a"), call('{"a":1}', index=0)], [("a", "Read", '{"a":1}')]),
        ([{"tool_calls": []}, {"tool_calls": None}, {"content": "x"}], []),
    ],
)  # fmt: skip
def test_fragments_of_tool_calls_find_their_call(
    deltas: list[dict[str, Any]], expected: list[tuple[str, str, str]]
) -> None:
    assert calls(*deltas) == expected


def test_arguments_are_neither_repaired_nor_invented() -> None:
    assert calls(call('{"a": 1,', "Read", index=0, id="a")) == [("a", "Read", '{"a": 1,')]
    assert calls(call("", "Read", index=0, id="a"), finish="length") == [("a", "Read", "")]


def test_a_call_keeps_its_vendors_members() -> None:
    signature = {"google": {"thought_signature": "s=="}}
    found = message(
        call("{}", "Read", index=0, id="a", type="function", extra_content=signature),
        call(None, index=0),
        finish="tool_calls",
    )
    assert found["tool_calls"] == [
        {"id": "a", "type": "function", "function": {"name": "Read", "arguments": "{}"}, "extra_content": signature}
    ]
    assert found["content"] is None


def test_the_call_of_a_custom_tool_is_text() -> None:
    found = message(
        {"tool_calls": [{"index": 0, "id": "a", "type": "custom", "custom": {"name": "sh", "input": "l"}}]},
        {"tool_calls": [{"index": 0, "custom": {"input": "s"}}]},
        finish="tool_calls",
    )
    assert found["tool_calls"] == [{"type": "custom", "id": "a", "custom": {"name": "sh", "input": "ls"}}]


def test_a_function_call_is_put_together() -> None:
    found = message(
        {"function_call": {"name": "Read", "arguments": ""}}, {"function_call": {"arguments": '{"a":1}'}},
        finish="function_call",
    )  # fmt: skip
    assert found["function_call"] == {"name": "Read", "arguments": '{"a":1}'}


def test_annotations_audio_refusal_and_reasoning_details_are_kept() -> None:
    citation = {
        "type": "url_citation",
        "url_citation": {"url": "https://a", "title": "A", "start_index": 0, "end_index": 1},
    }
    found = message(
        {"annotations": [citation], "audio": {"id": "au", "transcript": "H", "data": "QQ", "expires_at": 1}},
        {"annotations": [citation], "audio": {"id": "au", "transcript": "i", "data": "==", "expires_at": 9}},
        {"refusal": "I ca"},
        {"refusal": "n't"},
        {"reasoning_details": [{"type": "reasoning.text", "text": "a", "index": 0}]},
        {"reasoning_details": [{"type": "reasoning.text", "text": "b", "signature": "s", "index": 0}]},
    )
    assert found["annotations"] == [citation, citation]
    assert found["audio"] == {"id": "au", "transcript": "Hi", "data": "QQ==", "expires_at": 9}
    assert found["refusal"] == "I can't"
    assert found["reasoning_details"] == [{"type": "reasoning.text", "text": "ab", "signature": "s", "index": 0}]


def test_content_in_parts_stays_in_parts() -> None:
    found = message(
        {"content": [{"type": "thinking", "thinking": [{"type": "text", "text": "th"}]}]},
        {"content": [{"type": "thinking", "thinking": [{"type": "text", "text": "ink"}]}]},
        {"content": "Hel"},
        {"content": "lo"},
        is_checked=False,  # Mistral's, which OpenAI's types do not know
    )
    assert found["content"] == [
        {"type": "thinking", "thinking": [{"type": "text", "text": "think"}]},
        {"type": "text", "text": "Hello"},
    ]


@pytest.mark.parametrize(
    ("chunks", "expected"),
    [
        # vLLM and DeepSeek count on; zeros behind the count; Moonshot's and Groq's places
        ([{"choices": [], "usage": {"prompt_tokens": 1}}, {"choices": [], "usage": USAGE}], USAGE),
        ([{"choices": [], "usage": USAGE}, {"choices": [], "usage": dict.fromkeys(USAGE, 0)}], USAGE),
        ([{"choices": [{"index": 0, "delta": {}, "finish_reason": "stop", "usage": USAGE}]}], USAGE),
        ([{"choices": [], "x_groq": {"usage": USAGE}}], USAGE),
    ],
)
def test_the_usage_is_the_last_one_that_counts(chunks: list[dict[str, Any]], expected: dict[str, int]) -> None:
    assert built(chunk({"content": "x"}), *chunks, is_checked=False)["usage"] == expected


def test_a_limit_outweighs_the_plain_end_around_it() -> None:
    finishes = [chunk(finish="stop"), chunk(finish="length"), chunk(finish="stop")]
    assert built(chunk({"content": "x"}), *finishes)["choices"][0]["finish_reason"] == "length"


def test_message_stands_for_delta_but_is_not_taken_twice() -> None:
    whole = {"choices": [{"index": 0, "message": {"content": "Hello"}, "finish_reason": "stop"}]}
    assert built(whole)["choices"][0]["message"]["content"] == "Hello"
    assert built(chunk({"content": "Hello"}), whole)["choices"][0]["message"]["content"] == "Hello"


def test_members_of_a_choice_are_kept() -> None:
    first = {"index": 0, "delta": {"content": "x"}, "token_ids": [1, 2], "stop_reason": None}
    last = {"index": 0, "delta": {}, "token_ids": [3], "stop_reason": "END", "finish_reason": "stop"}
    (choice,) = built({"choices": [first]}, {"choices": [last]})["choices"]
    assert (choice["token_ids"], choice["stop_reason"]) == ([1, 2, 3], "END")


@pytest.mark.parametrize(
    "junk",
    [
        {"choices": "x"}, {"choices": [1, None]}, {"choices": [{"delta": 3}]}, {"usage": 7}, {"x_groq": 1},
        {"choices": [{"index": "9" * 40, "delta": {"content": 1, "tool_calls": [3, {"function": None}]}}]},
        {"choices": [{"index": 0, "delta": {"reasoning_details": 5, "function_call": 1, "audio": None}}]},
    ],
)  # fmt: skip
def test_junk_does_not_break_an_answer(junk: dict[str, Any]) -> None:
    completion = built(chunk({"content": "Hel"}), junk, chunk({"content": "lo"}, finish="stop"), is_checked=False)
    assert completion["choices"][0]["message"]["content"] == "Hello"


def test_the_chunks_are_not_changed() -> None:
    delta = {"annotations": [{"a": 1}], "audio": {"data": "x"}, "content": [{"type": "text", "text": "a"}]}
    first = chunk(delta)
    built(first, chunk({"annotations": [{"b": 1}], "audio": {"data": "y"}, "content": "b"}), is_checked=False)
    assert first == chunk(
        {"annotations": [{"a": 1}], "audio": {"data": "x"}, "content": [{"type": "text", "text": "a"}]}
    )


def test_tool_names_of_a_request() -> None:
    request = {"tools": [{"type": "function", "function": {"name": "Read"}}, 3], "functions": [{"name": "Old"}, {}]}
    assert tool_names(request) == {"Read", "Old"}
    assert tool_names({"tools": "x"}) == frozenset()
