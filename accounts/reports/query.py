"""Reports: a question, and the numbers that answer it. Everything is summed in SQL.

The sums of the days answer, except about sessions and subagents, which only the calls know.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import date
from decimal import Decimal
from typing import Any

from django.db import connection, transaction
from django.db.models import Case, Count, DateField, F, FloatField, QuerySet, Value, When
from django.db.models import Sum as SumOf
from django.db.models.functions import Cast
from django.utils.translation import gettext

from accounts.models import Team, User
from accounts.rates import Rates
from accounts.reports.dimensions import DIMENSIONS, FILTERS, labels_of, teams_below, top_teams
from accounts.reports.period import BadQuery, Period
from accounts.reports.sources import CALLS, CORRECTIONS, USAGE, Source
from accounts.reports.totals import AMOUNTS, COUNTS, Sum, Totals, exact, finished
from accounts.roles import visible
from routing.models import RuntimeSettings

# More than a person reads or a spreadsheet of a month needs; what it guards is the memory of the process.
MAX_ROWS = 100_000
# More rate changes than this in a period, and grouping by day is cheaper than telling the segments apart.
_MAX_SEGMENTS = 40
# For one report. With its default of 4 MB PostgreSQL sorts a year of days on disk, in twice the time: it expects ten
# times the groups there are. Its processes are started for less work than it would: it takes a month of calls for a
# tenth of what it is, because it does not know that `booked_on` and `started_at` say the same. And compiling what is
# summed takes longer than it saves.
_SETTINGS = {"work_mem": "160MB", "parallel_setup_cost": "0", "parallel_tuple_cost": "0.01", "jit": "off"}


@dataclass(frozen=True, slots=True)
class Query:
    """A question: which days, by what, only of whom or what, asked by whom.

    `filters` maps a dimension that is no time, or "currency", to a value or a list of values; None is a row without a
    team, "" without a name. `viewer` sees what `accounts.roles.visible` lets him see; None is the gateway itself.
    `roll_up` counts a team's usage for the highest team above it, and lets a filter by a team find those under it.
    `sums` are the numbers that somebody looks at; the others of the answer are zero. `largest`: of sessions and
    subagents, of which a month has tens of thousands, only so many rows, those that cost most.
    """

    period: Period
    by: tuple[str, ...] = ()
    filters: Mapping[str, Any] = field(default_factory=dict)
    viewer: User | None = None
    roll_up: bool = False
    sums: frozenset[str] = frozenset((*COUNTS, *AMOUNTS))
    largest: int | None = None

    def __post_init__(self) -> None:
        for name in self.by:
            if name not in DIMENSIONS:
                raise BadQuery(gettext("“%(name)s” is nothing that reports are made by.") % {"name": name})
        if len(set(self.by)) != len(self.by):
            raise BadQuery(gettext("Group by different things."))
        for name in self.filters:
            if name not in FILTERS:
                raise BadQuery(gettext("“%(name)s” is nothing that reports are filtered by.") % {"name": name})

    @property
    def summed(self) -> list[str]:
        """Return the numbers to sum, in order. Whether there are calls and what has no rate, every answer says."""
        return [name for name in (*COUNTS, *AMOUNTS) if name in self.sums or name in ("calls", "cost")]

    @property
    def has_reference(self) -> bool:
        """Return whether the currencies of the reference matter."""
        return not self.sums.isdisjoint(("reference_cost", "compared_cost"))

    @property
    def needs_calls(self) -> bool:
        """Return whether only the calls can answer."""
        return any(name in DIMENSIONS and DIMENSIONS[name].is_of_call for name in (*self.by, *self.filters))


@dataclass(frozen=True, slots=True)
class Row:
    """One line: the values it stands for (`ids`: primary keys, names or dates), as text, and its numbers."""

    labels: tuple[str, ...]
    ids: tuple[Any, ...]
    totals: Totals


@dataclass(frozen=True, slots=True)
class Report:
    """The answer to a query. The rows add up to the total, with the `rest` if the query was for the largest only."""

    query: Query
    currency: str
    rows: list[Row]
    total: Totals
    rest: Totals | None = None

    @property
    def missing_rates(self) -> set[str]:
        """The currencies without a rate: amounts in them are in no converted total."""
        return set(self.total.missing_rates)


@dataclass(frozen=True, slots=True)
class Conversion:
    """The currency of reports and the rates into it: read once for several reports of one page."""

    currency: str
    rates: Rates

    @classmethod
    def load(cls) -> "Conversion":
        """Read them. Two queries."""
        return cls(RuntimeSettings.load().report_currency, Rates.load())


def run(query: Query, conversion: Conversion | None = None) -> Report:
    """Answer `query`, by a fixed number of queries to the database; rows in the order of what they are grouped by.

    Raises `BadQuery` if the answer has more than `MAX_ROWS` rows.
    """
    conversion = conversion or Conversion.load()
    with exact(), _memory():
        rest: list[Sum] = []
        if query.largest is not None and query.needs_calls and query.by:
            sums, rest = _largest_sums(query, conversion, query.largest)
        else:
            sums = _sums(query, conversion)
        numbers, total = finished([*sums.values(), *rest])
    labels = [labels_of(name, {ids[position] for ids in sums}) for position, name in enumerate(query.by)]
    rows = [
        Row(tuple(labels[position][one] for position, one in enumerate(ids)), ids, totals)
        for ids, totals in zip(sums, numbers[: len(sums)], strict=True)
    ]
    return Report(query, conversion.currency, rows, total, numbers[-1] if rest else None)


@contextmanager
def _memory() -> Iterator[None]:
    """Let PostgreSQL group in memory, and share the work among its processes."""
    if connection.vendor != "postgresql":
        yield
        return
    with transaction.atomic():
        with connection.cursor() as cursor:
            cursor.execute("; ".join(f"SET LOCAL {name} = '{value}'" for name, value in _SETTINGS.items()))
        yield


def _largest_sums(query: Query, conversion: Conversion, count: int) -> tuple[dict[tuple[Any, ...], Sum], list[Sum]]:
    """Return the sums of the `count` rows that cost most, and that of the others, if there are any.

    The database ranks all, by what the calls did cost at the rates of the last day, and only the first are summed with
    all their numbers. What all add up to, the sums of the days know, unless a filter asks for what only calls have.
    """
    by = _by(CALLS, query)
    cost = Cast("cost", FloatField())
    currencies = conversion.rates.currencies() | {conversion.currency}
    factors = {each: conversion.rates.factor(each, query.period.end, conversion.currency) for each in currencies}
    worth = [
        When(currency=each, then=cost * Value(float(factor))) for each, factor in sorted(factors.items()) if factor
    ]
    rows: Any = rows_of(CALLS, query).annotate(**by).values(*by)
    rows = rows.annotate(worth=SumOf(Case(*worth, default=Value(0.0), output_field=FloatField())), calls=Count("pk"))
    ranked = list(rows.order_by("-worth", "-calls", *by).values_list(*by)[: count + 1])
    if len(ranked) <= count:
        return _sums(query, conversion), []
    wanted = set(ranked[:count])
    found = _sums(query, conversion, wanted)
    rest = Sum()
    for each in _sums(replace(query, by=(), largest=None), conversion).values():
        rest.add(each)
    for each in found.values():
        rest.take(each)
    return found, [rest]


def _sums(
    query: Query, conversion: Conversion, wanted: Collection[tuple[Any, ...]] | None = None
) -> dict[tuple[Any, ...], Sum]:
    """Return the sums by the ids of their rows; `wanted`: only of these."""
    rates, currency = conversion.rates, conversion.currency
    factors: dict[tuple[str, date], Decimal | None] = {}

    def factor(of: str, on: date) -> Decimal | None:
        if (of, on) not in factors:
            factors[of, on] = rates.factor(of, on, currency) if of else Decimal(1)
        return factors[of, on]

    tops = _tops(query)
    sums: dict[tuple[Any, ...], Sum] = {}

    def running(ids: tuple[Any, ...]) -> Sum:
        if tops is not None:
            position, top = tops
            ids = (*ids[:position], top.get(ids[position], ids[position]), *ids[position + 1 :])
        if ids not in sums:
            if len(sums) >= MAX_ROWS:
                text = gettext(
                    "The answer has more than %(count)s rows. Choose a shorter period, or group by something coarser."
                )
                raise BadQuery(text % {"count": f"{MAX_ROWS:,}"})
            sums[ids] = Sum()
        return sums[ids]

    segments = [query.period.start, *rates.changes(query.period.start, query.period.end)]
    width = len(query.by)
    for source in [CALLS, CORRECTIONS] if query.needs_calls else [USAGE]:
        for row in _grouped(source, query, segments, currency, wanted):
            ids, (segment, of_calls, of_reference) = row[:width], row[width : width + 3]
            if wanted is not None and ids not in wanted:
                continue
            rest = row[width + 3 :]
            sum_ = running(ids)
            sum_.add_counts(rest[: len(COUNTS)])
            sum_.add_amounts(
                list(rest[len(COUNTS) :]),
                factor(of_calls, segment),
                factor(of_reference, segment),
                (of_calls, of_reference),
            )
    for row in _corrections(query):
        if wanted is None or row[:width] in wanted:
            running(row[:width]).corrections += row[width]
    return sums


def _tops(query: Query) -> tuple[int, dict[int, int]] | None:
    if not query.roll_up or "team" not in query.by:
        return None
    teams: QuerySet[Team] = Team.objects.all()
    seen = visible(teams, query.viewer) if query.viewer is not None else teams
    return query.by.index("team"), top_teams(set(seen.values_list("pk", flat=True)))


def rows_of(source: Source, query: Query) -> QuerySet[Any]:
    """Return the rows of `source` that the numbers of `query` are the sums of."""
    rows = source.within(query.period)
    for name, value in query.filters.items():
        chosen = value
        if query.roll_up and name == "team":
            chosen = teams_below(set(value) if isinstance(value, list | tuple | set | frozenset) else {value})
        rows = rows.filter(source.condition(name, chosen))
    return rows if query.viewer is None else visible(rows, query.viewer)


def _by(source: Source, query: Query) -> dict[str, Any]:
    return {f"by_{position}": source.expression(name) for position, name in enumerate(query.by)}


def _grouped(
    source: Source,
    query: Query,
    segments: Sequence[date],
    currency: str,
    wanted: Collection[tuple[Any, ...]] | None = None,
) -> Iterator[tuple[Any, ...]]:
    """Yield of each group: ids, first day of the segment, the two currencies, counts, amounts.

    Of `wanted` rows the sessions and subagents are asked for, so there are more groups than rows wanted.
    """
    by = _by(source, query)
    # What needs no rate needs no segments either, which are many groups in a year.
    groups = {
        **by,
        "segment": _segment(source, segments, () if query.has_reference else ("", currency)),
        "of_calls": F("currency"),
        "of_reference": source.reference_currency if query.has_reference else Value(""),
    }
    summed = query.summed
    sums = {f"sum_{name}": source.sums[name] for name in summed}
    rows = rows_of(source, query)
    for position, name in enumerate(query.by):
        if wanted is not None and DIMENSIONS[name].is_of_call:
            rows = rows.filter(source.condition(name, {ids[position] for ids in wanted}))
    rows = rows.annotate(**groups).values(*groups).order_by(*by)
    # Fetched at once: through a cursor, PostgreSQL would not share the work among processes. Bounded all the same: a
    # row of the answer has few segments and currencies.
    found = rows.annotate(**sums).values_list(*groups, *sums)[: MAX_ROWS * 4]
    width = len(groups)
    at = [width + summed.index(name) if name in summed else -1 for name in (*COUNTS, *AMOUNTS)]
    for row in found:
        yield (*row[:width], *[row[position] if position > 0 else 0 for position in at])


def _segment(source: Source, segments: Sequence[date], unconverted: Sequence[str]) -> Any:
    """Return the first day of the stretch between two rate changes that a row is in: one rate holds all through it.

    Rows in the currencies `unconverted` are all in the first.
    """
    if len(segments) > _MAX_SEGMENTS:
        return F(source.day)
    first, *changes = segments
    if not changes:
        return Value(first, output_field=DateField())
    alike = [When(currency__in=unconverted, then=Value(first))] if unconverted else []
    cases = [When(**{f"{source.day}__gte": day}, then=Value(day)) for day in reversed(changes)]
    return Case(*alike, *cases, default=Value(first), output_field=DateField())


def _corrections(query: Query) -> Iterator[tuple[Any, ...]]:
    """Yield of each group that has any: ids and how many corrections are in its numbers."""
    by = _by(CORRECTIONS, query)
    rows = rows_of(CORRECTIONS, query).annotate(**by).values(*by).order_by(*by)
    yield from rows.annotate(count=Count("pk")).values_list(*by, "count")
