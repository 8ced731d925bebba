"""What a scripted upstream receives, and the answers it gives, in the form of Chat Completions."""

import asyncio
import enum
import json
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

WAIT_S = 20.0  # the longest any test waits for something to arrive


@dataclass(frozen=True, slots=True)
class Pause:
    """Send nothing for so long."""

    seconds: float


class End(enum.Enum):
    """How an answer ends before its time."""

    CLOSE = "close"  # the connection is closed in the middle of the body
    RESET = "reset"  # the same with a TCP reset
    SILENCE = "silence"  # nothing more comes until the peer leaves


class Gate:
    """A point of an answer that waits for the test: `open()` lets every answer pass it, present and future."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._event = asyncio.Event()

    def open(self) -> None:
        self._loop.call_soon_threadsafe(self._event.set)

    async def wait(self) -> None:
        await self._event.wait()


Step = bytes | Pause | Gate | End


@dataclass(frozen=True, slots=True)
class Answer:
    """What is sent: a status line and headers (after `delay_s`), then the steps in order.

    Without `sized` the body is sent chunked, each bytes step as one chunk.
    """

    steps: Sequence[Step] = ()
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    sized: bool = False
    delay_s: float = 0.0


@dataclass(slots=True, eq=False)
class Received:
    """One request that arrived. Times are `time.monotonic()` seconds."""

    method: str
    path: str
    headers: dict[str, str]  # lower-cased names
    raw: bytes
    body: Any  # decoded JSON, or None
    arrived_at: float
    answered_at: float | None = None  # the last byte was written
    hung_up_at: float | None = None  # the peer left before that
    steps_sent: int = 0
    ended: threading.Event = field(default_factory=threading.Event)  # set by either

    @property
    def model(self) -> str:
        return str(self.body.get("model", "")) if isinstance(self.body, dict) else ""

    @property
    def messages(self) -> list[dict[str, Any]]:
        """The OpenAI messages of the request."""
        return list(self.body["messages"])

    def wait_end(self, timeout_s: float = WAIT_S) -> None:
        """Wait until the answer was written or the peer left. Raises `TimeoutError`."""
        if not self.ended.wait(timeout_s):
            raise TimeoutError(f"the answer to {self.path} is still open after {timeout_s} s")


Script = Callable[[Received], Answer]

# (prompt tokens, completion tokens), the whole object, or none at all
Usage = tuple[int, int] | Mapping[str, Any] | None
ToolCall = tuple[str, str, Mapping[str, Any] | str]  # id, name, arguments
USAGE = (10, 2)


def usage_object(usage: tuple[int, int] | Mapping[str, Any]) -> dict[str, Any]:
    if isinstance(usage, Mapping):
        return dict(usage)
    prompt, completion = usage
    return {"prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": prompt + completion}


def chunk(delta: Mapping[str, Any] | None = None, finish: str | None = None, **more: Any) -> dict[str, Any]:
    """Return one `chat.completion.chunk`; without delta and finish, one without choices (for `usage=`)."""
    choices = [] if delta is None and finish is None else [{"index": 0, "delta": delta or {}, "finish_reason": finish}]
    return {
        "id": "chatcmpl-1",
        "object": "chat.completion.chunk",
        "created": 1,
        "model": "m",
        "choices": choices,
        **more,
    }


def event(payload: Mapping[str, Any]) -> bytes:
    return b"data: " + json.dumps(payload, ensure_ascii=False).encode() + b"\n\n"


def stream(*steps: Mapping[str, Any] | Step, done: bool = True, delay_s: float = 0.0) -> Answer:
    """Return a streamed answer; a mapping is sent as one event."""
    sent: list[Step] = [event(step) if isinstance(step, Mapping) else step for step in steps]
    if done:
        sent.append(b"data: [DONE]\n\n")
    return Answer(sent, headers={"content-type": "text/event-stream"}, delay_s=delay_s)


def text(content: str, *, reasoning: str = "", usage: Usage = USAGE, finish: str = "stop", piece: int = 7) -> Answer:
    """Return a streamed text in pieces of `piece` characters, after the reasoning if any."""
    return stream(
        chunk({"role": "assistant", "content": ""}),
        *(chunk({"reasoning_content": reasoning[i : i + piece]}) for i in range(0, len(reasoning), piece)),
        *(chunk({"content": content[i : i + piece]}) for i in range(0, len(content), piece)),
        chunk({}, finish),
        *([chunk(usage=usage_object(usage))] if usage is not None else []),
    )


def tool_calls(*calls: ToolCall, content: str = "", usage: Usage = USAGE, finish: str = "tool_calls") -> Answer:
    """Return a streamed answer that calls tools, each call's arguments in two fragments."""
    chunks: list[dict[str, Any]] = [chunk({"role": "assistant", "content": content or None})]
    for index, (call_id, name, arguments) in enumerate(calls):
        encoded = arguments if isinstance(arguments, str) else json.dumps(arguments, ensure_ascii=False)
        head = {"index": index, "id": call_id, "type": "function", "function": {"name": name, "arguments": ""}}
        chunks.append(chunk({"tool_calls": [head]}))
        half = len(encoded) // 2
        chunks.extend(
            chunk({"tool_calls": [{"index": index, "function": {"arguments": fragment}}]})
            for fragment in (encoded[:half], encoded[half:])
        )
    chunks.append(chunk({}, finish))
    return stream(*chunks, *([chunk(usage=usage_object(usage))] if usage is not None else []))


def cut(content: str, end: End = End.CLOSE) -> Answer:
    """Return a stream that says `content` and then ends as `end` says, without finish_reason and `[DONE]`."""
    return stream(chunk({"role": "assistant", "content": ""}), chunk({"content": content}), end, done=False)


def json_answer(payload: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> Answer:
    body = json.dumps(payload, ensure_ascii=False).encode()
    return Answer([body], status, {"content-type": "application/json", **(headers or {})}, sized=True)


def error(status: int, message: str, *, headers: Mapping[str, str] | None = None, **fields: Any) -> Answer:
    """Return an error in OpenAI shape; `fields` (type, code, param) go beside the message."""
    return json_answer({"error": {"message": message, "type": "scripted_error", **fields}}, status, headers)


def last_user_text(request: Received) -> str:
    """Return the text of the last user message of `request`."""
    for message in reversed(request.messages):
        if message["role"] == "user":
            content = message["content"]
            return content if isinstance(content, str) else "".join(part.get("text", "") for part in content)
    return ""


def echo(request: Received) -> Answer:
    """Answer with the last user text, as every model without a script does."""
    content = last_user_text(request)
    return text(content, piece=max(7, len(content) // 20))
