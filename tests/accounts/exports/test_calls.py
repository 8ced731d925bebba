"""The file of calls: exact, complete, safe to open, and no larger in memory than a page."""

import csv
import io
import tracemalloc
import uuid
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

from django.contrib.auth.models import Group
from django.db import connection
from django.db.models import Sum
from django.test import TestCase
from django.test.utils import CaptureQueriesContext
from django.utils import translation

from accounts.exports.calls import COLUMNS, calls_csv
from accounts.exports.cells import cell_text, guarded
from accounts.exports.selection import booked, count_up_to
from accounts.models import CallRecord, Correction, Team, UsageDaily
from accounts.reports import Period, Query
from accounts.roles import Role
from tests.accounts.books import admit, person, settle

DAY = date(2026, 11, 23)
SHANGHAI = ZoneInfo("Asia/Shanghai")


def read(parts: Iterator[bytes]) -> list[dict[str, str]]:
    """Return the lines of a file by the names of our columns, in order."""
    lines = list(csv.reader(io.StringIO(b"".join(parts).decode("utf-8-sig"))))
    return [dict(zip((column.name for column in COLUMNS), line, strict=True)) for line in lines[1:]]


class Cells(TestCase):
    def test_a_formula_that_somebody_chose_as_a_name_is_text(self) -> None:
        for text in ("=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "＝1+1", "＠x"):
            with self.subTest(text=text):
                self.assertEqual(guarded(text), f"'{text}")
        self.assertEqual(guarded("a=1"), "a=1")

    def test_numbers_are_exact_and_never_guarded(self) -> None:
        self.assertEqual(cell_text(Decimal("-0.0000000001")), "-0.0000000001")
        self.assertEqual(cell_text(Decimal("1E+3")), "1000")
        self.assertEqual(cell_text(Decimal("0E-10")), "0")
        self.assertEqual(cell_text(-5), "-5")
        self.assertEqual(cell_text(None), "")


class CallsCsv(TestCase):
    def setUp(self) -> None:
        self.team = Team.objects.create(name="平台", cost_center="4711")
        self.key, self.secret = person("dev1", self.team)
        self.other, self.other_secret = person("dev2")

    def call(self, secret: str | None = None, **fields: Any) -> None:
        settle(admit(secret or self.secret), **fields)

    def correct(self, **fields: Any) -> Correction:
        values: dict[str, Any] = {
            "key": self.key,
            "user": self.key.user,
            "team": self.team,
            "cost": Decimal("-0.5"),
            "currency": "USD",
            "reason": "=refund",
            "corrects_on": date(2026, 10, 3),
            "booked_on": DAY,
        }
        return Correction.objects.create(**(values | fields))

    def test_the_lines_add_up_to_what_the_reports_count(self) -> None:
        self.call()
        self.call(self.other_secret, cost=Decimal("0.3333333333"), currency="CNY")
        self.call(cost=None, currency="", cost_source="")
        lines = read(calls_csv(booked(Query(Period(DAY, DAY))), SHANGHAI))
        for currency in ("USD", "CNY"):
            booked_sum = UsageDaily.objects.filter(date=DAY, currency=currency).aggregate(sum=Sum("cost"))["sum"]
            listed = sum((Decimal(line["cost"]) for line in lines if line["currency"] == currency), Decimal(0))
            self.assertEqual(listed, booked_sum)
        self.assertEqual(len(lines), 3)

    def test_a_line_says_who_when_where_and_how_much(self) -> None:
        self.call()
        (line,) = read(calls_csv(booked(Query(Period(DAY, DAY))), SHANGHAI))
        call = CallRecord.objects.get()
        self.assertEqual(line["when"], "2026-11-23 18:11:12")
        self.assertEqual(line["when_utc"], "2026-11-23 10:11:12")
        self.assertEqual(line["request_id"], call.request_id)
        self.assertEqual((line["user"], line["team"], line["cost_center"]), ("dev1", "平台", "4711"))
        self.assertEqual((line["provider"], line["model"], line["status"]), ("main", "big", "ok"))
        self.assertEqual((line["input_tokens"], line["output_tokens"]), ("80", "20"))
        self.assertEqual((line["cost"], line["currency"], line["cost_source"]), ("0.00054", "USD", "price"))

    def test_corrections_are_lines_of_their_own(self) -> None:
        self.call()
        self.correct()
        call, correction = read(calls_csv(booked(Query(Period(DAY, DAY))), SHANGHAI))
        self.assertEqual((call["entry"], correction["entry"]), ("call", "correction"))
        self.assertEqual((correction["cost"], correction["corrects_on"]), ("-0.5", "2026-10-03"))
        self.assertEqual(correction["reason"], "'=refund")

    def test_excel_in_china_reads_it_and_its_titles_are_of_the_reader(self) -> None:
        with translation.override("zh-hans"):
            first = next(calls_csv(booked(Query(Period(DAY, DAY))), SHANGHAI))
        self.assertTrue(first.startswith(b"\xef\xbb\xbf"))
        self.assertIn("团队", first.decode())
        self.assertIn("Asia/Shanghai", first.decode())

    def test_only_the_period_and_the_chosen_dimensions_are_in_it(self) -> None:
        self.call()
        self.call(self.other_secret)
        self.correct(booked_on=DAY + timedelta(days=1))

        def users(**filters: Any) -> list[str]:
            return sorted(
                line["user"] for line in read(calls_csv(booked(Query(Period(DAY, DAY), filters=filters)), SHANGHAI))
            )

        self.assertEqual(users(), ["dev1", "dev2"])
        self.assertEqual(users(team=self.team.pk), ["dev1"])
        self.assertEqual(users(team=None), ["dev2"])
        self.assertEqual(users(cost_center="4711"), ["dev1"])
        self.assertEqual(users(cost_center=""), ["dev2"])
        self.assertEqual(users(key=self.other.pk), ["dev2"])
        self.assertEqual(users(model="none"), [])
        self.assertEqual(
            read(calls_csv(booked(Query(Period(DAY - timedelta(days=9), DAY - timedelta(days=1)))), SHANGHAI)), []
        )

    def test_a_lead_gets_the_calls_of_the_own_team_and_own_ones(self) -> None:
        self.call()
        self.call(self.other_secret)
        lead = self.key.user
        Group.objects.get_or_create(name=Role.TEAM_LEAD)[0].user_set.add(lead)
        Team.objects.filter(pk=self.team.pk).update(lead=lead)
        lines = read(calls_csv(booked(Query(Period(DAY, DAY), viewer=lead)), SHANGHAI))
        self.assertEqual([line["user"] for line in lines], ["dev1"])

    def test_running_calls_are_not_on_the_books_yet(self) -> None:
        admit(self.secret)
        self.assertEqual(read(calls_csv(booked(Query(Period(DAY, DAY))), SHANGHAI)), [])

    def test_pages_neither_lose_nor_repeat_calls_of_the_same_moment(self) -> None:
        for _ in range(7):
            self.call()
        self.correct()
        self.correct()
        self.correct()
        whole = read(calls_csv(booked(Query(Period(DAY, DAY))), SHANGHAI))
        for size in (1, 2, 3, 7):
            with self.subTest(size=size):
                self.assertEqual(read(calls_csv(booked(Query(Period(DAY, DAY))), SHANGHAI, size)), whole)
        self.assertEqual(len({line["request_id"] for line in whole[:7]}), 7)
        self.assertEqual([count_up_to(booked(Query(Period(DAY, DAY))), limit) for limit in (5, 20)], [6, 10])

    def test_a_page_is_one_query(self) -> None:
        for _ in range(6):
            self.call()
        with CaptureQueriesContext(connection) as context:
            read(calls_csv(booked(Query(Period(DAY, DAY))), SHANGHAI, 3))
        # Two full pages, an empty one behind them, the corrections.
        self.assertEqual(len(context), 4)
        # SQLite goes to the index with the first bound: it must be the end of the page before.
        second = context[1]["sql"].partition(" WHERE ")[2]
        self.assertRegex(second, r'^\(?"accounts_callrecord"."started_at" >= \S+2026-11-23')


class Memory(TestCase):
    def test_a_long_month_needs_no_more_memory_than_a_page(self) -> None:
        key, _ = person()
        start = datetime(2026, 11, 1, tzinfo=UTC)

        def fill(count: int, offset: int) -> None:
            CallRecord.objects.bulk_create(
                (
                    CallRecord(
                        id=uuid.uuid4(),
                        key=key,
                        user=key.user,
                        requested_model="claude-opus-5-5",
                        status="ok",
                        started_at=start + timedelta(seconds=offset + number),
                        settled_at=start,
                        booked_on=start.date(),
                        cost=Decimal("0.01"),
                        currency="USD",
                    )
                    for number in range(count)
                ),
                batch_size=500,
            )

        def peak() -> tuple[int, int]:
            tracemalloc.start()
            size = sum(
                len(part) for part in calls_csv(booked(Query(Period(start.date(), start.date()))), SHANGHAI, 500)
            )
            used = tracemalloc.get_traced_memory()[1]
            tracemalloc.stop()
            return size, used

        fill(2_000, 0)
        peak()  # what is loaded once
        small_size, small = peak()
        fill(18_000, 2_000)
        large_size, large = peak()
        self.assertGreater(large_size, 9 * small_size)
        self.assertLess(large, small * 1.3)
        self.assertLess(large, large_size)
