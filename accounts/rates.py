"""Converting money between currencies, by the rates that an administrator set. Decimal throughout.

A rate holds from its day on until the next one of the same pair. Asked for on a day before the first, or for a
currency that no rate names, there is no answer: None, never a guess.
"""

import bisect
from collections import defaultdict
from collections.abc import Iterable
from datetime import date, timedelta
from decimal import ROUND_HALF_EVEN, Decimal, localcontext

from accounts.models import ClosedMonth, ExchangeRate
from accounts.money import PLACES

_QUANTUM = Decimal(1).scaleb(-PLACES)
# More than any amount of the books times any rate has digits.
_PRECISION = 60
_FACTOR_PRECISION = 30

_Pair = tuple[str, str]


class Rates:
    """All rates, read once: for a report that converts many amounts."""

    def __init__(self, rows: Iterable[ExchangeRate]) -> None:
        by_pair: dict[_Pair, list[tuple[date, Decimal]]] = defaultdict(list)
        for row in rows:
            by_pair[row.from_currency, row.to_currency].append((row.valid_from, row.rate))
        self._by_pair = {pair: sorted(dated) for pair, dated in by_pair.items()}
        self._currencies = sorted({currency for pair in self._by_pair for currency in pair})

    @classmethod
    def load(cls) -> "Rates":
        """Read the rates. One query."""
        return cls(ExchangeRate.objects.all())

    def convert(self, amount: Decimal, currency: str, on: date, to: str) -> Decimal | None:
        """Return `amount` in the currency `to` at the rate of the day `on`, to ten places; None: there is no rate.

        A rate between the two counts first, in its own direction, then turned round; else those through one common
        currency, of which the one whose older rate is the newest is taken.
        """
        if currency == to:
            return amount
        with localcontext() as context:
            context.prec = _PRECISION
            converted = self._along(amount, currency, on, to)
            return None if converted is None else converted.quantize(_QUANTUM, ROUND_HALF_EVEN)

    def factor(self, currency: str, on: date, to: str) -> Decimal | None:
        """Return what one unit of `currency` is worth in `to` on the day `on`, to 30 digits; None: there is no rate.

        For sums of many amounts: each times the same factor, and rounded at the end, they add up.
        """
        if currency == to:
            return Decimal(1)
        with localcontext() as context:
            context.prec = _FACTOR_PRECISION
            return self._along(Decimal(1), currency, on, to)

    def currencies(self) -> set[str]:
        """Return the currencies that a rate names."""
        return set(self._currencies)

    def changes(self, after: date, until: date) -> list[date]:
        """Return the days after `after`, up to and with `until`, from which on a rate is another one."""
        return sorted({since for dated in self._by_pair.values() for since, _rate in dated if after < since <= until})

    def differ(self, other: "Rates", since: date, until: date) -> date | None:
        """Return the first day from `since` to `until` on which an amount that these convert is another by `other`.

        None: there is none. Amounts that these cannot convert may well be converted by `other`.
        """
        pairs = [(one, to) for one in self._currencies for to in self._currencies if one != to]
        for day in (since, *other.changes(since, until)):
            for one, to in pairs:
                worth = self.factor(one, day, to)
                if worth is not None and worth != other.factor(one, day, to):
                    return day
        return None

    def _along(self, amount: Decimal, currency: str, on: date, to: str) -> Decimal | None:
        steps = self._steps(currency, to, on)
        if steps is None:
            return None
        for rate, is_turned in steps:
            # Dividing by a turned rate, not multiplying with its rounded inverse.
            amount = amount / rate if is_turned else amount * rate
        return amount

    def _steps(self, currency: str, to: str, on: date) -> list[tuple[Decimal, bool]] | None:
        direct = self._step(currency, to, on)
        if direct is not None:
            return [direct[1:]]
        found: list[tuple[date, list[tuple[Decimal, bool]]]] = []
        for common in self._currencies:
            first, second = self._step(currency, common, on), self._step(common, to, on)
            if first is not None and second is not None:
                found.append((min(first[0], second[0]), [first[1:], second[1:]]))
        # Of several equally good ones the first by name: `max` keeps it.
        return max(found, key=lambda pair: pair[0])[1] if found else None

    def _step(self, currency: str, to: str, on: date) -> tuple[date, Decimal, bool] | None:
        """Return since when which rate holds between two currencies, and whether it is turned round."""
        for pair, is_turned in (((currency, to), False), ((to, currency), True)):
            dated = self._by_pair.get(pair, [])
            position = bisect.bisect_right(dated, on, key=lambda entry: entry[0])
            if position:
                since, rate = dated[position - 1]
                return since, rate, is_turned
        return None


def convert(amount: Decimal, currency: str, on: date, to: str) -> Decimal | None:
    """Return one amount in another currency, as `Rates.convert` does."""
    return amount if currency == to else Rates.load().convert(amount, currency, on, to)


def moved_closed_day(row: ExchangeRate) -> date | None:
    """Return the first day of a closed month whose converted amounts would be others with `row`; None: there is none.

    A rate may still be added for what no rate converted: then reports of the month become complete.
    """
    last = ClosedMonth.objects.order_by("-month").values_list("month", flat=True).first()
    if last is None:
        return None
    end = (last + timedelta(days=31)).replace(day=1) - timedelta(days=1)
    if row.valid_from > end:
        return None
    known = list(ExchangeRate.objects.exclude(pk=row.pk))
    return Rates(known).differ(Rates([*known, row]), row.valid_from, end)
