"""A call of the gateway itself on behalf of a client's call in progress: admitted, asked and booked like any other."""

import asyncio
import contextlib
import time
import uuid
from collections.abc import AsyncIterator, Iterator, Sequence
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
from providers.translation.validation import MessagesForm, whole_number
from routing.fallback import Opened, open_first
from routing.health import Health
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
    cooldowns: Health | None,
) -> InnerAnswer:
    """Ask `targets` in order with `body` (a Messages request without model and stream), within `timeout_s`.

    Booked and settled as `opened` says. Raises what `opened` raises.
    """
    body = {"model": targets[0].name, **body}
    upstream_call = UpstreamCall(
        body=body,
        raw=wire_json.encode(body),
        streamed=False,
        requested_model=body["model"],
        message_id="",
        input_tokens_estimate=tokens.rough_estimate(body),
    )
    async with opened(call, kind, targets, upstream_call, timeout_s=timeout_s, cooldowns=cooldowns) as inner:
        assert inner.opened is not None
        answer = inner.opened.body or b""
        inner.count_sent(answer)
        return InnerAnswer(wire_json.decode(answer), inner.admitted.call_id)


@contextlib.asynccontextmanager
async def opened(
    call: Progress,
    kind: str,
    targets: Sequence[Target],
    upstream_call: UpstreamCall,
    *,
    timeout_s: float,
    cooldowns: Health | None,
) -> AsyncIterator[Progress]:
    """Book a call, open it on the first of `targets` that answers within `timeout_s`, and settle it on leaving.

    `kind` is one of `accounts.ledger_items.INNER_KINDS`. The books name the key, session and agent of `call`, and
    `call` itself; its capture mode holds. Whatever happens, cancellation included, the call is settled; it is queued
    before any settlement of `call`, so it is committed no later. Raises `PromptTooLong` before anything is booked, and
    `Refusal`, `LedgerUnavailable`, `UpstreamError` and `InvalidRequest`.
    """
    estimate = upstream_call.input_tokens_estimate
    candidates = [target for target in targets if not target.context_window or estimate <= target.context_window]
    if not candidates:
        # Some platforms would cut the beginning off without a word.
        raise PromptTooLong(estimate, max(target.context_window or 0 for target in targets))
    call_id, begin = new_call_id(), time.monotonic()
    request_id = f"req_{call_id.hex}"
    ledger = ledger_thread.current()
    admitted = await ledger.admit(
        Admission(
            call_id=call_id,
            digests=tuple(digest(secret) for secret in call.received.secrets),
            books=True,
            requested_model=upstream_call.requested_model,
            kind=kind,
            streamed=upstream_call.streamed,
            input_tokens_estimate=estimate,
            max_output_tokens=whole_number(upstream_call.body.get("max_tokens")),
            session_id=call.upstream_call.session_id,
            agent_id=call.received.agent_id,
            user_agent=call.received.headers.get("user-agent", ""),
            request_bytes=len(upstream_call.raw),
            client_address=call.received.client_address,
        )
    )
    if not upstream_call.message_id:
        upstream_call.message_id = f"msg_{call_id.hex}"
    inner = Progress(
        Received(
            {},
            upstream_call.raw,
            MessagesForm(upstream_call.body),
            upstream_call.body,
            call.received.secrets,
            client_address=call.received.client_address,
        ),
        admitted,
        request_id,
        upstream_call,
        begin,
        decision=Decision(admitted.policy.name if admitted.policy else "", "", f"{kind} model", candidates),
        parent_id=call.request_id,
    )
    inner.begin_capture()
    status, failure = "failed", None
    try:
        inner.opened = await _open(inner, candidates, timeout_s, cooldowns)
        inner.ttft_ms = inner.elapsed_ms()
        yield inner
        status = "ok"
    except (asyncio.CancelledError, GeneratorExit):
        status = "cancelled"
        raise
    except Exception as error:
        failure = error
        raise
    finally:
        with _logged_as(request_id):
            ledger.settle_soon(outcome.settlement(inner, status, failure))
        if (exchange := outcome.captured(inner)) is not None:
            capture.keep(exchange)
        if inner.opened is not None:
            await inner.opened.aclose()


async def _open(inner: Progress, candidates: list[Target], timeout_s: float, cooldowns: Health | None) -> Opened:
    try:
        with _logged_as(inner.request_id):
            async with asyncio.timeout(timeout_s):
                return await open_first(
                    candidates, inner.upstream_call, cooldowns=cooldowns, on_attempt=inner.attempts.append
                )
    except TimeoutError as error:
        raise UpstreamError(
            ErrorKind.TIMEOUT, f"no answer within {timeout_s:g} s", provider=candidates[0].provider_name
        ) from error


@contextlib.contextmanager
def _logged_as(request_id: str) -> Iterator[None]:
    token = log_request_id.set(request_id)
    try:
        yield
    finally:
        log_request_id.reset(token)
