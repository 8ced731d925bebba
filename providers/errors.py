"""What goes wrong upstream: one exception, its kinds, and the classification of every platform's answers.

    UpstreamError
      kind: rate_limited | overloaded | server_error | auth | insufficient_funds | permission | not_found |
            invalid_request | unsupported_feature | context_too_long | content_filtered | timeout | unreachable |
            bad_response
"""

from dataclasses import dataclass
from enum import StrEnum


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


@dataclass(eq=False)
class UpstreamError(Exception):
    """An upstream did not answer, or answered with an error."""

    kind: ErrorKind
    message: str  # one line, without secrets; the upstream's own words where it gave any
    status: int | None = None
    retry_after_s: float | None = None
    provider: str = ""
    request_id: str = ""
    # The verbatim answer, for an Anthropic-wire upstream whose errors are relayed unmodified.
    body: bytes | None = None
    headers: tuple[tuple[str, str], ...] = ()
    # Of context_too_long: what the upstream said of the prompt and its limit, in tokens.
    prompt_tokens: int | None = None
    context_window: int | None = None

    def __str__(self) -> str:
        return f"{self.provider}: {self.kind}: {self.message}"
