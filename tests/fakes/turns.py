"""What a scripted model says, in the words of either wire format, as a stream or whole, as the request asks."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tests.fakes.answers import Answer, Received, chunk, json_answer, stream

ToolCall = tuple[str, str, dict[str, Any]]  # id, name, arguments
SIGNATURE = "c2lnbmVkIGJ5IHRoZSBwbGF0Zm9ybQ=="
_STOP_REASONS = {"stop": "end_turn", "length": "max_tokens", "tool_calls": "tool_use", "content_filter": "refusal"}


@dataclass(frozen=True, slots=True)
class Turn:
    """One answer. Usage: tokens of the prompt, of which cached, and of the output.

    Each platform keeps to its own rules: Anthropic's thinks aloud only where the request asks for it.
    """

    text: str = ""
    reasoning: str = ""
    calls: Sequence[ToolCall] = ()
    finish: str = "stop"
    usage: tuple[int, int, int] = (10, 4, 2)
    cache_written: int = 0  # tokens of the prompt
    reasoned: int = 0  # tokens of the output
    stop_sequence: str | None = None  # the one that ended the answer; vLLM's field tells of it on OpenAI's wire

    def openai(self, request: Received) -> Answer:
        """Answer as Chat Completions."""
        prompt, cached, output = self.usage
        usage = {
            "prompt_tokens": prompt,
            "completion_tokens": output,
            "total_tokens": prompt + output,
            "prompt_tokens_details": {"cached_tokens": cached, "cache_write_tokens": self.cache_written},
            "completion_tokens_details": {"reasoning_tokens": self.reasoned},
        }
        matched = {} if self.stop_sequence is None else {"stop_reason": self.stop_sequence}
        if not request.body.get("stream"):
            message: dict[str, Any] = {"role": "assistant", "content": self.text or None}
            if self.reasoning:
                message["reasoning_content"] = self.reasoning
            if self.calls:
                message["tool_calls"] = [self._openai_call(*call) for call in self.calls]
            choice = {"index": 0, "message": message, "finish_reason": self.finish, **matched}
            return json_answer(
                {
                    "id": "c",
                    "object": "chat.completion",
                    "created": 1,
                    "model": "vendor",
                    "choices": [choice],
                    "usage": usage,
                }
            )
        deltas: list[dict[str, Any]] = [{"role": "assistant", "content": ""}]
        deltas += [{"reasoning_content": piece} for piece in _halves(self.reasoning)]
        deltas += [{"content": piece} for piece in _halves(self.text)]
        for index, (call_id, name, arguments) in enumerate(self.calls):
            head = {**self._openai_call(call_id, name, {}), "index": index}
            head["function"] = {"name": name, "arguments": ""}
            deltas.append({"tool_calls": [head]})
            deltas += [
                {"tool_calls": [{"index": index, "function": {"arguments": piece}}]}
                for piece in _halves(json.dumps(arguments, ensure_ascii=False))
            ]
        last = [chunk(usage=usage)] if (request.body.get("stream_options") or {}).get("include_usage") else []
        end = chunk({}, self.finish)
        end["choices"][0].update(matched)
        return stream(*(chunk(delta, model="vendor") for delta in deltas), end, *last)

    def anthropic(self, request: Received) -> Answer:
        """Answer as Anthropic Messages."""
        prompt, cached, output = self.usage
        written = self.cache_written
        counters = {
            "input_tokens": prompt - cached - written,
            "cache_creation_input_tokens": written,
            "cache_read_input_tokens": cached,
            "output_tokens": output,
        }
        if self.reasoned:
            counters["output_tokens_details"] = {"thinking_tokens": self.reasoned}
        usage = {
            **counters,
            "cache_creation": {"ephemeral_5m_input_tokens": written, "ephemeral_1h_input_tokens": 0},
            "service_tier": "standard",
            "inference_geo": "not_available",
        }
        reason = _STOP_REASONS[self.finish] if self.stop_sequence is None else "stop_sequence"
        details = {"type": "refusal", "category": None, "explanation": None} if reason == "refusal" else None
        stop = {"stop_reason": reason, "stop_sequence": self.stop_sequence, "stop_details": details}
        message = {"id": "msg_up", "type": "message", "role": "assistant", "model": "vendor", "usage": usage}
        blocks: list[tuple[dict[str, Any], str, list[str]]] = []  # empty block, type of its deltas, their content
        thinking = request.body.get("thinking") or {"type": "disabled"}
        if self.reasoning and thinking["type"] != "disabled":
            shown = "" if thinking.get("display") == "omitted" else self.reasoning
            blocks.append(({"type": "thinking", "thinking": "", "signature": ""}, "thinking", _halves(shown)))
        if self.text:
            blocks.append(({"type": "text", "text": ""}, "text", _halves(self.text)))
        for call_id, name, arguments in self.calls:
            block = {"type": "tool_use", "id": call_id, "name": name, "input": {}}
            blocks.append((block, "partial_json", _halves(json.dumps(arguments, ensure_ascii=False))))
        if not request.body.get("stream"):
            content = []
            for block, member, pieces in blocks:
                joined = "".join(pieces)
                filled = {"input": json.loads(joined)} if member == "partial_json" else {member: joined}
                content.append({**block, **filled, **({"signature": SIGNATURE} if member == "thinking" else {})})
            return json_answer({**message, **stop, "content": content})
        start = {**message, "content": [], **dict.fromkeys(stop)}
        events: list[dict[str, Any]] = [
            {"type": "message_start", "message": {**start, "usage": {**usage, "output_tokens": 1}}}
        ]
        for index, (block, member, pieces) in enumerate(blocks):
            kind = {"partial_json": "input_json_delta"}.get(member, f"{member}_delta")
            events.append({"type": "content_block_start", "index": index, "content_block": block})
            events += [
                {"type": "content_block_delta", "index": index, "delta": {"type": kind, member: piece}}
                for piece in pieces
            ]
            if member == "thinking":
                signed = {"type": "signature_delta", "signature": SIGNATURE}
                events.append({"type": "content_block_delta", "index": index, "delta": signed})
            events.append({"type": "content_block_stop", "index": index})
        events += [
            {"type": "message_delta", "delta": stop, "usage": counters},
            {"type": "message_stop"},
        ]
        steps = [
            f"event: {event['type']}\ndata: {json.dumps(event, ensure_ascii=False)}\n\n".encode() for event in events
        ]
        return Answer(steps, headers={"content-type": "text/event-stream", "request-id": "req_up"})

    @staticmethod
    def _openai_call(call_id: str, name: str, arguments: dict[str, Any]) -> dict[str, Any]:
        encoded = json.dumps(arguments, ensure_ascii=False)
        return {"id": call_id, "type": "function", "function": {"name": name, "arguments": encoded}}


def anthropic_error(status: int, kind: str, message: str, headers: Mapping[str, str] | None = None) -> Answer:
    """Return an error in Anthropic's shape."""
    body = {"type": "error", "error": {"type": kind, "message": message}, "request_id": "req_up"}
    return json_answer(body, status, headers)


def _halves(text: str) -> list[str]:
    middle = len(text) // 2
    return [piece for piece in (text[:middle], text[middle:]) if piece]
