import json
from typing import Any

import pydantic
import pytest

from providers.translation.events import MessageBuilder
from providers.translation.openai_clients.responses_answer import ResponsesEncoder
from providers.translation.openai_clients.responses_request import from_responses
from tests.translation import answers, openai_sdk
from tests.translation.answers import LENGTH, ROLE, STOP, TOOL_STOP, USAGE, call, calls, reasoning, text, translate

Event = dict[str, Any]

ASKED: dict[str, Any] = {"model": "claude-test", "input": "hi"}
SHOWN = {
    **ASKED,
    "reasoning": {"effort": "high", "summary": "auto"},
    "include": ["reasoning.encrypted_content"],
    "store": False,
}
READ = {"type": "function", "name": "Read", "parameters": answers.READ, "strict": False}
PATCH = {
    "type": "custom",
    "name": "apply_patch",
    "description": "Edit files.",
    "format": {"type": "grammar", "syntax": "lark", "definition": "start: /.+/"},
}
WITH_TOOLS = {**ASKED, "tools": [READ, PATCH]}


def encoder(request: dict[str, Any]) -> ResponsesEncoder:
    return ResponsesEncoder(request, message_id="msg_1", model="claude-test", created=1_700_000_000)


def stream(events: list[Event], request: dict[str, Any] = ASKED) -> list[Event]:
    """Return the checked events of an answer, fed one by one."""
    writer = encoder(request)
    return openai_sdk.events(b"".join(writer.feed([event]) for event in events))


def last(events: list[Event]) -> dict[str, Any]:
    openai_sdk.check_response(events[-1]["response"])
    return events[-1]["response"]


def without_stream(events: list[Event], request: dict[str, Any] = ASKED) -> dict[str, Any]:
    builder = MessageBuilder()
    builder.feed(events)
    response = encoder(request).message(builder.build())
    openai_sdk.check_response(response)
    return response


def typed_call(name: str, tool_input: str) -> list[Event]:
    return translate(
        [ROLE, calls(call(0, "c1", name, tool_input)), TOOL_STOP, USAGE],
        tool_schemas={name: {"type": "object"}},
    )


def raw(*blocks: tuple[dict[str, Any], list[dict[str, Any]]], stop: str = "end_turn", **delta: Any) -> list[Event]:
    """Return the events of a native upstream's answer: blocks with their deltas."""
    usage = {"input_tokens": 5, "cache_read_input_tokens": 100, "cache_creation_input_tokens": 20, "output_tokens": 7}
    found: list[Event] = [{"type": "message_start", "message": {"id": "m", "content": [], "usage": usage}}]
    for index, (block, deltas) in enumerate(blocks):
        found.append({"type": "content_block_start", "index": index, "content_block": block})
        found += [{"type": "content_block_delta", "index": index, "delta": delta} for delta in deltas]
        found.append({"type": "content_block_stop", "index": index})
    found.append({"type": "message_delta", "delta": {"stop_reason": stop, **delta}, "usage": {"output_tokens": 9}})
    return [*found, {"type": "message_stop"}]


TEXT = {"type": "text", "text": ""}


def test_text_becomes_one_message_with_its_events_in_order():
    events = stream(translate([ROLE, text("Hel"), text("lo"), STOP, USAGE]))
    assert [event["type"].removeprefix("response.") for event in events] == [
        *("created", "in_progress", "output_item.added", "content_part.added", "output_text.delta"),
        *("output_text.delta", "output_text.done", "content_part.done", "output_item.done", "completed"),
    ]
    response = last(events)
    assert response["status"] == "completed"
    assert response["id"] == events[0]["response"]["id"] == "resp_1"
    assert response["output"][0]["content"][0]["text"] == "Hello"
    assert response["usage"] == {
        "input_tokens": 10,
        "input_tokens_details": {"cached_tokens": 0, "cache_write_tokens": 0},
        "output_tokens": 2,
        "output_tokens_details": {"reasoning_tokens": 0},
        "total_tokens": 12,
    }


def test_usage_contains_what_was_cached():
    usage = last(stream(raw((TEXT, [{"type": "text_delta", "text": "a"}]))))["usage"]
    assert usage["input_tokens"] == 125
    assert usage["input_tokens_details"] == {"cached_tokens": 100, "cache_write_tokens": 20}
    assert usage["total_tokens"] == 134


ANSWERS = {
    "text": (ASKED, [ROLE, text("Hello"), STOP, USAGE]),
    "nothing": (ASKED, [ROLE, STOP, USAGE]),
    "reasoning shown": (SHOWN, [ROLE, reasoning("a"), reasoning("b"), text("Ok"), STOP, USAGE]),
    "reasoning hidden": (ASKED, [ROLE, reasoning("a"), text("Ok"), STOP, USAGE]),
    "call": (WITH_TOOLS, [ROLE, text("Ok"), calls(call(0, "c1", "Read", '{"path": "x"}')), TOOL_STOP, USAGE]),
    "calls": (
        WITH_TOOLS,
        [
            *(ROLE, calls(call(0, "c1", "Read", '{"path": "x"}')), calls(call(1, "c2", "Read", '{"path": "y"}'))),
            *(TOOL_STOP, USAGE),
        ],
    ),
    "custom": (WITH_TOOLS, [ROLE, calls(call(0, "c1", "apply_patch", '{"input": "*** \\"é"}')), TOOL_STOP, USAGE]),
    "no arguments": (WITH_TOOLS, [ROLE, calls(call(0, "c1", "Ping", "")), TOOL_STOP, USAGE]),
    "cut text": (ASKED, [ROLE, text("Hel"), LENGTH, USAGE]),
    "cut call": (WITH_TOOLS, [ROLE, text("a"), calls(call(0, "c1", "Read", '{"pa')), LENGTH, USAGE]),
    "unparsable call": (WITH_TOOLS, [ROLE, calls(call(0, "c1", "Read", "path is x")), TOOL_STOP, USAGE]),
    "refusal": (ASKED, [ROLE, answers.chunk({"refusal": "I will not."}), STOP, USAGE]),
}


def without_spaces(response: dict[str, Any]) -> dict[str, Any]:
    """Take the white space out of arguments: an upstream's does not survive in a message."""
    response = json.loads(json.dumps(response))
    for item in response["output"]:
        if item["type"] == "function_call":
            item["arguments"] = item["arguments"].replace(" ", "")
    return response


NATIVE = {
    "native unparsable call": raw(
        (
            {"type": "tool_use", "id": "c1", "name": "Read", "input": {}},
            [{"type": "input_json_delta", "partial_json": "{'path"}],
        ),
        stop="tool_use",
    )
}


@pytest.mark.parametrize("name", [*ANSWERS, *NATIVE])
def test_stream_and_whole_answer_are_the_same_response(name: str):
    request, chunks = ANSWERS.get(name, (WITH_TOOLS, []))
    events = NATIVE.get(name) or translate(chunks)
    streamed = last(stream(events, request))
    assert without_spaces(streamed) == without_spaces(without_stream(events, request))


@pytest.mark.parametrize("name", [name for name in ANSWERS if name not in ("cut text", "cut call", "refusal")])
def test_the_sdk_accumulates_what_the_final_response_says(name: str):
    request, chunks = ANSWERS[name]
    body = encoder(request).feed(translate(chunks))
    final = openai_sdk.replay(body)
    expected = last(openai_sdk.events(body))
    assert [item.id for item in final.output] == [item["id"] for item in expected["output"]]
    assert [item.call_id for item in final.output if item.type == "function_call"] == [
        item["call_id"] for item in expected["output"] if item["type"] == "function_call"
    ]
    assert final.output_text == "".join(
        part["text"] for item in expected["output"] if item["type"] == "message" for part in item["content"]
    )


def test_the_sdk_parses_structured_output():
    class Person(pydantic.BaseModel):
        name: str

    body = encoder(ASKED).feed(translate([ROLE, text('{"na'), text('me":"Ada"}'), STOP, USAGE]))
    assert openai_sdk.replay(body, text_format=Person).output_parsed == Person(name="Ada")


def test_a_call_is_streamed_and_done_with_its_arguments():
    chunks = [ROLE, calls(call(0, "c1", "Read", '{"pa')), calls(call(0, arguments='th": "x"}')), TOOL_STOP, USAGE]
    events = stream(translate(chunks), WITH_TOOLS)
    deltas = [event["delta"] for event in events if event["type"] == "response.function_call_arguments.delta"]
    (done,) = (event for event in events if event["type"] == "response.function_call_arguments.done")
    assert "".join(deltas) == done["arguments"] == '{"path": "x"}'
    (item,) = last(events)["output"]
    assert (item["type"], item["call_id"], item["name"], item["status"]) == ("function_call", "c1", "Read", "completed")


def test_a_cut_call_is_never_done():
    events = stream(translate(ANSWERS["cut call"][1]), WITH_TOOLS)
    assert [e["item"]["type"] for e in events if e["type"] == "response.output_item.done"] == ["message"]
    response = last(events)
    assert (events[-1]["type"], response["status"]) == ("response.incomplete", "incomplete")
    assert response["incomplete_details"] == {"reason": "max_output_tokens"}
    assert [item["type"] for item in response["output"]] == ["message"]


def test_unparsable_arguments_reach_the_client_as_they_are():
    assert last(stream(NATIVE["native unparsable call"], WITH_TOOLS))["output"][0]["arguments"] == "{'path"


def test_a_custom_tool_gets_its_text_without_the_wrapper():
    events = stream(translate(ANSWERS["custom"][1]), WITH_TOOLS)
    (item,) = last(events)["output"]
    assert (item["type"], item["name"], item["input"]) == ("custom_tool_call", "apply_patch", '*** "é')
    assert [e["input"] for e in events if e["type"] == "response.custom_tool_call_input.done"] == ['*** "é']


def test_a_tool_of_a_namespace_is_called_by_both_names():
    request = {**ASKED, "tools": [{"type": "namespace", "name": "files", "description": "", "tools": [READ]}]}
    assert from_responses(request).body["tools"][0]["name"] == "files__Read"
    (item,) = last(stream(typed_call("files__Read", '{"path":"x"}'), request))["output"]
    assert (item["name"], item["namespace"]) == ("Read", "files")


@pytest.mark.parametrize(
    ("tool", "name", "tool_input", "expected"),
    [
        (
            {"type": "local_shell"},
            "local_shell",
            {"command": ["ls"]},
            {"type": "local_shell_call", "action": {"type": "exec", "command": ["ls"], "env": {}}},
        ),
        ({"type": "shell"}, "shell", {"commands": ["ls", "pwd"]}, {"type": "shell_call"}),
        (
            {"type": "apply_patch"},
            "apply_patch",
            {"type": "delete_file", "path": "a"},
            {"type": "apply_patch_call", "operation": {"type": "delete_file", "path": "a"}},
        ),
        (
            {"type": "tool_search", "execution": "client"},
            "tool_search",
            {"query": "mail"},
            {"type": "tool_search_call", "arguments": {"query": "mail"}, "execution": "client"},
        ),
        (
            {"type": "apply_patch"},
            "apply_patch",
            {"diff": "?"},
            {"type": "function_call", "arguments": '{"diff": "?"}'},
        ),
    ],
)
def test_typed_tools_are_called_by_items_of_their_own(
    tool: dict[str, Any], name: str, tool_input: dict[str, Any], expected: dict[str, Any]
):
    request = {**ASKED, "tools": [tool]}
    events = stream(typed_call(name, json.dumps(tool_input)), request)
    (item,) = last(events)["output"]
    assert item["call_id"] == "c1"
    for key, value in expected.items():
        assert (value.items() <= item[key].items()) if isinstance(value, dict) else item[key] == value


def test_reasoning_is_a_summary_with_what_its_replay_needs():
    events = stream(translate([ROLE, reasoning("because"), text("Ok"), STOP, USAGE]), SHOWN)
    item = last(events)["output"][0]
    assert item["summary"] == [{"type": "summary_text", "text": "because"}]
    assert item["encrypted_content"].startswith("wg1.")
    kinds = [event["type"] for event in events]
    assert kinds.index("response.reasoning_summary_part.added") < kinds.index("response.reasoning_summary_text.delta")
    again = from_responses({**SHOWN, "input": [{"role": "user", "content": "q"}, *last(events)["output"]]}).body
    thinking, answer = again["messages"][1]["content"]
    assert thinking == {"type": "thinking", "thinking": "because", "signature": item["encrypted_content"]}
    assert answer == {"type": "text", "text": "Ok"}


@pytest.mark.parametrize("is_shown", [True, False])
def test_a_vendors_reasoning_comes_back_as_it_was(is_shown: bool):
    block = {"type": "thinking", "thinking": "because", "signature": "EqQBsig"}
    redacted = {"type": "redacted_thinking", "data": "EmwKAh"}
    deltas = [
        {"type": "thinking_delta", "thinking": "because"},
        {"type": "signature_delta", "signature": "EqQBsig"},
    ]
    request = {**SHOWN, "reasoning": {"effort": "low", **({"summary": "auto"} if is_shown else {})}}
    native = raw(
        ({"type": "thinking", "thinking": "", "signature": ""}, deltas),
        (redacted, []),
        (
            TEXT,
            [
                {"type": "text_delta", "text": "Ok"},
            ],
        ),
    )
    events = stream(native, request)
    items = last(events)["output"]
    assert bool(items[0]["summary"]) is is_shown
    assert is_shown or "because" not in json.dumps(items[0])
    again = from_responses({**request, "input": [{"role": "user", "content": "q"}, *items]}).body
    assert again["messages"][1]["content"] == [block, redacted, {"type": "text", "text": "Ok"}]


def test_reasoning_nobody_asked_for_shows_nothing():
    item = last(stream(translate([ROLE, reasoning("because"), text("Ok"), STOP, USAGE])))["output"][0]
    assert item["summary"] == []
    assert "encrypted_content" not in item


def test_a_refusal_is_incomplete_and_says_why():
    details = {"type": "refusal", "category": None, "explanation": "Against the rules."}
    events = stream(raw((TEXT, [{"type": "text_delta", "text": "I"}]), stop="refusal", stop_details=details))
    response = last(events)
    assert response["incomplete_details"] == {"reason": "content_filter"}
    text_part, refusal = response["output"][0]["content"]
    assert (text_part["text"], refusal) == ("I", {"type": "refusal", "refusal": "Against the rules."})


def test_a_refusal_whose_text_is_the_explanation_says_it_once():
    response = last(stream(translate(ANSWERS["refusal"][1])))
    assert [part["type"] for part in response["output"][0]["content"]] == ["output_text"]


SEARCH = raw(
    (
        {"type": "server_tool_use", "id": "srvtoolu_1", "name": "web_search", "input": {}},
        [{"type": "input_json_delta", "partial_json": '{"query": "weather"}'}],
    ),
    (
        {
            "type": "web_search_tool_result",
            "tool_use_id": "srvtoolu_1",
            "content": [{"type": "web_search_result", "url": "https://w.example", "title": "W"}],
        },
        [],
    ),
    (TEXT, [{"type": "text_delta", "text": "It is "}]),
    (
        TEXT,
        [
            {
                "type": "citations_delta",
                "citation": {"type": "web_search_result_location", "url": "https://w.example", "title": "W"},
            },
            {"type": "text_delta", "text": "sunny"},
        ],
    ),
    (TEXT, [{"type": "text_delta", "text": "."}]),
)


def test_a_web_search_is_a_call_with_its_sources_and_citations():
    request = {**ASKED, "include": ["web_search_call.action.sources"]}
    events = stream(SEARCH, request)
    search, message = last(events)["output"]
    assert (search["type"], search["status"]) == ("web_search_call", "completed")
    assert search["action"] == {
        "type": "search",
        "query": "weather",
        "queries": ["weather"],
        "sources": [{"type": "url", "url": "https://w.example"}],
    }
    (part,) = message["content"]
    assert part["text"] == "It is sunny."
    assert part["annotations"] == [
        {"type": "url_citation", "start_index": 6, "end_index": 11, "url": "https://w.example", "title": "W"}
    ]
    assert "response.web_search_call.completed" in [event["type"] for event in events]


def test_searches_that_run_side_by_side_keep_their_own_results():
    def use(number: int) -> tuple[dict[str, Any], list[dict[str, Any]]]:
        block = {"type": "server_tool_use", "id": f"srvtoolu_{number}", "name": "web_search", "input": {}}
        return block, [{"type": "input_json_delta", "partial_json": f'{{"query": "q{number}"}}'}]

    def result(number: int, content: Any) -> tuple[dict[str, Any], list[dict[str, Any]]]:
        return {"type": "web_search_tool_result", "tool_use_id": f"srvtoolu_{number}", "content": content}, []

    found = [{"type": "web_search_result", "url": "https://2.example", "title": ""}]
    failed = {"type": "web_search_tool_result_error", "error_code": "max_uses_exceeded"}
    events = raw(use(1), use(2), use(3), result(2, found), result(1, failed), (TEXT, []))
    output = last(stream(events, {**ASKED, "include": ["web_search_call.action.sources"]}))["output"]
    assert [(item["type"], item.get("action", {}).get("query"), item["status"]) for item in output] == [
        ("web_search_call", "q1", "failed"),
        ("web_search_call", "q2", "completed"),
        ("web_search_call", "q3", "failed"),
        ("message", None, "completed"),
    ]
    assert output[1]["action"]["sources"] == [{"type": "url", "url": "https://2.example"}]


def test_a_whole_answer_with_a_web_search_is_the_same_response():
    whole = {
        "id": "m",
        "content": [
            {"type": "server_tool_use", "id": "srvtoolu_1", "name": "web_search", "input": {"query": "weather"}},
            SEARCH[4]["content_block"],
            {"type": "text", "text": "It is "},
            {"type": "text", "text": "sunny", "citations": [SEARCH[10]["delta"]["citation"]]},
            {"type": "text", "text": "."},
        ],
        "stop_reason": "end_turn",
        "usage": {**SEARCH[0]["message"]["usage"], "output_tokens": 9},
    }
    assert encoder(ASKED).message(whole) == last(stream(SEARCH))


@pytest.mark.parametrize(
    ("error_type", "message", "code"),
    [
        ("overloaded_error", "busy", "server_error"),
        ("api_error", "broken", "server_error"),
        ("rate_limit_error", "slow down", "rate_limit_exceeded"),
        ("invalid_request_error", "bad schema", "invalid_prompt"),
    ],
)
def test_a_broken_stream_ends_with_a_failed_response(error_type: str, message: str, code: str):
    writer = encoder(ASKED)
    begun = translate([ROLE, text("Hel"), STOP, USAGE])[:3]
    events = openai_sdk.events(writer.feed(begun) + writer.error(error_type, message, "req_1"))
    response = last(events)
    assert (events[-1]["type"], response["status"]) == ("response.failed", "failed")
    assert response["error"]["code"] == code
    assert message in response["error"]["message"]
    assert "req_1" in response["error"]["message"]


def test_an_error_before_the_first_event_is_a_whole_stream():
    events = openai_sdk.events(encoder(ASKED).error("api_error", "nobody answers", ""))
    assert [event["type"] for event in events] == ["response.created", "response.in_progress", "response.failed"]


def test_a_prompt_that_is_too_long_fails_with_the_code_agents_compact_on():
    body = encoder(ASKED).error("invalid_request_error", "prompt is too long: 9 tokens > 8 maximum", "")
    assert b'"code":"context_length_exceeded"' in body


def test_a_ping_is_a_comment():
    assert encoder(ASKED).feed([{"type": "ping"}]) == ResponsesEncoder.ping == b": ping\n\n"


def test_the_response_repeats_the_request():
    request = {
        **WITH_TOOLS,
        "instructions": "be brief",
        "metadata": {"a": "b"},
        "temperature": 0.5,
        "max_output_tokens": 100,
        "parallel_tool_calls": False,
        "tool_choice": {"type": "function", "name": "Read"},
        "reasoning": {"effort": "low"},
    }
    response = without_stream(translate([ROLE, text("x"), STOP, USAGE]), request)
    for name in ("instructions", "metadata", "temperature", "max_output_tokens", "tool_choice", "tools"):
        assert response[name] == request[name]
    assert response["parallel_tool_calls"] is False
    assert response["reasoning"] == {"effort": "low", "summary": None}
    assert response["store"] is False


def test_lone_surrogates_and_unknown_blocks_do_no_harm():
    native = raw(
        ({"type": "future_block", "data": 1}, [{"type": "future_delta"}]),
        ({"type": "server_tool_use", "id": "s", "name": "code_execution", "input": {}}, []),
        (TEXT, [{"type": "text_delta", "text": "a\ud800b"}]),
    )
    assert last(stream(native))["output"][0]["content"][0]["text"].startswith("a")
