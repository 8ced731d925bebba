"""`POST /v1/messages/count_tokens`: how many tokens a prompt has. Free, so neither booked nor blocked by a quota."""

import asyncio
import contextlib
import math

from django.core.handlers.asgi import ASGIRequest
from django.http import HttpResponse

from accounts.ledger_items import Admitted
from gateway.incoming import Received, own_credential, read
from providers import calibration, wire_json
from providers.clients.anthropic import count_tokens
from providers.clients.base import UpstreamCall
from providers.translation import tokens
from providers.translation.validation import MessagesForm, validate
from routing.intent.facts import Facts
from routing.meaning import NoTarget, meaning_of
from routing.models import RequestKind
from routing.select import ModelNotAllowed, select

# Above this the full estimator takes longer than the event loop should be held.
_IN_THREAD_BYTES = 50_000


async def answer(request: ASGIRequest, caller: Admitted) -> HttpResponse:
    """Return the count of the upstream that would answer where it has one, else our estimate for its model."""
    received = read(request, lambda document: MessagesForm(validate(document, require_max_tokens=False)))
    own = own_credential(received.headers)
    count, factor = None, 1.0
    with contextlib.suppress(NoTarget, ModelNotAllowed):  # what nobody would answer can still be counted
        facts = Facts(received.body["model"], RequestKind.COUNT)
        decision = select(
            caller.snapshot,
            caller.policy,
            meaning_of(caller.snapshot, caller.policy, facts),
            facts,
            allowed=caller.allowed_models,
            has_own_credential=bool(own),
        )
        target = decision.candidates[0]
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
