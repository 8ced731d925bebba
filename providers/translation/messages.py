"""Conversation history: Messages API -> Chat Completions.

The history is cut into turns: an assistant message with everything up to the next one. Inside a turn the order is
always assistant, the results of its calls in the order of the calls, everything else; OpenAI and strict chat
templates accept no other. What is said once never moves when the conversation grows, so prompt caches stay valid.
"""

import json
import math
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from providers.translation.blocks import BlockTranslator, Part, is_blank
from providers.translation.contents import (
    OpenAIMessage,
    append_texts,
    as_lines,
    content_of,
    kind_of,
    openai_message,
    reminder,
    texts_only,
)
from providers.translation.dialect import Dialect
from providers.translation.thinking import ReasoningReplay
from providers.translation.tools import ToolNames
from providers.translation.validation import InvalidRequest

_SEPARATORS = {"user": "\n", "system": "\n\n"}
_NO_RESULT = "[no result: interrupted]"
_CONTINUE = (
    "Your last message was cut off. Continue it from exactly where it ends; do not repeat any of it and do not "
    "comment on the interruption."
)
# The encoder with the separators that chat templates and models themselves write.
_encode_arguments = json.JSONEncoder(ensure_ascii=False, allow_nan=False).encode


@dataclass(slots=True)
class _Call:
    client_id: str
    upstream_id: str
    name: str
    arguments: str


@dataclass(slots=True)
class _Result:
    parts: list[Part]
    is_error: bool
    mark: Part  # carries the block's cache_control, if the platform reads it


@dataclass(slots=True)
class _Turn:
    texts: list[Part] = field(default_factory=list)
    thinking: list[dict[str, Any]] = field(default_factory=list)
    calls: list[_Call] = field(default_factory=list)
    id_counts: Counter[str] = field(default_factory=Counter)  # calls by the client's id
    upstream_ids: set[str] = field(default_factory=set)
    results: dict[str, list[_Result]] = field(default_factory=dict)  # by the client's id
    notes: list[Part] = field(default_factory=list)  # system text that goes into the last tool message
    tail: list[tuple[str, Part]] = field(default_factory=list)  # ("user" or "system", part), in order

    @property
    def is_answered(self) -> bool:
        return bool(self.results or self.notes or self.tail)


class Conversation:
    """Takes the messages one by one and returns them in the other format."""

    def __init__(
        self,
        *,
        dialect: Dialect,
        blocks: BlockTranslator,
        names: ToolNames,
        map_id: Callable[[str], str],
        replay: ReasoningReplay,
    ) -> None:
        self._dialect = dialect
        self._blocks = blocks
        self._names = names
        self._map_id = map_id
        self._replay = replay
        self._turns: list[_Turn] = [_Turn()]
        self._has_begun = False
        self.system: list[Part] = []  # of messages before the first turn
        self.tool_ids: set[str] = set()  # as the client knows them
        self.is_prefilled = False  # the last message is an assistant's, to be continued

    def add(self, message: dict[str, Any], position: int) -> None:
        """Take the next message. Raises `InvalidRequest` for a tool input no encoder takes."""
        role, content = message["role"], message.get("content")
        if role == "system":
            self._add_system(content)
            return
        self._has_begun = True
        if role == "assistant":
            self._add_assistant(content, position)
        elif isinstance(content, list):
            for block in content:
                if block.get("type") == "tool_result":
                    self._add_result(block)
                else:
                    self._add_user(self._blocks.part_of(block))
        else:
            self._add_user(self._blocks.parts(content))

    def openai_messages(self) -> list[OpenAIMessage]:
        """Return all messages but the system prompt; raises `InvalidRequest` when none has any content."""
        messages: list[OpenAIMessage] = []
        for turn in self._turns:
            self._write_turn(turn, messages)
        if not any(message["role"] != "system" for message in messages):
            raise InvalidRequest("messages: at least one message must have content")
        if messages[-1]["role"] == "assistant":
            self._end_with_assistant(messages)
        return messages

    def _add_user(self, parts: list[Part]) -> None:
        self._turns[-1].tail.extend(("user", part) for part in parts)

    def _add_system(self, content: Any) -> None:
        parts = texts_only(self._blocks.parts(content))
        if not self._has_begun:
            self.system.extend(parts)
            return
        if not parts:
            return
        turn = self._turns[-1]
        if self._dialect.system_mid == "preserve":
            turn.tail.extend(("system", part) for part in parts)
            return
        # Many chat templates of open-weight models raise "System message must be at the beginning". After tool
        # results the text joins the last of them: a new user turn there makes templates drop the reasoning before it.
        note = reminder(parts)
        if turn.calls and not turn.tail:
            turn.notes.append(note)
        else:
            turn.tail.append(("user", note))

    def _add_assistant(self, content: Any, position: int) -> None:
        turn = _Turn()
        results: list[dict[str, Any]] = []
        if isinstance(content, list):
            for block in content:
                kind = block.get("type")
                if kind == "tool_use":
                    self._add_call(turn, block, position)
                elif kind == "text":
                    text = block.get("text")
                    if isinstance(text, str) and text:
                        turn.texts.append(self._blocks.text(text, block))
                elif kind == "thinking":
                    turn.thinking.append(block)
                elif kind == "tool_result":
                    results.append(block)
                else:
                    turn.texts.extend(as_lines(self._blocks.part_of(block)))
        elif isinstance(content, str):
            turn.texts.append({"type": "text", "text": content})
        if all(is_blank(part["text"]) for part in turn.texts):
            turn.texts = []
        if turn.texts or turn.calls:
            self._append_turn(turn)
        for block in results:
            self._add_result(block)

    def _append_turn(self, turn: _Turn) -> None:
        """Add an assistant turn; join it to the one before when nothing came between."""
        last = self._turns[-1]
        if last.is_answered:
            self._turns.append(turn)
            return
        if last.texts and turn.texts:
            last.texts.append({"type": "text", "text": "\n"})
        last.texts.extend(turn.texts)
        last.thinking.extend(turn.thinking)
        for call in turn.calls:
            self._append_call(last, call)

    def _add_call(self, turn: _Turn, block: dict[str, Any], position: int) -> None:
        client_id = block["id"]
        self.tool_ids.add(client_id)
        self._blocks.revealed.add(block["name"])
        arguments = _arguments(block.get("input"), position)
        self._append_call(turn, _Call(client_id, client_id, self._names.upstream(block["name"]), arguments))

    def _append_call(self, turn: _Turn, call: _Call) -> None:
        """Add a call under the id to send; a second one with the same id gets another, or OpenAI refuses both."""
        turn.id_counts[call.client_id] += 1
        count = turn.id_counts[call.client_id]
        upstream_id = self._map_id(call.client_id if count == 1 else f"{call.client_id}_{count}")
        while upstream_id in turn.upstream_ids:
            upstream_id = self._map_id(f"{upstream_id}_{len(turn.upstream_ids)}")
        call.upstream_id = upstream_id
        turn.upstream_ids.add(upstream_id)
        turn.calls.append(call)

    def _add_result(self, block: dict[str, Any]) -> None:
        turn = self._turns[-1]
        tool_id = block["tool_use_id"]
        parts = self._blocks.parts(block.get("content"))
        if tool_id in turn.id_counts:
            result = _Result(parts, block.get("is_error") is True, self._blocks.text("", block))
            turn.results.setdefault(tool_id, []).append(result)
            return
        texts = "\n".join(part["text"] for part in parts if part["type"] == "text")
        self._add_user([{"type": "text", "text": f"Tool result ({tool_id[:128]}): {texts or '(no output)'}"}])
        self._add_user([part for part in parts if part["type"] != "text"])

    def _write_turn(self, turn: _Turn, messages: list[OpenAIMessage]) -> None:
        if turn.texts or turn.calls:
            messages.append(self._assistant_message(turn))
        parts = self._write_results(turn, messages) if turn.calls else []
        keeps_parts = self._dialect.cache_control
        role = "user"
        for next_role, part in turn.tail:
            if next_role != role and parts:
                messages.append(openai_message(role, parts, _SEPARATORS[role], keeps_parts=keeps_parts))
                parts = []
            role = next_role
            parts.append(part)
        if parts:
            messages.append(openai_message(role, parts, _SEPARATORS[role], keeps_parts=keeps_parts))

    def _assistant_message(self, turn: _Turn) -> OpenAIMessage:
        message: OpenAIMessage = {"role": "assistant"}
        if turn.texts:
            message["content"] = content_of(turn.texts, "", keeps_parts=self._dialect.cache_control)
        else:
            message["content"] = self._dialect.null_content
        message.update(self._replay.fields(turn.thinking, has_calls=bool(turn.calls)))
        if turn.calls:
            message["tool_calls"] = [
                {
                    "id": call.upstream_id,
                    "type": "function",
                    "function": {"name": call.name, "arguments": call.arguments},
                }
                for call in turn.calls
            ]
        return message

    def _write_results(self, turn: _Turn, messages: list[OpenAIMessage]) -> list[Part]:
        """Write one tool message per call; return what could not stay in them, for the user message after."""
        attached: list[Part] = []
        calls_left = turn.id_counts.copy()
        for call in turn.calls:
            waiting = turn.results.get(call.client_id, [])
            calls_left[call.client_id] -= 1
            # Several results for one call are merged; calls that share an id take one each.
            share = waiting if calls_left[call.client_id] == 0 else waiting[:1]
            if share is not waiting:
                turn.results[call.client_id] = waiting[1:]
            content = self._result_content(share, call, attached) if share else _NO_RESULT
            messages.append({"role": "tool", "tool_call_id": call.upstream_id, "content": content})
        if turn.notes:
            append_texts(messages[-1], turn.notes, keeps_parts=self._dialect.cache_control)
        return attached

    def _result_content(self, results: list[_Result], call: _Call, attached: list[Part]) -> str | list[Part]:
        texts: list[str] = []
        inline: list[Part] = []
        hoisted: list[Part] = []
        for result in results:
            first = len(texts)
            for part in result.parts:
                if part["type"] == "text":
                    texts.append(part["text"])
                elif part["type"] == "image_url" and self._dialect.tool_images == "inline":
                    inline.append(part)
                else:
                    hoisted.append(part)
                    texts.append(_attachment_text(part, len(hoisted)))
            if result.is_error:
                texts[first:] = [_error_text("\n".join(texts[first:]))]
        text = "\n".join(texts)
        if not text and (self._dialect.no_empty_tool and not inline):
            text = "(no output)"
        mark = next((r.mark for r in results if "cache_control" in r.mark), None) or next(
            (part for r in results for part in reversed(r.parts) if "cache_control" in part), None
        )
        if hoisted:
            kind = "Images" if all(part["type"] == "image_url" for part in hoisted) else "Attachments"
            attached.append({"type": "text", "text": f"{kind} from tool call {call.upstream_id}:"})
            attached.extend(hoisted)
        if not inline and (mark is None or not text):
            return text
        content: list[Part] = [{"type": "text", "text": text}] if text else []
        if content and mark is not None:
            content[0]["cache_control"] = mark["cache_control"]
        return content + inline

    def _end_with_assistant(self, messages: list[OpenAIMessage]) -> None:
        """Ask for the continuation of a trailing assistant message in the way the platform knows."""
        if not self._dialect.prefill:
            messages.append({"role": "user", "content": _CONTINUE})
            return
        self.is_prefilled = True
        # Anthropic refuses white space at its end, and no model goes on well from there.
        content = messages[-1]["content"]
        if isinstance(content, str):
            messages[-1]["content"] = content.rstrip()
        else:
            content[-1] = {**content[-1], "text": content[-1]["text"].rstrip()}
        if self._dialect.thinking_dialect == "deepseek":
            messages[-1]["prefix"] = True


def _attachment_text(part: Part, number: int) -> str:
    return f"[{kind_of(part)} {number} attached below]"


def _error_text(text: str) -> str:
    """Mark a failed call: Chat Completions has no flag for it."""
    if text[:64].lstrip()[:5].lower() == "error" or "<tool_use_error>" in text:
        return text
    return f"Error: {text or '(no output)'}"


def _arguments(value: Any, position: int) -> str:
    """Return a call's input as JSON text, in the order of its keys (prompt caches compare bytes)."""
    if not value:
        return "{}"
    if not isinstance(value, dict):
        value = {"input": value}
    try:
        try:
            return _encode_arguments(value)
        except ValueError:  # a number beyond a double
            return _encode_arguments(_without_infinities(value))
    except RecursionError as error:
        raise InvalidRequest(f"messages.{position}: the input of a tool_use is nested too deeply") from error


def _without_infinities(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, dict):
        return {key: _without_infinities(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_without_infinities(item) for item in value]
    return value
