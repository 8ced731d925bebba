"""When windows begin and end, and what fits into them."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from accounts.errors import QuotaExceeded
from accounts.models import Quota
from accounts.quota import Reservation, Used, bounds, has_room

SHANGHAI = ZoneInfo("Asia/Shanghai")
BERLIN = ZoneInfo("Europe/Berlin")
NEW_YORK = ZoneInfo("America/New_York")
ST_JOHNS = ZoneInfo("America/St_Johns")
APIA = ZoneInfo("Pacific/Apia")


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


@pytest.mark.parametrize(
    ("window", "now", "zone", "start", "end"),
    [
        ("minute", "2026-11-23T10:11:12", UTC, "2026-11-23T10:11:00", "2026-11-23T10:12:00"),
        ("5h", "2026-11-23T10:11:12", UTC, "2026-11-23T10:11:12", "2026-11-23T15:11:12"),
        ("day", "2026-11-23T10:00:00", SHANGHAI, "2026-11-22T16:00:00", "2026-11-23T16:00:00"),
        # In Shanghai it is the first of the next month already.
        ("month", "2026-11-30T16:30:00", SHANGHAI, "2026-11-30T16:00:00", "2026-12-31T16:00:00"),
        ("month", "2026-12-31T23:59:59", UTC, "2026-12-01T00:00:00", "2027-01-01T00:00:00"),
        ("month", "2028-02-29T12:00:00", UTC, "2028-02-01T00:00:00", "2028-03-01T00:00:00"),
        ("week", "2026-11-22T23:30:00", UTC, "2026-11-16T00:00:00", "2026-11-23T00:00:00"),
        ("week", "2026-11-22T23:30:00", BERLIN, "2026-11-22T23:00:00", "2026-11-29T23:00:00"),
        # Days of 23 and of 25 hours.
        ("day", "2026-03-29T10:00:00", BERLIN, "2026-03-28T23:00:00", "2026-03-29T22:00:00"),
        ("day", "2026-10-25T10:00:00", BERLIN, "2026-10-24T22:00:00", "2026-10-25T23:00:00"),
        ("day", "2026-11-01T05:30:00", NEW_YORK, "2026-11-01T04:00:00", "2026-11-02T05:00:00"),
        ("week", "2026-10-25T12:00:00", BERLIN, "2026-10-18T22:00:00", "2026-10-25T23:00:00"),
        ("week", "2026-03-29T12:00:00", BERLIN, "2026-03-22T23:00:00", "2026-03-29T22:00:00"),
        ("month", "2026-03-31T21:59:59", BERLIN, "2026-02-28T23:00:00", "2026-03-31T22:00:00"),
        ("month", "2026-10-31T23:30:00", BERLIN, "2026-10-31T23:00:00", "2026-11-30T23:00:00"),
        ("week", "2026-12-31T20:00:00", SHANGHAI, "2026-12-27T16:00:00", "2027-01-03T16:00:00"),
        ("week", "2027-01-01T12:00:00", UTC, "2026-12-28T00:00:00", "2027-01-04T00:00:00"),
        # Half an hour off, and a day of 23 hours.
        ("day", "2026-03-08T12:00:00", ST_JOHNS, "2026-03-08T03:30:00", "2026-03-09T02:30:00"),
        ("month", "2028-02-29T12:00:00", ST_JOHNS, "2028-02-01T03:30:00", "2028-03-01T03:30:00"),
        ("day", "2028-02-29T20:00:00", ST_JOHNS, "2028-02-29T03:30:00", "2028-03-01T03:30:00"),
        # Clocks went back over midnight, at 00:01: the hour that comes twice is the next day's.
        ("day", "2010-11-07T03:15:00", ST_JOHNS, "2010-11-07T02:30:00", "2010-11-08T03:30:00"),
        ("day", "2010-11-07T02:29:59", ST_JOHNS, "2010-11-06T02:30:00", "2010-11-07T02:30:00"),
        # Apia had no 30 December 2011.
        ("day", "2011-12-30T09:59:59", APIA, "2011-12-29T10:00:00", "2011-12-30T10:00:00"),
        ("day", "2011-12-30T10:00:00", APIA, "2011-12-30T10:00:00", "2011-12-31T10:00:00"),
        ("month", "2012-01-01T00:00:00", APIA, "2011-12-31T10:00:00", "2012-01-31T10:00:00"),
        ("total", "2026-11-23T10:00:00", SHANGHAI, "1970-01-01T00:00:00", None),
    ],
)
def test_a_window_is_cut_in_the_business_time_zone(
    window: str, now: str, zone: ZoneInfo, start: str, end: str | None
) -> None:
    assert bounds(window, at(now), zone) == (at(start), at(end) if end else None)


ZONES = ("UTC", "Asia/Shanghai", "Europe/Berlin", "America/New_York", "America/St_Johns", "Pacific/Apia")
MORE_ZONES = ("Asia/Beirut", "America/Havana", "America/Santiago", "Africa/Casablanca", "Australia/Lord_Howe")


@given(
    moment=st.datetimes(datetime(1975, 1, 1), datetime(2060, 1, 1), timezones=st.just(UTC)),
    zone=st.sampled_from(ZONES + MORE_ZONES),
    window=st.sampled_from(("minute", "day", "week", "month")),
)
@settings(max_examples=500, deadline=None)
def test_windows_tile_time_without_gap_or_overlap(moment: datetime, zone: str, window: str) -> None:
    tz = ZoneInfo(zone)
    start, end = bounds(window, moment, tz)
    assert end is not None
    assert start <= moment < end
    assert bounds(window, start, tz) == bounds(window, end - timedelta(microseconds=1), tz) == (start, end)
    assert bounds(window, end, tz)[0] == end
    assert bounds(window, start - timedelta(microseconds=1), tz)[1] == start
    if window != "minute":
        longest = {"day": 1, "week": 7, "month": 31}[window]
        assert timedelta(hours=20) < end - start <= timedelta(days=longest, hours=4)
        local = start.astimezone(tz)
        # Midnight, or the moment after one that clocks skip, or that comes twice.
        assert local.hour < 2


@pytest.mark.parametrize(
    ("limit", "used", "reserved", "expected", "certain", "fits"),
    [
        (100, 0, 0, 100, 100, True),
        (100, 0, 0, 101, 101, False),
        (100, 50, 0, 50, 10, True),
        (100, 50, 0, 500, 50, True),  # alone: a short answer may fit
        (100, 50, 0, 500, 51, False),  # not even the prompt fits
        (100, 50, 1, 500, 10, False),  # not alone: together they could pass the cap
        (100, 100, 0, 0, 0, True),
        (100, 100, 0, 5, 0, False),
        (0, 0, 0, 1, 1, False),
    ],
)
def test_room(limit: int, used: int, reserved: int, expected: int, certain: int, fits: bool) -> None:
    assert has_room(*map(Decimal, (limit, used, reserved, expected, certain))) is fits


def test_reservation_survives_its_record() -> None:
    reservation = Reservation(10, 20, Decimal("0.0001234567"), Decimal("0.00001"), "CNY")
    stored = Reservation.from_json(reservation.as_json([1, 2]))
    assert [stored.amount(unit, "CNY") for unit in ("requests", "tokens", "cost")] == [
        Decimal(1),
        Decimal(30),
        Decimal("0.0001234567"),
    ]
    assert stored.amount("cost", "USD") == 0


def test_what_failed_without_using_anything_counts_nothing() -> None:
    nothing = Used(counts=False, tokens=0, cost=None, currency="")
    assert [nothing.amount(unit, "USD") for unit in ("requests", "tokens", "cost")] == [0, 0, 0]


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        (
            {"unit": "cost", "window": "month", "limit": Decimal("120.000000"), "used": Decimal("120.5000000000")},
            "Quota of user 小李 reached: 120 CNY per month, 120.5 used. It resets at 2026-12-01 00:00 (Asia/Shanghai). / "
            "配额已用完：用户 小李 每月限额 120 CNY，已用 120.5。将于 2026-12-01 00:00 (Asia/Shanghai) 重置。",
        ),
        (
            {"unit": "tokens", "window": "5h", "limit": Decimal(900), "reserved": Decimal(300), "raised": Decimal(400)},
            "Quota of user 小李 reached: 900 tokens per 5 hours, 400 of it raised for a time, 500 used, "
            "300 held by running calls, about 150 needed. It resets at 2026-12-01 00:00 (Asia/Shanghai). / "
            "配额已用完：用户 小李 每 5 小时限额 900 token，其中临时增加 400，已用 500，进行中的请求占用 300，本次约需 150。"
            "将于 2026-12-01 00:00 (Asia/Shanghai) 重置。",
        ),
        (
            {"unit": "requests", "window": "total", "limit": Decimal(500), "resets_at": None},
            "Quota of user 小李 reached: 500 requests in total, 500 used. "
            "It does not reset; ask your administrator to raise it. / "
            "配额已用完：用户 小李 累计限额 500 次请求，已用 500。不会自动重置，请联系管理员调整。",
        ),
    ],
)
def test_a_refusal_says_all_in_english_and_chinese(fields: dict[str, Any], text: str) -> None:
    values: dict[str, Any] = {
        "subject": "user 小李",
        "used": Decimal(500),
        "currency": "CNY",
        "resets_at": datetime(2026, 11, 30, 16, tzinfo=UTC).astimezone(SHANGHAI),
        "retry_after_s": 60,
        "expected": Decimal(150),
    }
    assert str(QuotaExceeded(**(values | fields))) == text


def test_every_quota_can_be_named_in_a_refusal() -> None:
    for unit in Quota.Unit.values:
        for window in Quota.Window.values:
            for subject in ("team a", "user a", "key a/b"):
                assert " / 配额已用完：" in str(
                    QuotaExceeded(subject, unit, window, *[Decimal(1)] * 2, "USD", None, None)
                )
