"""Addresses, dialects and the validation of provider rows."""

from typing import Any

import pytest
from django.core.exceptions import ValidationError

from providers.models import Provider
from providers.presets import (
    PRESETS,
    auth_style_of,
    base_url_of,
    check_flags,
    dialect_for,
    endpoint,
    server_root,
)
from providers.provider_rules import validate_provider

CHAT = "/chat/completions"


@pytest.mark.parametrize(
    ("base", "expected"),
    [
        ("http://h:9000/v1", "http://h:9000/v1/chat/completions"),
        ("http://h:9000/v1/", "http://h:9000/v1/chat/completions"),
        ("http://h:9000", "http://h:9000/v1/chat/completions"),
        ("http://h:9000/", "http://h:9000/v1/chat/completions"),
        ("http://h:9000/v1/chat/completions", "http://h:9000/v1/chat/completions"),
        ("http://h:9000/v1/models/", "http://h:9000/v1/chat/completions"),
        ("https://api.deepseek.com", "https://api.deepseek.com/v1/chat/completions"),
        ("https://open.bigmodel.cn/api/paas/v4", "https://open.bigmodel.cn/api/paas/v4/chat/completions"),
        (
            "https://open.bigmodel.cn/api/paas/v4/chat/completions",
            "https://open.bigmodel.cn/api/paas/v4/chat/completions",
        ),
        ("https://r.openai.azure.com/openai/v1", "https://r.openai.azure.com/openai/v1/chat/completions"),
        ("https://r.openai.azure.com/openai", "https://r.openai.azure.com/openai/v1/chat/completions"),
        ("https://g.example/v1beta/openai", "https://g.example/v1beta/openai/chat/completions"),
        ("https://openrouter.ai/api", "https://openrouter.ai/api/v1/chat/completions"),
        (
            "https://dashscope.aliyuncs.com/apps/anthropic",
            "https://dashscope.aliyuncs.com/compatible-mode/v1/chat/completions",
        ),
        ("https://h/v1?api-version=2", "https://h/v1/chat/completions?api-version=2"),
    ],
)
def test_openai_base_works_in_every_spelling(base: str, expected: str) -> None:
    assert endpoint(base, "openai", CHAT) == expected


@pytest.mark.parametrize(
    ("base", "expected"),
    [
        ("https://api.anthropic.com", "https://api.anthropic.com/v1/messages"),
        ("https://api.anthropic.com/", "https://api.anthropic.com/v1/messages"),
        ("https://api.anthropic.com/v1", "https://api.anthropic.com/v1/messages"),
        ("https://api.anthropic.com/v1/messages", "https://api.anthropic.com/v1/messages"),
        ("https://openrouter.ai/api/v1", "https://openrouter.ai/api/v1/messages"),
        (
            "https://dashscope.aliyuncs.com/compatible-mode/v1",
            "https://dashscope.aliyuncs.com/apps/anthropic/v1/messages",
        ),
        ("https://open.bigmodel.cn/api/anthropic", "https://open.bigmodel.cn/api/anthropic/v1/messages"),
    ],
)
def test_anthropic_base_works_with_and_without_version(base: str, expected: str) -> None:
    assert endpoint(base, "anthropic", "/messages") == expected


def test_endpoint_joins_the_queries() -> None:
    assert endpoint("https://h/v1?a=1", "openai", "/models?b=2") == "https://h/v1/models?a=1&b=2"


@pytest.mark.parametrize(
    "base", ["http://h:11434", "http://h:11434/", "http://h:11434/v1", "http://h:11434/api", "http://h:11434/v1/models"]
)
def test_server_root_is_the_address_without_paths(base: str) -> None:
    assert server_root(base) == "http://h:11434"


@pytest.mark.parametrize("kind", sorted(PRESETS))
def test_every_kind_of_the_model_has_a_preset_with_an_address(kind: str) -> None:
    assert kind in Provider.Kind.values
    preset = PRESETS[kind]
    assert base_url_of(kind, "", preset.wire_format).startswith("http")
    assert set(PRESETS) == set(Provider.Kind.values)


@pytest.mark.parametrize(
    ("kind", "base", "model", "expected"),
    [
        (
            "openai_compatible",
            "http://h/v1",
            "gpt-5",
            {"max_tokens_field": "max_tokens", "sampling": True, "thinking_dialect": "none"},
        ),
        (
            "openai_compatible",
            "https://api.openai.com/v1",
            "gpt-5.6-sol",
            {
                "max_tokens_field": "max_completion_tokens",
                "sampling": False,
                "stop": False,
                "thinking_dialect": "openai",
            },
        ),
        (
            "openai_compatible",
            "https://api.openai.com/v1",
            "gpt-4.1",
            {"sampling": True, "thinking": False, "pdf": True},
        ),
        ("openai_compatible", "", "o3", {"sampling": False, "parallel_tool_calls": False}),
        ("openai_compatible", "https://r.openai.azure.com/openai/v1", "mine", {"tool_id": "openai40"}),
        (
            "openai_compatible",
            "https://api.deepseek.com",
            "deepseek-v4-pro",
            {"thinking_dialect": "deepseek", "reasoning_replay": "reasoning_content", "forced_tools": False},
        ),
        ("openai_compatible", "https://evil-api.deepseek.com.example", "m", {"thinking_dialect": "none"}),
        (
            "openai_compatible",
            "https://api.moonshot.cn/v1",
            "kimi-k2.6",
            {"sampling": False, "reasoning_replay": "reasoning_content"},
        ),
        ("openai_compatible", "https://open.bigmodel.cn/api/paas/v4", "glm-4.5v", {"vision": True}),
        ("openai_compatible", "https://open.bigmodel.cn/api/paas/v4", "glm-5.2", {"vision": False, "null_content": ""}),
        (
            "dashscope",
            "",
            "qwen3.6-plus",
            {"thinking_dialect": "dashscope", "reasoning_replay": "reasoning_content", "top_k": True, "vision": True},
        ),
        (
            "dashscope",
            "",
            "qwen3-coder-plus",
            {"thinking": False, "reasoning_replay": "drop", "vision": False},
        ),
        (
            "dashscope",
            "",
            "qwq-plus",
            {"thinking": False, "reasoning_replay": "reasoning_content", "stream_only": True},
        ),
        ("dashscope", "", "qwen3-omni-flash", {"stream_only": True}),
        ("dashscope", "", "qwen3-235b-a22b", {"stream_only": True}),
        ("dashscope", "", "qwen3-30b-a3b-instruct-2507", {"stream_only": False}),
        ("dashscope", "", "qwen3.6-plus", {"stream_only": False}),
        ("openrouter", "", "anthropic/claude-opus-5", {"cache_control": True, "thinking_dialect": "openrouter"}),
        ("openrouter", "", "google/gemini-3-pro", {"cache_control": True}),
        ("openrouter", "", "qwen/qwen3.7-plus", {"cache_control": True}),
        ("openrouter", "", "openai/gpt-5", {"cache_control": False, "sampling": False}),
        ("siliconflow", "", "zai-org/GLM-5.2", {"thinking_dialect": "siliconflow", "null_content": ""}),
        ("siliconflow", "", "Qwen/Qwen3-235B-A22B-Instruct-2507", {"thinking": False}),
        (
            "ollama",
            "",
            "qwen3:8b",
            {"thinking_dialect": "ollama", "buffer_tool_args": True, "null_content": "", "forced_tools": False},
        ),
        ("lmstudio", "", "x", {"thinking_dialect": "template", "buffer_tool_args": True, "null_content": ""}),
    ],
)
def test_dialect_follows_kind_vendor_and_model(kind: str, base: str, model: str, expected: dict[str, Any]) -> None:
    dialect = dialect_for(kind, {}, {}, None, base_url=base, model_id=model)
    assert {name: getattr(dialect, name) for name in expected} == expected


def test_capabilities_decide_vision_and_pdf_unless_a_flag_does() -> None:
    kind = "openai_compatible"
    assert dialect_for(kind, {}, {}, ["vision", "pdf"]).pdf
    assert not dialect_for(kind, {}, {}, ["tools"]).vision
    assert dialect_for(kind, {"vision": True}, {}, ["tools"]).vision
    assert not dialect_for(kind, {"vision": True}, {"vision": False}, ["vision"]).vision
    assert not dialect_for("dashscope", {}, {}, ["tools"], model_id="qwen3.6-plus").thinking


@pytest.mark.parametrize(
    ("flags", "named"),
    [
        ({"visoin": True}, "visoin"),
        ({"vision": "yes"}, "vision"),
        ({"vision": 1}, "vision"),
        ({"tool_name_max": True}, "tool_name_max"),
        ({"tool_name_max": 0}, "tool_name_max"),
        ({"thinking_dialect": "qwen"}, "thinking_dialect"),
        ({"null_content": 0}, "null_content"),
        ([], "flags"),
    ],
)
def test_bad_flag_is_named(flags: Any, named: str) -> None:
    (fault,) = check_flags(flags)
    assert fault.startswith(named)


def test_good_flags_have_no_fault_and_a_bad_one_in_a_row_is_left_out() -> None:
    good = {
        "vision": False,
        "tool_name_max": 40,
        "null_content": None,
        "thinking_dialect": "template",
        "tool_id": "mistral9",
    }
    assert list(check_flags(good)) == []
    assert dialect_for("ollama", {"vision": "no", "top_k": True}, {}, None).top_k


def row(**values: Any) -> Provider:
    return Provider(**{"name": "p", "kind": "openai_compatible", "base_url": "https://api.example.com/v1", **values})


@pytest.mark.parametrize(
    ("values", "field"),
    [
        ({"kind": "nope"}, "kind"),
        ({"base_url": "http://127.0.0.1:9000/v1"}, "base_url"),
        ({"base_url": "http://localhost:9000/v1"}, "base_url"),
        ({"base_url": "http://[::1]:9000/v1"}, "base_url"),
        ({"base_url": "http://169.254.169.254/latest"}, "base_url"),
        ({"base_url": "http://2130706433/v1"}, "base_url"),
        ({"base_url": "ftp://example.com"}, "base_url"),
        ({"base_url": "https://user:pw@example.com/v1"}, "base_url"),
        ({"base_url": "https://example.com:99999/v1"}, "base_url"),
        ({"base_url": "", "wire_format": "anthropic"}, "base_url"),
        ({"base_url": "", "kind": "anthropic_compatible", "wire_format": "openai"}, "base_url"),
        ({"flags": {"nope": 1}}, "flags"),
        ({"extra_headers": {"authorization": "Bearer x"}}, "extra_headers"),
        ({"extra_headers": {"x-a": "b\r\nc: d"}}, "extra_headers"),
        ({"extra_headers": {"x a": "b"}}, "extra_headers"),
        ({"extra_headers": {"x-a": 1}}, "extra_headers"),
    ],
)
def test_provider_that_cannot_work_is_refused_by_field(values: dict[str, Any], field: str) -> None:
    with pytest.raises(ValidationError) as caught:
        validate_provider(row(**values))
    assert list(caught.value.message_dict) == [field]


@pytest.mark.parametrize(
    "values",
    [
        {},
        {"base_url": "http://127.0.0.1:9000/v1", "allow_private_network": True},
        {"kind": "ollama", "base_url": ""},
        {"kind": "lmstudio", "base_url": "http://192.168.1.5:1234"},
        {"kind": "dashscope", "base_url": "", "wire_format": "anthropic"},
        {"flags": {"vision": True}, "extra_headers": {"HTTP-Referer": "https://example.com"}},
    ],
)
def test_provider_that_can_work_is_accepted(values: dict[str, Any]) -> None:
    validate_provider(row(**values))


def test_auth_style() -> None:
    assert auth_style_of("openai_compatible", "https://r.openai.azure.com/openai/v1", "openai") == "api-key"
    assert auth_style_of("openai_compatible", "https://api.example.com", "openai") == "bearer"
    assert auth_style_of("anthropic_compatible", "https://relay.example", "anthropic") == "anthropic"
    assert auth_style_of("dashscope", "", "anthropic") == "bearer"
