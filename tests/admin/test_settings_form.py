"""The search backend in the form of the settings: its secret goes in and never comes out."""

from typing import Any

from django.http import HttpResponse
from django.urls import reverse

from routing.models import RuntimeSettings
from tests.admin.pages import AdminTestCase, row_url

SECRET = "tvly-0123456789abcdef"


class SettingsCase(AdminTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.row = RuntimeSettings.objects.create(pk=1)

    def post(self, **fields: Any) -> HttpResponse:
        data = {
            "capture": "metadata",
            "capture_retention_days": "7",
            "capture_max_bytes": "1000",
            "business_time_zone": "UTC",
            "report_currency": "USD",
            "ping_interval_s": "10",
            "search_kind": "tavily",
            "search_url": "https://api.tavily.com",
            **fields,
        }
        return self.client.post(row_url(self.row), data)  # type: ignore[return-value]

    def stored(self) -> RuntimeSettings:
        return RuntimeSettings.objects.get()


class SearchSettings(SettingsCase):
    def test_the_secret_is_stored_encrypted_and_no_page_shows_it(self) -> None:
        self.assertEqual(self.post(search_secret=SECRET).status_code, 302)
        row = self.stored()
        self.assertEqual((row.search_kind, row.search_secret()), ("tavily", SECRET))
        self.assertNotIn(SECRET, row.encrypted_search_secret)
        for url in (row_url(row), reverse("admin:routing_runtimesettings_history", args=(row.pk,))):
            page = self.client.get(url)
            self.assertNotContains(page, SECRET)
            self.assertNotContains(page, row.encrypted_search_secret)
        self.assertContains(self.client.get(row_url(row)), "…cdef")
        wrong = self.post(search_secret=SECRET, search_url="ftp://x")
        self.assertNotContains(wrong, SECRET)
        self.assertContains(wrong, "Use an http or https URL with a host.")

    def test_an_empty_field_keeps_the_secret_and_the_box_removes_it(self) -> None:
        self.post(search_secret=SECRET)
        self.assertEqual(self.post(search_url="http://127.0.0.1:8888", search_kind="searxng").status_code, 302)
        self.assertEqual(self.stored().search_secret(), SECRET)
        self.assertEqual(self.post(removes_search_secret="on").status_code, 302)
        self.assertEqual((self.stored().search_secret(), self.stored().search_secret_last_four), ("", ""))

    def test_what_cannot_work_is_refused(self) -> None:
        for fields, message in (
            ({"search_url": ""}, "A search backend needs a URL."),
            ({"search_url": "https://user:word@x.example"}, "Enter the secret in its own field, not in the URL."),
            ({"search_secret": "two words"}, "visible ASCII characters"),
            (
                {"search_secret": SECRET, "removes_search_secret": "on"},
                "Either enter a secret or remove the stored one.",
            ),
        ):
            with self.subTest(message):
                self.assertContains(self.post(**fields), message)
        self.assertEqual(self.stored().search_kind, "")
        self.assertEqual(self.post(search_kind="", search_url="").status_code, 302)


class MonthlyExport(SettingsCase):
    def test_recipients_are_kept_one_per_line_and_each_once(self) -> None:
        self.post(monthly_export_enabled="on", monthly_export_recipients="a@example.com; b@example.com\nA@example.com")
        row = self.stored()
        self.assertEqual(
            (row.monthly_export_enabled, row.monthly_export_recipients), (True, "a@example.com\nb@example.com")
        )

    def test_a_wrong_address_is_named_with_its_line(self) -> None:
        page = self.post(monthly_export_recipients="a@example.com\nnobody\n@example.com")
        self.assertContains(page, "Line 2: “nobody” is no e-mail address.")
        self.assertContains(page, "Line 3")
        self.assertEqual(self.stored().monthly_export_recipients, "")
