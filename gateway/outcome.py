"""What is known of a call on its way, and what it leaves behind: a settlement and a capture."""

import logging
import time
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Any
from urllib.parse import quote

from django.utils import timezone

from accounts.ledger_items import Admitted, Remembered, Settlement
from accounts.thresholds import THRESHOLDS
from gateway import capture, errors
from gateway.incoming import Received
from providers.clients.base import Recording, UpstreamCall
from providers.errors import UpstreamError
from providers.pricing import cost_of, uncached_cost_of
from providers.translation.usage import Usage
from routing.fallback import AttemptResult, Opened
from routing.intent.facts import Facts, SessionMemory
from routing.intent.sessions import REMEMBERED_KINDS
from routing.meaning import Meaning
from routing.record import record_of
from routing.select import Decision

logger = logging.getLogger(__name__)


_HEADER_SAFE = "".join(chr(code) for code in range(0x20, 0x7F) if chr(code) != "%")


@dataclass(slots=True)
class Progress:
    """A call, from its admission on. The pipeline fills it in."""

    received: Received
    admitted: Admitted
    request_id: str
    upstream_call: UpstreamCall
    begin: float  # time.monotonic()
    kind: str = ""  # a RequestKind value, of a client's call
    facts: Facts | None = None
    meaning: Meaning | None = None
    shadow: dict[str, Any] | None = None  # what the shadow of the policy would have chosen
    decision: Decision | None = None
    attempts: list[AttemptResult] = field(default_factory=list)
    opened: Opened | None = None
    ttft_ms: int | None = None
    http_status: int | None = None  # once it is settled
    sent_bytes: int = 0
    sent: bytearray | None = None  # what the client got, when it is to be captured
    parent_id: str = ""  # of a call that the gateway makes itself: the request id of the call that it serves

    def begin_capture(self) -> None:
        """Keep what the capture mode in force wants, from here on."""
        is_full = self.admitted.capture == "full"
        if self.admitted.capture != "off":
            self.upstream_call.recording = Recording(keeps_bodies=is_full)
        if is_full:
            self.sent = bytearray()

    def elapsed_ms(self) -> int:
        """Return the milliseconds since the request came in."""
        return round((time.monotonic() - self.begin) * 1000)

    def count_sent(self, part: bytes) -> None:
        """Note that `part` goes to the client."""
        self.sent_bytes += len(part)
        if self.sent is not None and len(self.sent) <= self.admitted.snapshot.settings.capture_max_bytes:
            self.sent += part

    def response_headers(self) -> dict[str, str]:
        """Return the headers of the answer, as far as they are known."""
        headers = errors.id_headers(self.request_id, self.upstream_call.wire_format)
        standing = self.admitted.standing
        if standing is not None and self.upstream_call.wire_format == "anthropic":
            is_near = standing.used_percent >= THRESHOLDS[0]
            headers |= errors.limit_headers("allowed_warning" if is_near else "allowed", standing.resets_at)
        if self.opened is not None:
            headers.update(self.opened.answer.headers)
            # A name that the client asked for may hold what no header can.
            headers["x-gateway-model"] = quote(self.opened.target.name, safe=_HEADER_SAFE)
        if self.meaning is not None and self.meaning.scene_name:
            headers["x-gateway-scene"] = quote(self.meaning.scene_name, safe=_HEADER_SAFE)
        return headers


def settlement(call: Progress, status: str, error: Exception | None) -> Settlement:
    """Return how `call` ended, priced, for the books; write its one line to the log."""
    opened, decision, policy = call.opened, call.decision, call.admitted.policy
    usage = opened.answer.usage if opened else Usage()
    target = opened.target if opened else None
    # A call that no target answered failed at the last one that was asked.
    named = target or (call.attempts[-1].target if call.attempts else None)
    started = timezone.now() - timedelta(milliseconds=call.elapsed_ms())
    price = target.price_at(started) if target else None
    cost, currency, source = cost_of(usage, price) if target else (None, "", "")
    reference_cost, reference_currency = None, ""
    if target and policy and policy.reference and not call.parent_id:
        reference_cost, reference_currency, _source = cost_of(_without_cost(usage), policy.reference.price_at(started))
    answered = errors.api_error(error) if error else None
    record = record_of(call.facts, call.meaning) if call.facts and call.meaning else {}
    if decision:
        record |= decision.as_record()
    if call.shadow:
        record["shadow"] = call.shadow
    if opened and opened.answer.notes:
        record["notes"] = opened.answer.notes
    if call.parent_id:
        record["for"] = call.parent_id
    if usage.web_search_requests:
        record["web_search_requests"] = usage.web_search_requests
    if error:
        call.http_status = errors.http_status(error, call.upstream_call.wire_format)
    else:
        call.http_status = 200 if status == "ok" else 499
    result = Settlement(
        call_id=call.admitted.call_id,
        status=status,
        ended_at=timezone.now(),
        usage=usage,
        cost=cost,
        currency=currency if cost is not None else "",
        cost_source=source if cost is not None else "",
        reference_cost=reference_cost,
        reference_currency=reference_currency if reference_cost is not None else "",
        uncached_cost=uncached_cost_of(usage, cost, currency, price),
        policy_name=decision.policy_name if decision else (policy.name if policy else ""),
        route_name=decision.route_name if decision else "",
        scene_name=call.meaning.scene_name if call.meaning else "",
        provider_name=named.provider_name if named else "",
        model_name=named.model_id if named else "",
        decision=record,
        dropped_fields=list(opened.answer.dropped_fields) if opened else [],
        http_status=call.http_status,
        error_kind=_error_kind(status, error),
        error_message=answered.message if answered else "",
        stop_reason=(opened.answer.stop_reason or "") if opened else "",
        upstream_request_id=opened.answer.upstream_request_id if opened else "",
        ttft_ms=call.ttft_ms,
        duration_ms=call.elapsed_ms(),
        attempts=tuple(call.attempts),
        fallbacks=sum(attempt.outcome != "ok" for attempt in call.attempts) if opened else 0,
        remembered=_remembered(call, status),
    )
    logger.info(
        "%s %s -> %s %s in=%d out=%d cache=%d/%d cost=%s %s ttft_ms=%s duration_ms=%s attempts=%d",
        call.admitted.key_name,
        call.upstream_call.requested_model,
        target.name if target else "-",
        result.error_kind or status,
        usage.input_tokens,
        usage.output_tokens,
        usage.cache_read_tokens,
        usage.cache_write_tokens,
        "-" if cost is None else f"{cost:f}",
        result.currency,
        result.ttft_ms,
        result.duration_ms,
        len(call.attempts),
    )
    return result


def _remembered(call: Progress, status: str) -> Remembered | None:
    """Return what the session goes on with after a call that was answered; None where it stays as it is."""
    admitted, meaning, facts, opened = call.admitted, call.meaning, call.facts, call.opened
    if not admitted.session_keys or admitted.policy is None or meaning is None or facts is None or opened is None:
        return None
    # A user who stops an answer half-way, and says how to go on, is still in the scene of that answer. After a call
    # that went where its name says a session is in no scene; one that a quota sent elsewhere is in that of before.
    if status == "failed" or meaning.downgraded_by or facts.kind not in REMEMBERED_KINDS:
        return None
    memory = SessionMemory(meaning.scene_name, opened.target.name, admitted.policy.name, timezone.now())
    return Remembered(admitted.session_keys, memory)


def _without_cost(usage: Usage) -> Usage:
    """Return the usage alone: what one upstream charged says nothing about another model."""
    return replace(usage, cost=None)


def _error_kind(status: str, error: Exception | None) -> str:
    if isinstance(error, UpstreamError):
        return str(error.kind)
    if error is not None:
        return errors.api_error(error).error_type
    return "client_closed" if status == "cancelled" else ""


def captured(call: Progress) -> capture.Exchange | None:
    """Return the stages of `call` as far as the capture mode in force wants them kept."""
    recording = call.upstream_call.recording
    if recording is None:
        return None
    is_full = recording.keeps_bodies
    settings, received, decision = call.admitted.snapshot.settings, call.received, call.decision
    asked = recording.url != ""
    vendors = decision.candidates if decision else []
    return capture.Exchange(
        call_id=call.admitted.call_id,
        client_request=capture.Stage(
            headers=received.headers,
            method="POST",
            url=received.path + (f"?{received.query}" if received.query else ""),
            body=received.raw if is_full else None,
            size_bytes=len(received.raw),
        ),
        upstream_request=capture.Stage(
            headers=recording.request_headers,
            method="POST" if asked else "",
            url=recording.url,
            body=recording.request_body if is_full and asked else None,
            size_bytes=recording.request_bytes,
        ),
        upstream_response=capture.Stage(
            headers=recording.response_headers,
            status=recording.status,
            body=bytes(recording.response_body) if is_full and recording.status is not None else None,
            size_bytes=recording.response_bytes,
        ),
        client_response=capture.Stage(
            headers=call.response_headers(),
            status=call.http_status,
            body=bytes(call.sent) if call.sent is not None else None,
            size_bytes=call.sent_bytes,
        ),
        is_full=is_full,
        max_bytes=settings.capture_max_bytes,
        retention_days=settings.capture_retention_days,
        secrets=(
            *received.secrets,
            *(value.strip().rpartition(" ")[2] for value in call.upstream_call.client_credential.values()),
            *(secret.value for target in vendors for secret in target.secrets),
            *([settings.search.secret] if settings.search is not None else []),
        ),
    )
