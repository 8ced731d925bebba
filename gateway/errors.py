"""Every error a client can see: exception -> status, type, headers, body. One table for both wire formats."""

import logging
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from django.http import HttpResponse

from accounts.errors import AddressNotAllowed, KeyInvalid, LedgerUnavailable, QuotaExceeded, TooManyCalls
from accounts.models import Quota
from providers import wire_json
from providers.errors import ErrorKind, UpstreamError
from providers.translation.openai_clients.errors import error_object
from providers.translation.request import InvalidRequest
from routing.meaning import NoTarget
from routing.select import ModelNotAllowed, PromptTooLong

logger = logging.getLogger(__name__)

# Claude Code repeats 401 and 429 for minutes unless it is told not to.
_FINAL = {"x-should-retry": "false"}


class ApiError(Exception):
    """An error of the gateway itself, with the answer it gets; `code` says to programs what the type does not."""

    def __init__(
        self,
        status: int,
        error_type: str,
        message: str,
        headers: Mapping[str, str] | None = None,
        *,
        code: str | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.error_type = error_type
        self.message = message
        self.headers = dict(headers or {})
        self.code = code


class ThreadUnsupported(ApiError):
    """The client wants the server to keep its conversation, which two targets, or two accounts, do not share.

    With this code the official SDK sends the whole conversation instead; were the field dropped, it would go on to
    send new messages only (anthropic 2.12.0, `lib/threads`).
    """

    def __init__(self) -> None:
        message = "thread: the gateway keeps no conversations. Send all messages, and no thread."
        super().__init__(400, "invalid_request_error", message, code="thread_unsupported_request")


class RequestTooLarge(ApiError):
    """The body exceeds the limit that the Messages API documents."""

    def __init__(self, limit_bytes: int) -> None:
        super().__init__(413, "request_too_large", f"The request exceeds {limit_bytes // 2**20} MiB.")


# The vendor's 401 and 403 concern the gateway's account. Passed on, they would make the client ask its user to log in;
# a 404 would make it re-send without streaming and hide the text.
_UPSTREAM: dict[ErrorKind, tuple[int, str, bool]] = {
    ErrorKind.RATE_LIMITED: (429, "rate_limit_error", True),
    ErrorKind.OVERLOADED: (529, "overloaded_error", True),
    ErrorKind.SERVER_ERROR: (502, "api_error", True),
    ErrorKind.AUTH: (502, "api_error", False),
    ErrorKind.INSUFFICIENT_FUNDS: (502, "api_error", False),
    ErrorKind.PERMISSION: (502, "api_error", False),
    ErrorKind.NOT_FOUND: (502, "api_error", False),
    ErrorKind.INVALID_REQUEST: (400, "invalid_request_error", True),
    ErrorKind.UNSUPPORTED_FEATURE: (400, "invalid_request_error", True),
    ErrorKind.CONTEXT_TOO_LONG: (400, "invalid_request_error", True),
    ErrorKind.CONTENT_FILTERED: (400, "invalid_request_error", True),
    ErrorKind.TIMEOUT: (504, "timeout_error", True),
    ErrorKind.UNREACHABLE: (502, "api_error", True),
    ErrorKind.BAD_RESPONSE: (502, "api_error", True),
}

# An OpenAI-wire upstream's own words about these concern the gateway's account, or nobody but the gateway.
_NOT_QUOTED = frozenset(kind for kind, (_status, error_type, _retry) in _UPSTREAM.items() if error_type == "api_error")


def api_error(error: Exception) -> ApiError:
    """Return the answer to `error`. What is not in the table is a fault of ours: 500, without its text."""
    if isinstance(error, ApiError):
        return error
    if isinstance(error, UpstreamError):
        return _upstream(error)
    if isinstance(error, InvalidRequest):
        return ApiError(400, "invalid_request_error", error.message)
    if isinstance(error, KeyInvalid):
        return ApiError(401, "authentication_error", str(error), _FINAL)
    if isinstance(error, AddressNotAllowed):
        return ApiError(403, "permission_error", str(error), _FINAL)
    if isinstance(error, QuotaExceeded):
        retry_after = {"retry-after": str(error.retry_after_s)} if error.retry_after_s is not None else {}
        if error.window == Quota.Window.MINUTE and not error.can_never_fit:
            # A rate, not a budget: the client waits and goes on by itself.
            return ApiError(429, "rate_limit_error", str(error), retry_after)
        limits = limit_headers("rejected", error.resets_at)
        return ApiError(429, "billing_error", str(error), {**_FINAL, **retry_after, **limits})
    if isinstance(error, TooManyCalls):
        return ApiError(429, "rate_limit_error", str(error), {"retry-after": "2"})
    if isinstance(error, ModelNotAllowed):
        return ApiError(403, "permission_error", str(error), _FINAL)
    if isinstance(error, PromptTooLong):
        # These very words make Claude Code compact the conversation.
        return ApiError(400, "invalid_request_error", str(error))
    if isinstance(error, NoTarget):
        return ApiError(503, "api_error", str(error), _FINAL)
    if isinstance(error, LedgerUnavailable):
        return ApiError(503, "overloaded_error", "The gateway's database does not answer; try again in a moment.")
    return ApiError(500, "api_error", "Internal error of the gateway; its log has the details.")


def _upstream(error: UpstreamError) -> ApiError:
    status, error_type, retry = _UPSTREAM[error.kind]
    message = f"{error.provider}: {error.message}" if error.provider else error.message
    if error.kind is ErrorKind.CONTEXT_TOO_LONG:
        message = _overflow(error, message)
    elif error.status == 413:
        status, error_type = 413, "request_too_large"
    headers = {} if retry else dict(_FINAL)
    if error.retry_after_s is not None and status in (429, 502, 503, 529):
        headers["retry-after"] = str(max(1, round(error.retry_after_s)))
    return ApiError(status, error_type, message, headers)


def _overflow(error: UpstreamError, message: str) -> str:
    # Claude Code reads the two numbers out of exactly this form; without them it needs the vendor's own words.
    if error.prompt_tokens and error.context_window and error.prompt_tokens > error.context_window:
        return f"prompt is too long: {error.prompt_tokens} tokens > {error.context_window} maximum"
    if "exceed context limit" in message or "prompt is too long" in message:
        return message.removeprefix(f"{error.provider}: ")
    return f"prompt is too long: {message}"


def body(error: ApiError, request_id: str, wire_format: str = "anthropic") -> dict[str, Any]:
    """Return the error object in the client's wire format."""
    if wire_format != "anthropic":
        return error_object(error.error_type, error.message, code=error.code)
    fault: dict[str, Any] = {"type": error.error_type, "message": error.message}
    if error.code is not None:
        fault["details"] = {"error_code": error.code}
    return {"type": "error", "error": fault, "request_id": request_id}


def event(error: Exception, request_id: str) -> bytes:
    """Return the SSE event that ends a broken Anthropic stream. An upstream's own error object is its data as it is."""
    is_object = isinstance(error, UpstreamError) and error.body is not None and error.body.lstrip()[:1] == b"{"
    if isinstance(error, UpstreamError) and is_object and _is_relayed(error, "anthropic"):
        assert error.body is not None
        data = b"\n".join(b"data: " + line for line in error.body.splitlines())
        return b"event: error\n" + data + b"\n\n"
    return b"event: error\ndata: " + wire_json.encode(body(api_error(error), request_id)) + b"\n\n"


def _is_relayed(error: UpstreamError, wire_format: str) -> bool:
    """Say whether an Anthropic client gets an upstream's own answer, status included."""
    return error.is_relayed and error.body_format == wire_format == "anthropic"


def http_status(error: Exception, wire_format: str = "anthropic") -> int:
    """Return the status of the answer to `error`."""
    if isinstance(error, UpstreamError) and _is_relayed(error, wire_format):
        return error.status or 502
    status = api_error(error).status
    # 529 is not a status that OpenAI's clients know.
    return 503 if wire_format != "anthropic" and status == 529 else status


def response(error: Exception, request_id: str, wire_format: str = "anthropic") -> HttpResponse:
    """Return the HTTP answer to `error`.

    An upstream's own error body is relayed as it came to a client of the same wire format; with the status of the
    table to an OpenAI client.
    """
    if isinstance(error, UpstreamError) and _is_relayed(error, wire_format):
        relayed = HttpResponse(error.body, status=http_status(error), headers=dict(error.headers))
        relayed.headers.setdefault("request-id", request_id)
        return relayed
    answer = api_error(error)
    content = wire_json.encode(body(answer, request_id, wire_format))
    if (
        isinstance(error, UpstreamError)
        and error.body is not None
        and error.body_format == wire_format == "openai"
        and error.kind not in _NOT_QUOTED
    ):
        content = error.body
    return HttpResponse(
        content,
        status=http_status(error, wire_format),
        content_type="application/json",
        headers={**id_headers(request_id, wire_format), **answer.headers},
    )


def limit_headers(status: str, resets_at: datetime | None) -> dict[str, str]:
    """Return what Anthropic's clients read of a caller's limits: allowed, allowed_warning or rejected; the reset."""
    headers = {"anthropic-ratelimit-unified-status": status}
    if resets_at is not None:
        headers["anthropic-ratelimit-unified-reset"] = str(int(resets_at.timestamp()))
    return headers


def id_headers(request_id: str, wire_format: str) -> dict[str, str]:
    """Return the header in which clients of `wire_format` look for the id of their request."""
    return {"request-id": request_id} if wire_format == "anthropic" else {"x-request-id": request_id}
