"""The facts of a request."""

import time
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from providers.translation.openai_clients.chat_request import from_chat
from providers.translation.validation import InvalidRequest, validate
from routing.intent.facts import Facts
from routing.intent.reading import MAX_TEXT, facts_of
from tests.fakes.recorded import recorded

PLAN = "Plan mode is active. The user indicated that they do not want you to execute yet -- you MUST NOT make any edits"
STILL = "Plan mode still active (see full instructions earlier in conversation). Read-only except plan file (x.md)."
EXITED = "## Exited Plan Mode\n\nYou have exited plan mode. You can now make edits, run tools, and take actions."
AGAIN = "## Re-entering Plan Mode\n\nYou are returning to plan mode after having previously exited it."
ASSISTANT = {"role": "assistant", "content": "Well."}


def read(body: dict[str, Any]) -> Facts:
    return facts_of(validate({"model": "m", "max_tokens": 9, **body}), {}, prompt_tokens=0)


def ask(content: Any = "Hi", **fields: Any) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": content}], **fields}


def note(text: str) -> dict[str, Any]:
    return {"role": "system", "content": text}


def reminder(text: str) -> dict[str, Any]:
    return {"role": "user", "content": [{"type": "text", "text": f"<system-reminder>\n{text}\n</system-reminder>"}]}


def test_a_recorded_request() -> None:
    item = recorded()["main_interactive_auto_mode"]
    headers = {name.lower(): value for name, value in item.headers}
    assert facts_of(item.body, headers, prompt_tokens=12_000, pdf_tokens=3, max_tokens=32_000) == Facts(
        requested_model="claude-opus-5-5",
        kind="main",
        text="Hello there, please fix the login bug",
        prompt_tokens=12_000,
        max_tokens=32_000,
        pdf_tokens=3,
        needs=frozenset({"tools"}),
        effort="medium",
        has_tools=True,
    )


@pytest.mark.parametrize(
    ("name", "has_image", "has_pdf"),
    [("main_image_tool_result", True, False), ("main_pdf_tool_result", False, True), ("main_long_loop", False, False)],
)
def test_files_that_a_tool_brought(name: str, has_image: bool, has_pdf: bool) -> None:
    facts = facts_of(recorded()[name].body, {}, prompt_tokens=1)
    assert (facts.has_image, facts.has_pdf) == (has_image, has_pdf)
    assert facts.in_tool_loop


@pytest.mark.parametrize(("name", "text"), [("side_compaction", "turn 2 please"), ("side_compact_manual", "hello two")])
def test_the_instructions_of_a_compaction_are_not_the_user_s(name: str, text: str) -> None:
    facts = facts_of(recorded()[name].body, {}, prompt_tokens=1)
    assert (facts.kind, facts.text, facts.has_history) == ("compaction", text, True)


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({}, ""),
        ({"output_config": {"effort": "low"}}, "low"),
        ({"output_config": {"effort": "xhigh"}}, "xhigh"),
        ({"output_config": {"effort": "max"}, "thinking": {"type": "adaptive"}}, "max"),
        ({"output_config": {"effort": "minimal"}}, "low"),
        ({"output_config": {"effort": "huge"}}, ""),
        ({"output_config": {"effort": ["low"]}}, ""),
        ({"output_config": "low"}, ""),
        ({"thinking": {"type": "adaptive"}}, ""),
        ({"thinking": {"type": "enabled", "budget_tokens": 1024}}, "low"),
        ({"thinking": {"type": "enabled", "budget_tokens": 2048}}, "medium"),
        ({"thinking": {"type": "enabled", "budget_tokens": 31_999}}, "high"),
        ({"thinking": {"type": "enabled", "budget_tokens": 31_999}, "output_config": {"effort": "max"}}, "max"),
        ({"thinking": {"type": "enabled", "budget_tokens": "many"}}, ""),
        ({"thinking": {"type": "disabled"}, "output_config": {"effort": "high"}}, ""),
    ],
)
def test_effort(fields: dict[str, Any], expected: str) -> None:
    assert read(ask(**fields)).effort == expected


@pytest.mark.parametrize(("effort", "expected"), [("high", "high"), ("minimal", "low"), ("none", ""), (None, "")])
def test_effort_of_openai_clients(effort: str | None, expected: str) -> None:
    form = from_chat({"model": "m", "messages": [{"role": "user", "content": "Hi"}], "reasoning_effort": effort})
    assert facts_of(form.body, {}, prompt_tokens=1).effort == expected


@pytest.mark.parametrize(
    ("messages", "expected"),
    [
        ([note(PLAN)], True),
        ([note(f"# Environment\nLinux\n\n{PLAN}\n\nToday's date is 2026-11-26.")], True),
        ([{"role": "system", "content": [{"type": "text", "text": PLAN}]}], True),
        ([note(STILL)], True),
        ([reminder(PLAN)], True),
        ([note(PLAN), ASSISTANT, {"role": "user", "content": "go on"}], True),
        ([note(PLAN), ASSISTANT, note(EXITED)], False),
        ([note(f"{PLAN}\n\n{EXITED}")], False),
        ([note(f"{EXITED}\n\n{PLAN}")], True),
        ([note(PLAN), ASSISTANT, note(EXITED), ASSISTANT, note("Today's date is 2026-11-26.")], False),
        ([note(EXITED), ASSISTANT, note(AGAIN)], True),
        ([reminder(PLAN), ASSISTANT, reminder(EXITED)], False),
        ([{"role": "user", "content": PLAN}], False),
        ([{"role": "user", "content": [{"type": "text", "text": PLAN}]}], False),
        ([{"role": "assistant", "content": PLAN}], False),
        ([{"role": "user", "content": [{"type": "tool_result", "tool_use_id": "t", "content": PLAN}]}], False),
        ([note("Skills:\n- plans: use when Plan mode is active. \n")], False),
        ([note("")], False),
    ],
)
def test_plan_mode_is_what_the_client_s_newest_note_says(messages: list[dict[str, Any]], expected: bool) -> None:
    begin = {"role": "user", "content": "plan the login"}
    assert read({"messages": [begin, *messages]}).plan_mode is expected


@pytest.mark.parametrize(
    ("safeguards", "expected"),
    [
        ([{"type": "dangerous_tool_use", "classifier_context": {"permission_mode": "plan"}}], True),
        ([{"type": "dangerous_tool_use", "classifier_context": {"permission_mode": "default"}}], False),
        ([{"type": "other"}, {"classifier_context": {"permission_mode": "plan"}}], True),
        ([{"classifier_context": {"permission_mode": 1}}], None),
        ([7, None, {"classifier_context": []}], None),
        ({"permission_mode": "plan"}, None),
        (None, None),
    ],
)
@pytest.mark.parametrize("text", [PLAN, EXITED])
def test_the_mode_that_a_request_names_goes_before_its_notes(safeguards: Any, expected: bool | None, text: str) -> None:
    body = {"messages": [{"role": "user", "content": "Hi"}, note(text)], "safeguards": safeguards}
    assert read(body).plan_mode is ((text == PLAN) if expected is None else expected)


PDF = {"type": "document", "source": {"type": "base64", "media_type": "application/pdf", "data": "JVBERi0="}}
TEXT_FILE = {"type": "document", "source": {"type": "text", "media_type": "text/plain", "data": "x"}}
IMAGE = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "iVBOR"}}


@pytest.mark.parametrize(
    ("body", "has_image", "has_pdf"),
    [
        (ask([PDF]), False, True),
        (ask([IMAGE]), True, False),
        (ask([TEXT_FILE]), False, False),
        (ask([{"type": "document", "source": {"type": "url", "url": "https://x/a.pdf"}}]), False, True),
        (ask([{"type": "document", "source": "x"}, {"type": "document"}]), False, False),
        (ask([{"type": "tool_result", "tool_use_id": "t", "content": [PDF, IMAGE]}]), True, True),
        ({"messages": [*ask([PDF, IMAGE])["messages"], ASSISTANT, *ask()["messages"]]}, False, False),
        ({"messages": [*ask([PDF, IMAGE])["messages"], ASSISTANT]}, True, True),
        ({"messages": [*ask([PDF])["messages"], *ask()["messages"]]}, False, True),
    ],
)
def test_files_count_in_the_last_turn(body: dict[str, Any], has_image: bool, has_pdf: bool) -> None:
    facts = read(body)
    assert (facts.has_image, facts.has_pdf) == (has_image, has_pdf)
    assert ("vision" in facts.needs) is has_image


def test_a_plan_is_approved() -> None:
    body = {"messages": [*ask("plan it")["messages"], ASSISTANT, *ask("好的,继续")["messages"]], "tools": []}
    facts = read(body)
    assert (facts.is_approval, facts.has_history, facts.has_tools, facts.in_tool_loop) == (True, True, False, False)


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.floats()
    | st.integers()
    | st.sampled_from(["text", "user", "plan", "", "<summary>", "\ud800"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                [
                    "type",
                    "text",
                    "content",
                    "source",
                    "role",
                    "properties",
                    "schema",
                    "format",
                    "effort",
                    "cache_control",
                ]
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=8,
)
BLOCK = st.one_of(
    st.fixed_dictionaries(
        {"type": st.sampled_from(["text", "image", "document", "thinking"]), "text": JSON, "source": JSON}
    ),
    st.fixed_dictionaries({"type": st.just("tool_result"), "tool_use_id": st.just("t"), "content": JSON}),
    st.fixed_dictionaries({"type": st.just("text"), "text": st.text(max_size=20), "cache_control": JSON}),
)
MESSAGE = st.fixed_dictionaries(
    {
        "role": st.sampled_from(["user", "assistant", "system"]),
        "content": st.none() | st.text(max_size=30) | st.lists(BLOCK, max_size=3),
    }
)
BODY = st.fixed_dictionaries(
    {
        "model": st.just("m"),
        "max_tokens": st.sampled_from([1, 64, 1000]),
        "messages": st.lists(MESSAGE, min_size=1, max_size=4),
    },
    optional=dict.fromkeys(
        ("system", "tools", "output_config", "thinking", "safeguards", "metadata", "context_management", "stream"), JSON
    ),
)


@settings(max_examples=150)
@given(BODY)
def test_whatever_passes_validation_has_facts(body: dict[str, Any]) -> None:
    try:
        validate(body)
    except InvalidRequest:
        return
    facts = facts_of(body, {}, prompt_tokens=1)
    assert len(facts.text) <= MAX_TEXT


def took_s(body: dict[str, Any], times: int = 1, tries: int = 5) -> float:
    best = 1e9
    for _ in range(tries):
        begin = time.process_time()
        for _ in range(times):
            facts_of(body, {}, prompt_tokens=1)
        best = min(best, (time.process_time() - begin) / times)
    return best


@pytest.mark.parametrize(
    "name",
    ["main_headless_first", "main_long_loop", "main_sonnet45_legacy", "side_compaction", "side_classifier_stage1"],
)
def test_a_real_request_takes_less_than_a_millisecond(name: str) -> None:
    assert took_s(recorded()[name].body, 20) < 0.001


GIANT = {
    "one text": ask("x = 1 < 2\n" * 3_000_000),
    "many reminders": ask([{"type": "text", "text": f"<system-reminder>\n{'x' * 30_000}\n</system-reminder>"}] * 1000),
    "many notes": {"messages": [*ask()["messages"], *[note("Plan Mode " * 3000)] * 1000]},
    "many blocks": ask([{"type": "text", "text": "a"}] * 500_000),
    "many messages": {
        "messages": [*ask()["messages"], *ask([{"type": "tool_result", "tool_use_id": "t"}])["messages"] * 300_000]
    },
    "many results": {
        "messages": [
            *ask()["messages"],
            *([ASSISTANT, *ask([{"type": "tool_result", "tool_use_id": "t"}])["messages"]] * 200_000),
        ]
    },
    "much of a system prompt": ask(system=[{"type": "text", "text": "a"}] * 500_000),
}


@pytest.mark.parametrize("name", GIANT)
def test_a_giant_request_is_read_in_bounded_time(name: str) -> None:
    body = {"model": "m", "max_tokens": 64, **GIANT[name]}
    assert took_s(body, tries=2) < 1
