"""The audit log as the admin writes and shows it."""

import json
from typing import Any

from django.contrib.auth.models import Group, Permission
from django.db import connection
from django.db.models import Model as Model_
from django.test import Client, override_settings
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from accounts.audit_signals import failed_sign_ins
from accounts.audit_values import MASK
from accounts.models import ApiKey, AuditEntry, Quota, QuotaWindow, Team, User
from gateway.models import Capture
from providers.models import Credential, Model, Provider
from routing.models import ModelAlias, Policy, Route, RuntimeSettings, Scene, TargetHealth
from tests.admin.forms import as_sent
from tests.admin.pages import AdminTestCase, list_url, row_url
from tests.admin.rows import NOW, make_rows

SECRETS = {
    "credential": "sk-credential-0123456789",
    "search": "tvly-search-0123456789",
    "header": "Bearer header-0123456789",
    "password": "pass 0123456789 word",
}


class AuditPages(AdminTestCase):
    def setUp(self) -> None:
        super().setUp()
        make_rows(1)
        Provider.objects.update(flags={})
        self.begin()

    def begin(self) -> None:
        last = AuditEntry.objects.order_by("pk").last()
        self._seen = last.pk if last is not None else 0

    def entries(self, **filters: Any) -> list[AuditEntry]:
        return list(AuditEntry.objects.filter(pk__gt=self._seen, **filters).order_by("pk"))

    def save(self, row: Model_, **values: Any) -> None:
        """Send the form of `row` with other `values`."""
        data = as_sent(self.client.get(row_url(row)))
        response: Any = self.client.post(row_url(row), {**data, **values})
        self.assertEqual(response.status_code, 302, response.context and response.context["errors"])

    def act(self, model: type[Model_], action: str, *rows: Model_) -> Any:
        data = {"action": action, "_selected_action": [row.pk for row in rows]}
        return self.client.post(list_url(model), data, follow=True)


class Saving(AuditPages):
    def test_a_saved_form_is_one_entry_with_what_was_changed(self) -> None:
        RuntimeSettings.objects.create(pk=1)
        user = User.objects.exclude(pk=self.root.pk).get()
        for row, name, sent, before, after in (
            (Provider.objects.get(), "max_concurrency", "7", None, 7),
            (Credential.objects.get(), "name", "renamed", "text", "renamed"),
            (Model.objects.get(), "display_name", "Big", "text", "Big"),
            (Route.objects.get(), "name", "renamed", "route0", "renamed"),
            (Scene.objects.get(), "description", "another description", "texttexttext", "another description"),
            (Policy.objects.get(), "min_confidence", "0.9", 0.6, 0.9),
            (ModelAlias.objects.get(), "pattern", "other-*", "text0", "other-*"),
            (RuntimeSettings.objects.get(), "capture_retention_days", "7", 30, 7),
            (Team.objects.get(), "cost_center", "4711", "text", "4711"),
            (user, "first_name", "Anna", "text", "Anna"),
            (Group.objects.get(name="text0"), "name", "readers", "text0", "readers"),
            (ApiKey.objects.get(), "note", "of anna", "text", "of anna"),
            (Quota.objects.order_by("pk")[0], "limit", "99.5", None, "99.5"),
        ):
            with self.subTest(model=type(row).__name__):
                self.begin()
                extra = {"email": ["a@example.com"]} if row == user else {}
                if row == user:
                    User.objects.filter(pk=user.pk).update(email="a@example.com")
                before = before if not isinstance(row, Quota) else f"{row.limit.normalize():f}"
                self.save(row, **{name: sent}, **extra)
                [entry] = self.entries()
                self.assertEqual(entry.changes, {name: [before, after]})
                self.assertEqual((entry.object_type, entry.object_id), (row._meta.label_lower, str(row.pk)))
                self.assertEqual((entry.action, entry.via, entry.actor), ("change", "admin", self.root))
                self.assertEqual((entry.actor_name, entry.address), ("root", "127.0.0.1"))

    def test_a_form_that_changes_nothing_writes_nothing(self) -> None:
        for row in (Provider.objects.get(), Route.objects.get(), Team.objects.get(), ApiKey.objects.get()):
            with self.subTest(model=type(row).__name__):
                self.save(row)
                self.assertEqual(self.entries(), [])

    def test_a_refused_form_writes_nothing(self) -> None:
        team = Team.objects.get()
        data = as_sent(self.client.get(row_url(team)))
        self.assertEqual(self.client.post(row_url(team), {**data, "name": ""}).status_code, 200)
        self.assertEqual(self.entries(), [])

    def test_lists_and_fields_of_a_form_are_one_entry(self) -> None:
        user = User.objects.exclude(pk=self.root.pk).get()
        User.objects.filter(pk=user.pk).update(email="a@example.com")
        groups = [Group.objects.get(name="finance").pk]
        permission = Permission.objects.get(codename="view_team")
        self.save(user, last_name="Lee", groups=groups, user_permissions=[permission.pk])
        [entry] = self.entries(action="change")
        self.assertEqual(entry.changes["last_name"], ["", "Lee"])
        self.assertEqual(entry.changes["groups"], [[], ["finance"]])
        self.assertEqual(entry.changes["user_permissions"], [[], ["accounts.view_team"]])

    def test_rows_in_a_table_of_a_form_have_entries_of_their_own(self) -> None:
        route = Route.objects.get()
        other = Model.objects.create(provider=Provider.objects.get(), model_id="other")
        self.begin()
        self.save(route, **{"entries-1-model": str(other.pk), "entries-TOTAL_FORMS": "2"})
        [entry] = self.entries()
        self.assertEqual((entry.object_type, entry.action), ("routing.routeentry", "create"))
        self.assertEqual(entry.changes["model"], [None, f"provider0/other ({other.pk})"])

    def test_a_deletion_is_written_down(self) -> None:
        alias = ModelAlias.objects.get()
        self.client.post(reverse("admin:routing_modelalias_delete", args=(alias.pk,)), {"post": "yes"})
        [entry] = self.entries()
        self.assertEqual((entry.action, entry.object_id), ("delete", str(alias.pk)))
        self.assertEqual(entry.changes["pattern"], ["text0", None])

    def test_actions_on_many_rows_write_an_entry_for_each(self) -> None:
        teams = [Team.objects.create(name=name) for name in "ab"]
        self.begin()
        self.act(Team, "deactivate", *teams)
        entries = self.entries()
        self.assertEqual([entry.changes for entry in entries], [{"is_active": [True, False]}] * 2)
        self.assertEqual({entry.object_name for entry in entries}, {"a", "b"})
        self.begin()
        self.act(Team, "deactivate", *teams)
        self.assertEqual(self.entries(), [])

    def test_another_default_is_written_down_for_both(self) -> None:
        first = Policy.objects.get()
        Policy.objects.filter(pk=first.pk).update(is_default=True)
        second = Policy.objects.create(name="second", route=first.route)
        self.begin()
        self.act(Policy, "set_default", second)
        self.assertEqual(
            [(entry.object_name, entry.changes) for entry in self.entries()],
            [("policy0", {"is_default": [True, False]}), ("second", {"is_default": [False, True]})],
        )

    def test_resets_are_written_down(self) -> None:
        quota = Quota.objects.order_by("pk")[0]
        QuotaWindow.objects.filter(quota=quota).update(ends_at=None)
        self.act(Quota, "reset_counter", quota)
        self.act(TargetHealth, "reset", TargetHealth.objects.get())
        self.assertEqual(
            [(entry.object_type, entry.action, entry.note) for entry in self.entries()],
            [
                ("accounts.quota", "other", "Counter reset."),
                ("routing.targethealth", "other", "Cooldown ended."),
            ],
        )

    def test_who_downloads_secrets_is_written_down(self) -> None:
        people = [User.objects.create(username=name) for name in ("anna", "bert")]
        self.begin()
        form: Any = self.act(User, "issue_keys", *people)
        data = {**as_sent(form), "selection": form.context["selection"], "name": "ci", "lifetime": "30"}
        response = self.client.post(form.context["action_url"], data)
        self.assertTrue(response["content-type"].startswith("text/csv"), response.content[:2000])
        *issued, downloaded = self.entries()
        self.assertEqual(
            [(entry.action, entry.object_name) for entry in issued], [("create", "anna/ci"), ("create", "bert/ci")]
        )
        self.assertEqual(
            (downloaded.object_id, downloaded.note), (str(self.root.pk), "Downloaded the secrets of keys.")
        )
        self.assertEqual(downloaded.changes, {"keys": [None, ["anna/ci", "bert/ci"]]})

    def test_who_reads_a_prompt_is_written_down(self) -> None:
        capture = Capture.objects.get()
        self.client.get(row_url(capture))
        self.assertEqual(self.entries(), [], "headers and sizes are no prompt")
        Capture.objects.update(is_full=True)
        self.client.get(row_url(capture))
        self.client.get(reverse("admin:gateway_capture_body", args=(capture.pk, "client_request")))
        entries = self.entries()
        self.assertEqual([entry.note.partition(" ")[0] for entry in entries], ["Read", "Downloaded"])
        self.assertEqual({entry.object_name for entry in entries}, {f"text0: {capture.call.request_id}"})
        self.assertEqual(self.client.get(list_url(Capture)).status_code, 200)
        self.assertEqual(len(self.entries()), 2, "a list shows none")


class Secrets(AuditPages):
    def assert_hidden(self, *secrets: str) -> None:
        self.assertNotEqual(self.entries(), [])
        written = json.dumps(list(AuditEntry.objects.values()), default=str, ensure_ascii=False)
        page = "".join(self.client.get(row_url(entry)).content.decode() for entry in self.entries())
        page += self.client.get(list_url(AuditEntry)).content.decode()
        for secret in secrets:
            for part in (secret, secret[:-4], json.dumps(secret)[1:-1]):
                self.assertNotIn(part, written)
                self.assertNotIn(part, page)

    def test_no_secret_that_a_form_takes_is_written_down(self) -> None:
        RuntimeSettings.objects.create(pk=1)
        credential = Credential.objects.get()
        stored = credential.encrypted_secret
        self.save(credential, secret=SECRETS["credential"])
        self.save(Provider.objects.get(), extra_headers=json.dumps({"x-org-token": SECRETS["header"]}))
        search = {
            "search_kind": "tavily",
            "search_url": "https://search.example.com",
            "search_secret": SECRETS["search"],
        }
        self.save(RuntimeSettings.objects.get(), **search)
        user = User.objects.exclude(pk=self.root.pk).get()
        password = {"password1": SECRETS["password"], "password2": SECRETS["password"], "usable_password": "true"}
        self.client.post(reverse("admin:auth_user_password_change", args=(user.pk,)), password)
        user.refresh_from_db()
        self.assertTrue(user.check_password(SECRETS["password"]))
        credential.refresh_from_db()
        settings = RuntimeSettings.objects.get()
        self.assert_hidden(
            *SECRETS.values(), stored, credential.encrypted_secret, settings.encrypted_search_secret, user.password
        )
        by_kind = {entry.object_type: entry.changes for entry in self.entries()}
        self.assertEqual(by_kind["providers.credential"]["encrypted_secret"], [MASK, MASK])
        self.assertEqual(by_kind["providers.credential"]["last_four"], ["cdef", "6789"])
        self.assertEqual(by_kind["providers.provider"]["extra_headers"], [{}, {"x-org-token": MASK}])
        self.assertEqual(by_kind["routing.runtimesettings"]["encrypted_search_secret"], ["", MASK])
        passwords = [entry.changes for entry in self.entries(object_type="accounts.user")]
        self.assertEqual(passwords, [{"password": ["", MASK]}, {"must_change_password": [False, True]}])

    def test_no_secret_of_a_key_is_written_down(self) -> None:
        user = User.objects.exclude(pk=self.root.pk).get()
        page = self.client.get(reverse("admin:accounts_apikey_add"))
        data = {**as_sent(page), "user": str(user.pk), "name": "laptop", "lifetime": "never"}
        issued: Any = self.client.post(reverse("admin:accounts_apikey_add"), data)
        key = ApiKey.objects.get(name="laptop")
        rotated: Any = self.client.post(
            reverse("admin:accounts_apikey_rotate", args=(key.pk,)), {"grace": "86400", "instead_of": key.prefix}
        )
        secrets = [response.context["secret"] for response in (issued, rotated)]
        digests = [ApiKey.objects.get(pk=key.pk).digest, key.digest]
        self.assert_hidden(*secrets, *digests)

    def test_a_password_in_an_address_is_masked(self) -> None:
        Provider.objects.create(name="proxied", kind="ollama", base_url="http://user:0123456789@proxy.test/v1")
        [entry] = self.entries()
        self.assertEqual(entry.changes["base_url"], [None, f"http://{MASK}@proxy.test/v1"])


class SignIns(AuditPages):
    def sign_in(self, name: str, password: str, **extra: Any) -> None:
        Client().post(reverse("admin:login"), {"username": name, "password": password}, **extra)

    def setUp(self) -> None:
        super().setUp()
        self.root.set_password("right 0123456789")
        self.root.save()
        self.client.force_login(self.root)
        self.begin()
        failed_sign_ins.__init__()  # type: ignore[misc]

    def test_a_sign_in_is_written_down_with_the_address(self) -> None:
        with override_settings(TRUSTED_PROXIES=["127.0.0.1"]):
            self.sign_in("root", "right 0123456789", headers={"x-forwarded-for": "198.51.100.7"})
        [entry] = self.entries()
        self.assertEqual((entry.action, entry.note, entry.changes), ("other", "Signed in.", {}))
        self.assertEqual((entry.actor, entry.object_id), (self.root, str(self.root.pk)))
        self.assertEqual(entry.address, "198.51.100.7")

    def test_a_failed_one_is_written_down_with_the_name_that_was_tried(self) -> None:
        self.sign_in("root", "wrong")
        self.sign_in("<b>nobody</b>" + "x" * 500, "wrong")
        first, second = self.entries()
        self.assertEqual((first.actor, first.actor_name, first.object_id), (None, "anonymous", str(self.root.pk)))
        self.assertEqual((first.note, first.address), ("Failed sign-in.", "127.0.0.1"))
        self.assertEqual((second.object_id, len(second.object_name)), ("", 150))
        self.assertNotContains(self.client.get(list_url(AuditEntry)), "<b>nobody")
        self.assertEqual(self.client.get(row_url(second)).status_code, 200)

    def test_whoever_guesses_does_not_fill_the_log(self) -> None:
        from accounts.audit_signals import _Allowance

        allowance = _Allowance()
        taken = [allowance.take(0.0) for _number in range(50)]
        self.assertEqual(taken, [0] * 30 + [None] * 20)
        self.assertEqual(allowance.take(61.0), 20)
        self.assertEqual(allowance.take(62.0), 0)

    @override_settings(
        PASSWORD_HASHERS=[
            "django.contrib.auth.hashers.PBKDF2PasswordHasher",
            "django.contrib.auth.hashers.MD5PasswordHasher",
        ]
    )
    def test_a_password_that_is_hashed_anew_says_so(self) -> None:
        self.sign_in("root", "right 0123456789")
        changed, signed_in = self.entries()
        self.assertEqual(changed.changes, {"password": [MASK, MASK]})
        self.assertIn("hashed anew", changed.note)
        self.assertEqual(signed_in.note, "Signed in.")


class Reading(AuditPages):
    def reader(self, *codenames: str) -> User:
        """Return somebody who may see these kinds of rows, of all teams, and no others."""
        reader = User.objects.create(username="reader", is_staff=True)
        reader.user_permissions.set(Permission.objects.filter(codename__in=[*codenames, "view_all_teams"]))
        return reader

    def test_nobody_adds_changes_or_deletes_an_entry(self) -> None:
        entry = AuditEntry.objects.latest("pk")
        delete = reverse("admin:accounts_auditentry_delete", args=(entry.pk,))
        self.assertEqual(self.client.get(reverse("admin:accounts_auditentry_add")).status_code, 403)
        self.assertEqual(self.client.post(row_url(entry), {"note": "x"}).status_code, 403)
        self.assertEqual(self.client.post(delete, {"post": "yes"}).status_code, 403)
        data = {"action": "delete_selected", "_selected_action": [entry.pk], "post": "yes"}
        self.client.post(list_url(AuditEntry), data)
        self.assertTrue(AuditEntry.objects.filter(pk=entry.pk).exists())

    def test_an_entry_shows_each_field_before_and_after(self) -> None:
        team = Team.objects.get()
        self.save(team, cost_center="4711")
        [entry] = self.entries()
        page = self.client.get(row_url(entry))
        self.assertContains(page, '<th scope="row">Cost center</th><td>text</td><td>4711</td>')
        self.assertContains(page, f'href="{row_url(team)}"')
        self.client.cookies["django_language"] = "zh-hans"
        self.assertContains(self.client.get(row_url(entry)), "成本中心")

    def test_an_object_that_is_gone_or_not_for_the_reader_has_no_link(self) -> None:
        alias = ModelAlias.objects.get()
        url = row_url(alias)
        alias.delete()
        [entry] = self.entries()
        self.assertNotContains(self.client.get(row_url(entry)), f'href="{url}"')
        self.client.force_login(self.reader("view_auditentry"))
        entry = AuditEntry.objects.filter(object_type="accounts.team").latest("pk")
        page = self.client.get(row_url(entry))
        self.assertEqual(page.status_code, 200)
        self.assertNotContains(page, f'href="{row_url(Team.objects.get())}"')

    def test_the_list_is_filtered_by_who_how_and_what(self) -> None:
        team = Team.objects.get()
        self.save(team, cost_center="4711")
        [entry] = self.entries()
        for filters, count in (
            ({"actor": self.root.pk, "object_type": "accounts.team", "via": "admin", "action": "change"}, 1),
            ({"object_type": "accounts.team", "object_id": team.pk, "action": "change"}, 1),
            ({"actor": self.root.pk, "via": "command"}, 0),
            ({"actor": "x; DROP", "object_type": "no.such", "q": "4711"}, 0),
        ):
            with self.subTest(filters=filters):
                page: Any = self.client.get(list_url(AuditEntry), filters)
                self.assertEqual(page.status_code, 200)
                self.assertEqual(page.context["cl"].result_count, count)
        self.assertContains(self.client.get(list_url(AuditEntry), {"q": str(entry.object_name)}), "Cost center")

    def test_the_history_of_an_object_shows_its_entries_to_those_who_may_read_them(self) -> None:
        team = Team.objects.get()
        self.save(team, cost_center="4711")
        url = reverse("admin:accounts_team_history", args=(team.pk,))
        page = self.client.get(url)
        self.assertContains(page, "Cost center: text → 4711")
        self.assertContains(page, f"object_type=accounts.team&amp;object_id={team.pk}")
        self.assertContains(page, "Changed Cost center", msg_prefix="Django's own history stays")
        self.client.force_login(self.reader("view_team"))
        self.assertNotContains(self.client.get(url), "4711")

    def test_pages_ask_no_more_for_more_entries(self) -> None:
        def count() -> tuple[int, int]:
            counts = []
            for url in (list_url(AuditEntry), reverse("admin:accounts_team_history", args=(Team.objects.get().pk,))):
                with CaptureQueriesContext(connection) as context:
                    self.assertEqual(self.client.get(url).status_code, 200)
                counts.append(len(context))
            return counts[0], counts[1]

        self.save(Team.objects.get(), cost_center="first")
        few = count()
        for number in range(20):
            self.save(Team.objects.get(), cost_center=str(number))
        self.assertEqual(count(), few)

    def test_an_entry_of_a_model_or_form_that_is_gone_is_shown(self) -> None:
        entry = AuditEntry.objects.create(
            actor_name="x",
            via="admin",
            action="change",
            object_type="gone.thing",
            changes={"a": 1, "b": [True, {}]},
            at=NOW,
        )
        self.assertContains(self.client.get(row_url(entry)), "gone.thing")
        self.assertEqual(self.client.get(list_url(AuditEntry)).status_code, 200)
