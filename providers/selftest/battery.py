"""Run the self-test against models, and put what it found on their compatibility cards.

Its calls are real and cost tokens; they belong to no key, so they are not in the books. The card has their total.
"""

import asyncio
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from decimal import Decimal
from typing import Any

import httpx
from django.utils import timezone

from providers.clients import new_client_for
from providers.clients.base import Client
from providers.clients.http import private_clients
from providers.error_body import one_line
from providers.errors import ErrorKind, UpstreamError
from providers.models import CAPABILITIES, Model
from providers.presets import PRESETS, dialect_for
from providers.pricing import cost_of
from providers.selftest.asking import Body, Reply, ask
from providers.selftest.cases import CASES, Case
from providers.selftest.judges import Asked, Finding
from providers.target import Target
from providers.targets import load_target
from providers.translation.request import InvalidRequest
from providers.translation.usage import Usage

Card = dict[str, Any]

CARD_VERSION = 1
_ROW_LIMIT_S, _LOCAL_ROW_LIMIT_S = 60.0, 120.0
# Rows, and models, of one provider at a time. A local server answers one call after the other, and the wait would count
# as slowness; and it may have to load another model's weights whenever the model changes.
_AT_ONCE, _LOCAL_AT_ONCE = 3, 1
# Asked once more after so many seconds, unless the platform says when. A kept connection may just have been closed.
_RETRY_AFTER_S = {ErrorKind.RATE_LIMITED: 2.0, ErrorKind.OVERLOADED: 2.0, ErrorKind.UNREACHABLE: 0.0}
_LONGEST_RETRY_S = 10.0
# After one of these nothing else is asked: no other row could end otherwise, and platforms lock accounts that go on.
_HOPELESS = frozenset(
    map(
        str,
        (
            ErrorKind.AUTH,
            ErrorKind.INSUFFICIENT_FUNDS,
            ErrorKind.PERMISSION,
            ErrorKind.NOT_FOUND,
            ErrorKind.UNREACHABLE,
        ),
    )
)
# The flag that spares every call a repair (providers/clients/repair.py), by the feature that was refused.
_FLAG_OF_REFUSAL: dict[str, tuple[str, Any]] = {
    "stream_options": ("stream_options", False),
    "max_tokens_field": ("max_tokens_field", "max_completion_tokens"),
    "max_completion_tokens_field": ("max_tokens_field", "max_tokens"),
    "parallel_tool_calls": ("parallel_tool_calls", False),
    "tool_choice": ("forced_tools", False),
    "response_format": ("json_schema", False),
    "stop": ("stop", False),
    "null_content": ("null_content", ""),
    "reasoning_missing": ("reasoning_replay", "reasoning_content"),
    "reasoning_refused": ("reasoning_replay", "drop"),
}
_ESSENTIAL = ("text", "stream", "usage")


@dataclass(frozen=True, slots=True)
class Options:
    """How to test. `total_limit_s` bounds the whole run; rows that it cuts off are skipped."""

    long_prompts: bool = False
    total_limit_s: float = 180.0
    row_limit_s: float | None = None  # the usual one of the provider's kind
    transport: httpx.AsyncBaseTransport | None = None  # for tests


@dataclass(slots=True)
class _Row:
    """One row as it stands."""

    finding: Finding
    latency_ms: int = 0
    first_ms: int | None = None
    usages: list[Usage] = field(default_factory=list)
    dropped_fields: set[str] = field(default_factory=set)
    has_think_tags: bool = False


def run_selftest(models: Sequence[Model], options: Options | None = None) -> list[Card]:
    """Test each of `models` and return their cards, in the same order. Writes nothing.

    Sync, and not for an event loop: it opens one of its own, with HTTP clients of its own.
    """
    options = options or Options()
    targets = [_target_under_test(model) for model in models]
    results = asyncio.run(_test_all(targets, options))
    return [_card(target, rows, options) for target, rows in zip(targets, results, strict=True)]


def is_usable(card: Card) -> bool:
    """Say whether a card's model answers, streams, and reports its usage."""
    status = {row["name"]: row["status"] for row in card["rows"]}
    return all(status.get(name) in ("ok", "partial") for name in _ESSENTIAL)


def was_tried(card: Card) -> bool:
    """Say whether there was time for any row of a card."""
    return any(row["status"] != "skipped" for row in card["rows"])


def _target_under_test(model: Model) -> Target:
    """Return the model as a target from which nothing is withheld, whatever capabilities are written in its row."""
    target = load_target(model)
    provider = model.provider
    dialect = dialect_for(
        provider.kind,
        provider.flags or {},
        model.flags or {},
        None,
        base_url=target.base_url,
        model_id=target.model_id,
    )
    return replace(target, capabilities=None, dialect=replace(dialect, vision=True, pdf=True))


async def _test_all(targets: Sequence[Target], options: Options) -> list[dict[str, _Row]]:
    begin = time.monotonic()
    async with private_clients(options.transport):
        turns: dict[str, tuple[asyncio.Semaphore, asyncio.Semaphore]] = {}
        runs = []
        for target in targets:
            limit = _LOCAL_AT_ONCE if PRESETS[target.kind].local else _AT_ONCE
            turns.setdefault(target.provider_name, (asyncio.Semaphore(limit), asyncio.Semaphore(limit)))
            runs.append(_Run(target, options, *turns[target.provider_name], begin + options.total_limit_s))
        await asyncio.gather(*(run.test() for run in runs))
    return [run.rows for run in runs]


class _Run:
    """The test of one model. `rows` holds what was found so far."""

    def __init__(
        self,
        target: Target,
        options: Options,
        model_turn: asyncio.Semaphore,
        row_turn: asyncio.Semaphore,
        until: float,
    ) -> None:
        self.rows = {case.name: _Row(Finding("skipped", "out_of_time")) for case in CASES}
        self._target = target
        self._options = options
        self._model_turn = model_turn
        self._row_turn = row_turn
        self._until = until
        self._limit_s = options.row_limit_s or (_LOCAL_ROW_LIMIT_S if PRESETS[target.kind].local else _ROW_LIMIT_S)
        # One that has learned nothing: what this platform refuses shows, and calls learn nothing from odd questions.
        self._client: Client = new_client_for(target)

    async def test(self) -> None:
        """Ask the first row alone, then the others beside each other."""
        first, *others = CASES
        async with self._model_turn:
            await self._test(first)
            if self.rows[first.name].finding.params.get("kind") in _HOPELESS:
                for case in others:
                    self.rows[case.name] = _Row(Finding("skipped", "not_tried"))
                return
            await asyncio.gather(*(self._test(case) for case in others))

    async def _test(self, case: Case) -> None:
        async with self._row_turn:
            left_s = self._until - time.monotonic()
            if left_s <= 0:
                return
            begin = time.monotonic()
            row = _Row(Finding("error", "timed_out", {"seconds": round(min(self._limit_s, left_s))}))
            self.rows[case.name] = row
            try:
                async with asyncio.timeout(min(self._limit_s, left_s)):
                    row.finding = await self._ask(case, row)
            except TimeoutError:
                pass  # the row says so
            row.latency_ms = round((time.monotonic() - begin) * 1000)

    async def _ask(self, case: Case, row: _Row) -> Finding:
        target = case.adapt(self._target) if case.adapt else self._target
        body = case.request(self._target, self._options.long_prompts)
        try:
            try:
                reply = await self._reply(case, row, target, body)
            except UpstreamError as error:
                if case.alternative is None or case.judge_error(error).status != "no":
                    raise
                body = case.alternative(target)
                reply = await self._reply(case, row, target, body)
        except UpstreamError as error:
            return self._without_secrets(case.judge_error(error))
        asked = Asked(target, body, [reply])
        following = case.follow_up(body, reply) if case.follow_up else None
        if following is not None:
            try:
                asked.replies.append(await self._reply(case, row, target, following))
            except UpstreamError as error:
                asked.follow_up_error = error
        return self._without_secrets(case.judge(asked))

    async def _reply(self, case: Case, row: _Row, target: Target, body: Body) -> Reply:
        """Return the answer, with one more try where the platform is busy. Raises `UpstreamError`."""
        try:
            reply = await self._reply_once(case, target, body)
        except UpstreamError as error:
            wait_s = _RETRY_AFTER_S.get(error.kind)
            if wait_s is None:
                raise
            await asyncio.sleep(min(wait_s if error.retry_after_s is None else error.retry_after_s, _LONGEST_RETRY_S))
            reply = await self._reply_once(case, target, body)
        row.first_ms = reply.first_ms if row.first_ms is None else row.first_ms
        row.usages.append(reply.usage)
        row.dropped_fields.update(reply.dropped_fields)
        row.has_think_tags = row.has_think_tags or reply.text.startswith("<think>")
        return reply

    async def _reply_once(self, case: Case, target: Target, body: Body) -> Reply:
        try:
            return await ask(self._client, target, body, streamed=case.is_streamed, whole=case.is_whole)
        except InvalidRequest as error:
            raise UpstreamError(ErrorKind.INVALID_REQUEST, error.message, provider=target.provider_name) from error

    def _without_secrets(self, finding: Finding) -> Finding:
        message = finding.params.get("message")
        if message is None:
            return finding
        for secret in self._target.secrets:
            message = one_line(message, secret=secret.value)
        return replace(finding, params={**finding.params, "message": message})


def _card(target: Target, rows: Mapping[str, _Row], options: Options) -> Card:
    usages = [usage for row in rows.values() for usage in row.usages]
    flags, hints = _flags(target, rows)
    proved, unknown = _capabilities(rows)
    return {
        "version": CARD_VERSION,
        "model": target.name,
        "checked_at": timezone.now().isoformat(timespec="seconds"),
        "wire_format": target.wire_format,
        "long_prompts": options.long_prompts,
        "rows": [_row_of(name, row) for name, row in rows.items()],
        "capabilities": proved,
        "unknown": unknown,
        "flags": flags,
        "hints": hints,
        "input_tokens": sum(usage.prompt_tokens for usage in usages),
        "output_tokens": sum(usage.output_tokens for usage in usages),
        "cost": _costs(target, usages),
    }


def _row_of(name: str, row: _Row) -> dict[str, Any]:
    return {
        "name": name,
        "status": row.finding.status,
        "code": row.finding.code,
        "params": dict(row.finding.params),
        "latency_ms": row.latency_ms,
        "first_ms": row.first_ms,
        "input_tokens": sum(usage.prompt_tokens for usage in row.usages),
        "output_tokens": sum(usage.output_tokens for usage in row.usages),
    }


def _capabilities(rows: Mapping[str, _Row]) -> tuple[list[str], list[str]]:
    """Return the capabilities that were proved, and those of which nothing was learned.

    A row that failed for another reason disproves nothing, and nothing is disproved by a model that does not answer.
    """
    status = {case.capability: rows[case.name].finding.status for case in CASES if case.capability}
    answers = rows[CASES[0].name].finding.status in ("ok", "partial")
    proved = [name for name in CAPABILITIES if status[name] in ("ok", "partial")]
    disproved = [name for name in CAPABILITIES if status[name] == "no" and answers]
    return proved, [name for name in CAPABILITIES if name not in (*proved, *disproved)]


def _flags(target: Target, rows: Mapping[str, _Row]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the dialect flags that were proved, and those that are worth a try. A native upstream has no dialect."""
    if target.wire_format != "openai":
        return {}, {}
    flags: dict[str, Any] = {}
    hints: dict[str, Any] = {}
    for row in rows.values():
        flags |= dict(_FLAG_OF_REFUSAL[name] for name in row.dropped_fields if name in _FLAG_OF_REFUSAL)
        hints |= row.finding.hints
        if row.has_think_tags:
            flags["think_tags"] = True
    if "forced_tools" in hints and rows["tools"].finding.status == "ok":
        flags["forced_tools"] = hints["forced_tools"]  # it can call tools, and ignored that it must
    differing = {name: value for name, value in flags.items() if getattr(target.dialect, name) != value}
    return differing, {name: value for name, value in hints.items() if name not in flags}


def _costs(target: Target, usages: Sequence[Usage]) -> dict[str, str]:
    """Return what the calls cost by currency; empty where no price is known."""
    costs: dict[str, Decimal] = {}
    for usage in usages:
        cost, currency, _source = cost_of(usage, target.price)
        if cost is not None:
            costs[currency] = costs.get(currency, Decimal(0)) + cost
    return {currency: f"{cost.normalize():f}" for currency, cost in costs.items()}
