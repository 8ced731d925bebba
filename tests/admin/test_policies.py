"""Policies in the admin: what each mode needs, and who uses them."""

from typing import Any

from django.db import connection
from django.http import HttpResponse
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from accounts.models import Team, User
from providers.models import Model, Provider
from routing.models import ClassifierEntry, KindRule, Policy, Route, RouteEntry, Scene
from tests.admin.pages import AdminTestCase, list_url, row_url
from tests.admin.rows import POLICY_FIELDS, make_key


class PolicyForms(AdminTestCase):
    @classmethod
    def setUpTestData(cls) -> None:
        super().setUpTestData()
        provider = Provider.objects.create(name="main", kind="openai_compatible")
        cls.models = [Model.objects.create(provider=provider, model_id=name) for name in ("big", "small", "*")]
        cls.route = Route.objects.create(name="everyday")
        RouteEntry.objects.create(route=cls.route, model=cls.models[0])
        text = "What this scene is for."
        cls.chat = Scene.objects.create(name="Chat", description=text, route=cls.route, is_default=True)
        cls.code = Scene.objects.create(name="写代码", description=text, route=cls.route, position=1)

    def add(self, **fields: Any) -> HttpResponse:
        data = {"name": "smart", "mode": "smart", **POLICY_FIELDS, **fields}
        return self.client.post(reverse("admin:routing_policy_add"), data)

    def errors(self, response: HttpResponse) -> dict[str, Any]:
        assert response.status_code == 200
        return dict(response.context["adminform"].form.errors)  # type: ignore[attr-defined]

    def test_no_target_is_deleted_behind_the_back_of_its_route(self) -> None:
        entry = RouteEntry.objects.get()
        url = reverse("admin:routing_routeentry_delete", args=(entry.pk,))
        assert self.client.post(url, {"post": "yes"}).status_code == 403
        assert RouteEntry.objects.filter(pk=entry.pk).exists()
        spare = Route.objects.create(name="spare")
        RouteEntry.objects.create(route=spare, model=self.models[0])
        url = reverse("admin:routing_route_delete", args=(spare.pk,))
        assert self.client.post(url, {"post": "yes"}).status_code == 302
        assert not Route.objects.filter(name="spare").exists()

    def test_a_policy_by_intent_is_saved_with_all_its_lists(self) -> None:
        response = self.add(
            scenes=[self.chat.pk, self.code.pk],
            reference_model=self.models[0].pk,
            cheap_route=self.route.pk,
            **{
                "classifier_entries-TOTAL_FORMS": "2",
                "classifier_entries-0-position": "",
                "classifier_entries-0-model": self.models[1].pk,
                "classifier_entries-1-position": "",
                "classifier_entries-1-model": self.models[0].pk,
                "kind_rules-TOTAL_FORMS": "1",
                "kind_rules-0-kind": "title",
                "kind_rules-0-action": "scene",
                "kind_rules-0-scene": self.code.pk,
            },
        )
        assert response.status_code == 302
        policy = Policy.objects.get()
        assert (policy.mode, policy.route, policy.is_default) == ("smart", None, True)
        assert set(policy.scenes.all()) == {self.chat, self.code}
        # In the order of the form, although neither has a number.
        assert list(ClassifierEntry.objects.values_list("model__model_id", "position")) == [("small", 0), ("big", 1)]
        assert KindRule.objects.get().scene == self.code
        page = self.client.get(list_url(Policy))
        self.assertContains(page, "Chat, 写代码")
        self.assertContains(page, "everybody without one")

    def test_the_default_scene_must_be_among_the_scenes(self) -> None:
        found = self.errors(self.add(scenes=[self.code.pk]))
        assert list(found) == ["scenes"]
        assert "Chat must be one of them" in found["scenes"][0]
        assert self.add().status_code == 302  # all scenes

    def test_without_a_default_scene_it_is_said_once(self) -> None:
        Scene.objects.update(is_default=False)
        for scenes in ([], [self.code.pk]):
            found = self.errors(self.add(scenes=scenes))
            assert list(found) == ["scenes"]
            assert len(found["scenes"]) == 1, found

    def test_empty_and_disabled_scenes_are_named(self) -> None:
        empty = Route.objects.create(name="empty")
        Scene.objects.filter(pk=self.code.pk).update(route=empty)
        found = self.errors(self.add(scenes=[self.chat.pk, self.code.pk]))
        assert "写代码 is empty: its route empty has no targets" in found["scenes"][0]
        Scene.objects.filter(pk=self.code.pk).update(route=self.route, is_enabled=False)
        found = self.errors(self.add(scenes=[self.chat.pk, self.code.pk]))
        assert "写代码 is not enabled" in found["scenes"][0]

    def test_a_rule_for_a_kind_leads_to_scenes_of_the_policy_only(self) -> None:
        rule = {"kind_rules-TOTAL_FORMS": "1", "kind_rules-0-kind": "title", "kind_rules-0-action": "scene"}
        response = self.add(scenes=[self.chat.pk], **rule, **{"kind_rules-0-scene": self.code.pk})
        self.assertContains(response, "The scene 写代码 is none of those of the policy.")
        assert not Policy.objects.exists()
        # The scenes of the form count, not those that are stored.
        policy = Policy.objects.create(name="smart", mode="smart")
        policy.scenes.add(self.chat, self.code)
        data = {"name": "smart", "mode": "smart", **POLICY_FIELDS, **rule, "kind_rules-0-scene": str(self.code.pk)}
        self.assertContains(
            self.client.post(row_url(policy), {**data, "scenes": [self.chat.pk]}), "none of those of the policy"
        )
        assert self.client.post(row_url(policy), {**data, "scenes": [self.chat.pk, self.code.pk]}).status_code == 302

    def test_a_mode_with_a_list_needs_the_list(self) -> None:
        assert list(self.errors(self.add(mode="direct"))) == ["route"]
        assert self.add(mode="direct", route=self.route.pk).status_code == 302

    def test_a_policy_is_not_its_own_shadow_and_confidence_is_a_share(self) -> None:
        policy = Policy.objects.create(name="smart", mode="smart")
        data = {"name": "smart", "mode": "smart", **POLICY_FIELDS}
        response = self.client.post(row_url(policy), {**data, "shadow": policy.pk, "min_confidence": "1.5"})
        assert set(self.errors(response)) == {"shadow", "min_confidence"}

    def test_the_page_marks_what_a_mode_uses(self) -> None:
        page = self.client.get(reverse("admin:routing_policy_add"))
        # The style sheet hides by these; without it all is in sight.
        self.assertContains(page, "gateway/forms.css")
        self.assertContains(page, '<fieldset class="module aligned for-listed"')
        text = page.content.decode()
        assert text.count("for-smart") == 4, text.count("for-smart")
        self.assertContains(page, "What this scene is for.")

    def test_its_page_does_not_query_per_rule(self) -> None:
        policy = Policy.objects.create(name="smart", mode="smart")

        def queries() -> int:
            with CaptureQueriesContext(connection) as context:
                page = self.client.get(row_url(policy))
            self.assertContains(page, '<option value="probe"')
            return len(context)

        few = queries()
        for kind in ("main", "title", "probe", "compaction", "web_search"):
            KindRule.objects.create(policy=policy, kind=kind, action="route", route=self.route)
        self.assertContains(
            self.client.get(row_url(policy)), f'<option value="{self.route.pk}" selected>everyday</option>', 5
        )
        assert queries() <= few + 1

    def test_it_says_who_uses_a_policy(self) -> None:
        policy = Policy.objects.create(name="own", mode="direct", route=self.route)
        team = Team.objects.create(name="tools", policy=policy)
        people = [User.objects.create_user(name, team=team, policy=policy) for name in ("ann", "bob")]
        make_key(people[0], "laptop", policy=policy)
        page = self.client.get(list_url(Policy))
        for path, text in (("team", "1 team"), ("user", "2 users"), ("apikey", "1 key")):
            link = f'<a href="/admin/accounts/{path}/?policy__id__exact={policy.pk}">{text}</a>'
            self.assertContains(page, link, html=True)
            self.assertContains(self.client.get(row_url(policy)), link, html=True)
            rows = self.client.get(f"/admin/accounts/{path}/?policy__id__exact={policy.pk}").context["cl"].result_count
            assert rows == int(text[0])
