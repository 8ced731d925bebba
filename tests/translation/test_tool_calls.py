"""Which call a fragment belongs to, what it is called, and its id. The streams are in `tool_cases`."""

from itertools import count
from typing import Any

import pytest

from providers.translation.tool_calls import ToolCalls, ToolIds, ToolNames
from tests.translation.answers import call


def collect(*chunks: list[dict[str, Any]]) -> list[tuple[str, str, str]]:
    """Return (id, name, text of the arguments) of the calls, in order of their first fragment."""
    calls = ToolCalls({"Read", "ReadFile", "Bash"})
    found: list[Any] = []
    for fragments in chunks:
        found += [item for item in calls.feed(fragments) if not any(item is known for known in found)]
    return [(item.id, item.name, item.arguments.raw) for item in found]


@pytest.mark.parametrize(
    ("chunks", "expected"),
    [
        ([[call(0, "a", "Read", "{}")], [call(0, "b", "Bash", "{}")]], [("a", "Read", "{}"), ("b", "Bash", "{}")]),
        ([[call(3, "a", "Read", "{")], [call(7, "b", "Bash", "{")], [call(3, arguments="}")]], [("a", "Read", "{}"), ("b", "Bash", "{")]),
        ([[call("0", "a", "Read", "{")], [call(0, arguments="}")]], [("a", "Read", "{}")]),
        ([[call(0, "a", "Read", "{")], [call(0, "b", "Bash", "{")], [call(0, "a", None, "}")]], [("a", "Read", "{}"), ("b", "Bash", "{")]),
        ([[call(None, "a", "Read", "{")], [call(None, "b", "Bash", "{")], [call(None, "a", None, "}")]], [("a", "Read", "{}"), ("b", "Bash", "{")]),
        ([[call(0, "a", "Read", '{"x":1}')], [call(0, "a", "Bash", '{"y":1}')]], [("a", "Read", '{"x":1}'), ("a", "Bash", '{"y":1}')]),
        ([[call(0, None, "Read", '{"x":1}')], [call(0, None, "Read", "")]], [("", "Read", '{"x":1}')]),
        ([[call(0, "a", "Read", "")], [call(0, "a", "File", "")], [call(0, "a", None, "{}")]], [("a", "ReadFile", "{}")]),
        ([[call(0, "a", "Read", "")], [call(0, "a", "Bash", "")]], [("a", "Read", "")]),
        ([[call(name="Read", arguments="")], [call(name="Read", arguments='{"x":1}')]], [("", "Read", '{"x":1}')]),
        ([[call(name="Read"), call(name="Read")]], [("", "Read", ""), ("", "Read", "")]),
        ([[{"id": "a", "name": "Read", "arguments": "{}"}]], [("a", "Read", "{}")]),
        ([[{"index": None, "id": None, "function": None}]], [("", "", "")]),
    ],
)  # fmt: skip
def test_fragments_find_their_call(chunks: list[Any], expected: list[Any]) -> None:
    assert collect(*chunks) == expected


@pytest.mark.parametrize("fragments", [[None], ["x", 1], [[]], []])
def test_what_is_no_fragment_is_no_call(fragments: list[Any]) -> None:
    assert ToolCalls(set()).feed(fragments) == []


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("Read", "Read"),
        ("read", "Read"),
        ("web_search", "WebSearch"),
        ("functions.Bash", "Bash"),
        ("mcp_short", "mcp__server__long"),
        ("todo-write", "todo-write"),
        ("Unknown", "Unknown"),
    ],
)
def test_names_become_the_clients(name: str, expected: str) -> None:
    names = ToolNames(
        {"mcp_short": "mcp__server__long"},
        ["Read", "WebSearch", "Bash", "mcp__server__long", "TodoWrite", "todo_write"],
    )
    assert names.resolve(name) == expected


def test_ids_are_unique_and_well_formed() -> None:
    numbers = count(1)
    ids = ToolIds({"used"}, lambda: f"toolu_{next(numbers)}")
    given = [ids.assign(upstream) for upstream in ("a", "a", "used", "functions.Bash:0", "", "b\n")]
    assert given == ["a", "toolu_1", "toolu_2", "toolu_3", "toolu_4", "toolu_5"]
