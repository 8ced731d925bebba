"""Whatever a client sends: a clear error in Anthropic shape or a working answer, never a 5xx and never HTML."""

import base64
import json
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.fakes.answers import text
from tests.fakes.gateway_process import KEY, GatewayProcess, configuration
from tests.fakes.upstream import ScriptedUpstream

pytestmark = pytest.mark.server

PATHS = ["/v1/messages", "/messages", "/api/v1/claude-code/v1/messages", "/api/v1/claude-code/messages"]


@pytest.fixture(scope="module")
def http() -> Iterator[httpx.Client]:
    with ScriptedUpstream() as upstream:
        upstream.script("main", text("ok"))
        with (
            GatewayProcess(configuration(upstream.base_url)) as gateway,
            httpx.Client(base_url=gateway.base_url, headers={"x-api-key": KEY}, timeout=30) as http,
        ):
            yield http
            assert "Traceback" not in gateway.log(), gateway.log()[-4000:]


def assert_honest(response: httpx.Response) -> None:
    """Check that `response` is an answer or an error that a client understands."""
    assert response.status_code < 500, response.text
    if response.status_code == 200:
        if response.headers["content-type"].startswith("text/event-stream"):
            assert "event: message_stop" in response.text
            assert "event: error" not in response.text
        else:
            assert isinstance(response.json(), dict)
        return
    assert response.headers["content-type"].startswith("application/json"), response.text
    error = response.json()
    assert error["type"] == "error"
    assert error["error"]["type"] == "request_too_large" or error["error"]["type"].endswith("_error")
    assert error["error"]["message"]
    assert response.headers["request-id"].startswith("req_")


def request(*messages: Any, **more: Any) -> dict[str, Any]:
    return {"model": "m", "max_tokens": 50, "messages": list(messages), **more}


def nested(depth: int) -> Any:
    value: Any = "core"
    for _ in range(depth):
        value = {"x": [value]}
    return value


HELLO = {"role": "user", "content": "Hello"}
PNG = base64.b64encode(b"\x89PNG\r\n\x1a\n" + b"\0" * 5_000_000).decode()
TOOL_USE = {"type": "tool_use", "id": "t1", "name": "Read", "input": {"path": "a"}}
REFUSED: dict[str, Any] = {
    "empty": b"",
    "not json": b"hello",
    "half a json": b'{"model": "m", ',
    "not utf-8": b'{"model": "\xff\xfe"}',
    "raw null byte": b'{"model": "m\x00"}',
    "NaN": b'{"model": "m", "max_tokens": NaN, "messages": [{"role": "user", "content": "x"}]}',
    "too deep": b"[" * 200_000 + b"]" * 200_000,
    "a list": [],
    "a number": 17,
    "null": None,
    "no fields": {},
    "no messages": {"model": "m", "max_tokens": 5},
    "empty messages": request(),
    "messages of a wrong type": {"model": "m", "max_tokens": 5, "messages": "Hello"},
    "a message of a wrong type": request("Hello"),
    "no model": {"max_tokens": 5, "messages": [HELLO]},
    "a model of a wrong type": {"model": 5, "max_tokens": 5, "messages": [HELLO]},
    "no max_tokens": {"model": "m", "messages": [HELLO]},
    "max_tokens of a wrong type": request(HELLO) | {"max_tokens": "many"},
    "a boolean max_tokens": request(HELLO) | {"max_tokens": True},
    "a negative max_tokens": request(HELLO) | {"max_tokens": -1},
    "a strange role": request({"role": "robot", "content": "x"}),
    "no role": request({"content": "x"}),
    "content of a wrong type": request({"role": "user", "content": 5}),
    "a block without a type": request({"role": "user", "content": [{"text": "x"}]}),
    "a block that is none": request({"role": "user", "content": ["x"]}),
    "tool_use without an id": request(HELLO, {"role": "assistant", "content": [{"type": "tool_use", "name": "Read"}]}),
    "tool_result without an id": request({"role": "user", "content": [{"type": "tool_result", "content": "x"}]}),
}
ANSWERED: dict[str, Any] = {
    "an unknown model": request(HELLO) | {"model": "no-such-model"},
    "a tool_result without its call": request(
        {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "t9", "content": "tea"}]}
    ),
    "a call without its tool_result": request(HELLO, {"role": "assistant", "content": [TOOL_USE]}, HELLO),
    "an escaped null byte": request({"role": "user", "content": "a\x00b"}),
    "a huge number": b'{"model": "m", "max_tokens": 50, "messages": [{"role": "user", "content": "x"}], "x": 1'
    + b"0" * 400
    + b"}",
    "a deep tool input": request(
        HELLO,
        {"role": "assistant", "content": [{**TOOL_USE, "input": nested(100)}]},
        {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "t1", "content": "x"}]},
    ),
    "a 5 MB image": request(
        {
            "role": "user",
            "content": [
                {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": PNG}},
                {"type": "text", "text": "What is it?"},
            ],
        }
    ),
    "unknown fields": request(HELLO, speed="fast", container=None, mcp_servers=[], zzz={"a": [1]}),
    "an unknown block": request(
        {"role": "user", "content": [{"type": "hologram", "x": 1}, {"type": "text", "text": "x"}]}
    ),
    "assistant first": request({"role": "assistant", "content": "Hm"}, HELLO),
    "many messages": request(*([HELLO, {"role": "assistant", "content": "Hi"}] * 500), HELLO),
}
EITHER: dict[str, Any] = {
    "blank text": request({"role": "user", "content": "  "}),
    # Legal JSON that is not text: some parsers refuse it, no upstream can be sent it as it is.
    "a lone surrogate": b'{"model": "m", "max_tokens": 50, "messages": [{"role": "user", "content": "a\\ud800b"}]}',
    "a lone surrogate as a name": b'{"model": "\\udfff", "max_tokens": 50, "messages": [{"role": "user", "content": "x"}]}',
    "a model name of 10 KB": request(HELLO) | {"model": "m" * 10_000},
    "a null byte in the model": request(HELLO) | {"model": "a\x00b"},
    "max_tokens beyond 64 bits": request(HELLO) | {"max_tokens": 10**30},
    "a stream of a wrong type": request(HELLO, stream="yes"),
    "tools of a wrong type": request(HELLO, tools="all"),
    "a tool of a wrong type": request(HELLO, tools=[5, None, {"name": 5}]),
    "a system of a wrong type": request(HELLO, system=5),
    "a thinking of a wrong type": request(HELLO, thinking=[1]),
    "metadata of a wrong type": request(HELLO, metadata={"user_id": {"a": 1}}),
    "an image without a source": request({"role": "user", "content": [{"type": "image"}]}),
    "an image that is none": request(
        {"role": "user", "content": [{"type": "image", "source": {"type": "base64", "media_type": "x", "data": "%%%"}}]}
    ),
    "a tool input that is none": request(HELLO, {"role": "assistant", "content": [{**TOOL_USE, "input": "x"}]}, HELLO),
    "a too deep tool input": request(
        HELLO, {"role": "assistant", "content": [{**TOOL_USE, "input": nested(450)}]}, HELLO
    ),
}


def send(http: httpx.Client, body: Any, path: str = PATHS[0]) -> httpx.Response:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    return http.post(path, content=content, headers={"content-type": "application/json"})


@pytest.mark.parametrize("name", REFUSED)
def test_is_refused_clearly(name: str, http: httpx.Client) -> None:
    response = send(http, REFUSED[name])
    assert_honest(response)
    assert response.status_code == 400
    assert response.json()["error"]["type"] == "invalid_request_error"


@pytest.mark.parametrize("name", ANSWERED)
def test_is_answered(name: str, http: httpx.Client) -> None:
    response = send(http, ANSWERED[name])
    assert_honest(response)
    assert response.status_code == 200, response.text


@pytest.mark.parametrize("name", EITHER)
def test_is_refused_or_answered(name: str, http: httpx.Client) -> None:
    assert_honest(send(http, EITHER[name]))


@pytest.mark.parametrize("path", PATHS)
def test_33_mb_are_too_much_on_every_path(path: str, http: httpx.Client) -> None:
    response = send(http, request({"role": "user", "content": "x" * 33 * 1024 * 1024}), path)
    assert_honest(response)
    assert response.status_code == 413
    assert response.json()["error"]["type"] == "request_too_large"


def test_a_body_without_a_length_is_bounded_too(http: httpx.Client) -> None:
    def pieces() -> Iterator[bytes]:
        for _ in range(33):
            yield b"x" * 1024 * 1024

    response = http.post(PATHS[0], content=pieces(), headers={"content-type": "application/json"})
    assert response.status_code == 413
    assert_honest(response)


@pytest.mark.parametrize(
    ("method", "path"),
    [("GET", "/v1/messages"), ("POST", "/v1/nothing"), ("PUT", "/v1/models"), ("GET", "/v1/models/a/b")],
)
def test_a_wrong_method_or_path_is_an_api_error(method: str, path: str, http: httpx.Client) -> None:
    response = http.request(method, path)
    assert response.status_code in (404, 405)
    assert_honest(response)


TEXT = st.text(st.characters(codec=None))  # lone surrogates too
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4),
    max_leaves=12,
)
NAMES = ["type", "text", "id", "name", "input", "content", "tool_use_id", "source", "thinking", "signature", "data"]
TYPES = [
    "text",
    "image",
    "document",
    "tool_use",
    "tool_result",
    "thinking",
    "redacted_thinking",
    "server_tool_use",
    "zz",
]
BLOCK = st.fixed_dictionaries(
    {"type": st.sampled_from(TYPES)}, optional={name: JSON for name in NAMES if name != "type"}
)
MESSAGE = st.fixed_dictionaries(
    {"role": st.sampled_from(["user", "assistant", "system"]), "content": TEXT | st.lists(BLOCK, max_size=4)}
)
FIELDS = ["system", "tools", "tool_choice", "thinking", "output_config", "metadata", "stop_sequences", "temperature"]
ALMOST = st.fixed_dictionaries(
    {
        "model": TEXT,
        "max_tokens": st.integers(0, 2**70),
        "messages": st.lists(MESSAGE, min_size=1, max_size=4),
    },
    optional={"stream": st.booleans(), **dict.fromkeys(FIELDS, JSON)},
)


@given(body=JSON | ALMOST | ALMOST)
@settings(max_examples=120, deadline=None, database=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_no_json_body_gives_a_5xx(body: Any, http: httpx.Client) -> None:
    for path in (PATHS[0], "/v1/messages/count_tokens"):
        assert_honest(send(http, body, path))
