"""Services: users that are no persons, whose keys are a team's."""

import re
from typing import Any

from django.http import HttpResponse
from django.test import Client, override_settings
from django.urls import reverse

from accounts import keys
from accounts.models import ApiKey, Team, User
from tests.admin.pages import AdminTestCase, list_url, row_url
from tests.gateway.config_files import ConfigCase


class Services(AdminTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.team = Team.objects.create(name="platform")

    def add(self, **fields: Any) -> HttpResponse:
        data = {"username": "ci", "is_service": "on", "team": self.team.pk, "usable_password": "true", **fields}
        return self.client.post(reverse("admin:accounts_user_add"), data)

    def change(self, user: User, **fields: Any) -> HttpResponse:
        data = {"username": user.username, "is_active": "on", "date_joined_0": "2026-01-01", "date_joined_1": "0:00"}
        return self.client.post(row_url(user), {**data, **fields})

    def test_a_service_has_a_team_and_no_password(self) -> None:
        self.assertEqual(self.add().status_code, 302)
        service = User.objects.get(username="ci")
        self.assertEqual((service.is_service, service.team, service.is_staff), (True, self.team, False))
        self.assertFalse(service.has_usable_password())
        self.assertFalse(service.must_change_password)
        url = reverse("admin:auth_user_password_change", args=(service.pk,))
        self.assertEqual(self.client.get(url).status_code, 403)

    def test_without_a_team_it_is_refused(self) -> None:
        self.assertContains(self.add(team=""), "Choose the team that the service belongs to.")
        self.assertFalse(User.objects.filter(username="ci").exists())

    def test_it_is_no_administrator(self) -> None:
        person = User.objects.create_user("dev", is_staff=True)
        page = self.change(person, is_service="on", team=self.team.pk, is_staff="on")
        self.assertContains(page, "A service is no administrator")

    @override_settings(PASSWORD_HASHERS=["django.contrib.auth.hashers.MD5PasswordHasher"])
    def test_a_person_who_becomes_a_service_is_logged_out(self) -> None:
        person = User.objects.create_user("dev", password="long-enough-1", is_staff=True)
        browser = Client()
        self.assertTrue(browser.login(username="dev", password="long-enough-1"))
        self.assertEqual(self.change(person, is_service="on", team=self.team.pk).status_code, 302)
        self.assertFalse(Client().login(username="dev", password="long-enough-1"))
        self.assertEqual(browser.get(reverse("admin:index")).status_code, 302)
        # Even a row that somebody gave a password by other ways opens nothing.
        person.refresh_from_db()
        person.set_password("long-enough-2")
        person.save()
        self.assertFalse(Client().login(username="dev", password="long-enough-2"))

    def test_a_person_still_needs_a_password(self) -> None:
        page = self.client.post(reverse("admin:accounts_user_add"), {"username": "dev", "usable_password": "true"})
        self.assertEqual(page.status_code, 200)
        self.assertFalse(User.objects.filter(username="dev").exists())

    def test_its_keys_say_whose_they_are(self) -> None:
        self.add()
        service = User.objects.get(username="ci")
        data = {"user": service.pk, "name": "deploy", "lifetime": "365", "allowed_models": "[]"}
        secret = re.search(
            r"wg_[A-Za-z0-9_-]{43}", self.client.post(reverse("admin:accounts_apikey_add"), data).content.decode()
        )
        self.assertEqual(ApiKey.objects.get().digest, keys.digest(secret.group()))
        keys.issue(self.root, "laptop")
        page = self.client.get(list_url(ApiKey), {"user__is_service__exact": "1"})
        self.assertContains(page, "ci, a service of platform")
        self.assertEqual(len(page.context["cl"].result_list), 1)


class ServicesInFiles(ConfigCase):
    def test_a_file_makes_services_and_refuses_what_they_may_not_have(self) -> None:
        team = [{"name": "platform"}]
        self.apply({"teams": team, "users": [{"username": "ci", "team": "platform", "service": True}]})
        self.assertTrue(User.objects.get(username="ci").is_service)
        for user, problem in (
            ({"username": "cd", "service": True}, "users[0].team: Choose the team that the service belongs to."),
            ({"username": "cd", "service": True, "team": "platform", "roles": ["administrator"]}, "no administrator"),
        ):
            with self.subTest(problem=problem):
                self.assertTrue(any(problem in line for line in self.refused({"teams": team, "users": [user]})))
