"""From a number of a report to its calls: the list holds exactly as many as the number says."""

import html
import random
import re
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any
from unittest import mock

from django.test import Client
from django.urls import reverse

from accounts.models import ApiKey, CallRecord, Correction, Team, UsageDaily, User
from accounts.reports import DIMENSIONS, Period, Query, run
from accounts.reports.sources import CALLS
from accounts.reports.totals import AMOUNTS, COUNTS
from gateway.admin.reports.links import calls_url, corrections_url, parameters
from gateway.admin.reports.tables import FAILURES, usage_columns
from tests.accounts.report_case import rate
from tests.admin.pages import AdminTestCase, list_url
from tests.admin.rows import make_call, make_key

OCTOBER = Period(date(2026, 10, 5), date(2026, 11, 3))


def roll_up() -> None:
    """Write the sums of the days, from the calls and the corrections."""
    columns = ["key_id", "user_id", "team_id", "provider_name", "model_name", "scene_name", "kind", "currency"]
    settled = CallRecord.objects.exclude(status=CallRecord.Status.RUNNING)
    sums = {f"sum_{name}": expression for name, expression in CALLS.sums.items()}
    groups = settled.annotate(of_reference=CALLS.reference_currency).values("booked_on", *columns, "of_reference")
    UsageDaily.objects.bulk_create(
        UsageDaily(
            date=row["booked_on"],
            reference_currency=row["of_reference"],
            **{name: row[name] for name in columns},
            **{name: row[f"sum_{name}"] for name in (*COUNTS, *AMOUNTS)},
        )
        for row in groups.order_by().annotate(**sums)
    )


class Drilling(AdminTestCase):
    @classmethod
    def setUpTestData(cls) -> None:
        super().setUpTestData()
        above = Team.objects.create(name="研发", cost_center="4711")
        teams = [above, Team.objects.create(name="平台", parent=above), None]
        people = [User.objects.create(username=f"user{number}", team=team) for number, team in enumerate(teams)]
        cls.keys = [make_key(user, name) for user in people for name in ("laptop", "ci")]
        dice = random.Random(11)
        for _ in range(120):
            day = OCTOBER.start + timedelta(days=dice.randrange(-4, 34))
            currency = dice.choice(["USD", "CNY", ""])
            cls.call(
                dice.choice(cls.keys),
                day,
                # Up to a day before or after, by the time zone it was booked in.
                started_at=datetime(day.year, day.month, day.day, tzinfo=UTC)
                + timedelta(hours=dice.randrange(-13, 36)),
                status=dice.choice(["ok", "ok", "failed", "lost", "cancelled"]),
                fallbacks=dice.choice([0, 0, 2]),
                usage_is_estimated=dice.random() < 0.3,
                input_tokens=dice.choice([0, 5]),
                cost=Decimal(dice.randrange(1, 1000)) if currency else None,
                currency=currency,
                provider_name=dice.choice(["main", ""]),
                model_name=dice.choice(["big", "z-ai/glm 4.6 & co", ""]),
                scene_name=dice.choice(["写代码", ""]),
                kind=dice.choice(["main", "classifier"]),
                session_id=dice.choice(["s1", "s2", ""]),
                agent_id=dice.choice(["a1", ""]),
            )
        cls.call(cls.keys[0], None, status="running", settled_at=None, started_at=datetime(2026, 10, 20, tzinfo=UTC))
        roll_up()

    @classmethod
    def call(cls, key: ApiKey, day: date | None, **fields: Any) -> CallRecord:
        return make_call(key, booked_on=day, **fields)

    def listed(self, url: str, client: Client | None = None) -> int:
        response = (client or self.client).get(url)
        self.assertEqual(response.status_code, 200, url)
        return int(response.context["cl"].result_count)

    def check(self, query: Query) -> None:
        """Open every count of every row, and of the total."""
        report = run(query)
        columns = {
            column.name: column for column in (*usage_columns(report), *FAILURES) if column.name.endswith("calls")
        }
        self.assertEqual(len(columns), 5)
        for ids, totals in [((), report.total), *((row.ids, row.totals) for row in report.rows)]:
            found = parameters(query, ids)
            for column in columns.values():
                url = calls_url(found, **({"only": column.only} if column.only else {}))
                self.assertEqual(self.listed(url), column.value(totals), url)

    def test_the_list_behind_every_count_is_as_long_as_the_count(self) -> None:
        for name in DIMENSIONS:
            with self.subTest(by=name):
                self.check(Query(OCTOBER, (name,)))

    def test_the_largest_sessions_and_the_rest_are_what_all_are(self) -> None:
        rate("USD", "CNY", "7", date(2026, 10, 1))
        rate("USD", "CNY", "7.5", date(2026, 10, 20))
        rate("USD", "CNY", "7.2", date(2026, 11, 2))
        Correction.objects.create(
            call=CallRecord.objects.filter(booked_on=OCTOBER.start + timedelta(days=9)).first(),
            key=self.keys[0], user=self.keys[0].user, cost=Decimal("-3"), currency="USD", reason="x",
            corrects_on=OCTOBER.start, booked_on=OCTOBER.start,
        )  # fmt: skip
        UsageDaily.objects.all().delete()
        roll_up()
        UsageDaily.objects.create(
            date=OCTOBER.start, key=self.keys[0], user=self.keys[0].user, currency="USD", cost=-3, uncached_cost=-3
        )
        for by, filters in (
            (("session",), {}),
            (("subagent",), {}),
            (("session", "model"), {}),
            (("day", "session"), {}),
            (("subagent", "user"), {"session": "s1"}),
            (("session", "team"), {"kind": "main"}),
        ):
            whole = run(Query(OCTOBER, by, filters))
            ranked = sorted(whole.rows, key=lambda row: -(row.totals.cost or 0))
            for count in range(1, min(4, len(whole.rows))):
                with self.subTest(by=by, count=count):
                    report = run(Query(OCTOBER, by, filters, largest=count))
                    self.assertEqual(report.total, whole.total)
                    self.assertEqual(len(report.rows), count)
                    assert report.rest is not None
                    for name in (*COUNTS, "corrections"):
                        parts = [getattr(row.totals, name) for row in report.rows]
                        self.assertEqual(sum(parts) + getattr(report.rest, name), getattr(whole.total, name), name)
                    for name in AMOUNTS:
                        of = {row.ids: getattr(row.totals, name) for row in whole.rows}
                        for row in report.rows:
                            self.assertAlmostEqual(getattr(row.totals, name), of[row.ids], 8, name)
                    # Ranked by the rates of the last day: where those of the days differ, the order may.
                    least = min(row.totals.cost or 0 for row in report.rows)
                    self.assertGreaterEqual(least * 2, ranked[count - 1].totals.cost or 0)
            report = run(Query(OCTOBER, by, filters, largest=len(whole.rows)))
            self.assertEqual((report.rows, report.total, report.rest), (whole.rows, whole.total, None))

    def test_a_page_says_that_it_has_the_largest_only(self) -> None:
        with mock.patch("gateway.admin.reports.reports.LARGEST", 2):
            url = reverse("reports:usage")
            asked = {"period": "custom", "start": str(OCTOBER.start), "end": str(OCTOBER.end)}
            self.assertContains(self.client.get(url, {**asked, "by": "session"}), "These are the 2 that cost most")
            self.assertNotContains(self.client.get(url, {**asked, "by": "model"}), "that cost most")

    def test_so_are_those_of_two_dimensions_and_of_filtered_reports(self) -> None:
        self.check(Query(OCTOBER, ("week", "team")))
        self.check(
            Query(OCTOBER, ("model",), {"scene": "", "kind": ["main", "classifier"], "user": self.keys[0].user_id})
        )
        self.check(Query(OCTOBER, ("subagent",), {"session": "s1", "currency": "USD"}))
        self.check(Query(OCTOBER, ("kind",), {"team": None}))

    def test_so_are_those_of_teams_with_the_teams_below(self) -> None:
        self.check(Query(OCTOBER, ("team",), roll_up=True))

    def test_amounts_in_a_currency_lead_to_the_calls_priced_in_it(self) -> None:
        total = run(Query(OCTOBER)).total
        for currency in ("USD", "CNY"):
            response = self.client.get(calls_url(parameters(Query(OCTOBER)), currency=currency))
            costs = [call.cost for call in response.context["cl"].result_list]
            self.assertEqual(sum(costs), total.costs[currency])

    def test_every_link_of_a_page_opens(self) -> None:
        for name in ("usage", "savings", "failures"):
            page = self.client.get(
                reverse(f"reports:{name}"), {"start": OCTOBER.start, "end": OCTOBER.end, "by": "team", "then": "month"}
            )
            links = {html.unescape(link) for link in re.findall(r'href="([^"]*booked=[^"]*)"', page.content.decode())}
            self.assertGreater(len(links), 10)
            for link in links:
                self.assertGreater(self.listed(link), 0, link)

    def test_the_filters_that_are_set_are_shown_by_name(self) -> None:
        key = self.keys[2]
        response = self.client.get(
            calls_url(parameters(Query(OCTOBER, ("key", "team", "scene")), (key.pk, key.user.team_id, "写代码")))
        )
        self.assertContains(response, "user1/laptop")
        self.assertContains(response, "2026-10-05 – 2026-11-03")
        self.assertNotContains(self.client.get(list_url(CallRecord)), "By booked on")

    def test_bad_values_are_refused_and_not_an_error(self) -> None:
        for given in ("booked=x", "booked=2026-11-01", "booked=0001-01-01..9999-12-31", "user=x", "key=-1", "team_tree=",
                      "user=" + "9" * 30, "team=%00", "booked=2026-11-02..2026-11-01", "only=x", "kind=,", "model=%00"):  # fmt: skip
            for model in (CallRecord, Correction):
                response = self.client.get(f"{list_url(model)}?{given}", follow=True)
                self.assertEqual(response.status_code, 200, given)


class Corrections(AdminTestCase):
    def test_corrections_within_a_number_are_linked(self) -> None:
        key = make_key(User.objects.create(username="ann", team=Team.objects.create(name="平台")), "laptop")
        call = make_call(key, session_id="s1", booked_on=date(2026, 9, 3), cost=Decimal(3), currency="USD")
        fields = {
            "key": key,
            "user": key.user,
            "team": key.user.team,
            "currency": "USD",
            "corrects_on": date(2026, 9, 3),
            "booked_on": date(2026, 10, 7),
            "kind": "main",
            "model_name": "big",
        }
        Correction.objects.create(call=call, cost=Decimal(-1), reason="x", **fields)
        Correction.objects.create(cost=Decimal(-2), reason="y", **fields)
        Correction.objects.create(cost=Decimal(-2), reason="y", **{**fields, "booked_on": date(2026, 9, 30)})
        UsageDaily.objects.create(
            date=date(2026, 10, 7), key=key, user=key.user, team=key.user.team, currency="USD", kind="main",
            model_name="big", cost=Decimal(-3), uncached_cost=Decimal(-3),
        )  # fmt: skip
        for name in DIMENSIONS:
            with self.subTest(by=name):
                report = run(Query(OCTOBER, (name,)))
                self.assertEqual(report.total.corrections, 2)
                for row in report.rows:
                    self.assertEqual(
                        self.listed(corrections_url(parameters(report.query, row.ids))), row.totals.corrections
                    )
        page = self.client.get(reverse("reports:usage"), {"start": OCTOBER.start, "end": OCTOBER.end, "by": "session"})
        self.assertContains(page, list_url(Correction))

    def listed(self, url: str) -> int:
        return int(self.client.get(url).context["cl"].result_count)
