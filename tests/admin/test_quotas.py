"""Quotas in the admin: temporary raises, counters set back."""

from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

from django.contrib.admin.models import LogEntry
from django.http import HttpResponse
from django.utils import timezone

from accounts.models import Quota, QuotaRaise, QuotaWindow, User
from accounts.verification import differences
from tests.accounts.books import admit, person, settle
from tests.admin.pages import AdminTestCase, list_url, row_url

HOUR = timedelta(hours=1)


class QuotaCase(AdminTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.key, self.secret = person()
        self.quota = Quota.objects.create(key=self.key, unit="cost", window="month", limit=Decimal(100))
        self.now = timezone.now()

    def granted(self, starts_at: datetime, ends_at: datetime, amount: int = 20) -> QuotaRaise:
        return QuotaRaise.objects.create(
            quota=self.quota, amount=Decimal(amount), starts_at=starts_at, ends_at=ends_at, granted_by=self.root
        )


def local(moment: datetime) -> datetime:
    return moment.astimezone(ZoneInfo("UTC"))


def moment_fields(name: str, moment: datetime | None) -> dict[str, str]:
    if moment is None:
        return {f"{name}_0": "", f"{name}_1": ""}
    return {f"{name}_0": f"{local(moment):%Y-%m-%d}", f"{name}_1": f"{local(moment):%H:%M:%S}"}


class Page(QuotaCase):
    def test_a_quota_shows_its_one_subject_and_a_currency_only_of_costs(self) -> None:
        page = self.client.get(row_url(self.quota))
        self.assertContains(page, "field-key")
        self.assertContains(page, "field-currency")
        self.assertNotContains(page, "field-team")
        self.assertContains(page, 'value="100"')
        calls = Quota.objects.create(user=self.key.user, unit="requests", window="day", limit=Decimal(20))
        QuotaRaise.objects.create(quota=calls, amount=Decimal(5), starts_at=self.now, ends_at=self.now + HOUR)
        page = self.client.get(row_url(calls))
        self.assertContains(page, 'value="5"')
        self.assertContains(page, "field-user")
        self.assertNotContains(page, "field-currency")

    def test_amounts_are_counted_as_people_do(self) -> None:
        Quota.objects.create(user=self.key.user, unit="requests", window="day", limit=1)
        Quota.objects.create(user=self.key.user, unit="tokens", window="day", limit=5000)
        page = self.client.get(list_url(Quota))
        for text in ("100 USD", "1 request<", "5,000 tokens"):
            self.assertContains(page, text)


class Raising(QuotaCase):
    def save(self, *rows: dict[str, Any]) -> HttpResponse:
        data: dict[str, Any] = {
            "limit": "100",
            "action": "block",
            "is_active": "on",
            "raises-TOTAL_FORMS": str(len(rows)),
            "raises-INITIAL_FORMS": str(sum("id" in row for row in rows)),
        }
        for number, row in enumerate(rows):
            prefix = f"raises-{number}-"
            values = {"amount": "20", "reason": "launch", "quota": str(self.quota.pk), **row}
            starts_at, ends_at = values.pop("starts_at", None), values.pop("ends_at")
            data |= {f"{prefix}{name}": value for name, value in values.items()}
            data |= moment_fields(f"{prefix}starts_at", starts_at) | moment_fields(f"{prefix}ends_at", ends_at)
        return self.client.post(row_url(self.quota), data)  # type: ignore[return-value]

    def test_a_raise_is_granted_from_now_on_by_who_is_logged_in(self) -> None:
        self.assertEqual(self.save({"ends_at": self.now + HOUR}).status_code, 302)
        row = QuotaRaise.objects.get()
        self.assertEqual((row.amount, row.reason, row.granted_by), (20, "launch", self.root))
        self.assertLess(abs(row.starts_at - self.now), timedelta(minutes=1))
        page = self.client.get(list_url(Quota))
        self.assertContains(page, "+20 USD")
        self.assertContains(self.client.get(list_url(QuotaRaise)), "+20 USD / month")
        QuotaWindow.objects.create(quota=self.quota, starts_at=self.now, used=Decimal(90))
        windows = self.client.get(list_url(QuotaWindow))
        self.assertContains(windows, "120 USD")
        self.assertContains(windows, "75.0 %")

    def test_what_raises_nothing_is_refused_at_its_field(self) -> None:
        cases = (
            ({"amount": "0", "ends_at": self.now + HOUR}, "A raise is more than 0."),
            ({"amount": "-5", "ends_at": self.now + HOUR}, "A raise is more than 0."),
            ({"amount": "much", "ends_at": self.now + HOUR}, "Enter a number."),
            ({"amount": "NaN", "ends_at": self.now + HOUR}, "Enter a number."),
            ({"amount": "Infinity", "ends_at": self.now + HOUR}, "Enter a number."),
            ({"amount": "1e30", "ends_at": self.now + HOUR}, "no more than 20 digits"),
            ({"reason": "x" * 201, "ends_at": self.now + HOUR}, "at most 200 characters"),
            ({"ends_at": self.now - HOUR}, "The end is in the past."),
            ({"starts_at": self.now + 2 * HOUR, "ends_at": self.now + HOUR}, "The end is not after the begin."),
            ({"ends_at": None}, "This field is required."),
        )
        for row, message in cases:
            with self.subTest(message):
                response = self.save(row)
                self.assertEqual(response.status_code, 200)
                self.assertContains(response, message)
        self.assertFalse(QuotaRaise.objects.exists())

    def test_one_of_the_past_stays_as_it_was(self) -> None:
        past = self.granted(self.now - 2 * HOUR, self.now - HOUR)
        row = {"id": str(past.pk), "amount": "999", "starts_at": self.now, "ends_at": self.now + HOUR}
        self.assertEqual(self.save(row).status_code, 302)
        again = QuotaRaise.objects.get()
        self.assertEqual((again.amount, again.ends_at), (20, past.ends_at))

    def test_one_that_lasts_can_be_prolonged_and_keeps_who_granted_it(self) -> None:
        other = User.objects.create(username="other")
        lasting = self.granted(self.now - HOUR, self.now + HOUR)
        QuotaRaise.objects.update(granted_by=other)
        row = {"id": str(lasting.pk), "starts_at": lasting.starts_at, "ends_at": self.now + 5 * HOUR}
        self.assertEqual(self.save(row).status_code, 302)
        again = QuotaRaise.objects.get()
        self.assertGreater(again.ends_at, self.now + 4 * HOUR)
        self.assertEqual(again.granted_by, other)

    def test_a_raise_is_ended_before_its_time_and_stays_on_the_list(self) -> None:
        lasting = self.granted(self.now - HOUR, self.now + HOUR)
        past, coming = (
            self.granted(self.now - 2 * HOUR, self.now - HOUR),
            self.granted(self.now + HOUR, self.now + 2 * HOUR),
        )
        selected = [str(row.pk) for row in (lasting, past, coming)]
        response = self.client.post(
            list_url(QuotaRaise), {"action": "end_now", "_selected_action": selected}, follow=True
        )
        self.assertContains(response, "1 raise ended.")
        self.assertEqual(QuotaRaise.objects.count(), 3)
        self.assertLessEqual(QuotaRaise.objects.get(pk=lasting.pk).ends_at, timezone.now())
        self.assertEqual(QuotaRaise.objects.get(pk=past.pk).ends_at, past.ends_at)
        self.assertEqual(LogEntry.objects.get().object_id, str(lasting.pk))

    def test_a_quota_keeps_its_subject_and_unit(self) -> None:
        self.client.post(
            row_url(self.quota),
            {
                "limit": "7",
                "action": "warn",
                "unit": "tokens",
                "window": "day",
                "user": str(self.root.pk),
                "raises-TOTAL_FORMS": "0",
                "raises-INITIAL_FORMS": "0",
            },
        )
        row = Quota.objects.get()
        self.assertEqual((row.limit, row.action, row.unit, row.window, row.user_id), (7, "warn", "cost", "month", None))


class Resetting(QuotaCase):
    def test_a_counter_begins_anew_and_its_past_is_kept_and_logged(self) -> None:
        settle(admit(self.secret, now=self.now - timedelta(seconds=5)), cost=Decimal("12.5"))
        other = Quota.objects.create(user=self.key.user, unit="tokens", window="day", limit=Decimal(5))
        data = {"action": "reset_counter", "_selected_action": [str(self.quota.pk), str(other.pk)]}
        response = self.client.post(list_url(Quota), data, follow=True)
        self.assertContains(response, "1 counter begins anew.")
        self.assertContains(response, "1 quota was left alone: nothing of it is used.")
        old, new = QuotaWindow.objects.order_by("starts_at")
        self.assertEqual((old.used, new.used, old.ends_at), (Decimal("12.5"), 0, new.starts_at))
        entry = LogEntry.objects.get()
        self.assertEqual((entry.object_id, entry.user_id), (str(self.quota.pk), self.root.pk))
        self.assertIn("UTC: 12.5 USD.", entry.change_message)
        self.assertEqual(list(differences()), [])
