"""The whole answer of a Chat Completions upstream, for a client of the same format that asked for no stream."""

import re
import time
from typing import Any

from providers import wire_json
from providers.clients import event_bytes
from providers.clients.openai_relay_answer import AFTER_FINISH_S, BYTES_PER_TOKEN, RelayedAnswer
from providers.clients.relayed import WholeBody
from providers.errors import UpstreamError, one_line
from providers.json_patch import Patch, apply
from providers.translation.openai_clients.completion_builder import CompletionBuilder, tool_names
from providers.translation.sse import ChunkReader, MalformedStream
from providers.translation.validation import whole_number

_SSE_LINE = re.compile(rb"(?:data|event|id|retry)?:")


class RelayedMessage(WholeBody, RelayedAnswer):
    """The answer to a client that asked for no stream: as received, or the stream that came instead put together.

    Some platforms answer only streams and are asked for one; some servers stream whatever they are asked for.
    """

    async def start(self, before: float) -> None:
        """Read the whole answer. Raises `UpstreamError` where it is no completion, or is cut."""
        first = await self._stream.read(before=before) or b""
        head = first.removeprefix(b"\xef\xbb\xbf").lstrip()
        content_type = self._stream.headers.get("content-type", "").lower()
        is_stream = "event-stream" in content_type or _SSE_LINE.match(head) is not None
        if is_stream and not head.startswith(b"{"):
            try:
                completion = await self._gathered(first, before)
                body = wire_json.encode(completion)
            except RecursionError as error:
                raise self._bad_response("the answer is nested too deeply") from error
        else:
            body = await self._whole(before, first)
            completion = self._completion(body)
        self._ended = True
        self._answer_tokens = max(1, len(body) // BYTES_PER_TOKEN)
        self._take(completion, "message")
        if self.upstream_model and self.upstream_model != self._call.requested_model:
            try:
                body = apply(body, Patch(model=self._call.requested_model))
            except ValueError as error:
                raise self._bad_response("the answer cannot be read") from error
        self._body = body

    async def _gathered(self, data: bytes, before: float) -> dict[str, Any]:
        """Return the completion that a stream beginning with `data` is. Raises `UpstreamError`."""
        request = self._call.client_body
        builder, reader = CompletionBuilder(tool_names(request)), ChunkReader()
        wanted = whole_number(request.get("n")) or 1
        received_bytes = 0
        try:
            while not reader.saw_done:
                received_bytes += len(data)
                if received_bytes > event_bytes.MAX_BYTES:
                    raise self._bad_response("the answer is larger than 64 MiB")
                self._feed(builder, reader.feed(data))
                more = None if reader.saw_done else await self._more(builder, wanted, before)
                if more is None:
                    self._feed(builder, reader.finish())
                    break
                data = more
        except MalformedStream as error:
            raise self._bad_response(one_line(str(error), secret=self._secret)) from error
        is_whole = reader.saw_done or builder.finished_choices or self._target.dialect.lenient_eof
        if not builder.has_begun or not is_whole:
            raise self._bad_response("the answer was cut off" if builder.has_begun else "the answer is empty")
        return builder.build(
            fallback_id=f"chatcmpl-{self._call.message_id.removeprefix('msg_')}",
            model=self._call.requested_model,
            created=int(time.time()),
        )

    async def _more(self, builder: CompletionBuilder, wanted: int, before: float) -> bytes | None:
        """Return the next bytes, None where the answer is over."""
        if builder.finished_choices >= wanted:
            try:
                return await self._stream.read(within_s=AFTER_FINISH_S)
            except UpstreamError:
                return None  # the answer was complete
        return await self._stream.read(before=None if builder.has_begun else before)

    def _feed(self, builder: CompletionBuilder, chunks: list[dict[str, Any]]) -> None:
        for chunk in chunks:
            error = self._error_of_chunk(chunk)
            if error is not None:
                raise error
            builder.feed(chunk)
