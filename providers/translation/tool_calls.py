"""Tool-call fragments of a stream: which call a fragment belongs to, whatever the upstream makes of index and id.

Seen upstream: index always 0 (Ollama, Gemini), no index, no id, the id or the name on every fragment, a name in two
pieces, several whole calls in one chunk, one call's arguments followed by another's.
"""

import re
from collections.abc import Callable, Iterable, Mapping, Set
from dataclasses import dataclass, field
from typing import Any

from providers.translation.arguments import Arguments

_VALID_ID = re.compile(r"[a-zA-Z0-9_-]+")
_NOT_ALPHANUMERIC = re.compile(r"[^a-z0-9]+")


@dataclass(slots=True, eq=False)
class ToolCall:
    """A call as far as it has arrived."""

    id: str = ""  # the upstream's
    name: str = ""  # as the upstream writes it
    index: int | None = None  # the upstream's
    arguments: Arguments = field(default_factory=Arguments)
    block_index: int | None = None  # of the content block, once that is open


class ToolCalls:
    """The calls of one answer. `known_names` are those that the upstream may call."""

    def __init__(self, known_names: Set[str]) -> None:
        self._known_names = known_names
        self._by_index: dict[int, ToolCall] = {}
        self._by_id: dict[str, ToolCall] = {}
        self._legacy: ToolCall | None = None
        self._last: ToolCall | None = None
        self._is_last_of_chunk = False  # the last call came in the chunk that is being read

    def feed(self, fragments: Iterable[Any]) -> list[ToolCall]:
        """Take the `tool_calls` of one delta; return the calls that they touch, in order."""
        touched: list[ToolCall] = []
        self._is_last_of_chunk = False
        for fragment in fragments:
            if isinstance(fragment, dict):
                touched += self._feed(fragment)
                self._is_last_of_chunk = True
        return touched

    def feed_legacy(self, function: dict[str, Any]) -> list[ToolCall]:
        """Take a `function_call`, the predecessor of `tool_calls`: one call, without index and id."""
        if self._legacy is None:
            self._legacy = ToolCall()
        return self._add(self._legacy, _text(function.get("name")).strip(), function.get("arguments"))

    def _feed(self, fragment: dict[str, Any]) -> list[ToolCall]:
        function = fragment.get("function")
        if not isinstance(function, dict):
            function = fragment  # name and arguments beside the id, without a "function" around them
        identifier = _text(fragment.get("id"))
        name = _text(function.get("name")).strip()
        arguments = function.get("arguments")
        call = self._find(_index(fragment.get("index")), identifier, name, arguments)
        if identifier and identifier == call.id and _is_repetition(call, arguments):
            return []
        return self._add(call, name, arguments)

    def _add(self, call: ToolCall, name: str, arguments: Any) -> list[ToolCall]:
        self._last = call
        if name:
            self._add_name(call, name)
        if isinstance(arguments, str):
            call.arguments.feed(arguments)
        elif isinstance(arguments, dict):
            call.arguments.put(arguments)
        touched = [call]
        while call.arguments.overflow:
            overflow, call.arguments.overflow = call.arguments.overflow, ""
            call = ToolCall(name=call.name, index=call.index, arguments=Arguments(is_leftover=True))
            if call.index is not None:
                self._by_index[call.index] = call
            self._last = call
            call.arguments.feed(overflow)
            touched.append(call)
        return touched

    def _find(self, index: int | None, identifier: str, name: str, arguments: Any) -> ToolCall:
        """Return the call of a fragment, a new one where none fits."""
        last = self._last
        if index is not None:
            call = self._by_index.get(index)
            if call is None:
                return self._new(index, identifier)
            if identifier and call.id and identifier != call.id:
                known = self._by_id.get(identifier)
                if known is not None and known.index == index:
                    return known
                # An id of its own on every fragment: nothing but the name tells a new call then.
                return call if not name and _is_continued(call) else self._new(index, identifier)
            is_same = bool(identifier) and identifier == call.id and name == call.name
            if name and not is_same and _is_next(call, name, arguments):
                return self._new(index, identifier)
        elif identifier:
            call = self._by_id.get(identifier)
            if call is None:
                if last is not None and not name and _is_continued(last):
                    return last
                return self._new(None, identifier)
            if name and name != call.name and _is_next(call, name, arguments):
                return self._new(None, identifier)
        elif name:
            return last if last is not None and self._is_repeated(last, name, arguments) else self._new(None, "")
        else:
            return last if last is not None else self._new(None, "")
        if identifier and not call.id:
            call.id = identifier
            self._by_id[identifier] = call
        return call

    def _is_repeated(self, last: ToolCall, name: str, arguments: Any) -> bool:
        """Say whether a fragment with a name only, without index and id, goes on with the last call."""
        if name != last.name or self._is_last_of_chunk:
            return False
        if last.arguments.is_started:
            return _is_continued(last) and not _begins_object(arguments)
        return bool(arguments)

    def _new(self, index: int | None, identifier: str) -> ToolCall:
        call = ToolCall(id=identifier, index=index)
        if index is not None:
            self._by_index[index] = call
        if identifier:
            self._by_id[identifier] = call
        return call

    def _add_name(self, call: ToolCall, name: str) -> None:
        """Put a name together that came in pieces, and recognise one that is repeated."""
        if not call.name:
            call.name = name
        elif name == call.name or call.arguments.is_started:
            return
        elif name.startswith(call.name) and name in self._known_names:
            call.name = name
        elif call.name not in self._known_names or call.name + name in self._known_names:
            call.name += name


class ToolNames:
    """From the name that the upstream calls to the client's.

    `sent` maps names sent upstream to the client's where they differ; `known` are the client's.
    """

    def __init__(self, sent: Mapping[str, str], known: Iterable[str]) -> None:
        self._names = {name: name for name in known} | dict(sent)
        self._folded: dict[str, str] | None = None

    @property
    def known(self) -> Set[str]:
        return self._names.keys()

    def resolve(self, name: str) -> str:
        """Return the client's name; an unknown one matches in spite of case, `-`, `_` and a `functions.` prefix.

        What matches nothing, or more than one, is returned as it is: the client reports it to the model.
        """
        known = self._names.get(name)
        if known is not None:
            return known
        if self._folded is None:
            self._folded = {}
            for sent, client in self._names.items():
                folded = _fold(sent)
                self._folded[folded] = client if self._folded.get(folded, client) == client else ""
        return self._folded.get(_fold(name)) or self._folded.get(_fold(name.removeprefix("functions."))) or name


class ToolIds:
    """Gives every call an id that is unique in the conversation and has Anthropic's form, `^[a-zA-Z0-9_-]+$`.

    Claude Code answers duplicates with an error; Kimi writes `functions.Bash:0`, local servers send none.
    """

    def __init__(self, used: Set[str], new_id: Callable[[], str]) -> None:
        self._used = used
        self._given: set[str] = set()
        self._new_id = new_id

    def assign(self, upstream_id: str) -> str:
        """Return the upstream's id where it will do, a new one otherwise."""
        identifier = upstream_id
        if not _VALID_ID.fullmatch(identifier) or identifier in self._used or identifier in self._given:
            identifier = self._new_id()
        self._given.add(identifier)
        return identifier


def _is_continued(call: ToolCall) -> bool:
    """Say whether a call's arguments have begun and are waiting for their end."""
    return call.arguments.is_started and not call.arguments.is_complete


def _is_next(call: ToolCall, name: str, arguments: Any) -> bool:
    """Say whether a fragment with a name, at the place of a call that is complete, begins another one."""
    if not call.arguments.is_complete:
        return False
    if name != call.name or isinstance(arguments, dict):
        return True
    text = _text(arguments).strip()
    # "{}" may have been a placeholder for what comes now.
    return bool(text) and (text == "{}" or call.arguments.raw.strip() != "{}")


def _is_repetition(call: ToolCall, arguments: Any) -> bool:
    """Say whether a whole call comes again under its id, as some servers close a stream."""
    return (
        isinstance(arguments, str)
        and bool(arguments.strip())
        and call.arguments.is_complete
        and arguments.strip() == call.arguments.raw.strip()
    )


def _begins_object(arguments: Any) -> bool:
    return isinstance(arguments, dict) or (isinstance(arguments, str) and arguments.lstrip().startswith("{"))


def _fold(name: str) -> str:
    return _NOT_ALPHANUMERIC.sub("", name.lower())


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""


def _index(value: Any) -> int | None:
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) < 10:
        return int(value)
    return value if isinstance(value, int) and not isinstance(value, bool) else None
