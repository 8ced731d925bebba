"""In which order the targets of a route are asked."""

from collections import Counter
from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest

from providers.target import PriceList, Secret, Target
from routing.health import OWN_CREDENTIAL
from routing.intent.facts import Facts, SessionMemory
from routing.meaning import Meaning
from routing.order import EXPLORE_EVERY, ordered
from routing.select import Decision, select
from routing.snapshot import PolicySnapshot, RouteSnapshot, Snapshot
from tests.accounts.books import NOW, target

FACTS = Facts("x", prompt_tokens=10_000)
A, B, C = target("t/a"), target("t/b"), target("t/c")


class KnownHealth:
    """Health as a table: speeds by target, and the credentials that cool down by target."""

    def __init__(self, cooling: dict[str, set[str]] | None = None, **speeds: float) -> None:
        self._cooling = cooling or {}
        self._speeds = {f"t/{name}": speed for name, speed in speeds.items()}

    def is_cooling(self, target_name: str, credential_name: str) -> bool:
        return credential_name in self._cooling.get(target_name, set())

    def why(self, target: Target) -> str:
        return f"{target.name} is overloaded"

    def ttft_ms(self, target_name: str) -> float | None:
        return self._speeds.get(target_name)


def costing(name: str, price_in: int | str | None, currency: str = "USD", price_out: int = 0) -> Target:
    prices = [Decimal(price) for price in (price_in or 0, price_out, 0, 0)]
    return target(name, price=None if price_in is None else PriceList(currency, *prices, "price"))


def in_order(*targets: Target, order: str, **fields: Any) -> str:
    values: dict[str, Any] = {"facts": FACTS, "weights": {}} | fields
    return " ".join(each.model_id for each in ordered(targets, order, values.pop("facts"), **values))


def test_without_an_order_of_its_own_a_route_is_asked_as_given() -> None:
    assert in_order(C, A, B, order="priority", weights={"t/a": 9}, health=KnownHealth(a=1), seed="x") == "c a b"


def test_by_weight_the_first_is_drawn_as_often_as_its_weight_says_and_so_is_the_second() -> None:
    weights = {"t/a": 5, "t/b": 3, "t/c": 2}
    draws = [in_order(A, B, C, order="weighted", weights=weights, seed=f"session-{n}") for n in range(4000)]
    first = Counter(draw[0] for draw in draws)
    for name, weight in weights.items():
        assert first[name[-1]] / len(draws) == pytest.approx(weight / 10, abs=0.025)
    after_a = Counter(draw[2] for draw in draws if draw[0] == "a")
    assert after_a["b"] / after_a.total() == pytest.approx(3 / 5, abs=0.035)


def test_the_same_seed_draws_the_same_whatever_else_is_there() -> None:
    weights = {"t/a": 5, "t/b": 3, "t/c": 2}
    for n in range(200):
        everybody = in_order(A, B, C, order="weighted", weights=weights, seed=str(n))
        assert everybody == in_order(C, B, A, order="weighted", weights=weights, seed=str(n))
        without_b = in_order(A, C, order="weighted", weights=weights, seed=str(n))
        assert without_b == " ".join(name for name in everybody.split() if name != "b")


def test_a_route_without_weights_is_drawn_from_evenly_and_a_strange_seed_is_a_seed() -> None:
    first = Counter(in_order(A, B, order="weighted", seed=f"会话 \ud800 {n}")[0] for n in range(2000))
    assert first["a"] / 2000 == pytest.approx(0.5, abs=0.04)


def test_the_cheapest_is_the_cheapest_for_this_call() -> None:
    reader, writer = costing("t/reader", 1, price_out=20), costing("t/writer", 4, price_out=4)
    for facts, expected in (
        (Facts("x", prompt_tokens=100_000), "reader writer"),
        (Facts("x", prompt_tokens=1000), "writer reader"),
        (Facts("x", prompt_tokens=1000, max_tokens=1), "reader writer"),
    ):
        assert in_order(writer, reader, order="cheapest", facts=facts) == expected


@pytest.mark.parametrize(
    ("currency", "expected"),
    [
        ("", "local free-cny yuan1 yuan9 dollar1 dollar2 unknown"),  # two of each: the first that is named
        ("USD", "local free-cny dollar1 dollar2 yuan1 yuan9 unknown"),
        ("CNY", "local free-cny yuan1 yuan9 dollar1 dollar2 unknown"),
        ("EUR", "local free-cny yuan1 yuan9 dollar1 dollar2 unknown"),
    ],
)
def test_costs_are_compared_within_a_currency_and_nothing_is_cheaper_than_nothing(currency: str, expected: str) -> None:
    targets = [
        costing("t/unknown", None),
        costing("t/yuan9", 9, "CNY"),
        costing("t/dollar2", 2),
        costing("t/local", 0),
        costing("t/free-cny", 0, "CNY"),
        costing("t/yuan1", 1, "CNY"),
        costing("t/dollar1", 1),
    ]
    assert in_order(*targets, order="cheapest", currency=currency) == expected


def test_the_most_common_currency_comes_first_and_equal_costs_keep_the_order_given() -> None:
    targets = [costing("t/dollar", 1), costing("t/yuan-b", 5, "CNY"), costing("t/yuan-a", 5, "CNY")]
    assert in_order(*targets, order="cheapest") == "yuan-b yuan-a dollar"


def test_the_fastest_is_first_and_ties_keep_the_order_given() -> None:
    assert in_order(A, B, C, order="fastest", health=KnownHealth(a=900, b=200, c=900)) == "b a c"
    assert in_order(A, B, C, order="fastest", health=KnownHealth()) == "a b c"
    assert in_order(A, B, C, order="fastest") == "a b c"


def test_now_and_then_a_target_of_unknown_speed_is_tried_first() -> None:
    health = KnownHealth(c=100)
    orders = Counter(in_order(A, B, C, order="fastest", health=health, seed=str(n)) for n in range(4000))
    assert set(orders) == {"c a b", "a c b", "b c a"}
    explored = orders["a c b"] + orders["b c a"]
    assert explored / 4000 == pytest.approx(1 / EXPLORE_EVERY, abs=0.02)
    assert orders["a c b"] / explored == pytest.approx(0.5, abs=0.1)


ROUTE = RouteSnapshot("r", ("t/a", "t/b", "t/c"))
POLICY = PolicySnapshot(1, "p", "smart", None, "", None)


def decide(
    order: str = "priority",
    *,
    imposed: str = "",
    memory: SessionMemory | None = None,
    health: KnownHealth | None = None,
    targets: dict[str, dict[str, Any]] | None = None,
    has_own_credential: bool = False,
    **facts: Any,
) -> Decision:
    fields = targets or {"a": {}, "b": {}, "c": {}}
    view = Snapshot(1, {f"t/{name}": target(f"t/{name}", **values) for name, values in fields.items()})
    route = replace(ROUTE, target_names=tuple(view.targets), order=order)
    meaning = Meaning(route, "scene code", "x", scene_name="code", order=imposed)
    return select(
        view,
        POLICY,
        meaning,
        Facts("x", **facts),
        health=health,
        memory=memory,
        has_own_credential=has_own_credential,
        seed="session-1",
    )


def names(decision: Decision) -> str:
    return " ".join(each.model_id for each in decision.candidates)


def left(target_name: str, scene_name: str = "code", policy_name: str = "p") -> SessionMemory:
    return SessionMemory(scene_name, target_name, policy_name, NOW)


SPEEDS = KnownHealth(a=1, b=2, c=3)


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"in_tool_loop": True, "memory": left("t/c")}, "c a b"),
        ({"in_tool_loop": True, "memory": left("t/c", "chat", "other")}, "c a b"),
        ({"memory": left("t/c")}, "a b c"),  # outside a loop the order given counts again
        ({"memory": left("t/c"), "order": "fastest"}, "c a b"),
        ({"memory": left("t/c", "chat"), "order": "fastest"}, "a b c"),
        ({"memory": left("t/c", policy_name="other"), "order": "fastest"}, "a b c"),
        ({"memory": left("t/gone"), "order": "fastest"}, "a b c"),
        ({"memory": left(""), "order": "fastest", "in_tool_loop": True}, "a b c"),
        ({"memory": left("t/c"), "order": "priority", "imposed": "fastest", "in_tool_loop": True}, "a b c"),
    ],
)
def test_a_session_stays_with_its_target(fields: dict[str, Any], expected: str) -> None:
    decision = decide(health=SPEEDS, **fields)
    assert names(decision) == expected
    assert decision.stays_with == ("t/c" if expected == "c a b" else "")
    assert decision.as_record().get("stays_with") == (decision.stays_with or None)


def test_a_session_leaves_a_target_that_cools_down_or_cannot_do_what_is_asked() -> None:
    cold = decide("fastest", memory=left("t/a"), health=KnownHealth({"t/a": {""}}, a=1, b=2, c=3), in_tool_loop=True)
    assert (names(cold), cold.stays_with) == ("b c a", "")
    assert cold.as_record()["cooling"] == [{"target": "t/a", "reason": "t/a is overloaded"}]
    blind = decide(
        memory=left("t/a"),
        targets={"a": {"capabilities": frozenset()}, "b": {}},
        in_tool_loop=True,
        needs=frozenset({"vision"}),
    )
    assert (names(blind), blind.stays_with) == ("b a", "")


def test_the_order_of_a_meaning_overrides_that_of_its_route() -> None:
    targets = {"a": {"price": costing("x/y", 9).price}, "b": {"price": costing("x/y", 1).price}}
    assert names(decide(targets=targets, prompt_tokens=1000)) == "a b"
    decision = decide(targets=targets, imposed="cheapest", prompt_tokens=1000)
    assert names(decision) == "b a"
    assert decision.as_record()["order"] == "cheapest"
    assert "order" not in decide(targets=targets).as_record()


def test_the_order_holds_among_those_that_can_do_what_is_asked() -> None:
    blind = frozenset({"tools"})
    targets = {"a": {"capabilities": blind}, "b": {}, "c": {}, "d": {"capabilities": blind}}
    health = KnownHealth(a=1, b=9, c=5, d=0.5)
    assert names(decide("fastest", targets=targets, health=health)) == "d a c b"
    decision = decide("fastest", targets=targets, health=health, needs=frozenset({"vision"}))
    assert names(decision) == "c b d a"


def test_a_target_cools_down_when_none_of_its_credentials_is_left() -> None:
    keys = (Secret("one", "s"), Secret("two", "s"))
    targets: dict[str, dict[str, Any]] = {"a": {"secrets": keys}, "b": {}}
    assert names(decide(targets=targets, health=KnownHealth({"t/a": {"one"}}))) == "a b"
    assert names(decide(targets=targets, health=KnownHealth({"t/a": {"one", "two"}}))) == "b a"
    everybody = KnownHealth({"t/a": {"one", "two"}, "t/b": {""}})
    assert names(decide(targets=targets, health=everybody)) == "a b"


def test_a_client_with_a_credential_of_its_own_is_not_kept_waiting_for_ours() -> None:
    targets: dict[str, dict[str, Any]] = {
        "a": {"secrets": (Secret("one", "s"),), "forwards_client_credential": True},
        "b": {},
    }
    ours, theirs = KnownHealth({"t/a": {"one"}}), KnownHealth({"t/a": {OWN_CREDENTIAL}})
    assert names(decide(targets=targets, health=ours)) == "b a"
    assert names(decide(targets=targets, health=ours, has_own_credential=True)) == "a b"
    assert names(decide(targets=targets, health=theirs, has_own_credential=True)) == "b a"
    # It helps where it is sent on, and nowhere else.
    targets["a"] |= {"forwards_client_credential": False}
    assert names(decide(targets=targets, health=ours, has_own_credential=True)) == "b a"


def test_weights_belong_to_what_any_model_stands_for() -> None:
    view = Snapshot(1, {each.name: each for each in (target("relay/*"), target("t/b"))})
    route = RouteSnapshot("r", ("relay/*", "t/b"), "weighted", (9, 1))
    first = Counter(
        select(view, None, Meaning(route, "", "claude-x"), Facts("claude-x"), seed=str(n)).candidates[0].name
        for n in range(1000)
    )
    assert set(first) == {"relay/claude-x", "t/b"}
    assert first["t/b"] / 1000 == pytest.approx(0.1, abs=0.04)


def test_costs_are_compared_in_the_currency_of_the_reference_model() -> None:
    targets = [costing("t/yuan", 9, "CNY"), costing("t/yuan-too", 8, "CNY"), costing("t/dollar", 1, price_out=1)]
    view = Snapshot(1, {each.name: each for each in targets})
    route = RouteSnapshot("r", tuple(view.targets), "cheapest")
    for reference, expected in ((targets[2], "t/dollar"), (None, "t/yuan-too")):
        policy = PolicySnapshot(1, "p", "direct", route, "", reference)
        decision = select(view, policy, Meaning(route, "", "x"), FACTS)
        assert decision.candidates[0].name == expected
