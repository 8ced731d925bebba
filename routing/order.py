"""In which order the targets of a route are asked: the order that the route has, then the session, then health."""

import hashlib
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Protocol

from providers.target import Target
from routing.estimate import Cost, cost_of_call
from routing.health import OWN_CREDENTIAL
from routing.intent.facts import Facts
from routing.models import Route

# Of so many sessions one tries a target first whose speed nobody knows.
EXPLORE_EVERY = 10


class Health(Protocol):
    """What is known about how targets do."""

    def is_cooling(self, target_name: str, credential_name: str) -> bool:
        """Say whether a target has just failed with a credential ("" where it needs none)."""

    def why(self, target: Target) -> str:
        """Return why `target` cools down, in words."""

    def ttft_ms(self, target_name: str) -> float | None:
        """Return the usual time to the first token; None when nothing is known of late."""


def ordered(
    targets: Sequence[Target],
    order: str,
    facts: Facts,
    *,
    weights: Mapping[str, int],
    currency: str = "",
    health: Health | None = None,
    seed: str = "",
) -> list[Target]:
    """Return `targets` in `order` (a `Route.Order` value); equals stay in the order given.

    `weights` are by target name, 1 where there is none. `currency` is the one to compare costs in, "" the most common.
    The same `seed` gives the same order as long as weights and speeds stay.
    """
    if len(targets) < 2:
        return list(targets)
    if order == Route.Order.WEIGHTED:
        return _by_weight(targets, weights, seed)
    if order == Route.Order.CHEAPEST:
        return _by_cost(targets, facts, currency)
    if order == Route.Order.FASTEST and health is not None:
        return _by_speed(targets, health, seed)
    return list(targets)


def cooling(target: Target, health: Health, *, has_own_credential: bool) -> bool:
    """Say whether a target has just failed with every credential that it could be asked with."""
    if target.forwards_client_credential and has_own_credential:
        return health.is_cooling(target.name, OWN_CREDENTIAL)
    names = [secret.name for secret in target.secrets] or [""]
    return all(health.is_cooling(target.name, name) for name in names)


def _by_weight(targets: Sequence[Target], weights: Mapping[str, int], seed: str) -> list[Target]:
    # Drawing without putting back, as one sort (Efraimidis and Spirakis 2006). Each target's draw depends on itself
    # alone: when one is left out, the others keep their order, and a session its target.
    def draw(target: Target) -> float:
        return math.log(_share(seed, target.name)) / max(weights.get(target.name, 1), 1)

    return sorted(targets, key=draw, reverse=True)


def _by_cost(targets: Sequence[Target], facts: Facts, currency: str) -> list[Target]:
    priced = [(cost_of_call(target, facts), target) for target in targets]
    # What costs nothing is the cheapest in any currency.
    counted = Counter(cost[1] for cost, _target in priced if cost is not None and cost[0])
    # There is no rate to convert by: costs are compared within a currency, the most useful currency first.
    currencies = sorted(counted, key=lambda each: (each != currency, -counted[each]))

    def rank(each: tuple[Cost | None, Target]) -> tuple[int, Decimal]:
        cost, _target = each
        if cost is None:
            return len(currencies), Decimal(0)
        return (currencies.index(cost[1]), cost[0]) if cost[0] else (-1, Decimal(0))

    return [target for _cost, target in sorted(priced, key=rank)]


def _by_speed(targets: Sequence[Target], health: Health, seed: str) -> list[Target]:
    speeds = {target.name: speed for target in targets if (speed := health.ttft_ms(target.name)) is not None}
    known = sorted((target for target in targets if target.name in speeds), key=lambda target: speeds[target.name])
    unknown = [target for target in targets if target.name not in speeds]
    if known and unknown and _share(seed, "explore") * EXPLORE_EVERY < 1:
        # Which one: drawn too, or the first would be tried again and again where it never answers.
        tried = max(unknown, key=lambda target: _share(seed, target.name))
        return [tried, *known, *(target for target in unknown if target is not tried)]
    return known + unknown


def _share(seed: str, name: str) -> float:
    """Return a number above 0 and below 1, drawn evenly by `seed` and `name`."""
    digest = hashlib.blake2b(f"{seed}\0{name}".encode("utf-8", "surrogatepass"), digest_size=8).digest()
    return (int.from_bytes(digest) + 0.5) / 2**64
