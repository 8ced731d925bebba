"""The official Anthropic SDK as the judge of a stream."""

import json
from typing import Any

import anthropic
import httpx2


def replay(body: bytes) -> dict[str, Any]:
    """Return what the official SDK makes of a stream."""
    transport = httpx2.MockTransport(
        lambda request: httpx2.Response(200, headers={"content-type": "text/event-stream"}, content=body)
    )
    client = anthropic.Anthropic(
        api_key="x",
        base_url="http://sdk.invalid",
        max_retries=0,
        http_client=anthropic.DefaultHttpxClient(transport=transport),
    )
    with (
        client,
        client.messages.stream(model="m", max_tokens=1, messages=[{"role": "user", "content": "x"}]) as stream,
    ):
        return json.loads(stream.get_final_message().model_dump_json(warnings=False))
