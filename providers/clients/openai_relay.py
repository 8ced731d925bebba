"""Chat Completions clients on Chat Completions upstreams: relayed, not translated twice.

The client's own bytes go upstream and the upstream's come back. What changes is the model's name, both ways, and the
usage that a stream is asked for: the books need it, a client that did not ask for it does not see it. A client that
asks for no stream gets the platform's own completion, not one put together by us, except where a platform only streams.
"""

import asyncio
from typing import Any

from providers import wire_json
from providers.clients.base import Answer, UpstreamCall
from providers.clients.http import UpstreamStream, post
from providers.clients.openai import request_headers
from providers.clients.openai_relay_answer import RelayedStream
from providers.clients.openai_relay_message import RelayedMessage
from providers.clients.repair import Refusals, ask_repairing, leave_out
from providers.errors import UpstreamError, classify
from providers.json_patch import DROP, Patch, aapply
from providers.presets import endpoint
from providers.target import Secret, Target
from providers.translation.validation import InvalidRequest


class OpenAIRelay:
    """Relays Chat Completions. Remembers, per model, what upstreams refuse."""

    def __init__(self) -> None:
        self._refusals = Refusals()

    async def open(self, target: Target, secret: Secret | None, call: UpstreamCall) -> Answer:
        """Ask `target` in the client's own words; see `providers.clients.base.Client`. Raises `UpstreamError`."""
        loop = asyncio.get_running_loop()
        now = loop.time()
        deadline = now + target.timeouts.total_s
        names = (target.provider_name, target.model_id)
        refused = self._refusals.of(*names)
        streamed = call.streamed or target.dialect.stream_only or "stream_only" in refused
        body = _upstream_body(target, call, streamed=streamed)
        dropped = leave_out(body, refused)

        async def ask() -> RelayedStream | RelayedMessage:
            nonlocal streamed
            if body.get("stream") is True and not streamed:  # the platform has said that it only streams
                streamed = True
                _ask_for_stream(body, target)
                leave_out(body, refused)
            # Without a stream the first byte comes with the last.
            before = now + target.timeouts.first_event_s if streamed else deadline
            return await self._ask(target, secret, call, body, before, deadline)

        answer, given_up = await ask_repairing(ask, body, self._refusals, *names)
        # That it streams is nothing that the client would miss.
        answer.dropped_fields = dropped + [feature for feature in given_up if feature != "stream_only"]
        return answer

    async def _ask(
        self,
        target: Target,
        secret: Secret | None,
        call: UpstreamCall,
        body: dict[str, Any],
        before: float,
        deadline: float,
    ) -> RelayedStream | RelayedMessage:
        url = endpoint(target.base_url, "openai", "/chat/completions")
        headers = request_headers(target, secret)
        if body.get("stream") is not True:
            headers["accept"] = "application/json"
        content = await _content(call, body)
        stream = await post(target, url, headers, content, before=before, deadline=deadline, recording=call.recording)
        try:
            if stream.status != 200:
                raise await _error_of(stream, target, secret)
            answer_type = RelayedStream if call.streamed else RelayedMessage
            answer = answer_type(stream, target, call, secret.value if secret else "")
            await answer.start(before)
        except BaseException:
            await stream.aclose()
            raise
        return answer


def _upstream_body(target: Target, call: UpstreamCall, *, streamed: bool) -> dict[str, Any]:
    """Return the client's body as the target gets it; nested values are shared and must not be changed."""
    body = {**call.client_body, "model": target.model_id}
    if streamed:
        _ask_for_stream(body, target)
    return body


def _ask_for_stream(body: dict[str, Any], target: Target) -> None:
    body["stream"] = True
    if target.dialect.stream_options:
        options = body.get("stream_options")
        body["stream_options"] = {**(options if isinstance(options, dict) else {}), "include_usage": True}


async def _content(call: UpstreamCall, body: dict[str, Any]) -> bytes:
    """Return `body` in the client's own bytes: a platform's prompt cache depends on them."""
    patch = Patch((name, value) for name, value in body.items() if call.client_body.get(name) is not value)
    patch.update((name, DROP) for name in call.client_body if name not in body)
    try:
        return await aapply(call.raw, patch)
    except ValueError as error:
        raise InvalidRequest(f"The request body cannot be read: {error}") from error


async def _error_of(stream: UpstreamStream, target: Target, secret: Secret | None) -> UpstreamError:
    """Return the error that an answer without success is, with its words to be relayed."""
    body = await stream.read_error()
    value = secret.value if secret else ""
    error = classify(stream.status, stream.headers, body, provider=target.provider_name, kind=target.kind, secret=value)
    try:
        document = wire_json.decode(body)
    except ValueError:
        return error
    # Only OpenAI's own shape is what an OpenAI client understands.
    is_openai = isinstance(document, dict) and isinstance(document.get("error"), dict)
    if is_openai and not (value and value.encode() in body):
        error.body, error.body_format = body, "openai"
    return error
