"""Try targets in order until one answers. There is no fallback after the first event has gone to the client.

Whoever rests (routing/health.py) is asked after all others, whose provider has no slot free (routing/slots.py) after
those that have one. The credentials of a provider take turns.
"""

import asyncio
import logging
import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime

from django.utils import timezone

from providers.clients import open_answer
from providers.clients.anthropic_headers import sends_own_credential
from providers.clients.base import Answer, UpstreamCall
from providers.errors import ErrorKind, UpstreamError
from providers.target import Secret, Target
from routing import health, patience, slots
from routing.health import OWN_CREDENTIAL, Health, Try
from routing.rotation import in_turn
from routing.slots import Slot

logger = logging.getLogger(__name__)

# Another credential of the same provider may do better.
_CREDENTIAL_KINDS = frozenset(
    {ErrorKind.AUTH, ErrorKind.INSUFFICIENT_FUNDS, ErrorKind.RATE_LIMITED, ErrorKind.PERMISSION}
)
# Of servers that are passed through: the credential, the account, or the load, not the request.
_SERVER_STATUSES = frozenset({401, 402, 403, 408, 429})
# A call waits this long for a slot, and no longer than it would for a first event.
MAX_SLOT_WAIT_S = 30.0
# What a client should wait that got none. How long the calls before it will take, nobody knows.
_FULL_RETRY_AFTER_S = 5.0
# Two targets that call the request itself wrong are right: a third would only cost time.
_MAX_INVALID_REQUESTS = 2
# When every target failed, the client gets the error that helps it most: the lowest rank here, the first of equals.
_USEFULNESS = {
    ErrorKind.CONTEXT_TOO_LONG: 0,
    ErrorKind.INVALID_REQUEST: 1,
    ErrorKind.UNSUPPORTED_FEATURE: 1,
    ErrorKind.CONTENT_FILTERED: 2,
    ErrorKind.OVERLOADED: 3,
    ErrorKind.TIMEOUT: 4,
    ErrorKind.SERVER_ERROR: 5,
    ErrorKind.BAD_RESPONSE: 5,
    ErrorKind.UNREACHABLE: 6,
}


@dataclass(frozen=True, slots=True)
class AttemptResult:
    """One try of one target, as the books keep it."""

    target: Target
    credential_name: str
    outcome: str  # "ok", "empty", "cancelled", "full" (no slot came free), or the kind of the error
    http_status: int | None
    message: str
    started_at: datetime
    duration_ms: int


@dataclass(slots=True)
class Opened:
    """A target that answers, after its first event; `body` is the whole answer when the client asked for no stream.

    It holds a slot of its provider: call `free` as soon as the answer has ended, and `aclose` in any case.
    """

    answer: Answer
    target: Target
    credential_name: str
    body: bytes | None = None
    slot: Slot | None = None
    cooldowns: Health | None = None  # hears of an answer that breaks off

    def broke(self, error: UpstreamError) -> None:
        """Note that the answer ended in `error` after it had begun: the client's next try should go elsewhere.

        Once: where another target goes on, what ends the call then is none of this one's.
        """
        cooldowns, self.cooldowns = self.cooldowns, None
        if cooldowns is not None and _cools(error, is_own=self.credential_name == OWN_CREDENTIAL):
            cooldowns.failed(self.target, self.credential_name, error)

    def free(self) -> None:
        """Let another call of the provider begin: this answer has ended. May be called twice."""
        if self.slot is not None:
            self.slot.release()

    async def aclose(self) -> None:
        """Close the connection to the upstream and give the slot back. May be called twice."""
        try:
            await self.answer.aclose()
        finally:
            self.free()


async def open_first(
    candidates: list[Target],
    call: UpstreamCall,
    *,
    cooldowns: Health | None,
    on_attempt: Callable[[AttemptResult], None],
) -> Opened:
    """Return the first answer among `candidates`; every try is reported to `on_attempt`.

    For a client that asked for no stream the answer is read to its end here, so an upstream that dies in mid-answer
    still leads to the next target. A call that is passed through goes on by status alone, never by words. Without
    `cooldowns` nothing rests. Raises `UpstreamError`, the most useful one, when all failed, and `InvalidRequest` when
    the request contradicts itself.
    """
    return await _Search(candidates, call, cooldowns, on_attempt).run()


@dataclass(frozen=True, slots=True)
class _Question:
    """A target, and the credential by which it is asked."""

    target: Target
    secret: Secret | None
    is_own: bool  # by what the client sent

    @property
    def credential_name(self) -> str:
        return self.secret.name if self.secret else OWN_CREDENTIAL if self.is_own else ""


@dataclass(slots=True)
class _Search:
    """The search for an answer: what was asked, what came of it, what is left."""

    candidates: list[Target]
    call: UpstreamCall
    cooldowns: Health | None
    on_attempt: Callable[[AttemptResult], None]
    errors: list[UpstreamError] = field(default_factory=list)
    left: deque[_Question] = field(default_factory=deque)
    resting: deque[_Question] = field(default_factory=deque)
    full: deque[_Question] = field(default_factory=deque)
    asked: set[str] = field(default_factory=set)  # targets that another credential does not help
    unreachable: set[str] = field(default_factory=set)  # providers
    too_small: int = 0  # the largest context window that has proved too small
    empty: Opened | None = None
    is_over: bool = False

    async def run(self) -> Opened:
        """Return the first answer."""
        self.left.extend(self._questions())
        for is_resting in (False, True):
            if is_resting:
                self.left, self.resting = self.resting, deque()
            while (question := self._next(self.left)) is not None:
                attempt = self._begin(question, anyway=is_resting)
                if attempt is None:
                    self.resting.append(question)
                elif (slot := slots.current().take(question.target)) is None:
                    self._end(attempt)
                    self.full.append(question)
                elif (opened := await self._ask(question, attempt, slot)) is not None:
                    return opened
        if (opened := await self._wait()) is not None:
            return opened
        if self.empty is not None:
            return self.empty
        if self.call.is_passthrough:
            # An upstream's own words before ours; a server that refuses our credential has none for the client.
            raise min(self.errors, key=lambda error: (not error.is_relayed, _USEFULNESS.get(error.kind, 7)))
        raise _most_useful(self.errors)

    def _questions(self) -> Iterator[_Question]:
        for target in self.candidates:
            if sends_own_credential(target, self.call):
                yield _Question(target, None, is_own=True)
            elif target.secrets:
                for secret in in_turn(target, self.call.session_id):
                    yield _Question(target, secret, is_own=False)
            else:
                yield _Question(target, None, is_own=False)

    def _next(self, questions: deque[_Question]) -> _Question | None:
        """Take the next of `questions` that may still help."""
        while questions and not self.is_over:
            question = questions.popleft()
            if self._may_help(question):
                return question
        return None

    def _may_help(self, question: _Question) -> bool:
        target = question.target
        if target.name in self.asked or target.provider_name in self.unreachable:
            return False
        return not self.too_small or (target.context_window or 0) > self.too_small

    def _is_last(self, target: Target) -> bool:
        return not any(
            self._may_help(question) and question.target is not target
            for questions in (self.left, self.resting, self.full)
            for question in questions
        )

    def _has_other(self, target: Target) -> bool:
        """Say whether there is another target that may help and does not rest."""
        return any(
            self._may_help(question)
            and question.target is not target
            and not (self.cooldowns is not None and self.cooldowns.rests(question.target))
            for questions in (self.left, self.full)
            for question in questions
        )

    async def _wait(self) -> Opened | None:
        """Ask those that had no slot free, as soon as they have one."""
        self.full = deque(question for question in self.full if self._may_help(question))
        if not self.full or self.is_over:
            return None
        started_at, begin = timezone.now(), time.monotonic()
        patience_s = min(MAX_SLOT_WAIT_S, max(question.target.timeouts.first_event_s for question in self.full))
        while (first := self._next(self.full)) is not None:
            self.full.appendleft(first)
            remaining_s = begin + patience_s - time.monotonic()
            slot = await slots.current().wait((question.target for question in self.full), max(remaining_s, 0.0))
            if slot is None:
                self._give_up(started_at, round((time.monotonic() - begin) * 1000))
                return None
            question = next(each for each in self.full if each.target.provider_name == slot.provider_name)
            self.full.remove(question)
            attempt = self._begin(question, anyway=True)
            assert attempt is not None
            if (opened := await self._ask(question, attempt, slot)) is not None:
                return opened
        return None

    def _give_up(self, started_at: datetime, waited_ms: int) -> None:
        for target in {question.target.name: question.target for question in self.full}.values():
            message = f"all {target.max_concurrency} calls that may run at the same time are taken"
            self.on_attempt(AttemptResult(target, "", "full", None, message, started_at, waited_ms))
            self.errors.append(
                UpstreamError(
                    ErrorKind.OVERLOADED,
                    message,
                    status=529,
                    retry_after_s=_FULL_RETRY_AFTER_S,
                    provider=target.provider_name,
                )
            )

    def _begin(self, question: _Question, *, anyway: bool) -> Try | None:
        if self.cooldowns is None:
            return Try(time.monotonic())
        return self.cooldowns.begin(question.target, question.credential_name, anyway=anyway)

    def _end(self, attempt: Try) -> None:
        if self.cooldowns is not None:
            self.cooldowns.end(attempt)

    async def _ask(self, question: _Question, attempt: Try, slot: Slot) -> Opened | None:
        """Return the answer to `question`; None when it failed, or said nothing and others may have more to say."""
        target = question.target
        started_at, begin = timezone.now(), time.monotonic()

        def report(outcome: str, status: int | None, message: str = "") -> int:
            duration_ms = round((time.monotonic() - begin) * 1000)
            self.on_attempt(
                AttemptResult(target, question.credential_name, outcome, status, message, started_at, duration_ms)
            )
            return duration_ms

        opened, asked = None, target
        if attempt.follows_silence and self.cooldowns is not None and self._has_other(target):
            asked = patience.as_probe(target, self.cooldowns.ttft_ms(target.name))
        try:
            opened = await _open(asked, question.secret, self.call)
        except UpstreamError as error:
            report(error.kind, error.status, error.message)
            logger.warning("%s failed: %s", target.name, error)
            self._failed(question, attempt, error)
            return None
        except asyncio.CancelledError:
            waited_ms = report("cancelled", None)
            if patience.is_used_up(waited_ms, streamed=self.call.streamed) and self._has_other(target):
                # The next one should not have to give up as well.
                self._note(question, attempt, _given_up(target, waited_ms))
            raise
        finally:
            self._end(attempt)
            if opened is None:
                slot.release()
        opened.target, opened.credential_name = target, question.credential_name
        opened.slot, opened.cooldowns = slot, self.cooldowns
        if not self.call.streamed:
            opened.free()  # it was read to its end
        if opened.answer.is_empty and not self.call.is_passthrough and self.empty is None and not self._is_last(target):
            # Nothing was sent yet and nothing would be: another target may have something to say.
            report("empty", opened.answer.status)
            self.empty = opened
            self.asked.add(target.name)
            await opened.aclose()
            return None
        ttft_ms = report("ok", opened.answer.status)
        is_measured = self.call.streamed and not opened.answer.is_empty
        if self.cooldowns is not None:
            self.cooldowns.succeeded(target, question.credential_name, attempt)
        if is_measured:
            (self.cooldowns or health.current()).began_to_answer(target, ttft_ms)
        return opened

    def _note(self, question: _Question, attempt: Try, error: UpstreamError) -> None:
        if self.cooldowns is not None and _cools(error, is_own=question.is_own):
            self.cooldowns.failed(question.target, question.credential_name, error, attempt)

    def _failed(self, question: _Question, attempt: Try, error: UpstreamError) -> None:
        """Note a failure: what rests, what need not be asked any more, whether the search is over."""
        target, is_of_credential = question.target, error.kind in _CREDENTIAL_KINDS
        self.errors.append(error)
        self._note(question, attempt, error)
        if not is_of_credential:
            self.asked.add(target.name)
        if error.never_connected:
            # Nobody waits once per model for a platform that is not there.
            self.unreachable.add(target.provider_name)
        if self.call.is_passthrough:
            self.is_over = not _goes_on_by_status(error)
            return
        self.is_over = not _go_on(self.errors)
        if error.kind is ErrorKind.CONTEXT_TOO_LONG:
            self.too_small = max(self.too_small, error.context_window or target.context_window or 1)


async def _open(target: Target, secret: Secret | None, call: UpstreamCall) -> Opened:
    answer = await open_answer(target, secret, call)
    opened = Opened(answer, target, secret.name if secret else "")
    if not call.streamed:
        try:
            opened.body = await answer.message()
        except BaseException:
            await answer.aclose()
            raise
    return opened


def _given_up(target: Target, waited_ms: int) -> UpstreamError:
    message = f"the client gave up after {round(waited_ms / 1000)} s without an answer"
    return UpstreamError(ErrorKind.TIMEOUT, message, provider=target.provider_name)


def _go_on(errors: list[UpstreamError]) -> bool:
    if not errors[-1].may_fall_back:
        return False
    invalid = sum(error.kind in (ErrorKind.INVALID_REQUEST, ErrorKind.UNSUPPORTED_FEATURE) for error in errors)
    return invalid < _MAX_INVALID_REQUESTS


def _cools(error: UpstreamError, *, is_own: bool) -> bool:
    # What befalls one client's own credential says nothing about another's.
    return not (is_own and error.kind in _CREDENTIAL_KINDS) and not _is_success(error)


def _is_success(error: UpstreamError) -> bool:
    """Say whether the upstream answered with a success that is no message, and is the client's all the same."""
    return error.status is not None and error.status < 300 and error.body is not None


def _goes_on_by_status(error: UpstreamError) -> bool:
    """Say whether the next server may be asked: none answered, or this one cannot; not when the request is at fault."""
    if _is_success(error):
        return False
    return error.status is None or error.status < 400 or error.status in _SERVER_STATUSES or error.status >= 500


def _most_useful(errors: list[UpstreamError]) -> UpstreamError:
    if all(error.kind is ErrorKind.RATE_LIMITED for error in errors):
        # The soonest moment at which any of them may answer again.
        return min(errors, key=lambda error: error.retry_after_s if error.retry_after_s is not None else float("inf"))
    return min(errors, key=lambda error: _USEFULNESS.get(error.kind, 7))
