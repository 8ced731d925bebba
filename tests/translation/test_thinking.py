import pytest

from providers.presets import dialect_for
from providers.translation.dialect import Dialect
from providers.translation.thinking import requested_thinking
from tests.translation.conversations import READ, translate

ENABLED = {"type": "enabled", "budget_tokens": 8000}


@pytest.mark.parametrize(
    ("fields", "level", "budget", "is_shown", "is_omitted"),
    [
        ({}, "default", None, False, False),
        ({"thinking": None, "output_config": None}, "default", None, False, False),
        ({"thinking": [], "output_config": 5}, "default", None, False, False),
        ({"thinking": {"type": "disabled"}}, "off", None, False, False),
        ({"thinking": {"type": "disabled"}, "output_config": {"effort": "high"}}, "off", None, False, False),
        ({"thinking": {"type": "enabled", "budget_tokens": 31999}}, "high", 31999, True, False),
        ({"thinking": {"type": "enabled", "budget_tokens": 3000}}, "medium", 3000, True, False),
        ({"thinking": {"type": "enabled", "budget_tokens": 1500}}, "low", 1500, True, False),
        ({"thinking": {"type": "enabled", "budget_tokens": 500}}, "minimal", 500, True, False),
        ({"thinking": {"type": "enabled", "budget_tokens": "x"}}, "medium", None, True, False),
        ({"thinking": {"type": "adaptive", "display": "omitted"}}, "medium", None, True, True),
        ({"thinking": {"type": "adaptive"}, "output_config": {"effort": "max"}}, "max", None, True, False),
        ({"thinking": {"type": "between_tools", "display": "updates"}}, "medium", None, True, False),
        ({"output_config": {"effort": "low"}}, "low", None, True, False),
        ({"output_config": {"effort": "huge"}}, "default", None, False, False),
        ({"output_config": {"effort": ["low"]}}, "default", None, False, False),
        ({"thinking": {"type": ["x"]}}, "default", None, False, False),
    ],
)
def test_what_a_request_asks_for(fields, level, budget, is_shown, is_omitted):
    thinking = requested_thinking(fields)
    assert (thinking.level, thinking.budget_tokens, thinking.is_shown, thinking.is_omitted) == (
        level,
        budget,
        is_shown,
        is_omitted,
    )


def parameters(dialect: str, model_id: str = "some-model", **fields) -> dict:
    """Return what the thinking fields add to the body."""
    target = Dialect(thinking_dialect=dialect)
    option = {"model_id": model_id}
    with_thinking = translate(dialect=target, option=option, max_tokens=20_000, **fields).body
    without = translate(dialect=target, option=option, max_tokens=20_000).body
    return {key: value for key, value in with_thinking.items() if without.get(key) != value}


@pytest.mark.parametrize(
    ("dialect", "off", "effort_max", "budget"),
    [
        ("none", {}, {}, {}),
        ("openai", {"reasoning_effort": "none"}, {"reasoning_effort": "max"}, {"reasoning_effort": "high"}),
        ("ollama", {"reasoning_effort": "none"}, {"reasoning_effort": "max"}, {"reasoning_effort": "high"}),
        (
            "openrouter",
            {"reasoning": {"enabled": False}},
            {"reasoning": {"effort": "max"}},
            {"reasoning": {"max_tokens": 8000}},
        ),
        (
            "dashscope",
            {"enable_thinking": False},
            {"enable_thinking": True},
            {"enable_thinking": True, "thinking_budget": 8000},
        ),
        (
            "siliconflow",
            {"enable_thinking": False},
            {"enable_thinking": True},
            {"enable_thinking": True, "thinking_budget": 8000},
        ),
        (
            "deepseek",
            {"thinking": {"type": "disabled"}},
            {"thinking": {"type": "enabled"}, "reasoning_effort": "max"},
            {"thinking": {"type": "enabled"}, "reasoning_effort": "high"},
        ),
        (
            "template",
            {"chat_template_kwargs": {"enable_thinking": False}},
            {"chat_template_kwargs": {"enable_thinking": True}, "reasoning_effort": "high"},
            {
                "chat_template_kwargs": {"enable_thinking": True},
                "reasoning_effort": "high",
                "thinking_budget_tokens": 8000,
            },
        ),
    ],
)
def test_each_dialect(dialect, off, effort_max, budget):
    assert parameters(dialect, thinking={"type": "disabled"}, output_config={"effort": "high"}) == off
    assert parameters(dialect, thinking={"type": "adaptive"}, output_config={"effort": "max"}) == effort_max
    assert parameters(dialect, thinking=ENABLED) == budget


@pytest.mark.parametrize("model_id", ["deepseek-v3.2", "GLM-4.6"])
def test_templates_that_read_another_word(model_id):
    sent = parameters("template", model_id, thinking={"type": "disabled"})
    assert sent == {"chat_template_kwargs": {"enable_thinking": False, "thinking": False}}


@pytest.mark.parametrize(("budget", "sent"), [(100, 128), (8000, 8000), (100_000, 32_768)])
def test_siliconflow_budget_stays_in_its_range(budget, sent):
    assert parameters("siliconflow", thinking={"type": "enabled", "budget_tokens": budget})["thinking_budget"] == sent


def test_openrouter_budget_leaves_room_for_the_answer():
    assert parameters("openrouter", thinking={"type": "enabled", "budget_tokens": 31_999}) == {
        "reasoning": {"max_tokens": 16_000}
    }
    assert parameters("openrouter", thinking={"type": "enabled", "budget_tokens": 900}) == {
        "reasoning": {"effort": "minimal"}
    }


@pytest.mark.parametrize(("level", "sent"), [("xhigh", "high"), ("low", "low"), ("medium", "medium")])
def test_ollama_gets_only_words_it_knows(level, sent):
    assert parameters("ollama", output_config={"effort": level}) == {"reasoning_effort": sent}


def test_model_known_not_to_think_is_told_nothing():
    request = translate(
        dialect=Dialect(thinking_dialect="dashscope"),
        option={"capabilities": frozenset({"tools"})},
        thinking={"type": "adaptive", "display": "omitted"},
    )
    assert "enable_thinking" not in request.body
    assert request.shows_thinking
    assert request.omits_thinking


@pytest.mark.parametrize("model_id", ["qwen3.6-plus", "qwen3-coder-plus"])
def test_model_that_does_not_think_has_the_other_habits_of_its_platform(model_id):
    dialect = dialect_for("dashscope", {}, {}, ["tools"], model_id=model_id)
    body = translate(tools=[{**READ, "name": "search"}], thinking={"type": "adaptive"}, dialect=dialect).body
    assert body["tools"][0]["function"]["name"] != "search"
    assert body["parallel_tool_calls"] is True
    assert "enable_thinking" not in body
