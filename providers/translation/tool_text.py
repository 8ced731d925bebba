"""Tool calls that leak into the text: markup of a chat template which the upstream's parser did not take out.

Only for dialects with `tool_text_parser`, and only at the end of the answer: everything from the first mark on is held
back; if all of it reads as calls of known tools it becomes calls, otherwise it is the text it was.
"""

import json
import re
from collections.abc import Callable, Mapping
from typing import Any

_MARKS = ("<tool_call>", "<|tool_call|>", "<function=")
_CALL = re.compile(
    r"\s*(?:"
    r"<tool_call>\s*(?P<hermes>[\[{].*?[\]}])\s*</tool_call>"
    r"|<\|tool_call\|>\s*(?P<phi>[\[{].*?[\]}])\s*(?:<\|/tool_call\|>|<\|end_tool_call\|>|$)"
    r"|(?:<tool_call>\s*)?<function=(?P<name>[^>\s]+)>(?P<body>.*?)</function>(?:\s*</tool_call>)?"
    r")\s*",
    re.DOTALL,
)
_PARAMETER = re.compile(r"\s*<parameter=(?P<key>[^>\s]+)>\n?(?P<value>.*?)\n?</parameter>\s*", re.DOTALL)

LeakedCall = tuple[str, dict[str, Any]]


class LeakedCalls:
    """Passes text on up to the first mark, and reads what follows at the end.

    `resolve` gives a tool's name as the client writes it, `schemas` the input schemas by that name.
    """

    def __init__(self, resolve: Callable[[str], str], schemas: Mapping[str, dict[str, Any]]) -> None:
        self._resolve = resolve
        self._schemas = schemas
        self._held = ""

    def feed(self, text: str) -> str:
        """Return what of the text can be shown."""
        held = self._held + text
        begin = min((at for mark in _MARKS if (at := held.find(mark)) >= 0), default=-1)
        if begin < 0:
            begin = len(held) - max(_overlap(held, mark) for mark in _MARKS)
        self._held = held[begin:]
        return held[:begin]

    def flush(self) -> str:
        """Return what is held back, as text."""
        held, self._held = self._held, ""
        return held

    def finish(self) -> list[LeakedCall]:
        """Return the calls in what is held back; without any, `flush` returns it as text."""
        calls: list[LeakedCall] = []
        position = 0
        while position < len(self._held):
            match = _CALL.match(self._held, position)
            found = self._read(match) if match else []
            if not match or not found:
                return []
            calls += found
            position = match.end()
        self._held = ""
        return calls

    def _read(self, match: re.Match[str]) -> list[LeakedCall]:
        """Return the calls of one marked piece, none if any part of it does not fit."""
        if match["name"]:
            name = self._resolve(match["name"])
            arguments = self._read_body(name, match["body"])
            return [(name, arguments)] if arguments is not None and name in self._schemas else []
        try:
            document = json.loads(match["hermes"] or match["phi"])
        except (ValueError, RecursionError):
            return []
        calls: list[LeakedCall] = []
        for item in document if isinstance(document, list) else [document]:
            if not isinstance(item, dict) or not isinstance(item.get("name"), str):
                return []
            name = self._resolve(item["name"])
            arguments = item.get("arguments", item.get("parameters", {}))
            if name not in self._schemas or not isinstance(arguments, dict):
                return []
            calls.append((name, arguments))
        return calls

    def _read_body(self, name: str, body: str) -> dict[str, Any] | None:
        if not body.strip():
            return {}
        if body.lstrip().startswith("{"):
            try:
                value = json.loads(body)
            except (ValueError, RecursionError):
                return None
            return value if isinstance(value, dict) else None
        properties = self._schemas.get(name, {}).get("properties")
        arguments: dict[str, Any] = {}
        position = 0
        while position < len(body):
            match = _PARAMETER.match(body, position)
            if not match:
                return None
            schema = properties.get(match["key"]) if isinstance(properties, dict) else None
            arguments[match["key"]] = _typed(match["value"], schema)
            position = match.end()
        return arguments


def _typed(value: str, schema: Any) -> Any:
    """Return a parameter's value: a string where the schema says so, the JSON it is otherwise."""
    if isinstance(schema, dict) and schema.get("type") == "string":
        return value
    try:
        return json.loads(value)
    except (ValueError, RecursionError):
        return value


def _overlap(text: str, mark: str) -> int:
    """Return how many characters at the end of `text` may be the beginning of `mark`."""
    for length in range(min(len(mark) - 1, len(text)), 0, -1):
        if text.endswith(mark[:length]):
            return length
    return 0
