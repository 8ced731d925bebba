"""A scene none of whose targets can take a call: the others of the policy do, where the intent chose the scene."""

from dataclasses import replace
from typing import Any

import pytest

from routing.intent.facts import Facts, SceneChoice
from routing.meaning import Meaning, meaning_of
from routing.models import RequestKind
from routing.select import Decision, ModelNotAllowed, PromptTooLong, select
from routing.snapshot import PolicySnapshot, RouteSnapshot, SceneSnapshot, Snapshot
from tests.accounts.books import target

TINY = target("main/tiny", context_window=1000)
SMALL = target("main/small", context_window=2000)
CODER = target("main/coder", context_window=4000)
BEST = target("main/best", context_window=9000)
CHAT = SceneSnapshot("chat", "small talk", (), RouteSnapshot("chat", ("main/small", "main/tiny")))
CODE = SceneSnapshot("code", "new code", (), RouteSnapshot("code", ("main/best", "main/coder")))
GENERAL = SceneSnapshot("general", "all else", (), RouteSnapshot("general", ("main/coder",)), is_default=True)
CHEAP = RouteSnapshot("cheap", ("main/tiny",))
POLICY = PolicySnapshot(1, "smart", "smart", None, "", None, scenes=(CHAT, CODE, GENERAL), cheap_route=CHEAP)
VIEW = Snapshot(1, {each.name: each for each in (TINY, SMALL, CODER, BEST)}, (), {1: POLICY}, POLICY)


def chosen(tokens: int, *, view: Snapshot = VIEW, allowed: tuple[str, ...] = (), **fields: Any) -> Decision:
    """Return the decision for a call that the scorer takes for small talk."""
    facts = Facts("claude-opus-5-5", prompt_tokens=tokens, **fields)
    meaning = meaning_of(view, POLICY, facts, SceneChoice(CHAT, "scorer"))
    return select(view, POLICY, meaning, facts, allowed=allowed)


def names(decision: Decision) -> list[str]:
    return [each.name for each in decision.candidates]


def test_a_long_conversation_is_not_refused_for_a_word_of_thanks() -> None:
    assert names(chosen(500)) == ["main/small", "main/tiny"]
    assert names(chosen(1500)) == ["main/small"]
    # The default scene's first; the reasons against the scene's own are kept.
    decision = chosen(3000)
    assert names(decision) == ["main/coder", "main/best"]
    assert {name for name, _reason in decision.skipped} == {"main/small", "main/tiny"}
    assert decision.hangs_on_size
    assert decision.route_name == "chat"
    assert names(chosen(8000)) == ["main/best"]


def test_what_fits_nowhere_is_refused_with_the_largest_window() -> None:
    with pytest.raises(PromptTooLong) as refused:
        chosen(50_000)
    assert refused.value.context_window == 9000


def test_a_scene_whose_models_are_all_switched_off_is_answered_by_the_others() -> None:
    view = replace(VIEW, targets={"main/coder": CODER})
    assert names(chosen(500, view=view)) == ["main/coder"]


def test_what_a_key_may_not_use_is_no_reason_to_look_further() -> None:
    assert names(chosen(3000, allowed=("main/tiny", "main/best"))) == ["main/best"]
    with pytest.raises(ModelNotAllowed):
        chosen(500, allowed=("main/best",))


def test_what_only_serves_the_client_finds_a_model_with_room() -> None:
    decision = chosen(3000, kind=RequestKind.PERMISSION)
    assert set(names(decision)) == {"main/coder", "main/best"}


@pytest.mark.parametrize("by", ["quota", "alias", "policy", "named"])
def test_what_was_said_outright_is_kept_to(by: str) -> None:
    facts = Facts("claude-opus-5-5", prompt_tokens=3000)
    with pytest.raises(PromptTooLong):
        select(VIEW, POLICY, Meaning(CHEAP, "said", "", by=by), facts)
