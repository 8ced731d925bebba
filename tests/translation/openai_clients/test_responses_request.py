import base64
import json
from typing import Any

import pytest

from providers.translation.openai_clients.responses_request import from_responses
from providers.translation.request import to_chat_request
from providers.translation.validation import InvalidRequest, validate
from tests.translation.conversations import options

PNG = base64.b64encode(b"\x89PNG\r\n\x1a\n0000").decode()
READ = {"type": "function", "name": "Read", "parameters": {"type": "object", "properties": {"path": {}}}}


def body(items: Any = "hi", **members: Any) -> dict[str, Any]:
    """Return the Messages body, which must pass the checks of a Messages request and be translatable."""
    found = from_responses({"model": "m", "input": items, **members}).body
    validate({"max_tokens": 100, **found})
    return found


def messages(*items: Any, **members: Any) -> list[dict[str, Any]]:
    return body(list(items), **members)["messages"]


def refusal(document: dict[str, Any]) -> str:
    with pytest.raises(InvalidRequest) as caught:
        from_responses({"model": "m", "input": "hi", **document})
    return caught.value.message


def user(text: str) -> dict[str, Any]:
    return {"type": "message", "role": "user", "content": [{"type": "input_text", "text": text}]}


def called(call_id: str, arguments: str = '{"path": "x"}', name: str = "Read") -> dict[str, Any]:
    return {"type": "function_call", "call_id": call_id, "name": name, "arguments": arguments}


def output(call_id: str, result: Any = "done") -> dict[str, Any]:
    return {"type": "function_call_output", "call_id": call_id, "output": result}


def text(value: str) -> dict[str, Any]:
    return {"type": "text", "text": value}


def use(call_id: str, **tool_input: Any) -> dict[str, Any]:
    return {"type": "tool_use", "id": call_id, "name": "Read", "input": tool_input or {"path": "x"}}


def result(call_id: str, content: Any = "done") -> dict[str, Any]:
    return {"type": "tool_result", "tool_use_id": call_id, "content": content}


def test_a_string_is_one_user_message():
    assert body("hi") == {"model": "m", "messages": [{"role": "user", "content": [text("hi")]}]}


def test_instructions_and_leading_developer_messages_are_the_system_prompt():
    found = body(
        [{"role": "developer", "content": "first"}, {"role": "system", "content": "second"}, user("hi")],
        instructions="be brief",
    )
    assert found["system"] == [text("be brief"), text("first"), text("second")]
    assert found["messages"] == [{"role": "user", "content": [text("hi")]}]


def test_a_later_developer_message_stays_where_it_is():
    found = messages(user("a"), {"role": "assistant", "content": "b"}, {"role": "developer", "content": "c"}, user("d"))
    assert [message["role"] for message in found] == ["user", "assistant", "system", "user"]


def test_a_tool_loop_alternates_calls_and_results():
    found = messages(user("a"), called("c1"), output("c1"), called("c2"), output("c2", "more"), user("b"))
    assert found == [
        {"role": "user", "content": [text("a")]},
        {"role": "assistant", "content": [use("c1")]},
        {"role": "user", "content": [result("c1")]},
        {"role": "assistant", "content": [use("c2")]},
        {"role": "user", "content": [result("c2", "more"), text("b")]},
    ]


def test_results_of_parallel_calls_stand_together_in_the_order_of_the_calls():
    found = messages(user("a"), called("c1"), called("c2"), output("c2", "2"), user("b"), output("c1", "1"))
    assert found[1:] == [
        {"role": "assistant", "content": [use("c1"), use("c2")]},
        {"role": "user", "content": [result("c1", "1"), result("c2", "2"), text("b")]},
    ]


def test_a_call_without_output_and_an_output_without_call_are_told_as_such():
    found = messages(user("a"), called("c1"), user("b"), output("c9", "lost"))
    assert found[2]["content"] == [
        result("c1", "[no result: interrupted]"),
        text("b"),
        text("Tool result (c9):"),
        text("lost"),
    ]


def test_an_id_used_again_in_a_later_turn_is_another_call():
    found = messages(user("a"), called("c1"), output("c1", "1"), user("b"), called("c1"), output("c1", "2"))
    assert found[3]["content"] == [use("c1_2")]
    assert found[4]["content"] == [result("c1_2", "2")]


def test_ids_the_messages_api_refuses_are_replaced_on_both_sides():
    found = messages(user("a"), called("functions.Read:0"), output("functions.Read:0"))
    call, answer = found[1]["content"][0], found[2]["content"][0]
    assert call["id"] == answer["tool_use_id"]
    assert call["id"].isascii()
    assert set(call["id"]).isdisjoint(".:")


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [("", {}), ('{"a": 123456789012345678901}', {"a": 123456789012345678901}), ("{'a", {"__raw_arguments": "{'a"})],
)
def test_arguments_are_an_object(arguments: str, expected: dict[str, Any]):
    assert messages(user("a"), called("c1", arguments), output("c1"))[1]["content"][0]["input"] == expected


def test_an_output_may_hold_images():
    parts = [
        {"type": "input_text", "text": "see"},
        {"type": "input_image", "image_url": f"data:image/jpeg;base64,{PNG}", "detail": "auto"},
    ]
    content = messages(user("a"), called("c1"), output("c1", parts))[2]["content"][0]["content"]
    assert content[0] == text("see")
    # What the bytes are counts more than what the client calls them.
    assert content[1]["source"] == {"type": "base64", "media_type": "image/png", "data": PNG}


def test_images_and_files_of_a_user_message():
    pdf = base64.b64encode(b"%PDF-1.7").decode()
    notes = base64.b64encode("né".encode()).decode()
    content = messages(
        {
            "role": "user",
            "content": [
                {"type": "input_image", "image_url": "https://i.example/a.png", "detail": "low"},
                {"type": "input_file", "file_data": f"data:application/pdf;base64,{pdf}", "filename": "a.pdf"},
                {"type": "input_file", "file_data": f"data:text/plain;base64,{notes}", "filename": "n.txt"},
                {"type": "input_file", "file_url": "https://f.example/a.pdf"},
            ],
        }
    )[0]["content"]
    assert content == [
        {"type": "image", "source": {"type": "url", "url": "https://i.example/a.png"}},
        {
            "type": "document",
            "source": {"type": "base64", "media_type": "application/pdf", "data": pdf},
            "title": "a.pdf",
        },
        {"type": "document", "source": {"type": "text", "media_type": "text/plain", "data": "né"}, "title": "n.txt"},
        {"type": "document", "source": {"type": "url", "url": "https://f.example/a.pdf"}},
    ]


def test_an_assistant_message_keeps_text_and_refusal_and_drops_blank_text():
    found = messages(
        user("a"),
        {
            "type": "message",
            "id": "msg_1",
            "role": "assistant",
            "status": "completed",
            "content": [
                {"type": "output_text", "text": "b", "annotations": []},
                {"type": "output_text", "text": " ", "annotations": []},
                {"type": "refusal", "refusal": "no"},
            ],
        },
        user("c"),
    )
    assert found[1]["content"] == [text("b"), text("no")]


def test_reasoning_of_another_service_is_left_out():
    foreign = {"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": "gAAAAB"}
    form = from_responses({"model": "m", "input": [user("a"), foreign, called("c1"), output("c1")]})
    assert form.body["messages"][1]["content"] == [use("c1")]
    assert form.dropped_fields == ["input.reasoning"]


def test_reasoning_that_nothing_followed_is_left_out():
    ours = {"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": "wg1.abc"}
    assert messages(user("a"), ours, user("b")) == [
        {"role": "user", "content": [text("a")]},
        {"role": "user", "content": [text("b")]},
    ]


def test_custom_tools_take_text_in_a_wrapper():
    tool = {
        "type": "custom",
        "name": "apply_patch",
        "description": "Edit files.",
        "format": {"type": "grammar", "syntax": "lark", "definition": "start: begin"},
    }
    items = [
        user("a"),
        {"type": "custom_tool_call", "call_id": "c1", "name": "apply_patch", "input": "*** Begin"},
        {"type": "custom_tool_call_output", "call_id": "c1", "output": "ok"},
    ]
    found = body(items, tools=[tool])
    assert "start: begin" in found["tools"][0]["description"]
    assert found["tools"][0]["input_schema"]["required"] == ["input"]
    assert found["messages"][1]["content"][0]["input"] == {"input": "*** Begin"}
    assert found["messages"][2]["content"] == [result("c1", "ok")]


TYPED = [
    (
        "local_shell",
        {"type": "local_shell_call", "id": "l1", "call_id": "c1", "status": "completed",
         "action": {"type": "exec", "command": ["ls"], "env": {}}},
        {"type": "local_shell_call_output", "id": "l1", "output": "a.txt"},
        {"command": ["ls"]},
        "a.txt",
    ),
    (
        "shell",
        {"type": "shell_call", "call_id": "c1", "action": {"commands": ["ls", "false"], "timeout_ms": 5}},
        {"type": "shell_call_output", "call_id": "c1", "output": [
            {"stdout": "a", "stderr": "", "outcome": {"type": "exit", "exit_code": 0}},
            {"stdout": "", "stderr": "b", "outcome": {"type": "exit", "exit_code": 1}},
            {"stdout": "", "stderr": "", "outcome": {"type": "timeout"}},
        ]},
        {"commands": ["ls", "false"], "timeout_ms": 5},
        "a\nb\n[exit code 1]\n[timed out]",
    ),
    (
        "apply_patch",
        {"type": "apply_patch_call", "call_id": "c1", "status": "completed",
         "operation": {"type": "delete_file", "path": "a"}},
        {"type": "apply_patch_call_output", "call_id": "c1", "status": "failed"},
        {"type": "delete_file", "path": "a"},
        "failed",
    ),
    (
        "tool_search",
        {"type": "tool_search_call", "call_id": "c1", "execution": "client", "arguments": {"query": "q"}},
        {"type": "tool_search_output", "call_id": "c1", "execution": "client", "tools": [READ]},
        {"query": "q"},
        "Tools found:\nRead",
    ),
]  # fmt: skip


@pytest.mark.parametrize(("kind", "call", "answer", "tool_input", "content"), TYPED)
def test_typed_tools_of_the_client_are_ordinary_tools(
    kind: str, call: dict[str, Any], answer: dict[str, Any], tool_input: dict[str, Any], content: str
):
    found = body([user("a"), call, answer], tools=[{"type": kind, "execution": "client"}])
    assert found["tools"][0]["name"] == kind
    assert found["tools"][0]["input_schema"]["type"] == "object"
    assert found["messages"][1]["content"][0] | {"id": "c1"} == {
        "type": "tool_use", "id": "c1", "name": kind, "input": tool_input
    }  # fmt: skip
    assert found["messages"][2]["content"][0]["content"] == content


def test_tools_that_a_search_found_are_offered_from_then_on():
    search, answer = TYPED[3][1], TYPED[3][2]
    found = body([user("a"), search, answer], tools=[{"type": "tool_search", "execution": "client"}])
    assert [tool["name"] for tool in found["tools"]] == ["tool_search", "Read"]


def test_tools_of_a_namespace_are_found_and_added_by_the_names_they_are_called_by():
    space = {"type": "namespace", "name": "agents", "description": "", "tools": [{**READ, "name": "spawn"}]}
    search, answer = TYPED[3][1], {**TYPED[3][2], "tools": [space]}
    added = {"type": "additional_tools", "role": "developer", "tools": [{**space, "name": "mcp__files__"}]}
    spawn = {"type": "function_call", "namespace": "agents", **called("c2", "{}", "spawn")}
    found = body([added, user("a"), search, answer, spawn, output("c2")])
    assert [tool["name"] for tool in found["tools"]] == ["mcp__files__spawn", "agents__spawn"]
    assert found["messages"][2]["content"][0]["content"] == "Tools found:\nagents__spawn"
    assert found["messages"][3]["content"][0]["name"] == "agents__spawn"


def test_hosted_tools_are_left_out_and_web_search_is_anthropics():
    form = from_responses(
        {
            "model": "m",
            "input": "hi",
            "max_tool_calls": 3,
            "tools": [
                READ,
                {
                    "type": "web_search",
                    "filters": {"allowed_domains": ["a.example"]},
                    "user_location": {"type": "approximate", "country": "DE"},
                },
                {"type": "file_search", "vector_store_ids": ["v"]},
                {"type": "shell", "environment": {"type": "container_auto"}},
            ],
        }
    )
    assert [tool["name"] for tool in form.body["tools"]] == ["Read", "web_search"]
    assert form.body["tools"][1] == {
        "type": "web_search_20250305",
        "name": "web_search",
        "allowed_domains": ["a.example"],
        "user_location": {"type": "approximate", "country": "DE"},
        "max_uses": 3,
    }
    assert form.dropped_fields == ["tools.file_search", "tools.shell"]


def test_what_hosted_tools_did_is_told_in_words():
    search = {
        "type": "web_search_call",
        "id": "ws_1",
        "status": "completed",
        "action": {"type": "search", "query": "weather"},
    }
    assert messages(user("a"), search, user("b"))[1]["content"] == [text("[web search: weather]")]


def test_long_names_of_namespaces_are_cut_and_stay_apart():
    tools = [{**READ, "name": "x" * 60 + end} for end in "ab"]
    found = body(tools=[{"type": "namespace", "name": "n" * 90, "description": "", "tools": tools}])
    names = [tool["name"] for tool in found["tools"]]
    assert len(set(names)) == 2
    assert all(len(name) <= 128 for name in names)


CHOICES = [
    ("auto", None),
    ("none", {"type": "none"}),
    ("required", {"type": "any"}),
    ({"type": "function", "name": "Read"}, {"type": "tool", "name": "Read"}),
    ({"type": "custom", "name": "patch"}, {"type": "tool", "name": "patch"}),
    ({"type": "web_search_preview"}, {"type": "tool", "name": "web_search"}),
]


@pytest.mark.parametrize(("choice", "expected"), CHOICES)
def test_tool_choices(choice: Any, expected: Any):
    tools = [READ, {"type": "custom", "name": "patch"}, {"type": "web_search"}]
    assert body(tools=tools, tool_choice=choice).get("tool_choice") == expected


@pytest.mark.parametrize(("mode", "expected"), [("auto", None), ("required", {"type": "any"})])
def test_allowed_tools_narrow_the_tools(mode: str, expected: Any):
    choice = {"type": "allowed_tools", "mode": mode, "tools": [{"type": "function", "name": "Read"}]}
    found = body(tools=[READ, {**READ, "name": "Write"}], tool_choice=choice)
    assert [tool["name"] for tool in found["tools"]] == ["Read"]
    assert found.get("tool_choice") == expected


def test_parallel_calls_may_be_forbidden():
    found = body(tools=[READ], parallel_tool_calls=False)
    assert found["tool_choice"] == {"type": "auto", "disable_parallel_tool_use": True}


def test_calls_of_tools_that_are_no_longer_offered_are_still_defined():
    found = body([user("a"), called("c1"), output("c1")])
    assert [tool["name"] for tool in found["tools"]] == ["Read"]
    assert found["tool_choice"] == {"type": "none"}


REASONING = [
    (None, None, None),
    ({}, None, None),
    ({"effort": "none"}, {"type": "disabled"}, None),
    ({"effort": "minimal"}, {"type": "adaptive", "display": "omitted"}, "low"),
    ({"effort": "xhigh", "summary": "auto"}, {"type": "adaptive", "display": "summarized"}, "xhigh"),
    ({"summary": "auto"}, {"type": "adaptive", "display": "summarized"}, None),
]


@pytest.mark.parametrize(("reasoning", "thinking", "effort"), REASONING)
def test_reasoning(reasoning: Any, thinking: Any, effort: Any):
    found = body(reasoning=reasoning)
    assert found.get("thinking") == thinking
    assert found.get("output_config", {}).get("effort") == effort


def test_structured_output():
    schema = {"type": "object", "properties": {}}
    wanted = {"type": "json_schema", "name": "n", "schema": schema, "strict": True}
    assert body(text={"format": wanted, "verbosity": "low"})["output_config"] == {
        "format": {"type": "json_schema", "schema": schema}
    }
    assert "JSON object" in body(text={"format": {"type": "json_object"}})["system"][0]["text"]
    assert body(text={"format": {"type": "text"}}) == body()


def test_limits_and_identity():
    found = body(max_output_tokens=50, temperature=0.3, top_p=0.9, user="u", service_tier="flex", stream=True)
    assert found["max_tokens"] == 50
    assert (found["temperature"], found["top_p"]) == (0.3, 0.9)
    assert found["metadata"] == {"user_id": "u"}
    assert found["service_tier"] == "standard_only"
    assert found["stream"] is True


def test_members_without_meaning_here_are_ignored_and_unknown_ones_noted():
    form = from_responses(
        {
            "model": "m",
            "input": "hi",
            "store": False,
            "include": ["reasoning.encrypted_content"],
            "metadata": {"a": "b"},
            "truncation": "auto",
            "client_metadata": {},
            "future": 1,
        }
    )
    assert form.body == body()
    assert form.dropped_fields == ["future"]


def test_a_named_cache_marks_the_instructions_and_the_end():
    found = body([user("a"), called("c1"), output("c1")], instructions="i", prompt_cache_key="k")
    mark = {"type": "ephemeral"}
    assert found["system"][0]["cache_control"] == mark
    assert found["messages"][-1]["content"][-1]["cache_control"] == mark
    assert json.dumps(found).count("cache_control") == 2


def test_the_clients_own_cache_marks_count_and_at_most_four_of_them():
    part = {"type": "input_text", "text": "x", "prompt_cache_breakpoint": {"mode": "explicit", "ttl": "12h"}}
    found = messages({"role": "user", "content": [part] * 6}, prompt_cache_key="k")[0]["content"]
    assert [block.get("cache_control") for block in found] == [None] * 2 + [{"type": "ephemeral", "ttl": "1h"}] * 4


REFUSED = [
    ({"model": None}, "model: "),
    ({"input": None}, "input: missing"),
    ({"input": 3}, "input: expected"),
    ({"input": []}, "input: expected at least one item"),
    ({"input": [3]}, "input[0]: "),
    ({"tools": {}}, "tools: "),
    ({"input": [{"type": {}, "role": "user", "content": "x"}]}, "input[0].type: "),
    ({"input": [{"role": "robot", "content": "x"}]}, "input[0].role: "),
    ({"input": [{"type": "item_reference", "id": "rs_1"}]}, "input[0]: items are not stored"),
    ({"input": [{"id": "rs_1"}]}, "input[0]: items are not stored"),
    ({"input": [{"type": "compaction_trigger"}]}, "input[0]: compaction"),
    ({"input": [{"type": "function_call", "name": "a", "arguments": ""}]}, "input[0].call_id: "),
    ({"input": [{"type": "function_call", "call_id": "a", "arguments": ""}]}, "input[0].name: "),
    ({"input": [{"role": "user", "content": [{"type": "input_audio"}]}]}, "input[0].content[0]: audio"),
    (
        {"input": [{"role": "user", "content": [{"type": "input_image", "file_id": "f"}]}]},
        "input[0].content[0].file_id: no files",
    ),
    (
        {"input": [{"role": "user", "content": [{"type": "input_file", "file_id": "f"}]}]},
        "input[0].content[0].file_id: no files",
    ),
    (
        {"input": [{"role": "user", "content": [{"type": "input_file", "file_data": "data:a/b,x"}]}]},
        "input[0].content[0].file_data: expected a data URL",
    ),
    ({"previous_response_id": "resp_1"}, "previous_response_id: no responses are stored here; send the whole"),
    ({"conversation": "c"}, "conversation: "),
    ({"prompt": {"id": "p"}}, "prompt: "),
    ({"background": True}, "background: "),
    ({"instructions": 1}, "instructions: "),
    ({"max_output_tokens": 0}, "max_output_tokens: "),
    ({"temperature": "hot"}, "temperature: "),
    ({"stream": "yes"}, "stream: "),
    ({"reasoning": {"effort": "huge"}}, "reasoning.effort: "),
    ({"text": {"format": {"type": "xml"}}}, "text.format.type: "),
    ({"text": {"format": {"type": "json_schema"}}}, "text.format.schema: "),
    ({"tool_choice": "required"}, "tool_choice: it demands a call"),
    ({"tools": [READ], "tool_choice": {"type": "function", "name": "Write"}}, "tool_choice: the tool Write"),
    ({"tools": [READ], "tool_choice": {"type": "file_search"}}, "tool_choice: the tool file_search"),
    ({"tools": [READ], "tool_choice": {"type": "allowed_tools", "tools": [1]}}, "tool_choice.tools[0]: "),
]


@pytest.mark.parametrize(("document", "begin"), REFUSED)
def test_what_cannot_be_served_is_refused_with_its_path(document: dict[str, Any], begin: str):
    assert refusal(document).startswith(begin)


def test_no_member_of_a_wrong_type_raises_anything_else():
    wrong: tuple[Any, ...] = (0, "x", [], {}, [1], [{}], [None], {"type": 1}, [{"type": 1}], True)
    names = ("input", "tools", "tool_choice", "reasoning", "text", "metadata", "include", "user", "service_tier")
    for name in names:
        for value in wrong:
            try:
                form = from_responses({"model": "m", "input": "hi", "tools": [READ], name: value})
            except InvalidRequest:
                continue
            validate({"max_tokens": 10, **form.body})


CODEX = [
    {"type": "message", "role": "developer", "content": [{"type": "input_text", "text": "You are a coding agent."}]},
    user("<environment_context>"),
    user("list files"),
    {"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": "wg1.abc"},
    called("call_1", '{"cmd":"ls"}', "exec_command"),
    output("call_1", "a.txt"),
]


def test_a_turn_of_codex_becomes_a_chat_completions_request():
    found = body(
        CODEX,
        tools=[{**READ, "name": "exec_command", "strict": False}, {"type": "web_search", "external_web_access": False}],
        tool_choice="auto",
        parallel_tool_calls=True,
        reasoning={"summary": "auto"},
        prompt_cache_key="k",
        stream=True,
    )
    chat = to_chat_request({"max_tokens": 100, **found}, options()).body
    assert [message["role"] for message in chat["messages"]] == ["system", "user", "assistant", "tool"]
    assert chat["messages"][3] == {"role": "tool", "tool_call_id": "call_1", "content": "a.txt"}
    assert [tool["function"]["name"] for tool in chat["tools"]] == ["exec_command"]
