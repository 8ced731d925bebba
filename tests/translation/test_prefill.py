"""A request that ends with an assistant message: its text is to be continued."""

import pytest

from providers.translation.dialect import Dialect
from tests.translation.conversations import assistant, request_body, sent, text, translate, user
from tests.translation.targets import TARGETS, dialect_of

THINKING = {"type": "adaptive", "display": "omitted"}


@pytest.mark.parametrize("row", TARGETS, ids="-".join)
@pytest.mark.parametrize("capabilities", [None, ["tools"], ["thinking"]], ids=["unknown", "tools", "thinking"])
def test_each_platform_is_told_in_its_own_way(row, capabilities):
    dialect = dialect_of(row, capabilities)
    option = {"model_id": row[2], "capabilities": None if capabilities is None else frozenset(capabilities)}
    body = translate(user("q"), assistant("The"), thinking=THINKING, dialect=dialect, option=option).body
    last = body["messages"][-1]
    if row[0] == "llamacpp":
        assert last == {"role": "assistant", "content": "The"}
        assert body.get("chat_template_kwargs", {"enable_thinking": False}) == {"enable_thinking": False}
        assert (body["continue_final_message"], body["add_generation_prompt"]) == (True, False)
    elif row[0] == "openrouter" and row[2] not in ("anthropic/claude-opus-5", "openai/gpt-5.6-sol"):
        assert last == {"role": "assistant", "content": "The"}
        assert "reasoning" not in body
    else:
        assert body["messages"][-2] == {"role": "assistant", "content": "The"}
        assert last["role"] == "user"
        assert "Continue it from exactly where it ends" in last["content"]
    assert not {"prefix", "partial"} & last.keys()


@pytest.mark.parametrize(
    ("model_id", "continues"),
    [
        ("anthropic/claude-haiku-4.5", True),
        ("anthropic/claude-sonnet-4", True),
        ("anthropic/claude-opus-4.6", False),
        ("~anthropic/claude-sonnet-5", False),
        ("mistralai/mistral-large", True),
    ],
)
def test_models_that_refuse_to_be_continued(model_id, continues):
    assert dialect_of(("openrouter", "", model_id)).prefill is continues


@pytest.mark.parametrize("cache_control", [False, True])
def test_white_space_at_the_end_is_no_part_of_what_is_continued(cache_control):
    dialect = Dialect(prefill=True, cache_control=cache_control)
    mark = {"cache_control": {"type": "ephemeral"}}
    body = request_body(user("q"), assistant(text("So "), text("the answer is: \n", **mark)))
    [*_before, last] = sent(*body["messages"], dialect=dialect)
    whole = "".join(p["text"] for p in last["content"]) if cache_control else last["content"]
    assert whole == "So the answer is:"
    assert body["messages"][1]["content"][1]["text"] == "the answer is: \n"


def test_a_call_at_the_end_is_no_text_to_continue():
    call = {"type": "tool_use", "id": "t", "name": "Read", "input": {}}
    body = translate(user("q"), assistant(text("I look."), call), dialect=Dialect(prefill=True)).body
    assert body["messages"][-1] == {"role": "tool", "tool_call_id": "t", "content": "[no result: interrupted]"}
