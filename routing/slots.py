"""How many calls of a provider run at the same time: slots, held from the question to the end of the answer.

A provider's cap is for all workers together; each takes its share of it, at least one. That is inexact in two ways that
are accepted: calls are rarely spread evenly, so one worker may wait while another has slots to spare, and with more
workers than slots each still has one. Of the event loop only, except for `workers`, which the ledger thread sets.
"""

import asyncio
from collections import defaultdict, deque
from collections.abc import Iterable

from providers.target import Target


class Slot:
    """The right to ask a provider. Release it when the answer has ended, whatever its end."""

    __slots__ = ("_slots", "provider_name")

    def __init__(self, slots: "Slots | None", provider_name: str) -> None:
        self._slots = slots  # None: of a provider without a cap, or released
        self.provider_name = provider_name

    def release(self) -> None:
        """Let the next call have it. May be called twice."""
        slots, self._slots = self._slots, None
        if slots is not None:
            slots._released(self.provider_name)


class Slots:
    """The slots of this process."""

    def __init__(self) -> None:
        self.workers = 1  # that are alive
        self._caps: dict[str, int] = {}
        self._used: defaultdict[str, int] = defaultdict(int)
        self._waiting: defaultdict[str, deque[asyncio.Future[str]]] = defaultdict(deque)

    def has_slot(self, target: Target) -> bool:
        """Say whether a call of `target` could begin at once."""
        if target.max_concurrency is None:
            return True
        name = target.provider_name
        return self._used[name] < self._share(target.max_concurrency) and not self._is_awaited(name)

    def in_use(self, provider_name: str) -> int:
        """Return how many calls hold a slot of a provider that has a cap."""
        return self._used[provider_name]

    def take(self, target: Target) -> Slot | None:
        """Return a slot, None if there is none or others wait for one."""
        if target.max_concurrency is None:
            return Slot(None, target.provider_name)
        name = target.provider_name
        self._caps[name] = target.max_concurrency
        self._hand_out(name)  # the cap, or the number of workers, may have changed
        if not self.has_slot(target):
            return None
        self._used[name] += 1
        return Slot(self, name)

    async def wait(self, targets: Iterable[Target], timeout_s: float) -> Slot | None:
        """Return the first slot of any of `targets` (which have caps); None when there was none in time.

        Who came first is served first.
        """
        names = {target.provider_name for target in targets}
        future: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        for name in names:
            self._waiting[name].append(future)
            self._hand_out(name)
        try:
            async with asyncio.timeout(timeout_s):
                return Slot(self, await asyncio.shield(future))
        except TimeoutError:
            if future.done():
                return Slot(self, future.result())
            return None
        except BaseException:
            if future.done():
                # It was handed over in the very moment in which nobody wanted it any longer.
                self._released(future.result())
            raise
        finally:
            future.cancel()
            for name in names:
                if future in self._waiting[name]:
                    self._waiting[name].remove(future)

    def _share(self, cap: int) -> int:
        return max(cap // max(self.workers, 1), 1)

    def _is_awaited(self, name: str) -> bool:
        return any(not future.done() for future in self._waiting[name])

    def _released(self, name: str) -> None:
        self._used[name] -= 1
        self._hand_out(name)

    def _hand_out(self, name: str) -> None:
        waiting = self._waiting[name]
        while waiting and self._used[name] < self._share(self._caps.get(name, 1)):
            future = waiting.popleft()
            if not future.done():
                self._used[name] += 1
                future.set_result(name)


_slots = Slots()


def current() -> Slots:
    """Return the slots of this process."""
    return _slots


def start_anew() -> Slots:
    """Forget everything, for tests; return what the process goes by from here on."""
    global _slots
    _slots = Slots()
    return _slots
