"""What a native target gets of a request that no Anthropic client wrote."""

from typing import Any

import pytest

from providers.translation.native_request import NO_RESULT, NativeOptions, to_native

SONNET = NativeOptions("claude-sonnet-4-6")
OLD = NativeOptions("claude-3-5-sonnet-20241022")
NEW = NativeOptions("claude-opus-5-5")
OTHER = NativeOptions("kimi-k2")
HI = {"role": "user", "content": [{"type": "text", "text": "hi"}]}
SCHEMA = {"type": "object", "properties": {"a": {"type": "object", "properties": {}}}}
ADAPTIVE = {"thinking": {"type": "adaptive"}, "output_config": {"effort": "high"}}


def native(options: NativeOptions = SONNET, *messages: Any, **fields: Any) -> dict[str, Any]:
    return to_native({"model": "alias", "messages": list(messages) or [HI], **fields}, options)


def use(tool_id: str) -> dict[str, Any]:
    return {"type": "tool_use", "id": tool_id, "name": "f", "input": {}}


def result(tool_id: str, content: str = "r") -> dict[str, Any]:
    return {"type": "tool_result", "tool_use_id": tool_id, "content": content}


@pytest.mark.parametrize(
    ("wanted", "limit", "sent"), [(None, None, 8192), (None, 4096, 4096), (100, None, 100), (9000, 4096, 4096)]
)
def test_max_tokens(wanted: int | None, limit: int | None, sent: int) -> None:
    fields = {} if wanted is None else {"max_tokens": wanted}
    body = native(NativeOptions("claude-sonnet-4-6", max_output_tokens=limit), **fields)
    assert (body["model"], body["max_tokens"]) == ("claude-sonnet-4-6", sent)


THINKING: list[tuple[NativeOptions, dict[str, Any], Any, Any]] = [
    (SONNET, ADAPTIVE, {"type": "adaptive"}, {"effort": "high"}),
    (OLD, ADAPTIVE, {"type": "enabled", "budget_tokens": 4096}, None),
    (OTHER, ADAPTIVE, {"type": "enabled", "budget_tokens": 4096}, None),
    (OLD, {**ADAPTIVE, "max_tokens": 2000}, {"type": "enabled", "budget_tokens": 1999}, None),
    (OLD, {**ADAPTIVE, "max_tokens": 1000}, None, None),
    (SONNET, {"thinking": {"type": "disabled"}}, None, None),
    (NativeOptions("claude-sonnet-4-6", capabilities=frozenset({"tools"})), ADAPTIVE, None, None),
]


@pytest.mark.parametrize(("options", "fields", "thinking", "config"), THINKING)
def test_thinking_is_asked_for_as_the_model_takes_it(
    options: NativeOptions, fields: dict[str, Any], thinking: Any, config: Any
) -> None:
    body = native(options, **fields)
    assert (body.get("thinking"), body.get("output_config")) == (thinking, config)


def test_a_budget_waits_until_a_tool_loop_without_thinking_is_over() -> None:
    turns = (HI, {"role": "assistant", "content": [use("a")]}, {"role": "user", "content": [result("a")]})
    assert "thinking" not in native(OLD, *turns, **ADAPTIVE)
    assert native(SONNET, *turns, **ADAPTIVE)["thinking"] == {"type": "adaptive"}


def test_thinking_forbids_what_does_not_go_with_it() -> None:
    body = native(
        SONNET,
        **ADAPTIVE,
        temperature=0.5,
        top_p=0.5,
        tool_choice={"type": "tool", "name": "f", "disable_parallel_tool_use": True},
    )
    assert body["tool_choice"] == {"type": "auto", "disable_parallel_tool_use": True}
    assert "temperature" not in body
    assert "top_p" not in body


@pytest.mark.parametrize(
    ("options", "sent"), [(SONNET, {"temperature": 1}), (NEW, {}), (NativeOptions("kimi", takes_sampling=False), {})]
)
def test_sampling(options: NativeOptions, sent: dict[str, Any]) -> None:
    body = native(options, temperature=1.7, top_p=0.9)
    assert {name: body[name] for name in ("temperature", "top_p", "top_k") if name in body} == sent


def test_structured_output_is_a_constraint_or_a_request() -> None:
    config = {"output_config": {"format": {"type": "json_schema", "schema": SCHEMA}}}
    closed = native(SONNET, **config)["output_config"]["format"]["schema"]
    assert closed["additionalProperties"] is False
    assert closed["properties"]["a"]["additionalProperties"] is False
    assert "additionalProperties" not in SCHEMA
    asked = native(OTHER, **config, system="Be kind.")
    assert "output_config" not in asked
    assert asked["system"][0]["text"] == "Be kind."
    assert '"type":"object"' in asked["system"][1]["text"]


def test_other_vendors_relays_get_no_fields_that_only_anthropic_knows() -> None:
    tool = {"name": "f", "input_schema": {}, "strict": True}
    assert native(SONNET, tools=[tool], service_tier="auto")["tools"] == [tool]
    body = native(OTHER, tools=[tool], service_tier="auto")
    assert body["tools"] == [{"name": "f", "input_schema": {}}]
    assert "service_tier" not in body


TURNS: list[tuple[list[Any], list[Any]]] = [
    # a system message on the way becomes the user's
    (
        [HI, {"role": "system", "content": "Hurry."}],
        [("user", [("text", "hi"), ("text", "<system-reminder>\nHurry.\n</system-reminder>")])],
    ),
    # the user has the first word
    (
        [{"role": "assistant", "content": "Hello"}, HI],
        [("user", [("text", ".")]), ("assistant", [("text", "Hello")]), ("user", [("text", "hi")])],
    ),
    # a prefill does not end in white space
    (
        [HI, {"role": "assistant", "content": "The answer: "}],
        [("user", [("text", "hi")]), ("assistant", [("text", "The answer:")])],
    ),
    # results come first, in the order of the calls, each once; what is missing is made up
    (
        [
            HI,
            {"role": "assistant", "content": [use("a"), use("b"), use("c")]},
            {"role": "user", "content": [{"type": "text", "text": "and"}, result("b"), result("a")]},
        ],
        [
            ("user", [("text", "hi")]),
            ("assistant", [("tool_use", "a"), ("tool_use", "b"), ("tool_use", "c")]),
            ("user", [("tool_result", "a"), ("tool_result", "b"), ("tool_result", "c"), ("text", "and")]),
        ],
    ),
    # a result without a call is a text
    ([HI, {"role": "user", "content": [result("x")]}], [("user", [("text", "hi"), ("text", "Tool result (x): r")])]),
    # a call at the end gets its result
    (
        [HI, {"role": "assistant", "content": [use("a")]}],
        [("user", [("text", "hi")]), ("assistant", [("tool_use", "a")]), ("user", [("tool_result", "a")])],
    ),
    # thinking that is not Anthropic's stays here
    (
        [HI, {"role": "assistant", "content": [{"type": "thinking", "thinking": "x", "signature": "wg1.abc"}]}, HI],
        [("user", [("text", "hi"), ("text", "hi")])],
    ),
]


@pytest.mark.parametrize(("messages", "expected"), TURNS)
def test_turns(messages: list[Any], expected: list[Any]) -> None:
    def told(block: dict[str, Any]) -> tuple[str, str]:
        return block["type"], block.get("text") or block.get("tool_use_id") or block["id"]

    turns = native(SONNET, *messages)["messages"]
    assert [(turn["role"], [told(block) for block in turn["content"]]) for turn in turns] == expected


def test_a_conversation_under_way_is_marked_for_the_cache() -> None:
    history = (HI, {"role": "assistant", "content": "Hello"}, HI)
    mark = {"type": "ephemeral"}
    marked = native(SONNET, *history)["messages"]
    assert [block.get("cache_control") for turn in marked for block in turn["content"]] == [None, None, mark]
    for options, messages, fields in (
        (OTHER, history, {}),
        (SONNET, (HI,), {}),
        (SONNET, history, {"system": [{"type": "text", "text": "s", "cache_control": mark}]}),
    ):
        assert "cache_control" not in native(options, *messages, **fields)["messages"][-1]["content"][-1]
    assert "cache_control" not in HI["content"][0]


def test_a_made_up_result_says_so() -> None:
    turns = native(SONNET, HI, {"role": "assistant", "content": [use("a")]}, HI)["messages"]
    assert turns[-1]["content"][0]["tool_use_id"] == "a"
    assert turns[-1]["content"][0]["content"] == NO_RESULT


def test_the_request_is_not_changed() -> None:
    body = {"model": "m", "messages": [HI, {"role": "assistant", "content": [use("a")]}], **ADAPTIVE}
    before = repr(body)
    to_native(body, OLD)
    assert repr(body) == before
