"""Downloads from the admin: what is asked for, of whom one may see, and written down."""

import csv
import io
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Any

from django.contrib.auth.models import Group, Permission
from django.test import TestCase
from django.urls import reverse
from django.utils import timezone
from openpyxl import load_workbook

from accounts.models import ApiKey, AuditEntry, Team, UsageDaily, User
from accounts.roles import Role
from gateway.admin.reports import exports
from tests.admin.rows import make_call, make_key

ALL = ("report_csv", "report_xlsx", "focus", "calls_csv", "calls_xlsx")
PERMISSIONS = ("view_usagedaily", "view_callrecord", "view_team", "view_user", "view_apikey")


class Exports(TestCase):
    def setUp(self) -> None:
        self.today = timezone.now().date()
        self.keys: dict[str, ApiKey] = {}
        for name in ("red", "blue"):
            team = Team.objects.create(name=name)
            key = self.keys[name] = make_key(User.objects.create(username=f"dev-{name}", team=team), "laptop")
            make_call(
                key,
                provider_name="main",
                model_name="big",
                cost=Decimal("1.5"),
                currency="USD",
                started_at=timezone.now(),
                booked_on=self.today,
                input_tokens=10,
            )
            UsageDaily.objects.create(
                date=self.today,
                key=key,
                user=key.user,
                team=team,
                provider_name="main",
                model_name="big",
                currency="USD",
                calls=1,
                input_tokens=10,
                cost=Decimal("1.5"),
            )
        self.root = User.objects.create_superuser("root")
        self.client.force_login(self.root)

    def lead(self) -> User:
        user = User.objects.create(username="lead", is_staff=True)
        user.user_permissions.set(Permission.objects.filter(codename__in=PERMISSIONS))
        user.groups.add(Group.objects.get_or_create(name=Role.TEAM_LEAD)[0])
        Team.objects.filter(name="red").update(lead=user)
        return user

    def get(self, name: str, **parameters: Any) -> Any:
        return self.client.get(reverse(f"exports:{name}"), {"period": "month", **parameters})

    def lines(self, response: Any) -> list[list[str]]:
        self.assertEqual(response.status_code, 200)
        return list(csv.reader(io.StringIO(b"".join(response.streaming_content).decode("utf-8-sig"))))

    def test_each_file_is_a_download_of_its_type_and_is_written_down(self) -> None:
        for name in ALL:
            with self.subTest(name=name):
                response = self.get(name)
                content = b"".join(response.streaming_content)
                self.assertIn("attachment", response["Content-Disposition"])
                self.assertEqual(content.startswith(b"PK"), name.endswith("xlsx"))
        notes = list(AuditEntry.objects.filter(action="other").order_by("pk").values_list("note", flat=True))
        self.assertEqual(
            [note.split()[1].partition("-")[0] for note in notes], ["usage", "usage", "focus", "calls", "calls"]
        )

    def test_they_take_what_the_reports_take(self) -> None:
        team = Team.objects.get(name="blue").pk
        calls = self.lines(self.get("calls_csv", team=team))
        self.assertEqual([line[calls[0].index("User")] for line in calls[1:]], ["dev-blue"])
        usage = self.lines(self.get("report_csv", by="user", team=team))
        self.assertEqual([line[0] for line in usage], ["User", "dev-blue", "Total"])
        focus = self.lines(self.get("focus", team=team))
        self.assertEqual(len(focus), 2)
        self.assertEqual(self.get("report_csv", by="nonsense").status_code, 400)
        self.assertEqual(self.get("focus", session="x").status_code, 400)
        self.assertEqual(self.get("calls_csv", period="custom", start="2026-02-01", end="2026-01-01").status_code, 400)

    def test_a_workbook_of_calls_has_types_and_a_sum_per_currency(self) -> None:
        book = load_workbook(io.BytesIO(b"".join(self.get("calls_xlsx").streaming_content)))
        sheet, costs = book.worksheets
        titles = [cell.value for cell in sheet[1]]
        self.assertIsInstance(sheet[2][titles.index("When (UTC)")].value, datetime)
        self.assertEqual(sheet[2][titles.index("Cost")].value, 1.5)
        self.assertTrue(sheet[4][titles.index("Input tokens")].value.startswith("=SUBTOTAL"))
        self.assertEqual(costs["A2"].value, "USD")
        self.assertIn('"USD"', costs["B2"].value)

    def test_more_calls_than_a_workbook_is_good_for_are_refused_with_a_way_out(self) -> None:
        self.addCleanup(setattr, exports, "MAX_XLSX_CALLS", exports.MAX_XLSX_CALLS)
        exports.MAX_XLSX_CALLS = 1
        self.assertContains(self.get("calls_xlsx"), "CSV", status_code=400)

    def test_a_lead_gets_the_own_teams_only(self) -> None:
        self.client.force_login(self.lead())
        for name in ("report_csv", "focus", "calls_csv"):
            with self.subTest(name=name):
                text = b"".join(self.get(name, by="user").streaming_content).decode()
                self.assertIn("dev-red", text)
                self.assertNotIn("dev-blue", text)
        listed = self.client.get(reverse("exports:listed_calls"))
        self.assertNotIn(b"dev-blue", b"".join(listed.streaming_content))  # type: ignore[attr-defined]

    def test_without_the_permission_there_is_nothing(self) -> None:
        user = User.objects.create(username="staff", is_staff=True)
        self.client.force_login(user)
        for name in (*ALL, "index", "listed_calls"):
            with self.subTest(name=name):
                self.assertEqual(self.get(name).status_code, 403)
        self.assertEqual(self.client.get(reverse("exports:statement", args=(self.today, 1))).status_code, 403)
        self.client.logout()
        self.assertEqual(self.get("calls_csv").status_code, 302)

    def test_the_list_of_calls_exports_what_it_shows(self) -> None:
        url = reverse("admin:accounts_callrecord_changelist")
        page = self.client.get(url, {"q": "dev-red"})
        self.assertContains(page, f"{reverse('exports:listed_calls')}?q=dev-red")
        lines = self.lines(self.client.get(reverse("exports:listed_calls"), {"q": "dev-red"}))
        self.assertEqual(len(lines), 2)
        wrong = self.client.get(reverse("exports:listed_calls"), {"status__nonsense": "x"})
        self.assertEqual(wrong.status_code, 302)

    def test_statements_are_of_the_teams_that_one_leads(self) -> None:
        red, blue = Team.objects.get(name="red"), Team.objects.get(name="blue")

        def status(team: int) -> int:
            return self.client.get(reverse("exports:statement", args=(self.today, team))).status_code

        self.assertEqual([status(red.pk), status(blue.pk), status(0), status(99999)], [200, 200, 200, 404])
        self.client.force_login(self.lead())
        self.assertEqual([status(red.pk), status(blue.pk), status(0)], [200, 404, 404])
        index = self.client.get(reverse("exports:index"))
        self.assertContains(index, ">red</a>")
        self.assertNotContains(index, ">blue</a>")

    def test_a_month_that_is_none_is_no_page(self) -> None:
        self.assertEqual(self.client.get("/admin/exports/statement/2026-13/1/").status_code, 404)

    def test_the_page_of_exports_offers_them(self) -> None:
        page = self.get("index", statements="2026-03")
        for name in ALL:
            self.assertContains(page, reverse(f"exports:{name}"))
        self.assertContains(
            page, reverse("exports:statement", args=(date(2026, 3, 1), Team.objects.get(name="red").pk))
        )
        following = self.client.get(reverse("exports:statement", args=(self.today - timedelta(days=40), 0)))
        self.assertContains(following, "Following month")
