"""Chat Completions requests as Messages: row by row, and what is refused."""

import base64
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from providers.translation.native_request import NativeOptions, to_native
from providers.translation.openai_clients.chat_request import from_chat
from providers.translation.validation import InvalidRequest, validate
from tests.translation.strict_anthropic import check

PNG = base64.b64encode(b"\x89PNG\r\n\x1a\n" + bytes(16)).decode()
PDF = base64.b64encode(b"%PDF-1.4 ").decode()
USER = {"role": "user", "content": "hi"}
ASKED = {"role": "user", "content": [{"type": "text", "text": "hi"}]}
EMPTY_SCHEMA = {"type": "object", "properties": {}}
SHOWN_THINKING = {"type": "adaptive", "display": "summarized"}


def messages_of(*messages: Any) -> list[dict[str, Any]]:
    body = from_chat({"model": "m", "messages": list(messages)}).body
    return list(body["messages"])


def body_of(**fields: Any) -> dict[str, Any]:
    """Return the translated request without model and messages."""
    body = from_chat({"model": "m", "messages": [USER], **fields}).body
    del body["model"], body["messages"]
    return body


def call(name: str = "f", arguments: Any = "{}", call_id: str = "call_1") -> dict[str, Any]:
    return {"id": call_id, "type": "function", "function": {"name": name, "arguments": arguments}}


def test_leading_instructions_are_the_system_prompt_and_later_ones_stay_in_place() -> None:
    body = from_chat(
        {
            "model": "m",
            "messages": [
                {"role": "system", "content": "one"},
                {"role": "developer", "content": [{"type": "text", "text": "two"}]},
                USER,
                {"role": "system", "content": "three"},
            ],
        }
    ).body
    assert [block["text"] for block in body["system"]] == ["one", "two"]
    assert body["messages"] == [ASKED, {"role": "system", "content": [{"type": "text", "text": "three"}]}]


PARTS: list[tuple[Any, Any]] = [
    ({"type": "text", "text": "a"}, {"type": "text", "text": "a"}),
    (
        {"type": "image_url", "image_url": {"url": f"data:image/jpeg;base64,{PNG}", "detail": "low"}},
        {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": PNG}},
    ),
    (
        {"type": "image_url", "image_url": {"url": "https://example.com/a.png"}},
        {"type": "image", "source": {"type": "url", "url": "https://example.com/a.png"}},
    ),
    (
        {"type": "file", "file": {"filename": "a.pdf", "file_data": f"data:application/pdf;base64,{PDF}"}},
        {
            "type": "document",
            "source": {"type": "base64", "media_type": "application/pdf", "data": PDF},
            "title": "a.pdf",
        },
    ),
    (
        {"type": "file", "file": {"file_data": f"data:text/plain;base64,{base64.b64encode(b'tea').decode()}"}},
        {"type": "document", "source": {"type": "text", "media_type": "text/plain", "data": "tea"}},
    ),
    (
        {"type": "text", "text": "a", "prompt_cache_breakpoint": {"mode": "explicit", "ttl": "12h"}},
        {"type": "text", "text": "a", "cache_control": {"type": "ephemeral", "ttl": "1h"}},
    ),
]


@pytest.mark.parametrize(("part", "block"), PARTS)
def test_content_parts_are_blocks(part: Any, block: Any) -> None:
    assert messages_of({"role": "user", "content": [part]}) == [{"role": "user", "content": [block]}]


def test_an_assistants_words_come_before_its_calls() -> None:
    message = {"role": "assistant", "content": "Look.", "tool_calls": [call(arguments='{"n": 12345678901234567890}')]}
    assert messages_of(USER, message)[1]["content"] == [
        {"type": "text", "text": "Look."},
        {"type": "tool_use", "id": "call_1", "name": "f", "input": {"n": 12345678901234567890}},
    ]


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ("", {}),
        (None, {}),
        ({"a": 1}, {"a": 1}),
        ('{"a": ', {"__raw_arguments": '{"a": '}),
        ("[1]", {"__raw_arguments": "[1]"}),
    ],
)
def test_arguments_become_an_object(arguments: Any, expected: dict[str, Any]) -> None:
    (block,) = messages_of(USER, {"role": "assistant", "content": None, "tool_calls": [call(arguments=arguments)]})[1][
        "content"
    ]
    assert block["input"] == expected


def test_tool_results_and_what_the_user_adds_are_one_turn() -> None:
    calls = {"role": "assistant", "tool_calls": [call(), call(call_id="functions.f:1")]}
    results = [
        {"role": "tool", "tool_call_id": "call_1", "content": "one"},
        {"role": "tool", "tool_call_id": "functions.f:1", "content": [{"type": "text", "text": "two"}]},
    ]
    asked, answered = messages_of(USER, calls, *results, USER)[1:]
    kinds = [block["type"] for block in answered["content"]]
    assert kinds == ["tool_result", "tool_result", "text"]
    # The same function on both sides, in the characters that the Messages API takes.
    assert [block["id"] for block in asked["content"]] == [block["tool_use_id"] for block in answered["content"][:2]]
    assert asked["content"][1]["id"].replace("_", "").isalnum()
    assert answered["content"][0]["content"] == "one"


def test_legacy_functions_pair_by_position() -> None:
    function_call = {"role": "assistant", "content": None, "function_call": {"name": "f", "arguments": "{}"}}
    result = {"role": "function", "name": "f", "content": "one"}
    turns = messages_of(USER, function_call, result, function_call, result)
    asked = [turn["content"][0]["id"] for turn in turns if turn["role"] == "assistant"]
    answered = [turn["content"][0]["tool_use_id"] for turn in turns[1:] if turn["role"] == "user"]
    assert asked == answered
    assert len(set(asked)) == 2


def test_reasoning_is_replayed_only_with_its_signature() -> None:
    signed = {"type": "reasoning.text", "text": "hm", "signature": "EqQB"}
    message = {"role": "assistant", "content": "a", "reasoning_content": "hm", "reasoning_details": [signed]}
    assert messages_of(USER, message)[1]["content"][0] == {"type": "thinking", "thinking": "hm", "signature": "EqQB"}
    message["reasoning_details"] = [{"type": "reasoning.text", "text": "hm"}]
    assert [block["type"] for block in messages_of(USER, message)[1]["content"]] == ["text"]


TOOL = {"type": "function", "function": {"name": "f", "description": "d", "parameters": {"type": "object"}}}
TRANSLATED_TOOL = {"name": "f", "description": "d", "input_schema": {"type": "object"}}
BARE = {"name": "f", "input_schema": EMPTY_SCHEMA}
CUSTOM_SCHEMA = {
    "type": "object",
    "properties": {"input": {"type": "string"}},
    "required": ["input"],
    "additionalProperties": False,
}
FIELDS: list[tuple[dict[str, Any], dict[str, Any]]] = [
    ({}, {}),
    ({"max_tokens": 5}, {"max_tokens": 5}),
    ({"max_tokens": 5, "max_completion_tokens": 6}, {"max_tokens": 6}),
    ({"stop": "a"}, {"stop_sequences": ["a"]}),
    ({"stop": ["a", " ", "b"]}, {"stop_sequences": ["a", "b"]}),
    ({"temperature": 1.5, "top_p": 0.5}, {"temperature": 1.5, "top_p": 0.5}),
    ({"stream": True, "stream_options": {"include_usage": True}}, {"stream": True}),
    ({"n": 1, "seed": 1, "logprobs": True, "store": True, "verbosity": "low"}, {}),
    ({"tools": [TOOL]}, {"tools": [TRANSLATED_TOOL]}),
    ({"tools": []}, {}),
    (
        {"functions": [{"name": "f"}], "function_call": {"name": "f"}},
        {"tools": [BARE], "tool_choice": {"type": "tool", "name": "f"}},
    ),
    (
        {"tools": [{"type": "custom", "custom": {"name": "c"}}]},
        {"tools": [{"name": "c", "input_schema": CUSTOM_SCHEMA}]},
    ),
    ({"tools": [TOOL], "tool_choice": "auto"}, {"tools": [TRANSLATED_TOOL], "tool_choice": {"type": "auto"}}),
    ({"tools": [TOOL], "tool_choice": "none"}, {"tools": [TRANSLATED_TOOL], "tool_choice": {"type": "none"}}),
    ({"tools": [TOOL], "tool_choice": "required"}, {"tools": [TRANSLATED_TOOL], "tool_choice": {"type": "any"}}),
    (
        {"tools": [TOOL], "tool_choice": {"type": "function", "function": {"name": "f"}}},
        {"tools": [TRANSLATED_TOOL], "tool_choice": {"type": "tool", "name": "f"}},
    ),
    (
        {
            "tools": [TOOL, {"type": "function", "function": {"name": "g"}}],
            "tool_choice": {
                "type": "allowed_tools",
                "allowed_tools": {"mode": "required", "tools": [{"type": "function", "function": {"name": "f"}}]},
            },
        },
        {"tools": [TRANSLATED_TOOL], "tool_choice": {"type": "any"}},
    ),
    (
        {"tools": [TOOL], "parallel_tool_calls": False},
        {"tools": [TRANSLATED_TOOL], "tool_choice": {"type": "auto", "disable_parallel_tool_use": True}},
    ),
    (
        {"response_format": {"type": "json_schema", "json_schema": {"name": "n", "schema": {"type": "object"}}}},
        {"output_config": {"format": {"type": "json_schema", "schema": {"type": "object"}}}},
    ),
    (
        {"response_format": {"type": "json_object"}},
        {"system": [{"type": "text", "text": "Answer with one JSON object and nothing else."}]},
    ),
    ({"response_format": {"type": "text"}}, {}),
    ({"reasoning_effort": "none"}, {"thinking": {"type": "disabled"}}),
    ({"reasoning_effort": "minimal"}, {"thinking": SHOWN_THINKING, "output_config": {"effort": "low"}}),
    ({"reasoning_effort": "xhigh"}, {"thinking": SHOWN_THINKING, "output_config": {"effort": "xhigh"}}),
    ({"user": "u"}, {"metadata": {"user_id": "u"}}),
    ({"user": "u", "safety_identifier": "s"}, {"metadata": {"user_id": "s"}}),
    ({"service_tier": "auto"}, {"service_tier": "auto"}),
    ({"service_tier": "flex"}, {"service_tier": "standard_only"}),
]


@pytest.mark.parametrize(("fields", "expected"), FIELDS)
def test_each_field_has_its_place(fields: dict[str, Any], expected: dict[str, Any]) -> None:
    assert body_of(**fields) == expected


def test_what_has_no_place_is_named() -> None:
    form = from_chat({"model": "m", "messages": [USER], "seed": 1, "logit_bias": {}, "temperature": 1})
    assert form.dropped_fields == ["seed", "logit_bias"]


def test_calls_without_definitions_get_them_from_the_history() -> None:
    document = {
        "model": "m",
        "messages": [
            USER,
            {"role": "assistant", "tool_calls": [call()]},
            {"role": "tool", "tool_call_id": "call_1", "content": ""},
        ],
    }
    body = from_chat(document).body
    assert (body["tools"], body["tool_choice"]) == ([BARE], {"type": "none"})


def test_only_the_last_four_cache_marks_are_kept() -> None:
    part = {"type": "text", "text": "a", "cache_control": {"type": "ephemeral"}}
    (turn,) = messages_of(*[{"role": "user", "content": [part]}] * 6)
    assert ["cache_control" in block for block in turn["content"]] == [False, False, True, True, True, True]


ONLY_RELAYED: list[tuple[dict[str, Any], str]] = [
    ({"n": 2}, "n: "),
    ({"reasoning_effort": "huge"}, "reasoning_effort: "),
    ({"response_format": {"type": "grammar"}}, "response_format.type: "),
    ({"tools": [{"type": "builtin_function"}]}, "tools[0].type: "),
    ({"tool_choice": {"type": "web"}}, "tool_choice: "),
    ({"messages": [{"role": "user", "content": [{"type": "input_audio"}]}]}, "messages[0].content[0]: "),
    (
        {"messages": [{"role": "user", "content": [{"type": "file", "file": {"file_id": "f"}}]}]},
        "messages[0].content[0].file: ",
    ),
    ({"messages": [{"role": "user", "content": [{"type": "video_url"}]}]}, "messages[0].content[0].type: "),
]


@pytest.mark.parametrize(("fields", "path"), ONLY_RELAYED)
def test_what_only_a_relay_can_do_is_no_error_yet(fields: dict[str, Any], path: str) -> None:
    form = from_chat({"model": "m", "messages": [USER], **fields})
    assert form.only_relayed.startswith(path)
    validate(form.body, require_max_tokens=False)


REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"model": None}, "model: "),
    ({"messages": None}, "messages: "),
    ({"messages": []}, "messages: "),
    ({"messages": ["a"]}, "messages[0]: "),
    ({"messages": [{"role": "robot", "content": "a"}]}, "messages[0].role: "),
    ({"messages": [{"role": "user"}]}, "messages[0].content: "),
    ({"messages": [{"role": "user", "content": 1}]}, "messages[0].content: "),
    ({"messages": [{"role": "user", "content": [{}]}]}, "messages[0].content[0].type: "),
    ({"messages": [{"role": "user", "content": [{"type": "text"}]}]}, "messages[0].content[0].text: "),
    ({"messages": [{"role": "tool", "content": "a"}]}, "messages[0].tool_call_id: "),
    ({"messages": [{"role": "assistant", "tool_calls": [{"function": {"name": "f"}}]}]}, "messages[0].tool_calls[0].id: "),
    ({"messages": [{"role": "assistant", "tool_calls": [{"id": "a"}]}]}, "messages[0].tool_calls[0].function: "),
    ({"max_tokens": 0}, "max_tokens: "),
    ({"max_completion_tokens": "9"}, "max_completion_tokens: "),
    ({"n": 0}, "n: "),
    ({"stop": 1}, "stop: "),
    ({"stream": 1}, "stream: "),
    ({"temperature": "hot"}, "temperature: "),
    ({"temperature": 3}, "temperature: "),
    ({"top_p": 1.5}, "top_p: "),
    ({"tools": [{"type": 1}]}, "tools[0].type: "),
    ({"tools": {}}, "tools: "),
    ({"tools": [{"type": "function"}]}, "tools[0].function: "),
    ({"tools": [TOOL], "tool_choice": {"type": "function", "function": {"name": "g"}}}, "tool_choice: "),
    ({"response_format": {"type": "json_schema", "json_schema": {"schema": 1}}}, "response_format.json_schema.schema: "),
]  # fmt: skip


@pytest.mark.parametrize(("fields", "path"), REFUSED)
def test_a_fault_is_named_by_its_path(fields: dict[str, Any], path: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        from_chat({"model": "m", "messages": [USER], **fields})
    assert caught.value.message.startswith(path)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
PART_NAMES = ["text", "image_url", "file", "refusal", "cache_control", "prompt_cache_breakpoint"]
PART = st.fixed_dictionaries(
    {"type": st.sampled_from(["text", "image_url", "file", "refusal", "input_audio", "zz"])},
    optional=dict.fromkeys(PART_NAMES, JSON),
)
MESSAGE = st.fixed_dictionaries(
    {"role": st.sampled_from(["system", "developer", "user", "assistant", "tool", "function"])},
    optional={
        "content": st.text() | st.lists(PART, max_size=3) | JSON,
        "tool_call_id": JSON | st.sampled_from(["call_1", "call_2"]),
        "tool_calls": JSON | st.lists(st.sampled_from([call(), call(call_id="call_2")]), max_size=3),
        "function_call": JSON | st.just({"name": "f", "arguments": "{}"}),
        "reasoning_details": JSON,
        "refusal": JSON,
    },
)
FIELD_NAMES = [
    *("tools", "functions", "tool_choice", "function_call", "response_format", "stop", "user", "service_tier", "n"),
    *("temperature", "max_tokens", "reasoning_effort", "stream", "parallel_tool_calls"),
]
DOCUMENT = st.fixed_dictionaries(
    {"model": st.just("m"), "messages": st.lists(MESSAGE, min_size=1, max_size=6)},
    optional=dict.fromkeys(FIELD_NAMES, JSON),
)


@given(document=JSON | DOCUMENT | DOCUMENT)
@settings(max_examples=200, deadline=None, database=None, suppress_health_check=[HealthCheck.too_slow])
def test_any_document_is_translated_or_refused(document: Any) -> None:
    try:
        form = from_chat(document)
    except InvalidRequest:
        return
    validate(form.body, require_max_tokens=False)
    to_native(form.body, NativeOptions("claude-sonnet-4-6"))


WORDS = st.sampled_from(["", " ", "a", "b\n"])
TEXT = WORDS | st.lists(st.builds(lambda text: {"type": "text", "text": text}, WORDS), max_size=2)
CALLS = st.lists(st.builds(lambda call_id: call(call_id=call_id), st.sampled_from(["a", "b", "c:1"])), max_size=3)
TURN = st.one_of(
    st.fixed_dictionaries({"role": st.sampled_from(["user", "user", "system", "assistant"]), "content": TEXT}),
    st.fixed_dictionaries({"role": st.just("assistant"), "content": st.none() | TEXT, "tool_calls": CALLS}),
    st.fixed_dictionaries({"role": st.just("assistant"), "function_call": st.just({"name": "f", "arguments": "{}"})}),
    st.fixed_dictionaries(
        {"role": st.just("tool"), "tool_call_id": st.sampled_from(["a", "b", "c:1"]), "content": TEXT}
    ),
    st.fixed_dictionaries({"role": st.just("function"), "name": st.just("f"), "content": TEXT}),
)


@given(
    turns=st.lists(TURN, min_size=1, max_size=8), model=st.sampled_from(["claude-sonnet-4-6", "claude-3-opus", "kimi"])
)
@settings(max_examples=300, deadline=None, database=None)
def test_any_conversation_is_one_that_the_messages_api_takes(turns: list[dict[str, Any]], model: str) -> None:
    form = from_chat({"model": "m", "messages": turns, "reasoning_effort": "low"})
    check(to_native(form.body, NativeOptions(model)))
