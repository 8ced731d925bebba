"""Every error has a status, a type and a body that clients understand."""

import json
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal

import pytest

from accounts.errors import AddressNotAllowed, KeyInvalid, LedgerUnavailable, QuotaExceeded, TooManyCalls
from gateway import errors
from providers.errors import ErrorKind, UpstreamError
from providers.translation.request import InvalidRequest
from routing.meaning import NoTarget
from routing.select import ModelNotAllowed, PromptTooLong

QUOTA = QuotaExceeded("key a/b", "tokens", "day", Decimal(10), Decimal(9), "USD", datetime(2026, 1, 1, tzinfo=UTC), 60)
RATE = QuotaExceeded("key a/b", "tokens", "minute", Decimal(10), Decimal(9), "", datetime(2026, 1, 1, tzinfo=UTC), 33)

OWN = [
    (InvalidRequest("messages: missing"), 400, "invalid_request_error", None),
    (KeyInvalid("unknown"), 401, "authentication_error", "false"),
    (AddressNotAllowed("laptop", "203.0.113.9"), 403, "permission_error", "false"),
    (QUOTA, 429, "billing_error", "false"),
    (RATE, 429, "rate_limit_error", None),
    (replace(RATE, certain=Decimal(11)), 429, "billing_error", "false"),
    (TooManyCalls(2), 429, "rate_limit_error", None),
    (ModelNotAllowed("no"), 403, "permission_error", "false"),
    (NoTarget("none"), 503, "api_error", "false"),
    (PromptTooLong(11, 10), 400, "invalid_request_error", None),
    (LedgerUnavailable("down"), 503, "overloaded_error", None),
    (errors.RequestTooLarge(32 * 2**20), 413, "request_too_large", None),
    (RuntimeError("secret detail"), 500, "api_error", None),
]
UPSTREAM = [
    (ErrorKind.RATE_LIMITED, 429, "rate_limit_error", None),
    (ErrorKind.OVERLOADED, 529, "overloaded_error", None),
    (ErrorKind.SERVER_ERROR, 502, "api_error", None),
    (ErrorKind.AUTH, 502, "api_error", "false"),
    (ErrorKind.INSUFFICIENT_FUNDS, 502, "api_error", "false"),
    (ErrorKind.PERMISSION, 502, "api_error", "false"),
    (ErrorKind.NOT_FOUND, 502, "api_error", "false"),
    (ErrorKind.INVALID_REQUEST, 400, "invalid_request_error", None),
    (ErrorKind.UNSUPPORTED_FEATURE, 400, "invalid_request_error", None),
    (ErrorKind.CONTEXT_TOO_LONG, 400, "invalid_request_error", None),
    (ErrorKind.CONTENT_FILTERED, 400, "invalid_request_error", None),
    (ErrorKind.TIMEOUT, 504, "timeout_error", None),
    (ErrorKind.UNREACHABLE, 502, "api_error", None),
    (ErrorKind.BAD_RESPONSE, 502, "api_error", None),
]


@pytest.mark.parametrize(
    ("error", "status", "kind", "retry"),
    [*OWN, *[(UpstreamError(kind, "words", provider="up"), *rest) for kind, *rest in UPSTREAM]],
)
def test_each_error_has_its_answer(error: Exception, status: int, kind: str, retry: str | None) -> None:
    response = errors.response(error, "req_1")
    body = json.loads(response.content)
    assert response.status_code == status
    assert body["type"] == "error"
    assert body["error"]["type"] == kind
    assert body["request_id"] == response.headers["request-id"] == "req_1"
    assert response.headers.get("x-should-retry") == retry
    assert "secret detail" not in response.content.decode()


def test_every_kind_of_upstream_error_is_in_the_table() -> None:
    assert {kind for kind, *_rest in UPSTREAM} == set(ErrorKind)


def test_openai_clients_get_their_own_shape() -> None:
    response = errors.response(UpstreamError(ErrorKind.OVERLOADED, "busy", provider="up"), "req_1", "openai")
    assert response.status_code == 503
    assert json.loads(response.content) == {
        "error": {"message": "up: busy", "type": "server_error", "param": None, "code": "overloaded_error"}
    }


def test_a_code_is_where_each_client_looks_for_it() -> None:
    error = errors.ThreadUnsupported()
    fault = errors.body(error, "req_1")["error"]
    assert (fault["type"], fault["details"]) == ("invalid_request_error", {"error_code": "thread_unsupported_request"})
    assert errors.body(error, "req_1", "openai")["error"]["code"] == "thread_unsupported_request"
    assert "details" not in errors.body(errors.ApiError(404, "not_found_error", "none"), "req_1")["error"]


def test_retry_after_is_passed_on() -> None:
    limited = errors.response(UpstreamError(ErrorKind.RATE_LIMITED, "slow down", retry_after_s=6.6), "req_1")
    assert limited.headers["retry-after"] == "7"
    assert errors.response(QUOTA, "req_1").headers["retry-after"] == "60"
    assert errors.response(RATE, "req_1").headers["retry-after"] == "33"


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (
            UpstreamError(ErrorKind.CONTEXT_TOO_LONG, "words", prompt_tokens=9000, context_window=8192),
            "prompt is too long: 9000 tokens > 8192 maximum",
        ),
        (
            UpstreamError(ErrorKind.CONTEXT_TOO_LONG, "maximum context length is 8192", provider="up"),
            "prompt is too long: up: maximum context length is 8192",
        ),
        (
            UpstreamError(
                ErrorKind.CONTEXT_TOO_LONG,
                "input length and `max_tokens` exceed context limit: 5 + 6 > 8, decrease",
                provider="up",
            ),
            "input length and `max_tokens` exceed context limit: 5 + 6 > 8, decrease",
        ),
    ],
)
def test_an_overflow_has_the_words_that_make_clients_compact(error: UpstreamError, message: str) -> None:
    assert errors.api_error(error).message == message


def test_an_anthropic_upstream_is_quoted_verbatim_except_about_our_own_account() -> None:
    body = b'{"type":"error","error":{"type":"invalid_request_error","message":"x"}}'
    relayed = UpstreamError(
        ErrorKind.INVALID_REQUEST, "x", status=400, body=body, headers=(("content-type", "application/json"),)
    )
    response = errors.response(relayed, "req_1")
    assert (response.status_code, response.content) == (400, body)
    for kind, status in ((ErrorKind.AUTH, 401), (ErrorKind.INSUFFICIENT_FUNDS, 402), (ErrorKind.PERMISSION, 403)):
        of_our_account = UpstreamError(kind, "invalid x-api-key", status=status, body=body)
        assert errors.response(of_our_account, "req_1").status_code == 502


def test_an_upstreams_error_object_is_the_data_of_the_event() -> None:
    error = UpstreamError(
        ErrorKind.OVERLOADED, "busy", provider="up", status=529, body=b'{"type":"error",\n "x": 1.50}'
    )
    assert errors.event(error, "req_1") == b'event: error\ndata: {"type":"error",\ndata:  "x": 1.50}\n\n'
    assert errors.http_status(error) == 529
    for hidden in (
        UpstreamError(ErrorKind.AUTH, "bad key", provider="up", status=401, body=b'{"error":"sk"}'),
        UpstreamError(ErrorKind.BAD_RESPONSE, "odd", provider="up", status=200, body=b"<html>"),
    ):
        data = json.loads(errors.event(hidden, "req_1").partition(b"data: ")[2])
        assert (data["type"], data["request_id"]) == ("error", "req_1")
    own = UpstreamError(ErrorKind.AUTH, "bad key", status=401, body=b'{"error":"sk"}', relays_auth=True)
    assert errors.response(own, "req_1").status_code == 401
