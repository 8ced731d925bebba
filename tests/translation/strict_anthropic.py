"""What Anthropic's API refuses of a conversation, as far as it is documented."""

import re
from typing import Any

_ID = re.compile(r"[a-zA-Z0-9_-]+")


def check(body: dict[str, Any]) -> None:
    """Raise `AssertionError` where the Messages API would answer 400."""
    assert isinstance(body["max_tokens"], int)
    assert body["max_tokens"] >= 1
    expected = "user"
    open_calls: list[str] = []
    all_calls: list[str] = []
    for turn in body["messages"]:
        assert turn["role"] == expected, "roles alternate, the user begins"
        assert turn["content"], "no turn is empty"
        results = [block["tool_use_id"] for block in turn["content"] if block["type"] == "tool_result"]
        assert results == [block.get("tool_use_id") for block in turn["content"][: len(results)]], "results come first"
        if expected == "user":
            assert sorted(results) == sorted(open_calls), "each call has one result, in the next turn"
        else:
            assert not results
        open_calls = [block["id"] for block in turn["content"] if block["type"] == "tool_use"]
        all_calls += open_calls
        assert len(all_calls) == len(set(all_calls)), "ids are unique"
        for block in turn["content"]:
            _check_block(block)
        expected = "assistant" if expected == "user" else "user"
    assert not open_calls
    last = body["messages"][-1]
    if last["role"] == "assistant" and last["content"][-1]["type"] == "text":
        assert last["content"][-1]["text"] == last["content"][-1]["text"].rstrip()
    names = [tool["name"] for tool in body.get("tools", ())]
    assert len(names) == len(set(names)), "tool names are unique"
    choice = body.get("tool_choice")
    assert choice is None or names, "a tool choice needs tools"


def _check_block(block: dict[str, Any]) -> None:
    if block["type"] == "text":
        assert block["text"].strip(), "no text is blank"
    elif block["type"] == "tool_use":
        assert _ID.fullmatch(block["id"])
        assert isinstance(block["input"], dict)
    elif block["type"] == "tool_result" and isinstance(block.get("content"), list):
        for part in block["content"]:
            assert part["type"] in ("text", "image", "document")
