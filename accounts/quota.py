"""Quotas: when a window begins and ends, what a call reserves, whether a window has room for it."""

from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta, tzinfo
from decimal import Decimal
from typing import Any

from accounts.models import Quota

FIVE_HOURS = timedelta(hours=5)


@dataclass(frozen=True, slots=True)
class Reservation:
    """What a call is expected to use. `input_cost` is the part that is spent whatever the model answers."""

    input_tokens: int
    output_tokens: int
    cost: Decimal = Decimal(0)
    input_cost: Decimal = Decimal(0)
    currency: str = ""

    def amount(self, unit: str, currency: str) -> Decimal:
        """Return the expected use in `unit` of a quota."""
        if unit == Quota.Unit.REQUESTS:
            return Decimal(1)
        if unit == Quota.Unit.TOKENS:
            return Decimal(self.input_tokens + self.output_tokens)
        return self.cost if self.currency == currency else Decimal(0)

    def certain(self, unit: str, currency: str) -> Decimal:
        """Return the part of `amount` that no short answer avoids."""
        if unit == Quota.Unit.TOKENS:
            return Decimal(self.input_tokens)
        if unit == Quota.Unit.COST:
            return self.input_cost if self.currency == currency else Decimal(0)
        return Decimal(1)

    def as_json(self, window_ids: list[int]) -> dict[str, Any]:
        """Return the form that the call's record keeps."""
        return {
            "input_tokens": self.input_tokens,
            "output_tokens": self.output_tokens,
            "cost": str(self.cost),
            "currency": self.currency,
            "windows": window_ids,
        }

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> "Reservation":
        """Return the reservation that a call's record keeps."""
        return cls(
            int(data.get("input_tokens", 0)),
            int(data.get("output_tokens", 0)),
            Decimal(data.get("cost", "0")),
            currency=str(data.get("currency", "")),
        )


@dataclass(frozen=True, slots=True)
class Used:
    """What a call really used."""

    counts: bool  # it answered, or cost something: it is one request
    tokens: int
    cost: Decimal | None
    currency: str

    def amount(self, unit: str, currency: str) -> Decimal:
        """Return the use in `unit` of a quota."""
        if unit == Quota.Unit.REQUESTS:
            return Decimal(1 if self.counts else 0)
        if unit == Quota.Unit.TOKENS:
            return Decimal(self.tokens)
        return self.cost if self.cost is not None and self.currency == currency else Decimal(0)


def has_room(limit: Decimal, used: Decimal, reserved: Decimal, expected: Decimal, certain: Decimal) -> bool:
    """Return whether a call fits into a window.

    What is expected must fit beside what running calls hold. A call that runs alone may begin with less, as long as
    its certain part fits: a short answer may well fit, and nothing else can pass the cap at the same time.
    """
    if used + reserved + expected <= limit:
        return True
    return reserved == 0 and used < limit and used + certain <= limit


def bounds(window: str, now: datetime, zone: tzinfo) -> tuple[datetime, datetime | None]:
    """Return the start and the end (None: never) of the window around `now`, cut in the time zone `zone`.

    A window of 5 hours begins with the first call after the one before; the ledger looks for one that is open first.
    """
    if window == Quota.Window.TOTAL:
        return datetime(1970, 1, 1, tzinfo=now.tzinfo), None
    if window == Quota.Window.MINUTE:
        start = now.replace(second=0, microsecond=0)
        return start, start + timedelta(minutes=1)
    if window == Quota.Window.FIVE_HOURS:
        return now, now + FIVE_HOURS
    first = now.astimezone(zone).date()
    if window == Quota.Window.WEEK:
        first -= timedelta(days=first.weekday())
    elif window == Quota.Window.MONTH:
        first = first.replace(day=1)
    start, next_first = _midnight(first, zone), _next(window, first)
    # Where clocks go back over midnight, the hour before it comes twice, and a day begins at its first midnight.
    while (end := _midnight(next_first, zone)) <= now:
        start, next_first = end, _next(window, next_first)
    return start.astimezone(now.tzinfo), end.astimezone(now.tzinfo)


def _midnight(day: date, zone: tzinfo) -> datetime:
    # In UTC, because two times of one zone compare by their wall clock. A midnight that clocks skip is the moment at
    # which they do.
    return datetime.combine(day, time.min, zone).astimezone(UTC)


def _next(window: str, first: date) -> date:
    """Return the day on which the window after that of the day `first` begins."""
    if window == Quota.Window.MONTH:
        return first.replace(year=first.year + first.month // 12, month=first.month % 12 + 1)
    return first + timedelta(days=7 if window == Quota.Window.WEEK else 1)
