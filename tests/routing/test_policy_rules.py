"""The rules of policies that span rows, as forms, files and deletions meet them."""

from django.core.exceptions import ValidationError
from django.test import TestCase

from providers.models import Model, Provider
from routing import policy_rules, snapshot
from routing.models import ClassifierEntry, KindRule, Policy, Route, RouteEntry, Scene
from routing.policy_rules import Faults


def texts(faults: Faults) -> dict[str, list[str]]:
    """Return field -> messages."""
    return {field: [message for error in errors for message in error.messages] for field, errors in faults.items()}


class PolicyRulesTest(TestCase):
    @classmethod
    def setUpTestData(cls) -> None:
        provider = Provider.objects.create(name="main", kind="openrouter")
        cls.big = Model.objects.create(provider=provider, model_id="big")
        cls.any = Model.objects.create(provider=provider, model_id="*")
        cls.route = Route.objects.create(name="everyday")
        RouteEntry.objects.create(route=cls.route, model=cls.big)
        cls.empty = Route.objects.create(name="empty")
        cls.general = cls.scene("general", is_default=True)
        cls.code = cls.scene("code")
        cls.smart = Policy.objects.create(name="smart", mode="smart")

    @classmethod
    def scene(cls, name: str, route: Route | None = None, **fields: bool) -> Scene:
        return Scene.objects.create(
            name=name, description=f"What belongs to {name}.", route=route or cls.route, **fields
        )

    def faults(self, *scenes: Scene, **lists: list[object]) -> dict[str, list[str]]:
        return texts(policy_rules.faults_of_policy("smart", scenes=scenes, **lists))  # type: ignore[arg-type]

    def refusal(self, policy: Policy) -> dict[str, list[str]]:
        """Return the messages of a policy's columns."""
        with self.assertRaises(ValidationError) as caught:
            policy.full_clean()
        return caught.exception.message_dict

    def test_all_scenes_or_a_list_with_the_default_scene_are_fine(self) -> None:
        self.smart.full_clean()
        for scenes in ((), (self.general,), (self.code, self.general)):
            self.assertEqual(self.faults(*scenes), {}, scenes)
        self.assertEqual(policy_rules.faults_of_stored(self.smart), {})

    def test_a_list_without_the_default_scene_is_refused(self) -> None:
        self.assertEqual(
            self.faults(self.code),
            {
                "scenes": [
                    "The default scene general must be one of them: it answers where no other is recognised.",
                ]
            },
        )

    def test_without_a_default_scene_there_is_no_routing_by_intent(self) -> None:
        Scene.objects.update(is_default=False)
        text = "Routing by intent needs a default scene, which answers where no other is recognised. "
        for found in (self.faults(), self.faults(self.code), self.refusal(Policy(name="other", mode="smart"))):
            self.assertEqual(found, {"scenes": [text + "Make one the default."]})

    def test_an_empty_scene_is_named(self) -> None:
        self.code.route = self.empty
        self.code.save()
        expected = {"scenes": ["The scene code is empty: its route empty has no targets."]}
        self.assertEqual(self.faults(), expected)
        self.assertEqual(self.faults(self.code, self.general), expected)
        self.assertEqual(self.faults(self.general), {})

    def test_what_a_list_names_must_be_enabled(self) -> None:
        self.code.is_enabled = False
        self.code.save()
        self.assertEqual(self.faults(self.code, self.general), {"scenes": ["The scene code is not enabled."]})
        self.assertEqual(self.faults(), {})

    def test_other_modes_may_keep_any_list(self) -> None:
        self.assertEqual(policy_rules.faults_of_policy("direct", scenes=[self.code]), {})

    def test_a_classifier_is_one_model(self) -> None:
        message = "main/* stands for any model. Choose single models."
        self.assertEqual(self.faults(classifier=[self.big, self.any]), {"classifier": [message]})
        with self.assertRaises(ValidationError) as caught:
            ClassifierEntry(policy=self.smart, model=self.any).full_clean()
        self.assertEqual(caught.exception.message_dict, {"model": ["Choose one model: * stands for any."]})

    def test_a_rule_for_a_kind_goes_to_a_scene_of_the_policy_or_to_a_route_with_targets(self) -> None:
        to_code = KindRule(policy=self.smart, kind="title", action="scene", scene=self.code)
        to_empty = KindRule(policy=self.smart, kind="probe", action="route", route=self.empty)
        self.assertEqual(self.faults(kind_rules=[to_code]), {})
        self.assertEqual(
            self.faults(self.general, kind_rules=[to_code, to_empty]),
            {"kind_rules": ["The scene code is none of those of the policy.", "The route empty has no targets."]},
        )

    def test_the_columns_are_checked_by_the_row_itself(self) -> None:
        self.assertEqual(
            self.refusal(Policy(name="other", mode="direct")), {"route": ["Choose the route whose targets answer."]}
        )
        self.smart.cheap_route, self.smart.shadow, self.smart.reference_model = self.empty, self.smart, self.any
        self.assertEqual(
            self.refusal(self.smart),
            {
                "cheap_route": ["The route empty has no targets."],
                "shadow": ["A policy cannot be its own shadow. Choose another one."],
                "reference_model": ["Choose one model: * stands for any, and has no price."],
            },
        )

    def test_only_the_list_of_the_mode_is_in_reach(self) -> None:
        self.smart.route = self.route
        self.smart.save()
        direct = Policy.objects.create(name="direct", mode="direct", route=self.route)
        direct.scenes.set([self.general, self.code])
        policies = snapshot.load().policies
        self.assertEqual((policies[self.smart.pk].route, len(policies[self.smart.pk].scenes)), (None, 2))
        self.assertEqual(policies[direct.pk].scenes, ())
        self.assertEqual(policies[direct.pk].route and policies[direct.pk].route.name, "everyday")

    def test_a_scene_that_a_policy_names_can_be_neither_disabled_nor_deleted(self) -> None:
        self.smart.scenes.set([self.general, self.code])
        message = "The scene code is in use by the policy smart. Take it off its list first."
        fault = policy_rules.fault_of_disabling(self.code)
        assert fault is not None
        self.assertEqual(fault.messages, [message])
        with self.assertRaisesMessage(ValidationError, message):
            self.code.delete()
        self.smart.scenes.clear()
        self.assertIsNone(policy_rules.fault_of_disabling(self.code))
        self.code.delete()
        self.assertEqual(Scene.objects.count(), 1)

    def test_the_default_scene_stays(self) -> None:
        fault = policy_rules.fault_of_disabling(self.general)
        assert fault is not None
        self.assertIn("must stay enabled", fault.messages[0])
        with self.assertRaisesMessage(ValidationError, "The default scene cannot be deleted."):
            self.general.delete()
        self.general.is_enabled = False
        with self.assertRaises(ValidationError) as caught:
            self.general.full_clean()
        self.assertEqual(caught.exception.message_dict["is_enabled"], ["The default scene must stay enabled."])

    def test_the_default_moves_only_to_a_scene_of_every_list(self) -> None:
        self.assertIsNone(policy_rules.fault_of_default(self.code))
        self.smart.scenes.set([self.general])
        fault = policy_rules.fault_of_default(self.code)
        assert fault is not None
        self.assertEqual(
            fault.messages,
            ["The scene code is not in the list of the policy smart, which must have the default scene."],
        )

    def test_a_route_in_use_by_intent_keeps_a_target(self) -> None:
        def message(route: Route) -> str:
            fault = policy_rules.fault_of_emptying(route.pk)
            return fault.messages[0] if fault is not None else ""

        cheap = Route.objects.create(name="cheap")
        self.assertEqual(message(cheap), "")
        self.assertEqual(
            message(self.route), "The scene code of the policy smart would be empty. Give it another route first."
        )
        self.smart.cheap_route = cheap
        self.smart.save()
        self.assertEqual(message(cheap), "This is the cheap route of the policy smart, which needs a target.")
        KindRule.objects.create(policy=self.smart, kind="title", action="route", route=self.empty)
        self.assertEqual(
            message(self.empty), "A rule for a kind of the policy smart uses this route, which needs a target."
        )

    def test_a_scene_outside_all_lists_may_lose_its_targets(self) -> None:
        self.smart.scenes.set([self.general])
        self.code.route = self.empty
        self.code.save()
        self.assertIsNone(policy_rules.fault_of_emptying(self.empty.pk))

    def test_the_texts_of_a_scene_are_measured_without_the_space_around_them(self) -> None:
        for name, description, wrong in (
            ("ab", "默认场景用于没有识别出的请求", set()),
            ("写作", "一二三四五六七八九十", set()),
            ("a", "long enough for all", {"name"}),
            ("  a  ", "long enough for all", {"name"}),
            ("n" * 51, "long enough for all", {"name"}),
            ("name", "一二三四五六七八九", {"description"}),
            ("name", " " * 20, {"description"}),
            ("name", "\u3000" * 20, {"description"}),
            ("name", "d" * 501, {"description"}),
            ("two\nlines", "long enough for all", {"name"}),
        ):
            scene = Scene(name=name, description=description, route=self.route)
            found: set[str] = set()
            try:
                scene.full_clean()
            except ValidationError as error:
                found = set(error.message_dict)
            self.assertEqual(found, wrong, (name, description))

    def test_examples_are_texts_of_a_bounded_size(self) -> None:
        for examples in ("fix this", [1], ["  "], ["x"] * 1001, ["x" * 4001]):
            self.code.examples = examples
            with self.assertRaises(ValidationError) as caught:
                self.code.full_clean()
            self.assertEqual(set(caught.exception.message_dict), {"examples"})
