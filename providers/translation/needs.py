"""What a request asks of the model that answers it, as capabilities."""

from collections.abc import Iterable, Iterator
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
    return any(block.get("type") == "image" or _has_image(inner, depth + 1) for block, inner in _nested(content))


def _nested(content: list[Any]) -> Iterable[tuple[dict[str, Any], Any]]:
    """Yield each block with what is inside it: the content of a tool's result or of a document."""
    for block in content:
        if isinstance(block, dict):
            source = block.get("source")
            yield block, source.get("content") if isinstance(source, dict) else block.get("content")
