"""Calls passed through by a real gateway process over real sockets, and by the real Claude Code client."""

import hashlib
import json
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import brotli
import httpx
import pytest
import zstandard

from tests.client.claude_code import ClaudeCode, client_path
from tests.conftest import require
from tests.fakes.answers import Answer, Step, json_answer
from tests.fakes.gateway_process import KEY, GatewayProcess, configuration
from tests.fakes.upstream import ScriptedUpstream

pytestmark = pytest.mark.server

OWN = "sk-ant-own-0123456789abcdef"
MODEL = "claude-opus-5-5"
BODY = (
    '{ "model" : "claude-opus-5-5",\r\n "max_tokens":100, "n":123456789012345678901234567890, "a":1, "a":2.50,'
    '"messages":[{"role":"user","content":"\\u4e16 世 \\/"}],\t"stream":true }'
).encode()


def events(text: str) -> list[bytes]:
    """Return a whole streamed message, one event each."""
    start = {
        "id": "msg_1", "type": "message", "role": "assistant", "model": MODEL, "content": [], "stop_reason": None,
        "stop_sequence": None, "usage": {"input_tokens": 11, "output_tokens": 1},
    }  # fmt: skip
    payloads: list[dict[str, Any]] = [
        {"type": "message_start", "message": start},
        {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
        {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": text}},
        {"type": "content_block_stop", "index": 0},
        {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 5}},
        {"type": "message_stop"},
    ]
    return [f"event: {each['type']}\ndata: {json.dumps(each)}\n\n".encode() for each in payloads]


def streamed(*steps: Step, **headers: str) -> Answer:
    return Answer(steps, headers={"content-type": "text/event-stream", **headers})


@pytest.fixture(scope="module")
def upstream() -> Iterator[ScriptedUpstream]:
    with ScriptedUpstream() as upstream:
        yield upstream


@pytest.fixture(scope="module")
def gateway(upstream: ScriptedUpstream) -> Iterator[GatewayProcess]:
    config = configuration(upstream.base_url)
    config["providers"].append(
        {
            "name": "claude",
            "kind": "anthropic_compatible",
            "base_url": upstream.base_url,
            "allow_private_network": True,
            "forward_client_credential": True,
            "models": [{"id": "*"}],
        }
    )
    config["routes"].append({"name": "servers", "targets": ["claude/*"]})
    config["policies"] = [{"name": "through", "default": True, "mode": "passthrough", "route": "servers"}]
    with GatewayProcess(config) as gateway:
        yield gateway


@pytest.fixture
def client(gateway: GatewayProcess, upstream: ScriptedUpstream) -> Iterator[httpx.Client]:
    upstream.clear()
    headers = {"x-gateway-key": KEY, "authorization": f"Bearer {OWN}", "content-type": "application/json"}
    with httpx.Client(base_url=gateway.claude_code_url, headers=headers, timeout=20) as client:
        yield client


def test_the_body_arrives_as_it_was_sent(client: httpx.Client, upstream: ScriptedUpstream) -> None:
    upstream.script(MODEL, streamed(*events("hi")))
    response = client.post("/v1/messages?beta=true", content=BODY, headers={"anthropic-beta": "a-1,b-2"})
    assert response.content == b"".join(events("hi"))
    assert response.headers["x-gateway-model"] == f"claude/{MODEL}"
    (request,) = upstream.requests
    assert hashlib.sha256(request.raw).digest() == hashlib.sha256(BODY).digest()
    assert request.path == "/v1/messages?beta=true"
    assert (request.headers["authorization"], request.headers["anthropic-beta"]) == (f"Bearer {OWN}", "a-1,b-2")
    assert KEY not in str(request.headers)


def test_each_event_arrives_before_the_next_is_sent(client: httpx.Client, upstream: ScriptedUpstream) -> None:
    gate, (first, *rest) = upstream.gate(), events("hi")
    upstream.script(MODEL, streamed(first, gate, *rest))
    with client.stream("POST", "/v1/messages", content=BODY) as response:
        pieces = response.iter_raw()
        assert next(pieces) == first
        gate.open()
        assert b"".join(pieces) == b"".join(rest)


def _gzip(data: bytes) -> bytes:
    compressor = zlib.compressobj(wbits=zlib.MAX_WBITS | 16)
    return compressor.compress(data) + compressor.flush()


@pytest.mark.parametrize(
    ("name", "compress"),
    [
        ("gzip", _gzip),
        ("deflate", zlib.compress),
        ("br", brotli.compress),
        ("zstd", zstandard.ZstdCompressor().compress),
    ],
)
def test_a_compressed_answer_survives(
    client: httpx.Client, upstream: ScriptedUpstream, name: str, compress: Callable[[bytes], bytes]
) -> None:
    packed = compress(b"".join(events("压缩")))
    upstream.script(MODEL, streamed(packed[:10], packed[10:], **{"content-encoding": name}))
    response = client.post("/v1/messages", content=BODY)
    assert response.content == b"".join(events("压缩"))
    assert "content-encoding" not in response.headers


def test_an_error_arrives_as_it_was_sent(client: httpx.Client, upstream: ScriptedUpstream) -> None:
    payload = {"type": "error", "error": {"type": "authentication_error", "message": "无效"}, "request_id": "req_up"}
    headers = {"request-id": "req_up", "retry-after": "3", "anthropic-ratelimit-unified-status": "rejected"}
    upstream.script(MODEL, json_answer(payload, 401, headers))
    response = client.post("/v1/messages", content=BODY)
    assert (response.status_code, response.json()) == (401, payload)
    assert (response.headers["request-id"], response.headers["retry-after"]) == ("req_up", "3")
    assert "anthropic-ratelimit-unified-status" not in response.headers


@pytest.mark.claude_code
@pytest.mark.parametrize("variable", ["ANTHROPIC_AUTH_TOKEN", "ANTHROPIC_API_KEY"])
def test_claude_code_uses_its_own_credential(
    gateway: GatewayProcess, upstream: ScriptedUpstream, tmp_path: Path, variable: str
) -> None:
    require("claude_code", bool(client_path()), "CLAUDE_CODE_BIN does not name the Claude Code client")
    upstream.clear()
    upstream.script(MODEL, streamed(*events("Passed through.")))
    environment = {
        "ANTHROPIC_CUSTOM_HEADERS": f"x-gateway-key: {KEY}",
        "ANTHROPIC_AUTH_TOKEN": "",
        "ANTHROPIC_MODEL": MODEL,
        variable: OWN,
    }
    client = ClaudeCode(tmp_path, gateway.claude_code_url, OWN, environment)
    assert client.ask("What is said?").text == "Passed through."
    request = upstream.requests[-1]
    assert OWN in (request.headers.get("authorization", "") + request.headers.get("x-api-key", ""))
    assert "wg_" not in str(request.headers)
    # The block by which Anthropic's API knows the client stays first, in its own place.
    assert request.body["system"][0]["text"].startswith("x-anthropic-billing-header")
