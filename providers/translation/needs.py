"""What a request asks of the model that answers it, as capabilities."""

from collections.abc import Iterator
from typing import Any

_MAX_DEPTH = 4


def needs_of(body: dict[str, Any]) -> frozenset[str]:
    """Return the capabilities that a validated request needs: "tools", "vision".

    Images count in the last turn of the user only, the results of tools included: an old one must not keep a
    conversation about text with another model for ever. A PDF needs nothing: where a model takes none its text is
    extracted, and whether it has any cannot be known here.
    """
    needs = set()
    if body.get("tools"):
        needs.add("tools")
    if any(_has_image(message.get("content"), 0) for message in _last_turn(body["messages"])):
        needs.add("vision")
    return frozenset(needs)


def _last_turn(messages: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """Yield the messages after the last answer, the newest first; an answer that is to be continued is passed over."""
    has_begun = False
    for message in reversed(messages):
        if message.get("role") != "assistant":
            has_begun = True
            yield message
        elif has_begun:
            return


def _has_image(content: Any, depth: int) -> bool:
    if isinstance(content, dict):
        content = [content]
    if not isinstance(content, list) or depth > _MAX_DEPTH:
        return False
    for block in content:
        kind = block.get("type") if isinstance(block, dict) else "text"
        if kind == "image":
            return True
        if kind == "text":
            continue
        source = block.get("source")
        # What is inside: the content of a tool's result or of a document.
        inner = source.get("content") if isinstance(source, dict) else block.get("content")
        if isinstance(inner, list | dict) and _has_image(inner, depth + 1):
            return True
    return False
