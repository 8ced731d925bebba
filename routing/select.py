"""Which targets may answer a call, in which order, and why: a pure function of the snapshot and the call."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from typing import Any

from providers.native_dialect import refined
from providers.target import ANY_MODEL, Target
from routing import estimate
from routing.intent.facts import Facts, SceneChoice, SessionMemory
from routing.meaning import Meaning, NoTarget, meaning_of, other_scenes, usable_scene
from routing.models import Route
from routing.order import Health, cooling, ordered
from routing.snapshot import PolicySnapshot, Snapshot

# The estimate of a prompt may be too high by this factor before a target is passed over for another one.
ESTIMATE_MARGIN = 1.1
# When no target has room, an estimate is no reason to refuse unless it is beyond doubt: the platform's own error has
# the exact numbers, and makes clients compact just as well.
BEYOND_DOUBT = 2.0
# From this share of a window on, a quick estimate of the prompt is not good enough to choose by.
_NEAR = 0.5
# These cut the oldest messages off without a word.
SILENT_TRUNCATION = frozenset({"ollama"})
NOT_ALLOWED = "not allowed for this key"
NO_CREDENTIAL = "the client sent no credential of its own, and none is stored"
# Candidates beyond so many are hardly ever asked: what they would cost is not worth a place in every record.
MAX_ESTIMATES = 5
MAX_MODEL_ID = 200  # as rows have it; a longer one can only be a client's invention
# Of the name of a target in a record: that of a provider, and whatever a client has invented as its model's.
_MAX_NAME = 300
# An answer needs no more of a window than this share: a small model is used with short answers.
_ANSWER_SHARE = 8
# What a target may lack, the graver lack first.
_LACKS = ("no tools", "little room for an answer", "no vision", "no thinking")
# Levels of effort that only a user's own wish leads to: clients send the lower ones, and adaptive thinking, with every
# call, whatever it is about. A model that cannot think answers those as well.
_THOROUGH = frozenset({"xhigh", "max"})


class ModelNotAllowed(Exception):
    """The key may not use any model that could answer the call."""


class PromptTooLong(Exception):
    """The prompt exceeds the context window of every candidate."""

    def __init__(self, prompt_tokens: int, context_window: int) -> None:
        super().__init__(f"prompt is too long: {prompt_tokens} tokens > {context_window} maximum")
        self.prompt_tokens = prompt_tokens
        self.context_window = context_window


@dataclass(slots=True)
class Decision:
    """The candidates of a call in the order of asking, and how they came about."""

    policy_name: str
    route_name: str
    reason: str
    candidates: list[Target]
    skipped: list[tuple[str, str]] = field(default_factory=list)
    is_passthrough: bool = False  # the servers are tried by their status, and a success is relayed whatever it says
    last_resort: list[tuple[str, str]] = field(default_factory=list)  # asked after those that can do more, and why
    hangs_on_size: bool = False  # with another estimate of the prompt the candidates might be others
    order: str = Route.Order.PRIORITY
    stays_with: str = ""  # the target that answered the session last, put first for that
    cooling: list[tuple[str, str]] = field(default_factory=list)  # asked after all others, and why
    facts: Facts | None = field(default=None, repr=False)  # to estimate costs by; holds the user's words
    reference: Target | None = None  # the policy's, to compare with

    def keep_relays(self, wire_format: str, reason: str) -> None:
        """Pass over the targets that do not speak `wire_format`, for a call that nobody else can answer."""
        relays = [target for target in self.candidates if target.wire_format == wire_format]
        # Where there is none, asking one of the others gives the client the reason.
        if relays:
            self.skipped += [(target.name, reason) for target in self.candidates if target not in relays]
            self.candidates = relays

    @property
    def estimates(self) -> dict[str, estimate.Cost]:
        """The expected cost of the call on each candidate that has a price, as far as one is likely to be asked."""
        facts = self.facts
        if facts is None:
            return {}
        costs = {target.name: estimate.cost_of_call(target, facts) for target in self.candidates[:MAX_ESTIMATES]}
        return {name: cost for name, cost in costs.items() if cost is not None}

    @property
    def saving(self) -> estimate.Cost | None:
        """What the first candidate is expected to save against the policy's reference model; None: unknown."""
        if self.facts is None or self.reference is None or not self.candidates:
            return None
        cost, reference = (estimate.cost_of_call(each, self.facts) for each in (self.candidates[0], self.reference))
        return estimate.saving(cost, reference)

    def as_record(self) -> dict[str, Any]:
        """Return the decision as the call's record keeps it."""
        record: dict[str, Any] = {
            "reason": self.reason,
            "candidates": [target.name for target in self.candidates],
        }
        if self.order != Route.Order.PRIORITY:
            record["order"] = str(self.order)
        if self.stays_with:
            record["stays_with"] = self.stays_with
        for key, passed in (("skipped", self.skipped), ("last_resort", self.last_resort), ("cooling", self.cooling)):
            if passed:
                record[key] = [{"target": name[:_MAX_NAME], "reason": reason} for name, reason in passed]
        if estimates := self.estimates:
            record["estimates"] = {name: estimate.written(cost) for name, cost in estimates.items()}
        if (saving := self.saving) is not None:
            record["saving"] = estimate.written(saving)
        return record


def _target(snapshot: Snapshot, name: str, model_id: str) -> Target | None:
    """Return the target `name`; of a provider's row for any model, that for `model_id`."""
    target = snapshot.targets.get(name)
    if target is None or target.model_id != ANY_MODEL:
        return target
    own_row = snapshot.targets.get(f"{target.provider_name}/{model_id}")
    if own_row is not None and own_row is not target:
        return own_row
    return replace(target, model_id=model_id, native=refined(target.kind, target.native, model_id), model_pk=0)


def select(
    snapshot: Snapshot,
    policy: PolicySnapshot | None,
    meaning: Meaning,
    facts: Facts,
    *,
    allowed: Sequence[str] = (),
    has_own_credential: bool = False,
    health: Health | None = None,
    memory: SessionMemory | None = None,
    seed: str = "",
) -> Decision:
    """Return the candidates for a call with these `facts` among the targets of its `meaning`.

    `allowed` are the key's patterns (empty: all); they match the requested name or a target's. `has_own_credential`
    says that the client sent one for upstreams. Targets that lack something that the call needs come after the others,
    except where calls are passed through; those that cool down (`health`) come last. `memory` is of the session, and
    `seed` what draws are made by: the session or the loop, else the call. Raises `NoTarget`, `ModelNotAllowed`,
    `PromptTooLong`.
    """
    route, passes = meaning.route, meaning.is_passthrough
    order = meaning.order or route.order
    reference = policy.reference if policy else None
    decision = Decision(
        policy.name if policy else "",
        route.name,
        meaning.reason,
        [],
        is_passthrough=passes,
        order=order,
        facts=facts,
        reference=reference,
    )
    too_small = _filter(decision, snapshot, meaning, facts, allowed=allowed, has_own_credential=has_own_credential)
    is_forbidden = bool(decision.skipped) and all(reason == NOT_ALLOWED for _name, reason in decision.skipped)
    if not is_forbidden and all(target in too_small for target in decision.candidates):
        others = other_scenes(policy, meaning)
        too_small += _widen(decision, snapshot, others, facts, allowed=allowed, has_own_credential=has_own_credential)
    if not decision.candidates:
        raise _refusal(decision, meaning, facts, too_small, allowed)
    decision.candidates = ordered(
        decision.candidates,
        order,
        facts,
        weights=_weights(meaning, order),
        currency=reference.price.currency if reference and reference.price else "",
        health=health,
        seed=seed,
    )
    _stay(decision, policy, meaning, facts, memory)
    if not passes:
        _put_the_able_first(decision, facts)
    if health is not None:
        _put_the_cooling_last(decision, health, has_own_credential=has_own_credential)
    if decision.stays_with and decision.candidates[0].name != decision.stays_with:
        decision.stays_with = ""
    return decision


def _weights(meaning: Meaning, order: str) -> dict[str, int]:
    """Return the weights by which the targets are drawn, by the names that they have for this call; else nothing."""
    if order != Route.Order.WEIGHTED:
        return {}
    names = [
        name.removesuffix(ANY_MODEL) + meaning.model_id if name.endswith(f"/{ANY_MODEL}") else name
        for name in meaning.route.target_names
    ]
    return dict(zip(names, meaning.route.weights, strict=False))  # without weights all are equal


def _filter(
    decision: Decision,
    snapshot: Snapshot,
    meaning: Meaning,
    facts: Facts,
    *,
    allowed: Sequence[str],
    has_own_credential: bool,
) -> list[Target]:
    """Sort the targets of `meaning` into candidates and skipped; return those whose window is too small."""
    passes, requested = meaning.is_passthrough, facts.requested_model
    name_allowed = not allowed or any(fnmatchcase(requested, pattern) for pattern in allowed)
    too_small: list[Target] = []
    for name in meaning.route.target_names:
        target = _target(snapshot, name, meaning.model_id)
        if target is None:
            decision.skipped.append((name, "disabled"))
            continue
        name = target.name
        size, window = estimate.prompt_tokens(target, facts), target.context_window
        if not name_allowed and not any(fnmatchcase(name, pattern) for pattern in allowed):
            decision.skipped.append((name, NOT_ALLOWED))
        elif fault := _fault(target, passes=passes, has_own_credential=has_own_credential):
            decision.skipped.append((name, fault))
        elif not passes and window and size > window * ESTIMATE_MARGIN:
            too_small.append(target)
        else:
            decision.candidates.append(target)
            decision.hangs_on_size |= not passes and bool(window) and size > (window or 0) * _NEAR
    decision.hangs_on_size |= bool(too_small)
    if not decision.candidates:
        decision.candidates = [
            target for target in too_small if not _surely_too_small(target, estimate.prompt_tokens(target, facts))
        ]
    decision.skipped += _exceeded((target for target in too_small if target not in decision.candidates), facts)
    return too_small


def _exceeded(targets: Iterable[Target], facts: Facts) -> list[tuple[str, str]]:
    return [
        (target.name, f"prompt of about {estimate.prompt_tokens(target, facts)} tokens exceeds its window")
        for target in targets
    ]


def _widen(decision: Decision, snapshot: Snapshot, others: Meaning, facts: Facts, **caller: Any) -> list[Target]:
    """Add those of `others` that have room for the call to a decision without any; return those that have not.

    A refusal would make a client shorten a conversation that the model before had room for.
    """
    more = Decision("", "", "", [])
    too_small = _filter(more, snapshot, others, facts, **caller)
    roomy = [target for target in more.candidates if target not in too_small]
    if roomy:
        decision.skipped += _exceeded(decision.candidates, facts)
    decision.candidates = roomy or decision.candidates or more.candidates
    decision.hangs_on_size |= more.hangs_on_size
    return too_small


def _refusal(
    decision: Decision, meaning: Meaning, facts: Facts, too_small: Sequence[Target], allowed: Sequence[str]
) -> Exception:
    """Return what to tell a client for whose call there is no candidate."""
    reasons = {reason for _name, reason in decision.skipped}
    if too_small:
        return PromptTooLong(facts.prompt_tokens, max(target.context_window or 0 for target in too_small))
    if NOT_ALLOWED in reasons:
        return ModelNotAllowed(
            f"This key may not use the model {facts.requested_model}. Allowed: {', '.join(allowed)}."
        )
    if not meaning.route.target_names:
        return NoTarget(f"The route {meaning.route.name} has no targets. Ask your administrator to add one.")
    if NO_CREDENTIAL in reasons:
        return NoTarget(
            "This model is answered with your own credential: send it as Authorization or x-api-key, and your gateway "
            "key as x-gateway-key."
        )
    return NoTarget("Every target for this model is disabled. Ask your administrator to enable one.")


def _fault(target: Target, *, passes: bool, has_own_credential: bool) -> str:
    """Return why a target cannot be asked at all, "" if it can."""
    if passes and target.wire_format != "anthropic":
        return "not an Anthropic-compatible server"
    if target.forwards_client_credential and not has_own_credential and not target.secrets:
        return NO_CREDENTIAL
    if len(target.model_id) > MAX_MODEL_ID or not target.model_id.isprintable():
        return "not the name of a model"
    return ""


def _stay(
    decision: Decision,
    policy: PolicySnapshot | None,
    meaning: Meaning,
    facts: Facts,
    memory: SessionMemory | None,
) -> None:
    """Put the target that answered the session last first: it has the prompt cached, and goes on in its own manner.

    Always within a tool loop. Elsewhere a route in the given order begins with its first again; the other orders
    would change the model in mid-session by a draw or a few milliseconds. Not where another order is imposed.
    """
    if memory is None or meaning.order or not memory.target_name:
        return
    same_scene = (memory.policy_name, memory.scene_name) == (policy.name if policy else "", meaning.scene_name)
    if not (facts.in_tool_loop or (same_scene and decision.order != Route.Order.PRIORITY)):
        return
    last = [target for target in decision.candidates if target.name == memory.target_name]
    if last:
        decision.candidates = last + [target for target in decision.candidates if target not in last]
        decision.stays_with = memory.target_name


def _put_the_able_first(decision: Decision, facts: Facts) -> None:
    if len(decision.candidates) == 1:
        return
    ranked = [(_lacks(target, facts), target) for target in decision.candidates]
    ranked.sort(key=lambda each: each[0])  # stable: equals stay in the order they have
    decision.candidates = [target for _lacking, target in ranked]
    best = ranked[0][0]
    for lacking, target in ranked:
        if lacking > best:
            words = [word for word, is_lacking in zip(_LACKS, lacking, strict=True) if is_lacking]
            decision.last_resort.append((target.name, f"has {', '.join(words)}"))


def _lacks(target: Target, facts: Facts) -> tuple[bool, ...]:
    """Return which of `_LACKS` holds for `target` and the call.

    Without tools an agent can do nothing at all; an answer without room is cut off; without eyes a model is told what
    it does not see; and thinking that was asked for makes an answer better, not possible.
    """
    needs = facts.needs
    return (
        "tools" in needs and not target.can("tools"),
        not _has_room(target, facts),
        "vision" in needs and not target.can("vision"),
        facts.effort in _THOROUGH and not target.can("thinking"),
    )


def _has_room(target: Target, facts: Facts) -> bool:
    """Say whether an answer of the usual length fits into the output limit and beside the prompt.

    The limit that clients ask for says little: clients of upstreams cut it down to what fits.
    """
    wanted, window = estimate.output_tokens(facts), target.context_window
    if target.max_output_tokens and target.max_output_tokens < wanted:
        return False
    return not window or estimate.prompt_tokens(target, facts) + min(wanted, window // _ANSWER_SHARE) <= window


def _put_the_cooling_last(decision: Decision, health: Health, *, has_own_credential: bool) -> None:
    cold = [target for target in decision.candidates if cooling(target, health, has_own_credential=has_own_credential)]
    if cold:
        decision.cooling = [(target.name, health.why(target) or "cooling down") for target in cold]
        names = {target.name for target in cold}
        decision.candidates = [target for target in decision.candidates if target.name not in names] + cold


def _surely_too_small(target: Target, prompt_tokens: int) -> bool:
    return target.kind in SILENT_TRUNCATION or prompt_tokens > (target.context_window or 0) * BEYOND_DOUBT


def first_target(
    snapshot: Snapshot,
    policy: PolicySnapshot | None,
    facts: Facts,
    *,
    memory: SessionMemory | None = None,
    downgraded_by: str = "",
) -> Target | None:
    """Return the target that will most likely answer, for a reservation; None when nothing can.

    The user's words are not read for it: a call that is routed by intent counts as one of its session's scene, or of
    the default one.
    """
    held = usable_scene(policy, memory.scene_name) if policy is not None and memory is not None else None
    try:
        meaning = meaning_of(
            snapshot,
            policy,
            facts,
            SceneChoice(held, "session") if held else None,
            memory=memory,
            downgraded_by=downgraded_by,
        )
    except NoTarget:
        return None
    found = [_target(snapshot, name, meaning.model_id) for name in meaning.route.target_names]
    targets = [target for target in found if target is not None]
    order = meaning.order or meaning.route.order  # what is drawn will often be another one
    return next(iter(ordered(targets, order, facts, weights=_weights(meaning, order))), None)
