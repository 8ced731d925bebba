"""Which targets may answer a call, in which order, and why: a pure function of the snapshot and the call."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Any

from providers.target import Target
from routing.snapshot import PolicySnapshot, RouteSnapshot, Snapshot

# The estimate of a prompt may be too high by this factor before a target is passed over for another one.
ESTIMATE_MARGIN = 1.1
# When no target has room, an estimate is no reason to refuse unless it is beyond doubt: the platform's own error has
# the exact numbers, and makes clients compact just as well.
BEYOND_DOUBT = 2.0
# These cut the oldest messages off without a word.
SILENT_TRUNCATION = frozenset({"ollama"})


class NoTarget(Exception):
    """Nothing is configured that could answer the call."""


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

    def as_record(self) -> dict[str, Any]:
        """Return the decision as the call's record keeps it."""
        record: dict[str, Any] = {
            "reason": self.reason,
            "candidates": [target.name for target in self.candidates],
        }
        if self.skipped:
            record["skipped"] = [{"target": name, "reason": reason} for name, reason in self.skipped]
        return record


def _meaning(snapshot: Snapshot, policy: PolicySnapshot | None, requested: str) -> tuple[RouteSnapshot, str]:
    for alias in snapshot.aliases:
        if alias.matches.match(requested):
            return alias.route, f"alias {alias.pattern}"
    if requested in snapshot.targets:
        return RouteSnapshot("", (requested,)), "named by the client"
    if policy is None:
        raise NoTarget("No routing policy is set up. Ask your administrator to make one.")
    if policy.route is None:
        raise NoTarget(f"The policy {policy.name} has no route. Ask your administrator to choose one.")
    return policy.route, f"policy {policy.name}"


def select(
    snapshot: Snapshot,
    policy: PolicySnapshot | None,
    requested: str,
    *,
    allowed: Sequence[str] = (),
    prompt_tokens: int = 0,
) -> Decision:
    """Return the candidates for a call that asks for the model `requested`.

    A name means, in this order: an alias, a target written `provider/model`, whatever the policy says. `allowed` are
    the key's patterns (empty: all); they match the requested name or a target's. `prompt_tokens` is the estimate.
    Raises `NoTarget`, `ModelNotAllowed`, `PromptTooLong`.
    """
    route, reason = _meaning(snapshot, policy, requested)
    decision = Decision(policy.name if policy else "", route.name, reason, [])
    name_allowed = not allowed or any(fnmatchcase(requested, pattern) for pattern in allowed)
    too_small: list[Target] = []
    refused = 0
    for name in route.target_names:
        target = snapshot.targets.get(name)
        if target is None:
            decision.skipped.append((name, "disabled"))
        elif not name_allowed and not any(fnmatchcase(name, pattern) for pattern in allowed):
            refused += 1
            decision.skipped.append((name, "not allowed for this key"))
        elif target.context_window and prompt_tokens > target.context_window * ESTIMATE_MARGIN:
            too_small.append(target)
        else:
            decision.candidates.append(target)
    if not decision.candidates:
        decision.candidates = [target for target in too_small if not _surely_too_small(target, prompt_tokens)]
    decision.skipped += [
        (target.name, f"prompt of about {prompt_tokens} tokens exceeds its window")
        for target in too_small
        if target not in decision.candidates
    ]
    if decision.candidates:
        return decision
    if too_small:
        raise PromptTooLong(prompt_tokens, max(target.context_window or 0 for target in too_small))
    if refused:
        raise ModelNotAllowed(f"This key may not use the model {requested}. Allowed: {', '.join(allowed)}.")
    if not route.target_names:
        raise NoTarget(f"The route {route.name} has no targets. Ask your administrator to add one.")
    raise NoTarget("Every target for this model is disabled. Ask your administrator to enable one.")


def _surely_too_small(target: Target, prompt_tokens: int) -> bool:
    return target.kind in SILENT_TRUNCATION or prompt_tokens > (target.context_window or 0) * BEYOND_DOUBT


def first_target(snapshot: Snapshot, policy: PolicySnapshot | None, requested: str) -> Target | None:
    """Return the target that will most likely answer, for a reservation; None when nothing can."""
    try:
        route, _reason = _meaning(snapshot, policy, requested)
    except NoTarget:
        return None
    return next((snapshot.targets[name] for name in route.target_names if name in snapshot.targets), None)
