"""What a Chat Completions client reads off the wire, chunk by chunk and header by header, whichever target answers."""

import json
import re
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from tests.client.two_wires import ANTHROPIC, OPENAI, TARGETS, TwoWires, two_wires
from tests.fakes.answers import Answer, Received, error
from tests.fakes.gateway_process import KEY
from tests.fakes.turns import Turn, anthropic_error

pytestmark = pytest.mark.server

QUESTION: Any = [{"role": "user", "content": "Go."}]
FUNCTION: Any = {
    "name": "Read",
    "description": "Reads a file.",
    "parameters": {"type": "object", "properties": {"path": {"type": "string"}}, "required": ["path"]},
}
TOOL: Any = {"type": "function", "function": FUNCTION}
CALLS = (("call_a", "Read", {"path": "a.txt"}), ("call_b", "Read", {"path": "日本語"}))
USAGE = {
    "prompt_tokens": 100,
    "completion_tokens": 5,
    "total_tokens": 105,
    "prompt_tokens_details": {"cached_tokens": 60, "cache_write_tokens": 30},
    "completion_tokens_details": {"reasoning_tokens": 2},
}
COUNTED: Any = {"usage": (100, 60, 5), "cache_written": 30, "reasoned": 2}


@pytest.fixture(scope="module")
def running() -> Iterator[TwoWires]:
    with two_wires() as wires:
        yield wires


@pytest.fixture
def wires(running: TwoWires) -> TwoWires:
    running.upstream.clear()
    return running


def ask(wires: TwoWires, model: str, *, key: str = KEY, **fields: Any) -> httpx.Response:
    headers = {"authorization": f"Bearer {key}"}
    body = {"model": model, "messages": QUESTION, **fields}
    return httpx.post(f"{wires.gateway.base_url}/v1/chat/completions", headers=headers, json=body, timeout=20)


def chunks_of(response: httpx.Response) -> list[dict[str, Any]]:
    """Return the chunks of a stream; each event is one `data:` line, and the last is [DONE]."""
    assert response.headers["content-type"].startswith("text/event-stream")
    assert response.headers["cache-control"] == "no-cache"
    *events, rest = response.text.split("\n\n")
    assert rest == ""
    assert all(re.fullmatch(r"data: .+", event) for event in events)
    *chunks, done = [event.removeprefix("data: ") for event in events]
    assert done == "[DONE]"
    return [json.loads(chunk) for chunk in chunks]


@pytest.mark.parametrize("model", TARGETS)
def test_the_chunks_of_one_answer(model: str, wires: TwoWires) -> None:
    wires.script(Turn("Looking.", "I must look.", CALLS, "tool_calls"))
    chunks = chunks_of(ask(wires, model, stream=True, tools=[TOOL], reasoning_effort="low"))
    for name, value in (("object", "chat.completion.chunk"), ("model", model)):
        assert {chunk[name] for chunk in chunks} == {value}
    assert len({(chunk["id"], chunk["created"]) for chunk in chunks}) == 1
    assert all(len(chunk["choices"]) == 1 and chunk["choices"][0]["index"] == 0 for chunk in chunks)
    deltas = [chunk["choices"][0]["delta"] for chunk in chunks]
    assert [delta["role"] for delta in deltas if "role" in delta] == ["assistant"]
    assert "role" in deltas[0]
    assert "".join(delta.get("content") or "" for delta in deltas) == "Looking."
    assert "".join(delta.get("reasoning_content") or "" for delta in deltas) == "I must look."
    calls: dict[int, dict[str, Any]] = {}
    for fragment in (fragment for delta in deltas for fragment in delta.get("tool_calls") or ()):
        if "id" in fragment:
            assert fragment["index"] == len(calls)  # each call once, counted from 0 without gaps
            assert fragment["type"] == "function"
            calls[fragment["index"]] = {**fragment["function"], "id": fragment["id"]}
        else:
            calls[fragment["index"]]["arguments"] += fragment["function"]["arguments"]
    assert [(call["id"], call["name"], json.loads(call["arguments"])) for call in calls.values()] == list(CALLS)
    assert [chunk["choices"][0]["finish_reason"] for chunk in chunks] == [None] * (len(chunks) - 1) + ["tool_calls"]


@pytest.mark.parametrize("model", TARGETS)
@pytest.mark.parametrize("options", [None, {}, {"include_usage": False}, {"include_usage": True}])
def test_usage_comes_in_a_chunk_of_its_own_for_who_asks(model: str, options: Any, wires: TwoWires) -> None:
    wires.script(Turn("Hi.", **COUNTED))
    asked = {} if options is None else {"stream_options": options}
    *chunks, last = chunks_of(ask(wires, model, stream=True, **asked))
    if options == {"include_usage": True}:
        assert (last["choices"], last["usage"]) == ([], USAGE)
        last = chunks.pop()
    assert last["choices"][0]["finish_reason"] == "stop"
    assert all(chunk.get("usage") is None and chunk["choices"] for chunk in [*chunks, last])


@pytest.mark.parametrize("model", TARGETS)
def test_a_whole_answer(model: str, wires: TwoWires) -> None:
    wires.script(Turn("Hi.", **COUNTED))
    response = ask(wires, model)
    answer = response.json()
    assert response.headers["content-type"] == "application/json"
    assert re.fullmatch(r"req_\w{32}", response.headers["x-request-id"])
    assert (answer["object"], answer["model"], answer["usage"]) == ("chat.completion", model, USAGE)
    assert isinstance(answer["created"], int)
    (choice,) = answer["choices"]
    assert (choice["index"], choice["finish_reason"]) == (0, "stop")
    assert (choice["message"]["role"], choice["message"]["content"]) == ("assistant", "Hi.")


@pytest.mark.parametrize("model", TARGETS)
@pytest.mark.parametrize(
    ("turn", "finish"),
    [
        (Turn("a"), "stop"),
        (Turn("a", stop_sequence="END"), "stop"),
        (Turn("a", finish="length"), "length"),
        (Turn(calls=CALLS, finish="tool_calls"), "tool_calls"),
        (Turn("a", finish="content_filter"), "content_filter"),
    ],
    ids=["end", "stop sequence", "length", "tools", "filter"],
)
def test_each_end_has_its_finish_reason(turn: Turn, finish: str, model: str, wires: TwoWires) -> None:
    wires.script(turn)
    assert ask(wires, model, stop=["END"], tools=[TOOL]).json()["choices"][0]["finish_reason"] == finish
    *_, last = chunks_of(ask(wires, model, stop=["END"], tools=[TOOL], stream=True))
    assert last["choices"][0]["finish_reason"] == finish


def test_what_each_platform_is_asked(wires: TwoWires) -> None:
    wires.script(Turn("Hi."))
    instructed: Any = [{"role": "developer", "content": "Be brief."}, *QUESTION]
    fields: Any = {
        "messages": instructed,
        "tools": [TOOL],
        "parallel_tool_calls": False,
        "max_completion_tokens": 17,
        "temperature": 1.7,
        "user": "u-1",
        "seed": 3,
        "logprobs": True,
        "metadata": {"x": "y"},
        "unknown_field": {"a": 1},
    }
    for model in TARGETS:
        assert ask(wires, model, **fields).status_code == 200
    relayed, translated = (request.body for request in wires.upstream.requests)
    assert relayed == {"model": "main", **fields}
    assert translated == {
        "model": "claude-sonnet-4-6",
        "system": [{"type": "text", "text": "Be brief."}],
        "messages": [{"role": "user", "content": [{"type": "text", "text": "Go."}]}],
        "tools": [{"name": "Read", "description": "Reads a file.", "input_schema": FUNCTION["parameters"]}],
        "tool_choice": {"type": "auto", "disable_parallel_tool_use": True},
        "max_tokens": 17,
        "temperature": 1,
        "metadata": {"user_id": "u-1"},
    }


def test_an_object_of_json_is_asked_for_in_words(wires: TwoWires) -> None:
    wires.script(Turn('{"a": 1}'))
    for model in TARGETS:
        answer = ask(wires, model, response_format={"type": "json_object"}).json()
        assert json.loads(answer["choices"][0]["message"]["content"]) == {"a": 1}
    assert "JSON object" in wires.upstream.requests[-1].body["system"][0]["text"]


def test_several_choices_are_relayed_or_refused(wires: TwoWires) -> None:
    wires.script(Turn("Hi."))
    assert ask(wires, OPENAI, n=2).status_code == 200
    assert wires.upstream.requests[-1].body["n"] == 2
    refused = ask(wires, ANTHROPIC, n=2)
    assert (refused.status_code, refused.json()["error"]["param"]) == (400, "n")
    assert ask(wires, ANTHROPIC, n=1).status_code == 200


@pytest.mark.parametrize("streamed", [False, True])
def test_legacy_functions_get_a_function_call(streamed: bool, wires: TwoWires) -> None:
    wires.script(Turn(calls=CALLS[:1], finish="tool_calls"))
    response = ask(wires, ANTHROPIC, functions=[FUNCTION], function_call={"name": "Read"}, stream=streamed)
    if streamed:
        chunks = chunks_of(response)
        parts = [chunk["choices"][0]["delta"].get("function_call") or {} for chunk in chunks]
        arguments, finish = "".join(part.get("arguments", "") for part in parts), chunks[-1]["choices"][0]
    else:
        (finish,) = response.json()["choices"]
        arguments = finish["message"]["function_call"]["arguments"]
    assert (json.loads(arguments), finish["finish_reason"]) == ({"path": "a.txt"}, "function_call")
    assert wires.upstream.requests[-1].body["tool_choice"] == {"type": "tool", "name": "Read"}


def test_an_odd_history_is_one_that_the_messages_api_takes(wires: TwoWires) -> None:
    wires.script(Turn("Hi."))
    call = {"id": "c1", "type": "function", "function": {"name": "Read", "arguments": ""}}
    history = [
        {"role": "assistant", "content": "I begin."},
        *QUESTION,
        {"role": "assistant", "content": ""},
        {"role": "user", "content": ""},
        {"role": "assistant", "content": None, "tool_calls": [call, {**call, "id": "c2"}]},
        {"role": "user", "content": "wait"},
        {"role": "tool", "tool_call_id": "c1", "content": ""},
        {"role": "tool", "tool_call_id": "c9", "content": "of no call"},
        {"role": "user", "content": [{"type": "text", "text": "and"}]},
    ]
    assert ask(wires, ANTHROPIC, messages=history).status_code == 200
    sent = wires.upstream.requests[-1].body["messages"]
    assert [message["role"] for message in sent] == ["user", "assistant", "user", "assistant", "user"]
    assert [block["id"] for block in sent[3]["content"]] == ["c1", "c2"]
    first, second, *texts = sent[4]["content"]
    assert (first["tool_use_id"], second["tool_use_id"]) == ("c1", "c2")
    assert [block["text"] for block in texts] == ["wait", "Tool result (c9): of no call", "and"]
    assert {tool["name"] for tool in wires.upstream.requests[-1].body["tools"]} == {"Read"}


@pytest.mark.parametrize("model", TARGETS)
def test_an_upstreams_limit_says_when_to_come_back(model: str, wires: TwoWires) -> None:
    later = {"retry-after": "9"}
    wires.script_each(
        error(429, "slow", type="rate_limit_error", code="rate_limit_exceeded", headers=later),
        anthropic_error(429, "rate_limit_error", "slow", later),
    )
    for streamed in (False, True):
        response = ask(wires, model, stream=streamed)
        assert (response.status_code, response.headers["retry-after"]) == (429, "9")
        assert response.json()["error"]["code"] == "rate_limit_exceeded"


@pytest.mark.parametrize("model", TARGETS)
def test_an_overflow_has_the_code_that_agents_look_for(model: str, wires: TwoWires) -> None:
    words = "This model's maximum context length is 128000 tokens. However, your messages resulted in 150000 tokens."
    wires.script_each(
        error(400, words, type="invalid_request_error", code="context_length_exceeded"),
        anthropic_error(400, "invalid_request_error", "prompt is too long: 150000 tokens > 128000 maximum"),
    )
    response = ask(wires, model)
    assert response.status_code == 400
    assert response.json()["error"]["code"] == "context_length_exceeded"


ELSEWHERE: list[tuple[str, str, str, int, str, str | None]] = [
    ("POST", "/v1/chat/completions", "wg_unknown", 401, "authentication_error", "invalid_api_key"),
    ("GET", "/v1/models", "wg_unknown", 401, "authentication_error", "invalid_api_key"),
    ("GET", "/v1/models/none", KEY, 404, "invalid_request_error", "model_not_found"),
    ("POST", "/v1/embeddings", KEY, 404, "invalid_request_error", "not_found"),
    ("GET", "/v1/chat/completions", KEY, 405, "invalid_request_error", None),
    ("POST", "/v1/chat/completions", KEY, 400, "invalid_request_error", None),
]


@pytest.mark.parametrize(("method", "path", "key", "status", "kind", "code"), ELSEWHERE)
def test_errors_of_the_gateway(
    method: str, path: str, key: str, status: int, kind: str, code: str | None, wires: TwoWires
) -> None:
    headers = {"authorization": f"Bearer {key}", "content-type": "application/json"}
    url = f"{wires.gateway.base_url}{path}"
    answers = [httpx.request(method, url, headers=headers, content=b"{", timeout=20) for _ in range(2)]
    for answer in answers:
        assert answer.status_code == status
        fault = answer.json()["error"]
        assert set(fault) == {"message", "type", "param", "code"}
        assert (fault["type"], fault["code"]) == (kind, code)
        assert fault["message"]
    assert len({answer.headers["x-request-id"] for answer in answers}) == 2


def test_a_body_too_large_and_the_list_have_ids_too(wires: TwoWires) -> None:
    headers = {"authorization": f"Bearer {KEY}"}
    large = httpx.post(
        f"{wires.gateway.base_url}/v1/chat/completions", headers=headers, content=bytes(33 * 2**20), timeout=30
    )
    assert (large.status_code, large.json()["error"]["code"]) == (413, "request_too_large")
    listed = httpx.get(f"{wires.gateway.base_url}/v1/models", headers=headers)
    one = httpx.get(f"{wires.gateway.base_url}/v1/models/{OPENAI}", headers=headers)
    anthropics = httpx.get(
        f"{wires.gateway.base_url}/v1/models", headers={**headers, "anthropic-version": "2023-06-01"}
    )
    ids = [answer.headers["x-request-id"] for answer in (large, listed, one)] + [anthropics.headers["request-id"]]
    assert len(set(ids)) == 4
    assert all(re.fullmatch(r"req_[0-9a-f]{32}", name) for name in ids)


@pytest.mark.parametrize("model", TARGETS)
def test_a_client_that_leaves_ends_the_upstreams_work(model: str, wires: TwoWires) -> None:
    gate = wires.upstream.gate()

    def held(whole: Any) -> Any:
        def answer(request: Received) -> Answer:
            steps = list(whole(request).steps)
            return Answer([*steps[:4], gate, *steps[4:]], headers={"content-type": "text/event-stream"})

        return answer

    turn = Turn("Hello there.")
    wires.script_each(held(turn.openai), held(turn.anthropic))
    body = {"model": model, "messages": QUESTION, "stream": True}
    with httpx.stream(
        "POST", f"{wires.gateway.base_url}/v1/chat/completions", headers={"authorization": f"Bearer {KEY}"}, json=body
    ) as response:
        assert next(response.iter_lines()).startswith("data: ")
    (request,) = wires.upstream.wait_requests(1)
    request.wait_end()
    assert request.hung_up_at is not None
