"""The numbers of a report, and how amounts in several currencies become one that adds up."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from decimal import ROUND_HALF_EVEN, Decimal, localcontext
from typing import Any

from accounts.money import PLACES

COUNTS = (
    "calls",
    "failed_calls",
    "fallback_calls",
    "unpriced_calls",
    "estimated_calls",
    "input_tokens",
    "output_tokens",
    "cache_read_tokens",
    "cache_write_tokens",
)
# In the currency of the calls; the cost on the reference model is in that of the reference.
AMOUNTS = ("cost", "failed_cost", "fallback_cost", "reference_cost", "compared_cost", "uncached_cost")

_ZERO = Decimal(0)
_QUANTUM = Decimal(1).scaleb(-PLACES)
# Amounts times factors of 30 digits, summed without rounding.
_PRECISION = 80


@dataclass(frozen=True, slots=True)
class Totals:
    """What calls and corrections add up to. All amounts but `costs` are in the currency of the report.

    Amounts in a currency without a rate are missing from them; `missing_rates` says which, `costs` holds them.
    """

    calls: int = 0
    failed_calls: int = 0
    fallback_calls: int = 0
    unpriced_calls: int = 0
    estimated_calls: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    cache_read_tokens: int = 0
    cache_write_tokens: int = 0
    costs: Mapping[str, Decimal] = field(default_factory=dict)
    cost: Decimal | None = _ZERO  # None: nothing of it could be converted
    failed_cost: Decimal = _ZERO
    fallback_cost: Decimal = _ZERO
    reference_cost: Decimal = _ZERO  # of the calls that have one
    compared_cost: Decimal = _ZERO  # what the same calls did cost
    uncached_cost: Decimal = _ZERO
    cache_saved: Decimal = _ZERO  # below zero: writing to caches cost more than reading from them saved
    missing_rates: frozenset[str] = frozenset()
    corrections: int = 0  # how many corrections are in the amounts

    @property
    def saved(self) -> Decimal:
        """What routing saved against the reference model, cache effects apart: both sides have the same tokens."""
        return self.reference_cost - self.compared_cost

    @property
    def tokens(self) -> int:
        """All tokens of the four classes."""
        return self.input_tokens + self.output_tokens + self.cache_read_tokens + self.cache_write_tokens


class Sum:
    """Numbers being added, exactly: nothing is rounded before the end."""

    __slots__ = ("amounts", "corrections", "costs", "counts", "has_converted", "missing")

    def __init__(self) -> None:
        self.counts = [0] * len(COUNTS)
        self.amounts = [_ZERO] * len(AMOUNTS)
        self.costs: dict[str, Decimal] = {}
        self.missing: set[str] = set()
        self.has_converted = False
        self.corrections = 0

    def add_counts(self, counts: Iterable[int]) -> None:
        """Add counts in the order of `COUNTS`."""
        self.counts = [mine + count for mine, count in zip(self.counts, counts, strict=True)]

    def add_amounts(
        self,
        amounts: list[Decimal],
        factor: Decimal | None,
        reference_factor: Decimal | None,
        currencies: tuple[str, str],
    ) -> None:
        """Add amounts in the order of `AMOUNTS`; the factors convert them, None: there is no rate.

        `currencies` are those of the calls and of the reference, "" without an amount.
        """
        currency, reference_currency = currencies
        if not any(amounts):
            return
        cost, failed, fallback, reference, compared, uncached = amounts
        if cost:
            self.costs[currency] = self.costs.get(currency, _ZERO) + cost
        if factor is None:
            self.missing.add(currency)
        elif factor != 1:
            cost, failed, fallback, compared, uncached = (
                amount * factor for amount in (cost, failed, fallback, compared, uncached)
            )
        if (reference or compared) and reference_factor is None:
            self.missing.add(reference_currency)
        if factor is None or reference_factor is None:
            # One side of a comparison alone would look like a saving.
            reference = compared = _ZERO
        elif reference_factor != 1:
            reference = reference * reference_factor
        if factor is None:
            cost = failed = fallback = uncached = _ZERO
        else:
            self.has_converted = True
        values = (cost, failed, fallback, reference, compared, uncached)
        self.amounts = [mine + value for mine, value in zip(self.amounts, values, strict=True)]

    def add(self, other: "Sum") -> None:
        """Add another sum."""
        self.add_counts(other.counts)
        self.amounts = [mine + theirs for mine, theirs in zip(self.amounts, other.amounts, strict=True)]
        for currency, cost in other.costs.items():
            self.costs[currency] = self.costs.get(currency, _ZERO) + cost
        self.missing |= other.missing
        self.has_converted = self.has_converted or other.has_converted
        self.corrections += other.corrections

    def take(self, other: "Sum") -> None:
        """Take off another sum that is part of this one."""
        self.counts = [mine - theirs for mine, theirs in zip(self.counts, other.counts, strict=True)]
        self.amounts = [mine - theirs for mine, theirs in zip(self.amounts, other.amounts, strict=True)]
        for currency, cost in other.costs.items():
            self.costs[currency] = self.costs.get(currency, _ZERO) - cost
        self.corrections -= other.corrections


def exact() -> Any:
    """Return a context in which sums of converted amounts lose no digit."""
    return localcontext(prec=_PRECISION)


def finished(sums: list[Sum]) -> tuple[list[Totals], Totals]:
    """Return the rounded numbers of rows and of all of them. To be called within `exact()`.

    A row is what it adds to the rounded sum of the rows before it. So the rows add up to the total to the last digit,
    and the total is the same by whatever the rows were grouped.
    """
    whole = Sum()
    before = _rounded(whole)
    rows: list[Totals] = []
    for each in sums:
        whole.add(each)
        after = _rounded(whole)
        rows.append(_totals(each, [new - old for new, old in zip(after, before, strict=True)]))
        before = after
    return rows, _totals(whole, before)


def _rounded(each: Sum) -> list[Decimal]:
    return [amount.quantize(_QUANTUM, ROUND_HALF_EVEN) for amount in each.amounts]


def _totals(each: Sum, amounts: list[Decimal]) -> Totals:
    cost, failed, fallback, reference, compared, uncached = amounts
    counts: Any = dict(zip(COUNTS, each.counts, strict=True))
    return Totals(
        **counts,
        costs={currency: cost for currency, cost in sorted(each.costs.items()) if cost},
        cost=None if each.missing and not each.has_converted else cost,
        failed_cost=failed,
        fallback_cost=fallback,
        reference_cost=reference,
        compared_cost=compared,
        uncached_cost=uncached,
        cache_saved=uncached - cost,
        missing_rates=frozenset(each.missing),
        corrections=each.corrections,
    )
