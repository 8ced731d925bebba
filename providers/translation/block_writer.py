"""The content blocks of one answer: one open at a time, what does not belong into it waits.

Claude Code and the SDKs address blocks by index, and other clients hang on interleaved ones. A tool call can be closed
when its arguments are complete *and* something else has arrived; until then more may follow.
"""

from collections import deque
from collections.abc import Callable, Mapping, Sequence, Set
from dataclasses import dataclass, field
from typing import Any, Literal

from providers.translation import events, response, signature
from providers.translation.dialect import Dialect
from providers.translation.events import Event, ToolUse
from providers.translation.tool_calls import ToolCall, ToolIds, ToolNames
from providers.translation.usage import Usage, to_anthropic
from providers.translation.web_search import SearchTool


@dataclass(frozen=True, slots=True)
class StreamOptions:
    """What an answer's translation depends on; most of it comes from the request's (`ChatRequest`)."""

    message_id: str
    requested_model: str
    input_tokens_estimate: int
    dialect: Dialect
    tool_names: Mapping[str, str]  # name sent upstream -> client's, where they differ
    tool_schemas: Mapping[str, dict[str, Any]]  # client's name -> input_schema
    known_tool_ids: Set[str]
    shows_thinking: bool
    omits_thinking: bool
    unfences_json: bool  # the answer must be JSON, and only the prompt says so
    stop_sequences: Sequence[str]
    single_tool_call: bool
    new_tool_id: Callable[[], str]
    provider_name: str
    model_id: str
    signing_key: bytes
    context_window: int | None
    search: SearchTool | None = None  # calls of it are the gateway's own
    cites_sources: bool = False  # the platform's own search says in annotations what it found


@dataclass(slots=True, eq=False)
class Block:
    """A text or thinking block: the open one, or one that waits with all of its content."""

    kind: Literal["text", "thinking"]
    pieces: list[str] = field(default_factory=list)
    details: response.ReasoningDetails = field(default_factory=response.ReasoningDetails)  # of a thinking block


class BlockWriter:
    """Writes the events of the blocks, and of the message's start before the first of them, to `out`."""

    def __init__(self, options: StreamOptions) -> None:
        self.out: list[Event] = []
        self.has_started = False  # message_start was written
        self.tool_uses: list[ToolUse] = []  # of the tool_use blocks that were written
        self.block_count = 0
        self.open: Block | ToolCall | None = None
        self.generated: list[str] = []  # all text, names and arguments, for an estimate of the tokens
        self.notes: list[str] = []
        self.names = ToolNames(options.tool_names, options.tool_schemas)
        self._options = options
        self._ids = ToolIds(options.known_tool_ids, options.new_tool_id)
        self._waiting: deque[Block | ToolCall] = deque()
        self._admitted: set[ToolCall] = set()
        self._blank = ""  # white space that is text only if text follows

    def take(self) -> list[Event]:
        """Return the events that were written since the last time."""
        out, self.out = self.out, []
        return out

    def add_text(self, text: str) -> None:
        target = self._target("text")
        if target is None:
            if text.isspace():
                # Many models write line breaks between reasoning and tool calls.
                self._blank += text
                return
            text, self._blank = self._blank + text, ""
            target = Block("text")
            self._place(target)
        self.generated.append(text)
        if target is self.open:
            self.out.append(events.text_delta(self.block_count - 1, text))
        else:
            target.pieces.append(text)

    def add_thinking(self, text: str, details: list[dict[str, Any]]) -> None:
        target = self._target("thinking")
        if target is None:
            # Encrypted reasoning has no text, but belongs into the signature of a block.
            if not text and not any(detail.get("data") for detail in details):
                return
            target = Block("thinking")
            self._place(target)
        target.details.add(details)
        if text:
            target.pieces.append(text)
            if target is self.open and not self._options.omits_thinking:
                self.out.append(events.thinking_delta(self.block_count - 1, text))

    def add_call(self, call: ToolCall) -> None:
        """Take what has arrived of a call. One without a name is not known to be a call yet."""
        if call in self._admitted:
            if call is self.open:
                self._send_arguments(call)
                self._advance()
        elif call.name and not (self._options.single_tool_call and self._admitted):
            self._admitted.add(call)
            self._blank = ""
            self.start()
            self._place(call)

    def finish(self, *, is_truncated: bool) -> None:
        """Close the open block and write all that waits. `is_truncated`: the output limit ended the answer."""
        self._close(is_truncated=is_truncated)
        while self._waiting:
            self._begin(self._waiting.popleft())
            self._close(is_truncated=is_truncated)

    def interrupt(self) -> None:
        """Close the open block as it is, and forget what waits."""
        self._waiting.clear()
        current, self.open = self.open, None
        if isinstance(current, Block):
            self._close_block(current)
        elif current is not None and current.block_index is not None:
            self.out.append(events.block_stop(current.block_index))

    def write_text_block(self, text: str | None = None) -> None:
        """Write a whole text block: `text`, or what white space the answer consists of."""
        self._begin(Block("text", [self._blank if text is None else text]))
        self._close(is_truncated=False)

    def start(self) -> None:
        """Begin the message, once."""
        if self.has_started:
            return
        self.has_started = True
        message: dict[str, Any] = {
            "id": self._options.message_id,
            "type": "message",
            "role": "assistant",
            "model": self._options.requested_model,
            "content": [],
            "stop_reason": None,
            "stop_sequence": None,
            "stop_details": None,
            "usage": to_anthropic(Usage(input_tokens=self._options.input_tokens_estimate)),
        }
        self.out.append({"type": "message_start", "message": message})

    def _target(self, kind: str) -> Block | None:
        """Return the block that content of this kind goes on with."""
        last = self._waiting[-1] if self._waiting else self.open
        return last if isinstance(last, Block) and last.kind == kind else None

    def _place(self, item: Block | ToolCall) -> None:
        self._waiting.append(item)
        self._advance()

    def _advance(self) -> None:
        """Open what waits, as long as the open block can be closed."""
        while self._waiting:
            if isinstance(self.open, ToolCall) and not self.open.arguments.is_complete:
                return
            self._close(is_truncated=False)
            self._begin(self._waiting.popleft())

    def _begin(self, item: Block | ToolCall) -> None:
        self.open = item
        if isinstance(item, ToolCall):
            self._send_arguments(item)
            return
        self.start()
        index = self.block_count
        self.block_count += 1
        text = "".join(item.pieces)
        if item.kind == "text":
            self.out.append(events.block_start(index, {"type": "text", "text": ""}))
            if text:
                self.out.append(events.text_delta(index, text))
            return
        self.out.append(events.block_start(index, {"type": "thinking", "thinking": "", "signature": ""}))
        if text and not self._options.omits_thinking:
            self.out.append(events.thinking_delta(index, text))

    def _send_arguments(self, call: ToolCall) -> None:
        """Pass on what has arrived of the open call's arguments. The block opens with the first of it.

        Not with the name, which may come in pieces; and a call whose arguments turn out to be no use leaves no trace.
        """
        if not self._options.dialect.buffer_tool_args and not self._is_search(call):
            ready = call.arguments.take()
            if ready:
                self._send_input(call, ready)

    def _send_input(self, call: ToolCall, partial_json: str) -> None:
        if self._options.search is not None and self._is_search(call):
            self._send_search(call, partial_json, self._options.search.name)
            return
        if call.block_index is None:
            self.start()
            call.block_index = self.block_count
            self.block_count += 1
            name = self.names.resolve(call.name)
            self.generated.append(name)
            self.tool_uses.append(ToolUse(self._ids.assign(call.id), name))
            block = {"type": "tool_use", "id": self.tool_uses[-1].id, "name": name, "input": {}}
            self.out.append(events.block_start(call.block_index, block))
        self.generated.append(partial_json)
        self.tool_uses[-1].pieces.append(partial_json)  # of the open block: there is one at a time
        self.out.append(events.input_delta(call.block_index, partial_json))

    def _send_search(self, call: ToolCall, whole_json: str, name: str) -> None:
        """Write a call that the gateway itself answers; its input comes in one piece."""
        self.start()
        call.block_index = self.block_count
        self.block_count += 1
        self.generated += [name, whole_json]
        block = {"type": "server_tool_use", "id": f"srv{self._options.new_tool_id()}", "name": name, "input": {}}
        self.out += [events.block_start(call.block_index, block), events.input_delta(call.block_index, whole_json)]

    def _is_search(self, call: ToolCall) -> bool:
        """Say whether the gateway itself answers a call."""
        search = self._options.search
        return search is not None and self.names.resolve(call.name) == search.function_name

    def _close(self, *, is_truncated: bool) -> None:
        current, self.open = self.open, None
        if isinstance(current, Block):
            self._close_block(current)
        elif current is not None:
            self._close_call(current, is_truncated=is_truncated)

    def _close_block(self, block: Block) -> None:
        index = self.block_count - 1
        if block.kind == "thinking":
            content: dict[str, Any] = {"p": self._options.provider_name, "m": self._options.model_id}
            if self._options.omits_thinking:
                content["t"] = "".join(block.pieces)
            if details := block.details.whole():
                content["d"] = details
            self.out.append(events.signature_delta(index, signature.seal(content, self._options.signing_key)))
        self.out.append(events.block_stop(index))

    def _close_call(self, call: ToolCall, *, is_truncated: bool) -> None:
        schema = self._options.tool_schemas.get(self.names.resolve(call.name))
        rest = call.arguments.finish(is_truncated=is_truncated, allowed_keys=_allowed_keys(schema))
        if rest:
            self._send_input(call, rest)
        if call.block_index is not None:
            self.out.append(events.block_stop(call.block_index))
        else:
            self.notes.append(f"a call of {call.name!r} was left out: its arguments are cut off or no object")


def _allowed_keys(schema: Mapping[str, Any] | None) -> Set[str] | None:
    """Return the property names that an input may have, None where the schema does not limit them."""
    properties = schema.get("properties") if schema else None
    if not schema or not isinstance(properties, dict) or schema.get("additionalProperties") not in (None, False):
        return None
    return properties.keys()
