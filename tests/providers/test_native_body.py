"""The bodies that Messages endpoints get: untouched for Anthropic's, cut to what they take for the others."""

import hashlib
import json
from dataclasses import replace
from typing import Any

import pytest

from providers.clients.base import UpstreamCall
from providers.clients.native_body import body_for
from providers.native_dialect import ANTHROPIC, ROWS, NativeDialect, native_dialect_for
from providers.presets import PRESETS
from providers.target import Target, Timeouts
from providers.translation.dialect import Dialect
from providers.translation.request import InvalidRequest
from providers.translation.signature import seal
from providers.translation.web_search import SearchResult, result_block

OURS = seal({"p": "up", "m": "a"}, b"key")
BILLING = {"type": "text", "text": "x-anthropic-billing-header: cc_version=2.1.330.abc; cc_entrypoint=cli;"}
MARK = {"cache_control": {"type": "ephemeral"}}


def target(kind: str = "anthropic_compatible", model_id: str = "m", **fields: Any) -> Target:
    flags = fields.pop("flags", {})
    return Target(
        provider_name="nat",
        kind=kind,
        wire_format="anthropic",
        base_url="https://relay.example",
        secrets=(),
        model_id=model_id,
        timeouts=Timeouts(1, 1, 1, 1),
        dialect=Dialect(),
        native=native_dialect_for(kind, flags, {}, model_id=model_id),
        **fields,
    )


def call(body: dict[str, Any] | bytes) -> UpstreamCall:
    raw = body if isinstance(body, bytes) else json.dumps({"model": "m", "messages": [user()], **body}).encode()
    return UpstreamCall(
        body=json.loads(raw), raw=raw, streamed=True, requested_model="m", message_id="msg_x", input_tokens_estimate=1
    )


def user(content: Any = "hi") -> dict[str, Any]:
    return {"role": "user", "content": content}


def assistant(*blocks: dict[str, Any]) -> dict[str, Any]:
    return {"role": "assistant", "content": list(blocks)}


def text(value: str = "text", **more: Any) -> dict[str, Any]:
    return {"type": "text", "text": value, **more}


def thinking(signature: str | None) -> dict[str, Any]:
    return {"type": "thinking", "thinking": "hm", **({} if signature is None else {"signature": signature})}


TOOL_USE = {"type": "tool_use", "id": "toolu_1", "name": "Bash", "input": {"n": 1}}
RESULT = user([{"type": "tool_result", "tool_use_id": "toolu_1", "content": "done"}])


def sent(kind: str, body: dict[str, Any], **fields: Any) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(body_for(target(kind, **fields), call(body)).content)
    return document


CLAUDE_CODE: dict[str, Any] = {
    "messages": [
        user([text("do it", **MARK)]),
        {"role": "system", "content": [text("environment", **MARK)], "output_config": {"effort": "low"}},
    ],
    "system": [BILLING, text("identity", **MARK), text("rules", **MARK)],
    "tools": [
        {"name": "Bash", "input_schema": {"type": "object"}, "eager_input_streaming": True},
        {"name": "WebFetch", "input_schema": {"type": "object"}, "defer_loading": True},
        {"name": "DeferredToolPlaceholder", "input_schema": {"type": "object"}, "defer_loading": True},
    ],
    "metadata": {"user_id": "{}"},
    "max_tokens": 128000,
    "thinking": {"type": "adaptive", "display": "omitted"},
    "context_management": {"edits": [{"type": "clear_thinking_20251015", "keep": "all"}]},
    "safeguards": [{"type": "dangerous_tool_use", "classifier_context": {}}],
    "output_config": {"effort": "high"},
    "mcp_servers": [],
    "stream": True,
}


def test_every_kind_has_a_row() -> None:
    assert ROWS.keys() == PRESETS.keys()
    assert [kind for kind, row in ROWS.items() if row.is_anthropic] == ["anthropic_compatible"]


@pytest.mark.parametrize(
    "raw",
    [
        json.dumps({"model": "m", **CLAUDE_CODE}).encode(),
        json.dumps({"model": "m", **CLAUDE_CODE}, indent=2, ensure_ascii=False).encode(),
        b'{ "future_field" : {"deep":[1,2.50,1e3]},\r\n\t"model":"m","stream":true, "messages":[{"role":"user","content":"\\u00fc \\u4e16\\ud83d\\ude00 \xe4\xb8\x96\\/"}] } ',
        b'{"model":"m","metadata":{"a":1,"a":2},"messages":[{"role":"user","content":"x"}],"n":123456789012345678901234567890,"stop":null,"stop":1}',
        json.dumps({"model": "m", "messages": [user(), assistant(thinking("EqQBgenuine"), TOOL_USE), RESULT]}).encode(),
    ],
)  # fmt: skip
def test_anthropic_gets_the_very_bytes(raw: bytes) -> None:
    before = hashlib.sha256(raw).hexdigest()
    assert hashlib.sha256(body_for(target(), call(raw)).content).hexdigest() == before


def test_a_mapped_model_is_the_only_change() -> None:
    raw = b'{"tools":[{"model":"x"}], "metadata":{"model":"m"}, "model" : "m", "n":12345678901234567890123, "messages":[{"role":"user","content":"\\"model\\":\\"m\\" \\u4e16"}]}'
    assert body_for(target(model_id="real"), call(raw)).content == raw.replace(b'"model" : "m"', b'"model" : "real"')


@pytest.mark.parametrize(
    ("signature", "kind", "is_kept"),
    [
        (OURS, "anthropic_compatible", False),
        ("", "anthropic_compatible", False),
        (None, "anthropic_compatible", False),
        ("EqQBgenuine", "anthropic_compatible", True),
        (OURS, "dashscope", False),
        ("", "dashscope", True),
        ("", "deepseek", True),
    ],
)
def test_thinking_that_the_upstream_did_not_write_leaves_the_history(
    signature: str | None, kind: str, is_kept: bool
) -> None:
    body = {"messages": [user(), assistant(thinking(signature), text()), user("go on")]}
    blocks = sent(kind, body)["messages"][1]["content"]
    assert [block["type"] for block in blocks] == (["thinking", "text"] if is_kept else ["text"])


def test_openrouter_strips_unsigned_thinking_for_anthropic_models_alone() -> None:
    body = {"messages": [user(), assistant(thinking(""), text()), user("go on")]}
    for model_id, count in (("anthropic/claude-opus-5", 1), ("z-ai/glm-5.2", 2)):
        assert len(sent("openrouter", body, model_id=model_id)["messages"][1]["content"]) == count


def test_stripping_touches_no_other_byte() -> None:
    block = f'{{"type":"thinking","thinking":"x","signature":"{OURS}"}},'
    raw = (
        '{"model":"m" ,"big":12345678901234567890123,"messages":[ {"role":"user","content":"\\u4e16"}, '
        '{"role" : "assistant","content":[' + block + ' {"type":"text","text":"a\\/b"} ]}]}'
    ).encode()
    assert body_for(target(), call(raw)).content == raw.replace(block.encode(), b"")


def test_a_message_of_stripped_thinking_alone_goes_wholly() -> None:
    messages = sent("anthropic_compatible", {"messages": [user(), assistant(thinking("")), user("again")]})["messages"]
    assert [message["role"] for message in messages] == ["user", "user"]


@pytest.mark.parametrize(
    ("messages", "stays_on"),
    [
        ([user(), assistant(thinking(OURS), TOOL_USE), RESULT], False),
        ([user(), assistant(thinking(OURS), thinking("EqQB"), TOOL_USE), RESULT], True),
        ([user(), assistant(thinking(OURS), text()), user("next")], True),
        ([user(), assistant(thinking(OURS), text()), user(), assistant(thinking("EqQB"), TOOL_USE), RESULT], True),
        # nothing was stripped: the client's own business
        ([user(), assistant(TOOL_USE), RESULT], True),
    ],
)
def test_thinking_is_off_where_its_rule_cannot_hold(messages: list[dict[str, Any]], stays_on: bool) -> None:
    clear, tools = {"type": "clear_thinking_20251015"}, {"type": "clear_tool_uses_20250919"}
    body: dict[str, Any] = {
        "messages": messages,
        "thinking": {"type": "adaptive"},
        "context_management": {"edits": [clear]},
    }
    found = sent("anthropic_compatible", body)
    assert ("thinking" in found, "context_management" in found) == (stays_on, stays_on)
    found = sent("anthropic_compatible", {**body, "context_management": {"edits": [clear, tools]}})
    assert found["context_management"]["edits"] == ([clear, tools] if stays_on else [tools])
    disabled = {**body, "thinking": {"type": "disabled"}}
    assert sent("anthropic_compatible", disabled)["thinking"] == {"type": "disabled"}


def test_a_strict_platform_gets_the_documented_api_alone() -> None:
    found = sent("dashscope", CLAUDE_CODE, max_output_tokens=32000)
    assert list(found) == ["model", "messages", "system", "tools", "metadata", "max_tokens", "thinking", "stream"]
    assert found["thinking"] == {"type": "enabled", "budget_tokens": 16384}
    assert found["max_tokens"] == 32000
    assert found["system"] == CLAUDE_CODE["system"][1:]
    assert found["tools"] == [{"name": name, "input_schema": {"type": "object"}} for name in ("Bash", "WebFetch")]
    assert found["messages"] == [
        user([text("do it", **MARK), text("<system-reminder>\nenvironment\n</system-reminder>")])
    ]
    assert set(body_for(target("dashscope"), call(CLAUDE_CODE)).dropped_fields) == {
        "context_management",
        "safeguards",
        "output_config",
        "mcp_servers",
    }


def test_siliconflow_gets_neither_thinking_nor_metadata_nor_marks() -> None:
    found = sent("siliconflow", CLAUDE_CODE)
    assert not {"thinking", "metadata"} & found.keys()
    assert "cache_control" not in json.dumps(found)


def test_openrouter_keeps_betas_and_drops_the_billing_header() -> None:
    found = sent("openrouter", CLAUDE_CODE, model_id="anthropic/claude-opus-5")
    assert found["messages"] == CLAUDE_CODE["messages"]
    assert found["tools"] == CLAUDE_CODE["tools"]
    assert found["context_management"] == CLAUDE_CODE["context_management"]
    assert found["system"] == CLAUDE_CODE["system"][1:]
    assert found["thinking"] == CLAUDE_CODE["thinking"]


@pytest.mark.parametrize(("kind", "keeps"), [("ollama", True), ("deepseek", True), ("kimi", False)])
def test_effort_goes_where_it_is_understood(kind: str, keeps: bool) -> None:
    found = sent(kind, {"output_config": {"effort": "low", "task_budget": {}}})
    assert found.get("output_config") == ({"effort": "low"} if keeps else None)


@pytest.mark.parametrize("system", [None, "be brief", [text("be brief")], [BILLING]])
def test_a_wish_for_json_survives_in_words(system: Any) -> None:
    body = {"output_config": {"format": {"type": "json_schema", "schema": {"type": "object"}}}}
    found = sent("dashscope", body if system is None else {**body, "system": system})
    assert "output_config" not in found
    assert '{"type":"object"}' in json.dumps(found["system"]).replace("\\", "")
    assert ("be brief" in json.dumps(found["system"])) is ("be brief" in json.dumps(system))
    assert "billing" not in json.dumps(found)


@pytest.mark.parametrize(
    ("asked", "fields", "max_tokens", "expected"),
    [
        ({"type": "adaptive"}, {}, 32000, {"type": "enabled", "budget_tokens": 8192}),
        ({"type": "adaptive"}, {}, 2000, {"type": "enabled", "budget_tokens": 1600}),
        ({"type": "adaptive"}, {}, 1000, {"type": "disabled"}),
        ({"type": "adaptive"}, {"capabilities": frozenset({"tools"})}, 32000, {"type": "disabled"}),
        ({"type": "adaptive"}, {"capabilities": frozenset({"thinking"})}, 32000, {"type": "enabled", "budget_tokens": 8192}),
        ({"type": "enabled", "budget_tokens": 31999, "display": "omitted"}, {}, 64000, {"type": "enabled", "budget_tokens": 31999}),
        ({"type": "enabled", "budget_tokens": 31999}, {"max_output_tokens": 10000}, 64000, {"type": "enabled", "budget_tokens": 8000}),
        ({"type": "disabled"}, {}, 32000, {"type": "disabled"}),
    ],
)  # fmt: skip
def test_thinking_in_the_words_of_the_platform(
    asked: dict[str, Any], fields: dict[str, Any], max_tokens: int, expected: dict[str, Any]
) -> None:
    assert sent("dashscope", {"thinking": asked, "max_tokens": max_tokens}, **fields)["thinking"] == expected


def test_ollama_gets_no_image_by_url_and_reads_tool_references() -> None:
    url = {"type": "image", "source": {"type": "url", "url": "https://x.test/a.png"}}
    data = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "AA=="}}
    result = {
        "type": "tool_result",
        "tool_use_id": "t",
        "content": [{"type": "tool_reference", "tool_name": "WebFetch"}, url],
    }
    blocks = sent("ollama", {"messages": [user([url, data, result])]})["messages"][0]["content"]
    assert blocks[0] == text("[image not attached, the platform fetches none: https://x.test/a.png]")
    assert blocks[1] == data
    assert blocks[2]["content"] == [text("Tool available: WebFetch"), blocks[0]]
    assert sent("dashscope", {"messages": [user([url])]})["messages"][0]["content"] == [url]


REMINDER = "<system-reminder>\n{}\n</system-reminder>"


@pytest.mark.parametrize(
    ("messages", "expected"),
    [
        (
            [{"role": "system", "content": "first"}, user("hi")],
            [user([text(REMINDER.format("first")), text("hi")])],
        ),
        (
            [user("hi"), {"role": "system", "content": "a"}, {"role": "system", "content": [text("b"), text("c")]}],
            [user([text("hi"), text(REMINDER.format("a")), text(REMINDER.format("b\n\nc"))])],
        ),
        (
            [user(), assistant(TOOL_USE), {"role": "system", "content": "s"}, user([*RESULT["content"], text("more")])],
            [user(), assistant(TOOL_USE), user([*RESULT["content"], text(REMINDER.format("s")), text("more")])],
        ),
        (
            [user(), assistant(TOOL_USE), RESULT, {"role": "system", "content": "s"}],
            [user(), assistant(TOOL_USE), user([*RESULT["content"], text(REMINDER.format("s"))])],
        ),
        (
            [user(), assistant(text()), {"role": "system", "content": "last"}],
            [user(), assistant(text()), user(REMINDER.format("last"))],
        ),
        ([user(), {"role": "system", "content": " "}], [user()]),
    ],
)
def test_system_messages_fold_into_user_messages(
    messages: list[dict[str, Any]], expected: list[dict[str, Any]]
) -> None:
    assert sent("dashscope", {"messages": messages})["messages"] == expected
    assert sent("anthropic_compatible", {"messages": messages})["messages"] == messages


def test_a_list_without_tools_goes_with_its_choice() -> None:
    assert not {"tools", "tool_choice"} & sent("dashscope", {"tools": [], "tool_choice": {"type": "auto"}}).keys()
    assert sent("anthropic_compatible", {"tools": []})["tools"] == []


def test_flags_override_the_row() -> None:
    flags = {"native_billing_header": True, "vision": True, "native_system": "preserve"}
    found = native_dialect_for("dashscope", flags, {"native_system": "fold"})
    assert found == replace(ROWS["dashscope"], native_billing_header=True)
    assert native_dialect_for("anthropic_compatible", {"native_betas": False}, {}) == replace(
        ANTHROPIC, native_betas=False
    )
    assert sent("dashscope", {"system": [BILLING]}, flags={"native_billing_header": True})["system"] == [BILLING]
    assert isinstance(ROWS["dashscope"], NativeDialect)


def test_a_body_nested_too_deeply_to_change_is_the_clients_fault() -> None:
    asked = call({})
    asked.raw = b'{"x":' + b"[" * 100_000 + b"]" * 100_000 + b',"model":"m"}'
    with pytest.raises(InvalidRequest):
        body_for(target(model_id="other"), asked)
    blocks: list[Any] = []
    for _ in range(480):
        blocks = [{"type": "tool_result", "tool_use_id": "t", "content": blocks}]
    asked = replace(call({}), body={"model": "m", "messages": [user(blocks)]})
    with pytest.raises(InvalidRequest):
        body_for(target("dashscope"), asked)
    assert body_for(target(), asked).content == asked.raw


def test_searches_of_the_gateway_become_text() -> None:
    def search(identifier: str, content: str) -> list[dict[str, Any]]:
        result = {
            "type": "web_search_result",
            "title": "Wolf",
            "url": "https://w.example/",
            "encrypted_content": content,
        }
        return [
            {"type": "server_tool_use", "id": identifier, "name": "web_search", "input": {"query": "wolves"}},
            {"type": "web_search_tool_result", "tool_use_id": identifier, "content": [{**result, "page_age": None}]},
        ]

    sealed = result_block("s", [SearchResult("", "", "A wolf.")])["content"][0]["encrypted_content"]
    ours, theirs = search("srvtoolu_1", sealed), search("srvtoolu_2", "EqgfCioIARgBIiQ3YT")
    body = {"messages": [user(), assistant(*ours, *theirs, text("Done.")), user("go on")]}
    content = sent("anthropic_compatible", body)["messages"][1]["content"]
    assert content == [
        text("[web_search: wolves]"),
        text("[web_search result] Wolf (https://w.example/)\nA wolf."),
        *theirs,
        text("Done."),
    ]
