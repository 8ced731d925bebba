"""An answer in rounds: the gateway runs the web searches that a model calls, and asks it again with what was found.

To the client it is one message: the blocks of all rounds in a row, each search a `server_tool_use` and a
`web_search_tool_result`, one end with the usage of all rounds.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from providers import wire_json
from providers.target import SearchBackend
from providers.translation import tokens
from providers.translation.events import Event, MessageBuilder, ToolUse, block_start, block_stop, encode
from providers.translation.usage import Usage, add, to_anthropic
from providers.translation.web_search import (
    ErrorCode,
    SearchResult,
    SearchTool,
    is_web_search,
    query_of,
    result_block,
    result_text,
)
from providers.web_search import SearchFailed, search

if TYPE_CHECKING:
    from providers.clients.openai import OpenAIAnswer

logger = logging.getLogger(__name__)

# A model that never stops searching ends here, whatever the tool's max_uses says.
_MAX_ROUNDS = 10
_SEARCH_S = 15.0
# All searches of one answer together; what comes after finds the backend unavailable.
_ALL_SEARCHES_S = 60.0

# (Messages request, tokens that it is longer than the client's) -> the answer to it
Ask = Callable[[dict[str, Any], int], Awaitable["OpenAIAnswer"]]
Outcome = Sequence[SearchResult] | ErrorCode


class SearchingAnswer:
    """The answer to a request that offers a web search. See `providers.clients.base.Answer`.

    `first` has been started; `ask` opens the rounds after it, of the same target.
    """

    def __init__(
        self, first: "OpenAIAnswer", ask: Ask, tool: SearchTool, backend: SearchBackend, body: dict[str, Any]
    ) -> None:
        self.status = first.status
        self.headers = first.headers
        self.upstream_request_id = first.upstream_request_id
        self.dropped_fields = first.dropped_fields
        self._round = first
        self._ask = ask
        self._tool = tool
        self._backend = backend
        self._body = body
        self._earlier_usage: Usage | None = None  # of the rounds before this one
        self._earlier_notes: list[str] = []
        self._rounds = 1
        self._is_last = False  # the model is not offered the search any more
        self._uses = 0
        self._answered_searches = 0
        self._time_left_s = _ALL_SEARCHES_S
        self._added_tokens = 0
        self._offset = 0  # index of this round's first block
        self._block_count = 0
        self._has_started = False
        self._tail: list[Event] = []
        self._message: dict[str, Any] | None = None  # once it was read whole

    @property
    def usage(self) -> Usage:
        """The usage of all rounds so far."""
        usage = self._round.usage
        if self._earlier_usage is not None:
            usage = add(self._earlier_usage, usage)
        usage.web_search_requests = self._answered_searches
        return usage

    @property
    def stop_reason(self) -> str | None:
        """Why the model stopped, once the last round has."""
        return self._round.stop_reason

    @property
    def is_empty(self) -> bool:
        """Whether the upstream ended normally without saying anything."""
        return self._rounds == 1 and self._round.is_empty

    @property
    def notes(self) -> list[str]:
        """What was odd about the answer, one line each, without content."""
        return self._earlier_notes + self._round.notes

    @property
    def tool_uses(self) -> list[ToolUse]:
        """The calls of the client's tools so far: a round that has any is the last."""
        return self._round.tool_uses

    async def pieces(self) -> AsyncIterator[bytes]:
        """Yield the answer as server-sent events, without its end. Raises `UpstreamError`."""
        async for events in self._events():
            yield encode(events)

    def tail(self) -> bytes:
        """Return the events that end the message: `message_delta` and `message_stop`."""
        return encode(self._tail)

    def interrupted(self) -> bytes:
        """Return the events that close an open block."""
        return encode(self._shown(self._round.closing_events()))

    async def message(self) -> bytes:
        """Return the whole message as JSON. Raises `UpstreamError`."""
        if self._message is None:
            builder = MessageBuilder()
            async for events in self._events():
                builder.feed(events)
            builder.feed(self._tail)
            self._message = builder.build()
        return wire_json.encode(self._message)

    def add_to_end(self, members: Mapping[str, Any]) -> None:
        """Add members to the delta that ends the message."""
        self._tail[0]["delta"].update(members)
        if self._message is not None:
            self._message.update(members)

    async def aclose(self) -> None:
        """Close the connection, at once if the answer has not ended."""
        await self._round.aclose()

    async def _events(self) -> AsyncIterator[list[Event]]:
        """Yield the events of all rounds, without the end of the message."""
        while True:
            said = MessageBuilder()
            async for events in self._round.batches():
                said.feed(events)
                if shown := self._shown(events):
                    yield shown
            content = said.build()["content"]
            calls = [block for block in content if block["type"] == "server_tool_use"]
            if not calls:
                break
            outcomes = await self._search_all(calls)
            yield self._result_events(calls, outcomes)
            # Calls of the client's tools, or the output limit, end the message here; what was found is in it.
            if self._is_last or self._round.stop_reason != "end_turn":
                break
            await self._ask_again(content, calls, outcomes)
        message_delta, message_stop = self._round.ending
        self._tail = [{**message_delta, "usage": to_anthropic(self.usage)}, message_stop]

    def _shown(self, events: list[Event]) -> list[Event]:
        """Return a round's events as those of the whole message."""
        shown = []
        for event in events:
            if "index" in event:
                event["index"] += self._offset
                self._block_count = max(self._block_count, event["index"] + 1)
            elif event["type"] == "message_start":
                if self._has_started:
                    continue
                self._has_started = True
            shown.append(event)
        return shown

    def _result_events(self, calls: list[dict[str, Any]], outcomes: list[Outcome]) -> list[Event]:
        events: list[Event] = []
        for call, outcome in zip(calls, outcomes, strict=True):
            events += [
                block_start(self._block_count, result_block(call["id"], outcome)),
                block_stop(self._block_count),
            ]
            self._block_count += 1
        return events

    async def _search_all(self, calls: list[dict[str, Any]]) -> list[Outcome]:
        """Run the searches of one round at once."""
        begin = asyncio.get_running_loop().time()
        outcomes = await asyncio.gather(*(self._search(call["input"]) for call in calls))
        self._time_left_s -= asyncio.get_running_loop().time() - begin
        return outcomes

    async def _search(self, value: Any) -> Outcome:
        if self._is_last or self._uses >= self._tool.max_uses:
            return "max_uses_exceeded"
        self._uses += 1
        query, error = query_of(value)
        if error is not None:
            return error
        if self._time_left_s <= 0:
            return "unavailable"
        try:
            found = await search(self._backend, query, self._tool, within_s=min(_SEARCH_S, self._time_left_s))
        except SearchFailed as failure:
            logger.warning("a web search failed: %s", failure)
            return "unavailable"
        self._answered_searches += 1
        return found

    async def _ask_again(
        self, content: list[dict[str, Any]], calls: list[dict[str, Any]], outcomes: list[Outcome]
    ) -> None:
        """Open the next round: the conversation, and what the model called and was told."""
        self._rounds += 1
        self._is_last = self._rounds >= _MAX_ROUNDS or "max_uses_exceeded" in outcomes
        texts = [result_text(outcome) for outcome in outcomes]
        said = [_as_tool_use(block, self._tool.function_name) for block in content]
        told = [
            {"type": "tool_result", "tool_use_id": call["id"], "content": text, "is_error": isinstance(outcome, str)}
            for call, text, outcome in zip(calls, texts, outcomes, strict=True)
        ]
        messages = [*self._body["messages"], {"role": "assistant", "content": said}, {"role": "user", "content": told}]
        usage = self._round.usage
        self._body = {**self._body, "messages": messages}
        _loosen(self._body, output_tokens=usage.output_tokens, has_search=not self._is_last)
        self._added_tokens += usage.output_tokens + sum(map(tokens.text_tokens, texts))
        await self._round.aclose()
        following = await self._ask(self._body, self._added_tokens)
        self._earlier_usage = usage if self._earlier_usage is None else add(self._earlier_usage, usage)
        self._earlier_notes += self._round.notes
        self.dropped_fields = list(dict.fromkeys([*self.dropped_fields, *following.dropped_fields]))
        self.upstream_request_id = following.upstream_request_id
        self._round, self._offset = following, self._block_count


def _as_tool_use(block: dict[str, Any], function_name: str) -> dict[str, Any]:
    return {**block, "type": "tool_use", "name": function_name} if block["type"] == "server_tool_use" else block


def _loosen(body: dict[str, Any], *, output_tokens: int, has_search: bool) -> None:
    """Leave the model free to answer: a forced call was made. What it has written counts against the limit."""
    choice = body.get("tool_choice")
    if isinstance(choice, dict) and choice.get("type") in ("any", "tool"):
        body["tool_choice"] = {**{key: value for key, value in choice.items() if key != "name"}, "type": "auto"}
    if isinstance(body.get("max_tokens"), int):
        body["max_tokens"] = max(1, body["max_tokens"] - output_tokens)
    tools = body.get("tools")
    if not has_search and isinstance(tools, list):
        body["tools"] = [tool for tool in tools if not (isinstance(tool, dict) and is_web_search(tool.get("type")))]
