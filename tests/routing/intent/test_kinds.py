"""What a request is for, told by its structure."""

import copy
from typing import Any

import pytest

from providers.translation.openai_clients.chat_request import from_chat
from routing.intent.kinds import is_claude_code, kind_of
from routing.models import RequestKind
from tests.fakes.recorded import calls_of, earlier_turns, recorded, results_of

EXPECTED = {
    "side_classifier_stage1": "permission",
    "side_classifier_stage2": "permission",
    "side_compact_manual": "compaction",
    "side_compaction": "compaction",
    "side_model_switch_probe": "probe",
    "side_title": "title",
    "side_title_small_model": "title",
    "side_websearch_inner": "web_search",
    "subagent_explore": "subagent",
    "subagent_general": "subagent",
}
IN_A_LOOP = {
    *("main_badjson_history", "main_headless_tool_result", "main_image_tool_result", "main_interactive_tool_result"),
    *("main_long_loop", "main_parallel_tool_results", "main_pdf_tool_result", "main_redacted_history"),
    *("main_thinking_history", "main_thinking_nosig_history", "main_toolsearch_called", "main_toolsearch_result"),
    *("main_unknown_model_thinking_history", "main_websearch_result"),
}
REQUESTS = {name: item for name, item in recorded().items() if isinstance(item.body, dict)}


def headers_of(name: str) -> dict[str, str]:
    return {header.lower(): value for header, value in recorded()[name].headers}


def body_of(name: str, **changes: Any) -> dict[str, Any]:
    """Return a copy of a recorded body; None removes a field."""
    body = copy.deepcopy(recorded()[name].body) | changes
    return {field: value for field, value in body.items() if value is not None}


def ask(text: str = "Hi", **fields: Any) -> dict[str, Any]:
    return {"model": "m", "max_tokens": 1000, "messages": [{"role": "user", "content": text}], **fields}


def test_the_recordings_are_all_there() -> None:
    assert len(recorded()) == 44
    assert set(EXPECTED) | IN_A_LOOP < set(REQUESTS)


@pytest.mark.parametrize("name", sorted(REQUESTS))
def test_recorded_requests(name: str) -> None:
    expected = "tool_result" if name in IN_A_LOOP else EXPECTED.get(name, "main")
    assert kind_of(REQUESTS[name].body, headers_of(name)) == expected
    # A replayed request has no headers: the body must do.
    assert kind_of(REQUESTS[name].body, {}) == expected


@pytest.mark.parametrize("name", sorted(REQUESTS))
def test_recorded_requests_without_the_billing_line(name: str) -> None:
    # CLAUDE_CODE_ATTRIBUTION_HEADER=0 removes it.
    body = body_of(name)
    if isinstance(body.get("system"), list):
        body["system"] = body["system"][1:]
    expected = "tool_result" if name in IN_A_LOOP else EXPECTED.get(name, "main")
    assert kind_of(body, headers_of(name)) == expected


def test_every_turn_on_the_way_is_a_request_of_the_user_or_brings_results() -> None:
    for name, item in REQUESTS.items():
        if name.startswith("main_"):
            for turn in earlier_turns(item.body):
                last = [message for message in turn["messages"] if message["role"] == "user"][-1]
                brings = any(block["type"] == "tool_result" for block in last["content"] if isinstance(block, dict))
                assert kind_of(turn, headers_of(name)) == ("tool_result" if brings else "main")


def continued(name: str) -> dict[str, Any]:
    """Return a recorded request with the results of a tool that its answer called."""
    body = body_of(name)
    call = {"type": "tool_use", "id": "t1", "name": "Bash", "input": {}}
    result = {"type": "tool_result", "tool_use_id": "t1", "content": "ok", "cache_control": {"type": "ephemeral"}}
    body["messages"] += [{"role": "assistant", "content": [call]}, {"role": "user", "content": [result]}]
    assert calls_of(body)
    assert results_of(body)
    return body


@pytest.mark.parametrize("name", ["subagent_explore", "subagent_general"])
def test_a_subagent_s_tool_results_are_a_subagent_s(name: str) -> None:
    body = continued(name)
    headers = headers_of(name)
    assert kind_of(body, headers) == "subagent"
    assert kind_of(body, {"x-claude-code-agent-id": headers["x-claude-code-agent-id"]}) == "subagent"
    body["system"][0]["text"] = body["system"][0]["text"].replace(" cc_is_subagent=true;", "")
    assert kind_of(body, {}) == "tool_result"


def test_who_writes_of_subagents_is_none() -> None:
    assert kind_of(ask("x-anthropic-billing-header: cc_is_subagent=true;"), {}) == "main"
    assert kind_of(ask(system="Explain cc_is_subagent=true"), {}) == "main"
    assert kind_of(ask(system="x-anthropic-billing-header: cc_entrypoint=cli;\ncc_is_subagent=true"), {}) == "main"


def test_a_search_by_a_subagent_is_a_search() -> None:
    assert kind_of(body_of("side_websearch_inner"), {"x-claude-code-agent-id": "a1"}) == "web_search"


SCHEMA = {"type": "object", "properties": {"title": {"type": "string"}}}


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (ask(output_config={"format": {"type": "json_schema", "schema": SCHEMA}}), "title"),
        (
            ask(
                output_config={
                    "format": {"schema": {"properties": {"title": {"type": "string"}, "branch": {"type": "string"}}}}
                }
            ),
            "title",
        ),
        (ask(output_config={"format": {"schema": {"properties": {"title": {}, "body": {}}}}}), "main"),
        (ask(output_config={"format": {"schema": {"properties": {"name": {}}}}}), "main"),
        (ask(output_config={"format": {"schema": SCHEMA}}, tools=[{"name": "t", "input_schema": {}}]), "main"),
        (
            ask(output_config={"format": {"schema": SCHEMA}})
            | {"messages": [*ask()["messages"], {"role": "assistant", "content": "x"}, *ask()["messages"]]},
            "main",
        ),
        (ask(max_tokens=1), "probe"),
        (ask(max_tokens=1.0), "probe"),
        (ask(max_tokens=1, tools=[]), "probe"),
        (ask("Is this mail spam? " + "Buy now! " * 50, max_tokens=1), "main"),
        (ask(max_tokens=1, tools=[{"name": "t", "input_schema": {}}]), "main"),
        (ask(max_tokens=True), "main"),
        (ask(max_tokens=2), "main"),
        (ask(max_tokens=1) | {"messages": [{"role": "user", "content": [{"type": "image", "source": {}}]}]}, "main"),
        (ask(tools=[{"type": "web_search_20250305", "name": "web_search"}]), "web_search"),
        (ask(tools=[{"type": "web_search_20260209", "name": "web_search", "max_uses": 8}]), "web_search"),
        (ask(tools=[{"type": "web_search_20250305", "name": "web_search"}, {"name": "t"}]), "main"),
        (ask(tools=[{"name": "web_search", "input_schema": {}}]), "main"),
        (ask(tools=[{"type": "web_fetch_20250910", "name": "web_fetch"}]), "main"),
    ],
)
def test_side_requests_of_any_client(body: dict[str, Any], expected: str) -> None:
    assert kind_of(body, {}) == expected


@pytest.mark.parametrize(
    "changes",
    [
        {"stream": True},
        {"max_tokens": 64000},
        {"tools": [{"name": "Bash", "input_schema": {}}]},
        {"context_management": {"edits": [{"type": "clear_thinking_20251015"}]}},
        {"output_config": {"effort": "high"}},
        {"system": "You are a helpful assistant."},
    ],
)
def test_a_permission_check_has_all_of_its_marks(changes: dict[str, Any]) -> None:
    assert kind_of(body_of("side_classifier_stage1", **changes), headers_of("side_classifier_stage1")) == "main"


@pytest.mark.parametrize("max_tokens", [64, 2112, 8192, 10240])
def test_a_permission_check_of_either_stage(max_tokens: int) -> None:
    body = body_of("side_classifier_stage1", max_tokens=max_tokens, stop_sequences=None, thinking=None)
    assert kind_of(body, {}) == "permission"


def test_a_program_with_a_long_system_prompt_checks_no_permission() -> None:
    body = ask("Summarise.", system="Rules. " * 20_000, stop_sequences=["</severity>"], max_tokens=64)
    assert not is_claude_code(body, {"user-agent": "anthropic-python"})
    assert kind_of(body, {"user-agent": "anthropic-python"}) == "main"


@pytest.mark.parametrize("name", ["side_compaction", "side_compact_manual"])
class TestCompaction:
    def test_behind_the_results_of_a_tool(self, name: str) -> None:
        body = body_of(name)
        body["messages"][-2]["content"] = [
            {"type": "tool_use", "id": "t1", "name": "Bash", "input": {}, "cache_control": {"type": "ephemeral"}}
        ]
        last = body["messages"][-1]["content"]
        instructions = last if isinstance(last, str) else last[-1]["text"]
        result = {"type": "tool_result", "tool_use_id": "t1", "content": "ok"}
        body["messages"][-1]["content"] = [result, {"type": "text", "text": instructions}]
        assert kind_of(body, {}) == "compaction"

    def test_a_user_s_text_carries_the_cache_mark(self, name: str) -> None:
        body = body_of(name)
        del body["messages"][-2]["content"][-1]["cache_control"]
        last = body["messages"][-1]["content"]
        text = last if isinstance(last, str) else last[-1]["text"]
        marked = {"type": "text", "text": text, "cache_control": {"type": "ephemeral"}}
        body["messages"][-1]["content"] = [marked]
        assert kind_of(body, {}) == "main"

    def test_without_caching_the_beginning_tells(self, name: str) -> None:
        body = body_of(name)
        del body["messages"][-2]["content"][-1]["cache_control"]
        assert kind_of(body, {}) == "main"
        begin = "CRITICAL: Respond with TEXT ONLY. Do NOT call any tools.\n\n"
        body["messages"][-1]["content"] = begin + "…an <analysis> block and a <summary> block. " * 60
        assert kind_of(body, {}) == "compaction"

    def test_another_question_of_the_client_asks_for_no_summary(self, name: str) -> None:
        body = body_of(name)
        body["messages"][-1]["content"] = "[SUGGESTION MODE: suggest what the user might type next]" * 60
        assert kind_of(body, {}) == "main"
        body["messages"][-1]["content"] = "Put it in a <summary>."
        assert kind_of(body, {}) == "main"

    def test_another_program_with_a_mark_before_its_last_text(self, name: str) -> None:
        body = body_of(name, metadata=None)
        body["system"] = "You are a helpful assistant."
        assert kind_of(body, {}) == "main"


def test_openai_clients() -> None:
    call = {"id": "c1", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    tools = [{"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}]
    asked = {"role": "user", "content": "look it up"}
    called = {"role": "assistant", "content": None, "tool_calls": [call]}
    result = {"role": "tool", "tool_call_id": "c1", "content": "found"}
    title = {"type": "json_schema", "json_schema": {"name": "t", "schema": SCHEMA | {"required": ["title"]}}}
    for messages, fields, expected in (
        ([asked], {}, "main"),
        ([{"role": "system", "content": "Be brief."}, asked], {"tools": tools}, "main"),
        ([asked, called, result], {"tools": tools}, "tool_result"),
        ([asked, called, result, {"role": "assistant", "content": "ok"}, asked], {"tools": tools}, "main"),
        ([asked], {"max_tokens": 1}, "probe"),
        ([asked], {"response_format": title}, "title"),
    ):
        body = from_chat({"model": "m", "messages": messages, **fields}).body
        assert kind_of(body, {"user-agent": "OpenAI/Python"}) == expected, (messages, fields, body)


def test_every_kind_but_a_count_is_found_somewhere() -> None:
    found = {kind_of(item.body, headers_of(name)) for name, item in REQUESTS.items()}
    assert found == set(RequestKind.values) - {RequestKind.COUNT}
    assert {type(kind) for kind in found} == {str}
