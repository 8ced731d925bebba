"""The arguments of a tool call: from what upstreams send to the one JSON object that a tool's input must be.

Upstreams send the object as a string, in fragments or at once; as an object (Ollama); encoded twice; as "null" or "[]";
in a code fence; with a placeholder "{}" before the real one; two calls' objects in one string.
"""

import json
import re
from collections.abc import Set
from typing import Any

from providers.translation.json_repair import ObjectScanner

# Carries arguments that are no JSON to the client, whose schema check reports them to the model, which tries again.
RAW_KEY = "__raw_arguments"

_FENCE = re.compile(r"\s*```[A-Za-z0-9]*\s*(.*?)\s*(?:```\s*)?", re.DOTALL)


class Arguments:
    """Collects one call's arguments. `take` returns what may go out at once, `finish` the rest.

    Text that begins with `{` is passed on as it comes, put right on the way. Anything else cannot be judged before its
    end and is kept until then. With `is_leftover`, the text followed another call's arguments: it is a call only if it
    is complete and not empty.
    """

    def __init__(self, *, is_leftover: bool = False) -> None:
        self.overflow = ""  # a second object after the first: another call's
        self._is_leftover = is_leftover
        self._raw: list[str] = []
        self._ready: list[str] = []
        self._scanner: ObjectScanner | None = None
        self._is_opaque = False  # begins with something else than "{"
        self._object: dict[str, Any] | None = None
        self._is_taken = False

    @property
    def raw(self) -> str:
        """The text as it came."""
        return "".join(self._raw)

    @property
    def text(self) -> str:
        """The arguments as JSON, as they came: neither completed nor repaired."""
        return self.raw if self._object is None else json.dumps(self._object, ensure_ascii=False)

    @property
    def is_call(self) -> bool:
        """Whether there is a call: what followed another call's arguments is one only if it is whole and not empty."""
        scanner = self._scanner
        return not self._is_leftover or bool(scanner and scanner.is_complete and scanner.emitted)

    @property
    def is_started(self) -> bool:
        return self._object is not None or self._is_opaque or self._scanner is not None

    @property
    def is_complete(self) -> bool:
        """Whether a whole value has come. More may still follow: an upstream's placeholder, or another call."""
        if self._object is not None:
            return True
        if self._scanner is not None:
            return self._scanner.is_complete
        return self._is_opaque and _loads(self.raw) is not _INVALID

    def feed(self, text: str) -> None:
        """Take a fragment."""
        if self._object is not None or not text:
            return
        self._raw.append(text)
        if self._is_opaque:
            return
        if self._scanner is None:
            begun = self.raw.lstrip()
            if not begun:
                return
            if not begun.startswith("{"):
                self._is_opaque = True
                return
            self._scanner, text = ObjectScanner(), begun
        self._scan(text)

    def put(self, value: dict[str, Any]) -> None:
        """Take arguments that came as an object. When several come they are cumulative, so the last one counts."""
        if self._is_taken:
            return
        self._object, self._scanner, self._is_opaque = value, None, False

    def take(self) -> str:
        """Return what can go out and was not taken before."""
        if self._is_leftover:
            return ""
        ready = "".join(self._ready)
        self._ready.clear()
        self._is_taken = self._is_taken or bool(ready)
        return ready

    def finish(self, *, is_truncated: bool, allowed_keys: Set[str] | None) -> str | None:
        """Return what completes the input, or None for arguments that must not become a call.

        `is_truncated`: the output limit ended the answer; nothing is completed then. `allowed_keys` are the tool's
        properties, None where anything goes: a repaired object with other keys is not believed.
        """
        if self._object is not None:
            return json.dumps(self._object, ensure_ascii=False)
        if self._is_taken:
            return self.take() + self._end_of_taken(is_truncated=is_truncated, allowed_keys=allowed_keys)
        scanner = self._scanner
        if not self.is_call:
            return None
        if scanner is not None and scanner.is_complete:
            text = "".join(scanner.emitted) or "{}"
            if not scanner.is_repaired or _is_allowed(_loads(text), allowed_keys):
                return text
        if is_truncated and not self.is_complete:
            return None
        return complete(self.raw, allowed_keys)

    def _end_of_taken(self, *, is_truncated: bool, allowed_keys: Set[str] | None) -> str:
        scanner = self._scanner
        if scanner is None or scanner.is_complete or is_truncated:
            return ""
        missing = scanner.completion()
        if missing is not None and _is_allowed(_loads("".join(scanner.emitted) + missing), allowed_keys):
            return missing
        return scanner.salvage(RAW_KEY, self.raw)

    def _scan(self, text: str) -> None:
        scanner = self._scanner
        while scanner is not None:
            added = scanner.feed(text)
            if added:
                self._ready.append(added)
            following = scanner.trailing.lstrip(" \t\r\n,;")
            if not following.startswith("{"):
                # Anything else after the object (a superfluous brace, the end of a fence) is dropped.
                return
            if scanner.emitted:
                self.overflow += following
                self._raw = [self.raw[: -len(following)]]
                scanner.trailing = ""
                return
            # An empty object before the real one is a placeholder.
            self._raw = [following]
            self._scanner = scanner = ObjectScanner()
            text = following


def complete(text: str, allowed_keys: Set[str] | None) -> str:
    """Return `text` as the JSON of an object; one that cannot be understood goes under `RAW_KEY`."""
    value = parse(text, allowed_keys)
    if value is None:
        return json.dumps({RAW_KEY: text}, ensure_ascii=False)
    return json.dumps(value, ensure_ascii=False)


def parse(text: str, allowed_keys: Set[str] | None) -> dict[str, Any] | None:
    """Return the object that `text` means, or None.

    Takes "", "null" and "[]" for an empty one, decodes twice, and repairs; a repaired object counts only when all its
    keys are in `allowed_keys`.
    """
    value = _loads(text) if text.strip() else None
    if isinstance(value, str):
        text = value
        value = _loads(text) if text.strip() else None
    if value is None or value == []:
        return {}
    if isinstance(value, dict):
        return value
    if value is not _INVALID:
        return None
    fenced = _FENCE.fullmatch(text)
    scanner = ObjectScanner()
    scanner.feed(fenced.group(1) if fenced else text.strip())
    missing = scanner.completion()
    if missing is None:
        return None
    repaired = _loads("".join(scanner.emitted) + missing)
    return repaired if isinstance(repaired, dict) and _is_allowed(repaired, allowed_keys) else None


def tool_input_of(arguments: Any) -> dict[str, Any]:
    """Return what a client sends back as a call's arguments as the object that a tool_use takes."""
    if isinstance(arguments, dict):
        return arguments
    if not isinstance(arguments, str) or not arguments.strip():
        return {}
    value = _loads(arguments)
    return value if isinstance(value, dict) else {RAW_KEY: arguments}


_INVALID = object()


def _loads(text: str) -> Any:
    """Return the value in `text`, or `_INVALID`. Not orjson: it turns integers beyond 64 bits into floats."""
    try:
        return json.loads(text, parse_constant=_refuse_constant)
    except (ValueError, RecursionError):
        return _INVALID


def _refuse_constant(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")


def _is_allowed(value: Any, allowed_keys: Set[str] | None) -> bool:
    return isinstance(value, dict) and (allowed_keys is None or value.keys() <= allowed_keys)
