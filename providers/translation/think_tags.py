"""Reasoning that comes inside the content: `<think>…</think>` at its very start (local servers, MiniMax).

A `<think>` anywhere else is text: models write about the tag.
"""

from typing import Literal

_OPEN = "<think>"
_CLOSE = "</think>"

Part = tuple[Literal["reasoning", "text"], str]


class ThinkTags:
    """Splits content, fed in pieces, into reasoning and text. When `is_done`, all that follows is text."""

    def __init__(self) -> None:
        self.is_done = False
        self._held = ""
        self._state: Literal["before", "start", "inside", "after"] = "before"

    def feed(self, content: str) -> list[Part]:
        """Return what `content` adds; what may still be part of a tag is held back."""
        if self.is_done:
            return [("text", content)] if content else []
        parts: list[Part] = []
        held = self._held + content
        if self._state == "before":
            start = held.lstrip()
            if start.startswith(_OPEN):
                self._state, held = "start", start[len(_OPEN) :]
            elif _OPEN.startswith(start):
                self._held = held
                return []
            else:
                return self._end(held)
        if self._state == "start":
            held = held.lstrip()
            if held:
                self._state = "inside"
        if self._state == "inside":
            reasoning, tag, rest = held.partition(_CLOSE)
            keep = 0 if tag else _tag_prefix_length(reasoning)
            shown = reasoning[: len(reasoning) - keep].rstrip()
            if shown:
                parts.append(("reasoning", shown))
            if tag:
                self._state, held = "after", rest
            else:
                held = reasoning[len(shown) :]
        if self._state == "after":
            held = held.lstrip()
            if held:
                return parts + self._end(held)
        self._held = held
        return parts

    def flush(self) -> list[Part]:
        """Return what is held back, at the end of the content. An unclosed tag leaves all of it reasoning."""
        held, state = self._held, self._state
        self.is_done, self._held = True, ""
        if state == "before":
            return [("text", held)] if held else []
        return [("reasoning", held)] if held.strip() and state == "inside" else []

    def _end(self, text: str) -> list[Part]:
        self.is_done, self._held = True, ""
        return [("text", text)]


def _tag_prefix_length(text: str) -> int:
    """Return how many characters at the end of `text` may be the beginning of the closing tag."""
    for length in range(min(len(_CLOSE) - 1, len(text)), 0, -1):
        if text.endswith(_CLOSE[:length]):
            return length
    return 0
