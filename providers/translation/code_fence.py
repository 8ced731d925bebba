"""JSON that a model wraps into a code fence though it was told to answer with nothing else.

Only for answers that must be JSON and come without a response_format: a schema in the prompt does not keep models
from writing ```json around what they say.
"""

import re
from typing import Literal

_OPENING = re.compile(r"\s*```[ \t]*(?:json)?[ \t]*\r?\n", re.IGNORECASE)
_OPENING_BEGUN = re.compile(r"\s*(?:`{0,2}|```[ \t]*(?:j|js|jso|json)?[ \t]*\r?)", re.IGNORECASE)
_MARK = "```"


class CodeFence:
    """Takes the fence off content that is fed in pieces. When `is_done`, all that follows is passed on as it is."""

    def __init__(self) -> None:
        self._state: Literal["before", "inside", "closed", "none"] = "before"
        self._held = ""

    @property
    def is_done(self) -> bool:
        return self._state == "none"

    def feed(self, text: str) -> str:
        """Return what `text` adds; what may be a part of the fence is held back, what follows it is dropped."""
        held = self._held + text
        self._held = ""
        if self._state == "before":
            opening = _OPENING.match(held)
            if opening:
                self._state, held = "inside", held[opening.end() :]
            elif _OPENING_BEGUN.fullmatch(held):
                self._held, held = held, ""
            else:
                self._state = "none"
        if self._state == "inside":
            closing = _closing(held)
            if closing is not None:
                self._state = "closed"
                return held[:closing].rstrip()
            shown = held.rstrip(" \t\r\n`")
            self._held = held[len(shown) :]
            return shown
        return "" if self._state == "closed" else held

    def flush(self) -> str:
        """Return what is held back, at the end of the content."""
        held, self._held = self._held, ""
        return held if self._state == "before" or _MARK not in held else ""


def _closing(text: str) -> int | None:
    """Return where the line that closes the fence begins.

    No JSON has a line that begins with the mark: a line break inside of a string is escaped.
    """
    at = text.find(_MARK)
    while at >= 0:
        line = text.rfind("\n", 0, at)
        if line >= 0 and not text[line:at].strip():
            return line
        at = text.find(_MARK, at + 1)
    return None
