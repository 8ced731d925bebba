"""What a call is expected to cost, and what that saves."""

from decimal import Decimal
from typing import Any

import pytest

from providers.target import PriceList, Tier
from providers.translation.dialect import Dialect
from routing.estimate import EXPECTED_OUTPUT_TOKENS, Cost, cost_of_call, saving, written
from routing.intent.facts import Facts
from routing.meaning import Meaning
from routing.select import MAX_ESTIMATES, Decision, select
from routing.snapshot import PolicySnapshot, RouteSnapshot, Snapshot
from tests.accounts.books import target

# 3 USD per million tokens of input, 15 of output.
BIG = target("t/big")
ZERO = Decimal(0)
FREE = PriceList("USD", ZERO, ZERO, ZERO, ZERO, "free")


@pytest.mark.parametrize(
    ("fields", "facts", "expected"),
    [
        ({}, {"prompt_tokens": 100_000, "max_tokens": 128_000}, "0.33"),
        ({}, {"prompt_tokens": 100_000}, "0.33"),
        ({}, {"prompt_tokens": 100_000, "max_tokens": 1000}, "0.315"),
        ({"max_output_tokens": 1000}, {"prompt_tokens": 100_000, "max_tokens": 128_000}, "0.315"),
        ({"token_ratio": 1.5}, {"prompt_tokens": 100_000, "max_tokens": 1000}, "0.465"),
        ({}, {"prompt_tokens": 100_000, "pdf_tokens": 50_000, "max_tokens": 1000}, "0.24"),
        ({"dialect": Dialect(pdf=True)}, {"prompt_tokens": 100_000, "pdf_tokens": 50_000, "max_tokens": 1000}, "0.315"),
        ({"price": FREE}, {"prompt_tokens": 100_000}, "0"),
        ({"price": None}, {"prompt_tokens": 100_000}, None),
    ],
)
def test_a_call_costs_its_prompt_and_an_answer_of_the_usual_length(
    fields: dict[str, Any], facts: dict[str, Any], expected: str | None
) -> None:
    cost = cost_of_call(target("t/big", **fields), Facts("x", **facts))
    assert cost == (None if expected is None else (Decimal(expected), "USD"))


def test_a_long_prompt_costs_what_its_tier_says() -> None:
    price = PriceList("CNY", *[Decimal(1)] * 4, "bundled", (Tier(1000, *[Decimal(10)] * 4),))
    for prompt_tokens, expected in ((1000, "0.001001"), (1001, "0.01002")):
        facts = Facts("x", prompt_tokens=prompt_tokens, max_tokens=1)
        assert cost_of_call(target(price=price), facts) == (Decimal(expected), "CNY")


@pytest.mark.parametrize(
    ("cost", "reference", "expected"),
    [
        ((Decimal(1), "USD"), (Decimal(3), "USD"), (Decimal(2), "USD")),
        ((Decimal(3), "USD"), (Decimal(1), "USD"), (Decimal(-2), "USD")),
        ((Decimal(1), "CNY"), (Decimal(3), "USD"), None),
        (None, (Decimal(3), "USD"), None),
        ((Decimal(1), "USD"), None, None),
    ],
)
def test_only_costs_in_one_currency_make_a_saving(
    cost: Cost | None, reference: Cost | None, expected: Cost | None
) -> None:
    assert saving(cost, reference) == expected


@pytest.mark.parametrize(
    ("amount", "text"),
    [("0.01230000", "0.0123 USD"), ("0", "0 USD"), ("1000", "1000 USD"), ("0.0000004", "0 USD"), ("-0.5", "-0.5 USD")],
)
def test_a_record_keeps_a_cost_short(amount: str, text: str) -> None:
    assert written((Decimal(amount), "USD")) == text


def decide(names: list[str], **prices: PriceList | None) -> Decision:
    targets = {f"t/{name}": target(f"t/{name}", price=prices.get(name, BIG.price)) for name in names}
    policy = PolicySnapshot(1, "p", "direct", None, "", BIG)
    meaning = Meaning(RouteSnapshot("r", tuple(targets)), "", "x")
    facts = Facts("x", prompt_tokens=100_000, max_tokens=EXPECTED_OUTPUT_TOKENS)
    return select(Snapshot(1, targets), policy, meaning, facts)


def test_a_record_says_what_the_first_candidates_would_cost_and_what_the_first_saves() -> None:
    record = decide(["local", "unpriced", "big"], local=FREE, unpriced=None).as_record()
    assert record["estimates"] == {"t/local": "0 USD", "t/big": "0.33 USD"}
    assert record["saving"] == "0.33 USD"
    assert "saving" not in decide(["unpriced"], unpriced=None).as_record()
    assert len(decide([f"m{n}" for n in range(20)]).as_record()["estimates"]) == MAX_ESTIMATES


def test_what_the_user_said_is_in_no_form_of_a_decision_that_a_log_might_show() -> None:
    decision = Decision("", "", "", [BIG], facts=Facts("x", text="our secret plan"))
    assert "secret plan" not in f"{decision!r} {decision.as_record()}"


def test_a_decision_without_facts_estimates_nothing() -> None:
    record = Decision("", "", "safety model", [BIG]).as_record()
    assert record == {"reason": "safety model", "candidates": ["t/big"]}
