"""People read the pages in their own language and time zone."""

import json

from django.test import TestCase
from django.urls import reverse

from accounts.models import User
from gateway.admin_base import readable
from routing.models import RuntimeSettings
from tests.admin.pages import AdminTestCase, row_url
from tests.admin.rows import NOW, make_call, make_key

LIST = "admin:accounts_callrecord_changelist"


class LocaleOfUser(AdminTestCase):
    @classmethod
    def setUpTestData(cls) -> None:
        super().setUpTestData()
        RuntimeSettings.objects.create(pk=1, business_time_zone="Asia/Shanghai")
        make_call(make_key(cls.root, "laptop"))  # at 12:00 UTC

    def test_times_are_of_the_person_else_of_the_business(self) -> None:
        for zone, time, name in (
            ("", "20:00:00", "Asia/Shanghai"),
            ("America/New_York", "07:00:00", "America/New_York"),
            ("Mars/Olympus", "20:00:00", "Asia/Shanghai"),
            ("../../etc/passwd", "20:00:00", "Asia/Shanghai"),
        ):
            with self.subTest(zone=zone):
                User.objects.update(time_zone=zone)
                page = self.client.get(reverse(LIST))
                self.assertContains(page, f"{NOW:%Y-%m-%d} {time}")
                self.assertContains(page, f"time zone {name}.")

    def test_the_language_is_of_the_person_else_of_the_browser(self) -> None:
        for language, asked, expected in (
            ("", "en", "Home"),
            ("", "zh-CN", "首页"),
            ("zh-hans", "en", "首页"),
            ("en", "zh-CN", "Home"),
            ("tlh", "zh-CN", "首页"),
        ):
            with self.subTest(language=language, asked=asked):
                User.objects.update(language=language)
                page = self.client.get(reverse(LIST), headers={"accept-language": asked})
                self.assertContains(page, expected)
                self.assertEqual(page["content-language"], "zh-hans" if expected == "首页" else "en")

    def test_nothing_is_left_behind_for_the_next_person(self) -> None:
        User.objects.update(language="zh-hans", time_zone="America/New_York")
        self.client.get(reverse(LIST))
        User.objects.update(language="", time_zone="UTC")
        page = self.client.get(reverse(LIST), headers={"accept-language": "en"})
        self.assertContains(page, "time zone UTC.")
        self.assertContains(page, "Home")

    def test_it_costs_one_query_at_most(self) -> None:
        jsi18n = reverse("admin:jsi18n")
        with self.assertNumQueries(3):  # session, user, settings
            self.client.get(jsi18n)
        User.objects.update(time_zone="UTC")
        with self.assertNumQueries(2):
            self.client.get(jsi18n)

    def test_django_s_scripts_are_translated_where_django_leaves_them_english(self) -> None:
        User.objects.update(language="zh-hans")
        script = self.client.get(reverse("admin:jsi18n"))
        self.assertContains(script, json.dumps("选中%s后点击“选择”箭头。"))

    def test_the_form_offers_languages_and_time_zones(self) -> None:
        page = row_url(self.root)
        form = self.client.get(page).context["adminform"].form
        self.assertEqual([value for value, _text in form.fields["language"].choices], ["", "en", "zh-hans"])
        values = {"username": "root", "language": "zh-hans", "time_zone": "Asia/Tokyo", "is_active": "on"}
        self.assertEqual(self.client.post(page, values).status_code, 302)
        self.root.refresh_from_db()
        self.assertEqual((self.root.language, self.root.time_zone), ("zh-hans", "Asia/Tokyo"))
        refused = self.client.post(page, {**values, "time_zone": "Mars/Olympus", "language": "tlh"})
        self.assertEqual(set(refused.context["adminform"].form.errors), {"time_zone", "language"})


class BeforeTheLogin(TestCase):
    def test_nothing_is_read(self) -> None:
        with self.assertNumQueries(0):
            self.client.get(reverse("admin:login"))


class Readable(TestCase):
    def test_values_are_for_people(self) -> None:
        for value, text in ((True, "yes"), (False, "no"), (None, "-"), ("", "-"), (1234567, "1,234,567"), (0, "0")):
            with self.subTest(value=value):
                self.assertEqual(readable(value), text)
        self.assertIn("2026-01-15 12:00:00", readable(NOW))
