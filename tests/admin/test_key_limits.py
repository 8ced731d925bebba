"""Requests and tokens per minute: quotas behind two fields of a key."""

import json
from typing import Any

from django.contrib.auth.models import Permission
from django.http import HttpResponse
from django.urls import reverse

from accounts import keys
from accounts.models import ApiKey, Quota, User
from tests.admin.pages import AdminTestCase, row_url

REQUESTS, TOKENS, MINUTE = Quota.Unit.REQUESTS, Quota.Unit.TOKENS, Quota.Window.MINUTE


class Limits(AdminTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.key, _secret = keys.issue(self.root, "laptop")

    def save(self, **fields: Any) -> HttpResponse:
        return self.client.post(row_url(self.key), {"name": "laptop", "allowed_models": "[]", **fields})

    def rows(self) -> list[tuple[str, int, bool]]:
        rows = Quota.objects.filter(key=self.key, window=MINUTE).order_by("unit")
        return [(row.unit, int(row.limit), row.is_active) for row in rows]

    def test_a_limit_is_made_changed_and_switched_off(self) -> None:
        self.assertEqual(self.save(requests_per_minute="60").status_code, 302)
        self.assertEqual(self.rows(), [(REQUESTS, 60, True)])
        self.assertContains(self.client.get(row_url(self.key)), 'name="requests_per_minute" value="60"')
        self.save(requests_per_minute="90", tokens_per_minute="100000")
        self.assertEqual(self.rows(), [(REQUESTS, 90, True), (TOKENS, 100000, True)])
        self.save(tokens_per_minute="100000")
        self.assertEqual(self.rows(), [(REQUESTS, 90, False), (TOKENS, 100000, True)])
        self.assertNotContains(self.client.get(row_url(self.key)), 'name="requests_per_minute" value')
        self.save(requests_per_minute="30", tokens_per_minute="100000")
        self.assertEqual(self.rows(), [(REQUESTS, 30, True), (TOKENS, 100000, True)])

    def test_a_new_key_comes_with_its_limits(self) -> None:
        data = {"user": self.root.pk, "name": "desktop", "lifetime": "7", "allowed_models": "[]"}
        response = self.client.post(reverse("admin:accounts_apikey_add"), {**data, "tokens_per_minute": "5000"})
        self.assertContains(response, "wg_")
        quota = Quota.objects.get(key__name="desktop")
        self.assertEqual((quota.unit, quota.window, int(quota.limit), quota.action), (TOKENS, MINUTE, 5000, "block"))

    def test_other_quotas_and_untouched_fields_stay(self) -> None:
        for fields in ({"key": self.key, "window": "day"}, {"user": self.root, "window": MINUTE}):
            Quota.objects.create(unit=REQUESTS, limit=5, **fields)
        warning = Quota.objects.create(key=self.key, unit=TOKENS, window=MINUTE, limit=7, action="warn")
        self.save(note="a note")
        warning.refresh_from_db()
        self.assertEqual((warning.action, warning.is_active), ("warn", True))
        self.save(requests_per_minute="3")
        self.assertEqual(sorted(Quota.objects.values_list("limit", flat=True)), [3, 5, 5, 7])

    def test_bad_numbers_are_refused_and_nothing_is_saved(self) -> None:
        for value in ("0", "-1", "x", "1.5", "9" * 30):
            for name in ("requests_per_minute", "tokens_per_minute"):
                with self.subTest(value=value, name=name):
                    page = self.save(note="changed", **{name: value})
                    self.assertContains(page, "Please correct the error")
        self.assertEqual(self.rows(), [])
        self.key.refresh_from_db()
        self.assertEqual(self.key.note, "")

    def test_who_may_not_change_quotas_leaves_them(self) -> None:
        self.save(requests_per_minute="60")
        staff = User.objects.create_user("staff", is_staff=True)
        names = ["view_apikey", "change_apikey", "add_apikey", "view_user", "view_all_teams"]
        staff.user_permissions.add(*Permission.objects.filter(codename__in=names))
        self.client.force_login(staff)
        self.assertEqual(self.save(requests_per_minute="9999", note="hello").status_code, 302)
        self.assertEqual(self.rows(), [(REQUESTS, 60, True)])
        self.assertEqual(ApiKey.objects.get().note, "hello")
        data = {"name": "cc", "lifetime": "7", "allowed_models": "[]", "tokens_per_minute": "5"}
        selection = json.dumps({staff.pk: ""})
        page = self.client.post(reverse("admin:accounts_user_issue_keys"), {"selection": selection, **data})
        self.assertContains(page, "You may not set limits")
        self.assertEqual(ApiKey.objects.count(), 1)

    def test_who_may_only_look_sees_the_page(self) -> None:
        staff = User.objects.create_user("staff", is_staff=True)
        staff.user_permissions.add(*Permission.objects.filter(codename__in=["view_apikey", "view_all_teams"]))
        self.client.force_login(staff)
        page = self.client.get(row_url(self.key))
        self.assertNotContains(page, "let it end")
        self.assertNotContains(page, "/rotate/")

    def test_keys_issued_in_bulk_have_limits(self) -> None:
        data = {"name": "cc", "lifetime": "7", "allowed_models": "[]", "requests_per_minute": "5"}
        people = [User.objects.create(username=name) for name in "ab"]
        selection = json.dumps({person.pk: "" for person in people})
        self.client.post(reverse("admin:accounts_user_issue_keys"), {"selection": selection, **data})
        self.assertEqual(Quota.objects.filter(key__name="cc", unit=REQUESTS, window=MINUTE, limit=5).count(), 2)
