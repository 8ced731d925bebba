"""What the real Claude Code sent (tests/fixtures/claude_code): one request per kind."""

import gzip
import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parents[1] / "fixtures" / "claude_code"


@dataclass(frozen=True, slots=True)
class Recorded:
    """One request. Its `body` is shared by all tests: it must not be changed."""

    kind: str
    method: str
    path: str
    query: str
    headers: tuple[tuple[str, str], ...]
    body: Any
    body_bytes: int

    @property
    def raw(self) -> bytes:
        """The body as on the wire."""
        return b"" if self.body is None else json.dumps(self.body, ensure_ascii=False, separators=(",", ":")).encode()

    @property
    def url(self) -> str:
        return f"{self.path}?{self.query}" if self.query else self.path

    @property
    def own_headers(self) -> dict[str, str]:
        """The headers that say something about the client: without credentials and those of the connection."""
        ours = ("authorization", "x-api-key", "host", "connection", "content-length", "accept-encoding")
        return {name: value for name, value in self.headers if name.lower() not in ours}


@cache
def recorded() -> dict[str, Recorded]:
    """Return all requests by kind."""
    found = {}
    for path in sorted(FOLDER.glob("*.json.gz")):
        document = json.loads(gzip.decompress(path.read_bytes()))
        found[document["kind"]] = Recorded(
            kind=document["kind"],
            method=document["method"],
            path=document["path"],
            query=document["query"],
            headers=tuple((name, value) for name, value in document["headers"]),
            body=document["body"],
            body_bytes=document["body_bytes_on_wire"],
        )
    return found


@cache
def messages_requests() -> dict[str, dict[str, Any]]:
    """Return the bodies of the requests of the Messages API, by kind."""
    return {kind: item.body for kind, item in recorded().items() if item.path.endswith("/messages")}


def calls_of(body: dict[str, Any]) -> list[tuple[int, dict[str, Any]]]:
    """Return the tool_use blocks of a body with the position of their message."""
    return [(at, block) for at, block in _blocks(body, "assistant") if block["type"] == "tool_use"]


def results_of(body: dict[str, Any]) -> list[tuple[int, dict[str, Any]]]:
    """Return the tool_result blocks of a body with the position of their message."""
    return [(at, block) for at, block in _blocks(body, "user") if block["type"] == "tool_result"]


def earlier_turns(body: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the requests that the client made on the way to `body`: cut before each answer, the first one first."""
    messages = body["messages"]
    ends = [at for at, message in enumerate(messages) if message["role"] == "assistant"]
    return [{**body, "messages": messages[:end]} for end in ends]


def _blocks(body: dict[str, Any], role: str) -> list[tuple[int, dict[str, Any]]]:
    return [
        (at, block)
        for at, message in enumerate(body["messages"])
        if message["role"] == role and isinstance(message["content"], list)
        for block in message["content"]
    ]
