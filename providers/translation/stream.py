"""Chat Completions chunks to Anthropic stream events: one translator per answer, without I/O."""

from collections.abc import Sequence
from typing import Any

from providers.translation import response, stop, tokens
from providers.translation.block_writer import Block, BlockWriter, StreamOptions
from providers.translation.code_fence import CodeFence
from providers.translation.events import Event, ToolUse
from providers.translation.think_tags import ThinkTags
from providers.translation.tool_calls import ToolCall, ToolCalls
from providers.translation.tool_text import LeakedCalls
from providers.translation.usage import Usage, combine, from_openai, to_anthropic
from providers.translation.web_search import citations_of, sources_text

__all__ = ["ErrorInStream", "StreamOptions", "StreamTranslator", "Truncated"]

_COUNTED_CHARACTERS = 20_000


class ErrorInStream(Exception):
    """The upstream sent an error within its answer. `payload` is its `{"error": …}`."""

    def __init__(self, payload: Any) -> None:
        super().__init__("error in the stream")
        self.payload = payload


class Truncated(Exception):
    """The stream ended in the middle of the answer."""


class StreamTranslator:
    """Translates one answer. `feed` each chunk, then `finish`; or `interrupt` after a failure.

    `message_start` comes with the first text, shown reasoning or tool call, so that until then another upstream can
    be asked. An answer without any of these is written by `finish` alone.
    """

    def __init__(self, options: StreamOptions) -> None:
        self.is_generating = False  # the upstream has begun to answer, if only with reasoning that is not shown
        self.is_empty = False  # ended normally without any block: worth another try
        self.stop_reason: str | None = None
        self.finish_reason: str | None = None  # the upstream's, when it has come
        self._options = options
        self._writer = BlockWriter(options)
        self._calls = ToolCalls(self._writer.names.known)
        self._think_tags = ThinkTags() if options.dialect.think_tags else None
        self._leaked: LeakedCalls | None = None
        if options.dialect.tool_text_parser and options.tool_schemas:
            self._leaked = LeakedCalls(self._writer.names.resolve, options.tool_schemas)
        self._fence = CodeFence() if options.unfences_json else None
        self._is_plain = self._think_tags is None and self._has_plain_text  # content is text and nothing else
        self._reasoning_member: str | None = None
        self._reasoned: list[str] = []
        self._sequence: str | None = None
        self._refusal: list[str] = []
        self._uses_message = False
        self._reported: Usage | None = None
        self._notes: list[str] = []
        self._citations: list[tuple[str, str]] = []

    @property
    def has_output(self) -> bool:
        """Whether `message_start` was returned: from then on no other upstream can take over."""
        return self._writer.has_started

    @property
    def tool_uses(self) -> list[ToolUse]:
        """The tool calls so far."""
        return self._writer.tool_uses

    @property
    def notes(self) -> list[str]:
        """What was odd about the answer, for the log: one line each, without content."""
        return self._notes + self._writer.notes

    @property
    def _has_plain_text(self) -> bool:
        return self._leaked is None and self._fence is None

    @property
    def usage(self) -> Usage:
        """The usage as far as it is known: the upstream's, completed by an estimate where it reports nothing."""
        options = self._options
        usage = combine(self._reported, Usage())
        if not usage.prompt_tokens:
            usage.input_tokens = max(options.input_tokens_estimate, 1)
            usage.is_estimated = True
        generated = self._writer.generated
        if not usage.output_tokens and (generated or self._reasoned):
            usage.thinking_tokens = _estimate(self._reasoned)
            usage.output_tokens = _estimate(generated) + usage.thinking_tokens
            usage.is_estimated = True
        return usage

    def feed(self, chunk: dict[str, Any]) -> list[Event]:
        """Return the events that a chunk adds. Raises `ErrorInStream`."""
        if self._is_plain and type(self._writer.open) is Block:
            # The common chunk: nothing but text for the open text block.
            try:
                (choice,) = chunk["choices"]
                delta = choice["delta"]
                text = delta["content"]
                if (
                    type(text) is str
                    and text
                    and (len(delta) == 1 or (len(delta) == 2 and "role" in delta))
                    and choice.get("finish_reason") is None
                    and choice.get("index", 0) == 0
                    and chunk.get("usage") is None
                    and "error" not in chunk
                    and self._writer.open.kind == "text"
                ):
                    self._writer.generated.append(text)
                    index = self._writer.block_count - 1
                    return [
                        {
                            "type": "content_block_delta",
                            "index": index,
                            "delta": {"type": "text_delta", "text": text},
                        }
                    ]
            except (KeyError, TypeError, ValueError):
                pass  # another kind of chunk
        self._take(chunk)
        return self._writer.take()

    def finish(self, saw_done: bool) -> list[Event]:
        """Return the events that end the message; the last two are `message_delta` and `message_stop`.

        Raises `Truncated` for a stream that was cut: neither a finish_reason nor [DONE] came.
        """
        if self.finish_reason is None and not saw_done and not (self._options.dialect.lenient_eof and self.has_output):
            raise Truncated("the stream ended without finish_reason and [DONE]")
        writer = self._writer
        meaning = stop.meaning_of(self.finish_reason or "")
        self._add_leaked_calls()
        self._end_content()
        if self._citations:
            writer.add_text(sources_text(self._citations))
        writer.finish(is_truncated=meaning == "length")
        result = self._stop(meaning)
        self.stop_reason = result.reason
        if not writer.block_count:
            # Claude Code takes an answer without a block for a dead stream, and SDK users index content[0].
            self.is_empty = result.reason == "end_turn"
            writer.write_text_block()
        usage = to_anthropic(self.usage)
        writer.out.append({"type": "message_delta", "delta": result.as_delta(), "usage": usage})
        writer.out.append({"type": "message_stop"})
        return writer.take()

    def interrupt(self) -> list[Event]:
        """Return the events that close the open block, so that an error event may follow."""
        self._writer.interrupt()
        return self._writer.take()

    def _take(self, chunk: dict[str, Any]) -> None:
        choice = response.choice_of(chunk) or {}
        self._take_usage(chunk, choice)
        error = response.error_of(chunk)
        if error is not None:
            raise ErrorInStream(error)
        finish = choice.get("finish_reason")
        finish = finish.strip() if isinstance(finish, str) else ""
        if finish and stop.meaning_of(finish) == "error":
            raise ErrorInStream(stop.error_for(finish))
        delta = self._delta_of(choice)
        if delta:
            self._take_reasoning(delta)
            text = response.text_of(delta.get("content"))
            if text:
                self._take_content(text)
            refusal = delta.get("refusal")
            if isinstance(refusal, str) and refusal:
                self._refusal.append(refusal)
                self.is_generating = True
                self._writer.add_text(refusal)
            self._take_calls(delta)
            if self._options.cites_sources and delta.get("annotations"):
                self._citations += citations_of(delta)
        if finish:
            self.is_generating = True
            # Azure repeats itself: a limit or a filter outweighs the plain end around it.
            if self.finish_reason is None or stop.meaning_of(finish) != "end":
                self.finish_reason = finish
            self._sequence = stop.matched_sequence(chunk, choice, self._options.stop_sequences) or self._sequence
        elif self._options.stop_sequences and chunk.get("stopping_word"):
            self._sequence = stop.matched_sequence(chunk, choice, self._options.stop_sequences) or self._sequence

    def _delta_of(self, choice: dict[str, Any]) -> dict[str, Any] | None:
        delta = choice.get("delta")
        if isinstance(delta, dict):
            return delta
        message = choice.get("message")
        # `message` is what some servers call the delta; others repeat the whole answer in it at the end.
        if isinstance(message, dict) and (self._uses_message or not self.is_generating):
            self._uses_message = True
            return message
        return None

    def _take_usage(self, chunk: dict[str, Any], choice: dict[str, Any]) -> None:
        groq = chunk.get("x_groq")
        for reported in (
            chunk.get("usage"),
            choice.get("usage"),  # Moonshot
            groq.get("usage") if isinstance(groq, dict) else None,
        ):
            if reported:
                usage = from_openai(reported, reasoning_excluded=self._options.dialect.reasoning_excluded)
                if usage is not None:
                    self._reported = combine(self._reported, usage)

    def _take_reasoning(self, delta: dict[str, Any]) -> None:
        text, self._reasoning_member = response.reasoning_of(delta, self._reasoning_member)
        details = response.details_of(delta)
        if text or details:
            self._add_reasoning(text, details)

    def _take_content(self, text: str) -> None:
        self.is_generating = True
        if self._is_plain:
            self._writer.add_text(text)
        elif self._think_tags is None:
            self._add_content(text)
        else:
            self._add_parts(self._think_tags.feed(text))
            if self._think_tags.is_done:
                self._think_tags = None
                self._is_plain = self._has_plain_text

    def _take_calls(self, delta: dict[str, Any]) -> None:
        fragments = delta.get("tool_calls")
        touched: list[ToolCall] = []
        if isinstance(fragments, list) and fragments:
            touched += self._calls.feed(fragments)
        legacy = delta.get("function_call")
        if isinstance(legacy, dict) and legacy:
            touched += self._calls.feed_legacy(legacy)
        if touched:
            self.is_generating = True
            self._end_content()
        for call in touched:
            self._writer.add_call(call)

    def _add_parts(self, parts: Sequence[tuple[str, str]]) -> None:
        for kind, part in parts:
            if kind == "reasoning":
                self._add_reasoning(part, [])
            else:
                self._add_content(part)

    def _add_content(self, text: str) -> None:
        shown = self._leaked.feed(text) if self._leaked is not None else text
        if shown and self._fence is not None:
            shown = self._fence.feed(shown)
            if self._fence.is_done:
                self._fence = None
                self._is_plain = self._think_tags is None and self._has_plain_text
        if shown:
            self._writer.add_text(shown)

    def _add_reasoning(self, text: str, details: list[dict[str, Any]]) -> None:
        self.is_generating = True
        if text:
            self._reasoned.append(text)
        if self._options.shows_thinking:
            self._writer.add_thinking(text, details)

    def _end_content(self) -> None:
        """Let out what the content's filters hold back: at the end, or before a call that is a call."""
        if self._think_tags is not None:
            parts = self._think_tags.flush()
            self._think_tags = None
            self._add_parts(parts)
        if self._leaked is not None:
            held = self._leaked.flush()
            self._leaked = None
            if held:
                self._add_content(held)
        if self._fence is not None:
            rest = self._fence.flush()
            self._fence = None
            if rest:
                self._writer.add_text(rest)
        self._is_plain = True

    def _add_leaked_calls(self) -> None:
        for name, arguments in self._leaked.finish() if self._leaked is not None else ():
            call = ToolCall(name=name)
            call.arguments.put(arguments)
            self._writer.add_call(call)

    def _stop(self, meaning: stop.Meaning) -> stop.Stop:
        """Decide why the answer ended. Where the dialect hides refusals, a filter leaves a note in the text."""
        finish = self.finish_reason or ""
        if finish and not stop.is_known(finish):
            self._notes.append(f"unknown finish_reason {finish[:40]!r}")
        if self._refusal:
            return stop.Stop("refusal", explanation="".join(self._refusal))
        if meaning == "filtered":
            if self._options.dialect.content_filter_as == "refusal":
                return stop.Stop("refusal", explanation=stop.FILTER_EXPLANATION)
            self._writer.write_text_block(f"[{stop.FILTER_EXPLANATION}]")
            return stop.Stop("tool_use" if self._writer.tool_uses else "end_turn")
        if meaning == "length":
            window, used = self._options.context_window, self._reported
            is_full = bool(window and used and used.prompt_tokens + used.output_tokens >= window)
            return stop.Stop("model_context_window_exceeded" if is_full else "max_tokens")
        if self._writer.tool_uses:
            return stop.Stop("tool_use")
        if self._sequence is not None:
            return stop.Stop("stop_sequence", sequence=self._sequence)
        return stop.Stop("end_turn")


def _estimate(pieces: Sequence[str]) -> int:
    """Return the tokens of a text. Of a long one the beginning is counted and stands for the rest (the loop waits)."""
    text = "".join(pieces)
    if len(text) <= _COUNTED_CHARACTERS:
        return tokens.text_tokens(text)
    return tokens.text_tokens(text[:_COUNTED_CHARACTERS]) * len(text) // _COUNTED_CHARACTERS
