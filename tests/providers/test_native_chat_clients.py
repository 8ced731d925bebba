"""Requests of OpenAI clients on their way to Messages endpoints: translated, then cut to what each platform takes."""

import json
from dataclasses import replace
from typing import Any

import pytest

from providers.clients.base import UpstreamCall
from providers.clients.native_body import NativeBody, body_for
from providers.native_dialect import ROWS
from providers.translation.openai_clients.chat_answer import ChatEncoder
from providers.translation.openai_clients.chat_request import from_chat
from tests.providers.test_native_files import BLIND, EXTRACT, PDF_DATA, PNG, made, pdf, target, text
from tests.translation.strict_anthropic import check

TOOL = {"type": "function", "function": {"name": "f", "parameters": {"type": "object"}, "strict": True}}
CALL = {"id": "a", "type": "function", "function": {"name": "f", "arguments": "{}"}}
HISTORY: list[dict[str, Any]] = [
    {"role": "system", "content": "Be brief."},
    {"role": "user", "content": [{"type": "text", "text": "go"}, {"type": "text", "text": " "}]},
    {"role": "assistant", "content": "", "tool_calls": [CALL]},
    {"role": "tool", "tool_call_id": "a", "content": ""},
    {"role": "developer", "content": "Hurry."},
]
ASKED: dict[str, Any] = {
    "model": "alias",
    "messages": HISTORY,
    "max_tokens": 20_000,
    "temperature": 0.5,
    "tools": [TOOL],
    "tool_choice": "required",
    "user": "u1",
    "service_tier": "auto",
    "stream": True,
}
OTHERS = sorted(ROWS.keys() - {"anthropic_compatible"})


def found(kind: str, document: dict[str, Any], model_id: str = "m", **fields: Any) -> dict[str, Any]:
    asked = chat_call(document)
    sent: dict[str, Any] = json.loads(body_for(target(kind, model_id, **fields), asked).content)
    return sent


def chat_call(document: dict[str, Any]) -> UpstreamCall:
    def encoder(asked: UpstreamCall) -> ChatEncoder:
        return ChatEncoder(document, message_id=asked.message_id, model="alias", created=0)

    body, raw = from_chat(document).body, json.dumps(document).encode()
    return UpstreamCall(body, raw, True, "alias", "msg_x", 1000, wire_format="openai", new_encoder=encoder)


BUDGET, OFF = {"type": "enabled", "budget_tokens": 16_000}, {"type": "disabled"}
ADAPTIVE, EFFORT = {"type": "adaptive"}, {"effort": "high"}
SHOWN = {**ADAPTIVE, "display": "summarized"}  # what a platform without betas does not get


@pytest.mark.parametrize(
    ("kind", "thinking", "config"),
    [
        ("openai_compatible", BUDGET, None),
        ("dashscope", BUDGET, None),
        ("openrouter", SHOWN, EFFORT),
        ("siliconflow", None, None),
        ("ollama", ADAPTIVE, EFFORT),
        ("lmstudio", BUDGET, None),
        ("llamacpp", BUDGET, None),
        ("deepseek", BUDGET, EFFORT),
        ("kimi", BUDGET, None),
        ("zhipu", BUDGET, None),
        ("minimax", ADAPTIVE, None),
    ],
)
def test_thinking_is_asked_for_in_the_words_of_the_platform(kind: str, thinking: Any, config: Any) -> None:
    sent = found(kind, {**ASKED, "reasoning_effort": "high"})
    assert (sent.get("thinking"), sent.get("output_config")) == (thinking, config)
    # A call cannot be forced, nor sampled as wished, while a model thinks.
    assert (sent["tool_choice"], sent.get("temperature")) == (
        ({"type": "auto"}, None) if thinking else ({"type": "any"}, 0.5)
    )
    for no_thinking in ({"reasoning_effort": "none"}, {}):
        sent = found(kind, {**ASKED, **no_thinking})
        assert sent.get("thinking") == (OFF if thinking and no_thinking else None)
        assert "output_config" not in sent
        assert (sent["tool_choice"], sent["temperature"]) == ({"type": "any"}, 0.5)


def test_every_row_is_in_the_table() -> None:
    [mark] = test_thinking_is_asked_for_in_the_words_of_the_platform.pytestmark  # type: ignore[attr-defined]
    assert sorted(row[0] for row in mark.args[1]) == OTHERS


@pytest.mark.parametrize("kind", OTHERS)
@pytest.mark.parametrize("effort", [None, "none", "low", "high"])
def test_the_whole_is_a_request_of_the_messages_api(kind: str, effort: str | None) -> None:
    schema = {"type": "json_schema", "json_schema": {"name": "n", "schema": {"type": "object"}}}
    for extra in ({}, {"response_format": schema}, {"max_tokens": 1500}):
        document = {**ASKED, **extra, **({"reasoning_effort": effort} if effort else {})}
        sent = found(kind, document)
        check(sent)
        assert "service_tier" not in sent
        assert sent["tools"] == [{"name": "f", "input_schema": {"type": "object"}}]
        assert [message["role"] for message in sent["messages"]] == ["user", "assistant", "user"]
        assert [block["type"] for block in sent["messages"][-1]["content"]] == ["tool_result", "text"]
        assert sent["messages"][0]["content"] == [text("go")]
        assert ("JSON Schema" in json.dumps(sent["system"])) is ("response_format" in extra)
        assert json.dumps(sent["system"]).count("JSON Schema") <= 1
        assert ("metadata" in sent) is (kind != "siliconflow")


def test_an_effort_does_not_go_beside_thinking_that_is_off() -> None:
    fields = {"capabilities": frozenset({"tools"})}
    for kind in ("deepseek", "ollama"):
        sent = found(kind, {**ASKED, "reasoning_effort": "high"}, **fields)
        assert sent["thinking"] == OFF
        assert "output_config" not in sent
        assert (sent["tool_choice"], sent["temperature"]) == ({"type": "any"}, 0.5)


@pytest.mark.parametrize(
    ("model_id", "thinking", "config"),
    [
        ("anthropic/claude-opus-5", SHOWN, EFFORT),
        ("anthropic/claude-3.7-sonnet", {"type": "enabled", "budget_tokens": 4096}, None),
        ("z-ai/glm-5.2", SHOWN, EFFORT),
    ],
)
def test_anthropics_models_elsewhere_keep_their_own_rules(model_id: str, thinking: Any, config: Any) -> None:
    document = {**ASKED, "messages": HISTORY[:2], "reasoning_effort": "high"}
    sent = found("openrouter", document, model_id)
    assert (sent["thinking"], sent.get("output_config")) == (thinking, config)


def test_the_limits_of_the_model_hold() -> None:
    for asked, expected in ((20_000, 4096), (None, 4096), (100, 100)):
        document = {key: value for key, value in {**ASKED, "max_tokens": asked}.items() if value is not None}
        limited = replace(target("dashscope"), max_output_tokens=4096)
        sent = json.loads(body_for(limited, chat_call({**document, "reasoning_effort": "high"})).content)
        assert sent["max_tokens"] == expected
        assert sent["thinking"] == (OFF if expected == 100 else {"type": "enabled", "budget_tokens": 3276})


def test_files_go_the_way_of_all_files() -> None:
    url = f"data:image/png;base64,{PNG}"
    file = {"type": "file", "file": {"filename": "q3.pdf", "file_data": f"data:application/pdf;base64,{PDF_DATA}"}}
    lost = {"role": "tool", "tool_call_id": "lost", "content": [{"type": "image_url", "image_url": {"url": url}}]}
    document = {**ASKED, "messages": [{"role": "user", "content": [file]}, lost]}
    for kind, first in (
        ("dashscope", text(EXTRACT.format(' title="q3.pdf"'))),
        ("deepseek", text(EXTRACT.format(' title="q3.pdf"'))),
        ("openrouter", pdf(title="q3.pdf")),
    ):
        sent: NativeBody = made(target(kind), chat_call(document))
        [message] = json.loads(sent.content)["messages"]
        assert message["content"][0] == first
        assert message["content"][1] == text("Tool result (lost): ")
        assert message["content"][2] == (
            text(BLIND)
            if kind == "deepseek"
            else {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": PNG}}
        )
