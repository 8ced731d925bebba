"""Reads the gateway's event streams as a client does, many at a time."""

import json
import logging
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import httpx

from tests.fakes.gateway_process import KEY

# One line per request would bury what a failing test has to say.
logging.getLogger("httpx").setLevel(logging.WARNING)
LIMITS = httpx.Limits(max_connections=500, max_keepalive_connections=0)


def client(base_url: str) -> httpx.AsyncClient:
    """Return a client that can hold hundreds of streams open."""
    return httpx.AsyncClient(base_url=base_url, limits=LIMITS, timeout=30)


def body(content: str = "Hello", *, model: str = "any", streamed: bool = True, **more: Any) -> dict[str, Any]:
    """Return the body of a Messages request."""
    messages = [{"role": "user", "content": content}]
    return {"model": model, "max_tokens": 1000, "messages": messages, "stream": streamed, **more}


@dataclass(slots=True)
class Stream:
    """An open answer."""

    response: httpx.Response
    events: list[dict[str, Any]] = field(default_factory=list)
    _lines: AsyncIterator[str] | None = None

    async def read(self) -> AsyncIterator[dict[str, Any]]:
        """Yield the events as they come, going on where an earlier call stopped; each `event:` line must name the type of its data."""
        name = ""
        if self._lines is None:
            self._lines = self.response.aiter_lines()
        async for line in self._lines:
            if line.startswith("event: "):
                name = line[len("event: ") :]
            elif line.startswith("data: "):
                event = json.loads(line[len("data: ") :])
                assert event["type"] == name
                self.events.append(event)
                yield event

    async def read_all(self) -> str:
        """Read to the end and return the text."""
        async for _ in self.read():
            pass
        return self.text

    @property
    def types(self) -> list[str]:
        """The types of the events so far, pings left out."""
        return [event["type"] for event in self.events if event["type"] != "ping"]

    @property
    def text(self) -> str:
        deltas = (event["delta"] for event in self.events if event["type"] == "content_block_delta")
        return "".join(delta.get("text", "") for delta in deltas)


async def post(
    http: httpx.AsyncClient,
    request: Mapping[str, Any],
    *,
    key: str = KEY,
    session: str = "",
    path: str = "/v1/messages",
) -> Stream:
    """Send `request` and return the answer with its body unread; the caller closes `response`."""
    headers = {"x-api-key": key, "anthropic-version": "2023-06-01"}
    if session:
        headers["x-claude-code-session-id"] = session
    response = await http.send(http.build_request("POST", path, json=request, headers=headers), stream=True)
    return Stream(response)


async def read_until_delta(stream: Stream) -> None:
    """Read up to the first piece of content and leave the stream open."""
    async for event in stream.read():
        if event["type"] == "content_block_delta":
            return
    raise AssertionError(f"the stream ended before its first content: {stream.types}")


def assert_complete(stream: Stream) -> None:
    """Check that `stream` is one whole message by the grammar of the Messages API."""
    types = stream.types
    assert stream.response.status_code == 200, stream.response.status_code
    assert types[0] == "message_start", types[:3]
    assert types[-2:] == ["message_delta", "message_stop"], types[-3:]
    inner = types[1:-2]
    is_open = False
    for kind in inner:
        assert kind in ("content_block_start", "content_block_delta", "content_block_stop"), kind
        assert is_open is (kind != "content_block_start"), types
        is_open = kind != "content_block_stop"
    assert not is_open
