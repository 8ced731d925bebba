"""What a scripted model says, in the words of either wire format, as a stream or whole, as the request asks."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from tests.fakes.answers import Answer, Received, chunk, json_answer, stream

ToolCall = tuple[str, str, dict[str, Any]]  # id, name, arguments
_STOP_REASONS = {"stop": "end_turn", "length": "max_tokens", "tool_calls": "tool_use", "content_filter": "refusal"}


@dataclass(frozen=True, slots=True)
class Turn:
    """One answer. Usage: tokens of the prompt, of which cached, and of the output."""

    text: str = ""
    reasoning: str = ""
    calls: Sequence[ToolCall] = ()
    finish: str = "stop"
    usage: tuple[int, int, int] = (10, 4, 2)

    def openai(self, request: Received) -> Answer:
        """Answer as Chat Completions."""
        prompt, cached, output = self.usage
        usage = {
            "prompt_tokens": prompt,
            "completion_tokens": output,
            "total_tokens": prompt + output,
            "prompt_tokens_details": {"cached_tokens": cached},
        }
        if not request.body.get("stream"):
            message: dict[str, Any] = {"role": "assistant", "content": self.text or None}
            if self.reasoning:
                message["reasoning_content"] = self.reasoning
            if self.calls:
                message["tool_calls"] = [self._openai_call(*call) for call in self.calls]
            choice = {"index": 0, "message": message, "finish_reason": self.finish}
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
        return stream(*(chunk(delta, model="vendor") for delta in deltas), chunk({}, self.finish), *last)

    def anthropic(self, request: Received) -> Answer:
        """Answer as Anthropic Messages."""
        prompt, cached, output = self.usage
        usage = {"input_tokens": prompt - cached, "cache_read_input_tokens": cached, "output_tokens": output}
        stop = {"stop_reason": _STOP_REASONS[self.finish], "stop_sequence": None}
        message = {"id": "msg_up", "type": "message", "role": "assistant", "model": "vendor", "usage": usage}
        blocks: list[tuple[dict[str, Any], str, list[str]]] = []  # empty block, type of its deltas, their content
        if self.reasoning:
            blocks.append(({"type": "thinking", "thinking": "", "signature": ""}, "thinking", _halves(self.reasoning)))
        if self.text:
            blocks.append(({"type": "text", "text": ""}, "text", _halves(self.text)))
        for call_id, name, arguments in self.calls:
            block = {"type": "tool_use", "id": call_id, "name": name, "input": {}}
            blocks.append((block, "partial_json", _halves(json.dumps(arguments, ensure_ascii=False))))
        if not request.body.get("stream"):
            content = []
            for block, member, pieces in blocks:
                joined = "".join(pieces)
                content.append(
                    block | ({"input": json.loads(joined)} if member == "partial_json" else {member: joined})
                )
            return json_answer({**message, **stop, "content": content})
        start = {**message, "content": [], "stop_reason": None, "stop_sequence": None}
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
            events.append({"type": "content_block_stop", "index": index})
        events += [
            {"type": "message_delta", "delta": stop, "usage": {"output_tokens": output}},
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


def anthropic_error(status: int, kind: str, message: str) -> Answer:
    """Return an error in Anthropic's shape."""
    return json_answer({"type": "error", "error": {"type": kind, "message": message}, "request_id": "req_up"}, status)


def _halves(text: str) -> list[str]:
    middle = len(text) // 2
    return [piece for piece in (text[:middle], text[middle:]) if piece]
