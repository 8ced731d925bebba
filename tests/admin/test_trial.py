"""The page "try a prompt": what it shows, to whom, and that it calls and changes nothing."""

import json
from typing import Any

from django.contrib.auth.models import Permission
from django.db import connection
from django.http import HttpResponse
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from accounts.models import CallRecord, Team, User
from providers.models import Credential, Model, Provider
from routing.models import ClassifierEntry, Policy, Route, RouteEntry, Scene, SceneRule
from tests.admin.pages import AdminTestCase, list_url, row_url
from tests.admin.rows import SCRIPT, make_key

URL = "/admin/routing/policy/try/"


class TryAPrompt(AdminTestCase):
    @classmethod
    def setUpTestData(cls) -> None:
        super().setUpTestData()
        provider = Provider.objects.create(name="main", kind="openai_compatible", base_url="http://192.0.2.1/v1")
        credential = Credential(provider=provider, name="team")
        credential.set_secret("sk-0123456789abcdef")
        credential.save()
        cls.models = {}
        for name, capabilities in (("big", ["tools", "vision"]), ("small", [])):
            model = Model.objects.create(provider=provider, model_id=name, capabilities=capabilities)
            cls.models[name] = model
            route = Route.objects.create(name=f"to-{name}")
            RouteEntry.objects.create(route=route, model=model)
            if name == "small":
                RouteEntry.objects.create(route=route, model=cls.models["big"], position=1)
        text = "What this scene is for."
        cls.chat = Scene.objects.create(
            name="闲聊", description=text, route=Route.objects.get(name="to-small"), is_default=True
        )
        cls.code = Scene.objects.create(name="Code", description=text, route=Route.objects.get(name="to-big"))
        SceneRule.objects.create(scene=cls.code, keywords=["重构"])
        cls.smart = Policy.objects.create(name="smart", mode="smart", is_default=True, min_confidence=1)
        cls.direct = Policy.objects.create(name="direct", mode="direct", route=Route.objects.get(name="to-big"))

    def ask(self, text: str, **fields: Any) -> HttpResponse:
        response = self.client.post(URL, {"text": text, **fields})
        assert response.status_code == 200
        return response

    def record(self, text: str, **fields: Any) -> dict[str, Any]:
        trial = self.ask(text, **fields).context["trial"]  # type: ignore[attr-defined]
        found: dict[str, Any] = trial.as_record()
        return found

    def errors(self, text: str, **fields: Any) -> dict[str, list[str]]:
        response = self.ask(text, **fields)
        assert "trial" not in response.context  # type: ignore[attr-defined]
        return dict(response.context["form"].errors)  # type: ignore[attr-defined]

    def test_a_prompt_shows_its_scene_its_candidates_and_what_is_last(self) -> None:
        page = self.ask("你好", has_tools="on")
        for text in ("闲聊", "main/big", "only as a last resort: no tools", "By the policy smart", "你好"):
            self.assertContains(page, text)
        assert self.record("你好", has_tools="on")["candidates"] == ["main/big", "main/small"]
        assert self.record("你好")["candidates"] == ["main/small", "main/big"]
        found = self.record("请重构这个模块")
        assert (found["scene"], found["by"]) == ("Code", "rule")

    def test_a_whole_body_is_read_like_that_of_a_call(self) -> None:
        content = [
            {"type": "text", "text": "<system-reminder>重构 is what the client says.</system-reminder>"},
            {"type": "text", "text": "Hello"},
        ]
        body = {"model": "claude-opus-4-5", "max_tokens": 9, "messages": [{"role": "user", "content": content}]}
        page = self.ask(json.dumps(body))
        assert page.context["words"] == "Hello"  # type: ignore[attr-defined]
        self.assertContains(page, "重构 is what the client says.")
        self.assertContains(page, "Left out")
        assert self.record(json.dumps(body))["by"] == "default"
        title = {"output_config": {"format": {"type": "json_schema", "schema": {"properties": {"title": {}}}}}}
        assert self.record(json.dumps({**body, **title}))["kind"] == "title"
        assert "text" in self.errors(json.dumps({"messages": "none"}))
        assert "text" in self.errors(json.dumps({"messages": [{"role": "pope", "content": "x"}]}))
        # What only looks like one is a prompt.
        assert self.record('{"重构": 1')["by"] == "rule"

    def test_the_choices_of_the_form_count(self) -> None:
        assert self.record("Hello", kind="probe")["by"] == "kind"
        assert self.record("Hello", session_scene=self.code.pk)["scene"] == "Code"
        assert self.record("Hello", model="main/big")["by"] == "named"
        facts = self.record("Hello", effort="max", prompt_tokens="5000", plan_mode="on", has_image="on", has_pdf="on")[
            "facts"
        ]
        assert (facts["effort"], facts["prompt_tokens"], facts["plan_mode"]) == ("max", 5000, True)
        assert (facts["needs"], facts["has_pdf"], facts["has_image"]) == (["vision"], True, True)
        assert "prompt_tokens" in self.errors("Hello", prompt_tokens="-1")
        assert "text" in self.errors("")

    def test_the_policy_is_that_of_the_user_or_the_key(self) -> None:
        team = Team.objects.create(name="tools", policy=self.direct)
        ann = User.objects.create_user("ann", team=team)
        key = make_key(ann, "ci", policy=self.smart, allowed_models=["main/small"])
        make_key(ann, "laptop")
        make_key(User.objects.create_user("bob"), "laptop")
        assert self.record("Hello", policy=self.direct.pk)["by"] == "policy"
        assert self.record("Hello", caller="ann")["by"] == "policy"
        for name in ("ci", "ann/ci", key.prefix):
            found = self.record("Hello", caller=name)
            assert (found["by"], found["candidates"]) == ("default", ["main/small"]), name
            assert found["skipped"] == [{"target": "main/big", "reason": "not allowed for this key"}]
        assert "Several" in self.errors("Hello", caller="laptop")["caller"][0]
        assert self.record("Hello", caller="ann/laptop")["by"] == "policy"
        assert "caller" in self.errors("Hello", caller="nobody")
        assert "policy" in self.errors("Hello", caller="ann", policy=self.smart.pk)

    def test_a_refusal_and_a_classifier_are_said(self) -> None:
        ClassifierEntry.objects.create(policy=self.smart, model=self.models["small"])
        page = self.ask("Hello there")
        self.assertContains(page, "a classifier model would be asked (main/small)")
        Model.objects.update(is_enabled=False)
        self.assertContains(self.ask("Hello there"), "Every target for this model is disabled.")
        Policy.objects.all().delete()
        self.assertContains(self.ask("Hello there"), "There is no policy")

    def test_nothing_is_kept_and_what_was_typed_is_escaped(self) -> None:
        with CaptureQueriesContext(connection) as context:
            page = self.ask(SCRIPT, model=SCRIPT)
        self.assertNotContains(page, SCRIPT)
        self.assertContains(page, "&lt;script&gt;alert(1)&lt;/script&gt;")
        assert not [
            query["sql"]
            for query in context
            if not query["sql"].startswith(("SELECT", "DECLARE", "SAVEPOINT", "RELEASE"))
        ]
        assert not CallRecord.objects.exists()

    def test_it_needs_the_permission_to_see_policies_and_a_token(self) -> None:
        viewer = User.objects.create_user("viewer", is_staff=True)
        self.client.force_login(viewer)
        for response in (self.client.get(URL), self.client.post(URL, {"text": "x"})):
            assert response.status_code == 403
        self.assertNotContains(self.client.get(reverse("admin:index")), URL)
        viewer.user_permissions.add(Permission.objects.get(codename="view_policy"))
        self.assertContains(self.client.get(reverse("admin:index")), URL)
        # Nothing is to be learnt about people and keys on the way.
        page = self.client.get(URL)
        self.assertNotContains(page, 'name="caller"')
        assert self.record("Hello", caller="root")["by"] == "default"
        strict = Client(enforce_csrf_checks=True)
        strict.force_login(viewer)
        assert strict.post(URL, {"text": "x"}).status_code == 403
        self.client.logout()
        assert self.client.post(URL, {"text": "x"}).status_code == 302

    def test_the_routing_pages_lead_there(self) -> None:
        for page in (reverse("admin:index"), list_url(Policy), list_url(Scene), row_url(self.smart)):
            self.assertContains(self.client.get(page), URL)
        page = self.client.get(f"{URL}?policy={self.direct.pk}")
        self.assertContains(page, f'<option value="{self.direct.pk}" selected>')
        assert self.client.get(f"{URL}?policy=%27drop").status_code == 200
