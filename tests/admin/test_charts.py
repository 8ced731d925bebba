"""Charts: where their bars stand, what they say, and that they carry nothing of a name but its text."""

import re
from datetime import date
from decimal import Decimal

from accounts.reports import Period
from gateway.admin.reports.charts import RANKS, SERIES, buckets, ranking, stacks

DAYS = Period(date(2026, 11, 1), date(2026, 11, 4))
D = Decimal


def bars(drawing: str) -> list[tuple[int, float, float, str]]:
    """Return series, top, height and text of each bar."""
    found = re.findall(
        r'<rect class="series-(\d)" x="[\d.]+" y="([\d.]+)" width="[\d.]+" height="([\d.]+)"><title>(.*?)</title>',
        drawing,
    )
    return [(int(series), float(y), float(height), title) for series, y, height, title in found]


def test_bars_stand_on_each_other_with_the_largest_series_at_the_foot() -> None:
    points = {
        (date(2026, 11, 1), "a"): D(10),
        (date(2026, 11, 1), "b"): D(30),
        (date(2026, 11, 3), "b"): D(40),
    }
    drawing = stacks("cost", points, DAYS, "USD", "day")
    assert drawing is not None
    (first, below, size, title), (second, above, _small, _title), (_series, _top, largest, _text) = bars(drawing)
    assert (first, second, title) == (0, 1, "2026-11-01 · b: 30.00 USD")
    assert largest > size
    # The second ends where the first begins, to the rounding of the drawing.
    assert abs(above + bars(drawing)[1][2] - below) < 0.02


def test_amounts_below_zero_hang_from_the_line() -> None:
    points = {(date(2026, 11, 1), ""): D(10), (date(2026, 11, 2), ""): D(-5)}
    drawing = stacks("cost", points, DAYS, "USD", "day")
    assert drawing is not None
    up, down = bars(drawing)
    assert abs(up[1] + up[2] - down[1]) < 0.02
    assert down[3] == "2026-11-02: -5.00 USD"


def test_series_beyond_the_colours_are_one() -> None:
    points = {(date(2026, 11, 1), f"s{number}"): D(100 - number) for number in range(20)}
    drawing = stacks("calls", points, DAYS, "", "day")
    assert drawing is not None
    assert len({series for series, *_rest in bars(drawing)}) == SERIES + 1
    assert "others" in drawing


def test_names_are_escaped() -> None:
    points = {(date(2026, 11, 1), "<script>"): D(1), (date(2026, 11, 1), "研发"): D(1)}
    drawing = stacks("<b>", points, DAYS, "USD", "day")
    assert drawing is not None
    assert "<script>" not in drawing
    assert "<b>" not in drawing
    assert "研发" in drawing
    ranks = ranking("<b>", [(D(1), "<script>")], lambda name: (name, "<i>", "/?a=1&b=2"))
    assert ranks is not None
    assert "<script>" not in ranks
    assert "<i>" not in ranks


def test_the_drawing_says_what_it_is_to_who_does_not_see_it() -> None:
    drawing = stacks("cost by day", {(date(2026, 11, 1), ""): D(1)}, DAYS, "USD", "day")
    assert drawing is not None
    assert 'role="img"' in drawing
    assert "<title>cost by day</title>" in drawing
    assert "<desc>Bars from 2026-11-01 to 2026-11-04" in drawing


def test_nothing_is_drawn_of_nothing_and_of_more_days_than_fit() -> None:
    assert stacks("cost", {}, DAYS, "USD", "day") is None
    assert stacks("cost", {(date(2026, 11, 1), "a"): D(0)}, DAYS, "USD", "day") is None
    century = Period(date(2000, 1, 1), date(2100, 1, 1))
    assert stacks("cost", {(date(2026, 11, 1), "a"): D(1)}, century, "USD", "day") is None
    assert ranking("cost", [(D(0), "a"), (D(-1), "b")], lambda name: (name, "", "")) is None


def test_tiny_and_huge_amounts_are_drawn() -> None:
    for amount in (D("0.0000000001"), D(10) ** 15):
        drawing = stacks("cost", {(date(2026, 11, 1), "a"): amount}, DAYS, "USD", "day")
        assert drawing is not None
        assert len(bars(drawing)) == 1


def test_every_stretch_of_a_period_has_its_place() -> None:
    assert buckets(DAYS, "day") == [date(2026, 11, day) for day in (1, 2, 3, 4)]
    # The first of November 2026 is a Sunday.
    assert buckets(DAYS, "week") == [date(2026, 10, 26), date(2026, 11, 2)]
    assert buckets(Period(date(2026, 11, 30), date(2027, 1, 1)), "month") == [
        date(2026, 11, 1),
        date(2026, 12, 1),
        date(2027, 1, 1),
    ]


def test_a_ranking_shows_the_largest_and_says_how_many_more_there_are() -> None:
    drawing = ranking(
        "cost", [(D(number + 1), f"s{number}") for number in range(RANKS + 3)], lambda name: (name, "", "")
    )
    assert drawing is not None
    assert "and 3 more" in drawing
    assert drawing.index(f"s{RANKS + 2}<") < drawing.index(f"s{RANKS}<")
