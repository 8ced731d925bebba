"""Keys in the admin: the secret is in one answer and nowhere else; keys are revoked, never deleted."""

import re
from datetime import timedelta
from typing import Any
from zoneinfo import ZoneInfo

from django.contrib.admin.models import LogEntry
from django.contrib.messages import get_messages
from django.db import connection
from django.http import HttpResponse
from django.test import override_settings
from django.urls import reverse
from django.utils import timezone

from accounts import keys, sightings
from accounts.models import ApiKey, KeyNetwork, User
from tests.admin.pages import AdminTestCase

ADD = "admin:accounts_apikey_add"
LIST = "admin:accounts_apikey_changelist"


class KeyTestCase(AdminTestCase):
    def add(self, **fields: Any) -> HttpResponse:
        data = {"user": self.root.pk, "name": "laptop", "lifetime": "never", "allowed_models": "[]", **fields}
        return self.client.post(reverse(ADD), data)


class Creation(KeyTestCase):
    def test_the_secret_is_in_the_answer_and_works(self) -> None:
        response = self.add()
        secret = re.search(r"wg_[A-Za-z0-9_-]{43}", response.content.decode()).group()
        key = ApiKey.objects.get()
        self.assertEqual((key.digest, key.prefix), (keys.digest(secret), secret[:10]))
        self.assertIn("no-store", response["cache-control"])
        self.assertContains(response, f"export ANTHROPIC_AUTH_TOKEN={secret}")
        self.assertContains(response, "export ANTHROPIC_BASE_URL=http://testserver")

    def test_it_tells_how_the_client_asks_its_user_instead_of_a_classifier(self) -> None:
        page = self.add()
        self.assertContains(page, '<pre>{"permissions": {"defaultMode": "acceptEdits"}}</pre>')
        self.assertContains(page, "~/.claude/settings.json")

    @override_settings(PUBLIC_URL="https://gateway.example.com/ai")
    def test_the_lines_to_paste_name_the_public_address(self) -> None:
        self.assertContains(self.add(), "export ANTHROPIC_BASE_URL=https://gateway.example.com/ai")

    def test_the_secret_is_nowhere_else(self) -> None:
        response = self.add()
        secret = re.search(r"wg_[A-Za-z0-9_-]{43}", response.content.decode()).group()
        key = ApiKey.objects.get()
        self.assertEqual(list(get_messages(response.wsgi_request)), [])
        self.assertNotIn(secret, str(self.client.cookies))
        self.assertNotIn(secret, str(dict(self.client.session)))
        for url in (
            reverse(LIST),
            reverse("admin:accounts_apikey_change", args=(key.pk,)),
            reverse("admin:accounts_apikey_history", args=(key.pk,)),
            reverse("admin:index"),
        ):
            page = self.client.get(url)
            self.assertNotContains(page, secret)
            self.assertNotContains(page, key.digest)
        with connection.cursor() as cursor:
            for table in connection.introspection.table_names(cursor):
                cursor.execute(f"SELECT * FROM {connection.ops.quote_name(table)}")
                self.assertNotIn(secret, str(cursor.fetchall()), table)

    def test_sending_the_form_again_gives_no_second_secret(self) -> None:
        self.add()
        again = self.add()
        self.assertIsNone(re.search(r"wg_[A-Za-z0-9_-]{43}", again.content.decode()))
        self.assertEqual(ApiKey.objects.count(), 1)

    def test_each_way_of_saving_shows_the_secret(self) -> None:
        for name, extra in (("a", {"_continue": "1"}), ("b", {"_addanother": "1"}), ("c", {"_popup": "1"})):
            with self.subTest(extra=extra):
                self.assertRegex(self.add(name=name, **extra).content.decode(), r"wg_[A-Za-z0-9_-]{43}")

    def test_lifetimes(self) -> None:
        now = timezone.now()
        for lifetime, days in (("7", 7), ("30", 30), ("180", 180), ("365", 365), ("never", None)):
            with self.subTest(lifetime=lifetime):
                self.add(name=f"for-{lifetime}", lifetime=lifetime)
                expires_at = ApiKey.objects.get(name=f"for-{lifetime}").expires_at
                if days is None:
                    self.assertIsNone(expires_at)
                else:
                    self.assertLess(abs(expires_at - now - timedelta(days=days)), timedelta(minutes=1))

    def test_an_own_day_is_good_to_its_end_where_the_administrator_is(self) -> None:
        User.objects.filter(pk=self.root.pk).update(time_zone="Asia/Shanghai")
        self.add(name="dated", lifetime="date", expires_on="2030-05-06")
        self.assertEqual(ApiKey.objects.get(name="dated").expires_at.isoformat(), "2030-05-06T15:59:59+00:00")
        today = timezone.now().astimezone(ZoneInfo("Asia/Shanghai")).date()
        self.add(name="today", lifetime="date", expires_on=f"{today}")
        self.assertTrue(ApiKey.objects.filter(name="today", expires_at__gt=timezone.now()).exists())

    def test_ends_that_cannot_be_are_refused(self) -> None:
        yesterday = timezone.localdate() - timedelta(days=1)
        for fields, text in (
            ({"lifetime": "date"}, "Enter the day with which the key ends."),
            ({"lifetime": "7", "expires_on": "2030-05-06"}, "leave that day empty"),
            ({"lifetime": "date", "expires_on": f"{yesterday}"}, "This day is over."),
            ({"lifetime": "date", "expires_on": "2030-02-30"}, "Enter a valid date."),
            ({"lifetime": "date", "expires_on": "9999-12-31"}, "within the next hundred years"),
            ({"lifetime": "-7"}, "Select a valid choice."),
        ):
            with self.subTest(fields=fields):
                self.assertContains(self.add(**fields), text)
        self.assertFalse(ApiKey.objects.exists())

    def test_wrong_values_are_refused(self) -> None:
        for fields in (
            {"name": "not a name"},
            {"max_concurrency": "0"},
            {"allowed_models": '{"a": 1}'},
            {"allowed_models": "[1]"},
            {"allowed_models": '[""]'},
            {"allowed_models": '"main/*"'},
            {"allowed_models": "main/*, other/*"},
            {"lifetime": "100"},
            {"allowed_networks": "10.0.0.0/8\nnot a network"},
            {"allowed_networks": "10.0.0.0/33"},
            {"allowed_networks": "\n".join(f"10.0.{n}.1" for n in range(201))},
            {"user": "999"},
        ):
            with self.subTest(fields=fields):
                self.assertEqual(self.add(**fields).status_code, 200)
                self.assertFalse(ApiKey.objects.exists())
        networks = "10.1.2.3/16\r\n\r\n 10.1.9.9/16 \n2001:db8::1\n::ffff:192.0.2.1"
        self.add(allowed_models='["main/*", "claude-haiku-*"]', max_concurrency="2", allowed_networks=networks)
        key = ApiKey.objects.get()
        self.assertEqual(key.allowed_networks, ["10.1.0.0/16", "2001:db8::1", "192.0.2.1"])
        page = self.client.get(reverse("admin:accounts_apikey_change", args=(key.pk,)))
        self.assertContains(page, "10.1.0.0/16\n2001:db8::1\n192.0.2.1")
        self.assertEqual((key.allowed_models, key.max_concurrency), (["main/*", "claude-haiku-*"], 2))

    def test_models_are_entered_one_per_line(self) -> None:
        self.add(allowed_models=" main/* \r\n\r\nclaude-haiku-*\r\nmain/*\r\ngpt-[45]*")
        key = ApiKey.objects.get()
        self.assertEqual(key.allowed_models, ["main/*", "claude-haiku-*", "gpt-[45]*"])
        page = self.client.get(reverse("admin:accounts_apikey_change", args=(key.pk,)))
        self.assertContains(page, "main/*\nclaude-haiku-*\ngpt-[45]*")
        refused = self.add(name="other", allowed_models="main big")
        self.assertContains(refused, "“main big” is no name of a model.")


class Life(KeyTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.key, _secret = keys.issue(self.root, "laptop")

    def act(self, action: str) -> None:
        self.client.post(reverse(LIST), {"action": action, "_selected_action": [self.key.pk]})
        self.key.refresh_from_db()

    def test_revoke_and_activate(self) -> None:
        self.act("revoke")
        self.assertFalse(self.key.is_active)
        self.assertIsNotNone(self.key.revoked_at)
        self.act("activate")
        self.assertTrue(self.key.is_active)
        self.assertIsNone(self.key.revoked_at)
        self.assertEqual(LogEntry.objects.filter(object_id=str(self.key.pk)).count(), 2)

    def rotate(self, **data: Any) -> HttpResponse:
        data = {"grace": "3600", "instead_of": self.key.prefix, **data}
        return self.client.post(reverse("admin:accounts_apikey_rotate", args=(self.key.pk,)), data)

    def test_rotation_shows_the_new_secret_once(self) -> None:
        before = self.key.digest
        page = self.client.get(reverse("admin:accounts_apikey_change", args=(self.key.pk,)))
        self.assertContains(page, reverse("admin:accounts_apikey_rotate", args=(self.key.pk,)))
        self.assertContains(
            self.client.get(reverse("admin:accounts_apikey_rotate", args=(self.key.pk,))), "1 hour", html=True
        )
        response = self.rotate()
        secret = re.search(r"wg_[A-Za-z0-9_-]{43}", response.content.decode()).group()
        self.assertIn("no-store", response["cache-control"])
        self.assertContains(response, "The former secret ends at")
        self.key.refresh_from_db()
        self.assertEqual((self.key.digest, self.key.previous_digest), (keys.digest(secret), before))
        left = self.key.previous_expires_at - timezone.now()
        self.assertLess(abs(left - timedelta(hours=1)), timedelta(minutes=1))
        for url in (LIST, "admin:index"):
            self.assertNotContains(self.client.get(reverse(url)), secret)
        self.assertNotIn(secret, str(list(LogEntry.objects.values_list())))
        self.assertIn("Rotated", LogEntry.objects.latest("pk").change_message)

    def test_a_form_sent_twice_rotates_once(self) -> None:
        sent = self.key.prefix
        self.rotate(instead_of=sent)
        self.key.refresh_from_db()
        digest = self.key.digest
        again = self.rotate(instead_of=sent)
        self.assertContains(again, "was given a new secret meanwhile")
        self.assertIsNone(re.search(r"wg_[A-Za-z0-9_-]{43}", again.content.decode()))
        self.key.refresh_from_db()
        self.assertEqual(self.key.digest, digest)

    def test_rotation_refuses_other_times_and_those_who_may_not(self) -> None:
        before = self.key.digest
        for grace in ("5", "-1", "", "x"):
            self.assertEqual(self.rotate(grace=grace).status_code, 200)
        self.client.force_login(User.objects.create_user("staff", is_staff=True))
        self.assertEqual(self.rotate().status_code, 403)
        self.key.refresh_from_db()
        self.assertEqual(self.key.digest, before)

    def test_an_ordinary_save_changes_neither_owner_nor_secret(self) -> None:
        other = User.objects.create_user("other")
        before = (self.key.digest, self.key.prefix, self.key.user_id)
        data = {"user": other.pk, "name": "desktop", "allowed_models": "[]", "digest": "0" * 64, "prefix": "wg_x"}
        response = self.client.post(reverse("admin:accounts_apikey_change", args=(self.key.pk,)), data)
        self.assertEqual(response.status_code, 302)
        self.key.refresh_from_db()
        self.assertEqual(self.key.name, "desktop")
        self.assertEqual((self.key.digest, self.key.prefix, self.key.user_id), before)

    def test_the_end_of_a_key_stays_unless_another_is_chosen(self) -> None:
        end = timezone.now().replace(microsecond=0) + timedelta(days=3)
        ApiKey.objects.update(expires_at=end)
        url = reverse("admin:accounts_apikey_change", args=(self.key.pk,))
        data = {"name": "laptop", "allowed_models": "[]", "lifetime": ""}
        for lifetime, expected in (("", end), ("never", None)):
            self.assertEqual(self.client.post(url, {**data, "lifetime": lifetime}).status_code, 302)
            self.key.refresh_from_db()
            self.assertEqual(self.key.expires_at, expected)
        self.assertContains(self.client.post(url, {**data, "expires_on": "2001-01-01"}), "This day is over.")

    def test_a_flag_is_shown_filtered_and_cleared(self) -> None:
        keys.issue(self.root, "other")
        now = timezone.now()
        ApiKey.objects.filter(pk=self.key.pk).update(flagged_at=now, flag_reason=sightings.reason(6))
        KeyNetwork.objects.create(key=self.key, network="10.0.0.0/24", first_seen_at=now, last_seen_at=now)
        page = self.client.get(reverse(LIST), {"flag": "yes"})
        self.assertEqual([key.name for key in page.context["cl"].result_list], ["laptop"])
        self.assertContains(page, "used from 6 networks within 24 hours")
        page = self.client.get(reverse(LIST), {"flag": "no"})
        self.assertEqual([key.name for key in page.context["cl"].result_list], ["other"])
        self.act("clear_flag")
        self.assertEqual((self.key.flagged_at, self.key.flag_reason), (None, ""))
        self.assertIn("10.0.0.0/24", LogEntry.objects.latest("pk").change_message)
        self.assertFalse(KeyNetwork.objects.exists())

    def test_the_state_says_expired_and_revoked(self) -> None:
        ended, _secret = keys.issue(self.root, "ended")
        ApiKey.objects.filter(pk=ended.pk).update(expires_at=timezone.now() - timedelta(seconds=1))
        revoked, _secret = keys.issue(self.root, "revoked")
        keys.revoke(revoked)
        for state, name in (("active", "laptop"), ("expired", "ended"), ("revoked", "revoked")):
            with self.subTest(state=state):
                response = self.client.get(reverse(LIST), {"state": state})
                self.assertEqual([key.name for key in response.context["cl"].result_list], [name])
                self.assertContains(response, f'<td class="field-state">{state}</td>', html=True)
