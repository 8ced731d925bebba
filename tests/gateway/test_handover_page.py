"""The page behind a one-time link: nothing happens before the click, and after it the secret is shown once."""

import logging
from datetime import UTC, datetime, timedelta

from django.http import HttpResponse
from django.test import Client, TestCase, override_settings
from django.urls import reverse

from accounts import handovers, keys
from accounts.models import KeyHandover, User
from gateway import handover_page
from gateway.asgi import is_api
from routing.models import RuntimeSettings
from tests.accounts.books import person


class HandoverPage(TestCase):
    def setUp(self) -> None:
        self.key, self.secret = person()
        self.token = handovers.create(self.key, self.secret, None)
        self.url = reverse("handover", args=(self.token,))

    def assert_private(self, response: HttpResponse) -> None:
        self.assertEqual(response["cache-control"], "no-store")
        self.assertEqual(response["referrer-policy"], "no-referrer")
        self.assertIn("noindex", response["x-robots-tag"])
        self.assertIn("default-src 'none'", response["content-security-policy"])
        self.assertNotIn("<script", response.content.decode())

    def test_it_is_a_page_of_the_site_and_not_of_the_api(self) -> None:
        self.assertFalse(is_api(self.url))

    def test_looking_at_the_link_uses_nothing_up(self) -> None:
        for ask in (self.client.get, self.client.head, self.client.get):
            response = ask(self.url)
            self.assertEqual(response.status_code, 200)
            self.assertNotIn(self.secret, response.content.decode())
            self.assertNotIn("laptop", response.content.decode())
            self.assert_private(response)
        self.assertContains(response, '<form method="post">')
        self.assertIsNone(KeyHandover.objects.get().opened_at)

    def test_the_click_shows_the_secret_with_lines_to_paste_and_only_once(self) -> None:
        # Without cookies, and with the check of forms in force: the token is all that is needed.
        browser = Client(enforce_csrf_checks=True)
        response = browser.post(self.url, REMOTE_ADDR="10.2.3.4")
        self.assert_private(response)
        self.assertEqual(dict(browser.cookies), {})
        for line in (
            f"export ANTHROPIC_AUTH_TOKEN={self.secret}",
            "export ANTHROPIC_BASE_URL=http://testserver/api/v1/claude-code",
            "$env:ANTHROPIC_BASE_URL",
            "settings.json",
        ):
            self.assertContains(response, line)
        self.assertEqual(KeyHandover.objects.get().opened_from, "10.2.3.4")
        for ask in (browser.post, browser.get):
            again = ask(self.url)
            self.assertContains(again, "Nothing behind this link", status_code=410)
            self.assertNotIn(self.secret, again.content.decode())
            self.assert_private(again)

    @override_settings(PUBLIC_URL="https://gateway.example.com/ai")
    def test_link_and_lines_name_the_public_address(self) -> None:
        link = handover_page.link_to(self.token)
        self.assertEqual(link, f"https://gateway.example.com/ai{self.url}")
        self.assertContains(self.client.post(self.url), "BASE_URL=https://gateway.example.com/ai/api/v1/claude-code")

    def test_an_unknown_link_is_the_same_friendly_page(self) -> None:
        for url in (reverse("handover", args=("x" * 43,)), reverse("handover", args=("<b>",))):
            for ask in (self.client.get, self.client.post):
                self.assertContains(ask(url), "Nothing behind this link", status_code=404)

    def test_no_log_holds_a_link_or_the_better_part_of_one(self) -> None:
        with self.assertLogs(level="DEBUG") as logs:
            logging.getLogger("tests").info("without a line of its own assertLogs would fail")
            self.client.get(reverse("handover", args=(self.token[:-1],)))
            self.client.post(self.url)
            self.client.post(self.url)
        self.assertFalse([line for line in logs.output if self.token[:20] in line])

    def test_a_withdrawn_link_and_one_to_a_rotated_key_are_over(self) -> None:
        keys.rotate(self.key, timedelta(0))
        self.assertEqual(self.client.get(self.url).status_code, 410)

    def test_other_methods_change_nothing(self) -> None:
        self.assertEqual(self.client.put(self.url).status_code, 405)
        self.assertEqual(self.client.get(self.url).status_code, 200)

    def test_the_language_is_the_browsers(self) -> None:
        response = self.client.get(self.url, headers={"accept-language": "zh-CN,zh;q=0.9"})
        self.assertContains(response, 'lang="zh-hans"')
        self.assertContains(self.client.get(self.url), 'lang="en"')

    def test_a_temporary_password_does_not_keep_the_key_away(self) -> None:
        User.objects.update(must_change_password=True)
        self.client.force_login(User.objects.get())
        self.assertContains(self.client.post(self.url), self.secret)

    def test_times_are_those_of_the_owner(self) -> None:
        User.objects.update(time_zone="Asia/Shanghai")
        self.assertContains(self.client.get(self.url), "(Asia/Shanghai)")
        User.objects.update(time_zone="")
        RuntimeSettings.objects.update_or_create(pk=1, defaults={"business_time_zone": "Europe/Berlin"})
        self.assertContains(self.client.get(self.url), "(Europe/Berlin)")

    def test_the_letter_is_in_the_language_of_its_reader(self) -> None:
        self.key.user.language = "xx"
        subject, text = handover_page.letter(self.key, "https://x/handover/t/", datetime(2026, 12, 1, tzinfo=UTC))
        self.assertEqual(subject, "Your key laptop")
        self.assertIn("https://x/handover/t/", text)
        self.assertIn("2026-12-01 00:00 UTC", text)
