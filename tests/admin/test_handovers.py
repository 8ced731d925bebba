"""One-time links in the admin: made instead of showing a secret, listed with their state, withdrawn."""

import csv
import io
import json
import re
from datetime import timedelta
from typing import Any

from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import Permission
from django.http import HttpResponse
from django.test import override_settings
from django.urls import reverse
from django.utils import timezone

from accounts import handovers, keys
from accounts.models import ApiKey, AuditEntry, KeyHandover, User
from tests.admin.pages import AdminTestCase, list_url, row_url

SECRET = re.compile(r"wg_[A-Za-z0-9_-]{43}")
LINK = re.compile(r"https?://[^\s<\"]+/handover/([A-Za-z0-9_-]{43})/")


class HandoverCase(AdminTestCase):
    def assert_opens(self, token: str) -> str:
        response = self.client.post(reverse("handover", args=(token,)))
        return SECRET.search(response.content.decode()).group()

    def tokens(self, response: HttpResponse) -> list[str]:
        text = response.content.decode()
        self.assertIsNone(SECRET.search(text), "the one who issues does not see the secret")
        self.assertIn("no-store", response["cache-control"])
        return LINK.findall(text)


class Making(HandoverCase):
    def test_a_new_key_goes_behind_a_link_instead_of_on_the_page(self) -> None:
        data = {"user": self.root.pk, "name": "laptop", "lifetime": "30", "allowed_models": "[]", "delivery": "3600"}
        [token] = self.tokens(self.client.post(reverse("admin:accounts_apikey_add"), data))
        row = KeyHandover.objects.get()
        self.assertEqual(row.created_by, self.root)
        self.assertLess(abs(row.expires_at - timezone.now() - timedelta(hours=1)), timedelta(minutes=1))
        self.assertEqual(keys.digest(self.assert_opens(token)), ApiKey.objects.get().digest)

    def test_a_rotated_key_goes_behind_a_link(self) -> None:
        key, _secret = keys.issue(self.root, "laptop")
        data = {"grace": "0", "instead_of": key.prefix, "delivery": "604800"}
        [token] = self.tokens(self.client.post(reverse("admin:accounts_apikey_rotate", args=(key.pk,)), data))
        self.assertEqual(keys.digest(self.assert_opens(token)), ApiKey.objects.get().digest)

    def test_another_way_of_handing_over_is_refused(self) -> None:
        data = {"user": self.root.pk, "name": "laptop", "lifetime": "30", "allowed_models": "[]", "delivery": "-5"}
        response = self.client.post(reverse("admin:accounts_apikey_add"), data)
        self.assertContains(response, "Select a valid choice.")
        self.assertFalse(ApiKey.objects.exists())

    @override_settings(PUBLIC_URL="https://gateway.example.com")
    def test_many_keys_come_as_a_file_of_links(self) -> None:
        people = [User.objects.create(username=name) for name in ("a", "李雷")]
        selection = json.dumps({person.pk: "" for person in people})
        data = {"selection": selection, "name": "cc", "lifetime": "30", "allowed_models": "[]", "delivery": "86400"}
        response = self.client.post(reverse("admin:accounts_user_issue_keys"), data)
        head, *rows = list(csv.reader(io.StringIO(response.content.decode("utf-8-sig"))))
        self.assertEqual(head, ["user", "key", "link"])
        self.assertEqual({row[0] for row in rows}, {"a", "李雷"})
        self.assertTrue(all(row[2].startswith("https://gateway.example.com/handover/") for row in rows))
        for token in self.tokens(response):
            self.assert_opens(token)
        self.assertEqual(KeyHandover.objects.filter(opened_at__isnull=False).count(), 2)
        entry = AuditEntry.objects.filter(note__contains="one-time links to the secrets").get()
        self.assertEqual(sorted(entry.changes["keys"][1]), sorted(map(str, ApiKey.objects.select_related("user"))))
        self.assertFalse(AuditEntry.objects.filter(note__contains="Downloaded").exists())

    def test_many_keys_come_as_a_page_of_links(self) -> None:
        issued = [keys.issue(User.objects.create(username=name), "cc")[0] for name in ("a", "<b>")]
        data = {
            "selection": json.dumps({key.pk: key.prefix for key in issued}),
            "grace": "0",
            "delivery": "86400",
            "links_as": "page",
        }
        response = self.client.post(reverse("admin:accounts_apikey_rotate_selected"), data)
        self.assertEqual(len(set(self.tokens(response))), 2)
        self.assertContains(response, "&lt;b&gt;")

    def test_keys_whose_links_cannot_be_made_are_not_made_either(self) -> None:
        key, _secret = keys.issue(self.root, "laptop")
        selection = json.dumps({key.pk: key.prefix})
        data = {"selection": selection, "grace": "0", "delivery": "86400"}
        self.client.raise_request_exception = False
        with override_settings(ENCRYPTION_KEYS=[]):
            response = self.client.post(reverse("admin:accounts_apikey_rotate_selected"), data)
        self.assertEqual(response.status_code, 500)
        self.assertEqual(ApiKey.objects.get().digest, key.digest)


class Watching(HandoverCase):
    def setUp(self) -> None:
        super().setUp()
        self.token = self.make("waiting")
        handovers.open_once(self.make("shown"), "10.9.8.7")
        self.make("late")
        KeyHandover.objects.filter(key__name="late").update(expires_at=timezone.now())

    def make(self, name: str) -> str:
        return handovers.create(*keys.issue(self.root, name), self.root)

    def names(self, **filters: Any) -> set[str]:
        page = self.client.get(list_url(KeyHandover), filters)
        return {row.key.name for row in page.context["cl"].result_list}  # type: ignore[index]

    def test_the_list_says_what_became_of_each_link(self) -> None:
        page = self.client.get(list_url(KeyHandover))
        for text in ("not opened yet", "10.9.8.7", "over, not opened"):
            self.assertContains(page, text)
        self.assertNotContains(page, handovers.digest(self.token))
        self.assertEqual(self.names(state="open"), {"waiting"})
        self.assertEqual(self.names(state="opened"), {"shown"})
        self.assertEqual(self.names(state="over"), {"late"})
        row = KeyHandover.objects.get(key__name="waiting")
        page = self.client.get(row_url(row))
        self.assertContains(page, "not opened yet")
        self.assertNotContains(page, row.encrypted_secret)

    def withdraw(self) -> HttpResponse:
        rows = list(KeyHandover.objects.values_list("pk", flat=True))
        return self.client.post(list_url(KeyHandover), {"action": "withdraw", "_selected_action": rows}, follow=True)

    def test_what_nobody_opened_is_withdrawn_and_its_key_stays(self) -> None:
        self.assertContains(self.withdraw(), "1 link withdrawn.")
        self.assertEqual(self.client.get(reverse("handover", args=(self.token,))).status_code, 410)
        self.assertEqual(self.names(state="over"), {"waiting", "late"})
        self.assertEqual(LogEntry.objects.get().change_message, "Withdrawn.")
        self.assertFalse(ApiKey.objects.filter(is_active=False).exists())

    def test_who_may_only_look_withdraws_nothing(self) -> None:
        staff = User.objects.create_user("staff", is_staff=True)
        staff.user_permissions.add(Permission.objects.get(codename="view_keyhandover"))
        self.client.force_login(staff)
        self.withdraw()
        self.assertNotEqual(KeyHandover.objects.get(key__name="waiting").encrypted_secret, "")
