"""Reports: a question, and the numbers that answer it. Everything is summed in SQL.

The sums of the days answer, except about sessions and subagents, which only the calls know.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal
from typing import Any

from django.db import connection, transaction
from django.db.models import Case, Count, DateField, F, QuerySet, Value, When
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
_WORK_MEMORY = "64MB"


@dataclass(frozen=True, slots=True)
class Query:
    """A question: which days, by what, only of whom or what, asked by whom.

    `filters` maps a dimension that is no time, or "currency", to a value or a list of values; None is a row without a
    team, "" without a name. `viewer` sees what `accounts.roles.visible` lets him see; None is the gateway itself.
    `roll_up` counts a team's usage for the highest team above it, and lets a filter by a team find those under it.
    """

    period: Period
    by: tuple[str, ...] = ()
    filters: Mapping[str, Any] = field(default_factory=dict)
    viewer: User | None = None
    roll_up: bool = False

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
    """The answer to a query. The rows add up to the total."""

    query: Query
    currency: str
    rows: list[Row]
    total: Totals

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
        sums = _sums(query, conversion.rates, conversion.currency)
        numbers, total = finished(list(sums.values()))
    labels = [labels_of(name, {ids[position] for ids in sums}) for position, name in enumerate(query.by)]
    rows = [
        Row(tuple(labels[position][one] for position, one in enumerate(ids)), ids, totals)
        for ids, totals in zip(sums, numbers, strict=True)
    ]
    return Report(query, conversion.currency, rows, total)


@contextmanager
def _memory() -> Iterator[None]:
    """Let PostgreSQL group in memory: with its default of 4 MB it sorts a year of days on disk, in twice the time."""
    if connection.vendor != "postgresql":
        yield
        return
    with transaction.atomic():
        with connection.cursor() as cursor:
            cursor.execute(f"SET LOCAL work_mem = '{_WORK_MEMORY}'")
        yield


def _sums(query: Query, rates: Rates, currency: str) -> dict[tuple[Any, ...], Sum]:
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
        for row in _grouped(source, query, segments):
            ids, (segment, of_calls, of_reference) = row[:width], row[width : width + 3]
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


def _grouped(source: Source, query: Query, segments: Sequence[date]) -> Iterator[tuple[Any, ...]]:
    """Yield of each group: ids, first day of the segment, the two currencies, counts, amounts."""
    by = _by(source, query)
    groups = {
        **by,
        "segment": _segment(source, segments),
        "of_calls": F("currency"),
        "of_reference": source.reference_currency,
    }
    sums = {f"sum_{name}": source.sums[name] for name in (*COUNTS, *AMOUNTS)}
    rows = rows_of(source, query).annotate(**groups).values(*groups).order_by(*by)
    # Fetched at once: through a cursor, PostgreSQL would not share the work among processes. Bounded all the same: a
    # row of the answer has few segments and currencies.
    yield from rows.annotate(**sums).values_list(*groups, *sums)[: MAX_ROWS * 4]


def _segment(source: Source, segments: Sequence[date]) -> Any:
    """Return the first day of the stretch between two rate changes that a row is in: one rate holds all through it."""
    if len(segments) > _MAX_SEGMENTS:
        return F(source.day)
    first, *changes = segments
    cases = [When(**{f"{source.day}__gte": day}, then=Value(day)) for day in reversed(changes)]
    return Case(*cases, default=Value(first), output_field=DateField())


def _corrections(query: Query) -> Iterator[tuple[Any, ...]]:
    """Yield of each group that has any: ids and how many corrections are in its numbers."""
    by = _by(CORRECTIONS, query)
    rows = rows_of(CORRECTIONS, query).annotate(**by).values(*by).order_by(*by)
    yield from rows.annotate(count=Count("pk")).values_list(*by, "count")
