"""How soon each target begins to answer: an exponentially weighted average of the time to first token."""

import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

WEIGHT = 0.2
SHARE_S = 10.0  # how often the average of one target is written


@dataclass(slots=True)
class _Average:
    ttft_ms: float
    is_changed: bool = False
    is_stored: bool = False
    written: float = float("-inf")


class Speeds:
    """The averages of this process, by target. Workers share them through rows and go on from the one read last.

    An average of few calls that two workers write at the same time loses some of them: it is an average of what is
    typical, not a count. The event loop and the ledger thread may both call any method.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._averages: dict[str, _Average] = {}

    def ttft_ms(self, target_name: str) -> float | None:
        """Return the average of a target; None if no call has been measured."""
        with self._lock:
            average = self._averages.get(target_name)
            return average.ttft_ms if average else None

    def learn(self, target_name: str, ttft_ms: float) -> None:
        """Count one call in."""
        with self._lock:
            average = self._averages.get(target_name)
            if average is None:
                average = self._averages[target_name] = _Average(ttft_ms)
            else:
                average.ttft_ms += WEIGHT * (ttft_ms - average.ttft_ms)
            average.is_changed = True

    def take(self) -> dict[str, float]:
        """Return the averages that are due to be written. One that is lost on the way is written next time."""
        with self._lock:
            now = self._clock()
            due = [
                (name, average)
                for name, average in sorted(self._averages.items())
                if average.is_changed and now - average.written >= SHARE_S
            ]
            for _name, average in due:
                average.is_changed, average.is_stored, average.written = False, True, now
            return {name: average.ttft_ms for name, average in due}

    def give_back(self, names: Mapping[str, float]) -> None:
        """Mark averages as unwritten again."""
        with self._lock:
            for name in names:
                if average := self._averages.get(name):
                    average.is_changed, average.written = True, float("-inf")

    def adopt(self, stored: Mapping[str, float]) -> None:
        """Take over what the rows say, except where calls of ours wait to be written. A missing row is a reset."""
        with self._lock:
            for name, ttft_ms in stored.items():
                average = self._averages.get(name)
                if average is None:
                    self._averages[name] = _Average(ttft_ms, is_stored=True)
                elif not average.is_changed:
                    average.ttft_ms, average.is_stored = ttft_ms, True
            for name, average in list(self._averages.items()):
                if average.is_stored and not average.is_changed and name not in stored:
                    del self._averages[name]
