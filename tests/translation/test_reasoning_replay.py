"""Reasoning that one platform wrote, in the history of a call to the same or another one."""

import json
from typing import Any

import pytest

from providers.translation import signature
from providers.translation.dialect import Dialect
from providers.translation.request import RequestOptions, to_chat_request, validate
from tests.translation.answers import KEY, TOOL_STOP, call, calls, chunk, message
from tests.translation.conversations import READ, request_body, result, user
from tests.translation.targets import TARGETS, dialect_of

MEMBERS = ("reasoning_content", "reasoning", "reasoning_details")
DETAILS = [
    {"type": "reasoning.text", "text": "Let me look.", "signature": "vendor-sig", "index": 0},
    {"type": "reasoning.encrypted", "data": "enc", "index": 1},
]
ANTHROPIC = {"type": "thinking", "thinking": "Let me look.", "signature": "ErUBCkYIBRgCIkDgenuine=="}
REDACTED = {"type": "redacted_thinking", "data": "EmwKAhgBEgy"}


def written(member: str, **changes: Any) -> list[dict[str, Any]]:
    """Return the content of an answer with reasoning and one call, as the client got it from `main/big`."""
    value: Any = DETAILS if member == "reasoning_details" else "Let me look."
    fragment = call(0, "t1", "Read", '{"path":"/a"}')
    content = message([chunk({member: value}), calls(fragment), TOOL_STOP], **changes)["content"]
    assert [block["type"] for block in content] == ["thinking", "tool_use"]
    return content


def replayed(content: list[dict[str, Any]], style: str, **changes: Any) -> dict[str, Any]:
    """Return what goes back as reasoning to a platform of `style`; nothing of it may be anywhere else."""
    values: dict[str, Any] = {"model_id": "big", "provider_name": "main", "signing_key": KEY, **changes}
    options = RequestOptions(
        dialect=values.pop("dialect", Dialect(reasoning_replay=style)), input_tokens_estimate=10, **values
    )
    body = request_body(user("q"), {"role": "assistant", "content": content}, user(result("t1")), tools=[READ])
    before = json.dumps(body)
    messages = to_chat_request(validate(body), options).body["messages"]
    assert json.dumps(body) == before
    assert [m["role"] for m in messages] == ["user", "assistant", "tool"]
    assistant = messages[1]
    assert assistant["content"] in (None, "")
    assert assistant["tool_calls"][0]["id"] == "t1"
    return {name: assistant[name] for name in MEMBERS if name in assistant}


def thinking(text: str, sig: Any) -> dict[str, Any]:
    return {"type": "thinking", "thinking": text, "signature": sig}


CALL = {"type": "tool_use", "id": "t1", "name": "Read", "input": {"path": "/a"}}
TEXT_BACK = {"reasoning_content": {"reasoning_content": "Let me look."}, "reasoning": {"reasoning": "Let me look."}}
NOTHING = {"reasoning_content": {"reasoning_content": ""}, "reasoning": {}, "reasoning_details": {}, "drop": {}}


@pytest.mark.parametrize("style", ["drop", "reasoning_content", "reasoning", "reasoning_details"])
@pytest.mark.parametrize("omits_thinking", [False, True], ids=["shown", "omitted"])
@pytest.mark.parametrize("member", ["reasoning_content", "reasoning", "reasoning_details"])
def test_from_one_platform_to_another(member, omits_thinking, style):
    content = written(member, omits_thinking=omits_thinking)
    assert content[0]["thinking"] == ("" if omits_thinking else "Let me look.")
    text = TEXT_BACK.get(style, {})
    # Another platform, and another model of the same one, get the text where they take text.
    assert replayed(content, style, provider_name="second") == text
    assert replayed(content, style, model_id="small") == text
    details = {"reasoning_details": DETAILS} if member == "reasoning_details" else {}
    assert replayed(content, style) == (details if style == "reasoning_details" else text)


@pytest.mark.parametrize("style", ["drop", "reasoning_content", "reasoning", "reasoning_details"])
@pytest.mark.parametrize("sig", ["ErUBCkYIBRgCIkDgenuine==", "", None, 5, "wg1.AAAA", "wg1.é"])
def test_text_that_is_shown_needs_no_signature_of_ours(sig, style):
    assert replayed([thinking("Let me look.", sig), CALL], style) == TEXT_BACK.get(style, {})


@pytest.mark.parametrize("style", ["drop", "reasoning_content", "reasoning", "reasoning_details"])
@pytest.mark.parametrize("block", [REDACTED, thinking("", ""), thinking("", "ErUBCkYIBRgCIkDgenuine==")])
def test_reasoning_nobody_can_read(block, style):
    assert replayed([block, CALL], style) == NOTHING[style]


@pytest.mark.parametrize("style", ["drop", "reasoning_content", "reasoning", "reasoning_details"])
@pytest.mark.parametrize("forgery", ["tampered", "another installation", "cut"])
def test_what_a_signature_hides_counts_only_if_we_sealed_it(forgery, style):
    content = written("reasoning_details", omits_thinking=True)
    sealed = content[0]["signature"]
    if forgery == "tampered":
        content[0]["signature"] = sealed[:40] + ("A" if sealed[40] != "A" else "B") + sealed[41:]
    elif forgery == "cut":
        content[0]["signature"] = sealed[:-8]
    key = b"another key" if forgery == "another installation" else KEY
    assert replayed(content, style, signing_key=key) == NOTHING[style]


def test_a_call_that_falls_back_is_translated_for_each_platform_anew():
    content = [*written("reasoning_details")[:1], ANTHROPIC, REDACTED, CALL]
    assert replayed(content, "reasoning_details") == {"reasoning_details": DETAILS}
    assert replayed(content, "reasoning_content", provider_name="second") == {
        "reasoning_content": "Let me look.Let me look."
    }
    assert replayed(content, "drop", provider_name="third") == {}
    assert replayed(content, "reasoning_details") == {"reasoning_details": DETAILS}


@pytest.mark.parametrize("row", [row for row in TARGETS if dialect_of(row).reasoning_replay == "reasoning_content"])
def test_platforms_that_refuse_a_call_without_reasoning_always_get_the_key(row):
    for capabilities in (None, [], ["tools"]):
        for content in ([CALL], [REDACTED, CALL], [thinking("", ""), CALL]):
            dialect = dialect_of(row, capabilities)
            assert replayed(content, "", dialect=dialect) == {"reasoning_content": ""}


def test_very_long_reasoning_does_not_make_a_signature_of_its_length():
    for noise in ({"t": "考" * 200_000}, {"d": [{"data": "z" * 600_000}]}, {"t": "x" * 600_000, "d": [1]}):
        sealed = signature.seal({"p": "main", "m": "big", **noise}, KEY)
        assert signature.unseal(sealed, KEY) == {"p": "main", "m": "big"}
        assert len(sealed) < 1000
    # The text is kept before the details, which only one model can use.
    both = {"t": "x" * 1000, "d": [{"data": "z" * 600_000}]}
    assert signature.unseal(signature.seal(both, KEY), KEY) == {"t": "x" * 1000}
    content = written("reasoning_content", omits_thinking=True)
    content[0]["signature"] = signature.seal({"p": "main", "m": "big", "t": "x" * 600_000}, KEY)
    assert replayed(content, "reasoning_content") == {"reasoning_content": ""}


def test_long_reasoning_in_small_pieces_is_joined_once():
    pieces = [chunk({"reasoning_details": [{"type": "reasoning.text", "text": "word ", "index": 0}]})] * 20_000
    fragment = call(0, "t1", "Read", '{"path":"/a"}')
    content = message([*pieces, calls(fragment), TOOL_STOP])["content"]
    assert content[0]["thinking"] == "word " * 20_000
    details = replayed(content, "reasoning_details")["reasoning_details"]
    assert details == [{"type": "reasoning.text", "text": "word " * 20_000, "index": 0}]
