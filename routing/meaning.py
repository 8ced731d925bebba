"""What a call means: the targets behind the name that it asks for, or those that the policy gives it."""

from dataclasses import dataclass

from providers.target import ANY_MODEL
from routing.intent.facts import Facts
from routing.snapshot import PolicySnapshot, RouteSnapshot, Snapshot


class NoTarget(Exception):
    """Nothing is configured that could answer the call."""


@dataclass(frozen=True, slots=True)
class Meaning:
    """The targets that a call means, and why."""

    route: RouteSnapshot
    reason: str
    model_id: str  # what a target for any model is asked for
    is_passthrough: bool = False
    scene_name: str = ""  # "": the call belongs to no scene
    rule: str = ""  # the rule that chose it
    order: str = ""  # a Route.Order value in place of the route's


def meaning_of(snapshot: Snapshot, policy: PolicySnapshot | None, facts: Facts) -> Meaning:
    """Return what the requested name stands for.

    In this order: an alias, a target written `provider/model`, whatever the policy says. Raises `NoTarget`.
    """
    requested = facts.requested_model
    for alias in snapshot.aliases:
        if alias.matches.match(requested):
            return Meaning(alias.route, f"alias {alias.pattern}", requested)
    provider, _, model_id = requested.partition("/")
    if model_id and model_id != ANY_MODEL:
        for name in (requested, f"{provider}/{ANY_MODEL}"):
            if name in snapshot.targets:
                return Meaning(RouteSnapshot("", (name,)), "named by the client", model_id)
    if policy is None:
        raise NoTarget("No routing policy is set up. Ask your administrator to make one.")
    if policy.route is None:
        raise NoTarget(f"The policy {policy.name} has no route. Ask your administrator to choose one.")
    return Meaning(policy.route, f"policy {policy.name}", requested, policy.mode == "passthrough")
