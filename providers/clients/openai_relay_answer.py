"""Answers of Chat Completions upstreams on their way to a client of the same format, as received."""

import re
from typing import Any

from providers import wire_json
from providers.clients import event_bytes
from providers.clients.base import UpstreamCall
from providers.clients.event_bytes import EventBuffer
from providers.clients.http import UpstreamStream
from providers.clients.openai import request_id_of
from providers.clients.relayed import Relayed, WholeEvents
from providers.errors import UpstreamError, classify_payload
from providers.target import Target
from providers.translation.response import error_of, to_chunks
from providers.translation.stop import error_for, meaning_of
from providers.translation.usage import Usage, combine, from_openai
from providers.translation.validation import whole_number

_DONE = b"data: [DONE]\n\n"
_MODEL = re.compile(rb'"model"\s*:\s*"(?:[^"\\]|\\.)*"')
# Once the answer has begun, only chunks that may hold one of these are decoded.
_WATCHED = re.compile(rb'"usage"\s*:\s*\{|"finish_reason"\s*:\s*"|"error"|"base_resp"|\[DONE\]')
_SPEECH = ("content", "reasoning_content", "reasoning", "refusal", "tool_calls", "function_call", "audio", "images")
_STOP_REASONS = {"length": "max_tokens", "filtered": "refusal"}
# After the finish_reason only usage and [DONE] are due; a server that keeps them back must not hold up the end.
AFTER_FINISH_S = 5.0
# What a chunk weighs on the wire besides its text, for an estimate where no usage came.
_CHUNK_OVERHEAD_BYTES = 170
BYTES_PER_TOKEN = 4


class RelayedAnswer(Relayed):
    """What both forms of an answer have. See `providers.clients.base.Answer`."""

    def __init__(self, stream: UpstreamStream, target: Target, call: UpstreamCall, secret: str) -> None:
        super().__init__(stream, target, request_id_of(stream))
        # None of the upstream's: rate limits and organisation are those of our account.
        self.headers: list[tuple[str, str]] = []
        self._usage: Usage | None = None
        self._answer_tokens = 0  # of the text so far, by estimate
        self._says = False  # there was something for the client
        self._call = call
        self._secret = secret

    @property
    def usage(self) -> Usage:
        """The usage so far: the upstream's, completed by an estimate where it reports nothing."""
        usage = self._usage or Usage()
        if not usage.prompt_tokens or (not usage.output_tokens and self._says):
            usage = combine(usage, Usage(is_estimated=True))
            if not usage.prompt_tokens:
                usage.input_tokens = max(self._call.input_tokens_estimate, 1)
            usage.output_tokens = usage.output_tokens or self._answer_tokens
        return usage

    @property
    def is_empty(self) -> bool:
        """Whether the upstream ended normally without saying anything."""
        return self._ended and not self._says

    def _completion(self, body: bytes) -> dict[str, Any]:
        """Return the completion in `body`. Raises `UpstreamError` where it is none."""
        try:
            document = wire_json.decode(body)
        except ValueError as error:
            message = "the answer is no completion" if body.strip() else "the answer is empty"
            raise self._bad_response(message) from error
        payload = error_of(document) if isinstance(document, dict) else {"error": document}
        if payload is not None:
            raise self._error_in(payload)
        choices = document.get("choices")
        if not isinstance(choices, list) or not choices or not all(isinstance(choice, dict) for choice in choices):
            raise self._bad_response("the answer has no choice")
        return document  # type: ignore[no-any-return]

    def _take(self, chunk: dict[str, Any], member: str) -> None:
        """Note model, usage, speech and finish of a chunk or a completion; `member` holds a choice's message."""
        if not self.upstream_model and isinstance(chunk.get("model"), str):
            self.upstream_model = chunk["model"]
        usage = from_openai(chunk.get("usage"), reasoning_excluded=self._target.dialect.reasoning_excluded)
        if usage is not None:
            self._usage = combine(self._usage, usage)
        choices = chunk.get("choices")
        for choice in choices if isinstance(choices, list) else ():
            if not isinstance(choice, dict):
                continue
            message = choice.get(member)
            if isinstance(message, dict):
                self._says = self._says or any(message.get(name) for name in _SPEECH)
            finish = choice.get("finish_reason")
            if isinstance(finish, str) and finish:
                self._finish(finish)

    def _finish(self, finish: str) -> None:
        meaning = meaning_of(finish)
        if meaning == "error":
            raise self._error_in(error_for(finish))
        is_call = finish in ("tool_calls", "function_call")
        self.stop_reason = _STOP_REASONS.get(meaning, "tool_use" if is_call else "end_turn")

    def _error_of_chunk(self, chunk: dict[str, Any]) -> UpstreamError | None:
        """Return the error that a chunk is, if it is one."""
        payload = error_of(chunk)
        return None if payload is None else self._error_in(payload)

    def _error_in(self, payload: Any) -> UpstreamError:
        """Return the error that `payload` reports under a 200."""
        error = classify_payload(
            payload, status=self.status, provider=self._target.provider_name, kind=self._target.kind,
            secret=self._secret,
        )  # fmt: skip
        error.request_id = error.request_id or self.upstream_request_id
        return error


class RelayedStream(WholeEvents, RelayedAnswer):
    """The answer to a client that asked for a stream: whole events, as received but for the model's name."""

    def __init__(self, stream: UpstreamStream, target: Target, call: UpstreamCall, secret: str) -> None:
        super().__init__(stream, target, call, secret)
        options = call.client_body.get("stream_options")
        self._shows_usage = isinstance(options, dict) and options.get("include_usage") is True
        self._unfinished = whole_number(call.client_body.get("n")) or 1  # choices without a finish_reason yet
        self._events = EventBuffer()
        self._ready: list[bytes] = []  # read before the client was answered
        self._failure: UpstreamError | None = None  # behind what is to be relayed
        self._is_generating = False
        self._model: tuple[bytes, bytes] | None = None  # the member as received, and as the client gets it

    async def start(self, before: float) -> None:
        """Read up to the first content. Raises `UpstreamError` where an error or nothing comes before it."""
        content_type = self._stream.headers.get("content-type", "").lower()
        if "json" in content_type or "html" in content_type:
            self._ready.append(self._as_stream(await self._whole(before)))
        while not self._ended and not self._says:
            piece = await self._advance(None if self._is_generating else before)
            if self._failure is not None and not self._says:
                raise self._failure
            if piece:
                self._ready.append(piece)

    def tail(self) -> bytes:
        """Return the event [DONE]: a client may wait for it even where the upstream sent none."""
        return _DONE

    async def message(self) -> bytes:
        """Return all events, as a client that asked for no stream never gets them."""
        return b"".join([piece async for piece in self.pieces()]) + self.tail()

    async def _advance(self, before: float | None = None) -> bytes:
        """Return the next whole events for the client; b"" while an event is incomplete."""
        if self._failure is not None:
            raise self._failure
        has_finished = self._unfinished <= 0
        try:
            data = await self._stream.read(within_s=AFTER_FINISH_S if has_finished else None, before=before)
        except UpstreamError:
            if not has_finished:
                raise
            data = None  # the answer was complete
        if data is None:
            return self._end()
        try:
            block = self._events.feed(data)
        except ValueError as error:
            raise self._bad_response(str(error)) from error
        return self._look(block) if block else b""

    def _look(self, block: bytes) -> bytes:
        """Read what the books need from whole events; return what the client gets of them."""
        if self._says and _WATCHED.search(block) is None:
            self._count(block)
            return self._renamed(block)
        relayed = bytearray()
        for _begin, event in event_bytes.split(block):
            data = event_bytes.data_of(event)
            if data == b"[DONE]":
                self._ended = True
                break
            try:
                chunk = wire_json.decode(data) if data else None
            except ValueError:
                chunk = None
            if not isinstance(chunk, dict):
                relayed += event
                continue
            try:
                relayed += self._chunk(chunk, event)
            except UpstreamError as error:
                self._failure = error
                if not relayed:
                    raise
                break
        return bytes(relayed)

    def _chunk(self, chunk: dict[str, Any], event: bytes) -> bytes:
        """Return what the client gets of an event. Raises `UpstreamError` where the event is one."""
        error = self._error_of_chunk(chunk)
        if error is not None:
            raise error
        self._is_generating = True
        self._take(chunk, "delta")
        self._learn_model(chunk, event)
        self._count(event)
        if chunk.get("usage") is None or self._shows_usage:
            return self._renamed(event)
        if not chunk.get("choices"):
            return b""
        shown = {name: value for name, value in chunk.items() if name != "usage"}
        return self._renamed(b"data: " + wire_json.encode(shown) + b"\n\n")

    def _finish(self, finish: str) -> None:
        super()._finish(finish)
        self._unfinished -= 1

    def _count(self, block: bytes) -> None:
        chunks = block.count(b"data:")
        text_bytes = len(block) - chunks * _CHUNK_OVERHEAD_BYTES
        self._answer_tokens += max(text_bytes // BYTES_PER_TOKEN, chunks)

    def _learn_model(self, chunk: dict[str, Any], event: bytes) -> None:
        """Note how the upstream writes the model's name; inside a JSON string the same bytes cannot occur."""
        requested = self._call.requested_model
        if self._model is not None or chunk.get("model") in (None, requested):
            return
        match = _MODEL.search(event)
        if match is not None:
            self._model = (match.group(), b'"model":' + wire_json.encode(requested))

    def _renamed(self, block: bytes) -> bytes:
        if self._model is None:
            return block
        received, shown = self._model
        if received in block:
            return block.replace(received, shown)
        # Encoded anew by us, or by the upstream in another way than before.
        return _MODEL.sub(lambda _match: shown, block)

    def _end(self) -> bytes:
        """Take what came before the body ended. Raises `UpstreamError` if that is no end of an answer."""
        block = self._events.rest()
        if not self._is_generating and block.lstrip().startswith(b"{"):
            return self._as_stream(block)
        relayed = self._look(block + b"\n\n") if block.strip() else b""
        if self._failure is not None or self._ended:
            return relayed
        if self._unfinished > 0 and self.stop_reason is None and not self._target.dialect.lenient_eof:
            raise self._bad_response("the answer was cut off" if self._is_generating else "the answer is empty")
        self._ended = True
        return relayed

    def _as_stream(self, body: bytes) -> bytes:
        """Return a whole completion, which some servers send although a stream was asked for, as its chunks."""
        relayed = bytearray()
        for chunk in to_chunks(self._completion(body)):
            chunk["object"] = "chat.completion.chunk"
            usage = chunk.pop("usage", None)
            for choice in chunk["choices"]:
                choice.pop("message", None)
            relayed += self._look(b"data: " + wire_json.encode(chunk) + b"\n\n")
            if usage is not None:
                relayed += self._look(b"data: " + wire_json.encode({**chunk, "choices": [], "usage": usage}) + b"\n\n")
        self._ended = True
        return bytes(relayed)
