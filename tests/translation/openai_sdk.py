"""The official OpenAI SDK as the judge of a Responses stream."""

import json
from typing import Any

import httpx2
import openai
from openai.types.responses import Response, ResponseStreamEvent
from pydantic import TypeAdapter

_EVENT = TypeAdapter(ResponseStreamEvent)


def events(body: bytes) -> list[dict[str, Any]]:
    """Return the events of a stream, each valid by the SDK's types, in their order without a gap."""
    found = []
    for block in body.decode().split("\n\n"):
        if not block or block.startswith(":"):
            continue
        name, _, data = block.partition("\n")
        assert data.startswith("data: ")
        event = json.loads(data.removeprefix("data: "))
        assert name == f"event: {event['type']}"
        _EVENT.validate_python(event)
        assert event["sequence_number"] == len(found)
        found.append(event)
    return found


def replay(body: bytes, **request: Any) -> Any:
    """Return the parsed response that the SDK's accumulator makes of a whole stream."""
    transport = httpx2.MockTransport(
        lambda _request: httpx2.Response(200, headers={"content-type": "text/event-stream"}, content=body)
    )
    client = openai.OpenAI(
        api_key="x",
        base_url="http://sdk.invalid",
        max_retries=0,
        http_client=openai.DefaultHttpxClient(transport=transport),
    )
    with client, client.responses.stream(model="m", input="x", **request) as stream:
        return stream.get_final_response()


def check_response(response: dict[str, Any]) -> Response:
    """Return a Response object, valid by the SDK's types."""
    return Response.model_validate(response)
