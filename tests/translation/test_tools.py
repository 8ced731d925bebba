import json

import pytest

from providers.translation.dialect import Dialect
from providers.translation.request import InvalidRequest
from tests.translation.conversations import READ, assistant, result, translate, use, user

WEB_SEARCH = {"type": "web_search_20250305", "name": "web_search", "max_uses": 8}
PLACEHOLDER = {"name": "DeferredToolPlaceholder", "description": "d", "input_schema": {}, "defer_loading": True}
LONG = "mcp__a_server_with_a_long_name__" + "tool_" * 20


def tool(name: str, schema=..., **extra) -> dict:
    definition = {"name": name, "description": f"{name} tool", **extra}
    if schema is not ...:
        definition["input_schema"] = schema
    return definition


def functions(*tools, dialect=None, messages=(), **extra) -> list[dict]:
    body = translate(*messages, dialect=dialect, tools=list(tools), **extra).body
    return [tool["function"] for tool in body.get("tools", [])]


def names(*tools, **extra) -> list[str]:
    return [function["name"] for function in functions(*tools, **extra)]


@pytest.mark.parametrize(
    ("schema", "expected"),
    [
        (..., {"type": "object", "properties": {}}),
        (None, {"type": "object", "properties": {}}),
        ({}, {"type": "object", "properties": {}}),
        ("x", {"type": "object", "properties": {}}),
        ({"type": "object"}, {"type": "object", "properties": {}}),
        ({"type": "object", "properties": None}, {"type": "object", "properties": {}}),
        ({"anyOf": [{}]}, {"anyOf": [{}], "type": "object", "properties": {}}),
        (
            {"$schema": "s", "$id": "i", "type": "object", "properties": {}, "additionalProperties": False},
            {"type": "object", "properties": {}, "additionalProperties": False},
        ),
        (
            {"type": "object", "properties": {"$id": {"type": "string"}, "a": {"$schema": "s", "type": "string"}}},
            {"type": "object", "properties": {"$id": {"type": "string"}, "a": {"type": "string"}}},
        ),
    ],
)
def test_schema_is_always_an_object_schema_without_dialect_keys(schema, expected):
    definition = tool("T", schema)
    before = json.dumps(definition)
    [function] = functions(definition)
    assert function == {"name": "T", "description": "T tool", "parameters": expected}
    assert json.dumps(definition) == before


def test_keys_for_anthropic_do_not_leak():
    extra = {
        "type": "custom",
        "cache_control": {"type": "ephemeral"},
        "eager_input_streaming": True,
        "input_examples": [{}],
        "allowed_callers": ["direct"],
        "strict": True,
    }
    [function] = functions({**READ, **extra})
    assert set(function) == {"name", "description", "parameters"}


@pytest.mark.parametrize(
    ("schema", "is_strict"),
    [
        ({"type": "object", "properties": {"a": {}}, "required": ["a"], "additionalProperties": False}, True),
        ({"type": "object", "properties": {"a": {}}, "required": [], "additionalProperties": False}, False),
        ({"type": "object", "properties": {"a": {}}, "required": ["a"]}, False),
        (
            {
                "type": "object",
                "properties": {"a": {"type": "array", "items": {"type": "object", "properties": {}}}},
                "required": ["a"],
                "additionalProperties": False,
            },
            False,
        ),
    ],
)
def test_strict_goes_out_only_if_the_schema_qualifies(schema, is_strict):
    [function] = functions(tool("T", schema, strict=True), dialect=Dialect(strict_json=True))
    assert function.get("strict", False) is is_strict


def test_description_is_a_string():
    assert [f["description"] for f in functions({"name": "A"}, {"name": "B", "description": None})] == ["", ""]


@pytest.mark.parametrize("tools", [[], None, "x", [None], [{}], [{"name": ""}], [{"name": 5}], {"name": "x"}])
def test_without_usable_tools_all_tool_fields_are_left_out(tools):
    body = translate(tools=tools, tool_choice={"type": "auto", "disable_parallel_tool_use": True}).body
    assert not {"tools", "tool_choice", "parallel_tool_calls"} & set(body)


def test_first_of_two_tools_with_one_name_is_kept():
    assert [f["description"] for f in functions(tool("A"), {**tool("A"), "description": "second"})] == ["A tool"]


def test_long_and_odd_names_are_mapped_alike_everywhere():
    request = translate(
        user("q"),
        assistant(use("a", LONG), use("b", "my.tool")),
        user(result("a"), result("b")),
        tools=[tool(LONG), tool("my.tool")],
        tool_choice={"type": "tool", "name": LONG},
    )
    long_name, odd_name = (t["function"]["name"] for t in request.body["tools"])
    assert len(long_name) == 64
    assert long_name.startswith(LONG[:55] + "_")
    assert odd_name == "my_tool"
    assert request.tool_names == {long_name: LONG, odd_name: "my.tool"}
    assert [c["function"]["name"] for c in request.body["messages"][1]["tool_calls"]] == [long_name, odd_name]
    assert request.body["tool_choice"]["function"]["name"] == long_name
    assert set(request.tool_schemas) == {LONG, "my.tool"}


def test_names_that_would_collide_stay_apart():
    request = translate(tools=[tool("a_b"), tool("a.b"), tool("a b")])
    sent_names = [t["function"]["name"] for t in request.body["tools"]]
    assert len(set(sent_names)) == 3
    assert [request.tool_names.get(name, name) for name in sent_names] == ["a_b", "a.b", "a b"]


def test_name_that_dashscope_refuses_is_mapped():
    request = translate(tools=[tool("search")], dialect=Dialect(thinking_dialect="dashscope"))
    [sent_tool] = request.body["tools"]
    assert sent_tool["function"]["name"] != "search"
    assert request.tool_names == {sent_tool["function"]["name"]: "search"}


@pytest.mark.parametrize(
    ("definition", "name", "properties"),
    [
        ({"type": "bash_20250124", "name": "bash"}, "bash", {"command", "restart"}),
        (
            {"type": "text_editor_20250124", "name": "str_replace_editor"},
            "str_replace_editor",
            {"command", "path", "file_text", "old_str", "new_str", "insert_line", "view_range"},
        ),
        (
            {"type": "text_editor_20250728", "name": "str_replace_based_edit_tool"},
            "str_replace_based_edit_tool",
            {"command", "path", "file_text", "old_str", "new_str", "insert_line", "insert_text", "view_range"},
        ),
        (
            {"type": "memory_20250818", "name": "memory"},
            "memory",
            {"command", "path", "view_range", "file_text", "old_str", "new_str", "insert_line", "insert_text"}
            | {"old_path", "new_path"},
        ),
    ],
)
def test_typed_tools_of_the_client_become_functions(definition, name, properties):
    [function] = functions(definition)
    assert function["name"] == name
    assert set(function["parameters"]["properties"]) == properties


def test_undo_is_offered_only_by_the_first_editor():
    [old] = functions({"type": "text_editor_20250124", "name": "e"})
    [new] = functions({"type": "text_editor_20250429", "name": "e"})
    assert "undo_edit" in old["parameters"]["properties"]["command"]["enum"]
    assert "undo_edit" not in new["parameters"]["properties"]["command"]["enum"]


@pytest.mark.parametrize(
    "definition",
    [
        {"type": "computer_20250124", "name": "computer", "display_width_px": 1},
        {"type": "browser_toolset_20260801"},
        WEB_SEARCH,
    ],
)
def test_tools_nobody_can_run_are_dropped_and_named(definition):
    request = translate(tools=[READ, definition])
    assert [t["function"]["name"] for t in request.body["tools"]] == ["Read"]
    assert request.dropped_fields == [f"tools.{definition['type']}"]
    assert request.local_text is None


@pytest.mark.parametrize(
    ("tools", "choice", "word"),
    [
        ([WEB_SEARCH], None, "search the web"),
        ([WEB_SEARCH], {"type": "auto"}, "search the web"),
        ([WEB_SEARCH], {"type": "any"}, "search the web"),
        ([WEB_SEARCH], {"type": "tool", "name": "web_search"}, "search the web"),
        ([WEB_SEARCH, READ], {"type": "tool", "name": "web_search"}, "search the web"),
        ([{"type": "web_fetch_20250910", "name": "web_fetch"}], None, "fetch web pages"),
        ([{"type": "code_execution_20250825", "name": "code_execution"}], None, "run code"),
        ([WEB_SEARCH], {"type": "none"}, None),
        ([WEB_SEARCH, READ], {"type": "any"}, None),
        ([{"type": "tool_search_tool_regex_20251119", "name": "tool_search_tool_regex"}], None, None),
    ],
)
def test_request_for_a_server_tool_alone_is_answered_here(tools, choice, word):
    request = translate(tools=tools, tool_choice=choice)
    if word is None:
        assert request.local_text is None
    else:
        assert request.local_text is not None
        assert word in request.local_text


@pytest.mark.parametrize(
    ("messages", "extra", "expected"),
    [
        ((), {}, ["Read"]),
        (
            (
                user("q"),
                assistant(use("a", "ToolSearch")),
                user(result("a", [{"type": "tool_reference", "tool_name": "Cron"}])),
            ),
            {},
            ["Read", "Cron"],
        ),
        ((user("q"), assistant(use("a", "Cron")), user(result("a"))), {}, ["Read", "Cron"]),
        ((), {"tool_choice": {"type": "tool", "name": "Cron"}}, ["Read", "Cron"]),
        (
            (
                user("q"),
                {
                    "role": "system",
                    "content": [{"type": "tool_addition", "tool": {"type": "tool_reference", "tool_name": "Cron"}}],
                },
            ),
            {},
            ["Read", "Cron"],
        ),
    ],
)
def test_deferred_tools_are_offered_once_they_are_known(messages, extra, expected):
    assert names(READ, tool("Cron", defer_loading=True), PLACEHOLDER, messages=messages, **extra) == expected


def test_deferred_tools_are_all_offered_when_the_client_relies_on_a_tool_search():
    search = {"type": "tool_search_tool_bm25_20251119", "name": "tool_search_tool_bm25"}
    assert names(search, READ, tool("Cron", defer_loading=True), PLACEHOLDER) == ["Read", "Cron"]


def test_tool_defined_in_mid_conversation_is_offered():
    addition = {"type": "tool_addition", "tool": {"type": "tool_definition", "definition": tool("Late")}}
    assert names(READ, messages=(user("q"), {"role": "system", "content": [addition]})) == ["Read", "Late"]


@pytest.mark.parametrize(
    ("choice", "expected"),
    [
        (None, None),
        ({"type": "auto"}, "auto"),
        ({"type": "any"}, "required"),
        ({"type": "none"}, "none"),
        ({"type": "tool", "name": "Read"}, {"type": "function", "function": {"name": "Read"}}),
        ("auto", None),
        ([], None),
        ({"type": "x"}, None),
    ],
)
def test_tool_choice(choice, expected):
    assert translate(tools=[READ], tool_choice=choice).body.get("tool_choice") == expected


@pytest.mark.parametrize(
    ("choice", "line"),
    [({"type": "any"}, "one of the tools"), ({"type": "tool", "name": "Read"}, "the tool Read")],
)
def test_choice_that_cannot_be_forced_becomes_a_line_of_the_system_prompt(choice, line):
    body = translate(system="base", tools=[READ], tool_choice=choice, dialect=Dialect(forced_tools=False)).body
    assert body["tool_choice"] == "auto"
    assert body["messages"][0]["content"].startswith("base\n\n")
    assert line in body["messages"][0]["content"]


@pytest.mark.parametrize(
    "choice",
    [{"type": "tool", "name": "Nope"}, {"type": "tool"}, {"type": "tool", "name": 5}, {"type": "tool", "name": ""}],
)
def test_choice_of_an_unknown_tool_is_refused(choice):
    with pytest.raises(InvalidRequest, match=r"tool_choice\.name"):
        translate(tools=[READ], tool_choice=choice)


@pytest.mark.parametrize(("dialect", "sent"), [(None, False), (Dialect(parallel_tool_calls=False), None)])
def test_disable_parallel_tool_use(dialect, sent):
    choice = {"type": "auto", "disable_parallel_tool_use": True}
    request = translate(tools=[READ], tool_choice=choice, dialect=dialect)
    assert request.body.get("parallel_tool_calls") is sent
    assert request.single_tool_call


def test_ollama_ignores_tool_choice_none_so_it_gets_no_tools():
    body = translate(tools=[READ], tool_choice={"type": "none"}, dialect=Dialect(thinking_dialect="ollama")).body
    assert "tools" not in body


def test_tools_are_withheld_from_a_model_known_to_have_none():
    request = translate(tools=[READ], tool_choice={"type": "any"}, option={"capabilities": frozenset({"vision"})})
    assert "tools" not in request.body
    assert "tools" in request.dropped_fields


NESTED = {
    "type": "object",
    "properties": {
        "a": {"type": ["string", "null"], "format": "uri", "pattern": "x(?=y)"},
        "b": {"$ref": "#/$defs/node"},
        "c": {"const": 1, "exclusiveMinimum": 0, "pattern": "^[a-z]+$"},
        "format": {"type": "string", "format": "date-time"},
    },
    "$defs": {"node": {"type": "object", "properties": {"next": {"$ref": "#/$defs/node"}}}},
    "additionalProperties": False,
}


def test_schema_for_gemini():
    [function] = functions(tool("T", NESTED), dialect=Dialect(schema_sanitizer="gemini"))
    parameters = function["parameters"]
    assert "additionalProperties" not in parameters
    assert parameters["properties"]["a"] == {"type": "string", "nullable": True, "pattern": "x(?=y)"}
    assert parameters["properties"]["c"] == {"enum": [1], "pattern": "^[a-z]+$"}
    assert parameters["properties"]["format"] == {"type": "string", "format": "date-time"}


def test_schema_for_llama_has_its_references_resolved():
    [function] = functions(tool("T", NESTED), dialect=Dialect(schema_sanitizer="llama"))
    properties = function["parameters"]["properties"]
    assert properties["a"] == {"type": ["string", "null"], "format": "uri"}
    assert properties["b"] == {"type": "object", "properties": {"next": {"type": "object"}}}
    assert properties["c"]["pattern"] == "^[a-z]+$"
    assert "$ref" not in json.dumps(function)


def test_references_that_multiply_are_cut_off():
    definitions = {
        f"d{n}": {"type": "object", "properties": {k: {"$ref": f"#/$defs/d{n + 1}"} for k in "ab"}} for n in range(40)
    }
    schema = {"type": "object", "properties": {"x": {"$ref": "#/$defs/d0"}}, "$defs": definitions}
    [function] = functions(tool("T", schema), dialect=Dialect(schema_sanitizer="llama"))
    assert len(json.dumps(function)) < 200_000


@pytest.mark.parametrize("sanitizer", ["none", "gemini", "llama"])
@pytest.mark.parametrize("key", ["properties", "default"])
def test_schema_nested_beyond_encoders_is_refused(sanitizer, key):
    schema: dict = {"type": "string"}
    for _ in range(500):
        schema = {"type": "object", key: {"a": schema}}
    with pytest.raises(InvalidRequest, match=r"tools\.0\.input_schema"):
        functions(tool("T", schema), dialect=Dialect(schema_sanitizer=sanitizer))
