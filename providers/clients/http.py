"""The process's HTTP client for all upstream calls, and the one place where its failures become `UpstreamError`.

httpx is the interface, aiohttp the transport (httpx-aiohttp): a third of the CPU per stream. There are two clients
with a pool each, one of which refuses private addresses. What asks upstreams in an event loop of its own opens private
clients for itself (`private_clients`).
"""

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator, Mapping
from contextvars import ContextVar
from functools import lru_cache
from http.cookiejar import CookieJar
from typing import Any, Literal

import aiohttp
import httpx
from aiohttp.http_exceptions import HttpProcessingError
from httpx_aiohttp import AiohttpTransport

from providers.clients.base import Recording
from providers.clients.encoding import decoded, decoder_of
from providers.clients.kept_connection import Connector, sending
from providers.errors import ErrorKind, UpstreamError, one_line
from providers.network import GuardedResolver, PrivateAddress, is_private_url
from providers.target import Target

# aiohttp's default of 100 starves held streams; each pool bounds what one process holds open.
_MAX_CONNECTIONS = 1000
_KEEPALIVE_S = 60.0
# aiohttp's default of 8,190 bytes is less than what some gateways put into their headers.
_MAX_HEADER_BYTES = 64 * 1024
_WRITE_TIMEOUT_S = 60.0
_MAX_ERROR_BODY_BYTES = 256 * 1024
_ERROR_BODY_TIMEOUT_S = 10.0
# How long a finished answer may take to end its body, so that its connection can be used again.
_DRAIN_S = 0.25
_HEADERS = {"user-agent": "Wolfgate", "accept-encoding": "identity"}

# What httpx, and what aiohttp behind its back, raise when an upstream cannot be talked to.
_TRANSPORT_ERRORS = (
    httpx.HTTPError,
    httpx.InvalidURL,
    httpx.StreamError,
    aiohttp.ClientError,
    HttpProcessingError,
    OSError,
    TimeoutError,
)


def make_transport(
    library: Literal["aiohttp", "httpx"] = "aiohttp", *, allow_private: bool = False
) -> httpx.AsyncBaseTransport:
    """Return a transport with our limits. "httpx" (httpx's own, which has no guard of names) is for measurements."""
    verify = httpx.create_ssl_context(trust_env=False)
    limits = httpx.Limits(
        max_connections=_MAX_CONNECTIONS, max_keepalive_connections=100, keepalive_expiry=_KEEPALIVE_S
    )
    if library == "httpx":
        return httpx.AsyncHTTPTransport(verify=verify, trust_env=False, limits=limits)
    return AiohttpTransport(
        verify=verify, trust_env=False, limits=limits, client=lambda: _session(verify, allow_private=allow_private)
    )


def _session(verify: ssl.SSLContext, *, allow_private: bool) -> aiohttp.ClientSession:
    """Return a session of the running loop. The transport asks for it at its first call, once."""
    connector = Connector(
        ssl=verify,
        limit=_MAX_CONNECTIONS,
        keepalive_timeout=_KEEPALIVE_S,
        ttl_dns_cache=30,
        resolver=None if allow_private else GuardedResolver(),
    )
    return aiohttp.ClientSession(
        connector=connector,
        cookie_jar=aiohttp.DummyCookieJar(),
        trust_env=False,
        max_line_size=_MAX_HEADER_BYTES,
        max_field_size=_MAX_HEADER_BYTES,
    )


class _NoCookies(CookieJar):
    """Keeps nothing: one call's cookies are none of another's business."""

    def extract_cookies(self, response: Any, request: Any) -> None: ...

    def add_cookie_header(self, request: Any) -> None: ...


def _client(transport: httpx.AsyncBaseTransport) -> httpx.AsyncClient:
    return httpx.AsyncClient(
        transport=transport,
        trust_env=False,
        follow_redirects=False,
        timeout=None,  # each call brings its own
        headers=_HEADERS,
        cookies=_NoCookies(),
    )


class _Clients:
    """The open clients of this process; None before the start and after the end."""

    guarded: httpx.AsyncClient | None = None
    unguarded: httpx.AsyncClient | None = None


# (guarded, unguarded) of the code that runs inside `private_clients`, and of the tasks it starts.
_private: ContextVar[tuple[httpx.AsyncClient, httpx.AsyncClient] | None] = ContextVar("private_clients", default=None)


async def open_shared_client(transport: httpx.AsyncBaseTransport | None = None) -> None:
    """Open the clients, in the loop that will use them. A given `transport` serves both, for tests and benchmarks."""
    if _Clients.guarded is not None:
        raise RuntimeError("the shared client is already open")
    _Clients.guarded = _client(transport or make_transport())
    _Clients.unguarded = _client(transport or make_transport(allow_private=True))


async def close_shared_client() -> None:
    """Close both clients and their connections. May be called when they are not open."""
    clients = (_Clients.guarded, _Clients.unguarded)
    _Clients.guarded = _Clients.unguarded = None
    for client in clients:
        if client is not None:
            await client.aclose()


@contextlib.asynccontextmanager
async def private_clients(transport: httpx.AsyncBaseTransport | None = None) -> AsyncIterator[None]:
    """Let all calls made inside use clients of their own, and close those at the end.

    A connection belongs to the event loop that opened it: a command or a thread with a loop of its own can neither
    open the process's clients nor use them. A given `transport` serves both, for tests.
    """
    guarded, unguarded = (
        _client(transport or make_transport()),
        _client(transport or make_transport(allow_private=True)),
    )
    token = _private.set((guarded, unguarded))
    try:
        yield
    finally:
        _private.reset(token)
        await guarded.aclose()
        await unguarded.aclose()


def shared_client(*, allow_private: bool = False) -> httpx.AsyncClient:
    """Return the client that may, or may not, reach private addresses."""
    private = _private.get()
    if private is not None:
        return private[1] if allow_private else private[0]
    client = _Clients.unguarded if allow_private else _Clients.guarded
    if client is None:
        raise RuntimeError("open_shared_client was not called")
    return client


class UpstreamStream:
    """One answer's body under all its timeouts. Every failure is an `UpstreamError`.

    Raises `LookupError` at once for a content encoding that is not known.
    """

    __slots__ = ("_chunks", "_deadline", "_ended", "_loop", "_recording", "_response", "_target", "headers", "status")

    def __init__(self, response: httpx.Response, target: Target, deadline: float, recording: Recording | None) -> None:
        self.status = response.status_code
        self.headers = response.headers
        self._response = response
        self._target = target
        self._deadline = deadline
        self._recording = recording
        self._loop = asyncio.get_running_loop()
        self._ended = False
        # We ask for no compression; who compresses all the same is decoded.
        decoder = decoder_of(response.headers.get("content-encoding", ""))
        chunks = response.aiter_raw()
        self._chunks: AsyncIterator[bytes] = chunks if decoder is None else decoded(chunks, decoder)

    async def read(self, *, within_s: float | None = None, before: float | None = None) -> bytes | None:
        """Return the next bytes, None at the end of the body.

        Waits `within_s` (the idle timeout unless given), or until the loop time `before`, and in no case beyond the
        deadline of the call. Raises `UpstreamError`.
        """
        until = before
        if until is None:
            until = self._loop.time() + (self._target.timeouts.idle_s if within_s is None else within_s)
        try:
            async with asyncio.timeout_at(min(until, self._deadline)):
                data = await anext(self._chunks, None)
        except TimeoutError as error:
            if self._loop.time() >= self._deadline:
                raise timed_out(self._target, "the answer took longer than allowed") from error
            raise timed_out(self._target, "the upstream fell silent") from error
        except _TRANSPORT_ERRORS as error:
            failure = from_transport(error, self._target)
            failure.status = self.status
            raise failure from error
        if data is None:
            self._ended = True
        elif self._recording is not None:
            self._recording.add(data)
        return data

    async def read_error(self) -> bytes:
        """Return the body of an error answer, as far as it comes soon and is of sensible size."""
        body = bytearray()
        before = self._loop.time() + _ERROR_BODY_TIMEOUT_S
        with contextlib.suppress(UpstreamError):  # the status says enough
            while len(body) < _MAX_ERROR_BODY_BYTES and (data := await self.read(before=before)) is not None:
                body += data
        return bytes(body)

    async def aclose(self, *, finished: bool = False) -> None:
        """Give up the connection at once; a `finished` answer may end its body first, and keeps the connection."""
        if finished and not self._ended:
            with contextlib.suppress(UpstreamError):
                before = self._loop.time() + _DRAIN_S
                while await self.read(before=before) is not None:
                    pass
        with contextlib.suppress(*_TRANSPORT_ERRORS):
            await self._response.aclose()
        self._ended = True


async def post(
    target: Target,
    url: str,
    headers: Mapping[str, str],
    content: bytes,
    *,
    before: float,
    deadline: float,
    recording: Recording | None = None,
) -> UpstreamStream:
    """Send a request and return its answer once the headers are there.

    `before` (loop time) is when the first event is due, `deadline` when the whole call must be over. Raises
    `UpstreamError`.
    """
    if not target.allow_private_network and is_private_url(url):
        # A literal address never meets the resolver.
        raise UpstreamError(
            ErrorKind.UNREACHABLE,
            "the base URL is a private address; the provider must allow private networks",
            provider=target.provider_name,
            never_connected=True,
        )
    if recording is not None:
        recording.sending(url, headers, content)
    client = shared_client(allow_private=target.allow_private_network)
    timeouts = {
        "connect": target.timeouts.connect_s,
        # Also the wait for a free connection, and for the name server.
        "pool": target.timeouts.connect_s,
        "write": _WRITE_TIMEOUT_S,
        "read": None,  # the timeouts around each read are ours
    }
    try:
        # Not client.build_request, which merges in what the client has: nothing but the two headers.
        request = httpx.Request(
            "POST", _parsed(url), headers={**_HEADERS, **headers}, content=content, extensions={"timeout": timeouts}
        )
        async with asyncio.timeout_at(min(before, deadline)):
            response = await _send(client, request)
    except _TRANSPORT_ERRORS as error:
        if isinstance(error, TimeoutError) and not isinstance(error, aiohttp.ClientError):
            raise timed_out(target, "no answer came in time") from error
        raise from_transport(error, target) from error
    if recording is not None:
        recording.answered(response.status_code, response.headers)
    try:
        return UpstreamStream(response, target, deadline, recording)
    except LookupError as error:
        with contextlib.suppress(*_TRANSPORT_ERRORS):
            await response.aclose()
        raise UpstreamError(
            ErrorKind.BAD_RESPONSE,
            one_line(f"the answer is encoded as {error.args[0]}, which nobody asked for"),
            status=response.status_code,
            provider=target.provider_name,
        ) from error


async def _send(client: httpx.AsyncClient, request: httpx.Request) -> httpx.Response:
    """Return the answer; a request that a kept connection was closed under is sent once more, on a fresh one."""
    with sending() as first:
        try:
            return await client.send(request, stream=True)
        except _TRANSPORT_ERRORS as error:
            if not first.lost_race(_chain(error)):
                raise
    with sending(needs_fresh=True):
        return await client.send(request, stream=True)


async def fetch(
    method: str, url: str, headers: Mapping[str, str], data: bytes, *, within_s: float, max_bytes: int, guarded: bool
) -> tuple[int, bytes]:
    """Return status and body of a small exchange beside the calls.

    Unless it is `guarded`, names may lead to private addresses. Literal ones are for the caller to check. Raises
    `UpstreamError`.
    """
    timeouts = {"connect": within_s, "pool": within_s, "write": within_s, "read": None}
    try:
        async with asyncio.timeout(within_s):
            request = httpx.Request(
                method, _parsed(url), headers={**_HEADERS, **headers}, content=data, extensions={"timeout": timeouts}
            )
            response = await shared_client(allow_private=not guarded).send(request, stream=True)
            try:
                body = bytearray()
                async for part in response.aiter_bytes():
                    body += part
                    if len(body) > max_bytes:
                        raise UpstreamError(ErrorKind.BAD_RESPONSE, f"the answer is larger than {max_bytes} bytes")
            finally:
                await response.aclose()
    except _TRANSPORT_ERRORS as error:
        kind, message, _connected = _meaning(_chain(error))
        raise UpstreamError(kind, message) from error
    return response.status_code, bytes(body)


@lru_cache(maxsize=512)
def _parsed(url: str) -> httpx.URL:
    return httpx.URL(url)


def timed_out(target: Target, message: str) -> UpstreamError:
    """Return the error of a timeout of ours."""
    return UpstreamError(ErrorKind.TIMEOUT, message, provider=target.provider_name)


def from_transport(error: BaseException, target: Target) -> UpstreamError:
    """Return what a failure of the transport means.

    httpx-aiohttp 0.2.0 reports a refused connection, an unknown name and a server that closes without an answer all
    as `ConnectTimeout`, and lets some of aiohttp's errors through: the cause tells what really happened.
    """
    kind, message, connected = _meaning(_chain(error))
    return UpstreamError(kind, message, provider=target.provider_name, never_connected=not connected)


def _chain(error: BaseException) -> list[BaseException]:
    """Return the error and its causes, the innermost first."""
    found: list[BaseException] = []
    cause: BaseException | None = error
    while cause is not None and len(found) < 10:
        found.insert(0, cause)
        cause = cause.__cause__ or (cause.__context__ if not cause.__suppress_context__ else None)
    return found


# The first row that any error of the chain fits decides: its kind, its words, whether there was a connection.
_MEANINGS: tuple[tuple[tuple[type[BaseException], ...], ErrorKind, str, bool], ...] = (
    ((aiohttp.ClientConnectorDNSError,), ErrorKind.UNREACHABLE, "the host name is unknown", False),
    ((ssl.SSLCertVerificationError,), ErrorKind.UNREACHABLE, "the TLS certificate is not valid", False),
    ((aiohttp.ClientSSLError, ssl.SSLError), ErrorKind.UNREACHABLE, "the TLS handshake failed", False),
    ((ConnectionRefusedError,), ErrorKind.UNREACHABLE, "the connection was refused", False),
    ((aiohttp.ConnectionTimeoutError,), ErrorKind.TIMEOUT, "no connection came about in time", False),
    ((aiohttp.ServerTimeoutError,), ErrorKind.TIMEOUT, "the upstream fell silent", True),
    ((aiohttp.ClientPayloadError,), ErrorKind.BAD_RESPONSE, "the answer was cut off", True),
    ((aiohttp.ServerDisconnectedError,), ErrorKind.UNREACHABLE, "the upstream closed the connection", True),
    ((aiohttp.ClientResponseError, HttpProcessingError), ErrorKind.BAD_RESPONSE, "the answer is not valid HTTP", True),
    (
        (aiohttp.InvalidURL, httpx.InvalidURL, httpx.UnsupportedProtocol),
        ErrorKind.UNREACHABLE,
        "the URL is not valid",
        False,
    ),
    ((ConnectionResetError, BrokenPipeError), ErrorKind.UNREACHABLE, "the upstream reset the connection", True),
    ((aiohttp.ClientConnectorError,), ErrorKind.UNREACHABLE, "no connection to the upstream", False),
    ((aiohttp.ClientConnectionError,), ErrorKind.UNREACHABLE, "no connection to the upstream", True),
    # Without aiohttp below (httpx's own transport) httpx's classes mean what they say.
    ((httpx.ConnectTimeout,), ErrorKind.TIMEOUT, "no connection came about in time", False),
    ((httpx.TimeoutException,), ErrorKind.TIMEOUT, "the upstream fell silent", True),
    ((httpx.ConnectError,), ErrorKind.UNREACHABLE, "no connection to the upstream", False),
    ((httpx.ReadError, httpx.RemoteProtocolError), ErrorKind.BAD_RESPONSE, "the answer was cut off", True),
    ((httpx.DecodingError,), ErrorKind.BAD_RESPONSE, "the answer's compression is broken", True),
    ((TimeoutError,), ErrorKind.TIMEOUT, "the upstream fell silent", True),
)


def _meaning(chain: list[BaseException]) -> tuple[ErrorKind, str, bool]:
    for error in chain:
        if isinstance(error, PrivateAddress):
            return ErrorKind.UNREACHABLE, one_line(str(error)), False
    for types, kind, message, connected in _MEANINGS:
        if any(isinstance(error, types) for error in chain):
            return kind, message, connected
    return ErrorKind.UNREACHABLE, "the connection to the upstream failed", True
