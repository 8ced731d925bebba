"""Budgets: what is used of quotas, and the forecast to the end of the window."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal

from django.contrib.auth.models import Group
from django.test import TestCase

from accounts.models import Quota, QuotaRaise, QuotaWindow, Team, User
from accounts.reports.budgets import Budget, budgets
from routing.models import RuntimeSettings
from tests.accounts.books import quota
from tests.accounts.report_case import make_usage
from tests.admin.rows import make_key

START = datetime(2026, 11, 1, tzinfo=UTC)
END = datetime(2026, 12, 1, tzinfo=UTC)


def window(of: Quota, used: int, starts_at: datetime = START, ends_at: datetime | None = END) -> QuotaWindow:
    """Write a window of a quota."""
    return QuotaWindow.objects.create(quota=of, used=used, starts_at=starts_at, ends_at=ends_at)


class Budgets(TestCase):
    @classmethod
    def setUpTestData(cls) -> None:
        cls.team = Team.objects.create(name="平台")
        cls.ann = User.objects.create(username="ann", team=cls.team)
        cls.key = make_key(cls.ann, "laptop")

    def only(self, now: datetime) -> Budget:
        (budget,) = budgets(None, now)
        return budget

    def test_the_forecast_goes_on_at_the_pace_so_far(self) -> None:
        window(quota(self.team, "cost", "month", 100), 40)
        budget = self.only(START + timedelta(days=10))
        self.assertEqual((budget.percent, budget.forecast, budget.forecast_percent), (40, 120, 120))
        self.assertEqual(budget.runs_out_at, START + timedelta(days=25))
        self.assertEqual((budget.subject, budget.starts_at, budget.ends_at), ("team 平台", START, END))

    def test_what_lasts_to_the_end_does_not_run_out(self) -> None:
        window(quota(self.key, "tokens", "month", 1000), 100)
        budget = self.only(START + timedelta(days=15))
        self.assertEqual((budget.forecast, budget.runs_out_at), (200, None))

    def test_a_window_that_just_began_is_reckoned_by_the_one_before(self) -> None:
        monthly = quota(self.team, "requests", "month", 500)
        window(monthly, 310, datetime(2026, 10, 1, tzinfo=UTC), START)
        window(monthly, 20)
        budget = self.only(START + timedelta(days=1))
        # Ten a day, 29 days to come.
        self.assertEqual(budget.forecast, 310)
        self.assertEqual([past.used for past in budget.former], [310])

    def test_a_window_without_calls_is_empty_and_cut_in_the_business_time_zone(self) -> None:
        RuntimeSettings.objects.create(pk=1, business_time_zone="Asia/Shanghai")
        quota(self.ann, "cost", "month", 10)
        budget = self.only(datetime(2026, 10, 31, 17, tzinfo=UTC))
        self.assertEqual((budget.used, budget.percent), (0, 0))
        self.assertEqual(budget.starts_at, datetime(2026, 10, 31, 16, tzinfo=UTC))

    def test_a_full_one_has_run_out_and_a_raise_gives_room(self) -> None:
        full = quota(self.team, "cost", "month", 100)
        window(full, 100)
        now = START + timedelta(days=15)
        self.assertEqual(self.only(now).runs_out_at, now)
        QuotaRaise.objects.create(quota=full, amount=300, starts_at=START, ends_at=END)
        budget = self.only(now)
        self.assertEqual((budget.limit, budget.raised, budget.percent, budget.runs_out_at), (400, 300, 25, None))

    def test_a_limit_of_nothing_is_used_up(self) -> None:
        window(quota(self.team, "cost", "day", 0), 0, START, START + timedelta(days=1))
        self.assertEqual(self.only(START + timedelta(hours=5)).percent, 100)

    def test_a_total_runs_out_at_the_pace_of_the_last_month(self) -> None:
        now = START + timedelta(days=20)
        for subject, unit, limit in ((self.team, "cost", 100), (self.key, "tokens", 500), (self.ann, "requests", 50)):
            total = quota(subject, unit, "total", limit)
            window(total, limit // 2, datetime(1970, 1, 1, tzinfo=UTC), None)
        usage = {"cost": Decimal(20), "calls": 33, "failed_calls": 3, "input_tokens": 40, "cache_read_tokens": 20}
        make_usage(self.key, (now - timedelta(days=3)).date(), **usage)
        make_usage(self.key, (now - timedelta(days=2)).date(), currency="CNY", cost=Decimal(999))
        make_usage(self.key, (now - timedelta(days=99)).date(), **usage)
        found = {each.quota.unit: each for each in budgets(None, now)}
        # 50 at 20 in 30 days; 250 at 60 (and the other currency's one call) in 30; 25 at 31 in 30.
        self.assertEqual(found["cost"].runs_out_at, now + timedelta(days=75))
        self.assertEqual(found["tokens"].runs_out_at, now + timedelta(days=125))
        self.assertAlmostEqual(
            found["requests"].runs_out_at, now + timedelta(days=25 * 30 / 31), delta=timedelta(seconds=2)
        )
        self.assertEqual({each.forecast for each in found.values()}, {None})
        with self.assertNumQueries(4):
            budgets(None, now)

    def test_totals_and_windows_that_nobody_opened_have_no_forecast(self) -> None:
        total = quota(self.team, "cost", "total", 100)
        window(total, 30, datetime(1970, 1, 1, tzinfo=UTC), None)
        quota(self.team, "cost", "5h", 100)
        quota(self.team, "cost", "minute", 100)
        quota(self.team, "cost", "day", 100, is_active=False)
        found = budgets(None, START)
        self.assertEqual(
            [(each.quota.window, each.forecast, each.starts_at) for each in found],
            [("total", None, None), ("5h", None, None)],
        )

    def test_a_lead_sees_the_budgets_of_his_team_and_a_member_his_own(self) -> None:
        other = User.objects.create(username="other", team=Team.objects.create(name="other"))
        for subject in (self.team, self.ann, self.key, other, other.team):
            quota(subject, "cost", "month", 1)
        lead = User.objects.create(username="lead")
        lead.groups.add(Group.objects.get(name="team_lead"))
        Team.objects.filter(pk=self.team.pk).update(lead=lead)
        self.assertEqual({each.subject for each in budgets(lead, START)}, {"team 平台", "user ann", "key ann/laptop"})
        self.assertEqual({each.subject for each in budgets(self.ann, START)}, {"user ann", "key ann/laptop"})
        self.assertEqual(len(budgets(None, START)), 5)

    def test_the_number_of_queries_is_fixed(self) -> None:
        for subject in (self.team, self.ann, self.key):
            window(quota(subject, "cost", "month", Decimal(5)), 1)
        with self.assertNumQueries(3):
            budgets(None, START + timedelta(days=3))
