"""The pages that correct the books and close a month: preview first, then once, and only by who may."""

import io
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

from django.contrib.auth.models import Permission
from django.core.management import call_command
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from accounts.models import ApiKey, CallRecord, ClosedMonth, Correction, Team, UsageDaily, User
from accounts.verification import differences
from tests.accounts.books import admit, person, settle
from tests.admin.pages import AdminTestCase, list_url, row_url

D = Decimal
CORRECT, CLOSE = reverse("admin:accounts_correction_add"), reverse("admin:accounts_closedmonth_add")


class PageCase(AdminTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.key, self.secret = person(team=Team.objects.create(name="platform"))
        self.today = datetime.now(UTC)
        self.last = (self.today.replace(day=1) - timedelta(days=1)).replace(hour=1)

    def call(self, now: datetime | None = None, **fields: Any) -> CallRecord:
        admitted = admit(self.secret, now=now or self.today)
        settle(admitted, ended_at=now or self.today, **fields)
        return CallRecord.objects.get(pk=admitted.call_id)

    def clerk(self, *permissions: str) -> None:
        user = User.objects.create_user("clerk", is_staff=True)
        user.user_permissions.set(Permission.objects.filter(codename__in=permissions))
        self.client.force_login(user)


class Corrections(PageCase):
    def test_a_call_is_corrected_from_its_page_after_a_preview(self) -> None:
        call = self.call(cost=D("0.5"))
        url = f"{CORRECT}?call={call.pk}"
        self.assertContains(self.client.get(row_url(call)), f'href="{url}"')
        self.assertContains(self.client.get(url), 'value="USD"')
        form = {"cost": "-0.2", "currency": "usd", "reason": "credit note 17"}
        seen = self.client.post(url, form)
        self.assertContains(seen, "0.50 USD → 0.30 USD")
        self.assertFalse(Correction.objects.exists())
        self.assertNotContains(self.client.post(url, {**form, "_change": ""}), "What would be booked")
        for _click in range(2):
            seen = self.client.post(url, {**form, "_confirm": ""}, follow=True)
        self.assertContains(seen, "This correction was booked a moment ago.")
        row = Correction.objects.get()
        self.assertEqual((row.call, row.cost, row.currency, row.made_by), (call, D("-0.2"), "USD", self.root))
        self.assertContains(self.client.get(url), "-0.20 USD")
        self.assertEqual(UsageDaily.objects.get().cost, D("0.3"))
        self.assertEqual(list(differences()), [])

    def test_a_key_is_corrected_freely_and_a_closed_month_in_the_open_one(self) -> None:
        ClosedMonth.objects.create(month=self.last.date().replace(day=1))
        self.assertContains(self.client.get(CORRECT), "admin-autocomplete")
        form = {
            "key": str(self.key.pk), "corrects_on": self.last.date().isoformat(), "provider_name": "main",
            "cost": "3", "currency": "CNY", "output_tokens": "-7", "reason": "flat fee",
        }  # fmt: skip
        self.assertContains(self.client.post(CORRECT, form), "is closed, so it is booked in the open one")
        self.client.post(CORRECT, {**form, "_confirm": ""})
        row = Correction.objects.get()
        self.assertEqual((row.corrects_on, row.booked_on), (self.last.date(), self.today.date()))
        self.assertEqual((row.key, row.cost, row.output_tokens, row.provider_name), (self.key, 3, -7, "main"))
        self.assertContains(self.client.get(row_url(row)), "flat fee")
        self.assertContains(self.client.get(list_url(Correction)), "3.00 CNY")

    def test_bad_input_is_said_at_its_field_and_books_nothing(self) -> None:
        call = self.call()
        good = {"cost": "1", "currency": "USD", "reason": "why"}
        for field, value in (
            ("cost", "much"),
            ("cost", ""),
            ("cost", "0"),
            ("cost", "99999999"),
            ("cost", "0.00000000001"),
            ("cost", "NaN"),
            ("currency", ""),
            ("currency", "US"),
            ("currency", "DOLLAR"),
            ("reason", " "),
            ("input_tokens", "1.5"),
            ("input_tokens", "9" * 15),
        ):
            with self.subTest(field=field, value=value):
                seen = self.client.post(f"{CORRECT}?call={call.pk}", {**good, field: value, "_confirm": ""})
                self.assertTrue(seen.context["form"].errors[field])
        tomorrow = (self.today + timedelta(days=2)).date().isoformat()
        for field, value in (
            ("key", ""),
            ("key", "999"),
            ("corrects_on", ""),
            ("corrects_on", tomorrow),
            ("corrects_on", "31.2."),
        ):
            with self.subTest(field=field, value=value):
                form = {**good, "key": str(self.key.pk), "corrects_on": self.today.date().isoformat(), field: value}
                self.assertTrue(self.client.post(CORRECT, {**form, "_confirm": ""}).context["form"].errors[field])
        self.assertFalse(Correction.objects.exists())

    def test_what_runs_and_what_is_not_there(self) -> None:
        running = admit(self.secret, now=self.today)
        self.assertNotContains(self.client.get(row_url(CallRecord.objects.get())), "?call=")
        form = {"cost": "1", "currency": "USD", "reason": "why", "_confirm": ""}
        seen = self.client.post(f"{CORRECT}?call={running.call_id}", form)
        self.assertContains(seen, "still running")
        for wrong in ("x", "00000000-0000-0000-0000-000000000000"):
            self.assertEqual(self.client.get(CORRECT, {"call": wrong}).status_code, 404)

    def test_only_who_may_and_nobody_changes_or_deletes(self) -> None:
        call = self.call()
        self.client.post(f"{CORRECT}?call={call.pk}", {"cost": "1", "currency": "USD", "reason": "why", "_confirm": ""})
        row = Correction.objects.get()
        self.assertEqual(self.client.post(row_url(row), {"cost": "5"}).status_code, 403)
        delete = reverse("admin:accounts_correction_delete", args=(row.pk,))
        self.assertEqual(self.client.post(delete, {"post": "yes"}).status_code, 403)
        self.clerk("view_correction", "view_callrecord")
        self.assertEqual(self.client.get(CORRECT).status_code, 403)
        self.assertEqual(self.client.post(CORRECT, {"_confirm": ""}).status_code, 403)
        self.assertNotContains(self.client.get(list_url(Correction)), CORRECT)

    def test_the_page_asks_as_much_of_many_corrections_as_of_few(self) -> None:
        call = self.call()
        url = f"{CORRECT}?call={call.pk}"

        def queries() -> int:
            with CaptureQueriesContext(connection) as context:
                self.assertEqual(self.client.get(url).status_code, 200)
            return len(context)

        few = queries()
        for number in range(9):
            self.client.post(url, {"cost": "1", "currency": "USD", "reason": f"no. {number}", "_confirm": ""})
        self.assertEqual(Correction.objects.count(), 9)
        self.assertEqual(queries(), few)


class Months(PageCase):
    def test_the_first_open_month_is_shown_and_closed_when_that_is_meant(self) -> None:
        self.call(self.last, cost=D("1.25"))
        month = f"{self.last:%Y-%m}"
        self.assertContains(self.client.get(list_url(ClosedMonth)), CLOSE)
        seen = self.client.get(CLOSE)
        self.assertContains(seen, f"Close {month}")
        self.assertContains(seen, "1.25 USD")
        seen = self.client.post(f"{CLOSE}?month={month}", {"note": "audited"})
        self.assertEqual(list(seen.context["form"].errors), ["is_meant"])
        self.assertFalse(ClosedMonth.objects.exists())
        seen = self.client.post(f"{CLOSE}?month={month}", {"note": "audited", "is_meant": "on"}, follow=True)
        self.assertContains(seen, f"{month} is closed.")
        self.assertContains(seen, "1.25 USD")
        row = ClosedMonth.objects.get()
        self.assertEqual((row.closed_by, row.note, row.totals["calls"]), (self.root, "audited", 1))
        self.assertEqual(self.client.post(row_url(row), {"note": "x"}).status_code, 403)
        delete = reverse("admin:accounts_closedmonth_delete", args=(row.pk,))
        self.assertEqual(self.client.post(delete, {"post": "yes"}).status_code, 403)

    def test_what_stands_against_it_is_said(self) -> None:
        self.call(self.last)
        UsageDaily.objects.update(calls=7)
        month = f"{self.last:%Y-%m}"
        for seen in (
            self.client.get(CLOSE, {"month": month}),
            self.client.post(f"{CLOSE}?month={month}", {"is_meant": "on"}),
        ):
            self.assertContains(seen, "calls is 7, the entries say 1")
        seen = self.client.get(CLOSE, {"month": f"{self.today:%Y-%m}"})
        self.assertContains(seen, "is not over yet")
        self.assertNotContains(seen, 'name="is_meant"')
        self.assertEqual(self.client.get(CLOSE, {"month": "never"}).status_code, 200)
        self.assertFalse(ClosedMonth.objects.exists())

    def test_only_who_may(self) -> None:
        self.clerk("view_closedmonth")
        self.assertEqual(self.client.get(CLOSE).status_code, 403)
        self.assertEqual(self.client.post(CLOSE, {"is_meant": "on"}).status_code, 403)
        self.assertNotContains(self.client.get(list_url(ClosedMonth)), CLOSE)


class Deactivated(PageCase):
    def test_names_stay_on_the_pages_of_the_books(self) -> None:
        call = self.call(provider_name="gone", model_name="gone-model")
        self.client.post(f"{CORRECT}?call={call.pk}", {"cost": "1", "currency": "USD", "reason": "why", "_confirm": ""})
        Team.objects.update(is_active=False)
        ApiKey.objects.update(is_active=False)
        User.objects.filter(pk=self.key.user_id).update(is_active=False)
        for model in (CallRecord, UsageDaily, Correction):
            seen = self.client.get(list_url(model))
            for name in ("dev1", "laptop", "gone/gone-model"):
                with self.subTest(model=model.__name__, name=name):
                    self.assertContains(seen, name)

    def test_what_is_still_open_is_said_before_a_month_is_closed(self) -> None:
        self.call(self.last, cost=None, currency="", cost_source="")
        self.call(self.last, cost=D("0.1"), currency="CNY")
        page = self.client.get(CLOSE)
        self.assertContains(page, "1 call has no price.")
        self.assertContains(page, "no exchange rate for CNY")
        self.assertContains(page, reverse("admin:providers_price_catalogue") + "?only=unpriced")
        self.assertContains(page, "Close the month")
        output = io.StringIO()
        call_command("close_month", f"{self.last:%Y-%m}", "--dry-run", stdout=output)
        self.assertIn("1 call has no price.", output.getvalue())
