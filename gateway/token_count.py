"""`POST /v1/messages/count_tokens`: how many tokens a prompt has. Free, so neither booked nor blocked by a quota."""

import asyncio
import math
import time
from collections.abc import Coroutine
from dataclasses import replace
from typing import Any

from django.core.handlers.asgi import ASGIRequest
from django.http import HttpResponse

from accounts.ledger_items import Admitted
from gateway.incoming import Received, own_credential, read
from gateway.intent import local_now
from gateway.outcome import Progress
from gateway.trial import decide
from providers import calibration, wire_json
from providers.clients.anthropic import count_tokens
from providers.clients.base import UpstreamCall
from providers.translation import tokens
from providers.translation.attachments import files_of
from providers.translation.usage import Usage
from providers.translation.validation import MessagesForm, validate
from routing.intent.reading import facts_of
from routing.models import RequestKind

# Above this the full estimator takes longer than the event loop should be held.
_IN_THREAD_BYTES = 50_000
# Of one model, one call in this time is compared with the full estimator.
CALIBRATE_EVERY_S = 60.0

_calibrated_at: dict[str, float] = {}


async def answer(request: ASGIRequest, caller: Admitted) -> HttpResponse:
    """Return the count of the upstream that would answer where it has one, else our estimate for its model."""
    received = read(request, lambda document: MessagesForm(validate(document, require_max_tokens=False)))
    own = own_credential(received.headers)
    count, factor = None, 1.0
    rough = tokens.rough_estimate(received.body)
    facts = replace(facts_of(received.body, received.headers, prompt_tokens=rough), kind=RequestKind.COUNT)
    target = decide(
        caller.snapshot,
        caller.policy,
        facts,
        local_now(caller.snapshot),
        allowed=caller.allowed_models,
        has_own_credential=bool(own),
    ).target
    if target is not None:  # what nobody would answer can still be counted
        factor = calibration.ratio(target)
        if target.wire_format == "anthropic" and target.native.native_count_tokens:
            call = UpstreamCall(
                body=received.body,
                raw=received.raw,
                streamed=False,
                requested_model=received.body["model"],
                message_id="",
                input_tokens_estimate=0,
                query=received.query,
                headers=received.headers,
                client_credential=own,
                gateway_secrets=received.secrets,
            )
            count = await count_tokens(target, target.secrets[0] if target.secrets else None, call)
    if count is None:
        count = max(1, math.ceil(await estimate(received) * factor))
    return HttpResponse(
        wire_json.encode({"input_tokens": count}),
        content_type="application/json",
        headers={"request-id": f"req_{caller.call_id.hex}"},
    )


async def estimate(received: Received) -> int:
    """Return the full estimate of the prompt, made off the event loop where it takes long."""
    if len(received.raw) < _IN_THREAD_BYTES:
        return tokens.estimate(received.body)
    return await asyncio.to_thread(tokens.estimate, received.body)


def comparison(call: Progress, usage: Usage) -> Coroutine[Any, Any, None] | None:
    """Return what compares the estimator with the real `usage` of an answered call, now and then; None when not due.

    To be run after the call; the work is done off the event loop.
    """
    assert call.opened is not None
    target, received = call.opened.target, call.received
    now = time.monotonic()
    is_row = target.model_pk != 0  # not a name of the client's own choice
    if not is_row or now - _calibrated_at.get(target.name, -CALIBRATE_EVERY_S) < CALIBRATE_EVERY_S:
        return None
    if next(files_of(received.body), None) is not None:
        return None  # what a model is charged for a file says nothing about how it counts text
    _calibrated_at[target.name] = now
    real = usage.input_tokens + usage.cache_read_tokens + usage.cache_write_tokens

    async def compare() -> None:
        calibration.observe(target, await asyncio.to_thread(tokens.estimate, received.body), real)

    return compare()
