"""The simulation of a working day: what must hold whatever the prices and the prompts are."""

from decimal import Decimal
from functools import cache
from typing import Any

from benchmarks.day_policy import SCENES
from benchmarks.office import DATA, EXAMPLES, LANGUAGES, Day, calls_of, prompts
from benchmarks.working_day import simulate, table
from routing.intent.kinds import kind_of

SMALL = Day(seed=7, people=4, sessions=4)


@cache
def report() -> dict[str, Any]:
    return simulate(SMALL)


def test_routing_by_intent_is_cheaper_than_the_best_model_and_than_chance_the_classifier_included() -> None:
    spend = {name: Decimal(cost) for name, cost in report()["spend_usd"].items()}
    assert 0 < spend["policy"] < min(spend["reference"], spend["random"])
    assert Decimal(report()["classifier"]["cost_usd"]) < spend["policy"] / 100


def test_the_small_model_is_asked_for_few_of_the_main_turns() -> None:
    small = report()["classifier"]
    assert small["main_turns"] > 50
    assert small["asked"] > 0
    assert small["share_of_main_turns"] <= 0.3


def test_no_scene_changes_within_a_tool_loop() -> None:
    assert report()["kinds"]["tool_result"] > 200
    assert report()["scene_flips_in_tool_loops"] == 0


def test_a_day_has_calls_of_many_kinds_and_each_is_recognised() -> None:
    calls = list(calls_of(Day(seed=1, people=12, sessions=5)))
    kinds = {kind_of(call.body, call.headers) for call in calls}
    assert {"main", "tool_result", "subagent", "title", "probe", "compaction"} == kinds
    assert all(kind_of(call.body, call.headers) in ("main", "tool_result") for call in calls if call.scene)
    assert max(call.prompt_tokens for call in calls) > 100_000


def test_the_same_seed_makes_the_same_day() -> None:
    def untimed(found: dict[str, Any]) -> dict[str, Any]:
        return {name: value for name, value in found.items() if name != "decision_ms"}

    assert untimed(simulate(SMALL)) == untimed(report())
    assert untimed(simulate(Day(seed=8, people=4, sessions=4))) != untimed(report())


def test_the_table_says_what_the_report_does() -> None:
    text = table(report())
    assert f"{report()['spend_usd']['policy']} USD, classifier included" in text
    assert f"asked {report()['classifier']['asked']} times" in text


def test_the_prompts_are_of_every_scene_in_both_languages_and_none_comes_twice() -> None:
    assert sorted(DATA.glob("prompts_*.json")) == sorted(DATA / f"prompts_{language}.json" for language in LANGUAGES)
    for language in LANGUAGES:
        found = prompts(language)
        assert set(found) == set(SCENES)
        every = [prompt for each in found.values() for prompt in each]
        assert len(every) == len(set(every)) >= 200
        assert all(len(each) > 4 * EXAMPLES for each in found.values())
