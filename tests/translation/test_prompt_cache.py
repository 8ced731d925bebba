"""What makes prompt caches upstream hit: marks where they are read, the same form in every request, one key."""

import json

import pytest

from providers.presets import dialect_for
from providers.translation.dialect import Dialect
from tests.translation.conversations import (
    KEY,
    assistant,
    request_body,
    result,
    sent,
    system,
    text,
    translate,
    use,
    user,
)
from tests.translation.targets import TARGETS, dialect_of

MARK = {"cache_control": {"type": "ephemeral"}}
HOUR = {"cache_control": {"type": "ephemeral", "ttl": "1h"}}


def marks(messages: list) -> list:
    """Return the texts that carry a mark, with its members beside the type."""
    return [
        (part["text"], {key: value for key, value in part["cache_control"].items() if key != "type"})
        for message in messages
        if isinstance(message["content"], list)
        for part in message["content"]
        if "cache_control" in part
    ]


@pytest.mark.parametrize("system_mid", ["preserve", "fold"])
def test_a_mark_that_moves_on_leaves_the_message_as_it_was(system_mid):
    dialect = Dialect(cache_control=True, system_mid=system_mid)

    def history(at: int) -> list:
        """Return the messages of request number `at`; the newest block carries the mark."""
        blocks = [[text("context"), text("question")], [text("note")], [text("more"), text("and more")]]
        blocks[at][-1] |= MARK
        messages = [
            user(*blocks[0]),
            assistant(text("I look. "), text("Now."), use("a")),
            user(result("a", "R", **(MARK if at == 1 else {}))),
            system(*blocks[1]),
            assistant("done"),
            user(*blocks[2]),
        ]
        return messages[: (1, 4, 6)[at]]

    def bare(messages: list) -> list:
        return json.loads(json.dumps(messages).replace(', "cache_control": {"type": "ephemeral"}', ""))

    first, second, third = (sent(*history(at), dialect=dialect) for at in range(3))
    assert marks(first) == [("question", {})]
    assert as_parts(bare(second)[: len(first)]) == as_parts(bare(first))
    assert as_parts(bare(third)[: len(second)]) == as_parts(bare(second))


def as_parts(messages: list) -> list:
    """Return messages with each text as one part: to a cache, a string and a list of one part are the same."""
    return [{**m, "content": [text(m["content"])] if isinstance(m["content"], str) else m["content"]} for m in messages]


def test_texts_are_joined_where_no_marks_are_read():
    messages = sent(user(text("a", **MARK), text("b")), system=[text("s", **MARK), text("t")])
    assert [message["content"] for message in messages] == ["s\n\nt", "a\nb"]


def test_at_most_four_marks_go_out_the_first_and_the_last():
    blocks = [text(str(number), **MARK) for number in range(6)]
    messages = sent(user(*blocks), system=[text("s", **MARK)], dialect=Dialect(cache_control=True))
    assert [marked for marked, _more in marks(messages)] == ["s", "3", "4", "5"]
    assert len(messages[1]["content"]) == 6


@pytest.mark.parametrize(("kept", "more"), [(True, {"ttl": "1h"}), (False, {})])
def test_time_to_live_goes_only_where_it_is_read(kept, more):
    body = request_body(user(text("q", **HOUR)), system=[text("s", **HOUR)])
    messages = sent(*body["messages"], system=body["system"], dialect=Dialect(cache_control=True, cache_ttl=kept))
    assert marks(messages) == [("s", more), ("q", more)]
    assert body["messages"][0]["content"][0] == text("q", **HOUR)


def test_marks_on_tools_are_left_out():
    definition = {"name": "Read", "input_schema": {"type": "object", "properties": {}}, **MARK}
    body = translate(tools=[definition], dialect=Dialect(cache_control=True)).body
    assert "cache_control" not in json.dumps(body["tools"])


READ_BY_DASHSCOPE = "qwen3.7-max qwen3.6-plus qwen3.6-flash qwen-plus qwen3-coder-plus qwen3-vl-flash kimi-k2.6 glm-5.1"
NOT_BY_DASHSCOPE = "qwen-turbo qwen3.6-plus-2026-04-02 deepseek-v4-pro kimi-k2.7-code glm-5.2 qwq-plus qwen3-8b"
READ_BY_OPENROUTER = "google/gemini-3-pro qwen/qwen3.7-plus minimax/minimax-m3 z-ai/glm-5.2"


@pytest.mark.parametrize(
    ("kind", "model_ids", "cache_control", "cache_ttl"),
    [
        ("dashscope", READ_BY_DASHSCOPE, True, False),
        ("dashscope", NOT_BY_DASHSCOPE, False, True),
        ("openrouter", "anthropic/claude-opus-5 ~anthropic/claude-sonnet-5", True, True),
        ("openrouter", READ_BY_OPENROUTER, True, False),
        ("openrouter", "openai/gpt-5.6-sol deepseek/deepseek-v4-flash", False, False),
    ],
)
def test_models_that_read_marks(kind, model_ids, cache_control, cache_ttl):
    for model_id in model_ids.split():
        dialect = dialect_for(kind, {}, {}, None, model_id=model_id)
        assert (dialect.cache_control, dialect.cache_ttl) == (cache_control, cache_ttl), model_id


def test_other_platforms_get_no_marks():
    kinds = {row[0] for row in TARGETS if dialect_of(row).cache_control}
    assert kinds == {"dashscope", "openrouter"}


def key_of(session_id: str, signing_key: bytes = KEY, dialect: Dialect | None = None) -> str | None:
    option = {"session_id": session_id, "signing_key": signing_key}
    return translate(option=option, dialect=dialect or Dialect(prompt_cache_key=True)).body.get("prompt_cache_key")


def test_a_session_has_one_cache_key_that_does_not_tell_it():
    session = "0ac62c3d-a7d7-4cab-bc08-c86956571a3a"
    key = key_of(session)
    assert key == key_of(session)
    assert 16 <= len(key) <= 64
    assert key not in (key_of("another"), key_of(session, b"another installation"))
    assert session[:8] not in key
    assert key_of("") is None
    assert key_of(session, dialect=Dialect()) is None


def test_the_cache_key_is_not_the_user():
    body = translate(
        metadata={"user_id": "same"},
        option={"session_id": "same"},
        dialect=Dialect(prompt_cache_key=True, thinking_dialect="openai"),
    ).body
    assert body["user"] != body["prompt_cache_key"]


def test_only_platforms_that_document_the_key_get_it():
    kinds = {row[1].removeprefix("https://") or row[0] for row in TARGETS if dialect_of(row).prompt_cache_key}
    assert kinds == {"api.openai.com/v1", "firm.openai.azure.com/openai/v1", "kimi"}
