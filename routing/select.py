"""Which targets may answer a call, in which order, and why: a pure function of the snapshot and the call."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from typing import Any

from providers.native_dialect import refined
from providers.target import ANY_MODEL, Target
from routing.intent.facts import Facts
from routing.meaning import Meaning, NoTarget, meaning_of
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
NO_CREDENTIAL = "the client sent no credential of its own, and none is stored"
MAX_MODEL_ID = 200  # as rows have it; a longer one can only be a client's invention
# A page of a PDF is counted as text and picture. Where only its text is sent, half of that is left.
_TEXT_SHARE = 2
# What a request may need of a model, the graver lack first: without tools an agent can do nothing at all, without eyes
# it is told what it does not see.
_CAPABILITIES = ("tools", "vision")


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

    def keep_relays(self, wire_format: str, reason: str) -> None:
        """Pass over the targets that do not speak `wire_format`, for a call that nobody else can answer."""
        relays = [target for target in self.candidates if target.wire_format == wire_format]
        # Where there is none, asking one of the others gives the client the reason.
        if relays:
            self.skipped += [(target.name, reason) for target in self.candidates if target not in relays]
            self.candidates = relays

    def as_record(self) -> dict[str, Any]:
        """Return the decision as the call's record keeps it."""
        record: dict[str, Any] = {
            "reason": self.reason,
            "candidates": [target.name for target in self.candidates],
        }
        for key, passed in (("skipped", self.skipped), ("last_resort", self.last_resort)):
            if passed:
                record[key] = [{"target": name, "reason": reason} for name, reason in passed]
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
) -> Decision:
    """Return the candidates for a call with these `facts` among the targets of its `meaning`.

    `allowed` are the key's patterns (empty: all); they match the requested name or a target's. `has_own_credential`
    says that the client sent one for upstreams. Targets that lack something that the call needs come after the others,
    except where calls are passed through. Raises `NoTarget`, `ModelNotAllowed`, `PromptTooLong`.
    """
    route, passes, requested = meaning.route, meaning.is_passthrough, facts.requested_model
    decision = Decision(policy.name if policy else "", route.name, meaning.reason, [], is_passthrough=passes)

    def size_for(target: Target) -> int:
        return facts.prompt_tokens - (0 if target.takes_documents else facts.pdf_tokens // _TEXT_SHARE)

    name_allowed = not allowed or any(fnmatchcase(requested, pattern) for pattern in allowed)
    too_small: list[Target] = []
    refused = 0
    for name in route.target_names:
        target = _target(snapshot, name, meaning.model_id)
        if target is None:
            decision.skipped.append((name, "disabled"))
            continue
        name = target.name
        if not name_allowed and not any(fnmatchcase(name, pattern) for pattern in allowed):
            refused += 1
            decision.skipped.append((name, "not allowed for this key"))
        elif fault := _fault(target, passes=passes, has_own_credential=has_own_credential):
            decision.skipped.append((name, fault))
        elif not passes and target.context_window and size_for(target) > target.context_window * ESTIMATE_MARGIN:
            too_small.append(target)
        else:
            decision.candidates.append(target)
    decision.hangs_on_size = bool(too_small) or any(
        size_for(target) > target.context_window * _NEAR
        for target in decision.candidates
        if target.context_window and not passes
    )
    if not decision.candidates:
        decision.candidates = [target for target in too_small if not _surely_too_small(target, size_for(target))]
    decision.skipped += [
        (target.name, f"prompt of about {size_for(target)} tokens exceeds its window")
        for target in too_small
        if target not in decision.candidates
    ]
    if decision.candidates:
        _put_the_able_first(decision, () if passes else facts.needs)
        return decision
    if too_small:
        raise PromptTooLong(facts.prompt_tokens, max(target.context_window or 0 for target in too_small))
    if refused:
        raise ModelNotAllowed(f"This key may not use the model {requested}. Allowed: {', '.join(allowed)}.")
    if not route.target_names:
        raise NoTarget(f"The route {route.name} has no targets. Ask your administrator to add one.")
    if any(reason == NO_CREDENTIAL for _name, reason in decision.skipped):
        raise NoTarget(
            "This model is answered with your own credential: send it as Authorization or x-api-key, and your gateway "
            "key as x-gateway-key."
        )
    raise NoTarget("Every target for this model is disabled. Ask your administrator to enable one.")


def _fault(target: Target, *, passes: bool, has_own_credential: bool) -> str:
    """Return why a target cannot be asked at all, "" if it can."""
    if passes and target.wire_format != "anthropic":
        return "not an Anthropic-compatible server"
    if target.forwards_client_credential and not has_own_credential and not target.secrets:
        return NO_CREDENTIAL
    if len(target.model_id) > MAX_MODEL_ID or not target.model_id.isprintable():
        return "not the name of a model"
    return ""


def _put_the_able_first(decision: Decision, needs: Collection[str]) -> None:
    if not needs or len(decision.candidates) == 1:
        return

    def lacks(target: Target) -> list[bool]:
        return [capability in needs and not target.can(capability) for capability in _CAPABILITIES]

    decision.candidates.sort(key=lacks)  # stable: equals stay in the order of the route
    best = lacks(decision.candidates[0])
    for target in decision.candidates:
        if (lacking := lacks(target)) > best:
            missing = (capability for capability, is_lacking in zip(_CAPABILITIES, lacking, strict=True) if is_lacking)
            decision.last_resort.append((target.name, f"has no {', no '.join(missing)}"))


def _surely_too_small(target: Target, prompt_tokens: int) -> bool:
    return target.kind in SILENT_TRUNCATION or prompt_tokens > (target.context_window or 0) * BEYOND_DOUBT


def first_target(snapshot: Snapshot, policy: PolicySnapshot | None, requested: str) -> Target | None:
    """Return the target that will most likely answer, for a reservation; None when nothing can."""
    try:
        meaning = meaning_of(snapshot, policy, Facts(requested))
    except NoTarget:
        return None
    found = (_target(snapshot, name, meaning.model_id) for name in meaning.route.target_names)
    return next((target for target in found if target is not None), None)
