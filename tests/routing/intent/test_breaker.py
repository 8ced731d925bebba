"""Models that keep failing rest, and prompts cannot make them."""

import asyncio
from typing import Any

import pytest

from providers.errors import ErrorKind
from routing.intent.breaker import FAILURES, FIRST_REST_S, LONGEST_REST_S
from routing.intent.classifier import Classifier, NotAsked
from routing.meaning import NoTarget
from tests.routing.intent.small_models import HASTY, POLICY, TWO, Clock, Models, classified, down


@pytest.mark.parametrize(
    "fault", [down(), TimeoutError(), down(ErrorKind.AUTH), "nonsense", down(ErrorKind.UNSUPPORTED_FEATURE)]
)
def test_a_model_that_fails_again_and_again_rests_and_is_then_tried_by_one(fault: Any) -> None:
    clock = Clock()
    memory = Classifier(clock)
    for number in range(FAILURES):
        assert classified(fault, text=f"{number}", memory=memory)[1] == ["s/a"]
    assert classified("code", memory=memory) == ((None, "open"), [])
    clock.now += FIRST_REST_S - 0.1
    assert classified("code", memory=memory) == ((None, "open"), [])
    clock.now += 0.2

    async def trial() -> None:
        gate = asyncio.Event()
        models = Models([gate])
        first = asyncio.create_task(memory.classify("one", POLICY, models))
        while not models.asked:
            await asyncio.sleep(0)
        assert await memory.classify("two", POLICY, models) == (None, "open")
        gate.set()
        assert await first == ("code", "hit")
        assert await memory.classify("three", POLICY, models) == ("code", "hit")

    asyncio.run(trial())


def test_rests_grow_up_to_a_limit_and_begin_small_again() -> None:
    clock = Clock()
    memory = Classifier(clock)
    for number in range(FAILURES):
        classified(down(), text=f"{number}", memory=memory)
    rests = []
    for number in range(7):
        begin = clock.now
        while classified(down(), text=f"again {number}", memory=memory) == ((None, "open"), []):
            clock.now += 1
        rests.append(clock.now - begin)
    assert rests == [10, 20, 40, 80, LONGEST_REST_S, LONGEST_REST_S, LONGEST_REST_S]
    clock.now += LONGEST_REST_S
    assert classified("code", memory=memory) == (("code", "hit"), ["s/a"])
    for number in range(FAILURES):
        assert classified(down(), text=f"new {number}", memory=memory)[1] == ["s/a"]
    clock.now += FIRST_REST_S
    assert classified("code", text="new", memory=memory) == (("code", "hit"), ["s/a"])


def test_failures_count_in_a_row_only() -> None:
    memory = Classifier()
    for number in range(3 * FAILURES):
        fault = "code" if number % FAILURES == FAILURES - 1 else down()
        assert classified(fault, text=f"{number}", memory=memory)[1] == ["s/a"]


def test_many_failures_at_once_are_one_rest() -> None:
    clock = Clock()
    memory = Classifier(clock)

    async def run() -> None:
        models = Models([down()])
        await asyncio.gather(*(memory.classify(f"{number}", POLICY, models) for number in range(50)))

    asyncio.run(run())
    clock.now += FIRST_REST_S
    assert classified("code", memory=memory) == (("code", "hit"), ["s/a"])


def test_a_resting_model_costs_the_next_no_time() -> None:
    memory = Classifier()
    for number in range(FAILURES):
        classified(down(), text=f"{number}", memory=memory)
    models = Models(["docs"])
    assert asyncio.run(memory.classify("hi", TWO, models)) == ("docs", "hit")
    assert models.asked == ["s/b"]
    assert models.limits[0] > 59


def test_a_trial_that_nobody_waited_for_leaves_the_way_open() -> None:
    clock = Clock()
    memory = Classifier(clock)
    for number in range(FAILURES):
        classified(down(), text=f"{number}", memory=memory)
    clock.now += FIRST_REST_S

    async def run() -> None:
        models = Models([None])
        task = asyncio.create_task(memory.classify("hi", POLICY, models))
        while not models.asked:
            await asyncio.sleep(0)
        task.cancel()
        await asyncio.wait([task])

    asyncio.run(run())
    assert classified(NotAsked(), memory=memory) == ((None, "refused"), ["s/a"])
    assert classified(NoTarget("off"), memory=memory) == ((None, "failed"), ["s/a"])
    assert classified("code", memory=memory) == (("code", "hit"), ["s/a"])


@pytest.mark.parametrize("fault", ["nonsense", down(ErrorKind.CONTENT_FILTERED), down(ErrorKind.CONTEXT_TOO_LONG)])
def test_no_prompt_switches_a_model_off_that_has_shown_that_it_can(fault: Any) -> None:
    clock = Clock()
    memory = Classifier(clock)
    classified("code", memory=memory)
    for number in range(3 * FAILURES):
        assert classified(fault, text=f"{number}", memory=memory)[1] == ["s/a"]
    # It is not for ever: who gives nothing usable for an hour has lost the ability.
    clock.now += 3601
    for number in range(FAILURES):
        classified(fault, text=f"late {number}", memory=memory)
    assert classified("code", text="late", memory=memory) == ((None, "open"), [])


def test_a_model_that_hangs_rests_whatever_it_has_shown() -> None:
    memory = Classifier()
    classified("code", memory=memory)
    for number in range(FAILURES):
        assert classified(None, policy=HASTY, text=f"{number}", memory=memory)[0] == (None, "timeout")
    assert classified("code", text="hi", memory=memory) == ((None, "open"), [])
