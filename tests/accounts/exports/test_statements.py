"""A team's statement: its own numbers, compared, converted and explained."""

from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

from django.db import connection
from django.test import TestCase
from django.test.utils import CaptureQueriesContext
from django.utils import translation

from accounts.exports.statements import Statement, statement, statement_html
from accounts.models import ApiKey, Correction, ExchangeRate, Quota, QuotaRaise, QuotaWindow, Team, UsageDaily
from tests.accounts.books import person

NOVEMBER = date(2026, 11, 1)
NOW = datetime(2026, 12, 2, tzinfo=UTC)


class Statements(TestCase):
    def setUp(self) -> None:
        self.team = Team.objects.create(name="<Platform>", cost_center="4711")
        self.key = person("dev1", self.team)[0]

    def use(self, day: date, cost: str, key: ApiKey | None = None, **fields: Any) -> None:
        key = key or self.key
        values: dict[str, Any] = {
            "date": day,
            "key": key,
            "user": key.user,
            "team": key.user.team,
            "provider_name": "main",
            "model_name": "big",
            "currency": "USD",
            "calls": 3,
            "input_tokens": 1000,
            "cost": Decimal(cost),
            "uncached_cost": Decimal(cost),
        }
        UsageDaily.objects.create(**(values | fields))

    def made(self, team: Team | None = None) -> Statement:
        return statement(team or self.team, NOVEMBER)

    def test_it_counts_the_team_alone_and_compares_with_the_month_before(self) -> None:
        self.use(date(2026, 11, 3), "3")
        self.use(date(2026, 10, 3), "2")
        below = Team.objects.create(name="Below", parent=self.team)
        self.use(date(2026, 11, 3), "100", person("dev2", below)[0])
        found = self.made()
        self.assertEqual((found.total.cost, found.before.cost, found.change), (Decimal(3), Decimal(2), Decimal("50.0")))
        self.assertEqual([row.labels for row in found.users], [("dev1",)])
        self.assertEqual([row.labels for row in found.models], [("main", "big")])
        self.assertEqual([team.name for team in found.below], ["Below"])

    def test_people_without_a_team_have_one_together(self) -> None:
        self.use(date(2026, 11, 3), "3")
        self.use(date(2026, 11, 3), "5", person("loner")[0])
        self.assertEqual(statement(None, NOVEMBER).total.cost, Decimal(5))

    def test_the_budget_of_the_month_has_its_raises(self) -> None:
        quota = Quota.objects.create(team=self.team, unit="cost", window="month", limit=10)
        QuotaWindow.objects.create(
            quota=quota, starts_at=datetime(2026, 11, 1, tzinfo=UTC), ends_at=datetime(2026, 12, 1, tzinfo=UTC), used=6
        )
        QuotaWindow.objects.create(
            quota=quota, starts_at=datetime(2026, 12, 1, tzinfo=UTC), ends_at=datetime(2027, 1, 1, tzinfo=UTC), used=1
        )
        for starts, amount in ((datetime(2026, 11, 20, tzinfo=UTC), 5), (datetime(2026, 12, 1, tzinfo=UTC), 50)):
            QuotaRaise.objects.create(quota=quota, amount=amount, starts_at=starts, ends_at=starts.replace(day=28))
        (line,) = self.made().budgets
        self.assertEqual((line.used, line.limit, line.percent), (Decimal(6), Decimal(15), Decimal("40.0")))

    def test_the_page_says_all_of_it_and_escapes_names(self) -> None:
        self.use(date(2026, 11, 3), "3")
        self.use(date(2026, 11, 4), "1", currency="CNY")
        self.use(date(2026, 11, 4), "1", currency="EUR", unpriced_calls=1)
        ExchangeRate.objects.create(
            from_currency="USD", to_currency="CNY", rate=Decimal(7), valid_from=date(2026, 1, 1)
        )
        Correction.objects.create(
            key=self.key,
            user=self.key.user,
            team=self.team,
            cost=Decimal("-0.5"),
            currency="USD",
            reason="refund",
            corrects_on=date(2026, 10, 3),
            booked_on=date(2026, 11, 3),
        )
        page = statement_html(self.made(), NOW)
        for text in ("&lt;Platform&gt;", "4711", "refund", "-0.5000 USD", "1 USD = 7 CNY", "EUR", "A4 portrait"):
            self.assertIn(text, page)
        self.assertNotIn("<Platform>", page)
        with translation.override("zh-hans"):
            self.assertIn('lang="zh-hans"', statement_html(self.made(), NOW))

    def test_the_number_of_queries_does_not_grow_with_people_and_models(self) -> None:
        def queries() -> int:
            with CaptureQueriesContext(connection) as context:
                statement_html(self.made(), NOW)
            return len(context)

        self.use(date(2026, 11, 3), "3")
        few = queries()
        for number in range(8):
            self.use(date(2026, 11, 3), "3", person(f"more{number}", self.team)[0], model_name=f"model{number}")
        self.assertEqual(queries(), few)
