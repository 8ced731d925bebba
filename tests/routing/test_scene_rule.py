"""What a rule of a scene must be to be saved."""

from datetime import time
from typing import Any

from django.core.exceptions import NON_FIELD_ERRORS, ValidationError
from django.test import TestCase

from routing.models import Route, Scene, SceneRule


class SceneRuleTest(TestCase):
    @classmethod
    def setUpTestData(cls) -> None:
        route = Route.objects.create(name="everyday")
        cls.scene = Scene.objects.create(name="code", description="Changes to code", route=route)

    def faults_of(self, **fields: Any) -> dict[str, list[str]]:
        try:
            SceneRule(scene=self.scene, **fields).full_clean()
        except ValidationError as error:
            return error.message_dict
        return {}

    def test_each_condition_alone_makes_a_rule(self) -> None:
        for fields in (
            {"keywords": ["deploy", "部署"]},
            {"pattern": r"\brefactor"},
            {"min_prompt_tokens": 0},
            {"max_prompt_tokens": 0},
            {"efforts": ["low", "max"]},
            {"plan_mode": False},
            {"has_image": True},
            {"has_pdf": True},
            {"has_tools": False},
            {"weekdays": [1, 7]},
            {"time_from": time(0), "time_until": time(6)},
            {"time_from": time(22), "time_until": time(0)},
            {"min_prompt_tokens": 5, "max_prompt_tokens": 5},
        ):
            with self.subTest(fields=fields):
                self.assertEqual(self.faults_of(**fields), {})

    def test_a_rule_without_a_condition_is_refused(self) -> None:
        for fields in ({}, {"keywords": [], "efforts": [], "weekdays": [], "pattern": ""}, {"position": 4}):
            with self.subTest(fields=fields):
                self.assertEqual(list(self.faults_of(**fields)), [NON_FIELD_ERRORS])

    def test_the_field_at_fault_is_named(self) -> None:
        for name, fields in (
            ("pattern", {"pattern": "(a|b"}),
            ("pattern", {"pattern": "(?=a)"}),
            ("pattern", {"pattern": ".{0,900}x"}),
            ("keywords", {"keywords": None}),
            ("min_prompt_tokens", {"min_prompt_tokens": "many", "max_prompt_tokens": 5}),
            ("time_from", {"time_from": "25:00", "time_until": time(9)}),
            ("keywords", {"keywords": "deploy"}),
            ("keywords", {"keywords": {"deploy": 1}}),
            ("keywords", {"keywords": ["deploy", 7]}),
            ("keywords", {"keywords": [["deploy"]]}),
            ("keywords", {"keywords": ["deploy", ""]}),
            ("keywords", {"keywords": [" \t"]}),
            ("keywords", {"keywords": ["x" * 101]}),
            ("keywords", {"keywords": [f"word{number}" for number in range(101)]}),
            ("efforts", {"efforts": ["huge"]}),
            ("efforts", {"efforts": "low"}),
            ("efforts", {"efforts": [["low"]]}),
            ("weekdays", {"weekdays": [0]}),
            ("weekdays", {"weekdays": [8]}),
            ("weekdays", {"weekdays": ["1"]}),
            ("weekdays", {"weekdays": [True]}),
            ("weekdays", {"weekdays": [1.5]}),
            ("weekdays", {"weekdays": 1}),
            ("time_until", {"time_from": time(9)}),
            ("time_from", {"time_until": time(9)}),
            ("time_until", {"time_from": time(9), "time_until": time(9)}),
            ("max_prompt_tokens", {"min_prompt_tokens": 6, "max_prompt_tokens": 5}),
            ("min_prompt_tokens", {"min_prompt_tokens": -1}),
        ):
            with self.subTest(fields=fields):
                self.assertEqual(list(self.faults_of(**fields)), [name])

    def test_all_faults_are_told_at_once(self) -> None:
        faults = self.faults_of(pattern="(", keywords=[""], efforts=["x"], weekdays=[9], time_from=time(1))
        self.assertEqual(set(faults), {"pattern", "keywords", "efforts", "weekdays", "time_until"})
        self.assertIn("missing )", faults["pattern"][0])

    def test_space_around_keywords_is_dropped(self) -> None:
        rule = SceneRule(scene=self.scene, keywords=[" deploy ", "fix it\r"])
        rule.full_clean()
        self.assertEqual(rule.keywords, ["deploy", "fix it"])
