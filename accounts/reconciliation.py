"""What the books say of a provider's month, held against what its invoices say, day by day."""

from collections import defaultdict
from dataclasses import dataclass, field
from datetime import date
from decimal import ROUND_HALF_EVEN, Decimal
from typing import Any

from django.db.models import QuerySet, Sum

from accounts.models import Correction, Invoice, InvoiceLine, UsageDaily
from accounts.rates import Rates
from accounts.reports import Period
from routing.models import RuntimeSettings

_CENT_OF_PERCENT = Decimal("0.01")
_ZERO = Decimal(0)


@dataclass(slots=True)
class Sides:
    """Both sides of a day, a model or all; `invoiced` None: the invoices say nothing of it, `booked` None: we do."""

    calls: int = 0
    usage: Decimal | None = None  # the calls, without corrections
    corrections: Decimal = _ZERO  # by the day that they correct, whenever they were booked
    invoiced: Decimal | None = None
    tokens: int = 0
    invoiced_tokens: int | None = None

    @property
    def booked(self) -> Decimal | None:
        """What the books say in all; None: nothing."""
        return self.usage if self.usage is None and not self.corrections else (self.usage or _ZERO) + self.corrections

    @property
    def difference(self) -> Decimal:
        """How much more the invoices say than the books."""
        return (self.invoiced or _ZERO) - (self.booked or _ZERO)

    @property
    def percent(self) -> Decimal | None:
        """The difference in percent of the invoiced amount, to two places; None of nothing."""
        if not self.invoiced:
            return None
        return (100 * self.difference / self.invoiced).quantize(_CENT_OF_PERCENT, ROUND_HALF_EVEN)

    def add(self, other: "Sides") -> None:
        """Add the amounts of `other`."""
        self.calls += other.calls
        self.tokens += other.tokens
        self.corrections += other.corrections
        if other.usage is not None:
            self.usage = (self.usage or _ZERO) + other.usage
        if other.invoiced is not None:
            self.invoiced = (self.invoiced or _ZERO) + other.invoiced
        if other.invoiced_tokens is not None:
            self.invoiced_tokens = (self.invoiced_tokens or 0) + other.invoiced_tokens


@dataclass(slots=True)
class Day:
    """One day; `models` is empty where the invoices name no models on it."""

    date: date
    sides: Sides
    models: list[tuple[str, Sides]] = field(default_factory=list)


@dataclass(slots=True)
class Reconciliation:
    """A provider's month. All amounts are in `currency`."""

    provider_name: str
    period: Period
    currency: str
    invoices: list[Invoice] = field(default_factory=list)
    days: list[Day] = field(default_factory=list)
    total: Sides = field(default_factory=Sides)
    converted: set[str] = field(default_factory=set)  # currencies that amounts were converted from
    missing_rates: set[str] = field(default_factory=set)  # currencies of amounts that are left out for want of a rate
    unpriced_calls: int = 0

    @property
    def only_booked(self) -> list[date]:
        """The days that no invoice speaks of, though the books have amounts."""
        return [day.date for day in self.days if day.sides.invoiced is None and day.sides.booked]

    @property
    def only_invoiced(self) -> list[date]:
        """The days that the books know nothing of, though an invoice has amounts."""
        return [day.date for day in self.days if day.sides.booked is None and day.sides.invoiced]


def reconcile(provider_name: str, period: Period) -> Reconciliation:
    """Return both sides of `period`, by a fixed number of queries.

    The currency is the one that all invoices have, without invoices that of the books, else that of the reports;
    amounts in others are converted at the rate of their day.
    """
    invoices = Invoice.objects.filter(provider_name=provider_name, is_withdrawn=False)
    lines = list(
        InvoiceLine.objects.filter(invoice__in=invoices, date__range=(period.start, period.end))
        .order_by()
        .values("invoice_id", "invoice__currency", "date", "model_name")
        .annotate(sum=Sum("amount"), sum_tokens=Sum("tokens"))
    )
    usage = list(_usage(provider_name, period))
    currencies = {line["invoice__currency"] for line in lines} or {row["currency"] for row in usage} - {""}
    currency = currencies.pop() if len(currencies) == 1 else RuntimeSettings.load().report_currency
    result = Reconciliation(provider_name, period, currency)
    result.invoices = sorted(
        invoices.filter(pk__in={line["invoice_id"] for line in lines}).select_related("uploaded_by"),
        key=lambda invoice: invoice.pk,
    )
    convert = _Converter(result, Rates.load())
    cells: dict[tuple[date, str], Sides] = defaultdict(Sides)
    for line in lines:
        amount = convert(line["sum"], line["invoice__currency"], line["date"])
        invoiced_tokens = line["sum_tokens"]
        cells[line["date"], line["model_name"]].add(Sides(invoiced=amount, invoiced_tokens=invoiced_tokens))
    named = {line["date"] for line in lines if line["model_name"]}
    _add_books(cells, usage, convert, result)
    for day in sorted({day for day, _model in cells}):
        models = sorted((model, sides) for (at, model), sides in cells.items() if at == day)
        whole = Day(day, Sides(), models if day in named else [])
        for _name, sides in models:
            whole.sides.add(sides)
        result.total.add(whole.sides)
        result.days.append(whole)
    return result


class _Converter:
    """Amounts in the currency of a reconciliation, which learns what was converted and what could not be."""

    def __init__(self, result: Reconciliation, rates: Rates) -> None:
        self._result, self._rates = result, rates

    def __call__(self, amount: Decimal, currency: str, on: date) -> Decimal | None:
        if currency in ("", self._result.currency) or not amount:
            return amount
        converted = self._rates.convert(amount, currency, on, self._result.currency)
        (self._result.missing_rates if converted is None else self._result.converted).add(currency)
        return converted


_TOKENS = ("input_tokens", "output_tokens", "cache_read_tokens", "cache_write_tokens")


def _usage(provider_name: str, period: Period) -> "QuerySet[Any]":
    sums = {f"sum_{name}": Sum(name) for name in ("calls", "cost", "unpriced_calls", *_TOKENS)}
    rows = UsageDaily.objects.filter(provider_name=provider_name, date__range=(period.start, period.end))
    found: QuerySet[Any] = rows.order_by().values("date", "model_name", "currency").annotate(**sums)
    return found


def _add_books(
    cells: dict[tuple[date, str], Sides], usage: list[dict[str, Any]], convert: _Converter, result: Reconciliation
) -> None:
    corrections: QuerySet[Any] = Correction.objects.filter(provider_name=result.provider_name)
    # The sums of a day hold what was booked on it; a correction belongs to the day that it corrects.
    taken = _corrections(corrections, "booked_on", result.period)
    for row in usage:
        result.unpriced_calls += row["sum_unpriced_calls"]
        cost = row["sum_cost"] - taken.pop((row["date"], row["model_name"], row["currency"]), _ZERO)
        if not cost and not row["sum_calls"]:
            continue
        amount = convert(cost, row["currency"], row["date"])
        count = sum(row[f"sum_{name}"] for name in _TOKENS)
        cells[row["date"], row["model_name"]].add(Sides(calls=row["sum_calls"], usage=amount, tokens=count))
    for (day, model, currency), cost in _corrections(corrections, "corrects_on", result.period).items():
        amount = convert(cost, currency, day)
        cells[day, model].add(Sides(corrections=amount or _ZERO))


def _corrections(rows: "QuerySet[Any]", day: str, period: Period) -> dict[tuple[date, str, str], Decimal]:
    found = rows.filter(**{f"{day}__range": (period.start, period.end)}).order_by()
    return {
        (row[day], row["model_name"], row["currency"]): row["sum"]
        for row in found.values(day, "model_name", "currency").annotate(sum=Sum("cost"))
    }
