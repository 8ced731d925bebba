"""Every request that Claude Code makes, for every kind of platform and family of models: what must hold of each."""

import hashlib
from collections.abc import Iterator
from typing import Any

import pytest

from providers import wire_json
from providers.presets import PRESETS
from providers.translation import tokens
from providers.translation.dialect import Dialect
from providers.translation.request import ChatRequest, RequestOptions, to_chat_request, validate
from tests.fakes.recorded import calls_of, earlier_turns, messages_requests, recorded, results_of
from tests.translation.conversations import KEY
from tests.translation.strict_openai import complaints
from tests.translation.targets import TARGETS, Row, dialect_of

Json = dict[str, Any]

CAPABILITIES = [None, (), ("tools", "vision", "pdf", "thinking")]
MAX_OUTPUT = 8192
PLACEHOLDER = "DeferredToolPlaceholder"
# What each dialect of thinking adds to OpenAI's own fields.
EXTENSIONS = {
    "openrouter": {"reasoning"},
    "dashscope": {"enable_thinking", "thinking_budget"},
    "siliconflow": {"enable_thinking", "thinking_budget"},
    "template": {"chat_template_kwargs", "thinking_budget_tokens"},
    "deepseek": {"thinking"},
}
THINKING_FIELDS = {"reasoning_effort", *(name for names in EXTENSIONS.values() for name in names)}
REASONING_MEMBERS = {"reasoning_content", "reasoning", "reasoning_details"}
# One session's requests, in order.
CONVERSATIONS = [
    ("main_headless_first", "main_headless_tool_result"),
    ("main_toolsearch_result", "main_toolsearch_called"),
    ("main_interactive_auto_mode", "main_interactive_tool_result"),
]


def translated(body: Json, target: Row, capabilities: tuple[str, ...] | None) -> ChatRequest:
    options = RequestOptions(
        model_id=target[2],
        provider_name="vendor",
        dialect=dialect_of(target, capabilities),
        input_tokens_estimate=40_000,
        signing_key=KEY,
        context_window=200_000,
        max_output_tokens=MAX_OUTPUT,
        capabilities=None if capabilities is None else frozenset(capabilities),
    )
    return to_chat_request(validate(body), options)


def test_each_preset_is_a_target():
    assert {kind for kind, _base_url, _model_id in TARGETS} == set(PRESETS)


def test_all_kinds_are_there_as_they_were_on_the_wire():
    assert len(recorded()) == 44
    assert len(messages_requests()) == 40
    for kind, item in recorded().items():
        assert len(item.raw) == item.body_bytes, kind


@pytest.mark.parametrize("capabilities", CAPABILITIES, ids=["unknown", "none", "all"])
@pytest.mark.parametrize("target", TARGETS, ids="-".join)
def test_recorded_requests(target, capabilities):
    dialect = dialect_of(target, capabilities)
    can = (lambda _name: True) if capabilities is None else capabilities.__contains__
    found = []
    for kind, body in messages_requests().items():
        before = hashlib.sha256(wire_json.encode(body)).digest()
        request = translated(body, target, capabilities)
        faults = [
            *wire_faults(request, dialect),
            *tool_faults(body, request, offers=can("tools")),
            *history_faults(body, request, dialect, sees=dialect.vision and can("vision")),
            *parameter_faults(body, request, dialect),
            *thinking_faults(body, request, dialect if can("thinking") else Dialect()),
            *replay_faults(body, request, dialect),
            *cache_faults(body, request, dialect),
            *prefix_faults(body, request, dialect, target, capabilities),
        ]
        if hashlib.sha256(wire_json.encode(body)).digest() != before:
            faults.append("the client's own body was changed")
        found += [f"{kind}: {fault}" for fault in faults]
    assert found == []


def wire_faults(request: ChatRequest, dialect: Dialect) -> Iterator[str]:
    """A strict server takes it, it survives JSON, and nothing in it is known to the Messages API only."""
    encoded = wire_json.encode(request.body)
    if wire_json.decode(encoded) != request.body:
        yield "JSON changes it"
    if b"x-anthropic-billing-header" in encoded:
        yield "the billing line goes upstream"
    extensions = EXTENSIONS.get(dialect.thinking_dialect, set()) | (
        {"prompt_cache_key"} if dialect.prompt_cache_key else set()
    )
    for complaint in complaints(request.body, extensions=frozenset(extensions)):
        if not (dialect.tool_images == "inline" and complaint.endswith("tool part 'image_url'")):
            yield complaint
    member_names = {"role", "content", "tool_calls", "tool_call_id", *REASONING_MEMBERS}
    part_names = {"type", "text", "image_url", "file", *(("cache_control",) if dialect.cache_control else ())}
    for position, message in enumerate(request.body["messages"]):
        yield from (f"{position}: member {name}" for name in message.keys() - member_names)
        yield from (
            f"{position}: part member {name}" for part in parts_of(message) for name in part.keys() - part_names
        )
        for call in message.get("tool_calls", ()):
            if call.keys() != {"id", "type", "function"} or call["function"].keys() != {"name", "arguments"}:
                yield f"{position}: call {call}"
        if message["role"] == "assistant" and message["content"] is None and dialect.null_content == "":
            yield f"{position}: null content"
        if message["role"] == "system" and position > 0 and dialect.system_mid != "preserve":
            yield f"{position}: system message in the middle"


def tool_faults(body: Json, request: ChatRequest, *, offers: bool) -> Iterator[str]:
    """The client's own tools are offered under names that lead back, deferred ones when they were found."""
    found_by_search = {
        part["tool_name"]
        for _at, block in results_of(body)
        if isinstance(block["content"], list)
        for part in block["content"]
        if part["type"] == "tool_reference"
    }
    called = {block["name"] for _at, block in calls_of(body)}
    expected = {
        tool["name"]: tool
        for tool in body.get("tools", ())
        if "input_schema" in tool
        and tool["name"] != PLACEHOLDER
        and (not tool.get("defer_loading") or tool["name"] in found_by_search | called)
    }
    sent = {tool["function"]["name"]: tool["function"] for tool in request.body.get("tools", ())}
    back = {request.tool_names.get(name, name): function for name, function in sent.items()}
    if list(back) != (list(expected) if offers else []):
        yield f"tools {list(back)}, expected {list(expected)}"
    for name, function in back.items():
        if function["description"] != expected[name]["description"]:
            yield f"description of {name}"
        schema = {key: value for key, value in expected[name]["input_schema"].items() if key != "$schema"}
        if function["parameters"] != schema or request.tool_schemas[name] != expected[name]["input_schema"]:
            yield f"schema of {name}"


def history_faults(body: Json, request: ChatRequest, dialect: Dialect, *, sees: bool) -> Iterator[str]:
    """Nothing is lost, and each turn is: the assistant, the results in the order of the calls, the rest."""
    messages = request.body["messages"]
    everything = "\n".join(part["text"] for message in messages for part in parts_of(message) if part["type"] == "text")
    head = text_of(messages[0])
    for block in body.get("system", ())[1:]:
        if block["text"] not in head:
            yield f"system text {block['text'][:40]!r}"
    for text in texts_of(body):
        if text not in everything:
            yield f"lost {text[:60]!r}"
    calls = [call for message in messages for call in message.get("tool_calls", ())]
    asked = [block for _at, block in calls_of(body)]
    if [
        (
            request.tool_names.get(c["function"]["name"], c["function"]["name"]),
            wire_json.decode(c["function"]["arguments"].encode()),
        )
        for c in calls
    ] != [(block["name"], block["input"]) for block in asked]:
        yield "the calls differ"
    answers = [message for message in messages if message["role"] == "tool"]
    if [answer["tool_call_id"] for answer in answers] != [call["id"] for call in calls]:
        yield "results out of order"
    by_id = {block["tool_use_id"]: block for _at, block in results_of(body)}
    for block, answer in zip(asked, answers, strict=False):
        result = by_id[block["id"]]
        if any(text not in text_of(answer) for text in block_texts(result["content"])):
            yield f"another result for {block['id']}"
    images = [part for message in messages for part in parts_of(message) if part["type"] == "image_url"]
    shown = sum(isinstance(b["content"], list) and b["content"][0]["type"] == "image" for _at, b in results_of(body))
    if len(images) != (shown if sees else 0):
        yield f"{len(images)} images"
    if shown and not sees and "[image omitted" not in everything:
        yield "an image is missing without a word"


def parameter_faults(body: Json, request: ChatRequest, dialect: Dialect) -> Iterator[str]:
    chat = request.body
    if chat.get(dialect.max_tokens_field) != min(body["max_tokens"], MAX_OUTPUT):
        yield f"output limit {chat.get(dialect.max_tokens_field)}"
    if chat.get("stop") != (body.get("stop_sequences") if dialect.stop else None):
        yield f"stop {chat.get('stop')}"
    if request.stop_sequences != body.get("stop_sequences", []):
        yield "the stop sequences are not remembered"
    wanted = body.get("output_config", {}).get("format")
    if wanted is not None and not dialect.json_schema:
        if wire_json.encode(wanted["schema"]).decode() not in text_of(chat["messages"][0]):
            yield "no schema in the system prompt"
    else:
        named = {"name": "output", "schema": wanted["schema"]} if wanted else None
        if named and dialect.strict_json:
            named["strict"] = True
        if chat.get("response_format") != ({"type": "json_schema", "json_schema": named} if named else None):
            yield f"response_format {chat.get('response_format')}"
    if chat["stream"] is not True or chat["stream_options"] != {"include_usage": True}:
        yield "no stream with usage"
    unnamed = {"safeguards", "context_management"} & body.keys() - set(request.dropped_fields)
    if unnamed:
        yield f"dropped without a note: {unnamed}"


def thinking_faults(body: Json, request: ChatRequest, dialect: Dialect) -> Iterator[str]:
    sent = {name: value for name, value in request.body.items() if name in THINKING_FIELDS}
    expected = expected_thinking(body, dialect)
    if sent != expected:
        yield f"thinking {sent}, expected {expected}"
    thinking = body.get("thinking", {})
    asked = thinking.get("type") in ("adaptive", "enabled") or (
        not thinking and "effort" in body.get("output_config", {})
    )
    if request.shows_thinking != asked or request.omits_thinking != (thinking.get("display") == "omitted"):
        yield "shown or omitted thinking"


def expected_thinking(body: Json, dialect: Dialect) -> Json:
    """Return the fields for what Claude Code asks: an effort, a budget of 31,999 tokens (old models), or off."""
    thinking = body.get("thinking", {})
    budget = thinking.get("budget_tokens")
    effort = "high" if budget else body.get("output_config", {}).get("effort")
    has_format = dialect.json_schema and "format" in body.get("output_config", {})
    off = thinking.get("type") == "disabled" or (has_format and dialect.thinking_dialect == "dashscope")
    if (effort is None and not off) or not dialect.thinking:
        return {}
    match dialect.thinking_dialect:
        case "openai" | "ollama":
            return {"reasoning_effort": "none" if off else effort}
        case "openrouter":
            return {
                "reasoning": {"enabled": False}
                if off
                else {"max_tokens": MAX_OUTPUT * 4 // 5}
                if budget
                else {"effort": effort}
            }
        case "dashscope" | "siliconflow":
            return {"enable_thinking": not off, **({"thinking_budget": budget} if budget else {})}
        case "deepseek":
            return {
                "thinking": {"type": "disabled" if off else "enabled"},
                **({} if off else {"reasoning_effort": "high"}),
            }
        case "template":
            limits = (
                {} if off else {"reasoning_effort": effort, **({"thinking_budget_tokens": budget} if budget else {})}
            )
            return {"chat_template_kwargs": {"enable_thinking": not off}, **limits}
    return {}


def replay_faults(body: Json, request: ChatRequest, dialect: Dialect) -> Iterator[str]:
    """Reasoning never becomes content; it goes back where the platform wants it, for calls even when there is none."""
    thoughts = [
        b.get("thinking", "")
        for m in body["messages"]
        if m["role"] == "assistant" and isinstance(m["content"], list)
        for b in m["content"]
        if b["type"] == "thinking"
    ]
    for message in request.body["messages"]:
        if message["role"] != "assistant":
            continue
        if any(thought in text_of(message) for thought in thoughts):
            yield "reasoning in the content"
        replayed = {name: message[name] for name in REASONING_MEMBERS & message.keys()}
        expected: Json = {}
        if message.get("tool_calls") and dialect.reasoning_replay == "reasoning_content":
            expected = {"reasoning_content": "".join(thoughts)}
        if replayed != expected:
            yield f"replayed {replayed}, expected {expected}"


def cache_faults(body: Json, request: ChatRequest, dialect: Dialect) -> Iterator[str]:
    marks = [part["cache_control"] for m in request.body["messages"] for part in parts_of(m) if "cache_control" in part]
    asked = [
        block["cache_control"]
        for message in [{"content": body.get("system", [])}, *body["messages"]]
        if isinstance(message["content"], list)
        for block in message["content"]
        if "cache_control" in block
    ]
    if not dialect.cache_ttl:
        asked = [{"type": mark["type"]} for mark in asked]
    if marks != (asked if dialect.cache_control else []):
        yield f"cache marks {marks}, expected {asked}"
    if len(marks) > 4:
        yield "more than four cache marks"


def prefix_faults(body: Json, request: ChatRequest, dialect: Dialect, target: Any, capabilities: Any) -> Iterator[str]:
    """What an earlier request of the conversation sent is the beginning of what this one sends."""
    whole = request.body["messages"]
    for earlier in earlier_turns(body):
        part = translated(earlier, target, capabilities).body["messages"]
        if comparable(whole[: len(part)], dialect) != comparable(part, dialect):
            yield f"the prefix of {len(earlier['messages'])} messages changed"


@pytest.mark.parametrize("target", TARGETS, ids="-".join)
@pytest.mark.parametrize(("first", "second"), CONVERSATIONS)
def test_the_next_request_of_a_session_begins_like_the_one_before(target, first, second):
    dialect = dialect_of(target, None)
    part, whole = (translated(messages_requests()[kind], target, None).body["messages"] for kind in (first, second))
    assert comparable(whole[: len(part)], dialect) == comparable(part, dialect)


@pytest.mark.parametrize(
    ("kind", "least", "most"), [("count_tokens_text", 200, 600), ("count_tokens_tools", 6000, 12_000)]
)
def test_recorded_counts_of_tokens(kind, least, most):
    body = validate(recorded()[kind].body, require_max_tokens=False)
    assert least <= tokens.estimate(body) <= most
    assert least / 2 <= tokens.rough_estimate(body) <= most * 1.5


def parts_of(message: Json) -> list[Json]:
    content = message["content"]
    if isinstance(content, list):
        return content
    return [{"type": "text", "text": content}] if content else []


def text_of(message: Json) -> str:
    return "\n".join(part["text"] for part in parts_of(message) if part["type"] == "text")


def block_texts(content: Any) -> list[str]:
    if isinstance(content, str):
        return [content] if content.strip() else []
    return [block["text"] for block in content if block["type"] == "text" and block["text"].strip()]


def texts_of(body: Json) -> list[str]:
    """Return all that was said: every text and every text of a tool's result."""
    texts = [text for message in body["messages"] for text in block_texts(message["content"])]
    return texts + [text for _at, block in results_of(body) for text in block_texts(block["content"])]


def comparable(messages: list[Json], dialect: Dialect) -> list[Json]:
    """Return messages as a prompt cache sees them: marks are no content, and a text is one part."""
    if not dialect.cache_control:
        return messages
    return [
        {
            **message,
            "content": [{key: part[key] for key in part if key != "cache_control"} for part in parts_of(message)],
        }
        for message in messages
    ]
