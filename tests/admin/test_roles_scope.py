"""A team lead at the rows of another team: not seen, not opened, not acted on, whichever way they are named."""

import json
from typing import Any

from django.contrib import admin
from django.contrib.auth.models import Group, Permission
from django.db import connection
from django.db.models import Model
from django.test import TestCase
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from accounts.models import ApiKey, Attempt, CallRecord, Quota, QuotaRaise, QuotaWindow, Team, UsageDaily, User
from accounts.roles import Role
from gateway.models import Capture
from tests.admin.pages import list_url, row_url
from tests.admin.rows import make_key, make_rows

# In every text of the other team's rows.
OTHER = "zebra"
SCOPED = (Team, User, ApiKey, Quota, QuotaWindow, QuotaRaise, CallRecord, Attempt, UsageDaily)


class LeadTestCase(TestCase):
    """A lead with a team, a team below it, and another team with a row in every table."""

    @classmethod
    def setUpTestData(cls) -> None:
        make_rows(1, "mine")
        make_rows(1, OTHER)
        cls.team, cls.other = Team.objects.order_by("pk")
        cls.lead = User.objects.create(username="lead", team=cls.team)
        cls.lead.groups.add(Group.objects.get(name=Role.TEAM_LEAD))
        Team.objects.filter(pk=cls.team.pk).update(lead=cls.lead)
        cls.key, cls.other_key = ApiKey.objects.get(user__team=cls.team), ApiKey.objects.get(user__team=cls.other)
        cls.member, cls.stranger = cls.key.user, cls.other_key.user

    def setUp(self) -> None:
        self.client.force_login(self.lead)

    def others(self, model: type[Model]) -> Any:
        """Return a row of `model` that is the other team's."""
        ways = {
            Team: "pk",
            User: "team",
            ApiKey: "user__team",
            Quota: "user__team",
            QuotaWindow: "quota__user__team",
            QuotaRaise: "quota__user__team",
            Attempt: "call__team",
        }
        return model._default_manager.filter(**{ways.get(model, "team"): self.other.pk}).get()


class Sight(LeadTestCase):
    def test_no_page_names_anything_of_another_team(self) -> None:
        pages = []
        for model, page in admin.site._registry.items():
            name = f"admin:{model._meta.app_label}_{model._meta.model_name}"
            pages += [reverse(f"{name}_changelist"), reverse(f"{name}_add")]
            for row in page.get_queryset(self.request()):
                pages += [reverse(f"{name}_{kind}", args=(row.pk,)) for kind in ("change", "history")]
        pages.append(reverse("admin:index"))
        answered = 0
        for page_url in pages:
            response = self.client.get(page_url)
            with self.subTest(page=page_url):
                self.assertNotContains(response, OTHER, status_code=response.status_code)
            answered += response.status_code == 200
        self.assertGreater(answered, 40, "the test proves nothing where nothing is shown")

    def request(self) -> Any:
        return self.client.get(reverse("admin:index")).wsgi_request

    def test_lists_hold_the_own_rows_only(self) -> None:
        for model in SCOPED:
            with self.subTest(model=model.__name__):
                shown = self.client.get(list_url(model)).context["cl"].queryset
                self.assertTrue(shown.exists())
                self.assertNotIn(self.others(model), shown)

    def test_neither_search_nor_filter_finds_a_foreign_row(self) -> None:
        filters: dict[type[Model], list[dict[str, Any]]] = {
            User: [{"team__id__exact": self.other.pk}],
            ApiKey: [{"user__team__id__exact": self.other.pk}, {"user__id__exact": self.stranger.pk}],
            Quota: [{"team__id__exact": self.other.pk}, {"user__id__exact": self.stranger.pk}],
            CallRecord: [{"user__id__exact": self.stranger.pk}, {"team__id__exact": self.other.pk}],
            UsageDaily: [{"user__id__exact": self.stranger.pk}, {"team__id__exact": self.other.pk}],
        }
        for model in SCOPED:
            for query in ({"q": OTHER}, *filters.get(model, [])):
                with self.subTest(model=model.__name__, query=query):
                    response = self.client.get(list_url(model), query)
                    self.assertEqual(response.context["cl"].result_count, 0)

    def test_a_foreign_row_does_not_open(self) -> None:
        for model in SCOPED:
            row = self.others(model)
            name = f"admin:{model._meta.app_label}_{model._meta.model_name}"
            for kind in ("change", "history", "delete"):
                with self.subTest(model=model.__name__, kind=kind):
                    response = self.client.get(reverse(f"{name}_{kind}", args=(row.pk,)))
                    self.assertIn(response.status_code, (302, 403))
                    if response.status_code == 302:
                        self.assertEqual(response["Location"], reverse("admin:index"))

    def test_auto_completion_offers_the_own_rows_only(self) -> None:
        for model, field, count in (("apikey", "user", 2), ("quota", "user", 2), ("quota", "key", 1)):
            with self.subTest(model=model, field=field):
                self.assertEqual(len(self.complete(model, field, "").json()["results"]), count)
                self.assertEqual(self.complete(model, field, OTHER).json()["results"], [])
        self.assertEqual(self.complete("apikey", "policy", "").status_code, 403)

    def complete(self, model: str, field: str, term: str) -> Any:
        data = {"app_label": "accounts", "model_name": model, "field_name": field, "term": term}
        return self.client.get(reverse("admin:autocomplete"), data)

    def test_prompts_stay_closed_also_of_the_own_team(self) -> None:
        capture = Capture.objects.get(call__team=self.team)
        for url in (
            list_url(Capture),
            row_url(capture),
            reverse("admin:gateway_capture_body", args=(capture.pk, "client_request")),
            reverse("admin:accounts_callrecord_example", args=(capture.pk,)),
        ):
            self.assertEqual(self.client.get(url).status_code, 403, url)
        self.assertNotContains(self.client.get(row_url(capture.call)), reverse("admin:gateway_capture_changelist"))

    def test_a_team_below_is_seen_until_it_is_moved_away(self) -> None:
        Team.objects.filter(pk=self.other.pk).update(parent=self.team)
        self.assertEqual(self.client.get(row_url(self.other_key)).status_code, 200)
        Team.objects.filter(pk=self.other.pk).update(parent=None)
        self.assertEqual(self.client.get(row_url(self.other_key)).status_code, 302)

    def test_who_leads_no_longer_sees_no_more(self) -> None:
        Team.objects.update(lead=None)
        self.assertEqual(self.client.get(row_url(self.key)).status_code, 302)
        self.assertEqual(self.client.get(list_url(CallRecord)).context["cl"].result_count, 0)

    def test_the_number_of_queries_does_not_grow_with_the_rows(self) -> None:
        few = {model.__name__: self.queries(model) for model in SCOPED}
        make_rows(5, "more")
        Team.objects.filter(name__startswith="more").update(parent=self.team)
        self.assertEqual({model.__name__: self.queries(model) for model in SCOPED}, few)
        # Permissions, roles and led teams are four beside those of a superuser.
        self.assertLessEqual(max(few.values()), 13)

    def queries(self, model: type[Model]) -> int:
        with CaptureQueriesContext(connection) as context:
            self.client.get(list_url(model))
        return len(context)


class Deeds(LeadTestCase):
    FORM: dict[str, Any] = {"name": "new", "lifetime": "7", "allowed_models": "[]"}

    def act(self, model: type[Model], action: str, *rows: Model, **data: Any) -> Any:
        selected = [row.pk for row in rows]
        return self.client.post(list_url(model), {"action": action, "_selected_action": selected, **data}, follow=True)

    def test_a_lead_issues_a_key_to_one_of_the_team(self) -> None:
        response = self.client.post(reverse("admin:accounts_apikey_add"), {**self.FORM, "user": self.member.pk})
        self.assertContains(response, "wg_")
        self.assertTrue(ApiKey.objects.filter(user=self.member, name="new").exists())

    def test_not_to_a_stranger(self) -> None:
        response = self.client.post(reverse("admin:accounts_apikey_add"), {**self.FORM, "user": self.stranger.pk})
        self.assertContains(response, "Select a valid choice")
        data = {**self.FORM, "selection": json.dumps({self.stranger.pk: ""})}
        self.client.post(reverse("admin:accounts_user_issue_keys"), data)
        self.act(User, "issue_keys", self.stranger)
        self.assertFalse(ApiKey.objects.filter(name="new").exists())

    def test_nor_to_one_of_the_team_who_may_more(self) -> None:
        User.objects.filter(pk=self.member.pk).update(is_superuser=True)
        response = self.client.post(reverse("admin:accounts_apikey_add"), {**self.FORM, "user": self.member.pk})
        self.assertContains(response, "Select a valid choice")
        data = {**self.FORM, "selection": json.dumps({self.member.pk: ""})}
        self.client.post(reverse("admin:accounts_user_issue_keys"), data)
        self.assertFalse(ApiKey.objects.filter(name="new").exists())
        self.assertEqual(
            self.client.post(reverse("admin:accounts_apikey_rotate", args=(self.key.pk,))).status_code, 403
        )

    def test_policy_capture_and_scope_of_a_key_are_not_the_leads_to_choose(self) -> None:
        policy = self.key.policy
        data = {"name": "key0", "lifetime": "", "allowed_models": "[]", "note": "changed"}
        wanted = {"policy": self.other_key.policy_id, "capture": "full", "scope": "admin", "user": self.stranger.pk}
        self.client.post(row_url(self.key), {**data, **wanted})
        self.key.refresh_from_db()
        self.assertEqual(self.key.note, "changed")
        self.assertEqual((self.key.policy, self.key.capture, self.key.scope), (policy, "", ""))
        self.assertEqual(self.key.user, self.member)
        self.client.post(reverse("admin:accounts_apikey_add"), {**self.FORM, "user": self.member.pk, **wanted})
        self.client.post(
            reverse("admin:accounts_apikey_add"), {**self.FORM, **wanted, "user": self.member.pk}, follow=True
        )
        new = ApiKey.objects.get(name="new")
        self.assertEqual((new.policy, new.capture, new.scope), (None, "", ""))

    def test_a_key_that_administers_is_out_of_reach(self) -> None:
        ApiKey.objects.filter(pk=self.key.pk).update(scope=ApiKey.Scope.ADMIN)
        url = reverse("admin:accounts_apikey_rotate", args=(self.key.pk,))
        self.assertEqual(self.client.post(url, {"grace": "0", "instead_of": self.key.prefix}).status_code, 403)
        response = self.act(ApiKey, "revoke", self.key)
        self.assertContains(response, "1 row was left alone: you may not change it.")
        self.key.refresh_from_db()
        self.assertIsNone(self.key.revoked_at)

    def test_a_foreign_key_is_neither_rotated_nor_revoked_nor_extended_nor_changed(self) -> None:
        before = ApiKey.objects.filter(pk=self.other_key.pk).values().get()
        rotate = reverse("admin:accounts_apikey_rotate", args=(self.other_key.pk,))
        self.assertEqual(self.client.get(rotate).status_code, 404)
        self.assertEqual(self.client.post(rotate, {"grace": "0"}).status_code, 404)
        self.client.post(row_url(self.other_key), {"name": "mine", "lifetime": "never", "allowed_models": "[]"})
        for action in ("revoke", "extend", "rotate", "activate", "clear_flag"):
            self.assertNotContains(self.act(ApiKey, action, self.other_key), OTHER)
        selection = json.dumps({self.other_key.pk: self.other_key.prefix})
        for name, data in (("rotate_selected", {"grace": "0"}), ("extend", {"lifetime": "never"})):
            response = self.client.post(reverse(f"admin:accounts_apikey_{name}"), {"selection": selection, **data})
            self.assertNotContains(response, OTHER, status_code=response.status_code)
        both = json.dumps({key.pk: key.prefix for key in (self.key, self.other_key)})
        rotate_both = reverse("admin:accounts_apikey_rotate_selected")
        response = self.client.post(rotate_both, {"selection": both, "grace": "0", "delivery": ""})
        self.assertContains(response, "1 of the selected rows is not yours to change. Nothing was done")
        self.assertEqual(ApiKey.objects.get(pk=self.key.pk).prefix, self.key.prefix)
        self.assertEqual(ApiKey.objects.filter(pk=self.other_key.pk).values().get(), before)

    def test_with_all_rows_selected_the_foreign_ones_are_not(self) -> None:
        self.act(ApiKey, "revoke", self.key, self.other_key, select_across="1")
        self.assertIsNotNone(ApiKey.objects.get(pk=self.key.pk).revoked_at)
        self.assertIsNone(ApiKey.objects.get(pk=self.other_key.pk).revoked_at)

    def quota(self, **subject: Any) -> dict[str, Any]:
        return {"unit": "tokens", "window": "month", "limit": "1000", "currency": "", "action": "block", **subject}

    def test_a_lead_limits_people_and_keys_of_the_team_and_nobody_else(self) -> None:
        add, count = reverse("admin:accounts_quota_add"), Quota.objects.count()
        for subject in (
            {"user": self.stranger.pk},
            {"key": self.other_key.pk},
            {"team": self.team.pk},
            {"team": self.other.pk},
            {"user": self.lead.pk},
            {"key": make_key(self.lead, "own").pk},
        ):
            with self.subTest(subject=subject):
                self.assertEqual(self.client.post(add, self.quota(**subject)).status_code, 200)
        self.assertEqual(Quota.objects.count(), count)
        for subject in ({"user": self.member.pk}, {"key": self.key.pk}):
            self.assertEqual(self.client.post(add, self.quota(**subject)).status_code, 302)
        self.assertEqual(Quota.objects.count(), count + 2)

    def test_only_those_limits_are_changed(self) -> None:
        own = Quota.objects.create(user=self.lead, unit="tokens", window="day", limit=1)
        quotas = {
            "team": (Quota.objects.get(team=self.team), 403),
            "own": (own, 403),
            "member": (Quota.objects.get(user=self.member), 302),
            "key": (Quota.objects.get(key=self.key), 302),
            "stranger": (Quota.objects.get(user=self.stranger), 302),
        }
        inline = {"raises-TOTAL_FORMS": "0", "raises-INITIAL_FORMS": "0"}
        for name, (quota, status) in quotas.items():
            with self.subTest(whose=name):
                data = {"limit": "77777", "action": "block", "is_active": "on", **inline}
                self.assertEqual(self.client.post(row_url(quota), data).status_code, status)
                quota.refresh_from_db()
                self.assertEqual(quota.limit == 77777, name in ("member", "key"))

    def test_nor_switched_off_nor_counted_anew(self) -> None:
        team, member = Quota.objects.get(team=self.team), Quota.objects.get(user=self.member)
        stranger = Quota.objects.get(user=self.stranger)
        response = self.act(Quota, "deactivate", team, member, stranger)
        self.assertContains(response, "1 row was left alone")
        found = {quota.pk: quota.is_active for quota in Quota.objects.filter(pk__in=[team.pk, member.pk, stranger.pk])}
        self.assertEqual(found, {team.pk: True, member.pk: False, stranger.pk: True})
        windows = QuotaWindow.objects.count()
        self.act(Quota, "reset_counter", team, stranger)
        self.assertEqual(QuotaWindow.objects.count(), windows)

    def test_raises_are_granted_above(self) -> None:
        quota, count = Quota.objects.get(user=self.member), QuotaRaise.objects.count()
        raised = {
            "raises-TOTAL_FORMS": "1",
            "raises-INITIAL_FORMS": "0",
            "raises-0-amount": "5",
            "raises-0-ends_at_0": "2999-01-01",
            "raises-0-ends_at_1": "00:00:00",
        }
        self.client.post(row_url(quota), {"limit": "1", "action": "block", "is_active": "on", **raised})
        self.assertEqual(QuotaRaise.objects.count(), count)

    def test_the_own_limits_by_the_minute_stay(self) -> None:
        key = make_key(self.lead, "own")
        data = {"name": "own", "lifetime": "", "allowed_models": "[]", "requests_per_minute": "100000"}
        self.assertEqual(self.client.post(row_url(key), data).status_code, 302)
        self.assertFalse(Quota.objects.filter(key=key).exists())

    def test_people_and_teams_are_looked_at_only(self) -> None:
        for row in (self.member, self.team, self.lead):
            self.assertEqual(self.client.post(row_url(row), {"username": "x", "name": "x"}).status_code, 403)
        for model in (User, Team):
            page = self.client.get(list_url(model))
            self.assertNotContains(page, "deactivate")
        page = self.client.get(row_url(self.member))
        for name in ("user_permissions", "is_superuser", "field-password", "field-must_change_password"):
            self.assertNotContains(page, name)

    def test_with_further_permissions_a_form_still_offers_the_led_teams_only(self) -> None:
        self.lead.user_permissions.add(*Permission.objects.filter(codename__in=["change_user", "change_team"]))
        data = {"username": self.member.username, "is_active": "on"}
        response = self.client.post(row_url(self.member), {**data, "team": self.other.pk})
        self.assertContains(response, "Select a valid choice")
        response = self.client.post(row_url(self.team), {"name": "mine", "is_active": "on", "parent": self.other.pk})
        self.assertContains(response, "Select a valid choice")
        self.assertEqual(User.objects.get(pk=self.member.pk).team, self.team)

    def test_what_is_only_the_own_is_seen_and_not_changed(self) -> None:
        User.objects.filter(pk=self.lead.pk).update(team=self.other)
        key = make_key(self.lead, "own")
        self.assertEqual(self.client.get(row_url(key)).status_code, 200)
        data = {"name": "own", "lifetime": "never", "allowed_models": "[]", "note": "changed"}
        self.assertEqual(self.client.post(row_url(key), data).status_code, 403)
        self.act(ApiKey, "revoke", key)
        key.refresh_from_db()
        self.assertEqual((key.note, key.revoked_at), ("", None))
