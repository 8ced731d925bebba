"""The floor: the least a gateway in Python can do. Raw ASGI, bytes in, bytes out, nothing is parsed.

    FLOOR_UPSTREAM=http://127.0.0.1:9000/v1/chat/completions uvicorn benchmarks.floor:application

FLOOR_TRANSPORT is `httpx` (its own transport, the default) or `aiohttp` (httpx over httpx-aiohttp).
"""

import os
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

import aiohttp
import httpx
from httpx_aiohttp import AiohttpTransport

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

UPSTREAM = os.environ["FLOOR_UPSTREAM"]
_clients: list[httpx.AsyncClient] = []


def make_client(transport: str) -> httpx.AsyncClient:
    """Return a client without limits on connections, over the named transport."""
    timeout = httpx.Timeout(60)
    if transport == "aiohttp":
        connector = aiohttp.TCPConnector(limit=0)
        return httpx.AsyncClient(
            transport=AiohttpTransport(client=lambda: aiohttp.ClientSession(connector=connector)), timeout=timeout
        )
    return httpx.AsyncClient(limits=httpx.Limits(max_connections=None, max_keepalive_connections=100), timeout=timeout)


async def application(scope: Message, receive: Receive, send: Send) -> None:
    if scope["type"] == "lifespan":
        await _lifespan(receive, send)
        return
    body = b""
    while True:
        message = await receive()
        body += message.get("body", b"")
        if not message.get("more_body"):
            break
    if scope["method"] != "POST":
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b""})
        return
    headers = {"content-type": "application/json", "authorization": "Bearer floor"}
    async with _clients[0].stream("POST", UPSTREAM, content=body, headers=headers) as response:
        kind = response.headers["content-type"].encode()
        start = {"type": "http.response.start", "status": response.status_code, "headers": [(b"content-type", kind)]}
        await send(start)
        async for piece in response.aiter_raw():
            await send({"type": "http.response.body", "body": piece, "more_body": True})
    await send({"type": "http.response.body", "body": b""})


async def _lifespan(receive: Receive, send: Send) -> None:
    while True:
        message = await receive()
        if message["type"] == "lifespan.startup":
            _clients.append(make_client(os.environ.get("FLOOR_TRANSPORT", "httpx")))
            await send({"type": "lifespan.startup.complete"})
        else:
            await _clients.pop().aclose()
            await send({"type": "lifespan.shutdown.complete"})
            return
