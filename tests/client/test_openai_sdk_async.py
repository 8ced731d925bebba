"""The official OpenAI SDK's asynchronous client, streams and raw responses, through a real gateway process."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any

import openai
import pytest

from tests.client.two_wires import ANTHROPIC, OPENAI, TARGETS, TwoWires, two_wires
from tests.fakes.answers import Answer, Received, chunk, error, stream
from tests.fakes.gateway_process import KEY
from tests.fakes.turns import Turn, anthropic_error

pytestmark = pytest.mark.server

QUESTION: Any = [{"role": "user", "content": "Go."}]
CALLS = (("call_a", "Read", {"path": "a.txt"}), ("call_b", "Read", {"path": "日本語"}))
PARAMETERS: Any = {
    "type": "object",
    "properties": {"path": {"type": "string"}},
    "required": ["path"],
    "additionalProperties": False,
}
# The SDK's stream parses arguments of strict tools only.
READ: Any = {"type": "function", "function": {"name": "Read", "parameters": PARAMETERS, "strict": True}}
FLAT_READ: Any = {"type": "function", "name": "Read", "parameters": PARAMETERS, "strict": True}


@pytest.fixture(scope="module")
def running() -> Iterator[TwoWires]:
    with two_wires() as wires:
        yield wires


@pytest.fixture
def wires(running: TwoWires) -> TwoWires:
    running.upstream.clear()
    return running


@asynccontextmanager
async def client_of(wires: TwoWires, **options: Any) -> AsyncIterator[openai.AsyncOpenAI]:
    settings: dict[str, Any] = {"api_key": KEY, "max_retries": 0, "timeout": 20, **options}
    async with openai.AsyncOpenAI(base_url=f"{wires.gateway.base_url}/v1", **settings) as client:
        yield client


async def streamed_chat(client: openai.AsyncOpenAI, model: str, **request: Any) -> tuple[list[Any], Any]:
    """Return what the stream helper tells, pieces of one kind as one, and the completion it ends in."""
    told: list[Any] = []
    async with client.chat.completions.stream(
        model=model, messages=QUESTION, stream_options={"include_usage": True}, **request
    ) as events:
        async for event in events:
            match event.type:
                case "content.delta":
                    if not told or told[-1][0] != "content":
                        told.append(["content", ""])
                    told[-1][1] += event.delta
                case "content.done":
                    told.append(["content.done", event.content])
                case "tool_calls.function.arguments.done":
                    told.append(["call", event.index, event.name, event.arguments])
        completion = await events.get_final_completion()
    return told, completion


@pytest.mark.parametrize("said", ["Looking, 看.", ""])
def test_the_stream_helper_tells_the_same_of_both_targets(said: str, wires: TwoWires) -> None:
    wires.script(Turn(said, calls=CALLS, finish="tool_calls"))

    async def ask() -> list[tuple[list[Any], Any]]:
        async with client_of(wires) as client:
            return list(await asyncio.gather(*(streamed_chat(client, model, tools=[READ]) for model in TARGETS)))

    (told, one), (also_told, other) = asyncio.run(ask())
    assert told == also_told
    calls = [["call", 0, "Read", '{"path": "a.txt"}'], ["call", 1, "Read", '{"path": "日本語"}']]
    assert [event for event in told if event[0] == "call"] == calls
    for completion in (one, other):
        (choice,) = completion.choices
        assert (choice.message.content or "", choice.finish_reason) == (said, "tool_calls")
        assert [call.function.parsed_arguments for call in choice.message.tool_calls] == [call[2] for call in CALLS]
        usage = completion.usage
        assert (usage.prompt_tokens, usage.completion_tokens, usage.prompt_tokens_details.cached_tokens) == (10, 2, 4)


def test_many_answers_at_a_time_do_not_mix(wires: TwoWires) -> None:
    def own_words(wire: str) -> Any:
        def answer(request: Received) -> Answer:
            content = request.messages[-1]["content"]
            said = content if isinstance(content, str) else content[0]["text"]
            turn = Turn(f"You said {said}. " * 20)
            return turn.openai(request) if wire == "openai" else turn.anthropic(request)

        return answer

    wires.script_each(own_words("openai"), own_words("anthropic"))

    async def one(client: openai.AsyncOpenAI, number: int) -> str:
        model = TARGETS[number % 2]
        messages: Any = [{"role": "user", "content": f"number {number}"}]
        if number % 3:
            answer = await client.chat.completions.create(model=model, messages=messages)
            return str(answer.choices[0].message.content)
        chunks = await client.chat.completions.create(model=model, messages=messages, stream=True)
        return "".join([chunk.choices[0].delta.content or "" async for chunk in chunks])

    async def ask() -> list[str]:
        async with client_of(wires) as client:
            return await asyncio.gather(*(one(client, number) for number in range(24)))

    assert asyncio.run(ask()) == [f"You said number {number}. " * 20 for number in range(24)]


@pytest.mark.parametrize("model", TARGETS)
def test_raw_responses_show_the_headers(model: str, wires: TwoWires) -> None:
    wires.script(Turn("Hi."))

    async def ask() -> None:
        async with client_of(wires) as client:
            create = client.chat.completions.with_raw_response.create
            whole = await create(model=model, messages=QUESTION)
            streamed = await create(model=model, messages=QUESTION, stream=True)
            ids = {whole.headers["x-request-id"], streamed.headers["x-request-id"]}
            assert len(ids) == 2
            assert whole.request_id in ids
            assert whole.headers["x-gateway-model"] == streamed.headers["x-gateway-model"] == model
            assert whole.parse().choices[0].message.content == "Hi."
            said = [chunk.choices[0].delta.content or "" async for chunk in streamed.parse()]
            assert "".join(said) == "Hi."
            responded = await client.responses.with_raw_response.create(model=model, input="Go.")
            assert responded.headers["x-request-id"] not in ids
            assert responded.parse().output_text == "Hi."

    asyncio.run(ask())


@pytest.mark.parametrize("model", TARGETS)
def test_a_limit_is_retried_when_the_header_says(model: str, wires: TwoWires) -> None:
    first = {"retry-after": "0"}
    turn = Turn("At last.")
    wires.upstream.script("main", error(429, "slow", headers=first), turn.openai)
    slow = anthropic_error(429, "rate_limit_error", "slow", first)
    wires.upstream.script("claude-sonnet-4-6", slow, turn.anthropic)

    async def ask() -> tuple[str | None, str | None]:
        async with client_of(wires) as client:
            with pytest.raises(openai.RateLimitError) as caught:
                await client.chat.completions.create(model=model, messages=QUESTION)
            wires.upstream.script("main", error(429, "slow", headers=first), turn.openai)
            wires.upstream.script("claude-sonnet-4-6", slow, turn.anthropic)
            patient = client.with_options(max_retries=1)
            answer = await patient.chat.completions.create(model=model, messages=QUESTION)
            return caught.value.response.headers.get("retry-after"), answer.choices[0].message.content

    assert asyncio.run(ask()) == ("1", "At last.")
    assert len(wires.upstream.requests) == 3


@pytest.mark.parametrize("model", TARGETS)
def test_an_error_in_mid_stream_is_raised(model: str, wires: TwoWires) -> None:
    def half(request: Received) -> Answer:
        whole = Turn("Half a sentence.").anthropic(request)
        fault = b'event: error\ndata: {"type":"error","error":{"type":"overloaded_error","message":"Overloaded"}}\n\n'
        return Answer([*whole.steps[:4], fault], headers=whole.headers)

    failed = {"error": {"message": "Overloaded", "type": "overloaded_error", "code": 503}}
    wires.script_each(stream(chunk({"content": "Half a sen"}), failed, done=False), half)

    async def ask() -> None:
        async with client_of(wires) as client:
            chunks = await client.chat.completions.create(model=model, messages=QUESTION, stream=True)
            said = ""
            with pytest.raises(openai.APIError, match="Overloaded"):  # noqa: PT012 - what came before counts
                async for received in chunks:
                    said += received.choices[0].delta.content or ""
            assert said.startswith("Half a s")

    asyncio.run(ask())


def test_models_are_listed_and_found(wires: TwoWires) -> None:
    async def ask() -> None:
        async with client_of(wires) as client:
            models = {model.id: model async for model in client.models.list()}
            assert set(TARGETS) <= set(models)
            for name in TARGETS:
                assert await client.models.retrieve(name) == models[name]
            assert (models[OPENAI].owned_by, models[ANTHROPIC].owned_by) == ("up", "nat")
            with pytest.raises(openai.NotFoundError) as caught:
                await client.models.retrieve("none")
            assert caught.value.code == "model_not_found"

    asyncio.run(ask())


def test_the_responses_stream_tells_the_same_of_both_targets(wires: TwoWires) -> None:
    wires.script(Turn("Looking, 看.", "I must look.", CALLS, "tool_calls"))

    async def one(client: openai.AsyncOpenAI, model: str) -> tuple[list[Any], Any]:
        told: list[Any] = []
        numbers = []
        async with client.responses.stream(
            model=model, input="Go.", tools=[FLAT_READ], reasoning={"effort": "low", "summary": "auto"}
        ) as events:
            async for event in events:
                numbers.append(event.sequence_number)
                if event.type.endswith(".delta"):
                    if not told or told[-1][:2] != [event.type, event.output_index]:
                        told.append([event.type, event.output_index, ""])
                    told[-1][2] += event.delta
                else:
                    told.append([event.type, getattr(event, "output_index", None)])
            response = await events.get_final_response()
        assert numbers == list(range(len(numbers)))
        return told, response

    async def ask() -> list[tuple[list[Any], Any]]:
        async with client_of(wires) as client:
            return [await one(client, model) for model in TARGETS]

    (told, first), (also_told, second) = asyncio.run(ask())
    assert told == also_told
    assert told[0] == ["response.created", None]
    assert told[-1] == ["response.completed", None]
    for response in (first, second):
        assert (response.status, response.output_text) == ("completed", "Looking, 看.")
        assert [item.type for item in response.output] == ["reasoning", "message", "function_call", "function_call"]
        assert [item.parsed_arguments for item in response.output[2:]] == [call[2] for call in CALLS]
        usage = response.usage
        assert (usage.input_tokens, usage.input_tokens_details.cached_tokens, usage.output_tokens) == (10, 4, 2)
