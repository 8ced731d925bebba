"""The official Anthropic SDK runs tools itself, through a real gateway process, with either wire behind it."""

from collections.abc import Iterator
from typing import Any

import anthropic
import pytest

from tests.client.two_wires import ANTHROPIC, OPENAI, TARGETS, TwoWires, two_wires
from tests.fakes.answers import Answer, Received
from tests.fakes.gateway_process import KEY
from tests.fakes.turns import SIGNATURE, Turn

pytestmark = pytest.mark.server

QUESTION: Any = [{"role": "user", "content": "Read both."}]
LONG_NAME = "mcp__a_server_with_a_long_name__" + "and_a_tool_with_an_even_longer_name_" * 2


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


@pytest.mark.parametrize("streamed", [False, True], ids=["whole", "streamed"])
@pytest.mark.parametrize("model", TARGETS)
def test_the_tool_runner_comes_to_an_end(
    model: str, streamed: bool, client: anthropic.Anthropic, wires: TwoWires
) -> None:
    read: list[str] = []

    @anthropic.beta_tool
    def read_file(path: str) -> str:
        """Read a file.

        Args:
            path: Where it is.
        """
        read.append(path)
        if path == "none":
            raise FileNotFoundError(path)
        return f"tea in {path}"

    first = Turn(
        "Looking.", "I must look.", (("call_a", "read_file", {"path": "茶"}), ("call_b", "read_file", {"path": "none"})),
        "tool_calls",
    )  # fmt: skip
    second = Turn(calls=(("call_c", "read_file", {"path": "b"}),), finish="tool_calls")
    wires.script(first, second, Turn("Both hold tea."))
    runner: Any = client.beta.messages.tool_runner(
        model=model,
        max_tokens=4096,
        messages=QUESTION,
        tools=[read_file],
        thinking={"type": "adaptive", "display": "summarized"},
        betas=["interleaved-thinking-2025-05-14"],
        stream=streamed,
    )
    final = runner.until_done()
    assert [block.text for block in final.content] == ["Both hold tea."]
    assert read == ["茶", "none", "b"]
    requests = wires.upstream.requests
    assert len(requests) == 3, [request.body for request in requests]
    sent = requests[-1].messages
    if model == ANTHROPIC:
        assert sent[1]["content"][0] == {"type": "thinking", "thinking": "I must look.", "signature": SIGNATURE}
        results = [block for message in (sent[2], sent[4]) for block in message["content"]]
        assert [result["tool_use_id"] for result in results] == ["call_a", "call_b", "call_c"]
        assert [bool(result.get("is_error")) for result in results] == [False, True, False]
        assert requests[-1].headers["anthropic-beta"] == "interleaved-thinking-2025-05-14"
    else:
        assert sent[1]["reasoning_content"] == "I must look."
        results = [message for message in sent if message["role"] == "tool"]
        assert [result["tool_call_id"] for result in results] == ["call_a", "call_b", "call_c"]
        assert results[0]["content"] == "tea in 茶"
        assert results[1]["content"].startswith("Error: ")
        assert [call["id"] for call in sent[1]["tool_calls"]] == ["call_a", "call_b"]


@pytest.mark.parametrize("model", TARGETS)
def test_a_conversation_that_the_server_should_keep_is_refused(
    model: str, client: anthropic.Anthropic, wires: TwoWires
) -> None:
    wires.script(Turn("Hi."))
    thread: Any = {"type": "create"}
    with pytest.raises(anthropic.BadRequestError) as caught:
        client.beta.messages.create(model=model, max_tokens=100, messages=QUESTION, thread=thread)
    assert caught.value.error_code == "thread_unsupported_request"
    assert not wires.upstream.requests
    kept: Any = client.beta.messages.thread(
        model=model, max_tokens=100, unsupported_request_behavior="continue_unthreaded"
    )
    kept.send({"role": "user", "content": "My name is Ada."})
    kept.send({"role": "user", "content": "What is it?"})
    assert "My name is Ada." in str(wires.upstream.requests[-1].messages)


def test_a_long_name_of_a_tool_comes_back_as_it_was(client: anthropic.Anthropic, wires: TwoWires) -> None:
    asked: list[str] = []

    def calling(wire: str) -> Any:
        def answer(request: Received) -> Answer:
            (tool,) = request.body["tools"]
            name = tool["function"]["name"] if wire == "openai" else tool["name"]
            asked.append(name)
            turn = Turn(calls=(("call_a", name, {}),), finish="tool_calls")
            return turn.openai(request) if wire == "openai" else turn.anthropic(request)

        return answer

    wires.script_each(calling("openai"), calling("anthropic"))
    tool: Any = {"name": LONG_NAME, "description": "x", "input_schema": {"type": "object", "properties": {}}}
    choice: Any = {"type": "tool", "name": LONG_NAME}
    for model in TARGETS:
        request: Any = {"model": model, "max_tokens": 100, "messages": QUESTION, "tools": [tool], "tool_choice": choice}
        whole = client.messages.create(**request)
        with client.messages.stream(**request) as events:
            streamed = events.get_final_message()
        for message in (whole, streamed):
            (call,) = message.content
            assert call.type == "tool_use"
            assert call.name == LONG_NAME
        history: Any = [
            *QUESTION,
            whole.to_param(),
            {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "call_a", "content": "tea"}]},
        ]
        client.messages.create(**{**request, "messages": history})
    assert all(len(name) <= 64 for name in asked[:3])
    assert set(asked[3:]) == {LONG_NAME}
    replayed = wires.upstream.requests[2]
    assert replayed.messages[1]["tool_calls"][0]["function"]["name"] == asked[0]
    assert replayed.body["tool_choice"]["function"]["name"] == asked[0]


def test_system_prompts_choices_and_identity(client: anthropic.Anthropic, wires: TwoWires) -> None:
    wires.script(Turn("Hi."))
    tool: Any = {"name": "Read", "input_schema": {"type": "object", "properties": {"path": {"type": "string"}}}}
    request: Any = {
        "max_tokens": 100,
        "system": [
            {"type": "text", "text": "Be brief.", "cache_control": {"type": "ephemeral"}},
            {"type": "text", "text": "说中文。"},
        ],
        "messages": QUESTION,
        "tools": [tool],
        "tool_choice": {"type": "any", "disable_parallel_tool_use": True},
        "metadata": {"user_id": "user-1"},
        "stop_sequences": ["END"],
    }
    for model in TARGETS:
        client.messages.create(model=model, **request)
    translated, relayed = (sent.body for sent in wires.upstream.requests)
    assert relayed == {**request, "model": ANTHROPIC.partition("/")[2]}
    assert translated["model"] == OPENAI.partition("/")[2]
    assert translated["messages"][0] == {"role": "system", "content": "Be brief.\n\n说中文。"}
    assert translated["messages"][1:] == QUESTION
    assert (translated["tool_choice"], translated["parallel_tool_calls"]) == ("required", False)
    assert translated["stop"] == ["END"]
    assert "user-1" not in str(translated)  # a hash of it at most
