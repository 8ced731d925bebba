"""Asking small models for the scene of a prompt: bounded in time, each prompt once, and not those that keep failing.

The models of a policy are asked in their order, here and one at a time: the next one gets its turn when one fails, is
silent beyond its share of the time, or answers with anything but one label. Models that fail again and again rest, each
by itself, so a dead first model costs the second no time.
"""

import asyncio
import hashlib
import logging
import secrets
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Literal

from providers.errors import ErrorKind, UpstreamError
from providers.translation.validation import InvalidRequest
from routing.intent.breaker import Breaker
from routing.intent.question import MAX_SCENES, Question, fingerprint, parse, question, shown
from routing.meaning import NoTarget
from routing.select import PromptTooLong
from routing.snapshot import PolicySnapshot

logger = logging.getLogger(__name__)

MAX_CACHED = 4096
CACHED_S = 3600.0
_MAX_BREAKERS = 1000
# Of the time that is left a model gets this share while there are others behind it.
_SHARE = 0.6
# The caller's own limit comes so much sooner than ours: then the books say that time ran out, not that we hung up.
_MARGIN_S = 0.05
_FAULTS_OF_THE_PROMPT = frozenset(
    {
        ErrorKind.INVALID_REQUEST,
        ErrorKind.UNSUPPORTED_FEATURE,
        ErrorKind.CONTEXT_TOO_LONG,
        ErrorKind.CONTENT_FILTERED,
    }
)

# Asks the targets of these names in order with a Messages request without model and stream, and returns the text of the
# answer. It is called with one name. A target that gets the request as it is (Anthropic wire) is sent
# `question.without_format` of it. It raises NotAsked, UpstreamError, TimeoutError, InvalidRequest, NoTarget or
# PromptTooLong.
Ask = Callable[[dict[str, Any], Sequence[str], float], Awaitable[str]]
# hit: a model has said it. cached: one did before, or just did for somebody else. timeout, failed, invalid: why the
# last one that was asked has not. open: all of them rest. refused: the caller may not ask. empty: nothing was said but
# orders to the router. none: there is nobody to ask, or nothing to choose from.
Outcome = Literal["hit", "cached", "timeout", "failed", "invalid", "open", "refused", "empty", "none"]
Result = tuple[str | None, Outcome]


class NotAsked(Exception):
    """The caller may not ask: a quota of its own, or books that are away. It says nothing of the models."""


class Classifier:
    """What was asked and answered. One per process, in one event loop. `clock` gives seconds."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._secret = secrets.token_bytes(16)
        self._cache: OrderedDict[bytes, tuple[str, float]] = OrderedDict()  # scene, until
        self._in_flight: dict[bytes, asyncio.Future[Result | None]] = {}
        self._breakers: dict[str, Breaker] = {}

    async def classify(self, text: str, policy: PolicySnapshot, ask: Ask) -> Result:
        """Return the scene of `policy` that a model gives `text`, None if none does, and how that came about.

        It takes no longer than the policy's timeout. The same text at the same moment is asked once: whoever comes
        second waits for the first, and asks for itself should the first hang up. Raises what `ask` should not.
        """
        names = policy.classifier_names
        scenes = [scene for scene in policy.scenes if scene.route.target_names]
        if not names or not 2 <= len(scenes) <= MAX_SCENES:
            return None, "none"
        text = shown(text, scenes)
        if not text:
            return None, "empty"
        key = hashlib.sha256("\0".join([fingerprint(scenes), *names, "", text]).encode("utf-8", "replace")).digest()
        deadline = asyncio.get_running_loop().time() + policy.classifier_timeout_ms / 1000
        while True:
            if known := self._cached(key):
                return known, "cached"
            if (answered := self._in_flight.get(key)) is None:
                return await self._lead(key, question(text, scenes, secret=self._secret), names, ask, deadline)
            try:
                async with asyncio.timeout_at(deadline):
                    result = await asyncio.shield(answered)
            except TimeoutError:
                return None, "timeout"
            if result is not None:
                scene, outcome = result
                return scene, "cached" if outcome == "hit" else outcome

    async def _lead(self, key: bytes, asked: Question, names: Sequence[str], ask: Ask, deadline: float) -> Result:
        """Ask on behalf of everybody who wants to know the same just now."""
        answered = self._in_flight[key] = asyncio.get_running_loop().create_future()
        result: Result | None = None
        try:
            result = await self._ask_in_order(asked, names, ask, deadline)
        finally:
            del self._in_flight[key]
            # None sends those who wait to ask for themselves: what stopped this caller is no answer to them.
            answered.set_result(None if result is None or result[1] == "refused" else result)
        if result[0] is not None:
            self._keep(key, result[0])
        return result

    async def _ask_in_order(self, asked: Question, names: Sequence[str], ask: Ask, deadline: float) -> Result:
        result: Result = (None, "open")
        for number, name in enumerate(names, 1):
            now, left = self._clock(), deadline - asyncio.get_running_loop().time()
            if left <= 0:
                break
            if not self._breaker(name).admits(now):
                continue
            if any(self._breaker(other).is_ready(now) for other in names[number:]):
                left *= _SHARE
            result = await self._ask_one(name, asked, ask, left)
            if result[0] is not None or result[1] == "refused":
                break
        return result

    async def _ask_one(self, name: str, asked: Question, ask: Ask, within_s: float) -> Result:
        """Return what one model says, and tell its breaker."""
        breaker = self._breaker(name)
        try:
            async with asyncio.timeout(within_s):
                answer = await ask(asked.body, [name], within_s - min(_MARGIN_S, within_s / 10))
        except NotAsked:
            breaker.released()
            return None, "refused"
        except (NoTarget, PromptTooLong, InvalidRequest) as error:
            breaker.released()
            logger.warning("the intent classifier %s cannot be asked: %s", name, type(error).__name__)
            return None, "failed"
        except TimeoutError:
            self._note(name, "timeout", breaker.failed(self._clock()))
            return None, "timeout"
        except UpstreamError as error:
            note = breaker.unusable if error.kind in _FAULTS_OF_THE_PROMPT else breaker.failed
            self._note(name, error.kind, note(self._clock()))
            return None, "timeout" if error.kind is ErrorKind.TIMEOUT else "failed"
        except BaseException:
            breaker.released()
            raise
        scene = parse(answer, asked.labels)
        if scene is None:
            self._note(name, "invalid answer", breaker.unusable(self._clock()))
            return None, "invalid"
        breaker.succeeded(self._clock())
        return scene, "hit"

    def _note(self, name: str, fault: str, began_rest: bool) -> None:
        logger.warning("the intent classifier %s: %s%s", name, fault, "; it rests for a while" if began_rest else "")

    def _cached(self, key: bytes) -> str | None:
        scene, until = self._cache.get(key, ("", 0.0))
        if until <= self._clock():
            return None
        self._cache.move_to_end(key)
        return scene

    def _keep(self, key: bytes, scene: str) -> None:
        self._cache[key] = (scene, self._clock() + CACHED_S)
        self._cache.move_to_end(key)
        if len(self._cache) > MAX_CACHED:
            self._cache.popitem(last=False)

    def _breaker(self, name: str) -> Breaker:
        if name not in self._breakers and len(self._breakers) >= _MAX_BREAKERS:
            self._breakers.clear()  # names that a configuration had once
        return self._breakers.setdefault(name, Breaker())


_current = Classifier()


async def classify(text: str, policy: PolicySnapshot, ask: Ask) -> Result:
    """Ask the classifier models of `policy` with the memory of this process; see `Classifier.classify`."""
    return await _current.classify(text, policy, ask)


def forget() -> None:
    """Begin anew, as a process does."""
    global _current
    _current = Classifier()
