"""Answers with tool calls in every form that upstreams send: (name, chunks, options, events in short)."""

from typing import Any

from tests.translation.answers import (
    STOP,
    call,
    calls,
    chunk,
    text,
)

J1, J2 = '{"path":"1"}', '{"path":"2"}'
ONE = ["S0 tool_use(a,Read)", "D0 " + J1, "X0", "MD(tool_use)", "MS"]
END = ["MD(end_turn)", "MS"]
TOOL_END = ["MD(tool_use)", "MS"]


def two(first: str = "a", second: str = "b") -> list[str]:
    return [
        f"S0 tool_use({first},Read)",
        "D0 " + J1,
        "X0",
        f"S1 tool_use({second},Read)",
        "D1 " + J2,
        "X1",
        *TOOL_END,
    ]


TOOL_CASES: list[tuple[str, list[Any], dict[str, Any], list[str]]] = [
    ("no index, ids", [calls(call(None, "a", "Read", J1)), calls(call(None, "b", "Read", J2)), STOP], {}, two()),
    (
        "no index, id on fragments",
        [calls(call(None, "a", "Read", '{"path"')), calls(call(None, "a", None, ':"1"}')), STOP],
        {},
        ["S0 tool_use(a,Read)", 'D0 {"path"', 'D0 :"1"}', "X0", *TOOL_END],
    ),
    (
        "no index, no id, names",
        [calls(call(name="Read", arguments=J1)), calls(call(name="Read", arguments=J2)), STOP],
        {},
        two("toolu_new1", "toolu_new2"),
    ),
    (
        "several in one chunk without index",
        [calls(call(name="Read", arguments=J1), call(name="Read", arguments=J2)), STOP],
        {},
        two("toolu_new1", "toolu_new2"),
    ),
    (
        "no index, no id, no name",
        [calls(call(None, "a", "Read", '{"path"')), calls(call(arguments=':"1"}')), STOP],
        {},
        ["S0 tool_use(a,Read)", 'D0 {"path"', 'D0 :"1"}', "X0", *TOOL_END],
    ),
    (
        "same index, new name",
        [calls(call(0, None, "Read", J1)), calls(call(0, None, "Read", J2)), STOP],
        {},
        two("toolu_new1", "toolu_new2"),
    ),
    (
        "id and name on every fragment",
        [calls(call(0, "a", "Read", part)) for part in ('{"pa', 'th":', '"1"}')] + [STOP],
        {},
        ["S0 tool_use(a,Read)", 'D0 {"pa', 'D0 th":', 'D0 "1"}', "X0", *TOOL_END],
    ),
    (
        "name on every fragment",
        [calls(call(0, None, "Read", part)) for part in ('{"pa', 'th":', '"1"}')] + [STOP],
        {},
        ["S0 tool_use(toolu_new1,Read)", 'D0 {"pa', 'D0 th":', 'D0 "1"}', "X0", *TOOL_END],
    ),
    (
        "an id of its own on every fragment",
        [
            calls(call(0, "a", "Read", '{"path"')),
            calls(call(0, "q", None, ':"1"')),
            calls(call(0, "r", None, "}")),
            STOP,
        ],
        {},
        ["S0 tool_use(a,Read)", 'D0 {"path"', 'D0 :"1"', "D0 }", "X0", *TOOL_END],
    ),
    (
        "name in two pieces",
        [calls(call(0, "a", "Re", "")), calls(call(0, None, "ad", "")), calls(call(0, arguments=J1)), STOP],
        {},
        ONE,
    ),
    (
        "name grows",
        [calls(call(0, "a", "Re", "")), calls(call(0, "a", "Read", "")), calls(call(0, arguments=J1)), STOP],
        {},
        ONE,
    ),
    (
        "name after the id",
        [calls(call(0, "a")), calls(call(0, None, "Read")), calls(call(0, arguments=J1)), STOP],
        {},
        ONE,
    ),
    (
        "arguments as object",
        [calls(call(0, "a", "Read", {"path": "1"})), STOP],
        {},
        ["S0 tool_use(a,Read)", 'D0 {"path": "1"}', "X0", *TOOL_END],
    ),
    (
        "arguments as growing object",
        [calls(call(0, "a", "Read", {"path": ""})), calls(call(0, "a", None, {"path": "1"})), STOP],
        {},
        ["S0 tool_use(a,Read)", 'D0 {"path": "1"}', "X0", *TOOL_END],
    ),
    ("placeholder arguments", [calls(call(0, "a", "Read", "{}")), calls(call(0, arguments=J1)), STOP], {}, ONE),
    (
        "placeholder arguments, name repeated",
        [calls(call(0, None, "Read", "{}")), calls(call(0, None, "Read", J1)), STOP],
        {},
        ["S0 tool_use(toolu_new1,Read)", "D0 " + J1, "X0", *TOOL_END],
    ),
    (
        "no arguments",
        [calls(call(0, "a", "Ping")), calls(call(0)), STOP],
        {},
        ["S0 tool_use(a,Ping)", "D0 {}", "X0", *TOOL_END],
    ),
    (
        "no arguments, then text",
        [calls(call(0, "a", "Ping", "")), text("x"), STOP],
        {},
        ["S0 tool_use(a,Ping)", "D0 {}", "X0", "S1 text", "D1 x", "X1", *TOOL_END],
    ),
    (
        "tool_calls null and empty",
        [chunk({"content": "x", "tool_calls": None}), chunk({"content": "y", "tool_calls": []}), STOP],
        {},
        ["S0 text", "D0 x", "D0 y", "X0", *END],
    ),
    (
        "function_call",
        [
            chunk({"function_call": {"name": "Read", "arguments": ""}}),
            chunk({"function_call": {"arguments": J1}}),
            chunk({}, "function_call"),
        ],
        {},
        ["S0 tool_use(toolu_new1,Read)", "D0 " + J1, "X0", *TOOL_END],
    ),
    ("two objects in one call", [calls(call(0, "a", "Read", J1 + J2)), STOP], {}, two("a", "toolu_new1")),
    (
        "two objects in one call, cut",
        [calls(call(0, "a", "Read", J1 + '{"pa')), calls(call(0, arguments='th":"2"}')), STOP],
        {},
        two("a", "toolu_new1"),
    ),
    ("a brace too many", [calls(call(0, "a", "Read", J1)), calls(call(0, arguments="}")), STOP], {}, ONE),
    ("the whole call again", [calls(call(0, "a", "Read", J1)), calls(call(0, "a", "Read", J1)), STOP], {}, ONE),
    ("duplicate ids", [calls(call(0, "a", "Read", J1), call(1, "a", "Read", J2)), STOP], {}, two("a", "toolu_new1")),
    (
        "id of an earlier turn",
        [calls(call(0, "a", "Read", J1)), STOP],
        {"known_tool_ids": {"a"}},
        ["S0 tool_use(toolu_new1,Read)", *ONE[1:]],
    ),
    (
        "Kimi's id",
        [calls(call(0, "functions.Read:0", "Read", J1)), STOP],
        {},
        ["S0 tool_use(toolu_new1,Read)", *ONE[1:]],
    ),
    ("empty id", [calls(call(0, "", "Read", J1)), STOP], {}, ["S0 tool_use(toolu_new1,Read)", *ONE[1:]]),
    (
        "one call allowed",
        [calls(call(0, "a", "Read", J1), call(1, "b", "Read", J2)), STOP],
        {"single_tool_call": True},
        ONE,
    ),
    ("name in another case", [calls(call(0, "a", "read", J1)), STOP], {}, ONE),
    ("name with a prefix", [calls(call(0, "a", "functions.read", J1)), STOP], {}, ONE),
    ("mapped name", [calls(call(0, "a", "short_1", J1)), STOP], {"tool_names": {"short_1": "Read"}}, ONE),
    ("unknown name", [calls(call(0, "a", " Foo ", J1)), STOP], {}, ["S0 tool_use(a,Foo)", *ONE[1:]]),
    (
        "invalid arguments",
        [calls(call(0, "a", "Read", "not")), calls(call(0, arguments=" json")), STOP],
        {},
        ["S0 tool_use(a,Read)", 'D0 {"__raw_arguments": "not json"}', "X0", *TOOL_END],
    ),
    (
        "buffered repair",
        [calls(call(0, "a", "Read", '{"path":')), calls(call(0, arguments='"1",}')), STOP],
        {"buffer_tool_args": True},
        ONE,
    ),
]
