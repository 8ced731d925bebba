"""Many keys at once: issued, rotated and extended; the secrets come in one file, this once."""

import csv
import io
import json
import logging
import re
from datetime import timedelta
from typing import Any

from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import Permission
from django.db import connection
from django.http import HttpResponse
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone

from accounts import keys
from accounts.models import ApiKey, Team, User
from tests.admin.pages import AdminTestCase, list_url

SECRET = re.compile(r"wg_[A-Za-z0-9_-]{43}")


def selection_of(page: HttpResponse) -> str:
    """Return what the form on `page` carries of the selected rows."""
    context: Any = page.context  # type: ignore[attr-defined]
    return str(context["selection"])


def rows_of(response: HttpResponse) -> list[list[str]]:
    """Return the rows of a downloaded file, without the head."""
    assert response["content-type"].startswith("text/csv")
    assert response.content.startswith(b"\xef\xbb\xbf")
    head, *rows = list(csv.reader(io.StringIO(response.content.decode("utf-8-sig"))))
    assert head == ["user", "key", "secret"]
    return rows


class BulkCase(AdminTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.people = [User.objects.create(username=name) for name in ("a", "李雷", "@sum")]

    def act(self, model: Any, action: str, rows: list[Any]) -> HttpResponse:
        data = {"action": action, "_selected_action": [row.pk for row in rows]}
        return self.client.post(list_url(model), data)

    def assert_nowhere(self, secrets: list[str]) -> None:
        self.assertNotEqual(secrets, [])
        with connection.cursor() as cursor:
            for table in connection.introspection.table_names(cursor):
                cursor.execute(f"SELECT * FROM {connection.ops.quote_name(table)}")
                stored = str(cursor.fetchall())
                for secret in secrets:
                    self.assertNotIn(secret, stored, table)


class Issuing(BulkCase):
    URL = "admin:accounts_user_issue_keys"

    def send(self, people: list[User], **fields: Any) -> HttpResponse:
        data = {"name": "cc", "lifetime": "30", "allowed_models": "[]", **fields}
        selection = json.dumps({person.pk: "" for person in people})
        return self.client.post(reverse(self.URL), {"selection": selection, **data})

    def test_each_person_gets_a_key_and_the_file_has_the_secrets(self) -> None:
        page = self.act(User, "issue_keys", self.people)
        self.assertContains(page, "李雷")
        data = {
            "selection": selection_of(page),
            "name": "cc",
            "lifetime": "30",
            "allowed_models": '["main/*"]',
            "allowed_networks": "10.1.2.3/16",
            "max_concurrency": "3",
        }
        with self.assertLogs(level="DEBUG") as logs:
            response = self.client.post(reverse(self.URL), data)
            logging.getLogger("tests").info("without a line of its own assertLogs would fail")
        self.assertIn("no-store", response["cache-control"])
        self.assertIn("attachment", response["content-disposition"])
        rows = rows_of(response)
        self.assertEqual({row[0] for row in rows}, {"a", "李雷", "'@sum"})
        for key in ApiKey.objects.select_related("user"):
            [secret] = [row[2] for row in rows if row[0].removeprefix("'") == key.user.username]
            self.assertEqual((key.digest, key.name), (keys.digest(secret), "cc"))
            self.assertEqual((key.allowed_models, key.allowed_networks), (["main/*"], ["10.1.0.0/16"]))
            self.assertEqual(key.max_concurrency, 3)
            self.assertLess(abs(key.expires_at - timezone.now() - timedelta(days=30)), timedelta(minutes=1))
        self.assert_nowhere([row[2] for row in rows])
        self.assertFalse([line for line in logs.output if SECRET.search(line)])
        self.assertEqual(LogEntry.objects.filter(change_message="Issued with others.").count(), 3)

    def test_a_form_sent_twice_issues_once(self) -> None:
        rows_of(self.send(self.people))
        again = self.send(self.people)
        self.assertContains(again, "李雷 already has a key called cc.")
        self.assertIsNone(SECRET.search(again.content.decode()))
        self.assertEqual(ApiKey.objects.count(), 3)

    def test_one_fault_issues_nothing(self) -> None:
        keys.issue(self.people[1], "cc")
        self.assertContains(self.send(self.people), "already has a key")
        User.objects.filter(pk=self.people[0].pk).update(is_active=False)
        self.assertContains(self.send(self.people, name="other"), "a is not active.")
        for fields in (
            {"name": "not a name"},
            {"name": ""},
            {"lifetime": "date", "expires_on": "2001-01-01"},
            {"allowed_models": "[1]"},
            {"allowed_models": "{}"},
            {"allowed_networks": "x"},
            {"max_concurrency": "-1"},
            {"max_concurrency": "99999999999"},
        ):
            with self.subTest(fields=fields):
                page = self.send(self.people[2:], **fields)
                self.assertEqual(page["content-type"].split(";")[0], "text/html")
                self.assertContains(page, "Please correct the errors below.")
        self.assertEqual(ApiKey.objects.count(), 1)

    def test_a_thousand_people_cost_few_statements(self) -> None:
        User.objects.bulk_create(User(username=f"dev{number}") for number in range(1000))
        people = list(User.objects.filter(username__startswith="dev"))
        with CaptureQueriesContext(connection) as context:
            rows = rows_of(self.send(people))
        self.assertEqual(len({row[2] for row in rows}), 1000)
        self.assertLess(len(context), 60)

    def test_who_may_not_make_keys_makes_none(self) -> None:
        staff = User.objects.create_user("staff", is_staff=True)
        staff.user_permissions.add(*Permission.objects.filter(codename__in=["view_user", "change_user"]))
        self.client.force_login(staff)
        self.assertNotContains(self.client.get(list_url(User)), "issue_keys")
        self.assertEqual(self.send(self.people).status_code, 403)
        self.assertFalse(ApiKey.objects.exists())

    def test_forms_that_nobody_made_are_refused(self) -> None:
        for selection in ("", "[]", "{", '{"x": ""}', '{"1": 5}', "1"):
            with self.subTest(selection=selection):
                data = {"selection": selection, "name": "cc", "lifetime": "30"}
                self.assertEqual(self.client.post(reverse(self.URL), data).status_code, 403)
        self.assertEqual(self.client.get(reverse(self.URL)).status_code, 302)


class Changing(BulkCase):
    def setUp(self) -> None:
        super().setUp()
        self.issued = [keys.issue(person, "cc") for person in self.people]
        self.keys = [key for key, _secret in self.issued]

    def rotate(self, **data: Any) -> HttpResponse:
        page = self.act(ApiKey, "rotate", self.keys)
        data = {"selection": selection_of(page), "grace": "86400", **data}
        return self.client.post(reverse("admin:accounts_apikey_rotate_selected"), data)

    def test_rotation_gives_a_file_of_new_secrets(self) -> None:
        rows = rows_of(self.rotate())
        self.assertEqual(len(rows), 3)
        for key, former in self.issued:
            key.refresh_from_db()
            self.assertIn(key.digest, {keys.digest(row[2]) for row in rows})
            self.assertEqual(key.previous_digest, keys.digest(former))
            self.assertGreater(key.previous_expires_at, timezone.now() + timedelta(hours=23))
        self.assert_nowhere([row[2] for row in rows])
        self.assertEqual(LogEntry.objects.filter(change_message="Rotated with others.").count(), 3)

    def test_rotation_is_for_all_or_for_none(self) -> None:
        keys.revoke(self.keys[1])
        page = self.rotate()
        self.assertContains(page, "is revoked; activate it first")
        self.assertEqual({key.digest for key in ApiKey.objects.all()}, {key.digest for key in self.keys})

    def test_a_form_sent_twice_rotates_once(self) -> None:
        page = self.act(ApiKey, "rotate", self.keys)
        data = {"selection": selection_of(page), "grace": "0"}
        url = reverse("admin:accounts_apikey_rotate_selected")
        rows = rows_of(self.client.post(url, data))
        self.assertContains(self.client.post(url, data), "was given a new secret meanwhile")
        self.assertEqual(set(ApiKey.objects.values_list("digest", flat=True)), {keys.digest(row[2]) for row in rows})

    def test_extension_moves_ends_on_and_never_back(self) -> None:
        now = timezone.now()
        ends = [now + timedelta(days=3), now + timedelta(days=300), None]
        for key, end in zip(self.keys, ends, strict=True):
            ApiKey.objects.filter(pk=key.pk).update(expires_at=end)
        page = self.act(ApiKey, "extend", self.keys)
        url = reverse("admin:accounts_apikey_extend")
        data = {"selection": selection_of(page), "lifetime": "30"}
        self.assertContains(self.client.post(url, data, follow=True), "1 key extended.")
        for key in self.keys:
            key.refresh_from_db()
        self.assertLess(abs(self.keys[0].expires_at - now - timedelta(days=30)), timedelta(minutes=1))
        self.assertEqual([key.expires_at for key in self.keys[1:]], ends[1:])
        refused = self.client.post(url, {**data, "lifetime": "date", "expires_on": "2001-01-01"})
        self.assertContains(refused, "This day is over.")
        self.client.post(url, {**data, "lifetime": "never"})
        self.assertEqual(set(ApiKey.objects.values_list("expires_at", flat=True)), {None})

    def test_revocation_of_several(self) -> None:
        self.act(ApiKey, "revoke", self.keys)
        self.assertFalse(ApiKey.objects.filter(is_active=True).exists())

    def test_who_may_only_look_changes_nothing(self) -> None:
        staff = User.objects.create_user("staff", is_staff=True, team=Team.objects.create(name="t"))
        staff.user_permissions.add(*Permission.objects.filter(codename__in=["view_apikey", "view_all_teams"]))
        selection = json.dumps({key.pk: key.prefix for key in self.keys})
        self.client.force_login(staff)
        for name, data in (("rotate_selected", {"grace": "0"}), ("extend", {"lifetime": "never"})):
            response = self.client.post(reverse(f"admin:accounts_apikey_{name}"), {"selection": selection, **data})
            self.assertEqual(response.status_code, 403)
        self.assertEqual({key.digest for key in ApiKey.objects.all()}, {key.digest for key in self.keys})
