"""What a call stands for before anybody reads its words, and what is recorded of it."""

import json
import re
from dataclasses import replace
from fnmatch import translate

import pytest

from accounts.ledger_items import INNER_KINDS
from routing.intent.facts import Facts, SceneChoice
from routing.meaning import NoTarget, meaning_of, of_scene, rule_for, without_intent
from routing.models import RequestKind
from routing.record import record_of
from routing.select import first_target, select
from routing.snapshot import (
    AliasSnapshot,
    KindRuleSnapshot,
    PolicySnapshot,
    RouteSnapshot,
    SceneSnapshot,
    Snapshot,
)
from tests.accounts.books import target

CHEAP, DEAR, ANY = RouteSnapshot("cheap", ("up/a",)), RouteSnapshot("dear", ("up/b", "up/a", "any/*")), "any/*"
CHAT = SceneSnapshot("chat", "small talk", (), CHEAP, is_default=True)
CODE = SceneSnapshot("code", "programming", (), DEAR)
SMART = PolicySnapshot(1, "smart", "smart", None, "", None, (CHAT, CODE))
DIRECT = PolicySnapshot(2, "direct", "direct", DEAR, "", None)
PASSING = PolicySnapshot(3, "passing", "passthrough", DEAR, "", None)
VIEW = Snapshot(
    1,
    {name: target(name) for name in ("up/a", "up/b", ANY)},
    (
        AliasSnapshot("claude-opus-*", re.compile(translate("claude-opus-*")), DEAR, "code"),
        AliasSnapshot("up/b", re.compile(translate("up/b")), CHEAP),
    ),
)


@pytest.mark.parametrize(
    ("kind", "action"),
    [
        (RequestKind.MAIN, "classify"),
        (RequestKind.SUBAGENT, "classify"),
        (RequestKind.COUNT, "classify"),
        (RequestKind.TOOL_RESULT, "same"),
        (RequestKind.COMPACTION, "same"),
        (RequestKind.WEB_SEARCH, "same"),
        (RequestKind.TITLE, "cheapest"),
        (RequestKind.PROBE, "cheapest"),
        (RequestKind.PERMISSION, "cheapest"),
        *[(kind, "classify") for kind in INNER_KINDS],
    ],
)
def test_each_kind_goes_somewhere_by_itself(kind: str, action: str) -> None:
    assert rule_for(SMART, kind).action == action
    assert rule_for(SMART, str(kind)).action == action
    own = replace(SMART, kind_rules={kind: KindRuleSnapshot("route", route=DEAR)})
    assert rule_for(own, kind).route is DEAR


def test_the_cheapest_are_looked_for_among_all_targets_of_the_policy() -> None:
    meaning = meaning_of(VIEW, SMART, Facts("x", "title"))
    # A target for any model would be asked for whatever the client names.
    assert (meaning.route.target_names, meaning.order, meaning.by) == (("up/a", "up/b"), "cheapest", "kind")
    own = replace(SMART, cheap_route=DEAR)
    meaning = meaning_of(VIEW, own, Facts("x", "title"))
    assert (meaning.route, meaning.order) == (DEAR, "")


def test_what_only_stands_for_any_model_is_better_than_nothing() -> None:
    policy = replace(SMART, scenes=(replace(CHAT, route=RouteSnapshot("any", (ANY,))),))
    assert meaning_of(VIEW, policy, Facts("x", "probe")).route.target_names == (ANY,)


@pytest.mark.parametrize(
    ("policy", "requested", "kind", "by", "names"),
    [
        (SMART, "up/b", "main", "named", ("up/b",)),
        (SMART, "up/b", "title", "named", ("up/b",)),
        (SMART, "any/thing", "main", "named", (ANY,)),
        (SMART, "claude-opus-5-5", "title", "kind", ("up/a", "up/b")),
        (SMART, "claude-opus-5-5", "tool_result", "alias", DEAR.target_names),
        (DIRECT, "up/b", "title", "alias", CHEAP.target_names),
        (DIRECT, "any/thing", "main", "named", (ANY,)),
        (DIRECT, "whatever", "title", "policy", DEAR.target_names),
        (None, "any/thing", "main", "named", (ANY,)),
    ],
)
def test_names_and_kinds(
    policy: PolicySnapshot | None, requested: str, kind: str, by: str, names: tuple[str, ...]
) -> None:
    meaning = without_intent(VIEW, policy, Facts(requested, kind))
    assert meaning is not None
    assert (meaning.by, meaning.route.target_names) == (by, names)


def test_the_words_are_needed_for_all_else() -> None:
    assert without_intent(VIEW, SMART, Facts("whatever")) is None
    assert without_intent(VIEW, SMART, Facts("whatever", "compaction")) is None
    assert meaning_of(VIEW, SMART, Facts("whatever")).scene_name == "chat"
    choice = SceneChoice(CODE, "rule", "rule 3: keyword x")
    meaning = meaning_of(VIEW, SMART, Facts("whatever"), choice)
    assert (meaning.scene_name, meaning.by, meaning.rule) == ("code", "rule", "rule 3: keyword x")


def test_an_alias_for_a_scene_names_it_where_there_are_scenes() -> None:
    assert meaning_of(VIEW, SMART, Facts("claude-opus-5-5")).scene_name == "code"
    assert meaning_of(VIEW, DIRECT, Facts("claude-opus-5-5")).scene_name == ""


@pytest.mark.parametrize("requested", ["whatever", "up/b", "claude-opus-5-5"])
@pytest.mark.parametrize("kind", ["main", "title", "tool_result"])
def test_a_full_quota_overrides_all_but_a_policy_that_passes_through(requested: str, kind: str) -> None:
    facts = Facts(requested, kind)
    for policy in (SMART, DIRECT):
        meaning = meaning_of(VIEW, policy, facts, downgraded_by="key k")
        assert (meaning.by, meaning.order, meaning.scene_name) == ("quota", "cheapest", "")
        assert "key k" in meaning.reason
        assert meaning.downgraded_by == "key k"
        meaning = meaning_of(VIEW, replace(policy, cheap_route=CHEAP), facts, downgraded_by="key k")
        assert (meaning.route, meaning.order) == (CHEAP, "")
    assert meaning_of(VIEW, PASSING, facts, downgraded_by="key k") == meaning_of(VIEW, PASSING, facts)


def test_what_is_missing_is_named() -> None:
    nothing = replace(SMART, scenes=())
    for kind, downgraded_by in (("main", ""), ("title", ""), ("main", "key k")):
        with pytest.raises(NoTarget, match="has no scenes"):
            meaning_of(VIEW, nothing, Facts("x", kind), downgraded_by=downgraded_by)
        assert first_target(VIEW, nothing, Facts("x", kind), downgraded_by=downgraded_by) is None
    empty = replace(SMART, scenes=(replace(CHAT, route=RouteSnapshot("none", ())),))
    with pytest.raises(NoTarget, match="have no targets"):
        meaning_of(VIEW, empty, Facts("x", "title"))
    with pytest.raises(NoTarget, match="has no targets"):
        select(VIEW, empty, meaning_of(VIEW, empty, Facts("x")), Facts("x"))


def test_the_record_says_what_decided_and_nothing_of_the_prompt() -> None:
    facts = Facts(
        "x", text="my secret plan", prompt_tokens=120, max_tokens=5, needs=frozenset({"vision", "tools"}), effort="high"
    )
    choice = SceneChoice(
        CODE, "default", "no scene is clear", 0.41234, {"code": 0.41234, "chat": 0.3}, classifier="timeout"
    )
    record = record_of(facts, of_scene(facts, choice))
    text_sha = record["facts"].pop("text_sha")
    assert record == {
        "kind": "main",
        "by": "default",
        "scene": "code",
        "detail": "no scene is clear",
        "classifier": "timeout",
        "confidence": 0.412,
        "scores": {"code": 0.412, "chat": 0.3},
        "facts": {"prompt_tokens": 120, "max_tokens": 5, "needs": ["tools", "vision"], "effort": "high"},
    }
    assert len(text_sha) == 16
    assert "secret" not in json.dumps(record)
    downgraded = record_of(facts, meaning_of(VIEW, SMART, facts, downgraded_by="key k"))
    assert (downgraded["by"], downgraded["downgraded_by"]) == ("quota", "key k")
    kind = record_of(facts, meaning_of(VIEW, SMART, Facts("x", RequestKind.TITLE)))
    assert json.loads(json.dumps(kind))["rule"] == "cheapest"
