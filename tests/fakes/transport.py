"""A scripted upstream below httpx: answers in order, streams cut where the script cuts them, keeps what it was sent."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import httpx

Piece = bytes | BaseException | asyncio.Event | None


@dataclass
class Reply:
    """One answer.

    Of its pieces, bytes are sent, an exception is raised, an event is waited for, None is silence until the caller
    gives up.
    """

    pieces: list[Piece] = field(default_factory=list)
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=lambda: {"content-type": "text/event-stream"})
    failure: BaseException | None = None  # raised instead of an answer
    silent: bool = False  # no answer at all
    gate: asyncio.Event | None = None  # the answer begins when it is set
    closed: bool = False  # set when the caller closed the body
    began: asyncio.Event = field(default_factory=asyncio.Event)  # set when the caller reads the body


class _Body(httpx.AsyncByteStream):
    def __init__(self, reply: Reply) -> None:
        self._reply = reply

    async def __aiter__(self) -> AsyncIterator[bytes]:
        self._reply.began.set()
        for piece in self._reply.pieces:
            if isinstance(piece, BaseException):
                raise piece
            if piece is None:
                await asyncio.Event().wait()
            elif isinstance(piece, asyncio.Event):
                await piece.wait()
            else:
                yield piece

    async def aclose(self) -> None:
        self._reply.closed = True


class ScriptedTransport(httpx.AsyncBaseTransport):
    """Answers the n-th request with the n-th reply, and all further ones with the last."""

    def __init__(self, *replies: Reply | Callable[[httpx.Request], Reply]) -> None:
        self.replies = list(replies)
        self.requests: list[httpx.Request] = []

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        await request.aread()
        self.requests.append(request)
        reply = self.replies[min(len(self.requests), len(self.replies)) - 1]
        if not isinstance(reply, Reply):
            reply = reply(request)
        if reply.gate is not None:
            await reply.gate.wait()
        if reply.failure is not None:
            raise reply.failure
        if reply.silent:
            await asyncio.Event().wait()
        return httpx.Response(reply.status, headers=dict(reply.headers), stream=_Body(reply), request=request)

    @property
    def bodies(self) -> list[Any]:
        """The JSON bodies of the requests so far."""
        return [json.loads(request.content) for request in self.requests]


def sse(*chunks: Any, done: bool = True) -> list[Piece]:
    """Return OpenAI chunks as the pieces of a stream, one piece each."""
    pieces: list[Piece] = [b"data: " + json.dumps(chunk).encode() + b"\n\n" for chunk in chunks]
    return [*pieces, b"data: [DONE]\n\n"] if done else pieces


def chunk(delta: dict[str, Any] | None = None, finish: str | None = None, **members: Any) -> dict[str, Any]:
    """Return one Chat Completions chunk."""
    choice = {"index": 0, "delta": delta or {}, "finish_reason": finish}
    return {"id": "c1", "object": "chat.completion.chunk", "choices": [choice], **members}


def text_stream(text: str = "Hello") -> list[Piece]:
    """Return a whole streamed answer of `text`, with usage."""
    usage = {"prompt_tokens": 12, "completion_tokens": 3, "prompt_tokens_details": {"cached_tokens": 2}}
    return sse(
        chunk({"role": "assistant", "content": ""}),
        chunk({"content": text}),
        chunk(finish="stop"),
        {"choices": [], "usage": usage},
    )


def json_reply(body: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> Reply:
    """Return a JSON answer."""
    return Reply([json.dumps(body).encode()], status, {"content-type": "application/json", **(headers or {})})


def events(*items: dict[str, Any]) -> list[Piece]:
    """Return Anthropic events as the pieces of a stream, one piece each."""
    return [f"event: {item['type']}\ndata: {json.dumps(item)}\n\n".encode() for item in items]
