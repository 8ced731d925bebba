"""Scripted Chat Completions answers, and how the tests run them through the translator."""

import json
from collections.abc import Iterable
from itertools import count
from typing import Any

from providers.translation.dialect import Dialect
from providers.translation.events import Event, MessageBuilder
from providers.translation.stream import StreamOptions, StreamTranslator
from tests.translation import grammar

Chunk = dict[str, Any]

KEY = b"k" * 32
READ = {"type": "object", "properties": {"path": {"type": "string"}}, "required": ["path"]}
BASH = {"type": "object", "properties": {"command": {"type": "string"}}, "required": ["command"]}
TOOLS = {
    "Read": READ,
    "Bash": BASH,
    "Write": {"type": "object", "properties": {"file_path": {}, "content": {}}},
    "Ping": {"type": "object", "properties": {}},
}


def options(**changes: Any) -> StreamOptions:
    """Return options of an ordinary request; flags of the dialect may be given by their names."""
    new_ids = count(1)
    dialect = Dialect(**{name: changes.pop(name) for name in list(changes) if hasattr(Dialect(), name)})
    values: dict[str, Any] = {
        "message_id": "msg_000000000000000000000000",
        "requested_model": "claude-test",
        "input_tokens_estimate": 50,
        "dialect": dialect,
        "tool_names": {},
        "tool_schemas": TOOLS,
        "known_tool_ids": frozenset(),
        "shows_thinking": True,
        "omits_thinking": False,
        "unfences_json": False,
        "stop_sequences": [],
        "single_tool_call": False,
        "new_tool_id": lambda: f"toolu_new{next(new_ids)}",
        "provider_name": "main",
        "model_id": "big",
        "signing_key": KEY,
        "context_window": None,
    }
    return StreamOptions(**(values | changes))


def translate(chunks: Iterable[Chunk], *, saw_done: bool = True, **changes: Any) -> list[Event]:
    """Return the checked events of a whole answer."""
    translator = StreamTranslator(options(**changes))
    events: list[Event] = []
    for chunk in chunks:
        events += translator.feed(chunk)
    events += translator.finish(saw_done)
    grammar.check(events)
    return events


def outline(chunks: Iterable[Chunk], **changes: Any) -> list[str]:
    return grammar.outline(translate(chunks, **changes))


def message(chunks: Iterable[Chunk], **changes: Any) -> dict[str, Any]:
    """Return the message that a client without a stream gets."""
    builder = MessageBuilder()
    builder.feed(translate(chunks, **changes))
    return builder.build()


def inputs(chunks: Iterable[Chunk], **changes: Any) -> list[dict[str, Any]]:
    """Return the inputs of the answer's calls."""
    return [block["input"] for block in message(chunks, **changes)["content"] if block["type"] == "tool_use"]


def chunk(delta: Any = None, finish: Any = None, **members: Any) -> Chunk:
    """Return one chat.completion.chunk; without a delta and a finish_reason one without choices."""
    choices = [] if delta is None and finish is None else [{"index": 0, "delta": delta or {}, "finish_reason": finish}]
    return {"id": "chatcmpl-1", "object": "chat.completion.chunk", "model": "m", "choices": choices, **members}


def text(content: Any) -> Chunk:
    return chunk({"content": content})


def reasoning(content: Any) -> Chunk:
    return chunk({"reasoning_content": content})


def call(index: Any = None, id: Any = None, name: Any = None, arguments: Any = None) -> dict[str, Any]:  # noqa: A002
    """Return one element of a delta's tool_calls; members that are None are left out."""
    function = {key: value for key, value in (("name", name), ("arguments", arguments)) if value is not None}
    outer = {key: value for key, value in (("index", index), ("id", id)) if value is not None}
    return {**outer, "type": "function", "function": function}


def calls(*fragments: dict[str, Any], **members: Any) -> Chunk:
    return chunk({"tool_calls": list(fragments)}, **members)


def usage(prompt: int, output: int, **members: Any) -> Chunk:
    return chunk(usage={"prompt_tokens": prompt, "completion_tokens": output, **members})


ROLE = chunk({"role": "assistant", "content": ""})
STOP = chunk({}, "stop")
TOOL_STOP = chunk({}, "tool_calls")
LENGTH = chunk({}, "length")
USAGE = usage(10, 2)


def sse(chunks: Iterable[Chunk | str], *, end: bool = True, eol: str = "\n") -> bytes:
    """Return chunks as an upstream sends them; a string is a line of its own."""
    lines = [
        item if isinstance(item, str) else "data: " + json.dumps(item, ensure_ascii=False)
        for item in [*chunks, *(["data: [DONE]"] if end else [])]
    ]
    return "".join(line + eol + eol for line in lines).encode()
