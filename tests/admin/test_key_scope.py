"""Keys that may do more than call models: only administrators make them, and get at their secrets."""

import json
from datetime import timedelta
from typing import Any

from django.contrib.auth.models import Group, Permission
from django.contrib.messages import get_messages
from django.http import HttpResponse
from django.urls import reverse
from django.utils import timezone

from accounts import keys
from accounts.models import ApiKey, Team, User
from tests.admin.pages import AdminTestCase, list_url, row_url


class ScopeCase(AdminTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.team = Team.objects.create(name="core")
        self.service = User.objects.create(username="ci", is_service=True, team=self.team)

    def add(self, **fields: Any) -> HttpResponse:
        data = {"user": self.service.pk, "name": "ci", "lifetime": "30", "allowed_models": "[]", **fields}
        return self.client.post(reverse("admin:accounts_apikey_add"), data)

    def helper(self) -> User:
        """Return somebody who may make and change all keys, but is no administrator."""
        user = User.objects.create_user("helper", is_staff=True)
        wanted = ["view_apikey", "add_apikey", "change_apikey", "view_user", "view_all_teams"]
        user.user_permissions.add(*Permission.objects.filter(codename__in=wanted))
        return user


class Setting(ScopeCase):
    def test_an_administrator_gives_a_service_key_a_scope_and_the_list_shows_it(self) -> None:
        self.assertContains(self.client.get(reverse("admin:accounts_apikey_add")), "needs neither login nor password")
        response = self.add(scope="finance")
        self.assertRegex(response.content.decode(), r"wg_[A-Za-z0-9_-]{43}")
        self.assertEqual(ApiKey.objects.get().scope, "finance")
        self.add(name="plain")
        page = self.client.get(list_url(ApiKey))
        self.assertContains(page, '<td class="field-scope_text">read reports</td>')
        page = self.client.get(list_url(ApiKey), {"scope__exact": "finance"})
        self.assertEqual([key.name for key in page.context["cl"].result_list], ["ci"])

    def test_one_without_end_or_networks_gets_a_warning(self) -> None:
        texts = [str(message) for message in get_messages(self.add(scope="admin").wsgi_request)]
        self.assertEqual(texts, ["The key may manage the gateway. Give it an end and allowed networks as well."])
        self.client.get(reverse("admin:index"))
        response = self.add(name="b", scope="admin", allowed_networks="10.0.0.0/8")
        self.assertEqual(list(get_messages(response.wsgi_request)), [])

    def test_another_scope_is_refused(self) -> None:
        self.assertContains(self.add(scope="root"), "Select a valid choice.")
        self.assertFalse(ApiKey.objects.exists())

    def test_the_group_of_administrators_may_and_others_may_not(self) -> None:
        helper = self.helper()
        self.client.force_login(helper)
        self.add(scope="admin")
        self.assertEqual(ApiKey.objects.get().scope, "")
        helper.groups.add(Group.objects.get(name="administrator"))
        self.add(name="b", scope="admin")
        self.assertEqual(ApiKey.objects.get(name="b").scope, "admin")


class NoWayUp(ScopeCase):
    def setUp(self) -> None:
        super().setUp()
        self.key, _secret = keys.issue(self.service, "ci", scope="admin")
        ApiKey.objects.update(expires_at=timezone.now() + timedelta(days=1))
        self.plain, _secret = keys.issue(self.service, "plain")
        self.client.force_login(self.helper())

    def bulk(self, name: str, **data: Any) -> HttpResponse:
        selection = json.dumps({key.pk: key.prefix for key in (self.key, self.plain)})
        return self.client.post(reverse(f"admin:accounts_apikey_{name}"), {"selection": selection, **data})

    def test_who_is_no_administrator_neither_changes_nor_rotates_such_a_key(self) -> None:
        before = ApiKey.objects.values().get(pk=self.key.pk)
        self.assertEqual(self.client.post(row_url(self.key), {"scope": ""}).status_code, 403)
        rotate = reverse("admin:accounts_apikey_rotate", args=(self.key.pk,))
        self.assertEqual(self.client.post(rotate, {"grace": "0", "instead_of": self.key.prefix}).status_code, 403)
        for response in (self.bulk("rotate_selected", grace="0"), self.bulk("extend", lifetime="never")):
            self.assertContains(response, "Only an administrator changes keys that read reports or administer: ci/ci.")
        self.assertEqual(ApiKey.objects.values().get(pk=self.key.pk), before)
        self.assertEqual(ApiKey.objects.get(pk=self.plain.pk).digest, self.plain.digest, "all or none")

    def test_but_may_revoke_it_and_not_bring_it_back(self) -> None:
        for action, is_active in (("revoke", False), ("activate", False)):
            data = {"action": action, "_selected_action": [self.key.pk]}
            self.client.post(list_url(ApiKey), data)
            self.assertEqual(ApiKey.objects.get(pk=self.key.pk).is_active, is_active)
