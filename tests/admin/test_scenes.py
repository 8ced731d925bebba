"""Scenes in the admin: their examples and rules, their order, and the one that must stay."""

import dataclasses
from typing import Any

from django.contrib.auth.models import Permission
from django.http import HttpResponse
from django.urls import reverse

from accounts.models import User
from gateway.admin.routing.scene_forms import SceneRuleForm
from gateway.config.scenes import RULE_COLUMNS
from providers.models import ConfigVersion, Model, Provider
from routing.models import Policy, Route, RouteEntry, Scene, SceneRule
from routing.snapshot import SceneRuleSnapshot
from tests.admin.pages import AdminTestCase, list_url, row_url
from tests.admin.rows import SCRIPT

NO_RULES = {"rules-TOTAL_FORMS": "0", "rules-INITIAL_FORMS": "0"}
ANY = {f"rules-0-{name}": "unknown" for name in ("plan_mode", "has_image", "has_pdf", "has_tools")}


class SceneTestCase(AdminTestCase):
    @classmethod
    def setUpTestData(cls) -> None:
        super().setUpTestData()
        provider = Provider.objects.create(name="main", kind="openai_compatible")
        cls.route = Route.objects.create(name="everyday")
        for position, name in enumerate(("big", "small")):
            model = Model.objects.create(provider=provider, model_id=name)
            RouteEntry.objects.create(route=cls.route, model=model, position=position)
        cls.chat = cls.scene("Small talk", is_default=True)
        cls.code = cls.scene("写程序", position=1)

    @classmethod
    def scene(cls, name: str, **fields: Any) -> Scene:
        return Scene.objects.create(name=name, description="What this scene is for.", route=cls.route, **fields)

    def save(self, scene: Scene | None, **fields: str) -> HttpResponse:
        data = {
            "name": scene.name if scene else "Refactoring",
            "description": "Large changes of code.",
            "route": str(self.route.pk),
            "examples": "",
            "is_enabled": "on",
            "position": str(scene.position) if scene else "0",
            **NO_RULES,
        }
        return self.client.post(row_url(scene) if scene else list_url(Scene) + "add/", {**data, **fields})

    def as_viewer(self, *codenames: str) -> None:
        viewer = User.objects.create_user("viewer", is_staff=True)
        viewer.user_permissions.add(*Permission.objects.filter(codename__in=["view_scene", *codenames]))
        self.client.force_login(viewer)


def test_a_condition_of_a_rule_is_known_to_calls_files_and_the_form() -> None:
    conditions = {field.name for field in SceneRule._meta.fields} - {"id", "scene", "position", "is_enabled"}
    assert {field.name for field in dataclasses.fields(SceneRuleSnapshot)} - {"position"} == conditions
    assert set(RULE_COLUMNS.values()) - {"is_enabled"} == conditions
    assert set(SceneRuleForm.base_fields) - {"position", "is_enabled"} == conditions


class Examples(SceneTestCase):
    def test_they_are_lines_and_may_have_several(self) -> None:
        assert self.save(self.code, examples="写一个函数\r\n\r\nWrite a test\r\n写一个函数").status_code == 302
        self.code.refresh_from_db()
        assert self.code.examples == ["写一个函数", "Write a test"]
        long = "---\r\nRefactor this:\r\n\r\n    def a(): ...\r\n---\r\n写一个函数"
        assert self.save(self.code, examples=long).status_code == 302
        self.code.refresh_from_db()
        assert self.code.examples == ["Refactor this:\n\n    def a(): ...", "写一个函数"]
        page = self.client.get(row_url(self.code))
        shown = page.context["adminform"].form["examples"].value()
        # Saved again as it is shown, it stays.
        version = ConfigVersion.objects.get().number
        self.save(self.code, examples=page.context["adminform"].form.fields["examples"].prepare_value(shown))
        self.code.refresh_from_db()
        assert self.code.examples == ["Refactor this:\n\n    def a(): ...", "写一个函数"]
        assert ConfigVersion.objects.get().number > version

    def test_a_prompt_that_is_too_long_is_named_and_kept_in_the_form(self) -> None:
        response = self.save(self.code, examples="short\n" + "x" * 4001)
        self.assertContains(response, "has 4001 characters")
        self.assertContains(response, "short\n" + "x" * 4001)

    def test_the_list_counts_them_and_says_what_serves_a_scene(self) -> None:
        self.save(self.code, examples="a b\nc d\ne f")
        SceneRule.objects.create(scene=self.code, keywords=["x"])
        row = self.client.get(list_url(Scene)).context["cl"].result_list[1]
        page = self.client.get(list_url(Scene))
        self.assertContains(page, '<td class="field-example_count">3</td>', html=True)
        self.assertContains(page, '<td class="field-rule_count">1</td>', html=True)
        self.assertContains(page, "main/big → main/small")
        assert row == self.code

    def test_what_somebody_typed_is_escaped(self) -> None:
        for data in ({"examples": SCRIPT, "name": SCRIPT}, {"examples": SCRIPT, "name": ""}):
            self.assertNotContains(self.client.get(row_url(self.code)), SCRIPT)
            response = self.save(self.code, **data)
            if response.status_code == 200:
                self.assertNotContains(response, SCRIPT)
                self.assertContains(response, "&lt;script&gt;")


class Rules(SceneTestCase):
    def rule(self, **fields: str) -> HttpResponse:
        data = {
            "rules-TOTAL_FORMS": "1",
            "rules-INITIAL_FORMS": "0",
            "rules-0-is_enabled": "on",
            "rules-0-position": "0",
        }
        return self.save(self.code, **data, **ANY, **{f"rules-0-{name}": value for name, value in fields.items()})

    def test_a_rule_has_lines_and_ticks(self) -> None:
        data = {
            "rules-TOTAL_FORMS": "1",
            "rules-INITIAL_FORMS": "0",
            "rules-0-is_enabled": "on",
            "rules-0-position": "0",
            "rules-0-keywords": "deadlock\r\n死锁\r\n",
            "rules-0-efforts": ["high", "max"],
            "rules-0-weekdays": ["1", "7"],
            **ANY,
            "rules-0-plan_mode": "true",
            "rules-0-has_pdf": "false",
            "rules-0-time_from": "22:00",
            "rules-0-time_until": "06:00",
        }
        assert self.save(self.code, **data).status_code == 302  # type: ignore[arg-type]
        rule = SceneRule.objects.get()
        assert (rule.keywords, rule.efforts, rule.weekdays) == (["deadlock", "死锁"], ["high", "max"], [1, 7])
        assert (rule.plan_mode, rule.has_image, rule.has_pdf) == (True, None, False)
        page = self.client.get(row_url(self.code))
        self.assertContains(page, "deadlock\n死锁")
        self.assertContains(page, '<input type="checkbox" name="rules-0-weekdays" value="7"')

    def test_what_is_wrong_stands_at_its_field(self) -> None:
        for fields, field in (
            ({"pattern": "(unclosed"}, "pattern"),
            ({"time_from": "10:00"}, "time_until"),
            ({"min_prompt_tokens": "20", "max_prompt_tokens": "10"}, "max_prompt_tokens"),
            ({"keywords": "a", "efforts": "enormous"}, "efforts"),
            ({"keywords": "a", "weekdays": "8"}, "weekdays"),
        ):
            with self.subTest(fields=fields):
                response = self.rule(**fields)
                assert response.status_code == 200
                errors = response.context["inline_admin_formsets"][0].formset.errors  # type: ignore[attr-defined]
                assert list(errors[0]) == [field], errors
        assert not SceneRule.objects.exists()

    def test_added_rules_come_last_unless_they_are_numbered(self) -> None:
        SceneRule.objects.create(scene=self.code, keywords=["first"], position=4)
        first = SceneRule.objects.get()
        data: dict[str, str] = {"rules-TOTAL_FORMS": "3", "rules-INITIAL_FORMS": "1", "rules-0-id": str(first.pk)}
        for number, (word, position) in enumerate((("first", "4"), ("last", ""), ("zero", "2"))):
            data |= {f"rules-{number}-{name}": "unknown" for name in ("plan_mode", "has_image", "has_pdf", "has_tools")}
            data |= {f"rules-{number}-keywords": word, f"rules-{number}-position": position}
        assert self.save(self.code, **data).status_code == 302
        found = SceneRule.objects.order_by("position").values_list("keywords", "position")
        assert list(found) == [(["zero"], 2), (["first"], 4), (["last"], 5)]


class Order(SceneTestCase):
    def test_the_numbers_of_the_list_are_saved_and_reach_the_workers(self) -> None:
        version = ConfigVersion.objects.get().number
        data = {"form-TOTAL_FORMS": "2", "form-INITIAL_FORMS": "2", "_save": "Save"}
        for number, (scene, position) in enumerate(((self.chat, 1), (self.code, 0))):
            data |= {f"form-{number}-id": str(scene.pk), f"form-{number}-position": str(position)}
        assert self.client.post(list_url(Scene), data).status_code == 302
        assert list(Scene.objects.all()) == [self.code, self.chat]
        assert ConfigVersion.objects.get().number > version

    def test_all_scenes_are_on_one_page(self) -> None:
        for number in range(120):
            self.scene(f"scene {number}", position=number)
        assert len(self.client.get(list_url(Scene)).context["cl"].result_list) == 122

    def test_a_new_scene_comes_last(self) -> None:
        assert self.save(None, examples="a").status_code == 302
        assert Scene.objects.get(name="Refactoring").position == 2

    def test_who_may_only_look_gets_no_numbers_to_change(self) -> None:
        self.as_viewer()
        self.assertNotContains(self.client.get(list_url(Scene)), "data-sortable")
        assert self.client.post(list_url(Scene), {"_save": "Save", "form-TOTAL_FORMS": "0"}).status_code == 403
        assert self.save(self.code, examples="a").status_code == 403


class Default(SceneTestCase):
    def test_it_cannot_be_deleted_and_says_why(self) -> None:
        url = reverse("admin:routing_scene_delete", args=(self.chat.pk,))
        self.assertNotContains(self.client.get(row_url(self.chat)), url)
        for response in (self.client.get(url, follow=True), self.client.post(url, {"post": "yes"}, follow=True)):
            self.assertRedirects(response, row_url(self.chat))
            self.assertContains(response, "The default scene cannot be deleted")
        both = {"action": "delete_selected", "_selected_action": [self.chat.pk, self.code.pk], "post": "yes"}
        self.assertContains(self.client.post(list_url(Scene), both, follow=True), "The default scene cannot be deleted")
        assert Scene.objects.count() == 2
        self.client.post(list_url(Scene), {**both, "_selected_action": [self.code.pk]})
        assert list(Scene.objects.all()) == [self.chat]

    def test_it_can_be_edited_but_not_disabled(self) -> None:
        assert self.save(self.chat, examples="hello", is_enabled="").status_code == 302
        self.chat.refresh_from_db()
        assert (self.chat.examples, self.chat.is_enabled) == (["hello"], True)
        response = self.client.post(
            list_url(Scene), {"action": "disable", "_selected_action": [self.chat.pk, self.code.pk]}, follow=True
        )
        self.assertContains(response, "The default scene must stay enabled")
        assert list(Scene.objects.filter(is_enabled=True)) == [self.chat]

    def test_a_scene_that_a_policy_names_stays_enabled(self) -> None:
        policy = Policy.objects.create(name="smart", mode="smart")
        policy.scenes.add(self.chat, self.code)
        response = self.save(self.code, is_enabled="")
        assert list(response.context["adminform"].form.errors) == ["is_enabled"]  # type: ignore[attr-defined]

    def test_no_scene_becomes_the_default_that_a_policy_could_not_choose(self) -> None:
        policy = Policy.objects.create(name="smart", mode="smart")
        policy.scenes.add(self.chat)
        chosen = {"action": "set_default", "_selected_action": [self.code.pk]}
        self.assertContains(
            self.client.post(list_url(Scene), chosen, follow=True), "is not in the list of the policy smart"
        )
        assert Scene.objects.get(is_default=True) == self.chat
        policy.scenes.add(self.code)
        self.client.post(list_url(Scene), chosen)
        assert Scene.objects.get(is_default=True) == self.code

    def test_no_scene_that_a_policy_may_choose_is_empty(self) -> None:
        empty = str(Route.objects.create(name="empty").pk)
        assert self.save(None, route=empty).status_code == 302  # nobody chooses from it yet
        scene = Scene.objects.get(name="Refactoring")
        Scene.objects.filter(pk=scene.pk).update(is_enabled=False)
        Policy.objects.create(name="smart", mode="smart")
        for response in (self.save(self.code, route=empty), self.save(scene, is_enabled="on", route=empty)):
            errors = response.context["adminform"].form.errors  # type: ignore[attr-defined]
            assert list(errors) == ["route"]
            assert "its route empty has no targets" in errors["route"][0]
        for action in ("enable", "set_default"):
            chosen = {"action": action, "_selected_action": [scene.pk]}
            self.assertContains(self.client.post(list_url(Scene), chosen, follow=True), "has no targets")
        scene.refresh_from_db()
        assert (scene.is_enabled, scene.is_default) == (False, False)
        assert self.save(scene, is_enabled="", route=empty).status_code == 302


class Offered(SceneTestCase):
    def url(self, which: str) -> str:
        return reverse("admin:routing_scene_offered", args=(which,))

    def test_the_sets_are_made_in_the_chosen_language(self) -> None:
        page = self.client.get(list_url(Scene))
        for which in ("defaults", "templates"):
            self.assertContains(page, self.url(which))
            assert self.client.get(self.url(which)).status_code == 200
            response = self.client.post(self.url(which), {"language": "zh-hans"}, follow=True)
            self.assertRedirects(response, list_url(Scene))
            self.assertContains(response, "added")
        assert Scene.objects.count() == 2 + 3 + 4
        assert Scene.objects.get(is_default=True) == self.chat
        assert all(scene.is_enabled and scene.route.entries.exists() for scene in Scene.objects.all())
        # Once more changes nothing.
        before = list(Scene.objects.values())
        self.client.post(self.url("templates"), {"language": "zh-hans"})
        assert list(Scene.objects.values()) == before
        assert self.client.get(self.url("others")).status_code == 404

    def test_without_models_it_says_what_to_do(self) -> None:
        Model.objects.update(is_enabled=False)
        response = self.client.post(self.url("templates"), {"language": "en"})
        self.assertContains(response, "Add a provider and refresh its list of models first.")
        assert Scene.objects.count() == 2

    def test_it_needs_the_permission_to_add_and_to_overwrite_that_to_change(self) -> None:
        self.client.post(self.url("templates"), {"language": "en"})
        scene = Scene.objects.last()
        assert scene is not None
        Scene.objects.filter(pk=scene.pk).update(examples=["own"])
        self.as_viewer("add_scene")
        assert self.client.post(self.url("templates"), {"language": "en"}).status_code == 403  # it makes routes as well
        self.client.force_login(User.objects.create_user("adder", is_staff=True))
        User.objects.get(username="adder").user_permissions.add(
            *Permission.objects.filter(codename__in=["view_scene", "add_scene", "add_route"])
        )
        assert self.client.post(self.url("templates"), {"language": "en", "replace": "on"}).status_code == 302
        scene.refresh_from_db()
        assert scene.examples == ["own"]
        self.client.force_login(User.objects.create_user("other", is_staff=True))
        assert self.client.post(self.url("templates"), {"language": "en"}).status_code == 403
