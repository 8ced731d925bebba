"""The page that maps Claude's families."""

from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import Permission
from django.urls import reverse

from accounts.models import User
from providers.models import Model, Provider
from routing.models import ModelAlias, Route, RouteEntry, Scene
from tests.admin.pages import AdminTestCase, list_url


class FamiliesPageTest(AdminTestCase):
    url = "admin:routing_modelalias_families"

    def setUp(self) -> None:
        super().setUp()
        provider = Provider.objects.create(name="up", kind="ollama")
        self.small = Model.objects.create(provider=provider, model_id="qwen2.5:7b")
        Model.objects.create(provider=provider, model_id="off", is_enabled=False)
        route = Route.objects.create(name="everyday")
        RouteEntry.objects.create(route=route, model=self.small)
        Scene.objects.create(name="代码修改", description="修改已有的代码、修复缺陷", route=route)

    def test_families_are_mapped_and_shown_as_they_are(self) -> None:
        page = self.client.get(reverse(self.url))
        self.assertContains(page, "claude-*haiku*")
        self.assertNotContains(page, "up/off")
        # Whoever maps the client's default model takes it from the policy.
        self.assertContains(page, "Claude Code asks for Opus unless its user chooses")
        chosen = {"haiku": "up/qwen2.5:7b", "sonnet": "route:everyday", "opus": "scene:代码修改", "other": ""}
        response = self.client.post(reverse(self.url), chosen, follow=True)
        self.assertContains(response, "The families are mapped.")
        self.assertEqual(
            {alias.pattern: (alias.model, str(alias.route), str(alias.scene)) for alias in ModelAlias.objects.all()},
            {
                "claude-*haiku*": (self.small, "None", "None"),
                "claude-*sonnet*": (None, "everyday", "None"),
                "claude-*opus*": (None, "None", "代码修改"),
            },
        )
        logged = LogEntry.objects.filter(content_type__model="modelalias").values_list("object_repr", flat=True)
        self.assertEqual(sorted(logged), ["claude-*haiku*", "claude-*opus*", "claude-*sonnet*"])
        form = self.client.get(reverse(self.url)).context["form"]
        self.assertEqual(form.initial, {family: target for family, target in chosen.items() if target})
        self.assertContains(self.client.post(reverse(self.url), chosen, follow=True), "Nothing was changed.")
        self.assertEqual(logged.count(), 3)

    def test_what_is_not_offered_is_refused(self) -> None:
        response = self.client.post(reverse(self.url), {"haiku": "up/off"})
        self.assertContains(response, "Select a valid choice.")
        self.assertEqual(ModelAlias.objects.count(), 0)

    def test_a_family_whose_model_was_switched_off_can_be_kept(self) -> None:
        self.client.post(reverse(self.url), {"haiku": "up/qwen2.5:7b"})
        Model.objects.update(is_enabled=False)
        page = self.client.get(reverse(self.url))
        self.assertContains(page, "up/qwen2.5:7b")
        self.assertEqual(self.client.post(reverse(self.url), {"haiku": "up/qwen2.5:7b"}).status_code, 302)

    def test_the_list_leads_to_the_page_for_those_who_may_change_aliases(self) -> None:
        self.assertContains(self.client.get(list_url(ModelAlias)), reverse(self.url))
        viewer = User.objects.create(username="viewer", is_staff=True)
        viewer.user_permissions.add(Permission.objects.get(codename="view_modelalias"))
        self.client.force_login(viewer)
        self.assertNotContains(self.client.get(list_url(ModelAlias)), reverse(self.url))
        self.assertEqual(self.client.post(reverse(self.url), {"haiku": "up/qwen2.5:7b"}).status_code, 403)
