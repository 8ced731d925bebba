"""The official Anthropic SDK through a real gateway process: which wire format answers makes no difference to it.

Each script runs against both targets, whole and streamed, with the synchronous and the asynchronous client: eight
messages, which must be equal but for what `DIFFERS` lists.
"""

import asyncio
import base64
from collections.abc import Iterator
from typing import Any

import anthropic
import pydantic
import pytest

from tests.client.two_wires import ANTHROPIC, OPENAI, TARGETS, TwoWires, two_wires
from tests.fakes.gateway_process import KEY
from tests.fakes.turns import Turn

pytestmark = pytest.mark.server

# What the messages are not compared in -> why.
DIFFERS = {
    "id": "new with each call; Anthropic's platform gives its own, which is relayed byte for byte",
    "model": "Anthropic's answer is relayed byte for byte; elsewhere it is the name the client asked for",
    "_request_id": "new with each call",
    "usage.cache_creation": "the SDK keeps that of message_start, when OpenAI's wire has not counted yet",
    "usage.inference_geo": "where Anthropic's platform ran the model; other platforms do not say",
    "stop_details.explanation": "the platform's own words; OpenAI's wire has a word for a filter, but no sentence",
    "content[].signature": "each platform's own; that there is one is compared",
    "content[].parsed_output": "of the SDK's stream accumulator, not of the wire",
}
READ: Any = {
    "name": "Read",
    "description": "Reads a file.",
    "input_schema": {"type": "object", "properties": {"path": {"type": "string"}}, "required": ["path"]},
}
CALLS = (("call_a", "Read", {"path": "a.txt"}), ("call_b", "Read", {"path": "日本語"}))
PNG = base64.b64encode(b"\x89PNG\r\n\x1a\n" + bytes(16)).decode()
QUESTION: Any = [{"role": "user", "content": "Go."}]
LONG = "A sentence of many words, in pieces. " * 40


class Person(pydantic.BaseModel):
    """What a structured answer must be."""

    name: str
    age: int


@pytest.fixture(scope="module")
def wires() -> Iterator[TwoWires]:
    with two_wires() as wires:
        yield wires


@pytest.fixture
def client(wires: TwoWires) -> Iterator[anthropic.Anthropic]:
    wires.upstream.clear()
    with anthropic.Anthropic(
        base_url=wires.gateway.claude_code_url, api_key=None, auth_token=KEY, max_retries=0, timeout=20
    ) as client:
        yield client


def plain(message: anthropic.types.Message) -> dict[str, Any]:
    """Return a message without what `DIFFERS` lists."""
    document: dict[str, Any] = message.model_dump(mode="json")
    for name in ("id", "model", "_request_id"):
        document.pop(name, None)
    for name in ("cache_creation", "inference_geo"):
        document["usage"].pop(name, None)
    if document["stop_details"]:
        del document["stop_details"]["explanation"]
    for block in document["content"]:
        block.pop("parsed_output", None)
        if block["type"] == "thinking":
            block["signature"] = bool(block["signature"])
    return document


def outline(events: Any) -> list[Any]:
    """Return the events of a stream, the deltas of each block as one."""
    told: list[Any] = []
    for event in events:
        match event.type:
            case "content_block_start":
                told.append([event.index, event.content_block.type, "", "open"])
            case "content_block_delta":
                told[-1][2] += "".join(getattr(event.delta, name, "") for name in ("text", "thinking", "partial_json"))
            case "content_block_stop":
                told[-1][3] = f"closed {event.index}"
            case "message_delta":
                told.append((event.type, event.delta.stop_reason, event.delta.stop_sequence, event.usage.output_tokens))
            case "message_start":
                told.append((event.type, event.message.role, event.message.content, event.message.stop_reason))
            case kind:
                told.append(kind)
    return told


async def _concurrently(client: anthropic.Anthropic, request: dict[str, Any]) -> list[anthropic.types.Message]:
    """Return what the asynchronous client gets, whole and streamed."""
    async with anthropic.AsyncAnthropic(
        base_url=client.base_url, api_key=None, auth_token=KEY, max_retries=0, timeout=20
    ) as concurrent:
        whole = await concurrent.messages.create(**request)
        async with concurrent.messages.stream(**request) as events:
            said = [text async for text in events.text_stream]
            streamed = await events.get_final_message()
    assert "".join(said) == "".join(block.text for block in streamed.content if block.type == "text")
    return [whole, streamed]


def everyway(client: anthropic.Anthropic, **request: Any) -> dict[str, Any]:
    """Ask both targets in every way; return the message, which must be the same each time."""
    messages, outlines = [], []
    for model in TARGETS:
        asked = {"model": model, "max_tokens": 4096, "messages": QUESTION, **request}
        whole = client.messages.create(**asked)
        with client.messages.stream(**asked) as events:
            said = "".join(events.text_stream)
            streamed = events.get_final_message()
        assert said == "".join(block.text for block in whole.content if block.type == "text")
        assert whole.model == streamed.model == (model if model == OPENAI else "vendor")
        messages += [plain(message) for message in (whole, streamed, *asyncio.run(_concurrently(client, asked)))]
        outlines.append(outline(client.messages.create(**asked, stream=True)))
    assert messages[1:] == messages[:1] * (len(messages) - 1)
    assert outlines[0] == outlines[1]
    return messages[0]


def texts(message: dict[str, Any]) -> list[str]:
    return [block["text"] for block in message["content"] if block["type"] == "text"]


@pytest.mark.parametrize(
    "said", ["Hello.", "你好，世界 👩‍💻\u2028。", LONG, " leading and trailing \n", "\ud7ff\x00\\\"'"]
)
def test_text(said: str, client: anthropic.Anthropic, wires: TwoWires) -> None:
    wires.script(Turn(said))
    message = everyway(client)
    assert texts(message) == [said]
    assert (message["stop_reason"], message["stop_sequence"]) == ("end_turn", None)


def test_usage(client: anthropic.Anthropic, wires: TwoWires) -> None:
    wires.script(Turn("Hi.", usage=(100, 60, 5), cache_written=30, reasoned=2))
    usage = everyway(client)["usage"]
    assert usage == {
        "input_tokens": 10,
        "cache_read_input_tokens": 60,
        "cache_creation_input_tokens": 30,
        "output_tokens": 5,
        "output_tokens_details": {"thinking_tokens": 2},
        "server_tool_use": None,
        "service_tier": "standard",
        "speed": None,
    }
    for model in TARGETS:
        written = client.messages.create(model=model, max_tokens=9, messages=QUESTION).usage.cache_creation
        assert written is not None
        assert (written.ephemeral_5m_input_tokens, written.ephemeral_1h_input_tokens) == (30, 0)


@pytest.mark.parametrize(("display", "shown"), [("summarized", "Let me think."), ("omitted", "")])
def test_thinking_and_its_replay(display: str, shown: str, client: anthropic.Anthropic, wires: TwoWires) -> None:
    thinking: Any = {"type": "adaptive", "display": display}
    wires.script(Turn(reasoning="Let me think.", calls=CALLS[:1], finish="tool_calls"))
    message = everyway(client, thinking=thinking, tools=[READ])
    assert message["content"][0] == {"type": "thinking", "thinking": shown, "signature": True}
    for model in TARGETS:
        first = client.messages.create(model=model, max_tokens=4096, messages=QUESTION, thinking=thinking, tools=[READ])
        result = {"type": "tool_result", "tool_use_id": "call_a", "content": "tea"}
        history: Any = [*QUESTION, first.to_param(), {"role": "user", "content": [result]}]
        client.messages.create(model=model, max_tokens=4096, messages=history, thinking=thinking, tools=[READ])
        replayed = wires.upstream.requests[-1].messages[1]
        if model == ANTHROPIC:
            assert replayed["content"][0] == first.content[0].model_dump()
        else:
            assert replayed["reasoning_content"] == "Let me think."


def test_thinking_that_nobody_asked_for(client: anthropic.Anthropic, wires: TwoWires) -> None:
    wires.script(Turn("Yes.", reasoning="Let me think."))
    assert [block["type"] for block in everyway(client)["content"]] == ["text"]


@pytest.mark.parametrize("calls", [CALLS[:1], CALLS, (("call_c", "Read", {}),)], ids=["one", "parallel", "no input"])
@pytest.mark.parametrize("said", ["", "Looking."])
def test_tools(calls: Any, said: str, client: anthropic.Anthropic, wires: TwoWires) -> None:
    wires.script(Turn(said, calls=calls, finish="tool_calls"))
    message = everyway(client, tools=[READ])
    assert message["stop_reason"] == "tool_use"
    assert texts(message) == [said] * bool(said)
    asked = [block for block in message["content"] if block["type"] == "tool_use"]
    assert [(block["id"], block["name"], block["input"]) for block in asked] == list(calls)


def test_a_tool_loop(client: anthropic.Anthropic, wires: TwoWires) -> None:
    wires.script(Turn("Looking.", calls=CALLS, finish="tool_calls"))
    first = client.messages.create(model=OPENAI, max_tokens=4096, messages=QUESTION, tools=[READ])
    image = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": PNG}}
    results = [
        {"type": "tool_result", "tool_use_id": "call_a", "content": [{"type": "text", "text": "tea"}, image]},
        {"type": "tool_result", "tool_use_id": "call_b", "content": "no such file", "is_error": True},
        {"type": "text", "text": "Go on."},
    ]
    wires.upstream.clear()
    wires.script(Turn("Done."))
    history: Any = [*QUESTION, first.to_param(), {"role": "user", "content": results}]
    assert texts(everyway(client, messages=history, tools=[READ])) == ["Done."]
    translated, relayed = wires.upstream.requests[0].messages, wires.upstream.requests[-1].messages
    assert relayed[-1]["content"] == results
    told = [message for message in translated if message["role"] == "tool"]
    assert [message["tool_call_id"] for message in told] == ["call_a", "call_b"]
    assert told[0]["content"].startswith("tea")
    assert told[1]["content"] == "Error: no such file"
    assert translated[-1]["role"] == "user"
    parts = translated[-1]["content"]
    assert {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PNG}"}} in parts
    assert parts[-1]["text"].endswith("Go on.")


@pytest.mark.parametrize(
    ("turn", "reason"),
    [
        (Turn("Cut sho", finish="length"), "max_tokens"),
        (Turn("Up to", stop_sequence="END"), "stop_sequence"),
        (Turn("I beg", finish="content_filter"), "refusal"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_how_an_answer_ends(turn: Turn, reason: str, client: anthropic.Anthropic, wires: TwoWires) -> None:
    wires.script(turn)
    message = everyway(client, stop_sequences=["STOP", "END"])
    assert texts(message) == [turn.text]
    assert (message["stop_reason"], message["stop_sequence"]) == (reason, turn.stop_sequence)
    assert message["stop_details"] == ({"type": "refusal", "category": None} if reason == "refusal" else None)


def test_a_structured_answer(client: anthropic.Anthropic, wires: TwoWires) -> None:
    wires.script(Turn('{"name": "艾达", "age": 36}'))
    for model in TARGETS:
        asked: Any = {"model": model, "max_tokens": 4096, "messages": QUESTION, "output_format": Person}
        with client.messages.stream(**asked) as events:
            streamed = events.get_final_message()
        assert streamed.parsed_output == client.messages.parse(**asked).parsed_output == Person(name="艾达", age=36)
    translated, relayed = wires.upstream.requests[0].body, wires.upstream.requests[-1].body
    wanted = relayed["output_config"]["format"]
    assert wanted["schema"]["required"] == ["name", "age"]
    assert translated["response_format"]["json_schema"]["schema"] == wanted["schema"]
    assert everyway(client, output_config={"format": wanted})["stop_reason"] == "end_turn"
