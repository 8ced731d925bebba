"""Slots of providers: shares of workers, who comes first, and none that is lost."""

import asyncio
from dataclasses import replace

import pytest

from providers.target import Target
from routing.slots import Slot, Slots
from tests.accounts.books import target

UP, OTHER, FREE = (
    replace(target(name), max_concurrency=cap) for name, cap in (("up/a", 2), ("other/a", 1), ("f/a", None))
)


@pytest.mark.parametrize(
    ("cap", "workers", "share"), [(8, 1, 8), (8, 2, 4), (8, 3, 2), (2, 4, 1), (1, 16, 1), (5, 0, 5)]
)
def test_each_worker_takes_its_share(cap: int, workers: int, share: int) -> None:
    slots = Slots()
    slots.workers = workers
    capped = replace(UP, max_concurrency=cap)
    taken = [slots.take(capped) for _ in range(cap + 3)]
    assert len([slot for slot in taken if slot]) == share
    assert not slots.has_slot(capped)


def test_a_provider_without_a_cap_has_slots_without_end() -> None:
    slots = Slots()
    assert all(slots.take(FREE) for _ in range(1000))
    assert slots.in_use("f") == 0


def test_a_slot_given_back_twice_counts_once() -> None:
    slots = Slots()
    first, second = slots.take(UP), slots.take(UP)
    assert first is not None
    assert second is not None
    first.release()
    first.release()
    assert slots.in_use("up") == 1
    assert slots.take(UP) is not None
    assert slots.take(UP) is None


async def queue(slots: Slots, order: list[int], number: int) -> None:
    slot = await slots.wait([UP], 5)
    assert slot is not None
    order.append(number)
    await asyncio.sleep(0)
    slot.release()


def test_who_came_first_is_served_first_and_nobody_overtakes() -> None:
    async def play() -> None:
        slots, order = Slots(), list[int]()
        held = [slots.take(UP) for _ in range(2)]
        tasks = [asyncio.create_task(queue(slots, order, number)) for number in range(20)]
        await asyncio.sleep(0)
        assert held[0] is not None
        held[0].release()
        assert slots.take(UP) is None
        await asyncio.gather(*tasks)
        assert order == list(range(20))
        assert slots.in_use("up") == 1

    asyncio.run(play())


def test_one_that_waits_for_several_takes_whichever_comes_first() -> None:
    async def play() -> None:
        slots = Slots()
        up: list[Slot | None] = [slots.take(UP), slots.take(UP)]
        other = slots.take(OTHER)
        waiting = asyncio.create_task(slots.wait([UP, OTHER], 5))
        await asyncio.sleep(0)
        assert other is not None
        other.release()
        slot = await waiting
        assert slot is not None
        assert slot.provider_name == "other"
        for each in up:
            assert each is not None
            each.release()
        assert (slots.in_use("up"), slots.in_use("other")) == (0, 1)

    asyncio.run(play())


def test_a_wait_has_an_end() -> None:
    async def play() -> None:
        slots = Slots()
        slot = slots.take(OTHER)
        assert await slots.wait([OTHER], 0.01) is None
        assert slot is not None
        slot.release()
        assert slots.take(OTHER) is not None

    asyncio.run(play())


def test_a_slot_that_is_handed_to_somebody_who_leaves_goes_to_the_next() -> None:
    async def play() -> None:
        slots = Slots()
        held = slots.take(OTHER)
        leaving = asyncio.create_task(slots.wait([OTHER], 5))
        next_one = asyncio.create_task(slots.wait([OTHER], 5))
        await asyncio.sleep(0)
        assert held is not None
        held.release()  # handed to the first, which has not run yet
        leaving.cancel()
        slot = await next_one
        assert slot is not None
        with pytest.raises(asyncio.CancelledError):
            await leaving
        slot.release()
        assert slots.in_use("other") == 0

    asyncio.run(play())


def test_a_larger_share_lets_those_in_who_wait() -> None:
    async def play() -> None:
        slots = Slots()
        slots.workers = 2
        capped: Target = replace(UP, max_concurrency=2)
        assert slots.take(capped) is not None
        assert slots.take(capped) is None
        waiting = asyncio.create_task(slots.wait([capped], 5))
        await asyncio.sleep(0)
        slots.workers = 1
        assert slots.take(capped) is None  # it is for the one who waits
        assert await waiting is not None

    asyncio.run(play())
