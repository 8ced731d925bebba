"""A call of the gateway itself on behalf of a client's call in progress: admitted, asked and booked like any other."""

import asyncio
import time
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from accounts import ledger_thread
from accounts.ids import new_call_id
from accounts.keys import digest
from accounts.ledger_items import Admission
from gateway import capture, outcome
from gateway.incoming import Received
from gateway.log_context import request_id as log_request_id
from gateway.outcome import Progress
from providers import wire_json
from providers.clients.base import UpstreamCall
from providers.errors import ErrorKind, UpstreamError
from providers.target import Target
from providers.translation import tokens
from providers.translation.validation import MessagesForm
from routing.fallback import Cooldowns, open_first
from routing.select import Decision, PromptTooLong


@dataclass(frozen=True, slots=True)
class InnerAnswer:
    """The message that a target answered with, and the record of the call."""

    message: dict[str, Any]
    call_id: uuid.UUID

    @property
    def text(self) -> str:
        """The text of the message, without its other blocks."""
        blocks = [block for block in self.message["content"] if isinstance(block, dict)]
        return "".join(str(block.get("text", "")) for block in blocks if block.get("type") == "text")


async def ask(
    call: Progress,
    kind: str,
    targets: Sequence[Target],
    body: dict[str, Any],
    *,
    timeout_s: float,
    cooldowns: Cooldowns | None,
) -> InnerAnswer:
    """Ask `targets` in order with `body` (a Messages request without model and stream), within `timeout_s`.

    `kind` is one of `accounts.ledger_items.INNER_KINDS`. The books name the key, session and agent of `call`, and
    `call` itself; its capture mode holds. Whatever happens, cancellation included, the call is settled; it is queued
    before any settlement of `call`, so it is committed no later. Raises `PromptTooLong` before anything is booked, and
    `Refusal`, `LedgerUnavailable`, `UpstreamError` and `InvalidRequest`.
    """
    client = call.upstream_call
    estimate = tokens.rough_estimate(body)
    candidates = [target for target in targets if not target.context_window or estimate <= target.context_window]
    if not candidates:
        # Some platforms would cut the beginning off without a word.
        raise PromptTooLong(estimate, max(target.context_window or 0 for target in targets))
    body = {"model": candidates[0].name, **body}
    raw = wire_json.encode(body)
    call_id, begin = new_call_id(), time.monotonic()
    request_id = f"req_{call_id.hex}"
    ledger = ledger_thread.current()
    admitted = await ledger.admit(
        Admission(
            call_id=call_id,
            digests=tuple(digest(secret) for secret in call.received.secrets),
            books=True,
            requested_model=body["model"],
            kind=kind,
            input_tokens_estimate=estimate,
            max_output_tokens=int(body["max_tokens"]),
            session_id=client.session_id,
            agent_id=call.received.headers.get("x-claude-code-agent-id", ""),
            user_agent=call.received.headers.get("user-agent", ""),
            request_bytes=len(raw),
        )
    )
    inner = Progress(
        Received({}, raw, MessagesForm(body), body, call.received.secrets),
        admitted,
        request_id,
        UpstreamCall(
            body=body,
            raw=raw,
            streamed=False,
            requested_model=body["model"],
            message_id=f"msg_{call_id.hex}",
            input_tokens_estimate=estimate,
        ),
        begin,
        decision=Decision(admitted.policy.name if admitted.policy else "", "", f"{kind} model", candidates),
        parent_id=call.request_id,
    )
    inner.begin_capture()
    token = log_request_id.set(request_id)
    status, failure = "failed", None
    try:
        try:
            async with asyncio.timeout(timeout_s):
                inner.opened = await open_first(
                    candidates, inner.upstream_call, cooldowns=cooldowns, on_attempt=inner.attempts.append
                )
        except TimeoutError as error:
            raise UpstreamError(
                ErrorKind.TIMEOUT, f"no answer within {timeout_s:g} s", provider=candidates[0].provider_name
            ) from error
        inner.ttft_ms = inner.elapsed_ms()
        answer = inner.opened.body or b""
        inner.count_sent(answer)
        status = "ok"
        return InnerAnswer(wire_json.decode(answer), call_id)
    except asyncio.CancelledError:
        status = "cancelled"
        raise
    except Exception as error:
        failure = error
        raise
    finally:
        ledger.settle_soon(outcome.settlement(inner, status, failure))
        if (exchange := outcome.captured(inner)) is not None:
            capture.keep(exchange)
        log_request_id.reset(token)
        if inner.opened is not None:
            await inner.opened.answer.aclose()
