"""The ledger's statements on `UsageDaily`: raised with each settle, and compared with what it is the sum of."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import Any

from django.db import connection

from accounts.ledger_rows import DayTotals, day_after_month, marks, query, read_date, write
from accounts.money import from_units

_TOTALS = (
    "calls, failed_calls, fallback_calls, unpriced_calls, estimated_calls, input_tokens, output_tokens,"
    " cache_read_tokens, cache_write_tokens, cost, failed_cost, fallback_cost, reference_cost, compared_cost,"
    " uncached_cost"
)
_DIMENSIONS = (
    "date, key_id, user_id, team_id, provider_name, model_name, scene_name, kind, currency, reference_currency"
)
_ON_CONFLICT = f" ON CONFLICT ({_DIMENSIONS.replace('team_id', '(COALESCE(team_id, 0))')}) DO UPDATE SET " + ", ".join(
    f"{name} = accounts_usagedaily.{name} + EXCLUDED.{name}" for name in _TOTALS.split(", ")
)
_RAISE_DAY = (
    f"INSERT INTO accounts_usagedaily ({_DIMENSIONS}, {_TOTALS})"
    f" VALUES ({marks(_DIMENSIONS.split(', '))}, {marks(_TOTALS.split(', '))})"
    f"{_ON_CONFLICT}"
)
_IS_EMPTY = " AND ".join(f"{name} = 0" for name in _TOTALS.split(", "))
_OF_DAY = (
    " WHERE date = %s AND key_id = %s AND user_id = %s AND COALESCE(team_id, 0) = %s AND provider_name = %s"
    " AND model_name = %s AND scene_name = %s AND kind = %s AND currency = %s AND reference_currency = %s"
)
_LOWER_DAY = (
    "UPDATE accounts_usagedaily SET " + ", ".join(f"{name} = {name} - %s" for name in _TOTALS.split(", ")) + _OF_DAY
)


def lower_days(days: Mapping[tuple[Any, ...], DayTotals]) -> None:
    """Take from the daily rows what moves to other rows, in the order of `raise_days`; remove those left empty.

    A row without calls may hold corrections: empty is one whose sums are all zero.
    """
    rows = [(_dimension(dimension), _values(totals)) for dimension, totals in _in_order(days)]
    parameters = [[*values, *dimension[:3], dimension[3] or 0, *dimension[4:]] for dimension, values in rows]
    write(_LOWER_DAY, parameters)
    size = len(rows[0][1]) if rows else 0
    write(f"DELETE FROM accounts_usagedaily{_OF_DAY} AND {_IS_EMPTY}", [row[size:] for row in parameters])


def _in_order(days: Mapping[tuple[Any, ...], DayTotals]) -> list[tuple[tuple[Any, ...], DayTotals]]:
    return sorted(days.items(), key=lambda pair: tuple(map(str, pair[0])))


def _dimension(dimension: tuple[Any, ...]) -> list[Any]:
    return [connection.ops.adapt_datefield_value(dimension[0]), *dimension[1:]]


def _values(totals: DayTotals) -> list[Any]:
    return [
        totals.calls,
        totals.failed_calls,
        totals.fallback_calls,
        totals.unpriced_calls,
        totals.estimated_calls,
        totals.input_tokens,
        totals.output_tokens,
        totals.cache_read_tokens,
        totals.cache_write_tokens,
        totals.cost,
        totals.failed_cost,
        totals.fallback_cost,
        totals.reference_cost,
        totals.compared_cost,
        totals.uncached_cost,
    ]


def raise_days(days: Mapping[tuple[Any, ...], DayTotals]) -> None:
    """Add to the daily rows, in a fixed order: two workers that raise the same rows must not wait crosswise."""
    write(_RAISE_DAY, [[*_dimension(dimension), *_values(totals)] for dimension, totals in _in_order(days)])


_COMPARED = "cost IS NOT NULL AND reference_cost IS NOT NULL AND reference_currency <> ''"
_FAILED = "status IN ('failed', 'lost')"
# What each settled call, each correction and each row of `UsageDaily` says, the last taken off: what remains in a group
# is missing in the rollup, or too much. A correction moves what the call had cost without a cache by the same amount:
# what caching saved is none of its affairs.
_CALLS = (
    "SELECT booked_on AS date, key_id, user_id, team_id, provider_name, model_name, scene_name, kind, currency,"
    f" CASE WHEN {_COMPARED} THEN reference_currency ELSE '' END AS reference_currency, 1 AS calls,"
    f" CASE WHEN {_FAILED} THEN 1 ELSE 0 END AS failed_calls,"
    " CASE WHEN fallbacks > 0 THEN 1 ELSE 0 END AS fallback_calls, CASE WHEN cost IS NULL AND input_tokens"
    " + output_tokens + cache_read_tokens + cache_write_tokens > 0 THEN 1 ELSE 0 END AS unpriced_calls,"
    " CASE WHEN usage_is_estimated THEN 1 ELSE 0 END AS estimated_calls, input_tokens, output_tokens,"
    " cache_read_tokens, cache_write_tokens, COALESCE(cost, 0) AS cost,"
    f" CASE WHEN {_FAILED} THEN COALESCE(cost, 0) ELSE 0 END AS failed_cost,"
    " CASE WHEN fallbacks > 0 THEN COALESCE(cost, 0) ELSE 0 END AS fallback_cost,"
    f" CASE WHEN {_COMPARED} THEN reference_cost ELSE 0 END AS reference_cost,"
    f" CASE WHEN {_COMPARED} THEN cost ELSE 0 END AS compared_cost,"
    " COALESCE(uncached_cost, cost, 0) AS uncached_cost"
    " FROM accounts_callrecord WHERE status <> 'running'"
)
_CORRECTIONS = (
    "SELECT booked_on, key_id, user_id, team_id, provider_name, model_name, scene_name, kind, currency, '', 0, 0, 0, 0,"
    " 0, input_tokens, output_tokens, cache_read_tokens, cache_write_tokens, cost, 0, 0, 0, 0, cost"
    " FROM accounts_correction"
)
_DAYS = f"SELECT {_DIMENSIONS}, {', '.join(f'-{name}' for name in _TOTALS.split(', '))} FROM accounts_usagedaily"
_SUMS = ", ".join(f"SUM({name}) AS {name}" for name in _TOTALS.split(", "))
_IS_WRONG = " OR ".join(f"SUM({name}) <> 0" for name in _TOTALS.split(", "))


# The table that a transaction keeps what it found in, while it acts on it.
_FOUND = "accounts_usagedaily_found"


@dataclass(frozen=True, slots=True)
class DayDifference:
    """A row of `UsageDaily` that is missing or wrong: what its calls and corrections have more than it, by sum."""

    dimension: tuple[Any, ...]  # date, key, user, team, provider, model, scene, kind, currency, reference currency
    missing: dict[str, int]  # only what is not zero; money in units


@dataclass(frozen=True, slots=True)
class Change:
    """What a repair did to the rows of one month and currency."""

    month: date
    currency: str
    rows: int
    calls: int
    tokens: int
    cost: Decimal


def _statement(start: date | None, end: date | None) -> tuple[str, list[Any]]:
    """Return the statement, and its parameters, that selects where the rollup of [start, end) is wrong, by how much."""
    bounds = [(operator, day) for operator, day in ((">=", start), ("<", end)) if day is not None]
    booked, dated = (
        "".join(f" AND {column} {operator} %s" for operator, _day in bounds) for column in ("booked_on", "date")
    )
    statement = (
        f"SELECT {_DIMENSIONS}, {_SUMS} FROM ({_CALLS}{booked} UNION ALL {_CORRECTIONS} WHERE 1 = 1{booked}"
        f" UNION ALL {_DAYS} WHERE 1 = 1{dated}) AS entries GROUP BY {_DIMENSIONS} HAVING {_IS_WRONG}"
    )
    return statement, [connection.ops.adapt_datefield_value(day) for _operator, day in bounds] * 3


def day_differences(start: date | None = None, end: date | None = None) -> Iterator[DayDifference]:
    """Yield where the rollup of [start, end) is wrong. One pass in the database; only what is wrong leaves it."""
    size = len(_DIMENSIONS.split(", "))
    names = _TOTALS.split(", ")
    with connection.chunked_cursor() as cursor:
        cursor.execute(*_statement(start, end))
        while rows := cursor.fetchmany(500):
            for row in rows:
                day = None if row[0] is None else read_date(row[0])
                missing = {name: int(value) for name, value in zip(names, row[size:], strict=True) if value}
                yield DayDifference((day, *row[1:size]), missing)


def day_row(dimension: tuple[Any, ...]) -> dict[str, int] | None:
    """Return the sums of the row of `UsageDaily` with this dimension."""
    values = [*_dimension(dimension)[:3], dimension[3] or 0, *dimension[4:]]
    rows = query(f"SELECT {_TOTALS} FROM accounts_usagedaily{_OF_DAY}", values)
    return dict(zip(_TOTALS.split(", "), rows[0], strict=True)) if rows else None


def wrong_days(start: date | None, end: date | None) -> list[date]:
    """Return the days of [start, end) with wrong or missing rows, in order."""
    statement, parameters = _statement(start, end)
    rows = query(f"SELECT DISTINCT date FROM ({statement}) AS found WHERE date IS NOT NULL ORDER BY date", parameters)
    return [read_date(row[0]) for row in rows]


def lock_days() -> None:
    """Let nobody else write `UsageDaily` until this transaction ends.

    A settle writes its call and raises its day in one transaction. One that has raised it is waited for, and then both
    are seen; one that has not waits here, none of it is seen, and it adds its call to what is there then.
    """
    if connection.vendor == "postgresql":
        with connection.cursor() as cursor:
            cursor.execute("LOCK TABLE accounts_usagedaily IN SHARE ROW EXCLUSIVE MODE")


def repair_days(start: date, end: date, *, dry_run: bool = False) -> list[Change]:
    """Make the rollup of [start, end) the sum of its calls and corrections; return what changed, by currency.

    Must run in a transaction that holds `lock_days`, unless it is a dry run. The days are those of one month.
    """
    statement, parameters = _statement(start, end)
    tokens = "input_tokens + output_tokens + cache_read_tokens + cache_write_tokens"
    with connection.cursor() as cursor:
        cursor.execute(f"CREATE TEMPORARY TABLE {_FOUND} AS {statement}", parameters)
        cursor.execute(
            f"SELECT currency, COUNT(*), SUM(calls), SUM({tokens}), SUM(cost) FROM {_FOUND}"
            " WHERE date IS NOT NULL GROUP BY currency ORDER BY currency"
        )
        found = [
            Change(start.replace(day=1), currency, rows, int(calls), int(used), from_units(cost))
            for currency, rows, calls, used, cost in cursor.fetchall()
        ]
        if not dry_run:
            cursor.execute(
                f"INSERT INTO accounts_usagedaily ({_DIMENSIONS}, {_TOTALS}) SELECT {_DIMENSIONS}, {_TOTALS}"
                # In the order in which days are written while calls go on, so that a month lies together.
                f" FROM {_FOUND} WHERE date IS NOT NULL ORDER BY date{_ON_CONFLICT}"
            )
            days = [connection.ops.adapt_datefield_value(day) for day in (start, end)]
            cursor.execute(f"DELETE FROM accounts_usagedaily WHERE date >= %s AND date < %s AND {_IS_EMPTY}", days)
        cursor.execute(f"DROP TABLE {_FOUND}")
    return found


def month_totals(month: date) -> dict[str, Any]:
    """Return what the days of the month that begins on `month` add up to, as `ClosedMonth.totals` keeps it.

    Counts and tokens as numbers; "costs" by currency and "reference_costs" by that of the reference, as decimals in
    strings.
    """
    names = _TOTALS.split(", ")
    end = day_after_month(month)
    rows = query(
        f"SELECT currency, reference_currency, {_SUMS} FROM accounts_usagedaily WHERE date >= %s AND date < %s"
        " GROUP BY currency, reference_currency",
        [connection.ops.adapt_datefield_value(day) for day in (month, end)],
    )
    totals: dict[str, Any] = {name: 0 for name in names if not name.endswith("cost")}
    costs: dict[str, dict[str, int]] = {}
    references: dict[str, int] = {}
    for currency, reference_currency, *sums in rows:
        for name, value in zip(names, map(int, sums), strict=True):
            if name == "reference_cost":
                if reference_currency:
                    references[reference_currency] = references.get(reference_currency, 0) + value
            elif name in totals:
                totals[name] += value
            elif currency:
                costs.setdefault(currency, {}).setdefault(name, 0)
                costs[currency][name] += value
    totals["costs"] = {
        currency: {name: f"{from_units(value):f}" for name, value in sums.items()} for currency, sums in costs.items()
    }
    totals["reference_costs"] = {currency: f"{from_units(value):f}" for currency, value in references.items()}
    return totals
