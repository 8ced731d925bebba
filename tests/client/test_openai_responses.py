"""The Responses API of the official OpenAI SDK through a real gateway process, to both kinds of targets."""

from collections.abc import Iterator
from typing import Any

import openai
import pydantic
import pytest
from openai.types.responses import Response

from tests.client.two_wires import ANTHROPIC, OPENAI, TARGETS, TwoWires, two_wires
from tests.fakes.answers import Answer, Received, cut, error
from tests.fakes.gateway_process import KEY, GatewayProcess
from tests.fakes.turns import SIGNATURE, Turn, anthropic_error
from tests.fakes.upstream import ScriptedUpstream

pytestmark = pytest.mark.server

READ: Any = {
    "type": "function",
    "name": "Read",
    "description": "Reads a file.",
    "parameters": {"type": "object", "properties": {"path": {"type": "string"}}, "required": ["path"]},
    "strict": False,
}
PATCH: Any = {"type": "custom", "name": "apply_patch", "description": "Edits files."}
CALLS = (
    ("call_a", "Read", {"path": "日本語"}),
    ("call_b", "apply_patch", {"input": '*** Begin "Patch"\n+日'}),
)
CODEX: Any = {
    "store": False,
    "include": ["reasoning.encrypted_content"],
    "reasoning": {"effort": "medium", "summary": "auto"},
    "parallel_tool_calls": True,
    "prompt_cache_key": "session-1",
}


class Person(pydantic.BaseModel):
    """What a structured answer must be."""

    name: str
    age: int


@pytest.fixture(scope="module")
def wires() -> Iterator[TwoWires]:
    with two_wires() as wires:
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
    upstream.script("main", *(turn.openai for turn in turns))
    upstream.script("claude-sonnet-4-6", *(turn.anthropic for turn in turns))


def plain(response: Any) -> dict[str, Any]:
    """Return a response without what is new with each call, what the SDK adds, and what names the target."""
    document: dict[str, Any] = response.model_dump(mode="json", exclude_none=True)
    for name in ("id", "created_at", "model", "_request_id"):
        document.pop(name, None)
    for item in document["output"]:
        item.pop("id")
        item.pop("encrypted_content", None)
        item.pop("parsed_arguments", None)
        for part in item.get("content", ()):
            part.pop("parsed", None)
    return document


def everyway(client: openai.OpenAI, **request: Any) -> Response:
    """Ask both targets, whole and streamed; return the response, which must be the same all four times."""
    answers = []
    for model in TARGETS:
        whole = client.responses.create(model=model, **request)
        with client.responses.stream(model=model, **request) as events:
            streamed = events.get_final_response()
        assert whole.model == streamed.model == model
        assert whole._request_id is not None
        answers += [plain(whole), plain(streamed)]
    assert answers[1:] == answers[:1] * 3
    return whole


def test_text(client: openai.OpenAI, upstream: ScriptedUpstream) -> None:
    script(upstream, Turn("Hello 世界."))
    answer = everyway(client, input="Go.", instructions="Be brief.")
    assert (answer.output_text, answer.status) == ("Hello 世界.", "completed")
    assert answer.usage is not None
    assert (answer.usage.input_tokens, answer.usage.output_tokens, answer.usage.total_tokens) == (10, 2, 12)
    assert answer.usage.input_tokens_details.cached_tokens == 4
    assert upstream.requests[0].messages[0] == {"role": "system", "content": "Be brief."}
    assert upstream.requests[-1].body["system"][0]["text"] == "Be brief."


def test_calls_of_functions_and_of_custom_tools(client: openai.OpenAI, upstream: ScriptedUpstream) -> None:
    script(upstream, Turn("Looking.", calls=CALLS, finish="tool_calls"))
    message, function, custom = everyway(client, input="Go.", tools=[READ, PATCH]).output
    assert message.type == "message"
    assert function.type == "function_call"
    assert (function.call_id, function.name, function.arguments) == ("call_a", "Read", '{"path": "日本語"}')
    assert custom.type == "custom_tool_call"
    assert (custom.call_id, custom.input) == ("call_b", '*** Begin "Patch"\n+日')


def test_an_answer_that_ends_early_is_incomplete(client: openai.OpenAI, upstream: ScriptedUpstream) -> None:
    for finish, reason in (("length", "max_output_tokens"), ("content_filter", "content_filter")):
        script(upstream, Turn("Cut sho", finish=finish))
        for model in TARGETS:
            whole = client.responses.create(model=model, input="Go.", max_output_tokens=50)
            *_events, last = client.responses.create(model=model, input="Go.", stream=True)
            assert last.type == "response.incomplete"
            for answer in (whole, last.response):
                assert answer.status == "incomplete"
                assert answer.incomplete_details is not None
                assert (answer.incomplete_details.reason, answer.output_text) == (reason, "Cut sho")


@pytest.mark.parametrize("model", TARGETS)
def test_a_turn_of_codex(model: str, client: openai.OpenAI, upstream: ScriptedUpstream) -> None:
    script(upstream, Turn("Looking.", "I must look.", CALLS, "tool_calls"), Turn("Done."))
    tools: Any = [READ, PATCH, {"type": "web_search", "external_web_access": False}]
    history: Any = [{"type": "message", "role": "user", "content": [{"type": "input_text", "text": "Go."}]}]
    deltas: dict[str, str] = {}
    done: list[Any] = []
    for event in client.responses.create(model=model, input=history, tools=tools, stream=True, **CODEX):
        if event.type == "response.output_item.done":
            # What Codex keeps of an answer, and acts upon.
            done.append(event.item.model_dump(mode="json", exclude_none=True, exclude={"id"}))
        elif event.type.endswith(".delta"):
            deltas[event.type] = deltas.get(event.type, "") + event.delta  # type: ignore[union-attr]
    assert deltas["response.reasoning_summary_text.delta"] == "I must look."
    assert deltas["response.output_text.delta"] == "Looking."
    assert [item["type"] for item in done] == ["reasoning", "message", "function_call", "custom_tool_call"]
    history += [
        *done,
        {"type": "function_call_output", "call_id": "call_a", "output": "tea"},
        {"type": "custom_tool_call_output", "call_id": "call_b", "output": "applied"},
    ]
    last = client.responses.create(model=model, input=history, tools=tools, **CODEX)
    assert last.output_text == "Done."
    sent = upstream.requests[-1].body
    if model == ANTHROPIC:
        thought, *said = sent["messages"][1]["content"]
        assert thought == {"type": "thinking", "thinking": "I must look.", "signature": SIGNATURE}
        assert [block["type"] for block in said] == ["text", "tool_use", "tool_use"]
        assert [block["content"] for block in sent["messages"][2]["content"]] == ["tea", "applied"]
        assert sent["tools"][2]["type"] == "web_search_20250305"
        assert sent["thinking"]["type"] == "adaptive"
        assert sent["messages"][2]["content"][-1]["cache_control"] == {"type": "ephemeral"}
    else:
        _user, asked, *answered = sent["messages"]
        assert asked["reasoning_content"] == "I must look."
        assert [call["id"] for call in asked["tool_calls"]] == ["call_a", "call_b"]
        assert [message["content"] for message in answered] == ["tea", "applied"]
        assert [tool["function"]["name"] for tool in sent["tools"]] == ["Read", "apply_patch"]


def test_a_structured_answer(client: openai.OpenAI, upstream: ScriptedUpstream) -> None:
    script(upstream, Turn('{"name": "Ada", "age": 36}'))
    for model in TARGETS:
        parsed = client.responses.parse(model=model, input="Go.", text_format=Person)
        assert parsed.output_parsed == Person(name="Ada", age=36)
        with client.responses.stream(model=model, input="Go.", text_format=Person) as events:
            assert events.get_final_response().output_parsed == Person(name="Ada", age=36)
    assert upstream.requests[-1].body["output_config"]["format"]["type"] == "json_schema"


ERRORS: list[tuple[int, str, type[openai.APIStatusError], int]] = [
    (400, "invalid_request_error", openai.BadRequestError, 400),
    (401, "authentication_error", openai.InternalServerError, 502),
    (429, "rate_limit_error", openai.RateLimitError, 429),
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
            client.responses.create(model=model, input="Go.", stream=streamed)
        assert caught.value.status_code == seen
        assert "something upstream" in caught.value.message


@pytest.mark.parametrize("model", TARGETS)
def test_a_cut_stream_ends_in_a_failed_response(model: str, client: openai.OpenAI, upstream: ScriptedUpstream) -> None:
    def half(request: Received) -> Answer:
        whole = Turn("Half a sentence.").anthropic(request)
        return Answer(whole.steps[:4], headers=whole.headers)

    upstream.script("main", cut("Half a sen"))
    upstream.script("claude-sonnet-4-6", half)
    *_events, last = client.responses.create(model=model, input="Go.", stream=True)
    assert last.type == "response.failed"
    assert last.response.error is not None
    assert last.response.error.code == "server_error"
    with (
        pytest.raises(RuntimeError),  # the SDK's way to say that there was no response.completed
        client.responses.stream(model=model, input="Go.") as events,
    ):
        events.get_final_response()


def test_what_would_have_to_be_stored_is_refused(client: openai.OpenAI, upstream: ScriptedUpstream) -> None:
    with pytest.raises(openai.BadRequestError, match="send the whole conversation in input") as caught:
        client.responses.create(model=OPENAI, input="Go.", previous_response_id="resp_1")
    assert caught.value.param == "previous_response_id"
    with pytest.raises(openai.NotFoundError):
        client.responses.retrieve("resp_1")
    assert not upstream.requests
