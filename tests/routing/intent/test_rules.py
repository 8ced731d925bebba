"""Rules that choose a scene without asking anybody."""

import time as clock
from datetime import UTC, datetime, time
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from routing.intent.facts import Facts
from routing.intent.patterns import PatternInvalid, compiled, is_found
from routing.intent.rules import has_keyword, matching
from routing.snapshot import RouteSnapshot, SceneRuleSnapshot, SceneSnapshot

MONDAY = datetime(2026, 11, 23, 10, 30, tzinfo=UTC)
ROUTE = RouteSnapshot("everyday", ("main/big",))


def scene(name: str, *rules: SceneRuleSnapshot) -> SceneSnapshot:
    return SceneSnapshot(name, "what it is for", (), ROUTE, rules=rules)


def rule(**conditions: Any) -> SceneRuleSnapshot:
    return SceneRuleSnapshot(**conditions)


def holds(conditions: dict[str, Any], *, now: datetime = MONDAY, **facts: Any) -> bool:
    return matching([scene("code", rule(**conditions))], Facts("m", **facts), now) is not None


@pytest.mark.parametrize(
    ("text", "keyword", "expected"),
    [
        ("please deploy it", "deploy", True),
        ("Deploy!", "deploy", True),
        ("redeploy it", "deploy", False),
        ("the deployment", "deploy", False),
        ("deployment, then deploy", "deploy", True),
        ("deploy_all", "deploy", False),
        ("pre-deploy step", "deploy", True),
        ("请deploy一下", "deploy", True),
        ("帮我部署到测试环境", "部署", True),
        ("帮我发布", "部署", False),
        ("use C++ here", "c++", True),
        ("use C here", "c++", False),
        ("objc++", "c++", False),
        ("run .net code", ".net", True),
        ("asp.net", ".net", True),
        ("STRASSE", "straße", True),
        ("fix  the bug", "fix the bug", False),
        ("fix the bug now", "fix the bug", True),
        ("почини баг", "баг", True),
        ("багаж", "баг", False),
        ("", "deploy", False),
        ("x", "", False),
    ],
)
def test_keywords(text: str, keyword: str, expected: bool) -> None:
    assert has_keyword(text.casefold(), keyword.casefold()) is expected
    assert holds({"keywords": (keyword.casefold(),)}, text=text) is expected


@given(st.text(max_size=60), st.text(min_size=1, max_size=4))
def test_a_keyword_found_is_there(text: str, keyword: str) -> None:
    found = has_keyword(text.casefold(), keyword.casefold())
    assert not found or keyword.casefold() in text.casefold()
    assert has_keyword(f"{text} {keyword} {text}".casefold(), keyword.casefold())


@pytest.mark.parametrize(
    ("conditions", "facts", "expected"),
    [
        ({"keywords": ("deploy", "release")}, {"text": "release it"}, True),
        ({"pattern": r"\brefactor\w*"}, {"text": "Please REFACTOR this"}, True),
        ({"pattern": "重构.{0,10}模块"}, {"text": "请重构一下支付模块"}, True),
        ({"pattern": "^fix"}, {"text": "please fix"}, False),
        ({"pattern": r"\bfix"}, {"text": "half a pair \ud800 fix"}, True),
        ({"min_prompt_tokens": 100}, {"prompt_tokens": 100}, True),
        ({"min_prompt_tokens": 100}, {"prompt_tokens": 99}, False),
        ({"max_prompt_tokens": 100}, {"prompt_tokens": 100}, True),
        ({"max_prompt_tokens": 100}, {"prompt_tokens": 101}, False),
        ({"max_prompt_tokens": 0}, {"prompt_tokens": 0}, True),
        ({"efforts": frozenset({"high", "max"})}, {"effort": "max"}, True),
        ({"efforts": frozenset({"high", "max"})}, {"effort": ""}, False),
        ({"plan_mode": True}, {"plan_mode": True}, True),
        ({"plan_mode": True}, {"plan_mode": False}, False),
        ({"plan_mode": False}, {"plan_mode": False}, True),
        ({"has_image": True}, {"has_image": True}, True),
        ({"has_image": False}, {"has_image": True}, False),
        ({"has_pdf": True}, {"has_pdf": True}, True),
        ({"has_pdf": True}, {}, False),
        ({"has_tools": False}, {}, True),
        ({"has_tools": True}, {}, False),
        ({"has_tools": False, "keywords": ("hi",)}, {"text": "hi"}, True),
        ({"has_tools": False, "keywords": ("hi",)}, {"text": "hi", "has_tools": True}, False),
        ({"has_tools": False, "keywords": ("hi",)}, {"text": "ho"}, False),
        ({"keywords": ("hi",), "pattern": "there"}, {"text": "hi"}, False),
        ({"weekdays": frozenset({1})}, {}, True),
        ({"weekdays": frozenset({2, 7})}, {}, False),
        ({}, {"text": "hi", "plan_mode": True}, False),
    ],
)
def test_all_conditions_must_hold(conditions: dict[str, Any], facts: dict[str, Any], expected: bool) -> None:
    assert holds(conditions, **facts) is expected


def at(day: int, hour: int, minute: int = 0, **fields: Any) -> datetime:
    return datetime(2026, 11, day, hour, minute, tzinfo=ZoneInfo("Asia/Shanghai"), **fields)


NIGHT = {"time_from": time(22), "time_until": time(6)}
WORK = {"time_from": time(9), "time_until": time(18)}


@pytest.mark.parametrize(
    ("conditions", "now", "expected"),
    [
        (WORK, at(23, 9), True),
        (WORK, at(23, 17, 59), True),
        (WORK, at(23, 18), False),
        (WORK, at(23, 8, 59), False),
        (NIGHT, at(23, 22), True),
        (NIGHT, at(23, 5, 59), True),
        (NIGHT, at(23, 6), False),
        (NIGHT, at(23, 12), False),
        ({"time_from": time(18), "time_until": time(0)}, at(23, 23, 59), True),
        ({"time_from": time(18), "time_until": time(0)}, at(23, 0), False),
        ({**WORK, "weekdays": frozenset({1, 2, 3, 4, 5})}, at(27, 10), True),
        ({**WORK, "weekdays": frozenset({1, 2, 3, 4, 5})}, at(28, 10), False),
        # Friday night ends on Saturday morning, and Sunday night on Monday morning.
        ({**NIGHT, "weekdays": frozenset({5})}, at(27, 23), True),
        ({**NIGHT, "weekdays": frozenset({5})}, at(28, 3), True),
        ({**NIGHT, "weekdays": frozenset({5})}, at(27, 3), False),
        ({**NIGHT, "weekdays": frozenset({7})}, at(23, 3), True),
        ({**NIGHT, "weekdays": frozenset({1})}, at(23, 3), False),
    ],
)
def test_times(conditions: dict[str, Any], now: datetime, expected: bool) -> None:
    assert holds(conditions, now=now) is expected


@pytest.mark.parametrize(
    ("utc", "expected"),
    [
        # 2026-03-29: from 02:00 the clocks of Berlin go to 03:00. 2026-10-25: from 03:00 they go back to 02:00.
        (datetime(2026, 3, 29, 0, 59), False),
        (datetime(2026, 3, 29, 1, 0), False),
        (datetime(2026, 10, 24, 23, 59), False),
        (datetime(2026, 10, 25, 0, 30), True),
        (datetime(2026, 10, 25, 1, 30), True),
        (datetime(2026, 10, 25, 2, 0), False),
    ],
)
def test_the_clock_on_the_wall_counts_where_clocks_change(utc: datetime, expected: bool) -> None:
    now = utc.replace(tzinfo=UTC).astimezone(ZoneInfo("Europe/Berlin"))
    assert holds({"time_from": time(2), "time_until": time(3)}, now=now) is expected


def test_the_first_rule_by_position_then_by_scene() -> None:
    late, early = rule(keywords=("hi",), position=5), rule(has_tools=False, position=2)
    first, second = scene("first", late, rule(pattern="nothing", position=0)), scene("second", early)
    assert matching([first, second], Facts("m", text="hi"), MONDAY) == (second, "rule 2: no tools")
    assert matching([first, second], Facts("m", text="hi", has_tools=True), MONDAY) == (first, "rule 5: keyword hi")
    same = scene("same", rule(keywords=("hi",), position=2, has_tools=False))
    found = matching([same, second], Facts("m", text="hi"), MONDAY)
    assert found == (same, "rule 2: no tools, keyword hi")
    assert matching([second, same], Facts("m", text="hi"), MONDAY) == (second, "rule 2: no tools")
    assert matching([first, second], Facts("m", text="ho", has_tools=True), MONDAY) is None
    assert matching([], Facts("m", text="hi"), MONDAY) is None


def test_the_rule_is_told_in_words() -> None:
    conditions = {
        "keywords": ("hi", "ho"),
        "pattern": "h.",
        "min_prompt_tokens": 1,
        "max_prompt_tokens": 9,
        "efforts": frozenset({"low"}),
        "has_image": False,
        "weekdays": frozenset({1}),
        "position": 3,
    }
    found = matching([scene("code", rule(**conditions))], Facts("m", text="ho", prompt_tokens=5, effort="low"), MONDAY)
    assert found is not None
    assert found[1] == (
        "rule 3: no image, at least 1 tokens, at most 9 tokens, effort low, time Mon 10:30, keyword ho, pattern h."
    )


@pytest.mark.parametrize(
    "pattern", ["(a+)+$", "(x+x+)+y", "(a|aa)+$", "([a-z]+)*1", "(.*a){20}b", "((((.{1,99})*)*)*)z"]
)
def test_a_pattern_that_stalls_others_takes_milliseconds(pattern: str) -> None:
    for text in ("a" * 4000 + "!", "ab " * 1300, "x" * 4000, "部署 x" * 800):
        begin = clock.process_time()
        is_found(pattern, text)
        assert clock.process_time() - begin < 0.1


@pytest.mark.parametrize(
    ("pattern", "reason"),
    [
        ("(a|b", "missing )"),
        ("(?=a)", "invalid perl operator"),
        (r"(a)\1", "invalid escape sequence"),
        ("[z-a]", "invalid character class range"),
        ("a{2000}", "invalid repetition size"),
        (".{0,900}x", "too large"),
        (r"\pL{2,900}", "too large"),
        ("\ud800", "not valid Unicode"),
    ],
)
def test_a_pattern_that_re2_does_not_take(pattern: str, reason: str) -> None:
    with pytest.raises(PatternInvalid, match=reason.replace(")", r"\)")):
        compiled(pattern)


def test_an_invalid_pattern_in_the_database_fails_no_call(caplog: pytest.LogCaptureFixture) -> None:
    rules = scene("code", rule(pattern="(a|b"), rule(keywords=("hi",), position=1))
    assert matching([rules], Facts("m", text="hi secret"), MONDAY) == (rules, "rule 1: keyword hi")
    assert "passed over" in caplog.text
    assert "secret" not in caplog.text


def test_many_rules_are_matched_within_the_budget_of_a_call() -> None:
    rules = [rule(keywords=tuple(f"word{n}-{k}" for k in range(20)), pattern=f"x{n}.*y", position=n) for n in range(50)]
    scenes = [scene(f"scene {n}", *rules) for n in range(4)]
    facts = Facts("m", text="please look at the following code and tell me what is wrong " * 60)
    matching(scenes, facts, MONDAY)  # compiles
    begin = clock.process_time()
    for _ in range(5):
        assert matching(scenes, facts, MONDAY) is None
    assert (clock.process_time() - begin) / 5 < 0.03
