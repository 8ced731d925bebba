"""Reports: their numbers against a naive computation, by every dimension."""

import random
from collections import defaultdict
from datetime import date, timedelta
from decimal import Decimal
from typing import Any
from unittest import mock

from django.db import connection
from django.test.utils import CaptureQueriesContext

from accounts.models import UsageDaily
from accounts.reports import DIMENSIONS, Query, query, run
from accounts.reports.totals import AMOUNTS, COUNTS
from tests.accounts.report_case import NOVEMBER, ReportCase, rate, selects


class Numbers(ReportCase):
    @classmethod
    def setUpTestData(cls) -> None:
        super().setUpTestData()
        rate("USD", "CNY", "7.1", date(2026, 1, 1))
        rate("USD", "CNY", "7.33333333", date(2026, 11, 12))
        rate("CNY", "EUR", "0.13", date(2026, 10, 1))
        rate("CNY", "EUR", "0.12", date(2026, 11, 20))
        dice = random.Random(7)
        rows = []
        seen = set()
        for _ in range(300):
            key = dice.choice(cls.keys)
            day = NOVEMBER.start + timedelta(days=dice.randrange(30))
            name, currency = dice.choice(["big", "small"]), dice.choice(["USD", "CNY", "EUR", ""])
            reference = dice.choice(["", "USD", "CNY"]) if currency else ""
            if (key, day, name, currency, reference) in seen:
                continue
            seen.add((key, day, name, currency, reference))
            amount = lambda: Decimal(dice.randrange(-(10**6), 10**12)).scaleb(-10) if currency else Decimal(0)  # noqa: B023, E731
            rows.append(
                UsageDaily(
                    date=day,
                    key=key,
                    user=key.user,
                    team=key.user.team,
                    model_name=name,
                    currency=currency,
                    reference_currency=reference,
                    **{count: dice.randrange(1000) for count in COUNTS},
                    **{
                        each: amount()
                        for each in AMOUNTS
                        if reference or each not in ("reference_cost", "compared_cost")
                    },
                )
            )
        UsageDaily.objects.bulk_create(rows)

    def naive(self, by: Any) -> dict[Any, dict[str, Any]]:
        """Add everything up row by row, each amount converted on its own day."""
        to_usd = {}
        for day in (NOVEMBER.start + timedelta(days=number) for number in range(30)):
            usd_cny = Decimal("7.1") if day < date(2026, 11, 12) else Decimal("7.33333333")
            cny_eur = Decimal("0.13") if day < date(2026, 11, 20) else Decimal("0.12")
            to_usd[day] = {"USD": Decimal(1), "CNY": 1 / usd_cny, "EUR": 1 / (usd_cny * cny_eur), "": Decimal(1)}
        found: dict[Any, dict[str, Any]] = defaultdict(lambda: defaultdict(Decimal))
        for row in UsageDaily.objects.select_related("user", "team", "key"):
            numbers = found[by(row)]
            for name in COUNTS:
                numbers[name] += getattr(row, name)
            for name in AMOUNTS:
                currency = row.reference_currency if name == "reference_cost" else row.currency
                numbers[name] += getattr(row, name) * to_usd[row.date][currency]
        return found

    def test_rows_are_what_a_naive_computation_finds(self) -> None:
        cases: dict[str, Any] = {
            "day": lambda row: row.date,
            "week": lambda row: row.date - timedelta(days=row.date.weekday()),
            "month": lambda row: row.date.replace(day=1),
            "user": lambda row: row.user_id,
            "team": lambda row: row.team_id,
            "cost_center": lambda row: row.team.cost_center if row.team else "",
            "key": lambda row: row.key_id,
            "model": lambda row: row.model_name,
        }
        for name, by in cases.items():
            with self.subTest(by=name):
                expected = self.naive(by)
                report = run(Query(NOVEMBER, (name,)))
                self.assertEqual({row.ids[0] for row in report.rows}, set(expected))
                for row in report.rows:
                    numbers = expected[row.ids[0]]
                    for count in COUNTS:
                        self.assertEqual(getattr(row.totals, count), numbers[count], count)
                    for amount in AMOUNTS:
                        self.assertAlmostEqual(getattr(row.totals, amount), numbers[amount], 8, amount)
                    self.assertEqual(row.totals.saved, row.totals.reference_cost - row.totals.compared_cost)
                    self.assertEqual(row.totals.cache_saved, row.totals.uncached_cost - row.totals.cost)

    def test_the_rows_add_up_to_the_same_total_by_whatever_they_are_grouped(self) -> None:
        names = [name for name, dimension in DIMENSIONS.items() if not dimension.is_of_call]
        whole = run(Query(NOVEMBER)).total
        for by in [(name,) for name in names] + [("week", "user"), ("team", "model"), ("day", "key")]:
            with self.subTest(by=by):
                report = run(Query(NOVEMBER, by))
                self.assertEqual(report.total, whole)
                for name in (*COUNTS, *AMOUNTS, "saved", "cache_saved"):
                    self.assertEqual(sum(getattr(row.totals, name) for row in report.rows), getattr(whole, name), name)
                for currency, cost in whole.costs.items():
                    self.assertEqual(sum(row.totals.costs.get(currency, 0) for row in report.rows), cost)

    def test_with_a_rate_of_every_day_the_numbers_are_the_same(self) -> None:
        before = run(Query(NOVEMBER, ("user",)))
        for number in range(60):
            rate("USD", "JPY", "150", NOVEMBER.start - timedelta(days=10) + timedelta(days=number))
        with mock.patch.object(query, "_MAX_SEGMENTS", 3):
            self.assertEqual(run(Query(NOVEMBER, ("user",))).rows, before.rows)
        self.assertEqual(run(Query(NOVEMBER, ("user",))).rows, before.rows)

    def test_what_nobody_looks_at_is_not_summed_and_the_rest_stays_the_same(self) -> None:
        whole = run(Query(NOVEMBER, ("day", "user")))
        for sums in (
            ("cost",),
            ("output_tokens", "failed_cost"),
            ("reference_cost", "compared_cost"),
            (*COUNTS, "cost"),
        ):
            with self.subTest(sums=sums):
                report = run(Query(NOVEMBER, ("day", "user"), sums=frozenset(sums)))
                self.assertEqual([row.ids for row in report.rows], [row.ids for row in whole.rows])
                for row, full in [(report.total, whole.total), *zip(report.rows, whole.rows, strict=True)]:
                    some, every = getattr(row, "totals", row), getattr(full, "totals", full)
                    for name in (*COUNTS, *AMOUNTS):
                        summed = name in (*sums, "calls", "cost")
                        self.assertEqual(getattr(some, name), getattr(every, name) if summed else 0, name)
                    self.assertEqual((some.costs, some.missing_rates), (every.costs, every.missing_rates))

    def test_the_number_of_queries_is_fixed(self) -> None:
        # Settings, rates, sums, corrections, and the names of each dimension that is an id.
        for by, count in ((("day", "model"), 4), (("user", "key"), 6)):
            with CaptureQueriesContext(connection) as context:
                run(Query(NOVEMBER, by))
            self.assertEqual(selects(context), count)
