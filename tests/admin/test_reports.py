"""The pages of the reports: what they show, how they answer to bad choices, who sees what."""

from datetime import date, timedelta
from decimal import Decimal
from typing import Any

from django.contrib.auth.models import Group, Permission
from django.db import connection
from django.http import HttpResponse
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone

from accounts.models import ApiKey, Correction, ExchangeRate, Team, UsageDaily, User
from accounts.reports import business_day
from routing.models import RuntimeSettings
from tests.accounts.books import quota
from tests.accounts.report_case import make_usage, selects
from tests.admin.pages import AdminTestCase, row_url
from tests.admin.rows import SCRIPT, make_key

PAGES = ("overview", "usage", "savings", "failures", "keys", "budgets")
MONEY = {
    "cost": Decimal("1234.5"),
    "compared_cost": Decimal("1234.5"),
    "reference_cost": Decimal(2000),
    "uncached_cost": Decimal("1300.5"),
    "failed_cost": Decimal("4.25"),
    "fallback_cost": Decimal("5.75"),
}


class ReportPageCase(AdminTestCase):
    """Usage of today, of two people in two teams."""

    @classmethod
    def setUpTestData(cls) -> None:
        super().setUpTestData()
        cls.today = business_day(timezone.now())
        cls.team = Team.objects.create(name="平台", cost_center="4711")
        cls.ann = User.objects.create_user("ann", team=cls.team, is_staff=True)
        cls.bob = User.objects.create(username="bob", team=Team.objects.create(name="other"))
        cls.key, cls.other = make_key(cls.ann, "laptop"), make_key(cls.bob, "laptop")
        make_usage(cls.key, cls.today, calls=12345, failed_calls=7, reference_currency="USD", **MONEY)
        make_usage(cls.other, cls.today, calls=1, cost=Decimal("0.0012"), model_name="small")

    def page(self, name: str, *args: Any, **parameters: Any) -> HttpResponse:
        response = self.client.get(reverse(f"reports:{name}", args=args), parameters)
        self.assertEqual(response.status_code, 200)
        return response

    def become(self, user: User, role: str) -> None:
        user.is_staff = True
        user.save(update_fields=["is_staff"])
        user.groups.add(Group.objects.get(name=role))
        for name in ("view_usagedaily", "view_callrecord"):
            user.user_permissions.add(_permission(name))
        self.client.force_login(user)


def _permission(codename: str) -> Permission:
    return Permission.objects.get(codename=codename, content_type__app_label="accounts")


class Pages(ReportPageCase):
    def test_the_overview_sets_this_month_beside_the_last(self) -> None:
        response = self.page("overview")
        self.assertContains(response, "12,346")
        self.assertContains(response, "平台")
        self.assertContains(response, "<svg")

    def test_usage_has_a_row_for_each_choice_and_a_total(self) -> None:
        response = self.page("usage", by="month", then="team")
        table = response.context["table"]
        self.assertEqual([[label.text for label in line.labels] for line in table.lines],
                         [[f"{self.today:%Y-%m}", "平台"], [f"{self.today:%Y-%m}", "other"]])  # fmt: skip
        self.assertContains(response, "1,234.50")
        self.assertContains(response, "0.0012")
        self.assertIn("12,346", str(table.total[0]))

    def test_savings_say_what_routing_and_what_caches_saved(self) -> None:
        response = self.page("savings", by="user", user=self.ann.pk)
        self.assertContains(response, "765.50")
        self.assertContains(response, "66.00")

    def test_the_calls_of_the_gateway_itself_stand_apart(self) -> None:
        self.assertNotContains(self.page("savings"), "Calls that the gateway makes itself")
        make_usage(self.key, self.today, kind="classifier", cost=Decimal("3.21"))
        response = self.page("savings")
        self.assertContains(response, "Calls that the gateway makes itself")
        self.assertContains(response, "3.21")
        self.assertContains(response, "classifier")

    def test_failures_show_their_cost(self) -> None:
        response = self.page("failures", by="model")
        self.assertContains(response, "4.25")
        self.assertContains(response, "5.75")

    def test_one_key_is_shown_by_model_provider_and_day(self) -> None:
        response = self.page("key", self.key.pk)
        self.assertEqual([len(table.lines) for _title, table in response.context["tables"]], [1, 1, 1])
        self.assertNotContains(response, "small")
        self.assertContains(self.client.get(row_url(self.key)), reverse("reports:key", args=(self.key.pk,)))

    def test_the_overview_of_keys_has_their_use_state_and_quota(self) -> None:
        quota(self.key, "requests", "month", 200)
        ApiKey.objects.filter(pk=self.other.pk).update(is_active=False)
        response = self.page("keys")
        self.assertEqual([(line.name, line.state, line.used) for line in response.context["lines"]],
                         [("ann/laptop", "active", "0.0 %"), ("bob/laptop", "revoked", "-")])  # fmt: skip
        self.assertContains(response, "200 requests / month")
        empty = self.page("keys", start="2020-01-01", end="2020-01-31").context["lines"]
        self.assertEqual([(line.name, line.totals.calls) for line in empty], [("ann/laptop", 0), ("bob/laptop", 0)])

    def test_a_key_that_was_used_in_a_team_which_its_owner_left_keeps_its_line(self) -> None:
        Team.objects.filter(pk=self.team.pk).update(lead=self.bob)
        self.become(self.bob, "team_lead")
        User.objects.filter(pk=self.ann.pk).update(team=None)
        lines = {line.name: line for line in self.page("keys").context["lines"]}
        self.assertEqual((lines["ann/laptop"].totals.calls, lines["ann/laptop"].url), (12345, ""))

    def test_budgets_are_listed_with_their_subject(self) -> None:
        quota(self.team, "cost", "month", 200)
        self.assertContains(self.page("budgets"), "team 平台")

    def test_an_empty_period_says_so(self) -> None:
        for name in ("usage", "savings", "failures"):
            response = self.page(name, start="2020-01-01", end="2020-01-31")
            self.assertContains(response, "Nothing was used in these days.")

    def test_rows_are_sorted_by_a_column(self) -> None:
        def order(**parameters: str) -> list[str]:
            lines = self.page("usage", by="user", **parameters).context["table"].lines
            return [line.labels[0].text for line in lines]

        self.assertEqual(order(), ["ann", "bob"])
        self.assertEqual(order(sort="calls"), ["bob", "ann"])
        self.assertEqual(order(sort="-user"), ["bob", "ann"])
        self.assertEqual(order(sort="nonsense"), ["ann", "bob"])

    def test_many_rows_are_on_several_pages_and_the_total_is_of_all(self) -> None:
        for number in range(150):
            make_usage(self.key, self.today - timedelta(days=number), model_name="m", scene_name=f"s{number}")
        response = self.page("usage", by="scene", period="year", page="2")
        rows = response.context["report"].rows
        self.assertEqual(len(response.context["table"].lines), len(rows) - 100)
        self.assertContains(response, "Page 2 of 2")

    def test_a_missing_rate_is_said(self) -> None:
        make_usage(self.key, self.today, currency="EUR", cost=Decimal(5))
        for name in ("overview", "usage", "savings", "keys"):
            self.assertContains(self.page(name), "there is no exchange rate for EUR")
        ExchangeRate.objects.create(
            from_currency="EUR", to_currency="USD", rate=Decimal("1.1"), valid_from=date(2020, 1, 1)
        )
        self.assertNotContains(self.page("usage"), "there is no exchange rate")

    def test_names_are_escaped_and_chinese_stays_readable(self) -> None:
        Team.objects.filter(pk=self.team.pk).update(name=SCRIPT, cost_center=SCRIPT)
        User.objects.filter(pk=self.ann.pk).update(username=SCRIPT)
        make_usage(self.key, self.today, model_name=SCRIPT, provider_name=SCRIPT, scene_name="写代码", kind=SCRIPT[:20])
        quota(self.team, "cost", "month", 1)
        for name in PAGES:
            self.assertNotContains(self.page(name), SCRIPT)
        self.assertNotContains(self.page("key", self.key.pk), SCRIPT)
        for by in ("team", "user", "model", "provider", "kind", "cost_center", "key"):
            for then in ("", "day"):
                self.assertNotContains(self.page("usage", by=by, then=then, model=SCRIPT), SCRIPT)
        self.assertContains(self.page("usage", by="scene"), "写代码")

    def test_pages_are_translated(self) -> None:
        self.root.language = "zh-hans"
        self.root.save(update_fields=["language"])
        for name in PAGES:
            self.page(name)


class BadChoices(ReportPageCase):
    def test_a_bad_choice_gets_a_message(self) -> None:
        cases: list[tuple[dict[str, str], str]] = [
            ({"start": "2026-12-01", "end": "2026-01-01"}, "The period ends before it begins."),
            ({"start": "2026-12-01"}, "Choose the first and the last day."),
            ({"start": "0001-01-01", "end": "9999-12-31"}, "Choose days between the years 2000 and 2199."),
            ({"start": "yesterday", "end": "2026-01-01"}, "Enter a valid date."),
            ({"by": "colour"}, "colour is not one of the available choices."),
            ({"by": "day", "then": "day"}, "Group by different things."),
            ({"period": "fortnight"}, "fortnight is not one of the available choices."),
            ({"user": "abc"}, "Select a valid choice."),
            ({"key": "9" * 40}, "Select a valid choice."),
            ({"team": "-1"}, "Select a valid choice."),
            ({"model": "x" * 300}, "at most 200 characters"),
            ({"measure": "beauty"}, "beauty is not one of the available choices."),
        ]
        for parameters, message in cases:
            with self.subTest(**parameters):
                for name in ("usage", "savings", "failures"):
                    response = self.page(name, **parameters)
                    self.assertContains(response, message)
                    self.assertNotIn("table", response.context)
                for name in ("keys", "budgets", "overview"):
                    self.page(name, **parameters)
                self.page("key", self.key.pk, **parameters)

    def test_bad_pages_and_orders_are_answered_with_good_ones(self) -> None:
        for parameters in ({"page": "-3"}, {"page": "x"}, {"sort": "--cost"}, {"sort": "<script>"}):
            self.assertEqual(len(self.page("usage", by="user", **parameters).context["table"].lines), 2)

    def test_a_year_of_days_by_every_dimension_is_answered(self) -> None:
        self.page("usage", start="2000-01-01", end="2199-12-31", by="day", then="key")
        self.page("usage", start="2000-01-01", end="2199-12-31", by="month")

    def test_a_key_that_is_not_there_is_not_found(self) -> None:
        self.assertEqual(self.client.get(reverse("reports:key", args=(999999,))).status_code, 404)


class Scoping(ReportPageCase):
    def test_who_may_not_see_usage_sees_no_report(self) -> None:
        self.client.force_login(self.ann)
        for name in PAGES:
            self.assertEqual(self.client.get(reverse(f"reports:{name}")).status_code, 403)
        self.client.logout()
        self.assertEqual(self.client.get(reverse("reports:usage")).status_code, 302)

    def test_a_lead_sees_the_own_team_only(self) -> None:
        Team.objects.filter(pk=self.team.pk).update(lead=self.ann)
        self.become(self.ann, "team_lead")
        quota(self.bob, "cost", "month", 1)
        for name in PAGES:
            self.assertNotContains(self.page(name, by="user"), "bob")
        self.assertEqual(self.page("usage", by="user").context["report"].total.calls, 12345)
        self.assertContains(self.page("usage", user=self.bob.pk), "Select a valid choice.")
        self.assertEqual(self.client.get(reverse("reports:key", args=(self.other.pk,))).status_code, 404)

    def test_numbers_are_no_links_for_who_may_not_see_calls(self) -> None:
        self.become(self.ann, "finance")
        self.assertContains(self.page("usage"), "booked=")
        self.ann.user_permissions.remove(_permission("view_callrecord"))
        self.ann.groups.clear()
        # With the role one loses the way in.
        User.objects.filter(pk=self.ann.pk).update(is_staff=True)
        self.ann.user_permissions.add(_permission("view_usagedaily"))
        self.assertNotContains(self.page("usage"), "booked=")

    def test_the_index_leads_to_the_reports_and_their_tabs_to_all_else(self) -> None:
        self.assertContains(self.client.get(reverse("admin:index")), reverse("reports:overview"))
        reconciliation = reverse("admin:accounts_invoice_reconciliation")
        self.become(self.ann, "finance")
        pages = {reverse("reports:overview"), reverse("exports:index"), reconciliation}
        for url in pages:
            page = self.client.get(url)
            found = {tab["url"]: tab["is_current"] for tab in page.context["tabs"]}
            self.assertEqual([tab for tab, is_current in found.items() if is_current], [url])
            self.assertLessEqual(pages, set(found))
            for tab in found:
                self.assertContains(page, f'<a href="{tab}"')
        self.ann.groups.clear()
        Team.objects.filter(pk=self.team.pk).update(lead=self.ann)
        self.become(self.ann, "team_lead")
        self.assertNotIn(reconciliation, {tab["url"] for tab in self.page("overview").context["tabs"]})

    def test_the_overview_says_how_many_calls_have_no_price(self) -> None:
        self.become(self.ann, "finance")
        self.assertNotContains(self.page("overview"), "counted without a cost")
        UsageDaily.objects.filter(key=self.key).update(unpriced_calls=3)
        self.assertContains(self.page("overview"), "calls of this month have no price and are counted without a cost")


class Queries(ReportPageCase):
    # Session and user, the form's choices, settings and rates, and of each report its sums, corrections and names.
    QUERIES = {"overview": 21, "usage": 13, "savings": 15, "failures": 13, "keys": 18, "budgets": 6}

    def test_the_number_of_queries_does_not_grow_with_the_rows(self) -> None:
        def counted() -> dict[str, int]:
            found = {}
            for name in PAGES:
                with CaptureQueriesContext(connection) as context:
                    self.page(name)
                found[name] = selects(context)
            return found

        quota(self.key, "cost", "month", 1)
        few = counted()
        for number in range(20):
            user = User.objects.create(username=f"u{number}", team=Team.objects.create(name=f"t{number}"))
            key = make_key(user, "k")
            make_usage(key, self.today, calls=5, cost=Decimal(1))
            quota(key, "cost", "month", 1)
            Correction.objects.create(
                key=key, user=user, cost=1, currency="USD", reason="x", corrects_on=self.today, booked_on=self.today
            )
        self.assertEqual(counted(), few)
        self.assertEqual(few, self.QUERIES)


class BusinessDay(ReportPageCase):
    def test_this_month_is_that_of_the_business_time_zone(self) -> None:
        for zone in ("Pacific/Kiritimati", "Pacific/Pago_Pago"):
            RuntimeSettings.objects.update_or_create(pk=1, defaults={"business_time_zone": zone})
            period = self.page("usage").context["report"].query.period
            self.assertEqual(period.end, business_day(timezone.now()))
