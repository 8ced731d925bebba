"""An answer that must be JSON: how platforms are asked for it, and what comes back from those that only read it."""

import json

import pytest

from tests.translation.answers import STOP, TOOL_STOP, call, calls, message, text, translate
from tests.translation.conversations import READ, user
from tests.translation.conversations import translate as translate_request
from tests.translation.targets import TARGETS, dialect_of

SCHEMA = {
    "type": "object",
    "properties": {"title": {"type": "string"}},
    "required": ["title"],
    "additionalProperties": False,
}
FORMAT = {"type": "json_schema", "schema": SCHEMA}
ANSWER = '{"title": "A ```fence``` and\\n```more"}'


@pytest.mark.parametrize("fields", [{"output_config": {"format": FORMAT}}, {"output_format": FORMAT}])
@pytest.mark.parametrize("row", TARGETS, ids="-".join)
def test_every_platform_is_asked_in_a_way_it_knows(row, fields):
    dialect = dialect_of(row)
    request = translate_request(user("q"), system="S", dialect=dialect, **fields)
    named = {"name": "output", "schema": SCHEMA, **({"strict": True} if dialect.strict_json else {})}
    system = request.body["messages"][0]["content"]
    assert request.wants_json
    assert not {"output_config", "output_format"} & {*request.body, *request.dropped_fields}
    thinks_always = row[2] in ("qwen3-235b-a22b-thinking-2507", "qwq-plus") or row[::2] == (
        "dashscope",
        "kimi-k2.7-code",
    )
    if "deepseek.com" in row[1] or row[0] in ("deepseek", "zhipu") or thinks_always:
        assert "response_format" not in request.body
        assert json.dumps(SCHEMA, separators=(",", ":")) in system
    else:
        assert request.body["response_format"] == {"type": "json_schema", "json_schema": named}
        assert system == "S"
    assert dialect.strict_json == ("openai.com" in row[1] or "azure.com" in row[1])


@pytest.mark.parametrize("row", TARGETS, ids="-".join)
def test_a_forced_tool_and_a_format_go_together(row):
    dialect = dialect_of(row)
    choice = {"type": "tool", "name": "Read"}
    request = translate_request(
        user("q"), tools=[READ], tool_choice=choice, output_config={"format": FORMAT}, dialect=dialect
    )
    system = [m["content"] for m in request.body["messages"] if m["role"] == "system"]
    if dialect.forced_tools:
        assert request.body["tool_choice"] == {"type": "function", "function": {"name": "Read"}}
    else:
        assert request.body["tool_choice"] == "auto"
        assert "Answer by calling the tool Read." in system[0]
    assert ("response_format" in request.body) != ("JSON Schema" in "".join(system))


@pytest.mark.parametrize("thinking", [{"type": "adaptive"}, None])
def test_a_format_turns_thinking_off_where_they_exclude_each_other(thinking):
    fields = {"thinking": thinking, "output_config": {"effort": "medium", "format": FORMAT}}
    hybrid = translate_request(dialect=dialect_of(("dashscope", "", "qwen3.6-plus")), **fields).body
    assert hybrid["enable_thinking"] is False
    assert "thinking_budget" not in hybrid
    assert "response_format" in hybrid
    always = translate_request(dialect=dialect_of(("dashscope", "", "qwq-plus")), **fields).body
    assert not {"enable_thinking", "response_format"} & always.keys()
    assert "JSON Schema" in always["messages"][0]["content"]
    never = translate_request(dialect=dialect_of(("dashscope", "", "qwen3-coder-plus")), **fields).body
    assert "enable_thinking" not in never
    assert "response_format" in never
    elsewhere = translate_request(dialect=dialect_of(("siliconflow", "", "zai-org/GLM-5.2")), **fields).body
    assert elsewhere["enable_thinking"] is True


def test_no_format_no_json():
    assert not translate_request(user("q")).wants_json
    assert not translate_request(user("q"), output_config={"effort": "low"}).wants_json


def pieces(content: str, size: int) -> list:
    return [text(content[at : at + size]) for at in range(0, len(content), size)]


def said(content: str, size: int, **changes) -> str:
    return message([*pieces(content, size), STOP], unfences_json=True, **changes)["content"][0]["text"]


@pytest.mark.parametrize(
    ("content", "shown"),
    [
        (f"```json\n{ANSWER}\n```", ANSWER),
        (f"\n ```JSON \r\n{ANSWER}\r\n  ```\n\n", ANSWER),
        (f"```\n{ANSWER}\n```", ANSWER),
        (f"```json\n{ANSWER}```", ANSWER),
        (f"```json\n{ANSWER}\n```\nI hope this helps! ```x```", ANSWER),
        ('```json\n{\n  "title": "a"\n}\n```', '{\n  "title": "a"\n}'),
        (f"```json\n{ANSWER}", ANSWER),
        (f"```json\n{ANSWER[:-2]}", ANSWER[:-2]),
        (ANSWER, ANSWER),
        (f"  {ANSWER}\n", f"  {ANSWER}\n"),
        (f"Here you are:\n```json\n{ANSWER}\n```", f"Here you are:\n```json\n{ANSWER}\n```"),
        ("```python\nprint()\n```", "```python\nprint()\n```"),
        ("```", "```"),
        ("``", "``"),
        ("`{}`", "`{}`"),
    ],
)
def test_a_fence_around_the_whole_answer_is_taken_off(content, shown):
    for size in range(1, len(content) + 1):
        assert said(content, size) == shown
        assert said(content, size, think_tags=True) == shown
        assert (
            said(f"<think>Hm.</think>{content}", size, think_tags=True, shows_thinking=False).strip() == shown.strip()
        )
        assert said(content, size, tool_text_parser=True) == shown


def test_a_fence_stays_where_no_json_was_asked_for():
    fenced = f"```json\n{ANSWER}\n```"
    assert message([*pieces(fenced, 5), STOP])["content"][0]["text"] == fenced


def test_what_a_call_interrupts_is_not_lost():
    fragment = call(0, "t1", "Read", '{"path":"/a"}')
    content = message([text("``"), calls(fragment), text("```json\n1\n```"), TOOL_STOP], unfences_json=True)["content"]
    assert [block.get("text") for block in content] == ["``", None, "```json\n1\n```"]


def test_json_is_shown_as_it_comes():
    events = translate(
        [text("```json\n"), text('{"a"'), text(": 1"), text("}\n"), text("```"), STOP], unfences_json=True
    )
    deltas = [event["delta"]["text"] for event in events if event["type"] == "content_block_delta"]
    assert deltas == ['{"a"', ": 1", "}"]


def test_white_space_without_end_takes_no_time():
    content = f"```json\n{ANSWER}" + " \n" * 50_000 + "x"
    assert said(content, 1000) == content[8:]
    assert said(content, len(content)) == content[8:]
