"""Token counters between the two formats."""

from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from providers.translation.usage import Usage, add, combine, from_anthropic, from_openai, merge_anthropic, to_anthropic


def counters(usage: Usage | None) -> tuple[int, int, int, int, int] | None:
    if usage is None:
        return None
    return (
        usage.input_tokens,
        usage.cache_read_tokens,
        usage.cache_write_tokens,
        usage.output_tokens,
        usage.thinking_tokens,
    )


def openai(prompt: Any = 100, output: Any = 7, **members: Any) -> dict[str, Any]:
    return {"prompt_tokens": prompt, "completion_tokens": output, **members}


@pytest.mark.parametrize(
    ("usage", "expected"),
    [
        (openai(), (100, 0, 0, 7, 0)),
        (openai(prompt_tokens_details={"cached_tokens": 60}), (40, 60, 0, 7, 0)),
        (openai(prompt_cache_hit_tokens=64, prompt_cache_miss_tokens=36), (36, 64, 0, 7, 0)),
        (openai(cached_tokens=30), (70, 30, 0, 7, 0)),
        (openai(cache_read_input_tokens=30), (70, 30, 0, 7, 0)),
        (openai(prompt_tokens_details={"cached_tokens": 60, "cache_write_tokens": 30}), (10, 60, 30, 7, 0)),
        (openai(prompt_tokens_details={"cache_creation_tokens": 30}), (70, 0, 30, 7, 0)),
        (openai(prompt_tokens_details={"cached_creation_tokens": 30}), (70, 0, 30, 7, 0)),
        (openai(cache_creation_input_tokens=30), (70, 0, 30, 7, 0)),
        (openai(prompt_tokens_details={"cached_tokens": 0}, cached_tokens=20), (80, 20, 0, 7, 0)),
        (openai(prompt_tokens_details=None), (100, 0, 0, 7, 0)),
        # Counted disjointly: more cached than the whole prompt.
        (openai(20, 3, prompt_tokens_details={"cached_tokens": 500}), (20, 500, 0, 3, 0)),
        (openai(100, 7, prompt_tokens_details={"cached_tokens": 100}), (0, 100, 0, 7, 0)),
        (openai(completion_tokens_details={"reasoning_tokens": 5}), (100, 0, 0, 7, 5)),
        (openai(completion_tokens_details={"reasoning_tokens": 50}), (100, 0, 0, 7, 7)),
        ({"input_tokens": 9, "output_tokens": 2}, (9, 0, 0, 2, 0)),
        ({"prompt_tokens": 9, "total_tokens": 12}, (9, 0, 0, 3, 0)),
        (openai("12", 3.0), (12, 0, 0, 3, 0)),
        (openai(-5, 3), (0, 0, 0, 3, 0)),
        (openai(True, 3), (0, 0, 0, 3, 0)),
        (openai(float("inf"), 3), (0, 0, 0, 3, 0)),
        (openai(10**30, 3), (0, 0, 0, 3, 0)),
        (openai([], {}), None),
        (openai(0, 0), None),
        ({}, None),
        (None, None),
        ("10", None),
        ([1], None),
    ],
)
def test_openai_counters_become_disjoint(usage: Any, expected: Any) -> None:
    assert counters(from_openai(usage)) == expected


def test_excluded_reasoning_is_added() -> None:
    usage = from_openai(openai(completion_tokens_details={"reasoning_tokens": 50}), reasoning_excluded=True)
    assert counters(usage) == (100, 0, 0, 57, 50)


@pytest.mark.parametrize(
    ("cost", "expected"),
    [
        (0.00012, Decimal("0.00012")),
        ("0.5", Decimal("0.5")),
        (0, Decimal(0)),
        (-1, None),
        (True, None),
        (float("nan"), None),
        ("x", None),
        ("1e999", None),
        (None, None),
        ({}, None),
    ],
)
def test_reported_cost(cost: Any, expected: Decimal | None) -> None:
    usage = from_openai(openai(cost=cost))
    assert usage is not None
    assert usage.cost == expected


def test_zero_sides_are_taken_from_the_earlier_usage() -> None:
    first = Usage(input_tokens=5, cache_read_tokens=6, cost=Decimal(1))
    assert combine(first, Usage(output_tokens=3)) == Usage(5, 3, 6, cost=Decimal(1))
    assert combine(Usage(5, 3), Usage(6, 4)) == Usage(6, 4)
    assert combine(None, Usage(6, 4)) == Usage(6, 4)


def test_anthropic_usage_never_says_zero_input() -> None:
    found = to_anthropic(Usage(0, 5, 100, 20, 3))
    assert found == {
        "input_tokens": 1,
        "cache_creation_input_tokens": 20,
        "cache_read_input_tokens": 100,
        "cache_creation": {"ephemeral_5m_input_tokens": 20, "ephemeral_1h_input_tokens": 0},
        "output_tokens": 5,
        "service_tier": "standard",
        "output_tokens_details": {"thinking_tokens": 3},
    }
    assert "output_tokens_details" not in to_anthropic(Usage(1, 1))


def test_anthropic_usage_is_the_maximum_of_start_and_delta() -> None:
    usage = from_anthropic({"input_tokens": 10, "cache_read_input_tokens": 4, "output_tokens": 1})
    merge_anthropic(usage, {"input_tokens": 0, "output_tokens": 9, "cache_creation_input_tokens": 2})
    merge_anthropic(usage, {"input_tokens": None, "output_tokens": "x"})
    merge_anthropic(usage, None)
    assert counters(usage) == (10, 4, 2, 9, 0)
    assert counters(from_anthropic("nothing")) == (0, 0, 0, 0, 0)


@pytest.mark.parametrize(
    ("usage", "written", "for_1h"),
    [
        ({"cache_creation_input_tokens": 70, "cache_creation": {"ephemeral_1h_input_tokens": 50}}, 70, 50),
        ({"cache_creation_input_tokens": 70, "cache_creation": None}, 70, 0),
        ({"cache_creation": {"ephemeral_5m_input_tokens": 20, "ephemeral_1h_input_tokens": 50}}, 70, 50),
        # More for an hour than at all: a broken counter must not make tokens.
        ({"cache_creation_input_tokens": 10, "cache_creation": {"ephemeral_1h_input_tokens": 50}}, 10, 10),
        ({"cache_creation_input_tokens": 10, "cache_creation": {"ephemeral_1h_input_tokens": -1}}, 10, 0),
        ({"cache_creation_input_tokens": 10, "cache_creation": {"ephemeral_1h_input_tokens": "x"}}, 10, 0),
    ],
)
def test_cache_writes_for_an_hour_are_part_of_the_cache_writes(usage: Any, written: int, for_1h: int) -> None:
    found = from_anthropic({"input_tokens": 1, **usage})
    assert (found.cache_write_tokens, found.cache_write_1h_tokens) == (written, for_1h)
    shown = to_anthropic(found)
    assert shown["cache_creation_input_tokens"] == written
    assert shown["cache_creation"] == {
        "ephemeral_5m_input_tokens": written - for_1h,
        "ephemeral_1h_input_tokens": for_1h,
    }


def test_a_stream_states_them_at_its_start_or_its_end() -> None:
    start = {"cache_creation_input_tokens": 70, "cache_creation": {"ephemeral_1h_input_tokens": 50}}
    for first, second in ((start, {"output_tokens": 5}), ({"input_tokens": 3}, start), (start, start)):
        usage = Usage()
        merge_anthropic(usage, first)
        merge_anthropic(usage, second)
        assert (usage.cache_write_tokens, usage.cache_write_1h_tokens) == (70, 50)


def test_a_relay_of_anthropic_states_them_in_a_chat_completion() -> None:
    usage = from_openai(
        openai(100, 7, cache_creation_input_tokens=60, cache_creation={"ephemeral_1h_input_tokens": 40})
    )
    assert usage is not None
    assert (usage.input_tokens, usage.cache_write_tokens, usage.cache_write_1h_tokens) == (40, 60, 40)


_COUNT = st.one_of(st.integers(-5, 10**6), st.sampled_from([None, "x", "7", True, 2.0]))
_ANTHROPIC_USAGE = st.fixed_dictionaries(
    {},
    optional={
        "input_tokens": _COUNT,
        "output_tokens": _COUNT,
        "cache_read_input_tokens": _COUNT,
        "cache_creation_input_tokens": _COUNT,
        "cache_creation": st.one_of(
            st.none(),
            st.fixed_dictionaries(
                {}, optional={"ephemeral_5m_input_tokens": _COUNT, "ephemeral_1h_input_tokens": _COUNT}
            ),
        ),
    },
)


@given(st.lists(_ANTHROPIC_USAGE, min_size=1, max_size=4))
def test_whatever_is_reported_the_classes_stay_disjoint(reports: list[dict[str, Any]]) -> None:
    usage = Usage()
    for report in reports:
        merge_anthropic(usage, report)
    assert 0 <= usage.cache_write_1h_tokens <= usage.cache_write_tokens
    assert usage.prompt_tokens == usage.input_tokens + usage.cache_read_tokens + usage.cache_write_tokens
    shown = to_anthropic(usage)
    assert sum(shown["cache_creation"].values()) == shown["cache_creation_input_tokens"] == usage.cache_write_tokens
    again = from_anthropic(shown)
    assert (again.cache_write_tokens, again.cache_write_1h_tokens) == (
        usage.cache_write_tokens,
        usage.cache_write_1h_tokens,
    )


@given(_ANTHROPIC_USAGE, _ANTHROPIC_USAGE)
def test_two_requests_together_are_the_sum_of_both(one: dict[str, Any], other: dict[str, Any]) -> None:
    first, second = from_anthropic(one), from_anthropic(other)
    both = add(first, second)
    for name in ("prompt_tokens", "output_tokens", "cache_write_tokens", "cache_write_1h_tokens"):
        assert getattr(both, name) == getattr(first, name) + getattr(second, name)
