"""Try targets in order until one answers. There is no fallback after the first event has gone to the client."""

import asyncio
import logging
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime

from django.utils import timezone

from providers.clients import open_answer
from providers.clients.anthropic_headers import sends_own_credential
from providers.clients.base import Answer, UpstreamCall
from providers.errors import ErrorKind, UpstreamError
from providers.target import Secret, Target

logger = logging.getLogger(__name__)

# Another credential of the same provider may do better.
_CREDENTIAL_KINDS = frozenset(
    {ErrorKind.AUTH, ErrorKind.INSUFFICIENT_FUNDS, ErrorKind.RATE_LIMITED, ErrorKind.PERMISSION}
)
# Of servers that are passed through: the credential, the account, or the load, not the request.
_SERVER_STATUSES = frozenset({401, 402, 403, 408, 429})
OWN_CREDENTIAL = "client's own"  # the name of a credential that is not stored
# Beyond so many, those that are over are forgotten: where clients choose the names, there is no end of them.
_MAX_COOLDOWNS = 1000
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
    outcome: str  # "ok", "empty", or the kind of the error
    http_status: int | None
    message: str
    started_at: datetime
    duration_ms: int


@dataclass(slots=True)
class Opened:
    """A target that answers, after its first event; `body` is the whole answer when the client asked for no stream."""

    answer: Answer
    target: Target
    credential_name: str
    body: bytes | None = None


class Cooldowns:
    """Targets that just failed, and until when they are tried after the others. One per process."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._until: dict[str, float] = {}

    def start(self, target: Target, error: UpstreamError) -> None:
        """Let `target` cool down for as long as `error` says; not at all when the request was at fault."""
        if error.cooldown_s > 0:
            now = self._clock()
            if len(self._until) >= _MAX_COOLDOWNS:
                self._until = {name: until for name, until in self._until.items() if until > now}
            self._until[target.name] = now + error.cooldown_s

    def clear(self, target: Target) -> None:
        """Forget the failures of `target`: it has answered."""
        self._until.pop(target.name, None)

    def order(self, candidates: Iterable[Target]) -> list[Target]:
        """Return `candidates`, those in cooldown last."""
        now = self._clock()
        return sorted(candidates, key=lambda target: self._until.get(target.name, 0.0) > now)


async def open_first(
    candidates: list[Target],
    call: UpstreamCall,
    *,
    cooldowns: Cooldowns | None,
    on_attempt: Callable[[AttemptResult], None],
) -> Opened:
    """Return the first answer among `candidates`; every try is reported to `on_attempt`.

    For a client that asked for no stream the answer is read to its end here, so an upstream that dies in mid-answer
    still leads to the next target. A call that is passed through goes on by status alone, never by words.
    Raises `UpstreamError`, the most useful one, when all failed, and `InvalidRequest` when the request contradicts
    itself.
    """
    errors: list[UpstreamError] = []
    too_small = 0  # the largest context window that has proved too small
    empty: Opened | None = None
    ordered = cooldowns.order(candidates) if cooldowns else candidates
    for target in ordered:
        if too_small and (target.context_window or 0) <= too_small:
            continue
        is_own = sends_own_credential(target, call)
        for secret in (None,) if is_own else target.secrets or (None,):
            started_at, begin = timezone.now(), time.monotonic()

            def report(outcome: str, status: int | None, message: str = "") -> None:
                on_attempt(
                    AttemptResult(
                        target,  # noqa: B023  (called before the loop goes on)
                        secret.name if secret else OWN_CREDENTIAL if is_own else "",  # noqa: B023
                        outcome,
                        status,
                        message,
                        started_at,  # noqa: B023
                        round((time.monotonic() - begin) * 1000),  # noqa: B023
                    )
                )

            try:
                opened = await _open(target, secret, call)
            except UpstreamError as error:
                report(error.kind, error.status, error.message)
                logger.warning("%s failed: %s", target.name, error)
                errors.append(error)
                # What befalls one client's own credential says nothing about another's.
                if cooldowns and not (is_own and error.kind in _CREDENTIAL_KINDS) and not _is_success(error):
                    cooldowns.start(target, error)
                if call.is_passthrough and not _goes_on_by_status(error):
                    break
                if error.kind in _CREDENTIAL_KINDS:
                    continue
                break
            except asyncio.CancelledError:
                report("cancelled", None)
                raise
            if opened.answer.is_empty and not call.is_passthrough and empty is None and target is not ordered[-1]:
                # Nothing was sent yet and nothing would be: another target may have something to say.
                report("empty", opened.answer.status)
                empty = opened
                await opened.answer.aclose()
                break
            report("ok", opened.answer.status)
            if cooldowns:
                cooldowns.clear(target)
            return opened
        if errors and not (_goes_on_by_status(errors[-1]) if call.is_passthrough else _go_on(errors)):
            break
        if errors and errors[-1].kind is ErrorKind.CONTEXT_TOO_LONG and not call.is_passthrough:
            too_small = max(too_small, errors[-1].context_window or target.context_window or 1)
    if empty is not None:
        return empty
    if call.is_passthrough:
        # An upstream's own words before ours; a server that refuses our credential has none for the client.
        raise min(errors, key=lambda error: (not error.is_relayed, _USEFULNESS.get(error.kind, 7)))
    raise _most_useful(errors)


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


def _go_on(errors: list[UpstreamError]) -> bool:
    if not errors[-1].may_fall_back:
        return False
    invalid = sum(error.kind in (ErrorKind.INVALID_REQUEST, ErrorKind.UNSUPPORTED_FEATURE) for error in errors)
    return invalid < _MAX_INVALID_REQUESTS


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
