"""The official Anthropic SDK through a real gateway process: an error is the same error, whichever wire it came on."""

import asyncio
from collections.abc import Iterator
from typing import Any

import anthropic
import pytest

from tests.client.two_wires import ANTHROPIC, OPENAI, TARGETS, TwoWires, two_wires
from tests.fakes.answers import Answer, Received, chunk, cut, error, json_answer, stream
from tests.fakes.gateway_process import KEY
from tests.fakes.turns import Turn, anthropic_error

pytestmark = pytest.mark.server

QUESTION: Any = [{"role": "user", "content": "Go."}]
LATER = {"retry-after": "7"}
OVERFLOW = "prompt is too long: 150000 tokens > 128000 maximum"
# What went wrong -> OpenAI's wire, Anthropic's wire, the SDK's exception, its status and type, whether to retry.
ERRORS: dict[str, tuple[Answer, Answer, type[anthropic.APIStatusError], int, str, str | None]] = {
    "context overflow": (
        error(
            400,
            "This model's maximum context length is 128000 tokens. However, your messages resulted in 150000 tokens.",
            code="context_length_exceeded",
        ),
        anthropic_error(400, "invalid_request_error", OVERFLOW),
        anthropic.BadRequestError,
        400,
        "invalid_request_error",
        None,
    ),
    "wrong request": (
        error(400, "something upstream", type="invalid_request_error"),
        anthropic_error(400, "invalid_request_error", "something upstream"),
        anthropic.BadRequestError,
        400,
        "invalid_request_error",
        None,
    ),
    "rate limit": (
        error(429, "something upstream", type="rate_limit_exceeded", headers=LATER),
        anthropic_error(429, "rate_limit_error", "something upstream", LATER),
        anthropic.RateLimitError,
        429,
        "rate_limit_error",
        "7",
    ),
    "overload": (
        error(503, "something upstream", type="overloaded", headers=LATER),
        anthropic_error(529, "overloaded_error", "something upstream", LATER),
        anthropic.OverloadedError,
        529,
        "overloaded_error",
        "7",
    ),
    "wrong key of the gateway": (
        error(401, "something upstream", code="invalid_api_key"),
        anthropic_error(401, "authentication_error", "something upstream"),
        anthropic.InternalServerError,
        502,
        "api_error",
        None,
    ),
    "no money": (
        error(402, "something upstream", type="insufficient_quota"),
        anthropic_error(402, "billing_error", "something upstream"),
        anthropic.InternalServerError,
        502,
        "api_error",
        None,
    ),
    "unknown model upstream": (
        error(404, "something upstream", code="model_not_found"),
        anthropic_error(404, "not_found_error", "something upstream"),
        anthropic.InternalServerError,
        502,
        "api_error",
        None,
    ),
    "too large": (
        error(413, "something upstream"),
        anthropic_error(413, "request_too_large", "something upstream"),
        anthropic.RequestTooLargeError,
        413,
        "request_too_large",
        None,
    ),
    "fault": (
        error(500, "something upstream"),
        anthropic_error(500, "api_error", "something upstream"),
        anthropic.InternalServerError,
        502,
        "api_error",
        None,
    ),
}


# An Anthropic upstream's errors are relayed unmodified (Claude Code LLM gateway protocol, read 2026-08), except those
# about the gateway's own account: where the table of OpenAI's wire gives another status, this is what comes through.
RELAYED: dict[str, tuple[type[anthropic.APIStatusError], int, str]] = {
    "unknown model upstream": (anthropic.NotFoundError, 404, "not_found_error"),
    "fault": (anthropic.InternalServerError, 500, "api_error"),
}


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


async def _concurrently(client: anthropic.Anthropic, request: dict[str, Any]) -> anthropic.APIStatusError:
    async with anthropic.AsyncAnthropic(
        base_url=client.base_url, api_key=None, auth_token=KEY, max_retries=0, timeout=20
    ) as concurrent:
        with pytest.raises(anthropic.APIStatusError) as caught:
            async with concurrent.messages.stream(**request) as events:
                await events.get_final_message()
    return caught.value


def all_errors(client: anthropic.Anthropic, model: str) -> list[anthropic.APIStatusError]:
    """Return what is raised without a stream, with one, and by the asynchronous client."""
    request: dict[str, Any] = {"model": model, "max_tokens": 100, "messages": QUESTION}
    with pytest.raises(anthropic.APIStatusError) as whole:
        client.messages.create(**request)
    with pytest.raises(anthropic.APIStatusError) as streamed, client.messages.stream(**request) as events:
        events.get_final_message()
    return [whole.value, streamed.value, asyncio.run(_concurrently(client, request))]


@pytest.mark.parametrize("model", TARGETS)
@pytest.mark.parametrize("name", ERRORS)
def test_an_upstream_error_is_the_sdks_error(
    name: str, model: str, client: anthropic.Anthropic, wires: TwoWires
) -> None:
    on_openai, on_anthropic, raised, status, kind, retry_after = ERRORS[name]
    if model == ANTHROPIC and name in RELAYED:
        raised, status, kind = RELAYED[name]
    wires.script_each(on_openai, on_anthropic)
    for caught in all_errors(client, model):
        assert isinstance(caught, raised)
        assert caught.status_code == status
        assert isinstance(caught.body, dict)
        assert caught.body["type"] == "error"
        assert caught.body["error"]["type"] == kind
        assert caught.response.headers.get("retry-after") == retry_after
        assert caught.request_id
        if name == "context overflow":
            # The words that make agents compact the conversation.
            assert caught.body["error"]["message"] == OVERFLOW


@pytest.mark.parametrize("model", TARGETS)
def test_an_error_in_mid_stream_is_raised(model: str, client: anthropic.Anthropic, wires: TwoWires) -> None:
    def half(request: Received) -> Answer:
        whole = Turn("Half a sentence.").anthropic(request)
        fault = b'event: error\ndata: {"type":"error","error":{"type":"overloaded_error","message":"Overloaded"}}\n\n'
        return Answer([*whole.steps[:4], fault], headers=whole.headers)

    failed = {"error": {"message": "Overloaded", "type": "overloaded_error", "code": 503}}
    wires.script_each(stream(chunk({"content": "Half a sen"}), failed, done=False), half)
    said: list[str] = []
    with (
        pytest.raises(anthropic.APIStatusError) as caught,
        client.messages.stream(model=model, max_tokens=100, messages=QUESTION) as events,
    ):
        said.extend(events.text_stream)
    assert "".join(said).startswith("Half a s")
    assert isinstance(caught.value.body, dict)
    assert caught.value.body["error"]["type"] == "overloaded_error"


@pytest.mark.parametrize("model", TARGETS)
def test_a_cut_stream_is_no_message(model: str, client: anthropic.Anthropic, wires: TwoWires) -> None:
    def half(request: Received) -> Answer:
        whole = Turn("Half a sentence.").anthropic(request)
        return Answer(whole.steps[:4], headers=whole.headers)

    wires.script_each(cut("Half a sen"), half)
    with (
        pytest.raises(anthropic.APIStatusError) as caught,
        client.messages.stream(model=model, max_tokens=100, messages=QUESTION) as events,
    ):
        events.get_final_message()
    assert isinstance(caught.value.body, dict)
    assert caught.value.body["error"]["type"] == "api_error"


def test_the_sdk_retries_what_it_should(wires: TwoWires) -> None:
    for on_openai, on_anthropic, asked in (
        (error(429, "slow", headers={"retry-after": "0"}), anthropic_error(429, "rate_limit_error", "slow"), 2),
        (error(400, "bad"), anthropic_error(400, "invalid_request_error", "bad"), 1),
        (error(401, "key"), anthropic_error(401, "authentication_error", "key"), 1),
    ):
        for model in TARGETS:
            wires.upstream.clear()
            wires.script_each(on_openai, on_anthropic)
            with (
                anthropic.Anthropic(
                    base_url=wires.gateway.claude_code_url, api_key=None, auth_token=KEY, max_retries=1
                ) as patient,
                pytest.raises(anthropic.APIStatusError),
            ):
                patient.messages.create(model=model, max_tokens=100, messages=QUESTION)
            assert len(wires.upstream.requests) == asked


def test_a_wrong_key_and_unknown_things(client: anthropic.Anthropic) -> None:
    stranger = client.with_options(auth_token="wg_0000000000000000000000")
    with pytest.raises(anthropic.AuthenticationError):
        stranger.messages.create(model=OPENAI, max_tokens=100, messages=QUESTION)
    with pytest.raises(anthropic.NotFoundError):
        client.models.retrieve("none")
    with pytest.raises(anthropic.BadRequestError):
        client.messages.create(model=OPENAI, max_tokens=100, messages=[])


def test_the_vendors_own_count_or_an_estimate(client: anthropic.Anthropic, wires: TwoWires) -> None:
    # Only Anthropic's wire has a call that counts; elsewhere the gateway estimates.
    wires.upstream.script("claude-sonnet-4-6", json_answer({"input_tokens": 4321}))
    words: Any = [{"role": "user", "content": "Some words to count, 还有中文。"}]
    assert client.messages.count_tokens(model=ANTHROPIC, messages=words).input_tokens == 4321
    assert 8 <= client.messages.count_tokens(model=OPENAI, messages=words).input_tokens <= 40


def test_both_models_are_listed_alike(client: anthropic.Anthropic) -> None:
    models = {model.id: model.model_dump(mode="json") for model in client.models.list(limit=2)}
    assert set(TARGETS) <= set(models)
    for name in TARGETS:
        assert client.models.retrieve(name).model_dump(mode="json") == models[name]
    one, other = ({**models[name], "id": "", "display_name": ""} for name in TARGETS)
    assert one == other
