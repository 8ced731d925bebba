"""The scenes that are offered: what is made of which models, and what is left alone."""

import io
from decimal import Decimal
from unittest import mock

import pytest
from django.core.management import CommandError, call_command
from django.test import TestCase

from providers.models import Model, Price, Provider
from routing.model_choice import fill_default_route, models_for
from routing.models import Policy, Route, Scene, SceneRule
from routing.offered import NoModels, Which, first_scene, is_first_scene, offer, offered_scenes
from routing.policy_rules import faults_of_stored


@pytest.mark.parametrize("which", ["defaults", "templates"])
def test_a_set_has_four_scenes_with_texts_and_five_examples_in_both_languages(which: Which) -> None:
    scenes = offered_scenes(which)
    assert len(scenes) == 4
    for scene in scenes:
        assert len(set(scene.examples)) == 10
        assert sum(not example.isascii() for example in scene.examples) == 5
        for language in ("en", "zh-hans"):
            assert 2 <= len(scene.names[language]) <= 50
            assert 10 <= len(scene.descriptions[language]) <= 500
    assert [scene.is_default for scene in scenes] == [which == "defaults", False, False, False]


def test_no_example_stands_for_two_scenes_of_a_set() -> None:
    for which in ("defaults", "templates"):
        examples = [example for scene in offered_scenes(which) for example in scene.examples]
        assert len(examples) == len(set(examples))


class OfferCase(TestCase):
    def models(self, provider: str, *ids: str, **prices: str) -> None:
        """Make models of a provider; `prices` are USD per million output tokens by position, p0, p1, …"""
        row, _is_new = Provider.objects.get_or_create(name=provider, defaults={"kind": "openai_compatible"})
        for position, model_id in enumerate(ids):
            model = Model.objects.create(provider=row, model_id=model_id)
            if price := prices.get(f"p{position}"):
                Price.objects.create(
                    model=model, currency="USD", input_per_million=Decimal(price) / 4, output_per_million=price
                )

    def chosen(self, role: str) -> list[str]:
        return [str(model) for model in models_for(role)]  # type: ignore[arg-type]

    def targets(self) -> dict[str, list[str]]:
        """Return scene -> targets."""
        return {scene.name: [str(entry) for entry in scene.route.entries.all()] for scene in Scene.objects.all()}


class ModelChoiceTest(OfferCase):
    def test_each_kind_of_work_gets_the_model_that_suits_it(self) -> None:
        self.models("up", "a-flash", "b-coder", "c-max", "d-plain", "e-mini", p0="2", p1="8", p2="20", p3="9", p4="1")
        self.assertEqual(self.chosen("small")[0], "up/e-mini")
        self.assertEqual(self.chosen("coder")[0], "up/b-coder")
        self.assertEqual(self.chosen("best")[0], "up/c-max")
        self.assertEqual(self.chosen("everyday"), ["up/a-flash"])

    def test_platforms_follow_each_other_and_what_is_special_comes_first(self) -> None:
        self.models("dashscope", "qwen-plus", "qwen-flash", "text-embedding-v4")
        self.models("local", "qwen3-coder:30b", "qwen3:0.6b", "qwen3:8b")
        self.assertEqual(self.chosen("everyday"), ["dashscope/qwen-plus", "local/qwen3-coder:30b"])
        self.assertEqual(self.chosen("coder")[0], "local/qwen3-coder:30b")
        self.assertEqual(self.chosen("small")[0], "dashscope/qwen-flash")
        self.assertNotIn("local/qwen3:0.6b", self.chosen("small"))

    def test_what_cannot_answer_is_not_chosen(self) -> None:
        self.models("up", "bge-m3", "gpt-image-1", "whisper-1", "*", "gone", "off", "toolless-max", "fine")
        Model.objects.filter(model_id="gone").update(missing_since="2026-01-01T00:00:00Z")
        Model.objects.filter(model_id="off").update(is_enabled=False)
        Model.objects.filter(model_id="toolless-max").update(capabilities=["vision"])
        self.models("switched-off", "claude-opus-5-5")
        Provider.objects.filter(name="switched-off").update(is_enabled=False)
        for role in ("everyday", "small", "coder", "best"):
            self.assertEqual(self.chosen(role), ["up/fine"], role)

    def test_free_offers_and_very_dear_models_come_last(self) -> None:
        self.models("up", "x-coder:free", "y", "z-pro", p1="10", p2="600")
        self.assertEqual(self.chosen("small"), ["up/y", "up/x-coder:free"])
        self.models("other", "deepseek-v4", "o1-pro", p0="3", p1="600")
        self.assertEqual(self.chosen("best")[0], "other/deepseek-v4")

    def test_the_default_route_is_filled_once(self) -> None:
        self.models("up", "a")
        self.assertEqual(fill_default_route(), [])
        route = Route.objects.create(name="default")
        self.assertEqual([str(model) for model in fill_default_route()], ["up/a"])
        self.models("other", "b")
        self.assertEqual(fill_default_route(), [])
        self.assertEqual(route.entries.count(), 1)


class OfferTest(OfferCase):
    def outcomes(self, which: Which, language: str = "en", *, replace: bool = False) -> dict[str, str]:
        return {one.scene.name: one.outcome for one in offer(which, language, replace=replace)}

    def test_the_four_scenes_are_made_and_a_policy_by_intent_can_use_them(self) -> None:
        self.models("up", "a-flash", "b-coder", "c-max", p0="1", p1="8", p2="20")
        self.assertEqual(
            self.outcomes("defaults"),
            {"General": "made", "Chat": "made", "Code changes": "made", "New features": "made"},
        )
        self.assertEqual(
            {name: targets[0] for name, targets in self.targets().items()},
            {"General": "up/a-flash", "Chat": "up/a-flash", "Code changes": "up/b-coder", "New features": "up/c-max"},
        )
        self.assertEqual([scene.name for scene in Scene.objects.filter(is_default=True)], ["General"])
        self.assertTrue(all(scene.is_enabled for scene in Scene.objects.all()))
        self.assertEqual(
            {route.name for route in Route.objects.all()},
            {"scene-general", "scene-chat", "scene-modify", "scene-feature"},
        )
        policy = Policy(name="smart", mode="smart")
        policy.full_clean()
        policy.save()
        self.assertEqual(faults_of_stored(policy), {})

    def test_one_model_serves_all_scenes(self) -> None:
        self.models("up", "only")
        self.outcomes("defaults")
        self.outcomes("templates")
        self.assertEqual(list(self.targets().values()), [["up/only"]] * 8)

    def test_names_and_descriptions_are_of_the_language(self) -> None:
        self.models("up", "only")
        self.outcomes("defaults", "zh-cn")
        self.outcomes("templates", "zh-hans")
        self.assertEqual(
            [scene.name for scene in Scene.objects.all()],
            ["默认对话", "闲聊对话", "代码修改", "新功能开发", "代码开发", "日常对话", "数据分析", "文档写作"],
        )
        self.assertFalse([scene.name for scene in Scene.objects.all() if scene.description.isascii()])

    def test_without_models_nothing_is_made(self) -> None:
        Provider.objects.create(name="up", kind="openai_compatible")
        with self.assertRaises(NoModels):
            offer("templates", "en")
        self.assertEqual((Scene.objects.count(), Route.objects.count()), (0, 0))

    def test_what_exists_is_left_alone_in_any_language(self) -> None:
        self.models("up", "only")
        self.outcomes("defaults")
        Scene.objects.filter(name="Chat").update(description="An administrator's own words.", is_enabled=False)
        self.assertEqual(set(self.outcomes("defaults", "zh-hans").values()), {"kept"})
        chat = Scene.objects.get(name="Chat")
        self.assertEqual((chat.description, chat.is_enabled), ("An administrator's own words.", False))
        self.assertEqual(Scene.objects.count(), 4)

    def test_another_default_scene_stays_the_default(self) -> None:
        self.models("up", "only")
        route = Route.objects.create(name="mine")
        Scene.objects.create(name="mine", description="What I want it to be.", route=route, is_default=True, position=7)
        self.assertEqual(self.outcomes("defaults")["mine"], "kept")
        self.assertEqual(
            [(scene.name, scene.position) for scene in Scene.objects.all()],
            [("mine", 7), ("Chat", 8), ("Code changes", 9), ("New features", 10)],
        )

    def test_replacing_overwrites_texts_and_keeps_routes_rules_and_other_scenes(self) -> None:
        self.models("up", "only")
        self.outcomes("defaults")
        chat = Scene.objects.get(name="Chat")
        chat.route = Route.objects.create(name="mine")
        chat.examples, chat.description, chat.is_enabled = ["mine"], "My own description.", False
        chat.save()
        SceneRule.objects.create(scene=chat, keywords=["hi"])
        other = Scene.objects.create(name="Other", description="Something else.", route=chat.route)
        self.assertEqual(set(self.outcomes("defaults", "zh-hans", replace=True).values()), {"replaced"})
        again = Scene.objects.get(pk=chat.pk)
        self.assertEqual((again.name, again.route.name, again.is_enabled), ("闲聊对话", "mine", True))
        self.assertEqual(len(again.examples), 10)
        self.assertEqual(again.rules.count(), 1)
        self.assertEqual([str(entry) for entry in again.route.entries.all()], ["up/only"])
        self.assertEqual(Scene.objects.get(pk=other.pk).description, "Something else.")

    def test_the_first_scene_waits_with_the_default_route(self) -> None:
        scene = first_scene("zh-hans")
        assert scene is not None
        self.assertEqual((scene.name, scene.is_default, scene.route.name), ("默认对话", True, "default"))
        self.assertTrue(is_first_scene(scene))
        self.assertIsNone(first_scene("en"))
        self.models("up", "only")
        # The others of the set join it, and its route is filled.
        self.assertEqual(self.outcomes("defaults", "zh-hans")["默认对话"], "kept")
        self.assertEqual(self.targets()["默认对话"], ["up/only"])
        scene.examples.append("mine")
        self.assertFalse(is_first_scene(scene))


class LoadScenesTest(OfferCase):
    def load(self, *arguments: str, answer: str | None = None) -> str:
        output = io.StringIO()
        with mock.patch("builtins.input", side_effect=[answer] if answer is not None else EOFError):
            call_command("load_scenes", *arguments, stdout=output)
        return output.getvalue()

    def test_it_says_what_it_made_and_what_it_kept(self) -> None:
        self.models("up", "only")
        self.assertIn("Daily chat: made -> up/only\n", self.load("--templates"))
        self.assertIn("Daily chat: ", self.load("--templates", "--language", "zh-hans"))
        self.assertEqual(Scene.objects.count(), 4)

    def test_it_asks_before_it_overwrites(self) -> None:
        self.models("up", "only")
        self.load("--replace")  # there is nothing to ask about
        Scene.objects.filter(name="Chat").update(description="My own description.")
        for answer in (None, "no", ""):
            with self.assertRaisesMessage(CommandError, "Nothing was changed."):
                self.load("--replace", answer=answer)
        self.assertEqual(Scene.objects.get(name="Chat").description, "My own description.")
        self.assertIn("Chat: replaced", self.load("--replace", answer="yes"))
        self.assertNotEqual(Scene.objects.get(name="Chat").description, "My own description.")
        self.assertIn("Chat: replaced", self.load("--replace", "--noinput"))

    def test_without_models_it_says_what_to_do(self) -> None:
        with self.assertRaisesMessage(CommandError, "Add a provider first."):
            self.load()
