"""The ASGI application: the API through a light handler of its own, everything else through Django's.

The API handler leaves out what a model call has no use for: the thread-sensitive context, the request signals (their
receivers are sync, each a thread hop) and the admin's middleware. It bounds the body itself and watches for a client
that hangs up, in which case the call is cancelled at once.
"""

import asyncio
import contextlib
import gc
import logging
import os
from collections.abc import Awaitable, Callable, Mapping
from io import BytesIO
from typing import Any

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "gateway.settings")

import django

django.setup()

from django.conf import settings
from django.core.handlers.asgi import ASGIHandler, ASGIRequest
from django.http import Http404, HttpResponse, HttpResponseBase, StreamingHttpResponse
from django.urls import get_resolver, set_urlconf

from accounts import ledger_thread
from accounts.ids import new_request_id
from gateway import background, capture, errors, front_ends, pipeline
from gateway.incoming import header_map
from gateway.manage import MAX_BODY_BYTES, is_manage
from gateway.manage.errors import response as manage_response
from providers.clients import http

logger = logging.getLogger(__name__)

Scope = dict[str, Any]
Receive = Callable[[], Awaitable[Mapping[str, Any]]]
Send = Callable[[Mapping[str, Any]], Awaitable[None]]

_API_PREFIXES = ("/v1/", "/api/", "/healthz", "/readyz")
_API_PATHS = frozenset(
    {"/", "/messages", "/messages/count_tokens", "/models", "/chat/completions", "/responses", "/me"}
)


def is_api(path: str) -> bool:
    """Return whether `path` belongs to the API handler."""
    if is_manage(path):
        return False  # sessions, CSRF and languages are Django's affair
    return path.startswith(_API_PREFIXES) or path in _API_PATHS or path.startswith("/models/")


class ClientGone(Exception):
    """The client closed the connection before its request was complete."""


class ApiHandler(ASGIHandler):
    """Django's request and response cycle for the API paths, without what it does not need."""

    def load_middleware(self, is_async: bool = False) -> None:
        """Load none: the API has no session, no cookies and no forms."""
        self._view_middleware: list[Any] = []
        self._template_response_middleware: list[Any] = []
        self._exception_middleware: list[Any] = []

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            data = await _read_body(scope, receive, settings.MAX_BODY_BYTES)
        except ClientGone:
            return
        except errors.RequestTooLarge as error:
            await _send_plain(send, errors.response(error, new_request_id(), _wire_format(scope)))
            return
        request = ASGIRequest(scope, BytesIO(data))
        request._body = data
        main = asyncio.current_task()
        assert main is not None
        watcher = asyncio.ensure_future(_disconnected(receive))
        gone = False

        def hang_up(_task: "asyncio.Future[None]") -> None:
            nonlocal gone
            if not watcher.cancelled():
                gone = True
                main.cancel()

        watcher.add_done_callback(hang_up)
        response: HttpResponseBase | None = None
        try:
            response = await self._respond(request)
            await _send(send, response)
        except asyncio.CancelledError:
            if not gone:
                raise
            main.uncancel()
        finally:
            watcher.remove_done_callback(hang_up)
            watcher.cancel()
            if response is not None:
                response.close()

    async def _respond(self, request: ASGIRequest) -> HttpResponseBase:
        set_urlconf(settings.ROOT_URLCONF)
        try:
            response: HttpResponseBase = await self._get_response_async(request)  # type: ignore[attr-defined]
        except Http404:
            return _unknown(request, 404)
        if response.status_code == 405:
            refused = _unknown(request, 405)
            refused.headers["Allow"] = response.headers.get("Allow", "")
            return refused
        return response


async def _read_body(scope: Scope, receive: Receive, limit: int) -> bytes:
    for name, value in scope["headers"]:
        if name == b"content-length" and value.isdigit() and int(value) > limit:
            await _drain(receive)
            raise errors.RequestTooLarge(limit)
    parts: list[bytes] = []
    size = 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientGone
        part = message.get("body", b"")
        size += len(part)
        if size > limit:
            await _drain(receive)
            raise errors.RequestTooLarge(limit)
        parts.append(part)
        if not message.get("more_body", False):
            return parts[0] if len(parts) == 1 else b"".join(parts)


async def _drain(receive: Receive) -> None:
    # A client that is still sending reads no answer before it is through; but it gets a bounded time for that.
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(10):
            while (message := await receive())["type"] != "http.disconnect" and message.get("more_body", False):
                pass


async def _disconnected(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


def _wire_format(scope: Mapping[str, Any]) -> str:
    return front_ends.wire_format_of(scope["path"], header_map(scope["headers"]))


def _unknown(request: ASGIRequest, status: int) -> HttpResponse:
    if status == 405:
        error = errors.ApiError(405, "invalid_request_error", f"{request.method} is not allowed on {request.path}.")
    else:
        error = errors.ApiError(404, "not_found_error", f"There is nothing at {request.path}.")
    return errors.response(error, new_request_id(), _wire_format(request.scope))


def _headers(response: HttpResponseBase) -> list[tuple[bytes, bytes]]:
    headers = [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in response.items()]
    headers += [
        (b"set-cookie", cookie.output(header="").strip().encode("latin-1")) for cookie in response.cookies.values()
    ]
    return headers


async def _send(send: Send, response: HttpResponseBase) -> None:
    if not isinstance(response, StreamingHttpResponse):
        assert isinstance(response, HttpResponse)
        await _send_plain(send, response)
        return
    await send({"type": "http.response.start", "status": response.status_code, "headers": _headers(response)})
    async for part in response:
        await send({"type": "http.response.body", "body": part, "more_body": True})
    await send({"type": "http.response.body", "body": b""})


async def _send_plain(send: Send, response: HttpResponse) -> None:
    content = response.content
    headers = _headers(response)
    if not response.has_header("Content-Length"):
        headers.append((b"content-length", str(len(content)).encode()))
    await send({"type": "http.response.start", "status": response.status_code, "headers": headers})
    await send({"type": "http.response.body", "body": content})


def _keep_for_good() -> None:
    """Take what was loaded by now out of the garbage collector's sight.

    It is over a hundred thousand objects that stay. Each full collection, one in about 500 calls, would walk them all,
    and for 50 ms and more no call would go on.
    """
    _ = get_resolver().url_patterns  # else loaded by the first request
    gc.collect()
    gc.freeze()


async def _lifespan(receive: Receive, send: Send) -> None:
    while True:
        message = await receive()
        if message["type"] == "lifespan.startup":
            await http.open_shared_client()
            ledger_thread.start()
            capture.start()
            background.start()
            _keep_for_good()
            await send({"type": "lifespan.startup.complete"})
        elif message["type"] == "lifespan.shutdown":
            await pipeline.cancel_calls()
            await http.close_shared_client()
            # The ledger writes what is queued; joining it must not block the loop that its futures resolve on.
            await asyncio.to_thread(ledger_thread.stop)
            await asyncio.to_thread(capture.stop)
            await asyncio.to_thread(background.stop)
            await send({"type": "lifespan.shutdown.complete"})
            return


async def _manage(scope: Scope, receive: Receive, send: Send) -> None:
    """Serve the management API by Django's own handler, which would put a body of any size on the disk."""
    try:
        data: bytes | None = await _read_body(scope, receive, MAX_BODY_BYTES)
    except ClientGone:
        return
    except errors.RequestTooLarge:
        await _send_plain(send, manage_response(413))
        return

    async def receive_read() -> Mapping[str, Any]:
        nonlocal data
        if data is None:
            return await receive()
        body, data = data, None
        return {"type": "http.request", "body": body, "more_body": False}

    await _site(scope, receive_read, send)


_site = ASGIHandler()
_api = ApiHandler()


async def application(scope: Scope, receive: Receive, send: Send) -> None:
    """Serve one ASGI connection."""
    if scope["type"] == "lifespan":
        await _lifespan(receive, send)
    elif scope["type"] == "http" and is_api(scope["path"]):
        await _api(scope, receive, send)
    elif scope["type"] == "http" and is_manage(scope["path"]):
        await _manage(scope, receive, send)
    elif scope["type"] == "http":
        await _site(scope, receive, send)
    else:
        raise ValueError(f"{scope['type']} connections are not served")
