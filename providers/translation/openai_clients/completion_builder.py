"""Chat Completions chunks to the `chat.completion` they are: for a client that asked for no stream.

Vendors add members of their own to chunks, choices and deltas, so the parts are put together by their kind and not by
a list of names: texts and lists are joined, objects are merged, of anything else the last one counts.
"""

from collections.abc import Mapping, Set
from typing import Any

from providers.translation import stop
from providers.translation.response import ReasoningDetails, details_of
from providers.translation.tool_calls import ToolCall, ToolCalls

# Texts that are no part of a longer one: repeated on every chunk, or sent once.
_NAMING = frozenset({"id", "type", "role", "name", "format", "object", "call_id", "index"})
# Of a chunk: what has a place of its own, or only a stream has (OpenAI's padding against traffic analysis).
_STREAM_MEMBERS = frozenset({"choices", "usage", "object", "obfuscation"})
# A choice's members that have a place of their own.
_PLACED = frozenset({"index", "delta", "message", "finish_reason", "usage"})
_CALL_MEMBERS = frozenset({"index", "id", "type", "function", "name", "arguments"})


class CompletionBuilder:
    """Puts one answer together. `feed` each chunk, then `build`; a chunk that is an error is the caller's."""

    def __init__(self, known_names: Set[str]) -> None:
        """`known_names` are the tools that the upstream may call."""
        self._known_names = known_names
        self._envelope: dict[str, Any] = {}
        self._usage: dict[str, Any] | None = None
        self._choices: dict[int, _Choice] = {}

    @property
    def has_begun(self) -> bool:
        """Whether the upstream has begun to answer."""
        return bool(self._choices)

    @property
    def finished_choices(self) -> int:
        """The number of choices that have their `finish_reason`."""
        return sum(choice.finish_reason is not None for choice in self._choices.values())

    def feed(self, chunk: Mapping[str, Any]) -> None:
        """Take a chunk."""
        for name, value in chunk.items():
            # The first chunk names the answer, and a relay may write another name on a later one.
            is_kept = name in ("id", "created", "model") and self._envelope.get(name)
            if name not in _STREAM_MEMBERS and value is not None and not is_kept:
                self._envelope[name] = value
        groq = chunk.get("x_groq")
        self._take_usage(chunk.get("usage"))
        self._take_usage(groq.get("usage") if isinstance(groq, dict) else None)
        choices = chunk.get("choices")
        for position, choice in enumerate(choices if isinstance(choices, list) else ()):
            if isinstance(choice, dict):
                self._take_usage(choice.get("usage"))  # Moonshot
                index = _index(choice.get("index"), position)
                self._choices.setdefault(index, _Choice(self._known_names)).feed(choice)

    def build(self, *, fallback_id: str, model: str, created: int) -> dict[str, Any]:
        """Return the completion. `fallback_id`, `model` and `created` stand in for what the upstream did not say."""
        envelope = {"id": fallback_id, "object": "chat.completion", "created": created, "model": model}
        envelope |= self._envelope
        choices = [self._choices[index].build(index, str(envelope["id"])) for index in sorted(self._choices)]
        return {**envelope, "choices": choices, **({} if self._usage is None else {"usage": self._usage})}

    def _take_usage(self, usage: Any) -> None:
        """Keep the last usage that counts something: some send zeros on chunks before or behind the real one."""
        if isinstance(usage, dict) and usage and (self._usage is None or any(usage.values())):
            self._usage = usage


class _Choice:
    """One choice as far as it has arrived."""

    def __init__(self, known_names: Set[str]) -> None:
        self.finish_reason: str | None = None
        self._members: dict[str, Any] = {}
        self._message: dict[str, Any] = {}
        self._content: list[Any] = []  # texts and parts
        self._reasoning_details = ReasoningDetails()
        self._tools = ToolCalls(known_names)
        self._calls: list[ToolCall] = []
        self._added: dict[int, dict[str, Any]] = {}  # id() of a call -> members beside those of the protocol
        self._custom: dict[int, dict[str, Any]] = {}  # index -> call of a custom tool, whose input is free text
        self._legacy: ToolCall | None = None
        self._uses_message = False
        self._has_begun = False

    def feed(self, choice: dict[str, Any]) -> None:
        """Take what a chunk adds."""
        for name, value in choice.items():
            if name not in _PLACED and value is not None:
                self._members[name] = _merged(self._members.get(name), value, name)
        delta = self._delta_of(choice)
        if delta:
            self._has_begun = True
            self._take(delta)
        finish = choice.get("finish_reason")
        finish = finish.strip() if isinstance(finish, str) else ""
        # Azure repeats itself: a limit or a filter outweighs the plain end around it.
        if finish and (self.finish_reason is None or stop.meaning_of(finish) != "end"):
            self.finish_reason = finish

    def build(self, index: int, completion_id: str) -> dict[str, Any]:
        """Return the choice; `completion_id` makes ids for calls that have none."""
        message = {"role": "assistant", "content": None, "refusal": None, **_whole(self._message)}
        calls = self._tool_calls(f"{completion_id}_{index}")
        content = _content_of(self._content)
        message["content"] = content if content or not (calls or self._legacy) else None
        if details := self._reasoning_details.whole():
            message["reasoning_details"] = details
        if calls:
            message["tool_calls"] = calls
        if self._legacy is not None:
            message["function_call"] = {"name": self._legacy.name, "arguments": self._arguments(self._legacy)}
        return {
            "index": index,
            "message": message,
            "logprobs": None,
            # [DONE] came, or the platform never sends any.
            "finish_reason": self.finish_reason or ("tool_calls" if calls else "stop"),
            **_whole(self._members),
        }

    def _delta_of(self, choice: dict[str, Any]) -> dict[str, Any] | None:
        delta, message = choice.get("delta"), choice.get("message")
        if isinstance(delta, dict):
            return delta
        # `message` is what some servers call the delta; others repeat the whole answer in it at the end.
        if isinstance(message, dict) and (self._uses_message or not self._has_begun):
            self._uses_message = True
            return message
        return None

    def _take(self, delta: dict[str, Any]) -> None:
        for name, value in delta.items():
            match name:
                case "content":
                    self._content += value if isinstance(value, list) else [value] if isinstance(value, str) else []
                case "reasoning_details":
                    self._reasoning_details.add(details_of(delta))
                case "tool_calls":
                    self._take_calls(value)
                case "function_call":
                    if isinstance(value, dict) and value:
                        self._legacy = self._tools.feed_legacy(value)[0]
                case _ if value is not None and value != "":
                    self._message[name] = _merged(self._message.get(name), value, name)

    def _take_calls(self, fragments: Any) -> None:
        for position, fragment in enumerate(fragments if isinstance(fragments, list) else ()):
            if not isinstance(fragment, dict):
                continue
            index = _index(fragment.get("index"), position)
            is_custom = index in self._custom and not isinstance(fragment.get("function"), dict)
            if is_custom or isinstance(fragment.get("custom"), dict):
                known = {name: value for name, value in fragment.items() if value is not None and name != "index"}
                self._custom[index] = _merged(self._custom.get(index), known, "")
                continue
            touched = self._tools.feed([fragment])
            for call in touched:
                if all(call is not known for known in self._calls):
                    self._calls.append(call)
            if touched:
                self._keep_added(touched[0], fragment)

    def _keep_added(self, call: ToolCall, fragment: dict[str, Any]) -> None:
        """Keep a vendor's members of a call: Gemini's `extra_content` is the signature that it wants back."""
        for name, value in fragment.items():
            if name not in _CALL_MEMBERS and value is not None:
                added = self._added.setdefault(id(call), {})
                added[name] = _merged(added.get(name), value, name)

    def _tool_calls(self, id_prefix: str) -> list[dict[str, Any]]:
        calls: list[dict[str, Any]] = []
        for call in self._calls:
            if not call.arguments.is_call:
                continue
            function = {"name": call.name, "arguments": self._arguments(call)}
            identifier = call.id or f"call_{id_prefix}_{len(calls)}"
            added = _whole(self._added.get(id(call), {}))
            calls.append({"id": identifier, "type": "function", "function": function, **added})
        return calls + [{"type": "custom", **_whole(call)} for _, call in sorted(self._custom.items())]

    def _arguments(self, call: ToolCall) -> str:
        """Return the arguments as they came. A call without any has an empty object, which clients can parse."""
        text = call.arguments.text
        is_cut = stop.meaning_of(self.finish_reason or "") == "length"
        return text if text.strip() or is_cut else "{}"


class _Pieces(list[str]):
    """A text as it comes, a piece per token: joined once, at the end."""


def _merged(old: Any, new: Any, name: str) -> Any:
    """Return `new` put behind `old`, both of a member called `name`."""
    if isinstance(new, str) and name not in _NAMING:
        if isinstance(old, _Pieces):
            old.append(new)
            return old
        return _Pieces([new])
    if isinstance(new, dict):
        merged = old if isinstance(old, dict) else {}
        for key, value in new.items():
            if value is not None or key not in merged:
                merged[key] = _merged(merged.get(key), value, key)
        return merged
    if isinstance(new, list):
        if isinstance(old, list) and not isinstance(old, _Pieces):
            old += new
            return old
        return list(new)
    return new if new != "" or old is None else old


def _whole(value: Any) -> Any:
    """Return `value` with its texts joined."""
    if isinstance(value, _Pieces):
        return "".join(value)
    return {name: _whole(item) for name, item in value.items()} if isinstance(value, dict) else value


def _content_of(pieces: list[Any]) -> Any:
    """Return a text, or a list of parts where the upstream sent any (Mistral), neighbours of a kind as one."""
    if all(isinstance(piece, str) for piece in pieces):
        return "".join(pieces)
    parts: list[dict[str, Any]] = []
    for piece in pieces:
        part = {"type": "text", "text": piece} if isinstance(piece, str) else piece
        if part == {"type": "text", "text": ""} or not isinstance(part, dict):
            continue
        if parts and part.get("type") in ("text", "thinking") and parts[-1].get("type") == part["type"]:
            _merged(parts[-1], part, "")
        else:
            parts.append(_merged(None, part, ""))
    return [
        {**_whole(part), "thinking": _content_of(part["thinking"])}
        if isinstance(part.get("thinking"), list) and not isinstance(part["thinking"], _Pieces)
        else _whole(part)
        for part in parts
    ]


def tool_names(request: Mapping[str, Any]) -> frozenset[str]:
    """Return the names of the functions that a Chat Completions request offers."""
    tools, functions = request.get("tools"), request.get("functions")
    offered = [tool.get("function") for tool in tools if isinstance(tool, dict)] if isinstance(tools, list) else []
    offered += functions if isinstance(functions, list) else []
    names = (function.get("name") for function in offered if isinstance(function, dict))
    return frozenset(name for name in names if isinstance(name, str))


def _index(value: Any, position: int) -> int:
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) < 10:
        return int(value)
    return value if isinstance(value, int) and not isinstance(value, bool) else position
