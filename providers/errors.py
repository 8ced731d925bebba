"""What goes wrong upstream: one exception, its kinds, and the classification of every platform's answers.

UpstreamError
  kind: rate_limited | overloaded | server_error | auth | insufficient_funds | permission | not_found |
        invalid_request | unsupported_feature | context_too_long | content_filtered | timeout | unreachable |
        bad_response
"""

import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from enum import StrEnum
from math import isfinite
from typing import Any, Literal

from providers import error_table as table
from providers.error_body import Facts, facts_of, facts_of_body, one_line

__all__ = ["ErrorKind", "UpstreamError", "classify", "classify_payload", "one_line"]


class ErrorKind(StrEnum):
    RATE_LIMITED = "rate_limited"
    OVERLOADED = "overloaded"
    SERVER_ERROR = "server_error"
    AUTH = "auth"
    INSUFFICIENT_FUNDS = "insufficient_funds"
    PERMISSION = "permission"
    NOT_FOUND = "not_found"
    INVALID_REQUEST = "invalid_request"
    UNSUPPORTED_FEATURE = "unsupported_feature"
    CONTEXT_TOO_LONG = "context_too_long"
    CONTENT_FILTERED = "content_filtered"
    TIMEOUT = "timeout"
    UNREACHABLE = "unreachable"
    BAD_RESPONSE = "bad_response"

    @property
    def may_fall_back(self) -> bool:
        """Say whether another target may do better: all kinds, with conditions that routing knows.

        invalid_request and unsupported_feature: until a second target says the same, since what one vendor's dialect
        refuses another takes. context_too_long: only a target with a larger window.
        """
        return True

    @property
    def cooldown_s(self) -> float:
        """Seconds for which what failed should not be asked again; 0 for faults of the request itself."""
        return _COOLDOWN_S.get(self, 0.0)

    @property
    def cooldown_scope(self) -> Literal["credential", "model"]:
        """Say what rests: every model of the credential, or this model under it."""
        return "credential" if self in (ErrorKind.AUTH, ErrorKind.INSUFFICIENT_FUNDS) else "model"


_COOLDOWN_S = {
    ErrorKind.AUTH: 600.0,
    ErrorKind.INSUFFICIENT_FUNDS: 1800.0,
    ErrorKind.PERMISSION: 600.0,
    ErrorKind.NOT_FOUND: 600.0,
    ErrorKind.RATE_LIMITED: 20.0,
    ErrorKind.OVERLOADED: 30.0,
    ErrorKind.SERVER_ERROR: 10.0,
    ErrorKind.TIMEOUT: 30.0,
    ErrorKind.UNREACHABLE: 30.0,
    ErrorKind.BAD_RESPONSE: 10.0,
}
_PLAN_COOLDOWN_S = 900.0
_MAX_COOLDOWN_S = 3600.0


@dataclass(eq=False)
class UpstreamError(Exception):
    """An upstream did not answer, or answered with an error."""

    kind: ErrorKind
    message: str  # one line, without secrets; the upstream's own words where it gave any
    status: int | None = None
    retry_after_s: float | None = None
    provider: str = ""
    request_id: str = ""
    # The verbatim answer, for a client that speaks the upstream's wire format.
    body: bytes | None = None
    body_format: str = "anthropic"
    headers: tuple[tuple[str, str], ...] = ()
    relays_auth: bool = False  # the credential was the client's own, so 401 and 403 are for it to read
    # Of context_too_long: what the upstream said of the prompt and its limit, in tokens.
    prompt_tokens: int | None = None
    context_window: int | None = None
    # Of unsupported_feature: which (a name in error_table.FEATURES), and the largest value it takes, if said.
    feature: str = ""
    feature_limit: int | None = None
    plan_exhausted: bool = False  # of rate_limited: a subscription's quota of hours or more, not a rate
    never_connected: bool = False  # nobody was there to talk to, which concerns the whole platform

    def __str__(self) -> str:
        return f"{self.provider}: {self.kind}: {self.message}"

    @property
    def is_relayed(self) -> bool:
        """Say whether the client gets the upstream's own answer.

        The vendor's 401 and 403 mostly concern the gateway's account, and would make the client ask its user to log in;
        a 402 would make the user look for a bill.
        """
        return self.body is not None and (self.relays_auth or self.status not in (401, 402, 403))

    @property
    def may_fall_back(self) -> bool:
        """See `ErrorKind.may_fall_back`."""
        return self.kind.may_fall_back

    @property
    def cooldown_s(self) -> float:
        """Seconds to rest: what the upstream asked for where it did, at most an hour; else by kind."""
        if self.kind in (ErrorKind.RATE_LIMITED, ErrorKind.OVERLOADED):
            if self.retry_after_s is not None:
                return min(self.retry_after_s, _MAX_COOLDOWN_S)
            if self.plan_exhausted:
                return _PLAN_COOLDOWN_S
        return self.kind.cooldown_s

    @property
    def says_when(self) -> bool:
        """Say whether `cooldown_s` is what the upstream itself asked for."""
        return self.kind in (ErrorKind.RATE_LIMITED, ErrorKind.OVERLOADED) and self.retry_after_s is not None

    @property
    def cooldown_scope(self) -> Literal["provider", "credential", "model"]:
        """Say what rests: the whole platform when nobody was there, else as the kind says."""
        return "provider" if self.never_connected else self.kind.cooldown_scope


def classify(
    status: int,
    headers: Mapping[str, str],
    body: bytes,
    *,
    provider: str,
    kind: str,
    secret: str = "",
    now: Callable[[], float] = time.time,
) -> UpstreamError:
    """Return the error that an upstream's answer with `status` means.

    `provider` names the row, `kind` the preset (one code means different things at different platforms), `secret` is
    the credential used, which is masked wherever it appears. `now` is the clock (seconds since the epoch) against
    which an HTTP date in retry-after is read.
    """
    names = {name.lower(): value for name, value in headers.items()}
    facts = facts_of_body(body, status)
    error = _decide(status, facts, kind=kind, has_retry_after="retry-after" in names)
    error.provider = provider
    error.message = one_line(facts.message, secret=secret) or f"HTTP {status} without an explanation"
    header_wait = _retry_after(names, now)
    error.retry_after_s = header_wait if header_wait is not None else _wait_of(facts)
    error.request_id = (
        names.get("x-request-id") or names.get("request-id") or names.get("x-siliconcloud-trace-id") or facts.request_id
    )[:200]
    return error


def classify_payload(payload: Any, *, status: int = 200, provider: str, kind: str, secret: str = "") -> UpstreamError:
    """Return the error that `payload`, an error object in a 200 answer or a chunk of a stream, means.

    `payload` is the whole chunk or its `error` member.
    """
    facts = facts_of(payload)
    effective = facts.status or next(
        (table.TYPE_STATUS[code] for code in facts.codes if code in table.TYPE_STATUS), status
    )
    error = _decide(effective, facts, kind=kind, has_retry_after=False)
    error.provider = provider
    error.message = one_line(facts.message, secret=secret) or "the upstream reported an error without an explanation"
    error.retry_after_s = _wait_of(facts)
    error.request_id = facts.request_id[:200]
    return error


def _decide(status: int, facts: Facts, *, kind: str, has_retry_after: bool) -> UpstreamError:
    """Return the error without its texts. The status decides; codes and words refine it. First match wins."""
    codes, text = facts.codes, facts.message.lower()
    # Words are only asked where the status leaves the question open: a 4xx for the request, or none at all (200).
    is_open = status in (200, 400, 404, 409, 413, 422)

    def error(error_kind: ErrorKind) -> UpstreamError:
        return UpstreamError(error_kind, "", status=status)

    output_limit = re.search(r"range of max_tokens|max(?:_completion)?_tokens.{0,40}\[1, ?\d+\]", text)
    if codes & table.CONTEXT_CODES or (
        not output_limit
        and (
            ((is_open or status >= 500) and table.CONTEXT_TEXT.search(text))
            or (status == 429 and table.CONTEXT_TEXT_429.search(text))
        )
    ):
        found = error(ErrorKind.CONTEXT_TOO_LONG)
        found.prompt_tokens, found.context_window = _overflow_numbers(facts, text)
        return found
    if codes & table.CONTENT_CODES or ((is_open or status in (403, 451)) and table.CONTENT_TEXT.search(text)):
        return error(ErrorKind.CONTENT_FILTERED)
    if status == 402 and has_retry_after:
        return error(ErrorKind.RATE_LIMITED)  # OpenRouter: calls in flight hold the budget for a moment
    if (
        status == 402
        or codes & table.MONEY_CODES
        or (kind != "dashscope" and codes & table.MONEY_UNLESS_DASHSCOPE)
        or ((is_open or status in (403, 429)) and table.MONEY_TEXT.search(text))
    ):
        return error(ErrorKind.INSUFFICIENT_FUNDS)
    if status == 401 or codes & table.AUTH_CODES or ((is_open or status == 403) and table.AUTH_TEXT.search(text)):
        return error(ErrorKind.AUTH)
    if is_open or status == 501:
        feature = _feature_of(facts, text)
        # 404 here is OpenRouter's "No endpoints found that support tool use"; any other names a model or a path.
        if feature and (status != 404 or feature in ("tools", "vision")):
            found = error(ErrorKind.UNSUPPORTED_FEATURE)
            found.feature = feature
            if feature == "max_tokens":
                found.feature_limit = _first_number(table.MAX_TOKENS_LIMIT, text)
            return found
    if codes & table.NOT_FOUND_CODES or status == 404 or (is_open and table.NOT_FOUND_TEXT.search(text)):
        return error(ErrorKind.NOT_FOUND)
    if status == 403 or codes & table.PERMISSION_CODES:
        return error(ErrorKind.PERMISSION)
    if codes & table.PLAN_CODES or (status == 429 and table.PLAN_TEXT.search(text)):
        found = error(ErrorKind.RATE_LIMITED)
        found.plan_exhausted = True
        return found
    if codes & table.OVERLOADED_CODES:
        return error(ErrorKind.OVERLOADED)  # also with 429: Kimi's engine_overloaded_error
    if status == 429 or codes & table.RATE_CODES or any(code.startswith("throttling") for code in codes):
        return error(ErrorKind.RATE_LIMITED)
    if status == 408 or codes & table.TIMEOUT_CODES:
        return error(ErrorKind.TIMEOUT)
    if status in table.OVERLOADED_STATUS or (status >= 500 and table.OVERLOADED_TEXT.search(text)):
        return error(ErrorKind.OVERLOADED)
    if status >= 500:
        return error(ErrorKind.SERVER_ERROR)
    if status >= 400:
        return error(ErrorKind.INVALID_REQUEST)
    # An error object under a success, of no known code: the platform's own trouble. A redirect: not an API.
    return error(ErrorKind.SERVER_ERROR if status == 200 else ErrorKind.BAD_RESPONSE)


def _feature_of(facts: Facts, text: str) -> str:
    for feature, pattern in table.FEATURES:
        if pattern.search(text):
            return feature
    return table.FEATURE_PARAMS.get(facts.param, "")


def _overflow_numbers(facts: Facts, text: str) -> tuple[int | None, int | None]:
    """Return the tokens of the prompt and of the window, as far as the error tells them."""
    if facts.prompt_tokens is not None or facts.context_window is not None:
        return facts.prompt_tokens, facts.context_window
    text = re.sub(r"(?<=\d),(?=\d{3}\b)", "", text)
    for pattern in table.OVERFLOW_NUMBERS:
        if match := pattern.search(text):
            numbers = {name: int(value) for name, value in match.groupdict().items() if value}
            prompt = numbers.get("prompt", numbers.get("total"))
            if prompt is not None:
                prompt += numbers.get("tools", 0)
            return prompt, numbers.get("window")
    return None, None


def _first_number(patterns: tuple[re.Pattern[str], ...], text: str) -> int | None:
    for pattern in patterns:
        if match := pattern.search(text):
            return int(match[1])
    return None


def _retry_after(names: Mapping[str, str], now: Callable[[], float]) -> float | None:
    """Return the seconds to wait that the headers ask for."""
    for value, per_second in ((names.get("retry-after-ms"), 1000.0), (names.get("retry-after"), 1.0)):
        if not value:
            continue
        try:
            seconds = float(value) / per_second
        except ValueError:
            try:
                seconds = parsedate_to_datetime(value).timestamp() - now()
            except (ValueError, OverflowError):
                continue
        if isfinite(seconds):
            return max(seconds, 0.0)
    return None


_TRY_AGAIN = re.compile(r"(?:try again|retry) (?:in|after) (?:(\d+)m)?(\d+(?:\.\d+)?) ?(ms|s)\b")


def _wait_of(facts: Facts) -> float | None:
    """Return the seconds to wait that the body asks for: OpenRouter's field, or OpenAI's "try again in 1m7.66s"."""
    if facts.retry_after_s is not None:
        return facts.retry_after_s
    if match := _TRY_AGAIN.search(facts.message.lower()):
        return int(match[1] or 0) * 60 + float(match[2]) / (1000 if match[3] == "ms" else 1)
    return None
