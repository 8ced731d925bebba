import json
import math

import pytest

from providers.translation.dialect import Dialect
from providers.translation.request import InvalidRequest, validate
from tests.translation.conversations import (
    KEY,
    assistant,
    request_body,
    translate,
    user,
)
from tests.translation.strict_openai import complaints

SCHEMA = {
    "type": "object",
    "properties": {"title": {"type": "string"}},
    "required": ["title"],
    "additionalProperties": False,
}
OUTPUT = {"format": {"type": "json_schema", "schema": SCHEMA}}


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (None, "JSON object"),
        ([], "JSON object"),
        ({}, "model: Field required"),
        (request_body(model=5), "model: "),
        (request_body(model=""), "model: "),
        ({"model": "m", "messages": [user("x")]}, "max_tokens: Field required"),
        (request_body(max_tokens=True), "max_tokens: "),
        (request_body(max_tokens=-1), "max_tokens: "),
        (request_body(max_tokens="5"), "max_tokens: "),
        (request_body(max_tokens=1.5), "max_tokens: "),
        (request_body(max_tokens=math.inf), "max_tokens: "),
        ({"model": "m", "max_tokens": 5}, "messages: Field required"),
        ({"model": "m", "max_tokens": 5, "messages": {}}, "messages: "),
        ({"model": "m", "max_tokens": 5, "messages": []}, "at least one message"),
        (request_body(5), "messages.0: "),  # type: ignore[arg-type]
        (request_body({"content": "x"}), "messages.0.role: "),
        (request_body({"role": "tool", "content": "x"}), "messages.0.role: "),
        (request_body({"role": [], "content": "x"}), "messages.0.role: "),
        (request_body({"role": "user"}), "messages.0.content: Field required"),
        (request_body(user("x"), {"role": "user", "content": 5}), "messages.1.content: "),
        (request_body({"role": "user", "content": ["x"]}), "messages.0.content.0: "),
        (request_body({"role": "user", "content": [{"text": "x"}]}), "messages.0.content.0.type: "),
        (
            request_body(assistant({"type": "tool_use", "id": "a"})),
            "messages.0.content.0: tool_use needs an id and a name",
        ),
        (request_body(assistant({"type": "tool_use", "name": "a", "id": None})), "tool_use needs"),
        (
            request_body(user({"type": "tool_result", "content": "x"})),
            "messages.0.content.0: tool_result needs a tool_use_id",
        ),
    ],
)
def test_invalid_request_names_the_path(body, message):
    with pytest.raises(InvalidRequest) as caught:
        validate(body)
    assert message in caught.value.message
    assert "\n" not in caught.value.message


def test_count_tokens_needs_no_max_tokens():
    body = {"model": "m", "messages": [user("x")]}
    assert validate(body, require_max_tokens=False) is body


def test_plain_request_has_no_other_keys():
    request = translate(user("hello there"), system="You are S.", max_tokens=321)
    assert request.body == {
        "model": "vendor-model",
        "messages": [{"role": "system", "content": "You are S."}, {"role": "user", "content": "hello there"}],
        "max_tokens": 321,
        "stream": True,
        "stream_options": {"include_usage": True},
    }
    assert (request.dropped_fields, request.local_text, request.shows_thinking) == ([], None, False)


def test_stream_options_only_where_they_are_taken():
    body = translate(dialect=Dialect(stream_options=False), stream=False).body
    assert body["stream"] is True
    assert "stream_options" not in body


@pytest.mark.parametrize(
    ("wanted", "option", "sent"),
    [
        (1000, {}, 1000),
        (1e3, {}, 1000),
        (10**40, {}, 2**31 - 1),
        (128_000, {"max_output_tokens": 8192}, 8192),
        (128_000, {"context_window": 32_768, "input_tokens_estimate": 10_000}, 32_768 - 10_000 - 756),
        (100, {"context_window": 32_768, "input_tokens_estimate": 10_000}, 100),
        (5000, {"context_window": 8192, "input_tokens_estimate": 7000}, 1024),
        (5000, {"context_window": 8192, "input_tokens_estimate": 8000}, 192),
        (5000, {"context_window": 8192, "input_tokens_estimate": 9000}, 1),
    ],
)
def test_max_tokens_is_clamped(wanted, option, sent):
    assert translate(max_tokens=wanted, option=option).body["max_tokens"] == sent


def test_max_tokens_goes_into_the_field_of_the_dialect():
    body = translate(dialect=Dialect(max_tokens_field="max_completion_tokens")).body
    assert body["max_completion_tokens"] == 1000
    assert "max_tokens" not in body


def test_max_tokens_zero_is_answered_here():
    request = translate(max_tokens=0)
    assert (request.local_text, request.local_stop_reason) == ("", "max_tokens")


@pytest.mark.parametrize(
    ("sequences", "sent", "dropped"),
    [
        (["</severity>"], ["</severity>"], []),
        (["", "\n\n", "\n\nHuman:"], ["\n\nHuman:"], []),
        (["a", "a", "b"], ["a", "b"], []),
        (list("abcdef"), list("abcd"), ["stop_sequences"]),
        ("x", ["x"], []),
        ([None, 5, {}], None, []),
        (5, None, ["stop_sequences"]),
        ([], None, []),
    ],
)
def test_stop_sequences(sequences, sent, dropped):
    request = translate(stop_sequences=sequences)
    assert request.body.get("stop") == sent
    assert request.dropped_fields == dropped


def test_stop_sequences_are_kept_for_the_way_back():
    request = translate(stop_sequences=list("abcdef"), dialect=Dialect(stop=False))
    assert "stop" not in request.body
    assert request.stop_sequences == list("abcdef")


@pytest.mark.parametrize(
    ("fields", "dialect", "sent"),
    [
        ({"temperature": 0.25, "top_p": 0.9}, Dialect(), {"temperature": 0.25, "top_p": 0.9}),
        ({"temperature": -0.0}, Dialect(), {"temperature": 0}),
        ({"temperature": "a", "top_p": True}, Dialect(), {}),
        ({"temperature": math.inf, "top_p": 7}, Dialect(), {}),
        ({"temperature": 0.5, "top_p": 0.9}, Dialect(sampling=False), {}),
        ({"temperature": 1, "thinking": {"type": "adaptive"}}, Dialect(thinking_dialect="dashscope"), {}),
        (
            {"temperature": 1, "thinking": {"type": "disabled"}},
            Dialect(thinking_dialect="dashscope"),
            {"temperature": 1},
        ),
        ({"top_k": 40}, Dialect(), {}),
        ({"top_k": 40}, Dialect(top_k=True), {"top_k": 40}),
        ({"top_k": 10**40}, Dialect(top_k=True), {}),
        ({"top_k": 0}, Dialect(top_k=True), {}),
    ],
)
def test_sampling(fields, dialect, sent):
    body = translate(dialect=dialect, **fields).body
    assert {key: body[key] for key in ("temperature", "top_p", "top_k") if key in body} == sent


def test_fields_nobody_else_knows_are_dropped_and_named():
    fields = [
        "context_management",
        "safeguards",
        "container",
        "mcp_servers",
        "betas",
        "cache_control",
        "some_future_field",
    ]
    request = translate(
        **{name: {"x": 1} for name in fields}, output_config={"effort": "low", "task_budget": {"total": 1}}
    )
    assert complaints(request.body) == []
    assert request.dropped_fields == [*fields, "output_config.task_budget"]


def test_user_id_goes_out_only_to_openai_and_only_hashed():
    user_id = json.dumps({"device_id": "d" * 64, "session_id": "s"})
    dialect = Dialect(thinking_dialect="openai")
    first = translate(metadata={"user_id": user_id}, dialect=dialect).body["user"]
    assert first == translate(metadata={"user_id": user_id}, dialect=dialect).body["user"]
    assert len(first) == 32
    assert (
        first
        != translate(metadata={"user_id": user_id}, dialect=dialect, option={"signing_key": KEY + b"2"}).body["user"]
    )
    assert "user" not in translate(metadata={"user_id": user_id}).body
    for metadata in ([], {}, {"user_id": 5}, None):
        assert "user" not in translate(metadata=metadata, dialect=dialect).body


@pytest.mark.parametrize(("tier", "sent"), [("auto", "auto"), ("standard_only", "default"), ("x", None), ([], None)])
def test_service_tier_goes_only_to_openai(tier, sent):
    assert translate(service_tier=tier, dialect=Dialect(thinking_dialect="openai")).body.get("service_tier") == sent
    assert "service_tier" not in translate(service_tier=tier).body


@pytest.mark.parametrize("fields", [{"output_config": OUTPUT}, {"output_format": OUTPUT["format"]}])
def test_structured_output_becomes_a_response_format(fields):
    named = {"name": "output", "schema": SCHEMA}
    assert translate(**fields).body["response_format"] == {"type": "json_schema", "json_schema": named}
    strict = translate(**fields, dialect=Dialect(strict_json=True)).body["response_format"]
    assert strict["json_schema"] == {**named, "strict": True}


def test_strict_output_is_not_claimed_for_a_schema_with_optional_properties():
    loose = {**SCHEMA, "required": []}
    body = translate(
        output_config={"format": {"type": "json_schema", "schema": loose}}, dialect=Dialect(strict_json=True)
    ).body
    assert body["response_format"]["json_schema"] == {"name": "output", "schema": loose}


def test_structured_output_is_asked_for_in_words_where_there_is_no_response_format():
    body = translate(output_config=OUTPUT, dialect=Dialect(json_schema=False)).body
    assert "response_format" not in body
    assert '"title"' in body["messages"][0]["content"]


@pytest.mark.parametrize(
    "value", [{"format": None}, {"format": "x"}, {"format": {"type": "x"}}, {"format": {"type": "json_schema"}}, 5, []]
)
def test_odd_output_config_is_ignored(value):
    assert "response_format" not in translate(output_config=value).body
