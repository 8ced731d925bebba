"""The client of Chat Completions upstreams: translated both ways, streamed always."""

import asyncio
import secrets
from collections.abc import AsyncIterator, Mapping
from dataclasses import replace
from functools import lru_cache
from typing import Any

from django.utils.crypto import salted_hmac

from providers import wire_json
from providers.clients import attachments
from providers.clients.base import Answer, UpstreamCall
from providers.clients.http import UpstreamStream, post
from providers.clients.local_answer import LocalAnswer
from providers.clients.repair import Refusals, ask_repairing, leave_out
from providers.clients.searching import SearchingAnswer
from providers.errors import ErrorKind, UpstreamError, classify, classify_payload, one_line
from providers.presets import credential_headers, endpoint
from providers.target import Secret, Target
from providers.translation.attachments import Attachments
from providers.translation.events import Event, MessageBuilder, ToolUse, encode
from providers.translation.request import ChatRequest, RequestOptions, to_chat_request
from providers.translation.sse import ChunkReader, MalformedStream
from providers.translation.stream import ErrorInStream, StreamOptions, StreamTranslator, Truncated
from providers.translation.usage import Usage

# After the finish_reason only usage and [DONE] are due; a server that keeps them back must not hold up the end.
_AFTER_FINISH_S = 5.0


@lru_cache(maxsize=1)
def signing_key() -> bytes:
    """Return the key that signs the reasoning which clients carry back to us, the same in every worker."""
    return salted_hmac("wolfgate.thinking", "signature", algorithm="sha256").digest()


class OpenAIClient:
    """Speaks Chat Completions. Remembers, per model, what upstreams refuse."""

    def __init__(self) -> None:
        self._refusals = Refusals()

    async def open(self, target: Target, secret: Secret | None, call: UpstreamCall) -> Answer:
        """Ask `target`, repairing the request if it is refused; see `providers.clients.base.Client`.

        Raises `UpstreamError`, and `InvalidRequest` where the client's request contradicts itself.
        """
        prepared = await attachments.prepare(call, target)
        call = prepared.counted_in(call)
        options = _request_options(target, call, prepared.attachments)
        request = to_chat_request(call.body, options)
        if request.local_text is not None:
            return LocalAnswer(request.local_text, request.local_stop_reason, call, request.dropped_fields)
        deadline = asyncio.get_running_loop().time() + target.timeouts.total_s
        answer = await self._ask_repairing(target, secret, call, request, deadline)
        if request.search is None or call.search is None:
            return answer

        async def ask(body: dict[str, Any], added_tokens: int) -> "OpenAIAnswer":
            estimate = call.input_tokens_estimate + added_tokens
            longer = replace(call, body=body, input_tokens_estimate=estimate)
            following = to_chat_request(body, replace(options, input_tokens_estimate=estimate))
            following.search = request.search  # a model may call what it is not offered any more
            return await self._ask_repairing(target, secret, longer, following, deadline)

        return SearchingAnswer(answer, ask, request.search, call.search, call.body)

    async def _ask_repairing(
        self, target: Target, secret: Secret | None, call: UpstreamCall, request: ChatRequest, deadline: float
    ) -> "OpenAIAnswer":
        """Return the started answer to `request`, which is changed by what the target refuses."""
        before = asyncio.get_running_loop().time() + target.timeouts.first_event_s
        names = (target.provider_name, target.model_id)
        request.dropped_fields += leave_out(request.body, self._refusals.of(*names))

        async def ask() -> "OpenAIAnswer":
            return await self._ask(target, secret, call, request, before, deadline)

        answer, given_up = await ask_repairing(ask, request.body, self._refusals, *names)
        request.dropped_fields += given_up
        answer.dropped_fields = request.dropped_fields
        return answer

    async def _ask(
        self,
        target: Target,
        secret: Secret | None,
        call: UpstreamCall,
        request: ChatRequest,
        before: float,
        deadline: float,
    ) -> "OpenAIAnswer":
        url = endpoint(target.base_url, "openai", "/chat/completions")
        headers = request_headers(target, secret)
        content = wire_json.encode(request.body)
        stream = await post(target, url, headers, content, before=before, deadline=deadline, recording=call.recording)
        try:
            if stream.status != 200:
                body = await stream.read_error()
                raise classify(
                    stream.status,
                    stream.headers,
                    body,
                    provider=target.provider_name,
                    kind=target.kind,
                    secret=secret.value if secret else "",
                )
            answer = OpenAIAnswer(
                stream,
                StreamTranslator(_stream_options(target, call, request)),
                target,
                secret.value if secret else "",
            )
            await answer.start(before)
        except BaseException:
            await stream.aclose()
            raise
        return answer


class OpenAIAnswer:
    """A translated answer. See `providers.clients.base.Answer`."""

    def __init__(
        self,
        stream: UpstreamStream,
        translator: StreamTranslator,
        target: Target,
        secret: str,
    ) -> None:
        self.status = stream.status
        self.headers: list[tuple[str, str]] = []
        self.upstream_request_id = request_id_of(stream)
        self.dropped_fields: list[str] = []
        self._stream = stream
        self._translator = translator
        self._reader = ChunkReader()
        self._target = target
        self._secret = secret
        self._events: list[Event] = []  # read but not handed out
        self._tail: list[Event] = []
        self._message: dict[str, Any] | None = None  # once it was read whole
        self._failure: UpstreamError | None = None  # to be raised once what came before it is handed out
        self._ended = False

    @property
    def usage(self) -> Usage:
        """The usage so far, estimated from the text where the upstream reports none."""
        return self._translator.usage

    @property
    def stop_reason(self) -> str | None:
        """Why the model stopped, once it has."""
        return self._translator.stop_reason

    @property
    def is_empty(self) -> bool:
        """Whether the upstream ended normally without saying anything."""
        return self._translator.is_empty

    @property
    def notes(self) -> list[str]:
        """What was odd about the answer, one line each, without content."""
        return self._translator.notes

    @property
    def tool_uses(self) -> list[ToolUse]:
        """The tool calls so far."""
        return self._translator.tool_uses

    async def start(self, before: float) -> None:
        """Read up to the first event for the client, or the end. A first sign of generation is due `before`."""
        while not self._ended and not self._translator.has_output:
            self._events += await self._advance(None if self._translator.is_generating else before)

    async def batches(self) -> AsyncIterator[list[Event]]:
        """Yield the events as they come, without the end. Raises `UpstreamError`."""
        events, self._events = self._events, []
        if events:
            yield events
        while not self._ended:
            events = await self._advance()
            if events:
                yield events

    @property
    def ending(self) -> list[Event]:
        """The events that end the message, once it has ended: `message_delta` and `message_stop`."""
        return self._tail

    def closing_events(self) -> list[Event]:
        """Return the events that close an open block."""
        return self._translator.interrupt()

    async def pieces(self) -> AsyncIterator[bytes]:
        """Yield the answer as server-sent events, without its end. Raises `UpstreamError`."""
        events, self._events = self._events, []
        if events:
            yield encode(events)
        while not self._ended:
            events = await self._advance()
            if events:
                yield encode(events)

    def tail(self) -> bytes:
        """Return the events that end the message: `message_delta` and `message_stop`."""
        return encode(self._tail)

    def interrupted(self) -> bytes:
        """Return the events that close an open block."""
        return encode(self.closing_events())

    async def message(self) -> bytes:
        """Return the whole message as JSON. Raises `UpstreamError`."""
        if self._message is None:
            builder = MessageBuilder()
            builder.feed(self._events)
            while not self._ended:
                builder.feed(await self._advance())
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
        await self._stream.aclose(finished=self._ended)

    async def _advance(self, before: float | None = None) -> list[Event]:
        """Return the events of the next piece of the body; at its end also those that finish the message."""
        if self._failure is not None:
            raise self._failure
        translator, reader = self._translator, self._reader
        within_s = _AFTER_FINISH_S if translator.finish_reason is not None else None
        try:
            data = await self._stream.read(within_s=within_s, before=before)
        except UpstreamError:
            if translator.finish_reason is None:
                raise
            data = None  # the answer was complete
        events: list[Event] = []
        try:
            for chunk in reader.feed(data) if data is not None else reader.finish():
                new = translator.feed(chunk)
                events = events + new if events else new
            if data is None or reader.saw_done:
                ending = translator.finish(reader.saw_done)
                events = events + ending[:-2]
                self._tail = ending[-2:]
                self._ended = True
        except (ErrorInStream, MalformedStream, Truncated) as error:
            # One read may hold good chunks and the failure behind them: the translator has counted those as sent.
            self._failure = self._failed(error)
            if not events:
                raise self._failure from error
        return events

    def _failed(self, error: Exception) -> UpstreamError:
        if isinstance(error, ErrorInStream):
            return classify_payload(
                error.payload,
                status=self.status,
                provider=self._target.provider_name,
                kind=self._target.kind,
                secret=self._secret,
            )
        message = one_line(str(error), secret=self._secret)
        if not self._translator.is_generating and isinstance(error, Truncated):
            message = "the answer is empty"
        return UpstreamError(
            ErrorKind.BAD_RESPONSE, message, status=self.status, provider=self._target.provider_name,
            request_id=self.upstream_request_id,
        )  # fmt: skip


def request_headers(target: Target, secret: Secret | None) -> dict[str, str]:
    """Return the headers of a Chat Completions call, credential included."""
    headers = {**target.extra_headers, "content-type": "application/json", "accept": "text/event-stream"}
    if secret is not None:
        headers |= credential_headers(target.kind, target.base_url, "openai", secret.value)
    return headers


def request_id_of(stream: UpstreamStream) -> str:
    """Return the id under which the upstream knows the call."""
    for name in ("x-request-id", "request-id", "x-siliconcloud-trace-id"):
        if name in stream.headers:
            return str(stream.headers[name])[:200]
    return ""


def _request_options(target: Target, call: UpstreamCall, files: Attachments) -> RequestOptions:
    return RequestOptions(
        model_id=target.model_id,
        provider_name=target.provider_name,
        dialect=target.dialect,
        input_tokens_estimate=call.input_tokens_estimate,
        signing_key=signing_key(),
        session_id=call.session_id,
        context_window=target.context_window,
        max_output_tokens=target.max_output_tokens,
        capabilities=target.capabilities,
        has_search=call.search is not None,
        attachments=files,
    )


def _stream_options(target: Target, call: UpstreamCall, request: ChatRequest) -> StreamOptions:
    return StreamOptions(
        message_id=call.message_id,
        requested_model=call.requested_model,
        input_tokens_estimate=call.input_tokens_estimate,
        dialect=target.dialect,
        tool_names=request.tool_names,
        tool_schemas=request.tool_schemas,
        known_tool_ids=request.known_tool_ids,
        shows_thinking=request.shows_thinking,
        omits_thinking=request.omits_thinking,
        unfences_json=request.wants_json and "response_format" not in request.body,
        stop_sequences=request.stop_sequences,
        single_tool_call=request.single_tool_call,
        new_tool_id=lambda: f"toolu_{secrets.token_hex(12)}",
        provider_name=target.provider_name,
        model_id=target.model_id,
        signing_key=signing_key(),
        context_window=target.context_window,
        search=request.search,
        cites_sources=request.cites_sources,
    )
