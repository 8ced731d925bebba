"""One request of the self-test to one model, through the client that calls use, and all that its answer tells."""

import asyncio
import json
import secrets
from dataclasses import dataclass
from typing import Any

from providers import wire_json
from providers.clients.base import Answer, Client, UpstreamCall
from providers.errors import ErrorKind, UpstreamError
from providers.target import Target
from providers.translation import tokens
from providers.translation.events import Event, MessageBuilder
from providers.translation.usage import Usage

Body = dict[str, Any]

# Every row expects a few words. A small model may find no end: then the rest is neither awaited nor paid for. What
# it thinks before is not counted.
_ENOUGH_CHARACTERS = 1000


@dataclass(slots=True)
class Reply:
    """One answer, read to its end or until it said more than enough."""

    message: dict[str, Any]
    usage: Usage
    estimated_tokens: int  # our estimate of the prompt
    dropped_fields: list[str]
    first_ms: int  # until the first content
    deltas: int = 0  # pieces of content, of a stream
    fault: str = ""  # of the stream's grammar, see `grammar_fault`

    @property
    def text(self) -> str:
        return "".join(str(block.get("text", "")) for block in self.blocks("text")).strip()

    @property
    def calls(self) -> list[dict[str, Any]]:
        return self.blocks("tool_use")

    @property
    def stop_reason(self) -> str:
        return str(self.message.get("stop_reason") or "")

    def blocks(self, kind: str) -> list[dict[str, Any]]:
        """Return the content blocks of one type."""
        return [block for block in self.message["content"] if isinstance(block, dict) and block.get("type") == kind]


async def ask(client: Client, target: Target, body: Body, *, streamed: bool = True, whole: bool = True) -> Reply:
    """Return the answer to `body`; without `whole` only its beginning is waited for. Raises `UpstreamError`."""
    body = {**body, "model": target.model_id, "stream": streamed}
    estimate = tokens.estimate(body)
    call = UpstreamCall(
        body=body,
        raw=wire_json.encode(body),
        streamed=streamed,
        requested_model=target.model_id,
        message_id=f"msg_{secrets.token_hex(12)}",
        input_tokens_estimate=estimate,
    )
    loop = asyncio.get_running_loop()
    begin = loop.time()
    answer = await client.open(target, target.secrets[0] if target.secrets else None, call)
    try:
        first_ms = round((loop.time() - begin) * 1000)
        reply = Reply({"content": []}, Usage(), estimate, answer.dropped_fields, first_ms)
        if whole and streamed:
            await _read_stream(answer, reply, target)
        elif whole:
            reply.message = _message_in(await answer.message(), target)
        reply.usage, reply.dropped_fields = answer.usage, answer.dropped_fields
        return reply
    finally:
        await answer.aclose()


async def _read_stream(answer: Answer, reply: Reply, target: Target) -> None:
    events: list[Event] = []
    length = 0
    async for piece in answer.pieces():
        new = events_in(piece)
        events += new
        length += sum(map(_spoken_length, new))
        if length > _ENOUGH_CHARACTERS:
            break
    else:
        events += events_in(answer.tail())
        reply.fault = grammar_fault(events)
    reply.deltas = sum(event.get("type") == "content_block_delta" for event in events)
    builder = MessageBuilder()
    try:
        builder.feed(event for event in events if event.get("type") != "ping")
        reply.message = builder.build()
    except (LookupError, TypeError, ValueError, AttributeError) as error:
        # A native upstream's events come to us unchecked.
        raise _bad_response("the events do not make a message", target) from error


def _spoken_length(event: Event) -> int:
    delta = event.get("delta")
    if event.get("type") != "content_block_delta" or not isinstance(delta, dict):
        return 0
    return len(str(delta.get("text") or delta.get("partial_json") or ""))


def _message_in(data: bytes, target: Target) -> dict[str, Any]:
    message = wire_json.decode(data)
    if not isinstance(message, dict) or not isinstance(message.get("content"), list):
        raise _bad_response("the answer is not a message", target)
    return message


def _bad_response(message: str, target: Target) -> UpstreamError:
    return UpstreamError(ErrorKind.BAD_RESPONSE, message, provider=target.provider_name)


def events_in(stream: bytes) -> list[Event]:
    """Return the events of a whole stream; what is no JSON object is an event without a type."""
    found = []
    for event in stream.replace(b"\r\n", b"\n").split(b"\n\n"):
        data = b"\n".join(line[5:] for line in event.split(b"\n") if line.startswith(b"data:"))
        if not data.strip():
            continue
        try:
            document = json.loads(data)
        except ValueError:
            document = None
        found.append(document if isinstance(document, dict) else {})
    return found


def grammar_fault(events: list[Event]) -> str:
    """Return how a stream breaks the grammar of the Messages API, "" if it does not.

    `message_start (ping | block)* message_delta message_stop`, block = `start delta* stop` with one index.
    """
    kinds = [event.get("type") for event in events if event.get("type") != "ping"]
    if kinds[:1] != ["message_start"]:
        return "no message_start"
    if kinds.count("message_start") > 1:
        return "two message_start"
    opened: set[Any] = set()
    for event in events:
        kind, index = event.get("type"), event.get("index")
        if kind == "content_block_start":
            if opened:
                return "a block inside a block"
            opened.add(index)
        elif kind in ("content_block_delta", "content_block_stop") and index not in opened:
            return f"{kind} outside of its block"
        if kind == "content_block_stop":
            opened.discard(index)
        if kind == "message_delta" and opened:
            return "a block without an end"
    if "message_delta" not in kinds:
        return "no message_delta"
    if kinds[-1] != "message_stop":
        return "no message_stop at the end"
    return ""
