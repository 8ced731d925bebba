"""A platform for the self-test: it knows which row of the battery a request belongs to, and answers each in a
platform's own wire format. Well behaved unless a row is given another answer."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import httpx

from tests.fakes.answers import Answer as HttpAnswer
from tests.fakes.answers import End, Received
from tests.fakes.transport import Reply, ScriptedTransport, chunk, events, json_reply, sse

Body = dict[str, Any]
WEATHER = {"city": "Paris", "unit": "celsius"}


@dataclass(frozen=True, slots=True)
class Says:
    """What a model says. Calls are (id, arguments) of get_weather."""

    text: str = ""
    calls: tuple[tuple[str, Mapping[str, Any] | str], ...] = ()
    reasoning: str = ""
    stop: str = ""  # Anthropic's stop_reason
    usage: tuple[int, int] | None = None  # prompt and cached tokens; None: by the length of the request
    has_usage: bool = True
    piece: int = 4  # characters at a time


Answer = Says | Reply | Callable[[Body], Says | Reply]

GOOD: dict[str, Answer] = {
    "text": Says("pong"),
    "stream": Says(", ".join(map(str, range(1, 21)))),
    "tools": Says(calls=(("call_1", WEATHER),)),
    "forced_tools": Says(calls=(("call_1", {"city": "London"}),)),
    "tool_result": Says("It is 17 degrees."),
    "parallel_tools": Says(calls=(("call_1", WEATHER), ("call_2", {"city": "Tokyo"}))),
    "image": Says("Yellow on the left, blue on the right."),
    "pdf": Says("A pelican."),
    "thinking": Says("2", reasoning="97 and 127 have no divisors."),
    "json_schema": Says('{"name": "Ann", "age": 34}'),
    "stop_sequences": Says("1, 2, 3, 4, ", stop="stop_sequence"),
    "long_context": Says("Kingfisher"),
}


def refusal(message: str, status: int = 400, **members: Any) -> Reply:
    """Return an error that both wire formats have in common."""
    return json_reply({"type": "error", "error": {"message": message, **members}}, status)


GOOD["overflow"] = refusal("max_tokens: 10000000 is too large, this model supports at most 8192 completion tokens")
GOOD["unknown_model"] = refusal("The model `wolfgate-no-such-model` does not exist", 404, code="model_not_found")


def row_of(body: Body) -> str:
    """Return the row of the battery that a request of either wire format belongs to."""
    said = json.dumps(body["messages"], ensure_ascii=False)
    if body["model"] == "wolfgate-no-such-model":
        return "unknown_model"
    if body.get("max_tokens", 0) >= 10_000_000 or ("boat" in said and body.get("max_tokens") == 64):
        return "overflow"
    if body.get("tools"):
        if "Hello! Tell me" in said:
            return "forced_tools"
        if "Tokyo" in said:
            return "parallel_tools"
        return "tool_result" if "toolu_selftest" in said or '"role": "tool"' in said else "tools"
    for mark, row in (
        ("left half of this image", "image"),
        ("Which bird", "pdf"),
        ("are prime?", "thinking"),
        ("Ann is 34", "json_schema"),
        ("Count from 1 to 9", "stop_sequences"),
        ("boat", "long_context"),
        ("Count from 1 to 20", "stream"),
    ):
        if mark in said:
            return row
    return "usage" if "lighthouse" in json.dumps(body) else "text"


@dataclass
class Platform:
    """Answers every request by its row. `answers` are the rows that differ from a good platform's."""

    answers: dict[str, Answer] = field(default_factory=dict)
    everything: Answer | None = None  # the answer to all rows
    has_usage: bool = True
    rows: list[str] = field(default_factory=list)  # of the requests, in order of arrival
    bodies: list[Body] = field(default_factory=list)
    _seen: set[bytes] = field(default_factory=set)

    def transport(self) -> ScriptedTransport:
        return ScriptedTransport(self)

    def bodies_of(self, row: str) -> list[Body]:
        """Return what was asked for a row."""
        return [body for name, body in zip(self.rows, self.bodies, strict=True) if name == row]

    def script(self, received: Received) -> HttpAnswer:
        """Answer a request to a `ScriptedUpstream`."""
        request = httpx.Request("POST", f"http://platform.test{received.path}", content=received.raw)
        reply = self(request)
        steps = [End.SILENCE] if reply.silent else [piece for piece in reply.pieces if isinstance(piece, bytes)]
        return HttpAnswer(steps, reply.status, reply.headers)

    @staticmethod
    def events_of(says: Says) -> list[Any]:
        """Return the pieces of a stream of Messages events that says it."""
        return list(_events(says, (100, 0)))

    def __call__(self, request: httpx.Request) -> Reply:
        body = json.loads(request.content)
        row = row_of(body)
        self.rows.append(row)
        self.bodies.append(body)
        answer = self.everything or {**GOOD, "usage": GOOD["text"], **self.answers}[row]
        if callable(answer):
            answer = answer(body)
        if isinstance(answer, Reply):
            # A body can be read once.
            return Reply(list(answer.pieces), answer.status, answer.headers, silent=answer.silent)
        prompt = len(request.content) // 5 + 1
        counts = answer.usage or (prompt, prompt - 10 if request.content in self._seen else 0)
        self._seen.add(request.content)
        usage = counts if answer.has_usage and self.has_usage else None
        native = request.url.path.endswith("/messages")
        if native and not body.get("stream"):
            return json_reply(_message(answer, usage))
        return Reply(_events(answer, usage) if native else _chunks(answer, usage))


def _pieces(text: str, size: int) -> list[str]:
    return [text[start : start + size] for start in range(0, len(text), size)]


def _chunks(says: Says, usage: tuple[int, int] | None) -> Any:
    deltas: list[dict[str, Any]] = [{"reasoning_content": piece} for piece in _pieces(says.reasoning, says.piece)]
    deltas += [{"content": piece} for piece in _pieces(says.text, says.piece)]
    for call_id, arguments in says.calls:
        encoded = arguments if isinstance(arguments, str) else json.dumps(arguments)
        # Index 0 for each, as Ollama and Gemini write it: only the ids tell parallel calls apart.
        function = {"name": "get_weather", "arguments": encoded}
        deltas.append({"tool_calls": [{"index": 0, "id": call_id, "type": "function", "function": function}]})
    finish = "tool_calls" if says.calls else "length" if says.stop == "max_tokens" else "stop"
    end: list[Any] = []
    if usage is not None:
        cached = {"cached_tokens": usage[1]}
        end = [
            {
                "choices": [],
                "usage": {"prompt_tokens": usage[0], "completion_tokens": 5, "prompt_tokens_details": cached},
            }
        ]
    return sse(*(chunk(delta) for delta in deltas), chunk({}, finish), *end)


def _blocks(says: Says) -> list[dict[str, Any]]:
    blocks: list[dict[str, Any]] = []
    if says.reasoning:
        blocks.append({"type": "thinking", "thinking": says.reasoning, "signature": "c2ln"})
    if says.text:
        blocks.append({"type": "text", "text": says.text})
    blocks += [{"type": "tool_use", "id": key, "name": "get_weather", "input": value} for key, value in says.calls]
    return blocks


def _usage(usage: tuple[int, int] | None) -> dict[str, int]:
    if usage is None:
        return {}
    return {"input_tokens": usage[0] - usage[1], "cache_read_input_tokens": usage[1], "output_tokens": 5}


def _message(says: Says, usage: tuple[int, int] | None) -> dict[str, Any]:
    reason = says.stop or ("tool_use" if says.calls else "end_turn")
    head = {"id": "msg_1", "type": "message", "role": "assistant", "model": "big"}
    return {**head, "content": _blocks(says), "stop_reason": reason, "stop_sequence": None, "usage": _usage(usage)}


def _events(says: Says, usage: tuple[int, int] | None) -> Any:
    message = _message(says, usage)
    found: list[dict[str, Any]] = [
        {"type": "message_start", "message": {**message, "content": [], "stop_reason": None}}
    ]
    for index, block in enumerate(message["content"]):
        if block["type"] == "tool_use":
            start, deltas = {**block, "input": {}}, [("input_json_delta", "partial_json", json.dumps(block["input"]))]
        else:
            name = block["type"]
            start = {"type": name, name: ""}
            deltas = [(f"{name}_delta", name, piece) for piece in _pieces(block[name], says.piece)]
            if name == "thinking":
                start["signature"] = ""
                deltas.append(("signature_delta", "signature", block["signature"]))
        found.append({"type": "content_block_start", "index": index, "content_block": start})
        found += [
            {"type": "content_block_delta", "index": index, "delta": {"type": kind, key: value}}
            for kind, key, value in deltas
        ]
        found.append({"type": "content_block_stop", "index": index})
    end = {"type": "message_delta", "delta": {"stop_reason": message["stop_reason"], "stop_sequence": None}}
    return events(*found, {**end, "usage": _usage(usage)}, {"type": "message_stop"})
