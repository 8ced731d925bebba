"""The official OpenAI SDK through a real gateway process: what answers, and how, makes no difference to it."""

import base64
from collections.abc import Iterator
from typing import Any

import openai
import pydantic
import pytest

from tests.client.two_wires import ANTHROPIC, OPENAI, TARGETS, TwoWires, two_wires
from tests.fakes.answers import Answer, Received, cut, error
from tests.fakes.gateway_process import KEY, GatewayProcess
from tests.fakes.turns import Turn, anthropic_error
from tests.fakes.upstream import ScriptedUpstream

pytestmark = pytest.mark.server

STREAM_ONLY = "up/streamer"  # a model that refuses to answer without a stream
READ: Any = {
    "type": "function",
    "function": {
        "name": "Read",
        "description": "Reads a file.",
        "parameters": {"type": "object", "properties": {"path": {"type": "string"}}, "required": ["path"]},
    },
}
CALLS = (("call_a", "Read", {"path": "a.txt"}), ("call_b", "Read", {"path": "日本語"}))
PNG = base64.b64encode(b"\x89PNG\r\n\x1a\n" + bytes(16)).decode()
QUESTION: Any = [{"role": "user", "content": "Go."}]


class Person(pydantic.BaseModel):
    """What a structured answer must be."""

    name: str
    age: int


@pytest.fixture(scope="module")
def wires() -> Iterator[TwoWires]:
    with two_wires(models=("main", "streamer")) as wires:
        yield wires


@pytest.fixture(scope="module")
def upstream(wires: TwoWires) -> ScriptedUpstream:
    return wires.upstream


@pytest.fixture(scope="module")
def gateway(wires: TwoWires) -> GatewayProcess:
    return wires.gateway


@pytest.fixture
def client(gateway: GatewayProcess, upstream: ScriptedUpstream) -> Iterator[openai.OpenAI]:
    upstream.clear()
    with openai.OpenAI(base_url=f"{gateway.base_url}/v1", api_key=KEY, max_retries=0, timeout=20) as client:
        yield client


def script(upstream: ScriptedUpstream, *turns: Turn) -> None:
    def streamed(request: Received) -> Answer:
        if not request.body.get("stream"):
            return error(400, "This model only support stream mode, please enable the stream parameter.")
        return turns[0].openai(request)

    upstream.script("main", *(turn.openai for turn in turns))
    upstream.script("streamer", streamed)
    upstream.script("claude-sonnet-4-6", *(turn.anthropic for turn in turns))


def plain(completion: Any) -> dict[str, Any]:
    """Return a completion without what is new with each call or the vendor's own."""
    document: dict[str, Any] = completion.model_dump(mode="json", exclude_none=True)
    for name in ("id", "created", "model", "service_tier", "system_fingerprint", "_request_id"):
        document.pop(name, None)
    for choice in document["choices"]:
        message = choice["message"]
        # A stream begins with an empty text, which stays where only calls follow.
        if not message.get("content"):
            message.pop("content", None)
        message.pop("tool_calls", None) if not message.get("tool_calls") else None
        for call in message.get("tool_calls", ()):
            call.pop("index", None)
            call["function"].pop("parsed_arguments", None)
        message.pop("reasoning_details", None)
        message.pop("parsed", None)
    usage = document["usage"]
    document["usage"] = {name: usage[name] for name in ("prompt_tokens", "completion_tokens", "total_tokens")}
    document["usage"]["cached"] = usage["prompt_tokens_details"]["cached_tokens"]
    return document


def everyway(client: openai.OpenAI, **request: Any) -> dict[str, Any]:
    """Ask all targets, whole and streamed; return the completion, which must be the same each time."""
    answers = []
    for model in (OPENAI, STREAM_ONLY, ANTHROPIC):
        whole = client.chat.completions.create(model=model, **request)
        with client.chat.completions.stream(model=model, stream_options={"include_usage": True}, **request) as events:
            streamed = events.get_final_completion()
        assert whole.model == streamed.model == model
        assert whole._request_id is not None
        answers += [plain(whole), plain(streamed)]
    assert answers[1:] == answers[:1] * 5
    return answers[0]


def test_text(client: openai.OpenAI, upstream: ScriptedUpstream) -> None:
    script(upstream, Turn("Hello 世界."))
    answer = everyway(client, messages=QUESTION)
    assert answer["choices"][0]["message"] == {"role": "assistant", "content": "Hello 世界."}
    assert answer["choices"][0]["finish_reason"] == "stop"
    assert answer["usage"] == {"prompt_tokens": 10, "completion_tokens": 2, "total_tokens": 12, "cached": 4}


def test_parallel_tools(client: openai.OpenAI, upstream: ScriptedUpstream) -> None:
    script(upstream, Turn(calls=CALLS, finish="tool_calls"))
    answer = everyway(client, messages=QUESTION, tools=[READ])
    assert answer["choices"][0]["finish_reason"] == "tool_calls"
    calls = answer["choices"][0]["message"]["tool_calls"]
    assert [(call["id"], call["function"]) for call in calls] == [
        ("call_a", {"name": "Read", "arguments": '{"path": "a.txt"}'}),
        ("call_b", {"name": "Read", "arguments": '{"path": "日本語"}'}),
    ]


def test_text_before_a_tool(client: openai.OpenAI, upstream: ScriptedUpstream) -> None:
    script(upstream, Turn("Looking.", calls=CALLS[:1], finish="tool_calls"))
    assert everyway(client, messages=QUESTION, tools=[READ])["choices"][0]["message"]["content"] == "Looking."


@pytest.mark.parametrize("finish", ["length", "content_filter"])
def test_an_answer_that_ends_early(finish: str, client: openai.OpenAI, upstream: ScriptedUpstream) -> None:
    script(upstream, Turn("Cut sho", finish=finish))
    for model in TARGETS:
        whole = client.chat.completions.create(model=model, messages=QUESTION)
        *_chunks, last = client.chat.completions.create(model=model, messages=QUESTION, stream=True)
        assert (whole.choices[0].message.content, whole.choices[0].finish_reason) == ("Cut sho", finish)
        assert last.choices[0].finish_reason == finish


def test_reasoning(client: openai.OpenAI, upstream: ScriptedUpstream) -> None:
    script(upstream, Turn("Yes.", reasoning="Let me think."))
    answer = everyway(client, messages=QUESTION, reasoning_effort="high")
    assert answer["choices"][0]["message"]["reasoning_content"] == "Let me think."
    sent = upstream.requests[-1].body
    assert sent["thinking"] == {"type": "adaptive", "display": "summarized"}
    assert sent["output_config"] == {"effort": "high"}


@pytest.mark.parametrize("model", TARGETS)
def test_a_tool_loop(model: str, client: openai.OpenAI, upstream: ScriptedUpstream) -> None:
    script(upstream, Turn(calls=CALLS, finish="tool_calls"), Turn("Done."))
    first = client.chat.completions.create(model=model, messages=QUESTION, tools=[READ])
    calls = first.choices[0].message.tool_calls or []
    results = [{"role": "tool", "tool_call_id": call.id, "content": f"tea {call.id}"} for call in calls]
    history: Any = [*QUESTION, first.choices[0].message, *results]
    last = client.chat.completions.create(model=model, messages=history, tools=[READ])
    assert last.choices[0].message.content == "Done."
    sent = upstream.requests[-1].body["messages"]
    if model == ANTHROPIC:
        assert [block["tool_use_id"] for block in sent[-1]["content"]] == ["call_a", "call_b"]
        assert [block["id"] for block in sent[-2]["content"]] == ["call_a", "call_b"]
    else:
        assert [message["tool_call_id"] for message in sent[-2:]] == ["call_a", "call_b"]


def test_an_image_and_a_file(client: openai.OpenAI, upstream: ScriptedUpstream) -> None:
    script(upstream, Turn("Seen."))
    pdf = base64.b64encode(b"%PDF-1.4 ").decode()
    parts = [
        {"type": "text", "text": "Look."},
        {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PNG}"}},
        {"type": "file", "file": {"filename": "a.pdf", "file_data": f"data:application/pdf;base64,{pdf}"}},
    ]
    everyway(client, messages=[{"role": "user", "content": parts}])
    relayed, translated = upstream.requests[0].messages, upstream.requests[-1].messages
    assert relayed[0]["content"] == parts
    _text, image, document = translated[0]["content"]
    assert image["source"] == {"type": "base64", "media_type": "image/png", "data": PNG}
    assert document["source"] == {"type": "base64", "media_type": "application/pdf", "data": pdf}


def test_a_structured_answer(client: openai.OpenAI, upstream: ScriptedUpstream) -> None:
    script(upstream, Turn('{"name": "Ada", "age": 36}'))
    for model in TARGETS:
        parsed = client.chat.completions.parse(model=model, messages=QUESTION, response_format=Person)
        assert parsed.choices[0].message.parsed == Person(name="Ada", age=36)
    wanted = upstream.requests[-1].body["output_config"]["format"]
    assert wanted["type"] == "json_schema"
    assert wanted["schema"]["additionalProperties"] is False


@pytest.mark.parametrize("model", TARGETS)
def test_usage_is_not_in_a_stream_that_did_not_ask(
    model: str, client: openai.OpenAI, upstream: ScriptedUpstream
) -> None:
    script(upstream, Turn("Hello."))
    chunks = list(client.chat.completions.create(model=model, messages=QUESTION, stream=True))
    assert all(chunk.choices and chunk.usage is None for chunk in chunks)
    assert {chunk.model for chunk in chunks if chunk.choices[0].delta.content} == {model}
    assert len({chunk.id for chunk in chunks}) == 1


ERRORS: list[tuple[int, str, type[openai.APIStatusError], int]] = [
    (400, "invalid_request_error", openai.BadRequestError, 400),
    (401, "authentication_error", openai.InternalServerError, 502),
    (429, "rate_limit_error", openai.RateLimitError, 429),
    (500, "api_error", openai.InternalServerError, 502),
    (529, "overloaded_error", openai.InternalServerError, 503),
]


@pytest.mark.parametrize("model", TARGETS)
@pytest.mark.parametrize(("status", "kind", "raised", "seen"), ERRORS)
def test_an_upstream_error_is_the_sdks_error(
    model: str,
    status: int,
    kind: str,
    raised: type[openai.APIStatusError],
    seen: int,
    client: openai.OpenAI,
    upstream: ScriptedUpstream,
) -> None:
    upstream.script("main", error(status, "something upstream", type=kind))
    upstream.script("claude-sonnet-4-6", anthropic_error(status, kind, "something upstream"))
    for streamed in (False, True):
        with pytest.raises(raised) as caught:
            client.chat.completions.create(model=model, messages=QUESTION, stream=streamed)
        assert caught.value.status_code == seen
        assert isinstance(caught.value.body, dict)
        assert "something upstream" in caught.value.body["message"]
        assert caught.value.type is not None


def test_a_wrong_key_and_a_wrong_request(gateway: GatewayProcess, client: openai.OpenAI) -> None:
    stranger = client.with_options(api_key="wg_0000000000000000000000")
    with pytest.raises(openai.AuthenticationError):
        stranger.chat.completions.create(model=OPENAI, messages=QUESTION)
    with pytest.raises(openai.BadRequestError) as caught:
        client.chat.completions.create(model=OPENAI, messages=[])
    assert caught.value.param == "messages"
    with pytest.raises(openai.NotFoundError):
        client.models.retrieve("none")


@pytest.mark.parametrize("model", TARGETS)
def test_a_cut_stream_raises(model: str, client: openai.OpenAI, upstream: ScriptedUpstream) -> None:
    def half(request: Received) -> Answer:
        whole = Turn("Half a sentence.").anthropic(request)
        return Answer(whole.steps[:4], headers=whole.headers)

    upstream.script("main", cut("Half a sen"))
    upstream.script("claude-sonnet-4-6", half)
    chunks = client.chat.completions.create(model=model, messages=QUESTION, stream=True)
    assert next(chunk for chunk in chunks if chunk.choices[0].delta.content)
    with pytest.raises(openai.APIError):
        list(chunks)


def test_the_model_list_is_the_sdks(client: openai.OpenAI) -> None:
    models = list(client.models.list())
    assert set(TARGETS) <= {model.id for model in models}
    assert all(model.object == "model" and model.created > 0 for model in models)
    assert client.models.retrieve(OPENAI).id == OPENAI
