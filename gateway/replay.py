"""Recorded calls decided again under another policy, or a changed one: what would move, and what it would cost.

Nobody is asked. A call whose request was kept whole is decided by its own words; any other by the facts of its record,
and where the words would decide it keeps its scene, or counts as unknown where the policy has no such scene.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

from django.db.models import Q, QuerySet

from accounts.models import CallRecord
from gateway.kept import NotKept, kept_request
from gateway.models import Capture
from gateway.trial import Trial, decide
from providers.pricing import cost_of
from providers.translation.validation import whole_number
from routing.estimate import Cost
from routing.intent.facts import Facts, SessionMemory
from routing.intent.reading import facts_of
from routing.intent.sessions import REMEMBERED_KINDS
from routing.models import Policy, RequestKind
from routing.record import facts_of_record
from routing.snapshot import PolicySnapshot, Snapshot

_BATCH = 200


@dataclass(frozen=True, slots=True)
class Recorded:
    """A call that was answered, as far as it can be decided again."""

    call: CallRecord
    facts: Facts
    has_words: bool  # its request was kept

    @property
    def target(self) -> str:
        """The target that answered."""
        return f"{self.call.provider_name}/{self.call.model_name}"

    @property
    def session(self) -> tuple[int, str, str] | None:
        """What its session is told by, None where the client names none."""
        call = self.call
        return (call.user_id, call.session_id, call.agent_id) if call.session_id else None


@dataclass(frozen=True, slots=True)
class Replayed:
    """What became of a recorded call."""

    recorded: Recorded
    scene: str = ""
    target: str = ""
    by: str = ""
    refusal: str = ""  # nothing could answer
    is_unknown: bool = False  # its words would decide, and were not kept
    asks_classifier: bool = False
    cost: Cost | None = None

    @property
    def is_moved(self) -> bool:
        """Whether another target would answer."""
        return bool(self.target) and self.target != self.recorded.target


def recorded_calls(
    since: datetime,
    until: datetime,
    *,
    policy_name: str = "",
    limit: int = 10_000,
    among: "QuerySet[CallRecord] | None" = None,
) -> list[Recorded]:
    """Return the newest `limit` answered calls of clients begun in [since, until), the oldest first.

    `among` are those to choose from; None: all.
    """
    wanted = Q(started_at__gte=since, started_at__lt=until, status=CallRecord.Status.OK, kind__in=RequestKind.values)
    if policy_name:
        wanted &= Q(policy_name=policy_name)
    rows = CallRecord.objects.all() if among is None else among
    calls = rows.filter(wanted).exclude(provider_name="").select_related("key").order_by("-started_at")
    newest = list(calls[:limit])[::-1]
    begins = range(0, len(newest), _BATCH)
    return [recorded for begin in begins for recorded in _with_words(newest[begin : begin + _BATCH])]


def _with_words(calls: Sequence[CallRecord]) -> Iterator[Recorded]:
    kept = Capture.objects.filter(pk__in=[call.pk for call in calls], is_full=True).only("client_request").in_bulk()
    for call in calls:
        capture = kept.get(call.pk)
        try:
            yield _from_request(call, bytes(capture.client_request)) if capture else Recorded(call, _facts(call), False)
        except NotKept:
            yield Recorded(call, _facts(call), False)


def _from_request(call: CallRecord, blob: bytes) -> Recorded:
    request, known = kept_request(blob, call.wire_format), _facts(call)
    facts = facts_of(
        request.body,
        request.headers,
        prompt_tokens=known.prompt_tokens,
        pdf_tokens=known.pdf_tokens,
        max_tokens=whole_number(request.body.get("max_tokens")),
    )
    return Recorded(call, facts, True)


def _facts(call: CallRecord) -> Facts:
    """Return what the record of a call says of its request; older records say little."""
    kept = call.decision.get("facts") if isinstance(call.decision, dict) else None
    return facts_of_record(
        kept if isinstance(kept, dict) else {},
        requested_model=call.requested_model,
        kind=call.kind,
        prompt_tokens=call.input_tokens + call.cache_read_tokens + call.cache_write_tokens,
    )


def replay(snapshot: Snapshot, policy: PolicySnapshot, calls: Iterable[Recorded]) -> Iterator[Replayed]:
    """Yield what becomes of each of `calls`, which are in the order of time, under `policy`.

    Sessions go on as `policy` would have led them. Cooldowns and quotas of then are not known: all targets are well.
    """
    sessions: dict[tuple[int, str, str], SessionMemory] = {}
    zone: ZoneInfo = snapshot.settings.business_time_zone
    for recorded in calls:
        call, session = recorded.call, recorded.session
        memory = sessions.get(session) if session else None
        if memory is None and recorded.facts.in_tool_loop and call.scene_name:
            # It began before the calls that are replayed.
            memory = SessionMemory(call.scene_name, recorded.target, policy.name, call.started_at)
        trial = decide(
            snapshot,
            policy,
            recorded.facts,
            call.started_at.astimezone(zone),
            memory=memory,
            allowed=tuple(call.key.allowed_models),
            seed=call.session_id or str(call.pk),
            # What a small model said then is the best guess of what it would say.
            classified=call.scene_name,
            recorded="" if recorded.has_words else call.scene_name,
        )
        result = _result(policy, recorded, trial)
        if session and result.target and result.scene and recorded.facts.kind in REMEMBERED_KINDS:
            sessions[session] = SessionMemory(result.scene, result.target, policy.name, call.started_at)
        yield result


def _result(policy: PolicySnapshot, recorded: Recorded, trial: Trial) -> Replayed:
    meaning, target = trial.meaning, trial.target
    by = meaning.by if meaning is not None else ""
    is_wordless = policy.mode == Policy.Mode.SMART and not recorded.has_words and by == "default"
    if is_wordless:
        return Replayed(recorded, by=by, is_unknown=True)
    if meaning is None or target is None:
        return Replayed(recorded, by=by, refusal=trial.refusal or "no target")
    return Replayed(
        recorded,
        meaning.scene_name,
        target.name,
        by,
        asks_classifier=trial.asks_classifier,
        cost=_booked(recorded.call) if target.name == recorded.target else cost_on(target.price, recorded.call),
    )


def cost_on(price: Any, call: CallRecord) -> Cost | None:
    """Return what the tokens of `call` would have cost at `price`, cached as they were; None: unknown."""
    cost, currency, _source = cost_of(call.usage, price)
    return None if cost is None else (cost, currency)


def _booked(call: CallRecord) -> Cost | None:
    return None if call.cost is None else (call.cost, call.currency)


@dataclass(slots=True)
class Totals:
    """The sum of a replay. Costs are by currency, over the calls whose cost is known both before and after."""

    calls: int = 0
    moved: int = 0
    refused: int = 0
    unknown: int = 0  # their words would decide, and were not kept
    by_words: int = 0
    asked: int = 0  # for how many a classifier model would be asked
    unpriced: int = 0
    before: dict[str, Decimal] = field(default_factory=dict)
    after: dict[str, Decimal] = field(default_factory=dict)
    moves: Counter[tuple[str, str]] = field(default_factory=Counter)  # from which target to which

    def add(self, each: Replayed) -> None:
        """Count one more call."""
        self.calls += 1
        self.moved += each.is_moved
        if each.is_moved:
            self.moves[each.recorded.target, each.target] += 1
        self.refused += bool(each.refusal)
        self.unknown += each.is_unknown
        self.by_words += each.recorded.has_words
        self.asked += each.asks_classifier
        old = _booked(each.recorded.call)
        if old is None or each.cost is None:
            self.unpriced += bool(each.target)
            return
        for sums, (amount, currency) in ((self.before, old), (self.after, each.cost)):
            sums[currency] = sums.get(currency, Decimal(0)) + amount
