"""Whether the books agree: calls and corrections = daily usage, calls = quota windows, closed months = their totals.

Everything is added up in the database, and only what disagrees leaves it: memory does not grow with the books.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date, datetime
from decimal import Decimal

from django.db import connection, transaction

from accounts.daily_sql import DayDifference, day_differences, day_row, month_totals
from accounts.ledger_rows import QuotaRow, read_decimal, time_value
from accounts.models import CallRecord, ClosedMonth, Quota, QuotaWindow
from accounts.money import PLACES, from_units
from accounts.quota import Reservation

# SQLite keeps a window's decimals as floating point of 15 digits.
_TOLERANCE = Decimal("0.000001")


@contextmanager
def consistent_view() -> Iterator[None]:
    """Let everything that is read inside be of one moment, while others write. Inside a transaction it does nothing."""
    if connection.in_atomic_block:
        yield
    elif connection.vendor == "postgresql":
        with transaction.atomic():
            with connection.cursor() as cursor:
                cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
            yield
    else:
        # Not `atomic`, which would keep every writer away. In WAL mode a reader has the state of its first read.
        with connection.cursor() as cursor:
            cursor.execute("BEGIN DEFERRED")
            try:
                yield
            finally:
                cursor.execute("ROLLBACK")


def differences() -> Iterator[str]:
    """Yield each disagreement as a sentence. Run it in a `consistent_view`, or while nothing is written."""
    yield from _closed_months()
    for found in day_differences():
        yield from _in_words(found)
    yield from _used_windows()
    yield from _reserved_windows()


def differences_between(start: date, end: date, first: datetime, last: datetime) -> Iterator[str]:
    """Yield the disagreements of the days [start, end), and of the quota windows that began in [first, last)."""
    for found in day_differences(start, end):
        yield from _in_words(found)
    yield from _used_windows(first, last)


def _in_words(found: DayDifference) -> Iterator[str]:
    row = day_row(found.dimension)
    name = " ".join("-" if value in (None, "") else str(value) for value in found.dimension)
    for sum_name, missing in found.missing.items():
        amount = _money if sum_name.endswith("cost") else str
        if row is None:
            yield f"daily usage [{name}]: missing, the entries say {sum_name} is {amount(missing)}"
        else:
            value = row[sum_name]
            yield f"daily usage [{name}]: {sum_name} is {amount(value)}, the entries say {amount(value + missing)}"


def _money(units: int) -> str:
    return _plain(from_units(units))


def _plain(number: Decimal) -> str:
    return f"{number.normalize():f}"


def _closed_months() -> Iterator[str]:
    for row in ClosedMonth.objects.order_by("month"):
        totals = month_totals(row.month)
        for name in sorted({*totals, *row.totals}):
            value, stored = totals.get(name), row.totals.get(name)
            if value != stored:
                yield f"closed month {row}: {name} is {value}, it was closed with {stored}"


_TOKENS = "c.input_tokens + c.output_tokens + c.cache_read_tokens + c.cache_write_tokens"


def _windows_statement(subject: str, when: str) -> str:
    """Return the statement that selects the windows of quotas on a `subject` whose use is not that of their calls.

    A sub-query per window, and a statement per kind of subject: so the index on subject and start finds the calls of
    each window, where a join would compare every call of a subject with every window.
    """
    return (
        "SELECT id, used, truth FROM (SELECT w.id AS id, w.used AS used, q.unit AS unit,"
        f" (SELECT COALESCE(SUM(CASE q.unit WHEN 'requests' THEN CASE WHEN c.status = 'ok' OR {_TOKENS} > 0 THEN 1"
        f" ELSE 0 END WHEN 'tokens' THEN {_TOKENS} ELSE CASE WHEN c.currency = q.currency THEN c.cost ELSE 0 END END),"
        f" 0) FROM accounts_callrecord c WHERE c.{subject} = q.{subject} AND c.status <> 'running'"
        " AND c.started_at >= w.starts_at AND (w.ends_at IS NULL OR c.started_at < w.ends_at)) AS truth"
        f" FROM accounts_quotawindow w JOIN accounts_quota q ON q.id = w.quota_id WHERE q.{subject} IS NOT NULL{when})"
        f" AS windows WHERE ABS(used * CASE unit WHEN 'cost' THEN {10**PLACES} ELSE 1 END - truth)"
        f" > CASE unit WHEN 'cost' THEN {int(_TOLERANCE * 10**PLACES)} ELSE {_TOLERANCE:f} END ORDER BY id"
    )


def _used_windows(first: datetime | None = None, last: datetime | None = None) -> Iterator[str]:
    """Yield the windows (that began in [first, last)) whose use is not the sum of their calls."""
    bounds = [(operator, moment) for operator, moment in ((">=", first), ("<", last)) if moment is not None]
    when = "".join(f" AND w.starts_at {operator} %s" for operator, _moment in bounds)
    for subject in ("key_id", "user_id", "team_id"):
        with connection.chunked_cursor() as cursor:
            cursor.execute(_windows_statement(subject, when), [time_value(moment) for _operator, moment in bounds])
            while rows := cursor.fetchmany(500):
                for pk, used, truth in rows:
                    window = _window(pk)
                    real = from_units(truth) if window.quota.unit == Quota.Unit.COST else Decimal(int(truth))
                    yield f"quota window {window}: used is {_plain(read_decimal(used))}, the calls say {_plain(real)}"


def _window(pk: int) -> QuotaWindow:
    return QuotaWindow.objects.select_related("quota__team", "quota__user", "quota__key__user").get(pk=pk)


def _reserved_windows() -> Iterator[str]:
    """Yield the windows that hold something else than their running calls. What runs is little, and fits in memory."""
    running = [
        (Reservation.from_json(reservation), reservation.get("windows", ()))
        for reservation in CallRecord.objects.filter(status=CallRecord.Status.RUNNING).values_list(
            "reservation", flat=True
        )
    ]
    # A window of a minute is deleted when it is old: a call that runs for long may name one that is gone.
    named: dict[int, tuple[str, str, Decimal]] = {}
    ids = sorted({window_id for _reservation, windows in running for window_id in windows})
    holding = QuotaWindow.objects.exclude(reserved=0).values_list("pk", "quota__unit", "quota__currency", "reserved")
    named.update((pk, rest) for pk, *rest in holding)  # type: ignore[misc]
    for begin in range(0, len(ids), 500):
        some = QuotaWindow.objects.filter(pk__in=ids[begin : begin + 500])
        rows = some.values_list("pk", "quota__unit", "quota__currency", "reserved")
        named.update((pk, rest) for pk, *rest in rows)  # type: ignore[misc]
    held: dict[int, Decimal] = {}
    for reservation, windows in running:
        for window_id in windows:
            if window_id in named:
                unit, currency, _reserved = named[window_id]
                held[window_id] = held.get(window_id, Decimal(0)) + reservation.amount(unit, currency)
    for window_id, (_unit, _currency, reserved) in sorted(named.items()):
        expected = held.get(window_id, Decimal(0))
        if abs(expected - reserved) > _TOLERANCE:
            values = f"reserved is {_plain(reserved)}, the running calls hold {_plain(expected)}"
            yield f"quota window {_window(window_id)}: {values}"


def quota_row(quota: Quota) -> QuotaRow:
    """Return `quota` as the ledger reads it, without its raises."""
    return QuotaRow(
        quota.pk,
        quota.team_id,
        quota.user_id,
        quota.key_id,
        quota.unit,
        quota.window,
        quota.limit,
        quota.currency,
        quota.action,
    )
