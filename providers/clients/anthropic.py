"""The client of Anthropic Messages upstreams: bytes in, bytes out.

Nothing is decoded and encoded again: new fields, betas and signatures of a client newer than we are must arrive, and
its own retry logic matches the upstream's words (Claude Code LLM gateway protocol, read 2026-08). What a platform does
not take is left out of the body alone (native_body.py).
"""

import asyncio

from providers import wire_json
from providers.clients import attachments
from providers.clients.anthropic_headers import (
    forwarded_query,
    relayed_headers,
    request_headers,
    sends_own_credential,
)
from providers.clients.base import Answer, UpstreamCall
from providers.clients.http import UpstreamStream, post
from providers.clients.native_answers import NativeMessage, NativeStream, is_event_stream
from providers.clients.native_body import NativeBody, body_for
from providers.errors import UpstreamError, classify
from providers.json_patch import IN_THREAD_BYTES
from providers.presets import endpoint
from providers.target import Secret, Target
from providers.translation.attachments import Attachments

# How long a token count may take: clients wait for it, and an estimate is at hand.
_COUNT_WITHIN_S = 5.0
# Of answers that are passed through, what Anthropic calls a status whose body is no JSON.
_ERROR_TYPES = {
    400: "invalid_request_error",
    401: "authentication_error",
    402: "billing_error",
    403: "permission_error",
    404: "not_found_error",
    413: "request_too_large",
    422: "invalid_request_error",
    429: "rate_limit_error",
    529: "overloaded_error",
}


class AnthropicClient:
    """Speaks Anthropic Messages."""

    async def open(self, target: Target, secret: Secret | None, call: UpstreamCall) -> Answer:
        """Ask `target` in the client's own words; see `providers.clients.base.Client`. Raises `UpstreamError`."""
        prepared = await attachments.prepare(call, target)
        call = prepared.counted_in(call)
        body = await _body(target, call, prepared.attachments)
        now = asyncio.get_running_loop().time()
        deadline = now + target.timeouts.total_s
        # Without a stream the first byte comes with the last.
        before = now + target.timeouts.first_event_s if call.streamed else deadline
        stream = await _post(target, secret, call, "/messages", body.content, before=before, deadline=deadline)
        answer: NativeStream | NativeMessage | None = None
        try:
            if stream.status != 200:
                raise await _error_of(stream, target, secret, call)
            is_stream = call.streamed and (is_event_stream(stream.headers) or not call.is_passthrough)
            answer = (NativeStream if is_stream else NativeMessage)(stream, target, call)
            answer.dropped_fields = body.dropped_fields
            await answer.start(before)
        except BaseException:
            await (answer or stream).aclose()
            raise
        return answer


async def count_tokens(target: Target, secret: Secret | None, call: UpstreamCall) -> int | None:
    """Return how many tokens the upstream counts in `call`; None where it gives no such answer in time.

    Some servers answer 200 to every path (LM Studio 0.4), so only a whole number counts.
    """
    try:
        before = asyncio.get_running_loop().time() + _COUNT_WITHIN_S
        async with asyncio.timeout_at(before):
            prepared = await attachments.prepare(call, target)
        content = (await _body(target, call, prepared.attachments)).content
        stream = await _post(target, secret, call, "/messages/count_tokens", content, before=before, deadline=before)
    except (UpstreamError, ValueError, TimeoutError):
        return None
    try:
        body = await stream.read_error() if stream.status == 200 else b""
        document = wire_json.decode(body)
    except ValueError:
        return None
    finally:
        await stream.aclose(finished=True)
    count = document.get("input_tokens") if isinstance(document, dict) else None
    return count if isinstance(count, int) and not isinstance(count, bool) and count >= 0 else None


async def _body(target: Target, call: UpstreamCall, files: Attachments) -> NativeBody:
    if len(call.raw) < IN_THREAD_BYTES:
        return body_for(target, call, files)
    return await asyncio.to_thread(body_for, target, call, files)


async def _post(
    target: Target,
    secret: Secret | None,
    call: UpstreamCall,
    path: str,
    content: bytes,
    *,
    before: float,
    deadline: float,
) -> UpstreamStream:
    url = endpoint(target.base_url, "anthropic", path)
    if query := forwarded_query(call):
        url += ("&" if "?" in url else "?") + query
    headers = request_headers(target, secret, call)
    return await post(target, url, headers, content, before=before, deadline=deadline, recording=call.recording)


async def _error_of(stream: UpstreamStream, target: Target, secret: Secret | None, call: UpstreamCall) -> UpstreamError:
    """Return the error that an answer without success is, with its words to be relayed."""
    body = await stream.read_error()
    is_clients = sends_own_credential(target, call)
    hidden = "" if secret is None or is_clients else secret.value
    error = classify(
        stream.status, stream.headers, body, provider=target.provider_name, kind=target.kind, secret=hidden
    )
    # Our account's trouble is not the client's; its own credential's is.
    error.relays_auth = is_clients
    if stream.status < 400:
        return error
    try:
        is_object = isinstance(wire_json.decode(body), dict)
    except ValueError:
        is_object = False
    if is_object:
        error.body = body.replace(hidden.encode(), b"[secret]") if len(hidden) >= 6 else body
    elif call.is_passthrough:
        # A proxy's page is not relayed: Claude Code retries what is no JSON (version 2.1.330).
        error_type = _ERROR_TYPES.get(stream.status, "api_error")
        error.body = wire_json.encode({"type": "error", "error": {"type": error_type, "message": error.message}})
    if error.body is not None:
        error.headers = (("content-type", "application/json"), *relayed_headers(stream.headers))
    return error
