"""What a call will cost on a target, before it is asked: good enough to compare targets by, never booked."""

from datetime import UTC, datetime
from decimal import Decimal

from providers import calibration
from providers.pricing import cost_of
from providers.target import Target
from providers.translation.usage import Usage
from routing.intent.facts import Facts

# Clients ask for far more output than they use (Claude Code: 128,000 tokens). No estimate assumes more than this.
EXPECTED_OUTPUT_TOKENS = 2000
# A page of a PDF is counted as text and picture. Where only its text is sent, half of that is left.
_TEXT_SHARE = 2
_SMALLEST = Decimal("0.000001")

Cost = tuple[Decimal, str]  # with its currency


def prompt_tokens(target: Target, facts: Facts) -> int:
    """Return the estimate of the prompt as `target` gets it, in tokens of the estimator."""
    if not facts.pdf_tokens or target.takes_documents:
        return facts.prompt_tokens
    return facts.prompt_tokens - facts.pdf_tokens // _TEXT_SHARE


def output_tokens(facts: Facts) -> int:
    """Return the length of the answer to count with."""
    return min(facts.max_tokens or EXPECTED_OUTPUT_TOKENS, EXPECTED_OUTPUT_TOKENS)


def cost_of_call(target: Target, facts: Facts) -> Cost | None:
    """Return the expected cost of the call on `target`, nothing of its prompt cached; None when it has no price."""
    expected = output_tokens(facts)
    usage = Usage(
        input_tokens=round(prompt_tokens(target, facts) * calibration.ratio(target)),
        output_tokens=min(expected, target.max_output_tokens or expected),
    )
    # The clock is only read for prices that depend on it.
    price = target.price_at(datetime.now(UTC)) if target.dated_prices else target.price
    cost, currency, _source = cost_of(usage, price)
    return None if cost is None else (cost, currency)


def saving(cost: Cost | None, reference: Cost | None) -> Cost | None:
    """Return how much less `cost` is than `reference`; None when they cannot be compared."""
    if cost is None or reference is None or cost[1] != reference[1]:
        return None
    return reference[0] - cost[0], cost[1]


def written(cost: Cost) -> str:
    """Return a cost as records keep it, such as `0.0123 USD`."""
    amount = cost[0].quantize(_SMALLEST).normalize()
    return f"{amount:f} {cost[1]}"
