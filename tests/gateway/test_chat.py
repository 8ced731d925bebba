"""Calls of Chat Completions clients through the whole gateway, to both kinds of targets."""

import json
from typing import Any

import httpx

from accounts.models import CallRecord
from tests.fakes.transport import Reply, events, json_reply
from tests.gateway.case import GatewayCase

CHAT = "/v1/chat/completions"
MESSAGE_USAGE = {"input_tokens": 10, "cache_read_input_tokens": 4, "output_tokens": 5}
MESSAGE = {
    "id": "msg_up",
    "type": "message",
    "role": "assistant",
    "model": "n",
    "content": [{"type": "text", "text": "Hello"}],
    "stop_reason": "end_turn",
    "stop_sequence": None,
    "usage": MESSAGE_USAGE,
}


def chat(model: str = "anything", **fields: Any) -> dict[str, Any]:
    """Return a request of a Chat Completions client."""
    return {"model": model, "messages": [{"role": "user", "content": "hi"}], **fields}


def message_events() -> list[Any]:
    """Return the stream that makes `MESSAGE`."""
    start = {**MESSAGE, "content": [], "stop_reason": None, "usage": {**MESSAGE_USAGE, "output_tokens": 1}}
    return events(
        {"type": "message_start", "message": start},
        {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
        {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "Hello"}},
        {"type": "content_block_stop", "index": 0},
        {
            "type": "message_delta",
            "delta": {"stop_reason": "end_turn", "stop_sequence": None},
            "usage": {"output_tokens": 5},
        },
        {"type": "message_stop"},
    )


def chunks_of(response: httpx.Response) -> list[Any]:
    """Return the chunks of a streamed answer, decoded; `[DONE]` as it is."""
    data = [line[6:] for line in response.text.split("\n") if line.startswith("data: ")]
    return [item if item == "[DONE]" else json.loads(item) for item in data]


class TestAnthropicTarget(GatewayCase):
    async def test_an_answer_without_a_stream(self) -> None:
        async with self.gateway(json_reply(MESSAGE)) as gateway:
            response = await gateway.send(chat("native"), CHAT)
            sent = gateway.sent()
        answer = response.json()
        assert response.status_code == 200
        assert response.headers["x-request-id"].startswith("req_")
        assert answer["object"] == "chat.completion"
        assert answer["model"] == "native"
        assert answer["choices"][0]["message"]["content"] == "Hello"
        assert answer["choices"][0]["finish_reason"] == "stop"
        assert answer["usage"]["prompt_tokens"] == 14
        assert answer["usage"]["prompt_tokens_details"]["cached_tokens"] == 4
        assert sent["model"] == "n"
        assert sent["max_tokens"] == 8192
        record = await CallRecord.objects.aget()
        assert (record.wire_format, record.status, record.input_tokens, record.output_tokens) == ("openai", "ok", 10, 5)

    async def test_a_stream(self) -> None:
        async with self.gateway(Reply(message_events())) as gateway:
            response = await gateway.send(chat("native", stream=True), CHAT)
        *chunks, done = chunks_of(response)
        assert done == "[DONE]"
        assert "event:" not in response.text
        assert "".join(chunk["choices"][0]["delta"].get("content", "") for chunk in chunks) == "Hello"
        assert chunks[-1]["choices"][0]["finish_reason"] == "stop"
        assert not any("usage" in chunk for chunk in chunks)
        assert len({(chunk["id"], chunk["created"], chunk["model"]) for chunk in chunks}) == 1

    async def test_usage_comes_last_for_who_asks(self) -> None:
        async with self.gateway(Reply(message_events())) as gateway:
            response = await gateway.send(chat("native", stream=True, stream_options={"include_usage": True}), CHAT)
        *chunks, last, done = chunks_of(response)
        assert done == "[DONE]"
        assert all(chunk["usage"] is None for chunk in chunks)
        assert last["choices"] == []
        assert (last["usage"]["prompt_tokens"], last["usage"]["completion_tokens"]) == (14, 5)
