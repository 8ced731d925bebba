"""Wolfgate over httpx's own transport, to be compared with the one that it uses (`--transport`)."""

from gateway.asgi import application
from providers.clients import http

__all__ = ["application"]

_open_as_usual = http.open_shared_client


async def _open_over_httpx() -> None:
    await _open_as_usual(http.make_transport("httpx"))


# The lifespan handler looks the function up when the server starts, and has no setting for what nobody should choose.
http.open_shared_client = _open_over_httpx  # type: ignore[assignment]
