"""What is there already is refused at its field, also where a column of what must be unique is not in the form."""

from typing import Any

from django.contrib.auth.models import Group
from django.http import HttpResponse

from accounts import keys
from accounts.models import ApiKey, Quota, Team, User
from providers.models import Credential, Model, Provider
from routing.models import Policy, Route, RouteEntry
from tests.admin.forms import as_sent
from tests.admin.pages import AdminTestCase, list_url, row_url


def said(response: HttpResponse) -> list[str]:
    """Return all errors of the page: of its form, and of the rows below it."""
    assert response.status_code == 200, response.headers.get("location")
    context: Any = response.context  # type: ignore[attr-defined]
    found = [f"{name}: {text}" for name, texts in context["adminform"].form.errors.items() for text in texts]
    for formset in context["inline_admin_formsets"]:
        for errors in formset.formset.errors:
            found += [f"{name}: {text}" for name, texts in errors.items() for text in texts]
    return found


class Keys(AdminTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.first, _secret = keys.issue(self.root, "first")
        self.second, _secret = keys.issue(self.root, "second")

    def test_a_second_key_of_the_name(self) -> None:
        data = {"user": self.root.pk, "name": "first", "lifetime": "30", "allowed_models": ""}
        [text] = said(self.client.post(list_url(ApiKey) + "add/", data))
        self.assertEqual(text, "name: API key with this Owner and Name already exists.")
        self.assertEqual(ApiKey.objects.count(), 2)

    def test_a_key_renamed_to_a_name_that_is_taken(self) -> None:
        [text] = said(self.client.post(row_url(self.second), {"name": "first", "lifetime": "", "allowed_models": ""}))
        self.assertEqual(text, "name: API key with this Owner and Name already exists.")
        self.assertEqual(set(ApiKey.objects.values_list("name", flat=True)), {"first", "second"})

    def test_the_same_name_of_another_person(self) -> None:
        other = User.objects.create(username="ann")
        data = {"user": other.pk, "name": "first", "lifetime": "30", "allowed_models": ""}
        response = self.client.post(list_url(ApiKey) + "add/", data)
        self.assertEqual(ApiKey.objects.filter(name="first").count(), 2, response.content[-300:])


class Quotas(AdminTestCase):
    def test_none_and_two_subjects_are_told_without_the_name_of_a_constraint(self) -> None:
        team = Team.objects.create(name="core")
        plain = {"unit": "tokens", "window": "day", "limit": "1", "currency": "USD", "action": "block"}
        for subjects in ({}, {"team": team.pk, "user": self.root.pk}):
            found = said(self.client.post(list_url(Quota) + "add/", {**plain, **subjects}))
            self.assertEqual(found, ["__all__: Choose one of team, user and key."])
        found = said(self.client.post(list_url(Quota) + "add/", {**plain, "user": "99999"}))
        self.assertEqual([text.partition(":")[0] for text in found], ["user"])


class DependentRows(AdminTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.provider = Provider.objects.create(name="main", kind="openai_compatible", base_url="https://a.example/v1")
        self.big = Model.objects.create(provider=self.provider, model_id="big")
        self.small = Model.objects.create(provider=self.provider, model_id="small")

    def rows(self, prefix: str, *rows: dict[str, Any], initial: int = 0) -> dict[str, Any]:
        data = {f"{prefix}-TOTAL_FORMS": len(rows), f"{prefix}-INITIAL_FORMS": initial}
        return data | {f"{prefix}-{n}-{name}": value for n, row in enumerate(rows) for name, value in row.items()}

    def test_two_credentials_of_one_name(self) -> None:
        url = list_url(Provider) + "add/"
        twice = [{"name": "team", "secret": f"sk-0123456789-{n}", "position": n, "is_enabled": "on"} for n in (0, 1)]
        data = as_sent(self.client.get(url)) | {"name": "other", "kind": "openai_compatible"}
        data |= {"base_url": "https://b.example/v1"} | self.rows("credentials", *twice)
        self.assertEqual(said(self.client.post(url, data)), ["name: This is in the list already."])
        self.assertFalse(Provider.objects.filter(name="other").exists())

    def test_a_credential_of_a_name_that_the_provider_has(self) -> None:
        there = Credential.objects.create(provider=self.provider, name="team", position=0)
        data = as_sent(self.client.get(row_url(self.provider)))
        old = {"id": there.pk, "provider": self.provider.pk, "name": "team", "position": 0, "secret": ""}
        new = {"provider": self.provider.pk, "name": "team", "position": 1, "secret": "sk-0123456789"}
        data |= self.rows("credentials", old, new, initial=1)
        found = said(self.client.post(row_url(self.provider), data))
        self.assertTrue(found and all(text.startswith("name: ") for text in found), found)
        self.assertEqual(Credential.objects.count(), 1)

    def test_a_model_of_a_name_that_the_provider_has(self) -> None:
        url = list_url(Model) + "add/"
        data = as_sent(self.client.get(url)) | {"provider": self.provider.pk, "model_id": "big"}
        [text] = said(self.client.post(url, data))
        self.assertTrue(text.startswith("model_id: Model with this"), text)

    def test_a_target_twice_in_a_route(self) -> None:
        url = list_url(Route) + "add/"
        twice = [{"position": n, "model": self.big.pk, "weight": 1} for n in (0, 1)]
        data = as_sent(self.client.get(url)) | {"name": "daily"} | self.rows("entries", *twice)
        self.assertEqual(said(self.client.post(url, data)), ["model: This is in the list already."])
        self.assertFalse(RouteEntry.objects.exists())

    def test_a_classifier_twice_in_a_policy(self) -> None:
        route = Route.objects.create(name="daily")
        RouteEntry.objects.create(route=route, model=self.big)
        url = list_url(Policy) + "add/"
        twice = [{"position": n, "model": self.small.pk} for n in (0, 1)]
        data = as_sent(self.client.get(url)) | {"name": "smart", "mode": "direct", "route": route.pk}
        data |= self.rows("classifier_entries", *twice)
        self.assertEqual(said(self.client.post(url, data)), ["model: This is in the list already."])

    def test_groups_of_django_are_as_they_were(self) -> None:
        Group.objects.create(name="house")
        [text] = said(self.client.post(list_url(Group) + "add/", {"name": "house"}))
        self.assertEqual(text, "name: Group with this Name already exists.")
