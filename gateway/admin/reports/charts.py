"""Charts as SVG, drawn here: no script and nothing from elsewhere, so they are in the print and the mail as well."""

import heapq
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta
from decimal import Decimal
from typing import Any, TypeVar

from django.template.loader import render_to_string
from django.utils.safestring import SafeString
from django.utils.translation import gettext

from accounts.reports import Period

_T = TypeVar("_T")
# As many as have a colour on screen and a pattern on paper that nobody mistakes; the rest is one more.
SERIES = 6
RANKS = 12
_MOST_BARS = 400
_WIDTH, _HEIGHT, _LEFT, _TOP, _BOTTOM = 960, 280, 76, 12, 34


@dataclass(frozen=True, slots=True)
class Bar:
    """A rectangle, in units of the drawing."""

    x: float
    y: float
    width: float
    height: float
    series: int
    title: str


@dataclass(frozen=True, slots=True)
class Mark:
    """A text at an axis."""

    position: float
    text: str


@dataclass(frozen=True, slots=True)
class Stacks:
    """Bars that stand on each other, one stack for each stretch of time."""

    title: str
    description: str
    bars: list[Bar]
    names: list[str]
    ticks: list[Mark]
    marks: list[Mark]
    zero: float
    width: int = _WIDTH
    height: int = _HEIGHT
    left: int = _LEFT
    base: int = _HEIGHT - _BOTTOM
    patterns: range = field(default_factory=lambda: range(SERIES + 1))


def _nice(largest: float) -> float:
    """Return the step, of 1, 2 or 5 and zeros, by which at most five lines reach `largest`."""
    rough = largest / 5
    magnitude = 10.0 ** math.floor(math.log10(rough))
    return next(factor * magnitude for factor in (1, 2, 5, 10) if factor * magnitude >= rough * 0.999999)


def _short(value: float) -> str:
    for limit, unit in ((1e9, "G"), (1e6, "M"), (1e4, "k")):
        if abs(value) >= limit:
            return f"{value / (1e3 if unit == 'k' else limit):,.4g} {unit}"
    return f"{value:,.4g}"


def buckets(period: Period, name: str) -> list[date]:
    """Return the first day of each day, week or month of `period`."""
    day, found = period.start, []
    while day <= period.end:
        first = day.replace(day=1) if name == "month" else day - timedelta(days=day.weekday() if name == "week" else 0)
        found.append(first)
        if name == "month":
            day = (first + timedelta(days=31)).replace(day=1)
        else:
            day = first + timedelta(days=7 if name == "week" else 1)
    return found


def stacks(
    title: str, points: Mapping[tuple[date, str], Decimal], period: Period, unit: str, name: str
) -> SafeString | None:
    """Return the drawing of amounts by time (days, weeks or months: `name`) and series; None: nothing can be drawn.

    The largest series have a colour each, the others one together. Amounts below zero hang from the line.
    """
    times = buckets(period, name)
    sums: dict[str, Decimal] = {}
    for (_time, series), value in points.items():
        sums[series] = sums.get(series, Decimal(0)) + abs(value)
    if not any(sums.values()) or len(times) > _MOST_BARS:
        return None
    names = sorted(sums, key=lambda series: -sums[series])
    number = {series: min(position, SERIES) for position, series in enumerate(names)}
    values: dict[date, list[Decimal]] = {day: [Decimal(0)] * (SERIES + 1) for day in times}
    for (day, series), value in points.items():
        values[day][number[series]] += value
    shown = names if len(names) <= SERIES else [*names[:SERIES], gettext("others")]
    top = float(max(sum((value for value in each if value > 0), Decimal(0)) for each in values.values()))
    bottom = float(min(sum((value for value in each if value < 0), Decimal(0)) for each in values.values()))
    step = _nice(top - bottom)
    plot = _HEIGHT - _TOP - _BOTTOM
    scale = plot / (top - bottom)
    zero = _TOP + top * scale
    slot = (_WIDTH - _LEFT) / len(times)
    bars: list[Bar] = []
    for position, day in enumerate(times):
        up = down = zero
        for place, value in enumerate(values[day]):
            if not value:
                continue
            height = abs(float(value)) * scale
            y = up - height if value > 0 else down
            up, down = (up - height, down) if value > 0 else (up, down + height)
            whose = " · ".join(part for part in (_time_text(day, name), shown[place]) if part)
            text = f"{whose}: {value:,.2f} {unit}" if unit else f"{whose}: {value:,}"
            bars.append(Bar(_LEFT + position * slot + slot * 0.1, y, slot * 0.8, height, place, text))
    ticks = [Mark(zero - step * number_ * scale, _short(step * number_)) for number_ in range(int(bottom // step), 6)]
    every = -(-len(times) // 12)
    marks = [
        Mark(_LEFT + (position + 0.5) * slot, _time_text(day, name)[0 if name == "month" else 5 :])
        for position, day in enumerate(times)
        if position % every == 0
    ]
    text = gettext("Bars from %(first)s to %(last)s; the table holds the same numbers.") % {
        "first": _time_text(times[0], name),
        "last": _time_text(times[-1], name),
    }
    chart = Stacks(
        title,
        text,
        bars,
        [name_ for name_ in shown if name_],
        [tick for tick in ticks if _TOP - 1 <= tick.position <= _HEIGHT - _BOTTOM + 1],
        marks,
        zero,
    )
    return render_to_string("admin/reports/stacks.html", {"chart": chart})


def _time_text(day: date, name: str) -> str:
    return f"{day:%Y-%m}" if name == "month" else day.isoformat()


@dataclass(frozen=True, slots=True)
class Rank:
    """A bar of a ranking, and how much of the longest it is."""

    name: str
    text: str
    percent: float
    url: str = ""


def ranking(
    title: str, rows: Sequence[tuple[Decimal, _T]], show: Callable[[_T], tuple[str, str, str]], url: str = ""
) -> SafeString | None:
    """Return lying bars, the largest first; `url` leads to those that are left out, too.

    `show` returns name, value and address as texts, and is asked for what is drawn only: there may be 50,000 sessions.
    """
    shown = heapq.nlargest(RANKS, (row for row in rows if row[0] > 0), key=lambda row: row[0])
    if not shown:
        return None
    largest = shown[0][0]
    ranks = []
    for value, row in shown:
        name, text, address = show(row)
        ranks.append(Rank(name, text, float(100 * value / largest), address))
    context: dict[str, Any] = {"title": title, "url": url, "ranks": ranks, "left_out": max(0, len(rows) - len(ranks))}
    return render_to_string("admin/reports/ranking.html", context)
