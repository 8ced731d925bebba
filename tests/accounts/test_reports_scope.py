"""Reports: currencies, corrections, sessions, filters, who sees what."""

from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any
from unittest import mock

from django.contrib.auth.models import Group
from django.test import TestCase

from accounts.models import ApiKey, CallRecord, Correction, Team, User
from accounts.reports import BadQuery, Period, Query, business_day, query, run
from routing.models import RuntimeSettings
from tests.accounts.report_case import NOVEMBER, ReportCase, make_usage, rate
from tests.admin.rows import make_call


class Currencies(ReportCase):
    def test_an_amount_without_a_rate_is_named_and_not_counted_as_nothing(self) -> None:
        make_usage(self.keys[0], date(2026, 11, 3), cost=Decimal("1.5"))
        make_usage(self.keys[0], date(2026, 11, 3), currency="CNY", cost=Decimal(7))
        make_usage(self.keys[1], date(2026, 11, 3), currency="CNY", cost=Decimal(8))
        report = run(Query(NOVEMBER, ("user",)))
        self.assertEqual(report.missing_rates, {"CNY"})
        self.assertEqual(self.cost(report), {("ann",): Decimal("1.5"), ("bob",): None})
        self.assertEqual(report.total.costs, {"CNY": Decimal(15), "USD": Decimal("1.5")})
        self.assertEqual(report.total.cost, Decimal("1.5"))

    def test_a_rate_that_begins_within_the_period_counts_from_its_day_on(self) -> None:
        make_usage(self.keys[0], date(2026, 11, 3), currency="CNY", cost=Decimal(7))
        make_usage(self.keys[0], date(2026, 11, 20), currency="CNY", cost=Decimal(8))
        rate("USD", "CNY", "8", date(2026, 11, 20))
        report = run(Query(NOVEMBER))
        self.assertEqual((report.total.cost, report.missing_rates), (Decimal(1), {"CNY"}))

    def test_reports_are_in_the_currency_of_the_settings(self) -> None:
        RuntimeSettings.objects.create(pk=1, report_currency="CNY")
        rate("USD", "CNY", "7", date(2026, 1, 1))
        make_usage(self.keys[0], date(2026, 11, 3), cost=Decimal(2))
        report = run(Query(NOVEMBER))
        self.assertEqual((report.currency, report.total.cost), ("CNY", Decimal(14)))

    def test_a_comparison_of_which_one_side_has_no_rate_is_no_saving(self) -> None:
        money = {
            "cost": Decimal(1),
            "compared_cost": Decimal(1),
            "reference_cost": Decimal(50),
            "uncached_cost": Decimal(1),
        }
        make_usage(self.keys[0], date(2026, 11, 3), reference_currency="CNY", **money)
        total = run(Query(NOVEMBER)).total
        self.assertEqual((total.cost, total.saved, total.missing_rates), (Decimal(1), Decimal(0), {"CNY"}))

    def test_the_cost_of_writing_caches_can_make_caching_dearer(self) -> None:
        make_usage(self.keys[0], date(2026, 11, 3), cost=Decimal(3), uncached_cost=Decimal(2))
        self.assertEqual(run(Query(NOVEMBER)).total.cache_saved, Decimal(-1))


class Scope(ReportCase):
    @classmethod
    def setUpTestData(cls) -> None:
        super().setUpTestData()
        for number, key in enumerate(cls.keys):
            make_usage(key, date(2026, 11, 3), cost=Decimal(number + 1))
        cls.above.lead = cls.ann
        cls.above.save(update_fields=["lead"])

    def test_finance_sees_all_and_a_member_himself(self) -> None:
        self.bob.groups.add(Group.objects.get(name="member"))
        self.loner.groups.add(Group.objects.get(name="finance"))
        self.assertEqual(len(run(Query(NOVEMBER, ("user",), viewer=self.loner)).rows), 3)
        report = run(Query(NOVEMBER, ("user",), viewer=self.bob))
        self.assertEqual((self.cost(report), report.total.cost), ({("bob",): Decimal(2)}, Decimal(2)))

    def test_a_lead_sees_the_teams_below_but_no_others(self) -> None:
        self.ann.groups.add(Group.objects.get(name="team_lead"))
        report = run(Query(NOVEMBER, ("team",), viewer=self.ann))
        self.assertEqual(self.cost(report), {("研发",): Decimal(1), ("平台",): Decimal(2)})

    def test_teams_below_can_be_counted_for_the_one_above(self) -> None:
        report = run(Query(NOVEMBER, ("team",), roll_up=True))
        self.assertEqual(self.cost(report), {("研发",): Decimal(3), ("(none)",): Decimal(3)})
        self.assertEqual(report.total, run(Query(NOVEMBER, ("team",))).total)
        only = run(Query(NOVEMBER, ("user",), {"team": self.above.pk}, roll_up=True))
        self.assertEqual(self.cost(only), {("ann",): Decimal(1), ("bob",): Decimal(2)})

    def test_who_sees_the_team_below_only_has_it_counted_for_itself(self) -> None:
        self.below.lead = self.bob
        self.below.save(update_fields=["lead"])
        self.bob.groups.add(Group.objects.get(name="team_lead"))
        report = run(Query(NOVEMBER, ("team",), viewer=self.bob, roll_up=True))
        self.assertEqual(self.cost(report), {("平台",): Decimal(2)})

    def test_usage_is_filtered_by_what_it_has_and_by_what_it_lacks(self) -> None:
        cases: list[tuple[dict[str, Any], int]] = [
            ({"team": self.below.pk}, 2),
            ({"team": None}, 3),
            ({"team": [None, self.below.pk]}, 5),
            ({"cost_center": "4711"}, 1),
            ({"cost_center": ""}, 3),
            ({"user": [self.ann.pk, self.bob.pk]}, 3),
            ({"model": "big", "currency": "USD"}, 6),
            ({"scene": "code"}, 0),
            ({"scene": ""}, 6),
        ]
        for filters, cost in cases:
            with self.subTest(filters=filters):
                self.assertEqual(run(Query(NOVEMBER, (), filters)).total.cost, cost)

    def test_who_left_keeps_the_name(self) -> None:
        User.objects.update(is_active=False)
        ApiKey.objects.update(is_active=False)
        Team.objects.update(is_active=False)
        report = run(Query(NOVEMBER, ("team", "key")))
        self.assertEqual(
            {row.labels for row in report.rows},
            {("研发", "ann/laptop"), ("平台", "bob/laptop"), ("(none)", "loner/laptop")},
        )

    def test_an_empty_period_has_no_rows_and_a_total_of_nothing(self) -> None:
        report = run(Query(Period.month(date(2020, 2, 3)), ("day", "user")))
        self.assertEqual((report.rows, report.total.calls, report.total.cost), ([], 0, Decimal(0)))

    def test_a_question_that_has_no_answer_says_why(self) -> None:
        for by, filters in (("colour",), {}), (("day", "day"), {}), ((), {"day": 1}), ((), {"colour": 1}):
            with self.subTest(by=by, filters=filters), self.assertRaises(BadQuery):
                Query(NOVEMBER, by, filters)
        with self.assertRaises(ValueError):
            Period(date(2026, 11, 2), date(2026, 11, 1))

    def test_an_answer_that_nobody_could_read_is_refused(self) -> None:
        with mock.patch.object(query, "MAX_ROWS", 2), self.assertRaisesMessage(BadQuery, "more than 2 rows"):
            run(Query(NOVEMBER, ("user",)))


class Sessions(ReportCase):
    def make(self, **fields: Any) -> CallRecord:
        """Write a call of a session with its row of the day."""
        values: dict[str, Any] = {
            "session_id": "s1",
            "booked_on": date(2026, 11, 3),
            "started_at": datetime(2026, 11, 3, 10, tzinfo=UTC),
            "currency": "USD",
            "cost": Decimal(1),
            "input_tokens": 10,
        }
        return make_call(self.keys[0], **{**values, **fields})

    def test_calls_are_summed_by_session_and_subagent_as_the_days_sum_them(self) -> None:
        reference = {"reference_cost": Decimal(5), "reference_currency": "USD"}
        self.make(**reference, uncached_cost=Decimal(3), fallbacks=1)
        self.make(agent_id="a1", status="failed", usage_is_estimated=True)
        self.make(session_id="s2", cost=None, currency="", **reference)
        self.make(session_id="s2", status="lost", cost=Decimal(2))
        self.make(session_id="s2", status="running", settled_at=None, booked_on=None, cost=None, currency="")
        report = run(Query(NOVEMBER, ("session",)))
        one, two = (row.totals for row in report.rows)
        self.assertEqual([row.ids for row in report.rows], [("s1",), ("s2",)])
        self.assertEqual((one.calls, one.failed_calls, one.fallback_calls, one.estimated_calls), (2, 1, 1, 1))
        self.assertEqual((one.cost, one.failed_cost, one.fallback_cost), (Decimal(2), Decimal(1), Decimal(1)))
        self.assertEqual((one.saved, one.cache_saved), (Decimal(4), Decimal(2)))
        self.assertEqual((two.calls, two.failed_calls, two.unpriced_calls, two.saved), (2, 1, 1, Decimal(0)))
        by_agent = run(Query(NOVEMBER, ("session", "subagent"), {"session": "s1"}))
        self.assertEqual([row.labels for row in by_agent.rows], [("s1", "(none)"), ("s1", "a1")])

    def test_the_day_of_a_call_is_the_one_on_which_it_was_booked(self) -> None:
        # 22:30 UTC on the last of October is November in Shanghai.
        self.make(started_at=datetime(2026, 10, 31, 22, 30, tzinfo=UTC), booked_on=date(2026, 11, 1))
        self.make(started_at=datetime(2026, 11, 30, 22, 30, tzinfo=UTC), booked_on=date(2026, 12, 1))
        # 05:00 UTC on the first of December is November in Honolulu.
        self.make(started_at=datetime(2026, 12, 1, 5, tzinfo=UTC), booked_on=date(2026, 11, 30))
        self.assertEqual(run(Query(NOVEMBER, ("session",))).total.calls, 2)

    def test_a_correction_belongs_to_the_session_of_its_call(self) -> None:
        call = self.make()
        fields = {
            "key": call.key,
            "user": call.user,
            "team": call.team,
            "currency": "USD",
            "corrects_on": date(2026, 10, 3),
            "booked_on": date(2026, 11, 5),
        }
        Correction.objects.create(call=call, cost=Decimal(-3), input_tokens=-4, reason="x", **fields)
        Correction.objects.create(cost=Decimal(9), reason="y", **fields)
        report = run(Query(NOVEMBER, ("session",)))
        found = {row.ids[0]: (row.totals.calls, row.totals.cost, row.totals.corrections) for row in report.rows}
        self.assertEqual(found, {"": (0, Decimal(9), 1), "s1": (1, Decimal(-2), 1)})
        self.assertEqual((report.total.input_tokens, report.total.cache_saved), (6, Decimal(0)))

    def test_corrections_in_the_sums_of_the_days_are_counted(self) -> None:
        make_usage(self.keys[0], date(2026, 11, 5), calls=0, cost=Decimal(-3))
        call = self.make()
        Correction.objects.create(
            key=call.key, user=call.user, cost=Decimal(-3), currency="USD", reason="x",
            provider_name="main", model_name="big", kind="main", team=call.team,
            corrects_on=date(2026, 10, 3), booked_on=date(2026, 11, 5),
        )  # fmt: skip
        (row,) = run(Query(NOVEMBER, ("user", "model"))).rows
        self.assertEqual((row.totals.cost, row.totals.corrections), (Decimal(-3), 1))


class Periods(TestCase):
    def test_months_and_days_end_where_the_calendar_says(self) -> None:
        self.assertEqual(Period.month(date(2028, 2, 10)), Period(date(2028, 2, 1), date(2028, 2, 29)))
        self.assertEqual(Period.month(date(2026, 12, 31)), Period(date(2026, 12, 1), date(2026, 12, 31)))
        self.assertEqual(Period.last_month(date(2026, 1, 31)), Period(date(2025, 12, 1), date(2025, 12, 31)))
        self.assertEqual(Period.last_30_days(date(2026, 3, 1)), Period(date(2026, 1, 31), date(2026, 3, 1)))

    def test_the_day_is_that_of_the_business_time_zone(self) -> None:
        now = datetime(2026, 10, 31, 17, tzinfo=UTC)
        self.assertEqual(business_day(now), date(2026, 10, 31))
        RuntimeSettings.objects.create(pk=1, business_time_zone="Asia/Shanghai")
        self.assertEqual(business_day(now), date(2026, 11, 1))
