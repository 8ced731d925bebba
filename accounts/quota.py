"""Quotas: when a window begins and ends, what a call reserves, whether a window has room for it."""

from dataclasses import dataclass
from datetime import datetime, timedelta, tzinfo
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
    local = now.astimezone(zone)
    midnight = local.replace(hour=0, minute=0, second=0, microsecond=0, fold=0)
    if window == Quota.Window.DAY:
        start, end = midnight, _days_later(midnight, 1)
    elif window == Quota.Window.WEEK:
        start = _days_later(midnight, -midnight.weekday())
        end = _days_later(start, 7)
    else:
        start = midnight.replace(day=1)
        end = start.replace(year=start.year + start.month // 12, month=start.month % 12 + 1)
    return start.astimezone(now.tzinfo), end.astimezone(now.tzinfo)


def _days_later(midnight: datetime, days: int) -> datetime:
    # Arithmetic on an aware datetime moves the wall clock, which is what a calendar window wants: a day over a change
    # of daylight saving time has 23 or 25 hours.
    return midnight + timedelta(days=days)
