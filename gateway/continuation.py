"""Beyond the first byte: a stream that breaks after some text goes on with the next target that can continue it.

Only where the policy says so, and only before any tool call. The target gets the text so far as a prefill: a trailing
assistant message that it continues. To the client it is one message. In the books it is two calls, each with the usage
and the price of its own target: the broken one, and one of the kind "continuation" that names it.
"""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Mapping
from dataclasses import replace
from typing import Any

from accounts.errors import LedgerUnavailable, Refusal
from gateway.inner_call import opened
from gateway.outcome import Progress
from providers import wire_json
from providers.clients.base import Answer, UpstreamCall
from providers.clients.front_end import FrontEndAnswer, events_in
from providers.errors import ErrorKind, UpstreamError
from providers.target import Target
from providers.translation import tokens
from providers.translation.continuation import Splicer
from providers.translation.events import Event, ToolUse, encode
from providers.translation.usage import Usage, to_anthropic
from providers.translation.validation import InvalidRequest
from routing.fallback import Opened
from routing.health import Health
from routing.select import PromptTooLong

logger = logging.getLogger(__name__)

# Another target would say the same of the request.
_FINAL_KINDS = frozenset({ErrorKind.INVALID_REQUEST, ErrorKind.CONTEXT_TOO_LONG, ErrorKind.CONTENT_FILTERED})


def watch(call: Progress, cooldowns: Health | None) -> None:
    """Make the answer of `call` go on elsewhere when it breaks, if its policy says so and somebody could."""
    policy, answered = call.admitted.policy, call.opened
    assert answered is not None
    assert call.decision is not None
    client = call.upstream_call
    if policy is None or not policy.continues_streams or not client.streamed or client.is_passthrough:
        return
    failed = {attempt.target.name for attempt in call.attempts}
    targets = [target for target in call.decision.candidates if target.continues_text and target.name not in failed]
    if not targets:
        return

    def continued(answer: Answer) -> Answer:
        return ContinuedAnswer(answer, call, targets, cooldowns)

    if isinstance(answered.answer, FrontEndAnswer):
        answered.answer.rewrap(continued)
    elif client.new_encoder is None:
        answered.answer = continued(answered.answer)
    # What is relayed in another format than Messages is not read, and ends as its upstream ends it.


class ContinuedAnswer:
    """An answer, and what goes on from it if it breaks. See `providers.clients.base.Answer`.

    `usage` is that of the first part, which is booked with the call; those after it are booked on their own.
    """

    def __init__(self, first: Answer, call: Progress, targets: list[Target], cooldowns: Health | None) -> None:
        self.status = first.status
        self.headers = first.headers
        self.upstream_request_id = first.upstream_request_id
        self.dropped_fields = first.dropped_fields
        self._first = first
        self._part = first
        self._call = call
        self._targets = targets
        self._cooldowns = cooldowns
        assert call.opened is not None
        self._opened: Opened = call.opened  # of the part that is read
        self._splicer = Splicer()
        self._parts = contextlib.AsyncExitStack()  # settles and closes a part after the first
        self._output_tokens = 0  # of the parts before this one
        self._notes: list[str] = []

    @property
    def usage(self) -> Usage:
        """The usage of the first part."""
        return self._first.usage

    @property
    def stop_reason(self) -> str | None:
        """Why the model that came last stopped, once it has."""
        return self._part.stop_reason

    @property
    def is_empty(self) -> bool:
        """Whether the first upstream ended normally without saying anything."""
        return self._first.is_empty

    @property
    def notes(self) -> list[str]:
        """What was odd about the answer, one line each, without content."""
        return self._first.notes + self._notes

    @property
    def tool_uses(self) -> list[ToolUse] | None:
        """The calls of the part that came last: only that can have any. None where it is relayed."""
        return self._part.tool_uses

    async def pieces(self) -> AsyncIterator[bytes]:
        """Yield the answer as server-sent events, without its end. Raises `UpstreamError`."""
        while True:
            try:
                async for piece in self._part.pieces():
                    shown = self._shown(piece)
                    if shown:
                        yield shown
                break
            except UpstreamError as error:
                self._opened.broke(error)
                self._opened.free()
                await self._leave(error)
                if error.kind in _FINAL_KINDS or not self._splicer.can_go_on or not self._targets:
                    raise
                await self._go_on(error)
            except asyncio.CancelledError as error:
                await self._leave(error)
                raise
        # The books of a part are closed before those of the call.
        await self._leave(None)

    def tail(self) -> bytes:
        """Return the event that ends the message."""
        tail = self._part.tail()
        return tail if self._part is self._first else self._rewritten(tail)

    def interrupted(self) -> bytes:
        """Return the events that close an open block."""
        if self._part is self._first:
            return self._first.interrupted()
        return encode(self._splicer.close())

    async def message(self) -> bytes:
        """Refuse: a client without a stream gets a whole answer from one target."""
        raise TypeError("only streams are continued")

    def add_to_end(self, members: Mapping[str, Any]) -> None:
        """Add members to the delta that ends the message."""
        self._part.add_to_end(members)

    async def aclose(self) -> None:
        """Close the connections to the upstreams; a part that has not ended counts as cancelled."""
        await self._leave(asyncio.CancelledError())
        await self._first.aclose()

    async def _leave(self, failure: BaseException | None) -> None:
        """Settle and close the part that is open, if it is not the first."""
        parts, self._parts = self._parts, contextlib.AsyncExitStack()
        await parts.__aexit__(type(failure) if failure else None, failure, failure.__traceback__ if failure else None)

    def _shown(self, piece: bytes) -> bytes:
        if self._part is self._first:
            self._splicer.feed(events_in(piece))
            return piece
        return self._rewritten(piece)

    def _rewritten(self, block: bytes) -> bytes:
        """Return a later part's events as those of the whole message."""
        events: list[Event] = []
        for event in self._splicer.feed(events_in(block)):
            if event["type"] == "message_delta":
                # The prompt is counted once: clients compact their conversation by it.
                total = self._output_tokens + self._part.usage.output_tokens
                event = {**event, "usage": to_anthropic(replace(self._first.usage, output_tokens=total))}
            events.append(event)
        return encode(events)

    async def _go_on(self, error: UpstreamError) -> None:
        """Open the next part. Raises `error` when no target takes over."""
        self._output_tokens += self._part.usage.output_tokens
        await self._part.aclose()
        text = self._splicer.text
        try:
            inner = await self._parts.enter_async_context(
                opened(
                    self._call,
                    "continuation",
                    self._targets,
                    _following(self._call.upstream_call, text, self._output_tokens),
                    timeout_s=self._targets[0].timeouts.first_event_s,
                    cooldowns=self._cooldowns,
                )
            )
        except (Refusal, LedgerUnavailable, UpstreamError, InvalidRequest, PromptTooLong) as reason:
            logger.warning("the answer broke and nobody goes on: %s", reason)
            self._notes.append(f"broke after {len(text)} characters ({error.kind}); nobody goes on")
            raise error from reason
        assert inner.opened is not None
        failed = {attempt.target.name for attempt in inner.attempts}
        self._targets = [target for target in self._targets if target.name not in failed]
        self._opened, self._part = inner.opened, inner.opened.answer
        self._splicer.next_part()
        self._notes.append(
            f"broke after {len(text)} characters ({error.kind}); {inner.opened.target.name} goes on"
            f" in {inner.request_id}"
        )
        logger.warning("%s; %s goes on in %s", error, inner.opened.target.name, inner.request_id)


def _following(call: UpstreamCall, text: str, output_tokens: int) -> UpstreamCall:
    """Return the client's request with `text` as what was answered so far, of `output_tokens`."""
    messages = list(call.body["messages"])
    said: list[Any] = []
    if messages[-1].get("role") == "assistant":
        # The client's own prefill, which the answer went on from.
        content = messages.pop().get("content")
        said = list(content) if isinstance(content, list) else [{"type": "text", "text": content or ""}]
    if said and said[-1].get("type") == "text":
        said[-1] = {**said[-1], "text": said[-1]["text"] + text}
    else:
        said.append({"type": "text", "text": text})
    body = {**call.body, "messages": [*messages, {"role": "assistant", "content": said}]}
    if isinstance(body.get("max_tokens"), int):
        body["max_tokens"] = max(1, body["max_tokens"] - output_tokens)
    # A model thinks before it speaks, or not at all: with thinking a prefill is refused, and with it what edits it.
    for name in ("thinking", "context_management"):
        body.pop(name, None)
    return replace(
        call,
        body=body,
        raw=wire_json.encode(body),
        message_id="",
        input_tokens_estimate=call.input_tokens_estimate + tokens.text_tokens(text),
        recording=None,
        wire_format="anthropic",
        client_body={},
        dropped_fields=(),
        new_encoder=None,
    )
