"""No JSON whatever may break the translation."""

import copy
import itertools

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from providers import wire_json
from providers.translation.dialect import Dialect
from providers.translation.request import InvalidRequest, to_chat_request, validate
from tests.translation.conversations import (
    PNG,
    READ,
    assistant,
    image,
    options,
    request_body,
    result,
    text,
    use,
    user,
)
from tests.translation.strict_openai import complaints


def test_request_is_not_changed():
    body = request_body(
        user(text("q", cache_control={"type": "ephemeral"}), image()),
        assistant(use("a")),
        user(result("a", [text("x"), image()])),
        {"role": "system", "content": [text("n")]},
        system=[text("x-anthropic-billing-header: a\nrest")],
        tools=[{**READ, "input_schema": {"$schema": "s", "type": "object"}}],
    )
    before = copy.deepcopy(body)
    for dialect in DIALECTS:
        to_chat_request(body, options(dialect))
    assert body == before


DIALECTS = [
    Dialect(),
    Dialect(system_mid="preserve", thinking_dialect="openai", tool_id="openai40", pdf=True, strict_json=True),
    Dialect(
        thinking_dialect="openrouter", reasoning_replay="reasoning_details", cache_control=True, pdf=True, top_k=True
    ),
    Dialect(thinking_dialect="dashscope", reasoning_replay="reasoning_content", forced_tools=False, json_schema=False),
    Dialect(
        thinking_dialect="template", tool_images="inline", prefill=True, schema_sanitizer="llama", no_empty_tool=True
    ),
    Dialect(thinking_dialect="deepseek", prefill=True, reasoning_replay="reasoning_content", schema_sanitizer="gemini"),
    Dialect(thinking_dialect="openrouter", server_tools="native"),
    Dialect(thinking_dialect="dashscope", server_tools="native"),
    Dialect(thinking_dialect="ollama", null_content="", vision=False, tool_id="mistral9", stop=False, sampling=False),
]
EXTENSIONS = frozenset(
    {"reasoning", "enable_thinking", "thinking_budget", "thinking", "chat_template_kwargs", "thinking_budget_tokens"}
    | {"top_k", "continue_final_message", "add_generation_prompt", "plugins", "enable_search", "search_options"}
)

JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 10**22) | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["type", "text", "name", "id", "content", "source", "data", "properties", "$ref", "$id", "format", "k"]
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=8,
)
BLOCKS = st.fixed_dictionaries(
    {
        "type": st.sampled_from(
            [
                "text",
                "image",
                "tool_use",
                "tool_result",
                "thinking",
                "redacted_thinking",
                "document",
                "search_result",
                "server_tool_use",
                "web_search_tool_result",
                "tool_reference",
                "tool_addition",
                "compaction",
                "xyz",
            ]
        ),
        "id": st.sampled_from(["a", "b", "functions.Bash:0", "x" * 70]),
        "tool_use_id": st.sampled_from(["a", "b", "functions.Bash:0", "x" * 70]),
        "name": st.sampled_from(["Read", "mcp.odd name", "n" * 90]),
    },
    optional={
        "source": JSON_VALUES
        | st.just({"type": "base64", "data": PNG})
        | st.fixed_dictionaries(
            {"type": st.sampled_from(["text", "content", "url", "file"]), "data": JSON_VALUES, "url": JSON_VALUES}
        ),
        "is_error": st.booleans(),
        **dict.fromkeys(
            ("text", "input", "content", "thinking", "signature", "title", "context", "cache_control", "tool"),
            JSON_VALUES,
        ),
    },
)
MESSAGES = st.lists(
    st.fixed_dictionaries(
        {
            "role": st.sampled_from(["user", "assistant", "system"]),
            "content": st.lists(BLOCKS, max_size=4) | st.text(max_size=5) | st.none(),
        }
    ),
    min_size=1,
    max_size=6,
)
TOOLS = st.lists(
    st.fixed_dictionaries(
        {"name": st.sampled_from(["Read", "Bash", "mcp.odd name", "n" * 90]) | JSON_VALUES},
        optional={
            "type": st.sampled_from(
                ["custom", "bash_20250124", "text_editor_20250728", "web_search_20250305", "computer_x"]
            )
            | JSON_VALUES,
            "input_schema": JSON_VALUES,
            "description": JSON_VALUES,
            "defer_loading": JSON_VALUES,
            "max_uses": JSON_VALUES,
            "allowed_domains": JSON_VALUES,
            "strict": st.booleans(),
        },
    )
    | JSON_VALUES,
    max_size=4,
)
FIELDS = st.dictionaries(
    st.sampled_from(
        [
            "system",
            "tools",
            "tool_choice",
            "stop_sequences",
            "temperature",
            "top_p",
            "top_k",
            "thinking",
            "metadata",
            "output_config",
            "output_format",
            "service_tier",
            "context_management",
        ]
    ),
    JSON_VALUES
    | st.just({"type": "any"})
    | st.just({"type": "enabled", "budget_tokens": 10**30})
    | st.just({"effort": "high", "format": {"type": "json_schema", "schema": {"type": "object"}}}),
    max_size=4,
)


def check_any(body) -> None:
    """Translate for every dialect: nothing but InvalidRequest may happen, and strict servers take what comes out."""
    for dialect, capabilities in itertools.product(DIALECTS, (None, frozenset({"vision"}))):
        try:
            known = {"capabilities": capabilities, "context_window": 5000, "has_search": True}
            request = to_chat_request(validate(body), options(dialect, **known))
        except InvalidRequest:
            continue
        on_the_wire = wire_json.decode(wire_json.encode(request.body))
        extensions = EXTENSIONS if dialect.thinking_dialect != "none" else frozenset[str]()
        if dialect.tool_images == "inline":
            on_the_wire["messages"] = [m for m in on_the_wire["messages"] if not _has_inline_image(m)] or [
                {"role": "user", "content": "x"}
            ]
            found = [
                text
                for text in complaints(on_the_wire, extensions=extensions)
                if "no result" not in text and "in a row" not in text
            ]
        else:
            found = complaints(on_the_wire, extensions=extensions)
        if dialect.null_content == "":
            found = [text for text in found if "content is empty" not in text]
        assert found == [], dialect


def _has_inline_image(message) -> bool:
    return message["role"] == "tool" and isinstance(message["content"], list)


RELAXED = settings(
    max_examples=200, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True, database=None
)


@RELAXED
@given(
    JSON_VALUES
    | st.fixed_dictionaries(
        {}, optional={"model": JSON_VALUES, "max_tokens": JSON_VALUES, "messages": JSON_VALUES, "system": JSON_VALUES}
    )
)
def test_any_json_is_refused_or_translated(body):
    check_any(body)


@RELAXED
@given(MESSAGES, TOOLS, FIELDS)
def test_any_content_is_refused_or_translated(messages, tools, fields):
    check_any({"model": "m", "max_tokens": 50, "messages": messages, "tools": tools, **fields})
