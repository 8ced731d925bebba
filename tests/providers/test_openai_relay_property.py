"""Whatever an upstream sends to a relayed call: an answer in the client's format or an `UpstreamError`."""

import json
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from providers.errors import UpstreamError
from tests.fakes.transport import Reply
from tests.providers.test_openai_relay import call, read, read_message, run
from tests.translation.openai_clients.test_completion_property import CHUNK

FRAGMENTS = st.sampled_from([b"data: ", b"\n\n", b"{", b"}", b"[DONE]", b":", b"event: error\n", b"\xff"])
EVENTS = CHUNK.map(lambda chunk: b"data: " + json.dumps(chunk).encode() + b"\n\n")
TYPES = st.sampled_from(["text/event-stream", "application/json", "text/plain"])


@settings(max_examples=150, deadline=None)
@given(st.lists(EVENTS | EVENTS | FRAGMENTS, max_size=5), st.booleans(), st.booleans(), TYPES)
def test_any_body_is_an_answer_or_an_error(pieces: list[Any], is_done: bool, streamed: bool, content_type: str) -> None:
    reply = Reply([*pieces, *([b"data: [DONE]\n\n"] if is_done else [])], headers={"content-type": content_type})
    try:
        body, answer, _ = run(reply, asked=call(streamed), use=read if streamed else read_message)
    except UpstreamError:
        assert reply.closed
        return
    assert answer.usage.input_tokens
    if not streamed:
        assert json.loads(body)["choices"]
