"""What happens to the books after the calls: corrections are appended, months are closed. Nothing is ever taken back.

A month is closed when every day of it is over in the business time zone, none of its calls is still running, and its
books agree. Whatever is found out later is booked on a day of the open month: a correction by its own day, a call that
only then turns out to be one of the closed month (another business time zone, a clock that is behind) on the first open
day, by the ledger.

The race between closing and booking is decided by the lock on the table of calls. Whoever books holds it weakly from
the statement on that also reads which months are closed (`lock_running`, `first_open_day`), until it commits; whoever
closes takes it exclusively before it counts. So a booking is either committed, and counted, or begins afterwards, and
sees the closed month. On SQLite the one transaction that writes is the lock.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

from django.core.exceptions import ValidationError
from django.db import DatabaseError, connection, transaction
from django.db.models import Min
from django.utils import timezone
from django.utils.translation import gettext, ngettext

from accounts.daily_sql import month_totals, raise_days
from accounts.ledger_rows import DayTotals, day_after_month, query
from accounts.models import ApiKey, CallRecord, ClosedMonth, Correction, UsageDaily, User
from accounts.money import to_units
from accounts.verification import consistent_view, differences_between
from routing.models import RuntimeSettings

# More than a month of any organisation, and far from what the columns hold.
MAX_AMOUNT = Decimal(10_000_000)
MAX_TOKENS = 10**12
# Longer than any transaction of the ledger; while it is waited for, calls wait too.
_LOCK_TIMEOUT_MS = 3000


class MonthNotClosable(Exception):
    """A month that cannot be closed; the text says why, translated."""


def first_open_day(*, locks: bool = False) -> date | None:
    """Return the first day that can be booked on; None: no month was closed yet.

    With `locks` it stays so until the end of the transaction.
    """
    if locks and connection.vendor == "postgresql":
        with connection.cursor() as cursor:
            cursor.execute("LOCK TABLE accounts_callrecord IN ROW SHARE MODE")
    return day_after_month(query("SELECT MAX(month) FROM accounts_closedmonth", ())[0][0])


def business_zone() -> ZoneInfo:
    """Return the time zone in which days and months are cut."""
    return ZoneInfo(RuntimeSettings.load().business_time_zone)


def booking_day(day: date, today: date, first_open: date | None) -> date:
    """Return the day to book on what belongs to `day`: itself, or today when its month is closed."""
    if first_open is None or day >= first_open:
        return day
    return max(today, first_open)


def append(corrections: Iterable[Correction], days: dict[tuple[Any, ...], DayTotals]) -> None:
    """Write corrections, and add them to what `raise_days` is to raise in the same transaction.

    Must run in the transaction in which `first_open_day` was locked.
    """
    for row in corrections:
        row.save(force_insert=True)
        dimension = (
            row.booked_on,
            row.key_id,
            row.user_id,
            row.team_id,
            row.provider_name,
            row.model_name,
            row.scene_name,
            row.kind,
            row.currency,
            "",
        )
        totals = days.setdefault(dimension, DayTotals())
        totals.input_tokens += row.input_tokens
        totals.output_tokens += row.output_tokens
        totals.cache_read_tokens += row.cache_read_tokens
        totals.cache_write_tokens += row.cache_write_tokens
        totals.cost += to_units(row.cost)
        # What caching saved is none of a correction's affairs.
        totals.uncached_cost += to_units(row.cost)


@dataclass(frozen=True, slots=True)
class Amount:
    """What a correction adds; negative: what it takes off."""

    cost: Decimal = Decimal(0)
    currency: str = ""
    input_tokens: int = 0
    output_tokens: int = 0
    cache_read_tokens: int = 0
    cache_write_tokens: int = 0

    def clean(self) -> None:
        """Raise `ValidationError` for an amount that is none, or that cannot be meant."""
        tokens = [self.input_tokens, self.output_tokens, self.cache_read_tokens, self.cache_write_tokens]
        if not self.cost.is_finite() or abs(self.cost) > MAX_AMOUNT:
            raise ValidationError({"cost": gettext("The amount is too large.")})
        if to_units(self.cost) != self.cost.scaleb(10):
            raise ValidationError({"cost": gettext("Use at most ten decimal places.")})
        if any(abs(count) > MAX_TOKENS for count in tokens):
            raise ValidationError(gettext("The number of tokens is too large."))
        if not self.cost and not any(tokens):
            raise ValidationError({"cost": gettext("A correction of nothing changes nothing.")})
        if self.cost and not (len(self.currency) == 3 and self.currency.isascii() and self.currency.isupper()):
            raise ValidationError({"currency": gettext("Use a currency code of three letters, such as USD.")})


def planned(
    amount: Amount,
    reason: str,
    *,
    by: User | None = None,
    call: CallRecord | None = None,
    key: ApiKey | None = None,
    corrects_on: date | None = None,
    provider_name: str = "",
    model_name: str = "",
    now: datetime | None = None,
) -> Correction:
    """Return the correction that `correct` would write, unsaved. Raises `ValidationError`."""
    amount.clean()
    if not reason.strip():
        raise ValidationError({"reason": gettext("Say why.")})
    today = (now or timezone.now()).astimezone(business_zone()).date()
    if call is not None:
        if call.status == CallRecord.Status.RUNNING or call.booked_on is None:
            raise ValidationError(gettext("The call is still running: it has no cost yet that could be corrected."))
        subject = {"call": call, "key_id": call.key_id, "user_id": call.user_id, "team_id": call.team_id}
        subject |= {name: getattr(call, name) for name in ("provider_name", "model_name", "scene_name", "kind")}
        corrects_on = call.booked_on
    else:
        if key is None:
            raise ValidationError({"key": gettext("Choose a key, or correct a call from its page.")})
        subject = {"key": key, "user": key.user, "team_id": key.user.team_id}
        subject |= {"provider_name": provider_name, "model_name": model_name}
        corrects_on = corrects_on or today
    if corrects_on > today:
        raise ValidationError({"corrects_on": gettext("This day has not come yet.")})
    row = Correction(
        **subject,
        input_tokens=amount.input_tokens,
        output_tokens=amount.output_tokens,
        cache_read_tokens=amount.cache_read_tokens,
        cache_write_tokens=amount.cache_write_tokens,
        cost=amount.cost,
        currency=amount.currency if amount.cost else "",
        reason=reason.strip(),
        corrects_on=corrects_on,
        booked_on=booking_day(corrects_on, today, first_open_day()),
        made_by=by,
    )
    row.clean_fields()
    return row


def correct(amount: Amount, reason: str, *, now: datetime | None = None, **subject: Any) -> Correction:
    """Append a correction of a `call`, or of a `key` on the day `corrects_on`, and raise the day it is booked on.

    The call itself stays as it is. Further arguments are those of `planned`. Raises `ValidationError`.
    """
    now = now or timezone.now()
    with transaction.atomic():
        first_open = first_open_day(locks=True)
        row = planned(amount, reason, now=now, **subject)
        row.booked_on = booking_day(row.corrects_on, now.astimezone(business_zone()).date(), first_open)
        days: dict[tuple[Any, ...], DayTotals] = {}
        append([row], days)
        raise_days(days)
    return row


@dataclass(frozen=True, slots=True)
class Preview:
    """What closing a month would freeze, and what stands against it."""

    month: date
    totals: dict[str, Any]
    problems: list[str] = field(default_factory=list)


def next_month(now: datetime | None = None) -> date | None:
    """Return the first month that is over, has bookings and is not closed; None when there is none."""
    today = (now or timezone.now()).astimezone(business_zone()).date()
    first = _first_booked()
    return first if first is not None and first < today.replace(day=1) else None


def preview(month: date, now: datetime | None = None) -> Preview:
    """Return what closing `month` (its first day) would do. Reads the calls of the month."""
    month = month.replace(day=1)
    problem = _problem(month, now or timezone.now())
    problems = [problem] if problem else _disagreements(month)
    return Preview(month, month_totals(month), problems)


def close_month(month: date, by: User | None = None, note: str = "", now: datetime | None = None) -> ClosedMonth:
    """Close the month that begins on `month`, for good. Raises `MonthNotClosable`, saying why."""
    month, now = month.replace(day=1), now or timezone.now()
    for problem in (_problem(month, now), *_disagreements(month)):
        if problem:
            raise MonthNotClosable(problem)
    with transaction.atomic():
        _keep_bookings_away()
        # Again: since then somebody else may have closed it, or a call of it may have begun on a clock that is behind.
        if problem := _problem(month, now):
            raise MonthNotClosable(problem)
        return ClosedMonth.objects.create(month=month, totals=month_totals(month), note=note[:300], closed_by=by)


def _keep_bookings_away() -> None:
    """Wait until the bookings that have begun are written, and let none begin in this transaction."""
    if connection.vendor != "postgresql":
        return
    try:
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.execute(f"SET LOCAL lock_timeout = {_LOCK_TIMEOUT_MS}")
            cursor.execute("LOCK TABLE accounts_callrecord IN EXCLUSIVE MODE")
            cursor.execute("SET LOCAL lock_timeout = DEFAULT")
    except DatabaseError as error:
        text = gettext("The books were being written without a pause. Try again in a moment.")
        raise MonthNotClosable(text) from error


def _first_booked() -> date | None:
    """Return the first day of the first month with bookings after the last closed one."""
    first_open = first_open_day()
    rows = UsageDaily.objects.all() if first_open is None else UsageDaily.objects.filter(date__gte=first_open)
    first: date | None = rows.aggregate(first=Min("date"))["first"]
    return first.replace(day=1) if first is not None else None


def _problem(month: date, now: datetime) -> str:
    """Return why `month` cannot be closed, looking at everything but its sums; "" if nothing stands against it."""
    zone = business_zone()
    if month >= now.astimezone(zone).date().replace(day=1):
        return gettext("%(month)s is not over yet in the business time zone.") % {"month": f"{month:%Y-%m}"}
    first_open = first_open_day()
    if first_open is not None and month < first_open:
        return gettext("%(month)s is closed already.") % {"month": f"{month:%Y-%m}"}
    first = _first_booked()
    if first is not None and first < month:
        return gettext("Close %(first)s first: it has bookings too.") % {"first": f"{first:%Y-%m}"}
    running = CallRecord.objects.filter(status=CallRecord.Status.RUNNING, started_at__lt=_bounds(month, zone)[1])
    count, since = running.count(), running.aggregate(since=Min("started_at"))["since"]
    if count:
        text = ngettext(
            "%(count)d call that began in this month is still running, since %(since)s. Wait for its end, or run "
            "reap_calls if its worker died.",
            "%(count)d calls that began in this month are still running, the first since %(since)s. Wait for their "
            "end, or run reap_calls if their worker died.",
            count,
        )
        return text % {"count": count, "since": f"{since.astimezone(zone):%Y-%m-%d %H:%M}"}
    return ""


def _bounds(month: date, zone: ZoneInfo) -> tuple[datetime, datetime]:
    end = day_after_month(month)
    assert end is not None
    first, last = (datetime.combine(day, time.min, zone) for day in (month, end))
    return first, last


def _disagreements(month: date) -> list[str]:
    """Return, in words, the first disagreement in the books of `month`."""
    end = day_after_month(month)
    assert end is not None
    with consistent_view():
        for found in differences_between(month, end, *_bounds(month, business_zone())):
            text = gettext("The books of this month do not agree: %(difference)s. Run verify_ledger and rebuild_usage.")
            return [text % {"difference": found}]
    return []


def month_of(text: str) -> date:
    """Return the first day of a month written YYYY-MM. Raises `ValueError`."""
    return datetime.strptime(text, "%Y-%m").date()


def last_month(now: datetime) -> date:
    """Return the first day of the month before that of `now` in the business time zone."""
    return (now.astimezone(business_zone()).date().replace(day=1) - timedelta(days=1)).replace(day=1)
