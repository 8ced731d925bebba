"""Whatever JSON an upstream streams: a completion comes of it that is JSON, and the chunks stay what they were."""

import copy
import json
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from providers.translation.openai_clients.completion_builder import CompletionBuilder

SCALARS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=4)
JSON = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3)
)


def or_junk(expected: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """Return what is due, three times of four."""
    return st.one_of(expected, expected, expected, JSON)


def members(**known: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    return st.fixed_dictionaries({}, optional={name: or_junk(value) for name, value in known.items()})


TEXT = st.text(max_size=4)
INDEX = st.integers(0, 2)
PARTS = st.lists(members(type=st.sampled_from(["text", "thinking", "image"]), text=TEXT, thinking=JSON), max_size=3)
CALL = members(
    index=INDEX,
    id=st.sampled_from(["", "a", "b"]),
    type=st.sampled_from(["function", "custom"]),
    function=members(name=st.sampled_from(["Re", "ad", "Read"]), arguments=st.sampled_from(["", "{", "{}", "}", "1"])),
    custom=members(name=TEXT, input=TEXT),
    extra_content=JSON,
)
DELTA = members(
    role=st.just("assistant"),
    content=TEXT | PARTS,
    reasoning_content=TEXT,
    refusal=TEXT,
    reasoning_details=st.lists(members(type=st.just("reasoning.text"), text=TEXT, index=INDEX), max_size=2),
    tool_calls=st.lists(or_junk(CALL), max_size=3),
    function_call=members(name=TEXT, arguments=TEXT),
    audio=members(id=TEXT, data=TEXT, expires_at=INDEX),
    annotations=st.lists(JSON, max_size=2),
)
CHOICE = members(
    index=INDEX,
    delta=DELTA,
    message=DELTA,
    logprobs=members(content=st.lists(JSON, max_size=2)),
    finish_reason=st.sampled_from(["", "stop", "length", "tool_calls"]),
    token_ids=st.lists(INDEX, max_size=2),
)
CHUNK = members(
    id=TEXT,
    model=TEXT,
    created=INDEX,
    object=TEXT,
    choices=st.lists(or_junk(CHOICE), max_size=3),
    usage=st.dictionaries(TEXT, SCALARS, max_size=2),
    x_groq=members(usage=JSON),
)


@settings(max_examples=300, deadline=None)
@given(st.lists(CHUNK, max_size=6))
def test_any_stream_makes_a_completion(chunks: list[dict[str, Any]]) -> None:
    before = copy.deepcopy(chunks)
    builder = CompletionBuilder(frozenset({"Read"}))
    for chunk in chunks:
        builder.feed(chunk)
    completion = builder.build(fallback_id="chatcmpl-1", model="m", created=1)
    assert chunks == before
    assert json.loads(json.dumps(completion)) == completion
    assert completion["object"] == "chat.completion"
    assert all(choice["finish_reason"] for choice in completion["choices"])
    assert len({choice["index"] for choice in completion["choices"]}) == len(completion["choices"])
    # Built twice it is the same: nothing was used up.
    assert builder.build(fallback_id="chatcmpl-1", model="m", created=1) == completion
