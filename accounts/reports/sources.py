"""The three tables that numbers come from: the sums of the days, the calls themselves, and the corrections."""

from dataclasses import dataclass, field
from datetime import UTC, datetime, time, timedelta
from decimal import Decimal
from typing import Any

from django.db.models import BigIntegerField, Case, Count, F, Model, Q, QuerySet, Sum, Value, When
from django.db.models.functions import Coalesce
from django.db.models.functions.datetime import TruncBase

from accounts.models import CallRecord, Correction, UsageDaily
from accounts.money import MoneyField
from accounts.reports.dimensions import CURRENCY, DIMENSIONS
from accounts.reports.period import Period
from accounts.reports.totals import AMOUNTS, COUNTS

FAILED = Q(status__in=(CallRecord.Status.FAILED, CallRecord.Status.LOST))
FALLBACK = Q(fallbacks__gt=0)
UNPRICED = Q(cost__isnull=True) & (
    Q(input_tokens__gt=0) | Q(output_tokens__gt=0) | Q(cache_read_tokens__gt=0) | Q(cache_write_tokens__gt=0)
)
ESTIMATED = Q(usage_is_estimated=True)
# A call was compared with the reference model if both costs are known; it is summed under that currency only then.
_COMPARED = Q(cost__isnull=False, reference_cost__isnull=False)
_TOKENS = tuple(name for name in COUNTS if name.endswith("_tokens"))


class _OfDay(TruncBase):
    """The month or week of a day. On PostgreSQL Django takes the day for a moment of a time zone, which is slower."""

    def as_postgresql(self, compiler: Any, connection: Any) -> tuple[str, Any]:
        sql, parameters = compiler.compile(self.lhs)
        return f"DATE_TRUNC('{self.kind}', {sql}::timestamp)", parameters


class _Month(_OfDay):
    kind = "month"


class _Week(_OfDay):
    kind = "week"


def _money(of: Any, only: Q | None = None) -> Coalesce:
    return Coalesce(Sum(of, filter=only), 0, output_field=MoneyField())


@dataclass(frozen=True, slots=True)
class Source:
    """A table of numbers: which column is the day, what each number is the sum of, where its columns are named else."""

    model: type[Model]
    day: str
    reference_currency: Any
    sums: dict[str, Any]
    paths: dict[str, str] = field(default_factory=dict)

    def path(self, name: str) -> str:
        """Return the column of the dimension `name`, which is no time."""
        return self.paths.get(name, CURRENCY if name == CURRENCY else DIMENSIONS[name].path)

    def expression(self, name: str) -> Any:
        """Return what rows are grouped by for the dimension `name`; texts are never NULL."""
        if name == "day":
            return F(self.day)
        if name == "week":
            return _Week(self.day)
        if name == "month":
            return _Month(self.day)
        path = self.path(name)
        return Coalesce(path, Value("")) if "__" in path else F(path)

    def condition(self, name: str, value: Any) -> Q:
        """Return the condition for rows whose `name` is `value`, or one of a list of values. None: without."""
        values = list(value) if isinstance(value, list | tuple | set | frozenset) else [value]
        path = self.path(name)
        condition = Q(**{f"{path}__in": [one for one in values if one is not None]})
        if None in values or ("" in values and "__" in path):
            # Behind an outer join, what is not there has no text.
            condition |= Q(**{f"{path}__isnull": True})
        return condition

    def within(self, period: Period) -> QuerySet[Any]:
        """Return the rows of the days of `period`."""
        return self.model._default_manager.filter(self.in_period(period))

    def in_period(self, period: Period) -> Q:
        """Return the condition for rows of the days of `period`.

        Of calls also when they began, with a day to spare for whatever time zone they were booked in: `booked_on` has
        no index, `started_at` has.
        """
        days = Q(**{f"{self.day}__gte": period.start, f"{self.day}__lte": period.end})
        if self.model is not CallRecord:
            return days
        start, end = (datetime.combine(day, time.min, UTC) for day in (period.start, period.end))
        return days & Q(started_at__gte=start - timedelta(days=1), started_at__lt=end + timedelta(days=2))


USAGE = Source(UsageDaily, "date", F("reference_currency"), {name: Sum(name) for name in (*COUNTS, *AMOUNTS)})
CALLS = Source(
    CallRecord,
    "booked_on",
    Case(When(_COMPARED, then="reference_currency"), default=Value("")),
    {
        "calls": Count("pk"),
        "failed_calls": Count("pk", filter=FAILED),
        "fallback_calls": Count("pk", filter=FALLBACK),
        "unpriced_calls": Count("pk", filter=UNPRICED),
        "estimated_calls": Count("pk", filter=ESTIMATED),
        **{name: Sum(name) for name in _TOKENS},
        "cost": _money("cost"),
        "failed_cost": _money("cost", FAILED),
        "fallback_cost": _money("cost", FALLBACK),
        "reference_cost": _money("reference_cost", _COMPARED),
        "compared_cost": _money("cost", _COMPARED),
        "uncached_cost": _money(Coalesce("uncached_cost", "cost")),
    },
)
# A correction adds tokens and cost, and moves no saving: what it adds would have been there without a cache, too.
CORRECTIONS = Source(
    Correction,
    "booked_on",
    Value(""),
    {
        **{name: Value(0, output_field=BigIntegerField()) for name in COUNTS},
        **{name: Sum(name) for name in _TOKENS},
        **{name: Value(Decimal(0), output_field=MoneyField()) for name in AMOUNTS},
        "cost": _money("cost"),
        "uncached_cost": _money("cost"),
    },
    {"session": "call__session_id", "subagent": "call__agent_id"},
)
