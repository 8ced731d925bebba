"""The days that a report is about."""

import zoneinfo
from dataclasses import dataclass
from datetime import date, datetime, timedelta

from django.utils.translation import gettext

from routing.models import RuntimeSettings

_YEARS = (2000, 2199)
_NAMED_YEARS = {"first": _YEARS[0], "last": _YEARS[1]}


class BadQuery(ValueError):
    """A question that reports do not answer; the text says why, in the language of the reader."""


@dataclass(frozen=True, slots=True)
class Period:
    """The days from `start` to `end`, inclusive, in the business time zone.

    Raises `BadQuery` if there are none, or if they are of a time that no books are of.
    """

    start: date
    end: date

    def __post_init__(self) -> None:
        if self.start > self.end:
            raise BadQuery(gettext("The period ends before it begins."))
        if self.start.year < _YEARS[0] or self.end.year > _YEARS[1]:
            raise BadQuery(gettext("Choose days between the years %(first)s and %(last)s.") % _NAMED_YEARS)

    @property
    def days(self) -> int:
        """How many days it has."""
        return (self.end - self.start).days + 1

    @classmethod
    def month(cls, day: date) -> "Period":
        """Return the whole month of `day`."""
        first = day.replace(day=1)
        return cls(first, (first + timedelta(days=31)).replace(day=1) - timedelta(days=1))

    @classmethod
    def last_days(cls, today: date, count: int) -> "Period":
        """Return the `count` days that end with `today`."""
        return cls(today - timedelta(days=count - 1), today)

    @classmethod
    def last_30_days(cls, today: date) -> "Period":
        """Return the 30 days that end with `today`."""
        return cls.last_days(today, 30)

    @classmethod
    def last_month(cls, today: date) -> "Period":
        """Return the whole month before that of `today`."""
        return cls.month(today.replace(day=1) - timedelta(days=1))


def business_day(now: datetime, settings: RuntimeSettings | None = None) -> date:
    """Return the day of `now` in the business time zone. One query, unless the settings are given."""
    settings = settings or RuntimeSettings.load()
    return now.astimezone(zoneinfo.ZoneInfo(settings.business_time_zone)).date()
