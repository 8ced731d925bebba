"""Windows one after another: counters set back, a business time zone that changes, minutes of long ago."""

from datetime import timedelta
from decimal import Decimal
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest
from django.test import TestCase

from accounts import counters, reaper
from accounts.errors import QuotaExceeded
from accounts.models import QuotaWindow
from accounts.verification import differences
from routing.snapshot import SettingsSnapshot
from tests.accounts.books import NOW, admit, person, quota, settle, snapshot

MINUTE = timedelta(minutes=1)


def windows() -> list[tuple[Decimal, Decimal]]:
    return list(QuotaWindow.objects.order_by("quota", "starts_at").values_list("used", "reserved"))


class Resets(TestCase):
    def test_a_reset_frees_the_quota_and_keeps_what_was_used(self) -> None:
        for window in ("minute", "5h", "day", "week", "month", "total"):
            key, secret = person(f"user of {window}")
            limited = quota(key, "requests", window, 1)
            with self.subTest(window):
                settle(admit(secret))
                with pytest.raises(QuotaExceeded):
                    admit(secret)
                before = QuotaWindow.objects.get(quota=limited)
                (done,) = counters.reset([limited.pk], NOW + timedelta(seconds=1)).values()
                assert (done.used, done.starts_at, done.ends_at) == (1, before.starts_at, before.ends_at)
                settle(admit(secret, now=NOW + timedelta(seconds=2)))
                with pytest.raises(QuotaExceeded) as caught:
                    admit(secret, now=NOW + timedelta(seconds=3))
                assert caught.value.resets_at == before.ends_at
                old, new = QuotaWindow.objects.filter(quota=limited).order_by("starts_at")
                assert (old.starts_at, old.ends_at, old.used) == (before.starts_at, new.starts_at, 1)
                assert (new.starts_at, new.ends_at, new.used) == (NOW + timedelta(seconds=1), before.ends_at, 1)
                assert list(differences()) == []

    def test_calls_that_run_meanwhile_count_where_they_began(self) -> None:
        key, secret = person()
        limited = quota(key, "tokens", "month", 1000)
        running, cancelled = admit(secret), admit(secret)
        settle(admit(secret))
        counters.reset([limited.pk], NOW + MINUTE)
        assert windows() == [(100, 300), (0, 0)]
        later = admit(secret, now=NOW + 2 * MINUTE)
        assert list(differences()) == []
        settle(running)
        settle(cancelled, status="cancelled")
        assert windows() == [(300, 0), (0, 150)]
        settle(later)
        assert windows() == [(300, 0), (100, 0)]
        assert list(differences()) == []

    def test_a_call_of_a_clock_that_is_ahead_leaks_nothing(self) -> None:
        key, secret = person()
        limited = quota(key, "tokens", "day", 1000)
        ahead = admit(secret, now=NOW + MINUTE)
        settle(admit(secret, now=NOW + MINUTE))
        counters.reset([limited.pk], NOW + timedelta(seconds=1))
        # It began after the reset, by its own clock.
        assert windows() == [(0, 150), (100, 0)]
        assert list(differences()) == []
        settle(ahead)
        assert windows() == [(0, 0), (200, 0)]
        assert list(differences()) == []

    def test_the_next_window_is_the_usual_one(self) -> None:
        key, secret = person()
        limited = quota(key, "requests", "day", 5)
        settle(admit(secret))
        counters.reset([limited.pk], NOW + MINUTE)
        settle(admit(secret, now=NOW + timedelta(days=1)))
        newest = QuotaWindow.objects.latest("starts_at")
        assert (newest.starts_at.isoformat(), newest.used) == ("2026-11-24T00:00:00+00:00", 1)

    def test_no_quota_at_all_is_none_to_be_reset(self) -> None:
        assert counters.reset([], NOW) == {}

    def test_where_nothing_was_used_nothing_is_done(self) -> None:
        key, secret = person()
        never, empty = quota(key, "requests", "day", 5), quota(key, "cost", "day", 5, currency="CNY")
        assert counters.reset([never.pk], NOW) == {}
        settle(admit(secret))
        assert list(counters.reset([never.pk, empty.pk], NOW + MINUTE)) == [never.pk]
        assert counters.reset([never.pk], NOW + 2 * MINUTE) == {}


class TimeZones(TestCase):
    def test_no_call_counts_twice_when_the_business_time_zone_changes(self) -> None:
        key, secret = person()
        for window in ("day", "week", "month"):
            quota(key, "requests", window, 1000)
        zones = ("UTC", "Asia/Shanghai", "America/St_Johns", "Pacific/Apia")
        # A change every 50 hours, a call every 5, over the end of the month.
        for number in range(50):
            zone = ZoneInfo(zones[number // 10 % len(zones)])
            view = snapshot(settings=SettingsSnapshot(business_time_zone=zone))
            settle(admit(secret, now=NOW + timedelta(hours=5 * number), view=view), view=view)
        for limited in QuotaWindow.objects.values_list("quota", flat=True).distinct():
            rows = list(QuotaWindow.objects.filter(quota=limited).order_by("starts_at"))
            assert sum(row.used for row in rows) == 50
            for before, after in pairwise(rows):
                assert before.ends_at is not None
                assert before.ends_at <= after.starts_at
        assert list(differences()) == []


class Minutes(TestCase):
    def test_old_minutes_that_hold_nothing_are_forgotten(self) -> None:
        key, secret = person()
        minute = quota(key, "requests", "minute", 5)
        quota(key, "requests", "day", 5)
        settle(admit(secret))
        running = admit(secret, now=NOW + MINUTE)
        settle(admit(secret, now=NOW + timedelta(days=2)))
        later = NOW + timedelta(days=2, minutes=3)
        assert reaper.forget_minutes(later) == 1
        assert list(QuotaWindow.objects.filter(quota=minute).values_list("reserved", flat=True)) == [0, 1]
        assert QuotaWindow.objects.count() == 4
        assert list(differences()) == []
        settle(running)
        assert reaper.forget_minutes(later) == 1
        assert list(differences()) == []

    def test_a_call_that_outlives_a_window_in_which_it_holds_nothing(self) -> None:
        key, secret = person()
        quota(key, "cost", "minute", 5, currency="CNY")
        running = admit(secret)
        reaper.forget_minutes(NOW + timedelta(days=3))
        assert list(differences()) == []
        settle(running)
        assert list(differences()) == []
