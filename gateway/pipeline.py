"""The way of a call, from request to answer. The only file that knows the order of its steps.

read    body -> Messages request, validated; the client may speak another format (gateway.front_ends)
admit   ledger: key -> caller, configuration, quota reservation, running row
select  facts of the request -> its meaning, by intent where the policy says so -> candidates with reasons
open    fallback: ask candidates until one yields its first event
        continuation: if the policy says so, the answer goes on elsewhere should it break
relay   events out as they come
judge   safety: verdicts on the tool calls, where the client asked for them and the upstream gives none
settle  ledger: usage, cost, attempts; before the end of the answer goes out
"""

import asyncio
import contextlib
import logging
import time
from dataclasses import replace

from django.core.handlers.asgi import ASGIRequest
from django.http import HttpResponse, HttpResponseBase
from django.utils import timezone

from accounts import ledger_thread
from accounts.ids import new_call_id, new_message_id
from accounts.keys import digest
from accounts.ledger_items import Admission, Admitted
from gateway import capture, continuation, errors, front_ends, outcome, safety
from gateway.front_ends import FrontEnd
from gateway.incoming import Received, client_address, credentials, headers_of, own_credential, read
from gateway.intent import meaning_of_call, seed_of, session_memory, sessions_of, shadow_record
from gateway.log_context import request_id as log_request_id
from gateway.outcome import Progress
from gateway.relay import EventStream, Outbox
from gateway.token_count import comparison, estimate
from providers import pricing
from providers.clients.base import UpstreamCall
from providers.errors import UpstreamError
from providers.target import Target
from providers.translation import tokens
from providers.translation.validation import InvalidRequest, whole_number
from routing import health
from routing.fallback import open_first
from routing.intent.facts import Facts
from routing.intent.kinds import kind_of
from routing.intent.reading import facts_of
from routing.meaning import Meaning
from routing.select import Decision, PromptTooLong, select

logger = logging.getLogger(__name__)

# A client that got no byte for this long gets the status 200 and a ping; fallback goes on behind it.
FIRST_PING_S = 10.0
# The end of an answer waits this long for its settlement to be committed.
SETTLE_WAIT_S = 2.0

# The event loop keeps only weak references to tasks.
_tasks: set["asyncio.Task[None]"] = set()


async def identify(request: ASGIRequest) -> Admitted:
    """Return the caller of a request that books nothing. Raises `KeyInvalid`, `LedgerUnavailable`."""
    digests = tuple(digest(secret) for secret in credentials(headers_of(request)))
    call_id = new_call_id()
    request.request_id = f"req_{call_id.hex}"  # type: ignore[attr-defined]
    admission = Admission(call_id, digests, books=False, client_address=client_address(request))
    return await ledger_thread.current().admit(admission)


async def answer(request: ASGIRequest, front_end: FrontEnd) -> HttpResponseBase:
    """Answer one call of a client that speaks as `front_end` says. Raises what `gateway.errors` has an answer for."""
    begin = time.monotonic()
    call_id = new_call_id()
    request_id = f"req_{call_id.hex}"
    log_request_id.set(request_id)
    request.request_id = request_id  # type: ignore[attr-defined]
    received = await _read(request, front_end)
    body = received.body
    rough = tokens.rough_estimate(body)
    session_id = received.session_id()
    kind = kind_of(body, received.headers)
    admitted = await ledger_thread.current().admit(
        Admission(
            call_id=call_id,
            digests=tuple(digest(secret) for secret in received.secrets),
            books=True,
            requested_model=body["model"],
            wire_format=front_end.wire_format,
            kind=kind,
            streamed=body.get("stream") is True,
            input_tokens_estimate=rough,
            max_output_tokens=whole_number(body.get("max_tokens")),
            session_id=session_id,
            agent_id=received.agent_id,
            sessions=sessions_of(received, kind),
            user_agent=received.headers.get("user-agent", ""),
            request_bytes=len(received.raw),
            client_address=received.client_address,
        )
    )
    is_native = front_end.new_encoder is None
    upstream_call = UpstreamCall(
        body=body,
        raw=received.raw,
        streamed=body.get("stream") is True,
        requested_model=body["model"],
        message_id=new_message_id(),
        input_tokens_estimate=rough,
        session_id=session_id,
        # What an OpenAI client says about itself means nothing to an Anthropic upstream.
        query=received.query if is_native else "",
        headers=received.headers if is_native else {},
        client_credential=own_credential(received.headers),
        gateway_secrets=received.secrets,
        search=admitted.snapshot.settings.search,
        wire_format=front_end.wire_format,
        client_body=received.client_body,
        dropped_fields=tuple(received.form.dropped_fields),
        only_relayed=received.form.only_relayed,
        new_encoder=front_end.new_encoder,
    )
    known = Progress(received, admitted, request_id, upstream_call, begin, kind=kind)
    return await _Call(known, front_end.ping).answer()


async def cancel_calls() -> None:
    """End the calls that outlasted the time to drain: their upstreams are closed, and what they used is booked."""
    tasks = list(_tasks)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def _read(request: ASGIRequest, front_end: FrontEnd) -> Received:
    try:
        return read(request, front_end.read)
    except InvalidRequest:
        # A stranger learns about the key, not about the body.
        await identify(request)
        raise


def _keep(task: "asyncio.Task[None]") -> None:
    _tasks.add(task)
    task.add_done_callback(_tasks.discard)


class _Call:
    """An admitted call: select here, then a producer task that opens, relays and settles while the response drains."""

    def __init__(self, known: Progress, ping: bytes) -> None:
        self._known = known
        self._ping = ping
        self._settings = known.admitted.snapshot.settings
        self._cooldowns = health.current() if self._settings.cooldown_enabled else None
        self._streamed = known.upstream_call.streamed
        self._ready: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._outbox = Outbox()
        self._is_settled = False
        known.begin_capture()

    async def answer(self) -> HttpResponseBase:
        """Return the response: after the first event, or, for a stream, when the client has waited long enough."""
        try:
            decision = self._known.decision = await self._select()
            call = self._known.upstream_call
            # An answer to be written in another format must be understood.
            call.is_passthrough = decision.is_passthrough and call.new_encoder is None
            if call.body.get("thread") and not call.is_passthrough:
                raise errors.ThreadUnsupported
            decision.candidates = [await self._priced(target) for target in decision.candidates]
        except asyncio.CancelledError:
            self._settle_soon()
            self._keep_capture()
            raise
        except Exception as error:
            await self._settle("failed", error)
            self._keep_capture()
            raise
        producer = asyncio.create_task(self._produce(), name=self._known.request_id)
        _keep(producer)
        try:
            patience = min(FIRST_PING_S, self._settings.ping_interval_s) if self._streamed else None
            await asyncio.wait({self._ready}, timeout=patience)
            if self._ready.done():
                self._ready.result()
            else:
                await self._outbox.put(self._ping)
        except BaseException:
            self._closed(producer)
            raise
        if self._streamed:
            return EventStream(
                self._outbox,
                ping=self._ping,
                ping_interval_s=self._settings.ping_interval_s,
                headers=self._known.response_headers(),
                on_sent=self._known.count_sent,
                on_close=lambda: self._closed(producer),
            )
        self._keep_capture()
        assert self._known.opened is not None
        body = self._known.opened.body or b""
        return HttpResponse(body, content_type="application/json", headers=self._known.response_headers())

    async def _select(self) -> Decision:
        known, call = self._known, self._known.upstream_call
        facts = known.facts = facts_of(
            call.body,
            known.received.headers,
            prompt_tokens=call.input_tokens_estimate,
            max_tokens=whole_number(call.body.get("max_tokens")),
            kind=known.kind,
        )
        known.meaning = await meaning_of_call(known, facts, self._cooldowns)
        known.shadow = shadow_record(known, facts, known.meaning, self._cooldowns)
        with contextlib.suppress(PromptTooLong):
            decision = self._choose(facts, known.meaning)
            if not decision.hangs_on_size:
                return decision
        # The quick estimate is not good enough to refuse on.
        call.input_tokens_estimate = await estimate(known.received)
        pdf_tokens = await asyncio.to_thread(tokens.pdf_tokens, call.body)
        facts = known.facts = replace(facts, prompt_tokens=call.input_tokens_estimate, pdf_tokens=pdf_tokens)
        return self._choose(facts, known.meaning)

    def _choose(self, facts: Facts, meaning: Meaning) -> Decision:
        admitted, call = self._known.admitted, self._known.upstream_call
        decision = select(
            admitted.snapshot,
            admitted.policy,
            meaning,
            facts,
            allowed=admitted.allowed_models,
            has_own_credential=bool(call.client_credential),
            health=self._cooldowns,
            memory=session_memory(self._known, facts),
            seed=seed_of(self._known),
        )
        if call.only_relayed:
            decision.keep_relays(call.wire_format, call.only_relayed)
        return decision

    async def _priced(self, target: Target) -> Target:
        """Return a target whose name the client chose with the price of that name, as far as one is known."""
        is_priced = target.price is not None and not target.dated_prices
        if is_priced or target.name in self._known.admitted.snapshot.targets:
            return target
        if target.price_at(timezone.now()) is not None:
            return target
        listed = await pricing.listed_price(target.kind, target.base_url, target.model_id)
        return replace(target, price=listed, dated_prices=())

    async def _produce(self) -> None:
        """Open, relay, settle. Raises nothing but `CancelledError`."""
        try:
            await self._open()
            await self._relay()
        except (UpstreamError, InvalidRequest) as error:
            if self._known.opened is not None and isinstance(error, UpstreamError):
                self._known.opened.broke(error)
            await self._break(error)
        except RecursionError:
            # What was just within a decoder's limit is beyond an encoder's.
            await self._break(InvalidRequest("The request is nested too deeply."))
        except asyncio.CancelledError:
            # The client is gone, or the process ends: nobody waits for the books, but they must be right.
            self._settle_soon()
            self._ready.cancel()
            raise
        except Exception as error:
            logger.exception("the call failed within the gateway")
            await self._break(error)
        finally:
            self._outbox.close()
            if self._known.opened is not None:
                await self._known.opened.aclose()

    async def _open(self) -> None:
        known = self._known
        assert known.decision is not None
        known.opened = await open_first(
            known.decision.candidates,
            known.upstream_call,
            cooldowns=self._cooldowns,
            on_attempt=known.attempts.append,
        )
        known.ttft_ms = known.elapsed_ms()
        continuation.watch(known, self._cooldowns)

    async def _relay(self) -> None:
        assert self._known.opened is not None
        answer = self._known.opened.answer
        if self._streamed:
            self._set_ready()
            async for piece in answer.pieces():
                await self._outbox.put(piece)
            self._known.opened.free()
            await self._judge()
            tail = answer.tail()
            # What the client sees complete is on the books.
            await self._settle("ok")
            await self._outbox.put(tail)
        else:
            await self._judge()
            await self._settle("ok")
            self._known.count_sent(self._known.opened.body or b"")
            self._set_ready()

    async def _judge(self) -> None:
        """Add the verdicts that the client's safeguards ask for to the end of the answer."""
        opened = self._known.opened
        assert opened is not None
        results = await safety.judge(self._known, self._cooldowns)
        if results is not None:
            opened.answer.add_to_end({"safeguard_results": results})
            if opened.body is not None:
                opened.body = await opened.answer.message()

    async def _break(self, error: Exception) -> None:
        """End a call that failed: by status as long as the client has none, else by an event."""
        await self._settle("failed", error)
        if self._is_broken_stream(error):
            self._set_ready()
        if not self._ready.done():
            self._ready.set_exception(error)
            # A client that has its status already, or is gone, never reads it; that is no fault.
            self._ready.exception()
        if self._known.opened is not None and self._streamed:
            await self._outbox.put(self._known.opened.answer.interrupted())
        await self._outbox.put(self._error_event(error))

    def _is_broken_stream(self, error: Exception) -> bool:
        """Say whether a call that is passed through failed by the body of an answer with status 200.

        The client hears of it within a 200 as well: only that makes Claude Code ask again without a stream, which may
        be what its server can do (version 2.1.330).
        """
        if not (self._streamed and self._known.upstream_call.is_passthrough and isinstance(error, UpstreamError)):
            return False
        return error.status == 200 and error.body is None

    def _error_event(self, error: Exception) -> bytes:
        known = self._known
        if known.upstream_call.new_encoder is None:
            return errors.event(error, known.request_id)
        answered = errors.api_error(error)
        answer = known.opened.answer if known.opened else None
        return front_ends.error_event(
            known.upstream_call, answer, answered.error_type, answered.message, known.request_id
        )

    def _set_ready(self) -> None:
        if not self._ready.done():
            self._ready.set_result(None)

    async def _settle(self, status: str, error: Exception | None = None) -> None:
        if self._is_settled:
            return
        self._is_settled = True
        settlement = outcome.settlement(self._known, status, error)
        try:
            async with asyncio.timeout(SETTLE_WAIT_S):
                await ledger_thread.current().settle(settlement)
        except TimeoutError:
            logger.warning("the end of the answer goes out before its settlement is committed")
        usage = settlement.usage
        # With searches the usage is that of several prompts, or of more than the client sent.
        is_of_one_prompt = usage.requests == 1 and not usage.web_search_requests
        is_true = status == "ok" and self._known.opened is not None and is_of_one_prompt and not usage.is_estimated
        if is_true and (comparing := comparison(self._known, usage)) is not None:
            _keep(asyncio.create_task(comparing))

    def _settle_soon(self) -> None:
        if not self._is_settled:
            self._is_settled = True
            ledger_thread.current().settle_soon(outcome.settlement(self._known, "cancelled", None))

    def _closed(self, producer: "asyncio.Task[None]") -> None:
        """The response is over: a client that left before the end takes its call along."""
        self._outbox.close()
        if not self._is_settled:
            producer.cancel()
        self._keep_capture()

    def _keep_capture(self) -> None:
        exchange = outcome.captured(self._known)
        if exchange is not None:
            capture.keep(exchange)
