"""Whatever a client sends and whatever an upstream answers: a request or a refusal, and a stream the SDK can read."""

import contextlib
import json
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from providers.translation.native_request import NativeOptions, to_native
from providers.translation.openai_clients.responses_answer import ResponsesEncoder
from providers.translation.openai_clients.responses_request import from_responses
from providers.translation.request import to_chat_request
from providers.translation.validation import InvalidRequest, validate
from tests.translation import openai_sdk, strict_anthropic
from tests.translation.conversations import options

_ITEM_TYPES = [
    *("message", "reasoning", "function_call", "function_call_output", "custom_tool_call", "custom_tool_call_output"),
    *("local_shell_call", "local_shell_call_output", "shell_call", "shell_call_output", "apply_patch_call"),
    *("apply_patch_call_output", "tool_search_call", "tool_search_output", "additional_tools", "web_search_call"),
    *("mcp_call", "item_reference", "compaction", "future"),
]
_PART_TYPES = ["input_text", "output_text", "refusal", "input_image", "input_file", "future"]
_TOOL_TYPES = [
    "function",
    "custom",
    "namespace",
    "web_search",
    "shell",
    "local_shell",
    "apply_patch",
    "tool_search",
    "mcp",
]
_ANY = st.recursive(
    st.none() | st.booleans() | st.integers(-2, 9) | st.sampled_from(["", "a", "auto", "{", "data:a/b;base64,eA=="]),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from(["type", "text", "a"]), inner),
    max_leaves=4,
)
_NAME = st.sampled_from(["Read", "x.y", "shell"]) | _ANY
_ID = st.sampled_from(["c1", "c2", "bad id"]) | _ANY


def _dictionary(kinds: list[str], required: dict[str, Any] | None = None, **members: Any) -> st.SearchStrategy[Any]:
    return st.fixed_dictionaries({"type": st.sampled_from(kinds), **(required or {})}, optional=members)


_SAID = {"text": st.sampled_from(["a", " "]), "refusal": st.just("no"), "image_url": st.just("https://i.example")}
_GOOD_PARTS = st.lists(_dictionary(_PART_TYPES[:4], _SAID), max_size=3)
_PARTS = st.lists(_dictionary(_PART_TYPES, text=_ANY, refusal=_ANY, image_url=_ANY, file_data=_ANY), max_size=3)
_TOOLS = st.lists(
    _dictionary(
        _TOOL_TYPES,
        name=_NAME,
        parameters=_ANY,
        description=_ANY,
        format=_ANY,
        execution=st.just("client"),
        tools=st.lists(_dictionary(_TOOL_TYPES, name=_NAME), max_size=2),
    ),
    max_size=3,
)
_SOUND = {
    "role": st.sampled_from(["user", "assistant", "developer"]),
    "call_id": st.sampled_from(["c1", "c2", "bad id"]),
    "name": st.sampled_from(["Read", "x.y", "shell"]),
    "content": _GOOD_PARTS,
    "output": _GOOD_PARTS | st.just("done"),
}
_MEMBERS = {
    "id": _ID,
    "namespace": _NAME,
    "arguments": st.just('{"a": 1}') | _ANY,
    "input": _ANY,
    "action": _ANY,
    "operation": _ANY,
    "tools": _TOOLS | _ANY,
    "summary": _ANY,
    "encrypted_content": st.sampled_from(["wg1.a", "wgr1.e30", "wgr1.?", "gAAA"]) | _ANY,
}
_SOUND_ITEM = _dictionary(_ITEM_TYPES[:-3], _SOUND, **_MEMBERS)
_ITEM = _dictionary(
    _ITEM_TYPES,
    **_MEMBERS,
    role=_ANY,
    content=_PARTS | st.just("text") | _ANY,
    call_id=_ID,
    name=_NAME,
    output=_PARTS | _ANY,
)
_OPTIONS = {
    "instructions": st.just("be brief") | st.none(),
    "tools": _TOOLS | _ANY,
    "include": _ANY,
    "prompt_cache_key": st.just("k") | _ANY,
    "user": _ANY,
    "metadata": _ANY,
    "parallel_tool_calls": _ANY,
    "max_tool_calls": _ANY,
}
_SOUND_REQUEST = st.fixed_dictionaries(
    {"model": st.just("m"), "input": st.lists(_SOUND_ITEM, min_size=1, max_size=6)}, optional=_OPTIONS
)
_REQUEST = st.fixed_dictionaries(
    {"model": st.just("m"), "input": st.lists(_ITEM, max_size=6) | _ANY},
    optional={
        **_OPTIONS,
        "instructions": _ANY,
        "tool_choice": _ANY | _dictionary([*_TOOL_TYPES, "allowed_tools"], name=_NAME, tools=_TOOLS, mode=_ANY),
        "reasoning": _ANY | st.fixed_dictionaries({}, optional={"effort": _ANY, "summary": _ANY}),
        "text": _ANY | st.fixed_dictionaries({}, optional={"format": _ANY}),
    },
)
_BLOCK = _dictionary(
    [*("text", "thinking", "redacted_thinking", "tool_use", "server_tool_use", "web_search_tool_result"), "future"],
    name=st.sampled_from(["Read", "web_search", "web_fetch", "shell"]) | _ANY,
    id=_ID,
    text=_ANY,
    input=_ANY,
    content=_ANY,
    data=_ANY,
)
_DELTA = _dictionary(
    ["text_delta", "thinking_delta", "signature_delta", "input_json_delta", "citations_delta", "future"],
    text=_ANY,
    thinking=_ANY,
    signature=_ANY,
    partial_json=st.sampled_from(['{"query": "q"}', '{"a"']) | _ANY,
    citation=_ANY,
)
_ANSWER = st.lists(st.tuples(_BLOCK, st.lists(_DELTA, max_size=3)), max_size=4)
_STOP = st.sampled_from(["end_turn", "tool_use", "max_tokens", "refusal"]) | _ANY
_FEW = settings(max_examples=80, deadline=None, suppress_health_check=list(HealthCheck))


@given(_SOUND_REQUEST | _REQUEST)
@_FEW
def test_any_request_is_translated_for_both_kinds_of_targets_or_refused(request: dict[str, Any]) -> None:
    before = json.dumps(request)
    try:
        body = from_responses(request).body
    except InvalidRequest:
        return
    assert json.dumps(request) == before
    validate({"max_tokens": 10, **body})
    strict_anthropic.check(to_native(body, NativeOptions("claude-sonnet-4-6")))
    with contextlib.suppress(InvalidRequest):  # nothing but blank messages, or a schema nested too deeply
        to_chat_request(body, options())


@given(_ANSWER, _STOP, st.booleans())
@_FEW
def test_any_answer_is_a_stream_the_sdk_can_read(answer: list[Any], stop: Any, is_shown: bool) -> None:
    request = {
        "model": "m",
        "tools": [{"type": "shell"}],
        "include": ["reasoning.encrypted_content"],
        "reasoning": {"summary": "auto"} if is_shown else None,
    }
    encoder = ResponsesEncoder(request, message_id="msg_1", model="m", created=1)
    events: list[dict[str, Any]] = [{"type": "message_start", "message": {}}]
    for index, (block, deltas) in enumerate(answer):
        events.append({"type": "content_block_start", "index": index, "content_block": block})
        events += [{"type": "content_block_delta", "index": index, "delta": delta} for delta in deltas]
        events.append({"type": "content_block_stop", "index": index})
    delta = {"stop_reason": stop, "stop_details": {"explanation": "no"}}
    events += [{"type": "message_delta", "delta": delta, "usage": {"output_tokens": 1}}, {"type": "message_stop"}]
    found = openai_sdk.events(encoder.feed(events))
    added = {event["output_index"]: event["item"]["id"] for event in found if event["type"].endswith("item.added")}
    done = {event["output_index"]: event["item"]["id"] for event in found if event["type"].endswith("item.done")}
    assert done.items() <= added.items()
    assert found[-1]["type"] == "response.incomplete" or done == added
    assert [item["id"] for item in found[-1]["response"]["output"]] == [done[index] for index in sorted(done)]
