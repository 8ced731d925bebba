"""Every way in which a platform fails, in both wire formats, with what the gateway owes the client for each.

The classes, and whether the next target is asked, are those of the wire rules for errors: a fault of the platform, of
its account or of the way there falls through; the client of an exhausted route gets 429 for 429, 529 for load, 504 for
silence, and 502 for everything that concerns the gateway's own account or that nobody can read, with
`x-should-retry: false` where asking again is of no use. A platform that speaks the client's own format is quoted.
"""

import itertools
import json
import ssl
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import aiohttp
import httpx
from aiohttp.client_reqrep import ConnectionKey

from tests.fakes.transport import Piece, Reply, chunk, events, json_reply, sse

SSE = {"content-type": "text/event-stream"}
JSON = {"content-type": "application/json"}
HTML = {"content-type": "text/html"}
PAGE = b"<html><head><title>502 Bad Gateway</title></head><body><script>alert(1)</script></body></html>"
PLATFORM, CREDENTIAL, MODEL = "platform", "credential", "model"


@dataclass(frozen=True, slots=True)
class Owed:
    """What the client of an exhausted route gets."""

    status: int
    error_type: str
    words: str  # a pattern that the message matches
    retry_after: str | None = None
    should_retry: str | None = None
    is_verbatim: bool = False  # the platform's own body


@dataclass(frozen=True, slots=True)
class Fault:
    """One fault before the first event; `reply` takes whether the request asks for a stream."""

    name: str
    reply: Callable[[bool], Reply]
    kind: str  # of the error: the attempt's outcome, the cooldown's reason
    status: int | None  # that the attempt keeps
    cools: tuple[float, str] | None  # for how long, and how much of the platform
    owed: Owed
    is_slow: bool = False  # it ends with a timeout of ours


def _raising(*chain: BaseException) -> Callable[[bool], Reply]:
    """Return an upstream whose transport raises the last of `chain`, caused by those before it."""
    for cause, error in itertools.pairwise(chain):
        error.__cause__ = cause
    return lambda _streamed: Reply(failure=chain[-1])


# As httpx-aiohttp 0.2.0 raises them: everything on the way to a connection is a ConnectTimeout of httpx.
_PLACE = ConnectionKey("one.test", 443, True, True, None, None, None)
_REFUSED = ConnectionRefusedError(111, "Connect call failed")
_UNKNOWN = OSError(-2, "Name or service not known")
_UNTRUSTED = ssl.SSLCertVerificationError(1, "certificate verify failed: self-signed certificate")
REFUSED = _raising(_REFUSED, aiohttp.ClientConnectorError(_PLACE, _REFUSED), httpx.ConnectTimeout("refused"))
DNS = _raising(_UNKNOWN, aiohttp.ClientConnectorDNSError(_PLACE, _UNKNOWN), httpx.ConnectTimeout("unknown"))
TLS = _raising(
    _UNTRUSTED, aiohttp.ClientConnectorCertificateError(_PLACE, _UNTRUSTED), httpx.ConnectTimeout("untrusted")
)
CONNECT = _raising(TimeoutError(), aiohttp.ConnectionTimeoutError("too slow"), httpx.ConnectTimeout("too slow"))


def _answering(body: Any, status: int, **headers: str) -> Callable[[bool], Reply]:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return lambda _streamed: json_reply(body, status, named)


def _with(pieces: Sequence[Piece], headers: dict[str, str]) -> Callable[[bool], Reply]:
    return lambda _streamed: Reply(list(pieces), 200, headers)


def _silent(_streamed: bool) -> Reply:
    return Reply(silent=True)


def _said(message: str) -> dict[str, Any]:
    return {"error": {"message": message, "type": "some_type"}}


def _native_error(error_type: str, message: str) -> dict[str, Any]:
    return {"type": "error", "error": {"type": error_type, "message": message}}


def _way_there() -> list[Fault]:
    """Return the faults that no wire format has a part in."""
    gone = (30.0, PLATFORM)
    return [
        Fault("refused", REFUSED, "unreachable", None, gone, Owed(502, "api_error", "connection was refused")),
        Fault("dns", DNS, "unreachable", None, gone, Owed(502, "api_error", "host name is unknown")),
        Fault("tls", TLS, "unreachable", None, gone, Owed(502, "api_error", "TLS certificate is not valid")),
        Fault("connect", CONNECT, "timeout", None, gone, Owed(504, "timeout_error", "no connection came about")),
        Fault(
            "timeout before headers",
            _silent,
            "timeout",
            None,
            (30.0, MODEL),
            Owed(504, "timeout_error", "no answer came in time"),
            is_slow=True,
        ),
        Fault(
            "silent 200",
            _with([None], SSE),
            "timeout",
            None,
            (30.0, MODEL),
            Owed(504, "timeout_error", "fell silent|took longer than allowed"),
            is_slow=True,
        ),
        Fault(
            "html 502",
            lambda _streamed: Reply([PAGE], 502, HTML),
            "overloaded",
            502,
            (30.0, MODEL),
            Owed(529, "overloaded_error", "502 Bad Gateway"),
        ),
    ]


_OURS = "false"  # our account's trouble: asking again is of no use

OPENAI_FAULTS = [
    *_way_there(),
    Fault("401", _answering(_said("bad key"), 401), "auth", 401, (600.0, CREDENTIAL),
          Owed(502, "api_error", "bad key", should_retry=_OURS)),
    Fault("402", _answering(_said("pay up"), 402), "insufficient_funds", 402, (1800.0, CREDENTIAL),
          Owed(502, "api_error", "pay up", should_retry=_OURS)),
    Fault("403", _answering(_said("not activated"), 403), "permission", 403, (600.0, MODEL),
          Owed(502, "api_error", "not activated", should_retry=_OURS)),
    Fault("404", _answering(_said("no such thing"), 404), "not_found", 404, (600.0, MODEL),
          Owed(502, "api_error", "no such thing", should_retry=_OURS)),
    Fault("408", _answering(_said("took long"), 408), "timeout", 408, (30.0, MODEL),
          Owed(504, "timeout_error", "took long")),
    Fault("429", _answering(_said("slow down"), 429), "rate_limited", 429, (20.0, MODEL),
          Owed(429, "rate_limit_error", "slow down")),
    Fault("429 with retry-after", _answering(_said("slow down"), 429, retry_after="7"), "rate_limited", 429,
          (7.0, MODEL), Owed(429, "rate_limit_error", "slow down", retry_after="7")),
    Fault("500", _answering(_said("boom"), 500), "server_error", 500, (10.0, MODEL), Owed(502, "api_error", "boom")),
    Fault("503", _answering(_said("loading"), 503), "overloaded", 503, (30.0, MODEL),
          Owed(529, "overloaded_error", "loading")),
    Fault("529", _answering(_said("full"), 529), "overloaded", 529, (30.0, MODEL),
          Owed(529, "overloaded_error", "full")),
    Fault("html 200", _with([PAGE], HTML), "bad_response", 200, (10.0, MODEL), Owed(502, "api_error", "no event stream: 502 Bad Gateway")),
    Fault("bad json", _with([b'data: {"id": "c1", "choi\n\n'], SSE), "bad_response", 200, (10.0, MODEL),
          Owed(502, "api_error", "no event stream")),
    Fault("error in 200", _with(sse({"error": {"message": "boom inside"}}, done=False), SSE), "server_error", 200,
          (10.0, MODEL), Owed(502, "api_error", "boom inside")),
    Fault("empty stream", _with([], SSE), "bad_response", 200, (10.0, MODEL), Owed(502, "api_error", "empty")),
    Fault("cut before text", _with([*sse(chunk({"role": "assistant", "content": ""}), done=False),
          httpx.ReadError("reset")], SSE), "bad_response", 200, (10.0, MODEL), Owed(502, "api_error", "cut off")),
]  # fmt: skip

START = {
    "type": "message_start",
    "message": {
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "model": "x",
        "content": [],
        "stop_reason": None,
        "stop_sequence": None,
        "usage": {"input_tokens": 10, "output_tokens": 0},
    },
}


def _quoted(status: int, error_type: str, message: str, **headers: str) -> Callable[[bool], Reply]:
    return _answering(_native_error(error_type, message), status, **headers)


def _native(streaming: Sequence[Piece], whole: bytes) -> Callable[[bool], Reply]:
    return lambda streamed: Reply(list(streaming), 200, SSE) if streamed else Reply([whole], 200, JSON)


_BOOM = _native_error("api_error", "boom inside")

ANTHROPIC_FAULTS = [
    *_way_there(),
    Fault("401", _quoted(401, "authentication_error", "bad key"), "auth", 401, (600.0, CREDENTIAL),
          Owed(502, "api_error", "bad key", should_retry=_OURS)),
    Fault("402", _quoted(402, "billing_error", "pay up"), "insufficient_funds", 402, (1800.0, CREDENTIAL),
          Owed(502, "api_error", "pay up", should_retry=_OURS)),
    Fault("403", _quoted(403, "permission_error", "not activated"), "permission", 403, (600.0, MODEL),
          Owed(502, "api_error", "not activated", should_retry=_OURS)),
    Fault("404", _quoted(404, "not_found_error", "no such thing"), "not_found", 404, (600.0, MODEL),
          Owed(404, "not_found_error", "no such thing", is_verbatim=True)),
    Fault("408", _quoted(408, "timeout_error", "took long"), "timeout", 408, (30.0, MODEL),
          Owed(408, "timeout_error", "took long", is_verbatim=True)),
    Fault("429", _quoted(429, "rate_limit_error", "slow down"), "rate_limited", 429, (20.0, MODEL),
          Owed(429, "rate_limit_error", "slow down", is_verbatim=True)),
    Fault("429 with retry-after", _quoted(429, "rate_limit_error", "slow down", retry_after="7"), "rate_limited", 429,
          (7.0, MODEL), Owed(429, "rate_limit_error", "slow down", retry_after="7", is_verbatim=True)),
    Fault("500", _quoted(500, "api_error", "boom"), "server_error", 500, (10.0, MODEL),
          Owed(500, "api_error", "boom", is_verbatim=True)),
    Fault("503", _quoted(503, "overloaded_error", "loading"), "overloaded", 503, (30.0, MODEL),
          Owed(503, "overloaded_error", "loading", is_verbatim=True)),
    Fault("529", _quoted(529, "overloaded_error", "full", x_should_retry="true"), "overloaded", 529, (30.0, MODEL),
          Owed(529, "overloaded_error", "full", should_retry="true", is_verbatim=True)),
    Fault("html 200", _with([PAGE], HTML), "bad_response", 200, (10.0, MODEL), Owed(502, "api_error", "answer")),
    Fault("bad json", _native([b'event: message_start\ndata: {"type": "mess\n\n'], b'{"type": "mess'), "bad_response",
          200, (10.0, MODEL), Owed(502, "api_error", "answer")),
    Fault("error in 200", _native(events(_BOOM), json.dumps(_BOOM).encode()), "server_error", 500, (10.0, MODEL),
          Owed(500, "api_error", "boom inside", is_verbatim=True)),
    Fault("empty stream", _native([], b""), "bad_response", 200, (10.0, MODEL), Owed(502, "api_error", "empty")),
    Fault("cut before text",
          lambda streamed: Reply([*events(START), httpx.ReadError("reset")], 200, SSE) if streamed
          else Reply([b'{"type": "message", ', httpx.ReadError("reset")], 200, JSON),
          "bad_response", 200, (10.0, MODEL), Owed(502, "api_error", "cut off")),
]  # fmt: skip


@dataclass(frozen=True, slots=True)
class Cut:
    """An answer that breaks off after its first event. A client that asked for no stream has seen nothing of it."""

    name: str
    openai: Sequence[Piece]
    anthropic: Sequence[Piece]
    blocks: tuple[str, ...]  # that a streaming client sees, each with its end


_TOOL = {"index": 0, "id": "call_1", "type": "function", "function": {"name": "run", "arguments": '{"command": "r'}}
_CUT = httpx.ReadError("reset")


def _block(index: int, block: dict[str, Any], delta: dict[str, Any]) -> list[dict[str, Any]]:
    return [
        {"type": "content_block_start", "index": index, "content_block": block},
        {"type": "content_block_delta", "index": index, "delta": delta},
    ]


_TEXT = _block(0, {"type": "text", "text": ""}, {"type": "text_delta", "text": "half a word"})
_CALL = _block(
    1,
    {"type": "tool_use", "id": "toolu_1", "name": "run", "input": {}},
    {"type": "input_json_delta", "partial_json": '{"command": "r'},
)
CUTS = [
    Cut(
        "cut after text",
        [*sse(chunk({"content": "half a word"}), done=False), _CUT],
        [*events(START, *_TEXT), _CUT],
        ("text",),
    ),
    Cut(
        "cut inside a tool call",
        [*sse(chunk({"content": "half a word"}), chunk({"tool_calls": [_TOOL]}), done=False), _CUT],
        [*events(START, *_TEXT, {"type": "content_block_stop", "index": 0}, *_CALL), _CUT],
        ("text", "tool_use"),
    ),
]
