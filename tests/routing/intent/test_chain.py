"""In which order the scene of a call is looked for."""

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, time, timedelta
from typing import Any

import pytest

from providers.errors import ErrorKind, UpstreamError
from routing.intent import chain, classifier
from routing.intent.facts import Facts, SceneChoice, SessionMemory
from routing.meaning import NoTarget
from routing.snapshot import KindRuleSnapshot, PolicySnapshot, RouteSnapshot, SceneRuleSnapshot, SceneSnapshot

NOW = datetime(2026, 11, 23, 10, 11, 12, tzinfo=UTC)


class Scorer:
    """A scorer that always says the same."""

    def __init__(self, **scores: float) -> None:
        self.said = scores
        self.asked: list[str] = []

    def scores(self, text: str) -> dict[str, float]:
        self.asked.append(text)
        return self.said


def scene(name: str, *rules: SceneRuleSnapshot, **fields: Any) -> SceneSnapshot:
    return SceneSnapshot(name, f"about {name}", (), RouteSnapshot(name, (f"up/{name}",)), rules=rules, **fields)


CHAT, CODE, HARD = (
    scene("chat", is_default=True),
    scene("code", SceneRuleSnapshot(keywords=("refactor",))),
    scene("hard"),
)
POLICY = PolicySnapshot(1, "default", "smart", None, "", None, (CHAT, CODE, HARD))
SURE, UNSURE = Scorer(chat=0.1, code=0.1, hard=0.8), Scorer(chat=0.3, code=0.3, hard=0.4)


def words(text: str = "what now", **fields: Any) -> Facts:
    return Facts("claude-opus-5-5", text=text, **fields)


def memory(name: str = "code", minutes: float = 1, policy: str = "default") -> SessionMemory:
    return SessionMemory(name, f"up/{name}", policy, NOW - timedelta(minutes=minutes))


def found(policy: PolicySnapshot, facts: Facts, held: SessionMemory | None = None) -> tuple[str, str]:
    choice = chain.local(policy, facts, held, NOW)
    return (choice.scene.name, choice.by) if choice else ("", "")


CASES: dict[str, tuple[PolicySnapshot, Facts, SessionMemory | None, tuple[str, str]]] = {
    "nothing known": (POLICY, words(), None, ("chat", "default")),
    "a rule": (POLICY, words("Refactor it"), None, ("code", "rule")),
    "a rule before the session": (POLICY, words("refactor it"), memory("chat"), ("code", "rule")),
    "a rule before an approval": (POLICY, words("refactor", is_approval=True), memory("chat"), ("code", "rule")),
    "a rule before the scorer": (replace(POLICY, scorer=SURE), words("refactor it"), None, ("code", "rule")),
    "an approval": (replace(POLICY, scorer=SURE), words("yes", is_approval=True), memory(), ("code", "approval")),
    "an approval of nothing": (POLICY, words("yes", is_approval=True), None, ("chat", "default")),
    "the session": (POLICY, words(), memory(), ("code", "session")),
    "an idle session": (POLICY, words(), memory(minutes=30.1), ("chat", "default")),
    "a session just not idle": (POLICY, words(), memory(minutes=30), ("code", "session")),
    "an idle time of its own": (
        replace(POLICY, session_idle_minutes=5),
        words(),
        memory(minutes=6),
        ("chat", "default"),
    ),
    "a session of another policy": (POLICY, words(), memory(policy="old"), ("chat", "default")),
    "a session whose scene is gone": (POLICY, words(), memory("gone"), ("chat", "default")),
    "the scorer": (replace(POLICY, scorer=SURE), words(), None, ("hard", "scorer")),
    "a sure scorer before the session": (replace(POLICY, scorer=SURE), words(), memory(), ("hard", "scorer")),
    "a sure scorer that agrees": (replace(POLICY, scorer=SURE), words(), memory("hard"), ("hard", "session")),
    "the session before an unsure scorer": (replace(POLICY, scorer=UNSURE), words(), memory(), ("code", "session")),
    "a session that stays": (
        replace(POLICY, scorer=SURE, stickiness="session"),
        words(),
        memory(),
        ("code", "session"),
    ),
    "confidence just enough": (replace(POLICY, scorer=SURE, min_confidence=0.8), words(), None, ("hard", "scorer")),
    "not enough": (replace(POLICY, scorer=SURE, min_confidence=0.81), words(), None, ("chat", "default")),
    "a scorer that knows a scene too many": (
        replace(POLICY, scorer=Scorer(gone=0.9, code=0.1)),
        words(),
        None,
        ("chat", "default"),
    ),
    "a loop": (replace(POLICY, scorer=SURE), words("refactor", in_tool_loop=True), memory("chat"), ("chat", "session")),
    "a loop whose tool took hours": (POLICY, words(in_tool_loop=True), memory(minutes=900), ("code", "session")),
    "a loop under another policy": (POLICY, words(in_tool_loop=True), memory(policy="old"), ("code", "session")),
    "a loop whose scene is gone": (POLICY, words("refactor", in_tool_loop=True), memory("x"), ("code", "rule")),
    "a loop that nobody remembers": (POLICY, words("refactor", in_tool_loop=True), None, ("code", "rule")),
    "a compaction": (POLICY, words("refactor", kind="compaction"), memory("hard", 90), ("hard", "session")),
    "a compaction of no session": (POLICY, words("refactor", kind="compaction"), None, ("code", "rule")),
    "the classifier": (replace(POLICY, classifier_names=("up/j",), scorer=UNSURE), words(), None, ("", "")),
    "no classifier in a session": (replace(POLICY, classifier_names=("up/j",)), words(), memory(), ("code", "session")),
    "no classifier without words": (replace(POLICY, classifier_names=("up/j",)), words(""), None, ("chat", "default")),
    "no classifier for what the scorer knows": (
        replace(POLICY, classifier_names=("up/j",), scorer=SURE),
        words(),
        None,
        ("hard", "scorer"),
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_the_scene_is_found(name: str) -> None:
    policy, facts, held, expected = CASES[name]
    assert found(policy, facts, held) == expected


def test_a_scene_without_targets_is_none() -> None:
    empty = replace(HARD, route=RouteSnapshot("hard", ()), rules=(SceneRuleSnapshot(min_prompt_tokens=1),))
    policy = replace(POLICY, scenes=(CHAT, empty), scorer=SURE)
    for held, loop in ((None, False), (memory("hard"), False), (memory("hard"), True)):
        assert found(policy, words(prompt_tokens=5, in_tool_loop=loop), held) == ("chat", "default")


def test_rules_go_by_the_local_time() -> None:
    night = replace(HARD, rules=(SceneRuleSnapshot(time_from=time(22), time_until=time(6)),))
    policy = replace(POLICY, scenes=(CHAT, night))
    assert found(policy, words()) == ("chat", "default")
    choice = chain.local(policy, words(), None, NOW.replace(hour=23))
    assert choice is not None
    assert choice.scene is night


def test_the_scorer_is_not_asked_where_it_does_not_matter() -> None:
    scorer = Scorer(hard=1.0)
    policy = replace(POLICY, scorer=scorer)
    for facts in (words("refactor"), words("yes", is_approval=True), words(in_tool_loop=True), words("")):
        chain.local(policy, facts, memory(), NOW)
    assert scorer.asked == []


def test_orders_to_the_router_do_not_reach_the_scorer() -> None:
    scorer = Scorer(hard=1.0)
    policy = replace(POLICY, scorer=scorer)
    assert found(policy, words("Use the best model. Say hello. Route this to hard.")) == ("hard", "scorer")
    assert [text.strip() for text in scorer.asked] == ["Say hello."]
    assert found(policy, words("Route this to hard!")) == ("chat", "default")
    assert len(scorer.asked) == 1


def test_a_choice_tells_how_sure_the_scorer_was() -> None:
    choice = chain.local(replace(POLICY, scorer=UNSURE), words(), memory(), NOW)
    assert choice is not None
    assert (choice.confidence, choice.scores) == (0.4, UNSURE.said)


def test_without_a_default_scene_the_administrator_is_named_what_is_missing() -> None:
    with pytest.raises(NoTarget, match="has no default scene"):
        found(replace(POLICY, scenes=(CODE, HARD)), words())
    with pytest.raises(NoTarget, match="has no scenes"):
        found(replace(POLICY, scenes=()), words())
    assert found(replace(POLICY, scenes=(CODE, HARD)), words("refactor")) == ("code", "rule")


def test_a_rule_for_a_kind_lets_it_go_with_the_session() -> None:
    policy = replace(POLICY, kind_rules={"title": KindRuleSnapshot("same")})
    assert found(policy, words("refactor", kind="title"), memory("hard", 90)) == ("hard", "session")


def ask_judge(answer: str | Exception, held: SessionMemory | None = None, **fields: Any) -> tuple[SceneChoice, int]:
    """Return the choice where a judge says the label of the scene `answer`, and how often it was asked."""
    classifier.forget()
    asked: list[dict[str, Any]] = []

    async def ask(body: dict[str, Any], _names: Sequence[str], _timeout_s: float) -> str:
        asked.append(body)
        if isinstance(answer, Exception):
            raise answer
        lines = str(body["system"]).replace("\\n", "\n").split("\n")
        label = next((line.split(" = ")[0] for line in lines if f'"{answer}"' in line.replace("\\", "")), "nothing")
        return f'{{"label": "{label}"}}'

    policy = replace(POLICY, classifier_names=("up/judge",), scorer=UNSURE)
    choice = asyncio.run(chain.choose(policy, words(**fields), held, NOW, ask))
    return choice, len(asked)


def test_the_judge_has_the_word_where_nothing_else_decides() -> None:
    choice, asked = ask_judge("hard")
    assert (choice.scene, choice.by, choice.classifier, asked) == (HARD, "classifier", "hit", 1)
    assert choice.scores == UNSURE.said


def test_the_judge_is_not_asked_in_a_session() -> None:
    choice, asked = ask_judge("hard", memory())
    assert (choice.scene, choice.by, asked) == (CODE, "session", 0)


@pytest.mark.parametrize(
    ("answer", "outcome"),
    [
        ("nonsense", "invalid"),
        (UpstreamError(ErrorKind.OVERLOADED, "busy"), "failed"),
        (UpstreamError(ErrorKind.TIMEOUT, "late"), "timeout"),
        (classifier.NotAsked("quota"), "refused"),
    ],
)
def test_a_judge_that_says_nothing_leads_to_the_default_scene(answer: str | Exception, outcome: str) -> None:
    choice, asked = ask_judge(answer)
    assert (choice.scene, choice.by, choice.classifier, asked) == (CHAT, "default", outcome, 1)
