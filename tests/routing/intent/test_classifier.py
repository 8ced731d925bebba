"""Asking small models for the scene of a prompt: order, time, memory."""

import asyncio
import logging
from dataclasses import replace
from typing import Any

import pytest

from providers.errors import ErrorKind, UpstreamError
from routing.intent import classifier as module
from routing.intent.classifier import CACHED_S, MAX_CACHED, Ask, Classifier, NotAsked, Result
from routing.meaning import NoTarget
from routing.select import PromptTooLong
from routing.snapshot import PolicySnapshot, RouteSnapshot
from tests.routing.intent.small_models import CHAT, CODE, DOCS, HASTY, POLICY, TWO, Clock, Models, classified, down


def test_the_first_usable_answer_decides() -> None:
    assert classified("code") == (("code", "hit"), ["s/a"])
    assert classified("code", policy=TWO) == (("code", "hit"), ["s/a"])


@pytest.mark.parametrize(
    "fault", ["Sure, that is code!", "", down(), down(ErrorKind.AUTH), TimeoutError(), NoTarget("off")]
)
def test_the_next_model_is_asked_where_one_gives_no_usable_answer(fault: Any) -> None:
    assert classified(fault, "docs", policy=TWO) == (("docs", "hit"), ["s/a", "s/b"])


@pytest.mark.parametrize(
    ("fault", "outcome"),
    [
        ("nonsense", "invalid"),
        (down(), "failed"),
        (down(ErrorKind.TIMEOUT), "timeout"),
        (TimeoutError(), "timeout"),
        (NoTarget("off"), "failed"),
        (PromptTooLong(1000, 100), "failed"),
    ],
)
def test_the_outcome_is_that_of_the_last_model(fault: Any, outcome: str) -> None:
    assert classified(down(), fault, policy=TWO) == ((None, outcome), ["s/a", "s/b"])


def test_who_may_not_ask_asks_nobody_else() -> None:
    assert classified(NotAsked(), "code", policy=TWO) == ((None, "refused"), ["s/a"])


def test_nobody_is_asked_where_there_is_nothing_to_learn() -> None:
    assert classified("code", policy=replace(POLICY, classifier_names=())) == ((None, "none"), [])
    assert classified("code", policy=replace(POLICY, scenes=(CODE,))) == ((None, "none"), [])
    assert classified("code", policy=replace(POLICY, scenes=(CODE,) * 101)) == ((None, "none"), [])
    for text in ("", " \n", "\u200b\u2060"):
        assert classified("code", text=text) == ((None, "empty"), [])


def test_scenes_without_targets_are_not_offered() -> None:
    empty = replace(DOCS, route=RouteSnapshot("empty", ()))
    models = Models(["code"])
    asyncio.run(Classifier().classify("hi", replace(POLICY, scenes=(CHAT, CODE, empty)), models))
    assert "docs" not in models.bodies[0]["system"]
    assert classified("code", policy=replace(POLICY, scenes=(CODE, empty))) == ((None, "none"), [])


def test_a_silent_model_leaves_time_for_the_next() -> None:
    policy = replace(TWO, classifier_timeout_ms=300)
    models = Models([None, "docs"])
    assert asyncio.run(Classifier().classify("hi", policy, models)) == ("docs", "hit")
    # The limit that the caller sets comes before ours, and the first model gets no more than its share.
    assert models.limits[0] == pytest.approx(0.18 - 0.018, abs=0.01)
    assert models.limits[1] < 0.13


async def _timed(policy: PolicySnapshot, ask: Ask) -> tuple[Result, float]:
    loop = asyncio.get_running_loop()
    begin = loop.time()
    return await Classifier().classify("hi", policy, ask), loop.time() - begin


def test_silence_ends_with_the_time_of_the_policy() -> None:
    for names in (("s/a",), ("s/a", "s/b", "s/c")):
        result, took_s = asyncio.run(_timed(replace(HASTY, classifier_names=names), Models([None])))
        assert result == (None, "timeout")
        assert 0.09 < took_s < 1


def test_an_answer_is_remembered_for_a_time() -> None:
    clock = Clock()
    memory = Classifier(clock)
    assert classified("code", memory=memory) == (("code", "hit"), ["s/a"])
    clock.now += CACHED_S - 1
    assert classified("docs", memory=memory) == (("code", "cached"), [])
    clock.now += 2
    assert classified("docs", memory=memory) == (("docs", "hit"), ["s/a"])


@pytest.mark.parametrize(
    "policy",
    [
        replace(POLICY, scenes=(CHAT, replace(CODE, description="Anything about machines"), DOCS)),
        replace(POLICY, scenes=(CHAT, replace(CODE, name="coding"), DOCS)),
        replace(POLICY, scenes=(CHAT, CODE)),
        replace(POLICY, classifier_names=("s/b",)),
        TWO,
    ],
)
def test_other_scenes_or_models_are_another_question(policy: PolicySnapshot) -> None:
    memory = Classifier()
    classified("code", memory=memory)
    (scene, outcome), asked = classified("chat", policy=policy, memory=memory)
    assert (scene, outcome, len(asked)) == ("chat", "hit", 1)


def test_policies_with_the_same_scenes_and_models_share_what_is_known() -> None:
    memory = Classifier()
    classified("code", memory=memory)
    assert classified("docs", policy=replace(POLICY, pk=2, name="other"), memory=memory) == (("code", "cached"), [])
    assert classified("docs", text="sort that list", memory=memory) == (("docs", "hit"), ["s/a"])


@pytest.mark.parametrize("fault", ["nonsense", down(), TimeoutError(), NotAsked()])
def test_failures_are_not_remembered(fault: Any) -> None:
    memory = Classifier()
    assert classified(fault, memory=memory)[0][0] is None
    assert classified("code", memory=memory) == (("code", "hit"), ["s/a"])


def test_the_memory_is_bounded_and_keeps_what_is_used() -> None:
    memory = Classifier()

    async def fill() -> None:
        models = Models(["code"])
        for number in range(MAX_CACHED + 10):
            await memory.classify(f"prompt {number}", POLICY, models)
            if number % 100 == 0:
                assert await memory.classify("prompt 0", POLICY, models) == ("code", "cached")

    asyncio.run(fill())
    assert len(memory._cache) == MAX_CACHED
    assert classified("docs", text="prompt 0", memory=memory) == (("code", "cached"), [])
    assert classified("docs", text="prompt 1", memory=memory) == (("docs", "hit"), ["s/a"])


async def _together(models: Models, count: int, *, policy: PolicySnapshot = POLICY) -> list[asyncio.Task[Result]]:
    """Return `count` askers of the same, the first of which has asked."""
    memory = Classifier()
    tasks = [asyncio.create_task(memory.classify("hi", policy, models)) for _number in range(count)]
    while not models.asked:
        await asyncio.sleep(0)
    await asyncio.sleep(0)
    return tasks


def test_the_same_at_the_same_moment_is_asked_once() -> None:
    async def run() -> None:
        gate = asyncio.Event()
        models = Models([gate])
        tasks = await _together(models, 5)
        gate.set()
        results = await asyncio.gather(*tasks)
        assert results == [("code", "hit"), *[("code", "cached")] * 4]
        assert models.asked == ["s/a"]

    asyncio.run(run())


def test_a_failure_is_shared_and_not_tried_by_everybody() -> None:
    async def run() -> None:
        models = Models(["nonsense"])
        assert await asyncio.gather(*await _together(models, 5)) == [(None, "invalid")] * 5
        assert models.asked == ["s/a"]

    asyncio.run(run())


def test_who_waits_asks_for_itself_when_the_first_hangs_up() -> None:
    async def run() -> None:
        models = Models([None, "code"])
        first, *others = await _together(models, 4)
        first.cancel()
        assert await asyncio.gather(*others) == [("code", "hit"), ("code", "cached"), ("code", "cached")]
        assert first.cancelled() or isinstance(first.exception(), asyncio.CancelledError)
        assert models.asked == ["s/a", "s/a"]

    asyncio.run(run())


def test_who_waits_may_hang_up_alone() -> None:
    async def run() -> None:
        gate = asyncio.Event()
        models = Models([gate])
        first, second, third = await _together(models, 3)
        second.cancel()
        await asyncio.sleep(0)
        gate.set()
        assert await first == ("code", "hit")
        assert await third == ("code", "cached")
        assert second.cancelled()

    asyncio.run(run())


def test_a_refusal_or_a_bug_of_the_first_is_not_that_of_the_others() -> None:
    async def run(fault: Exception) -> list[Any]:
        models = Models([fault, "code"])
        results = await asyncio.gather(*await _together(models, 2), return_exceptions=True)
        assert models.asked == ["s/a", "s/a"]
        return results

    assert asyncio.run(run(NotAsked())) == [(None, "refused"), ("code", "hit")]
    bug, other = asyncio.run(run(KeyError("bug")))
    assert isinstance(bug, KeyError)
    assert other == ("code", "hit")


def test_who_waits_waits_no_longer_than_its_own_policy_says() -> None:
    async def run() -> None:
        models, memory = Models([None]), Classifier()
        first = asyncio.create_task(memory.classify("hi", POLICY, models))
        while not models.asked:
            await asyncio.sleep(0)
        assert await memory.classify("hi", HASTY, models) == (None, "timeout")
        assert models.asked == ["s/a"]
        first.cancel()

    asyncio.run(run())


def test_nothing_of_a_prompt_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG, "routing"):
        for fault in ("nonsense 机密", UpstreamError(ErrorKind.BAD_RESPONSE, "said: 机密"), TimeoutError("机密")):
            classified(fault, text="机密 plans")
    assert [record.name for record in caplog.records].count("routing.intent.classifier") == 3
    assert "机密" not in caplog.text
    assert "s/a" in caplog.text


def test_the_process_has_one_memory() -> None:
    module.forget()
    models = Models(["code"])
    for expected in (("code", "hit"), ("code", "cached")):
        assert asyncio.run(module.classify("hi", POLICY, models)) == expected
    module.forget()
    assert asyncio.run(module.classify("hi", POLICY, models)) == ("code", "hit")
