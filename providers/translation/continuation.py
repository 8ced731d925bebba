"""One well-formed message out of an answer that broke and of those that went on from where it ended."""

from collections.abc import Iterable
from typing import Any

from providers.translation.events import Event, block_stop

# What a client may already be acting on, or would run twice: an answer with any of these is never continued.
_TEXT_BLOCKS = frozenset({"text", "thinking", "redacted_thinking"})


class Splicer:
    """Follows the events of an answer, and renumbers those of the answers that continue it.

    The first block of a continuation, if it is text, becomes the rest of the text block that was open.
    """

    def __init__(self) -> None:
        self.has_calls = False  # a tool was called, or a block came that is neither text nor thinking
        self._has_started = False
        self._is_first = True  # part of the message
        self._text: list[str] = []
        self._block_count = 0
        self._open: int | None = None  # index of the open block
        self._open_is_text = False
        self._offset = 0
        self._begins = False  # the next block is the first of a continuation
        self._merged: int | None = None  # index in its own answer of the block that goes on with the open one
        self._white = ""  # ends what the client has, and was not shown to the model that goes on

    @property
    def text(self) -> str:
        """The text so far, as a model can go on from it: without white space at its end, which Anthropic refuses."""
        return "".join(self._text).rstrip()

    @property
    def can_go_on(self) -> bool:
        """Say whether the message has text, nothing that must not be said twice, and no thought that lacks its end."""
        is_thinking = self._open is not None and not self._open_is_text
        return bool(self.text) and not self.has_calls and not is_thinking

    def next_part(self) -> None:
        """Take the following events as those of an answer that continues `text`."""
        whole = "".join(self._text)
        self._white = whole[len(whole.rstrip()) :]
        self._is_first, self._begins, self._merged = False, True, None
        self._offset = self._block_count

    def feed(self, events: Iterable[Event]) -> list[Event]:
        """Return `events` as those of the whole message: of the first answer they stay as they are."""
        shown = []
        for event in events:
            match event["type"]:
                case "message_start":
                    if self._has_started:
                        continue
                    self._has_started = True
                case "content_block_start":
                    shown += self._start(event)
                    continue
                case "content_block_delta":
                    if (delta := self._delta(event)) is None:
                        continue
                    event = delta
                case "content_block_stop":
                    event = {**event, "index": self._index(event["index"])}
                    self._open = None
            shown.append(event)
        return shown

    def close(self) -> list[Event]:
        """Return the event that closes the open block, if there is one."""
        if self._open is None:
            return []
        index, self._open = self._open, None
        return [block_stop(index)]

    def _index(self, index: int) -> int:
        if self._is_first:
            return index
        if self._merged is not None:
            return self._open if index == self._merged and self._open is not None else self._offset + index - 1
        return self._offset + index

    def _start(self, event: Event) -> list[Event]:
        block: dict[str, Any] = event["content_block"]
        kind = block.get("type")
        begins, self._begins = self._begins, False
        if begins and self._open is not None and self._open_is_text and kind == "text":
            self._merged = event["index"]
            return []
        closing = self.close() if begins else []
        index = self._index(event["index"])
        self._block_count = max(self._block_count, index + 1)
        self._open, self._open_is_text = index, kind == "text"
        self.has_calls = self.has_calls or kind not in _TEXT_BLOCKS
        if kind == "text" and isinstance(block.get("text"), str):
            self._text.append(block["text"])
        return [*closing, {**event, "index": index}]

    def _delta(self, event: Event) -> Event | None:
        delta = event["delta"]
        if delta.get("type") == "text_delta" and isinstance(delta.get("text"), str):
            text = self._without_white(delta["text"])
            if delta["text"] and not text:
                return None
            self._text.append(text)
            delta = {**delta, "text": text}
        return {**event, "index": self._index(event["index"]), "delta": delta}

    def _without_white(self, text: str) -> str:
        """Return `text` without the white space that the client has already."""
        while self._white and text and text[0] == self._white[0]:
            self._white, text = self._white[1:], text[1:]
        if text:
            self._white = ""
        return text
