"""Routing by intent in configuration files: scenes with rules, policies, aliases, and what is refused."""

from datetime import time

import yaml

from providers.models import Provider
from routing.models import ModelAlias, Policy, Route, Scene
from tests.gateway.config_files import ConfigCase
from tests.gateway.test_config_export import exported

GOOD = """
version: 1
providers:
  - name: main
    kind: openrouter
    max_concurrency: 8
    models: [{id: big}, {id: small}, {id: "*"}]
routes:
  - {name: everyday, targets: [main/big]}
  - {name: cheap, targets: [main/small]}
scenes:
  - name: 默认对话
    description: 没有识别出其他场景时使用的场景
    examples: [什么是闭包？, "How does\\nthis work? "]
    route: everyday
    default: true
  - name: night
    description: Whatever is asked late in the evening
    route: cheap
    rules:
      - {from: 22:30, until: 06:00, weekdays: [6, 7]}
      - {keywords: [晚安, good night], pattern: "(?i)sleep", min_prompt_tokens: 0, max_prompt_tokens: 2000,
         efforts: [low, medium], plan_mode: false, has_image: false, has_pdf: false, has_tools: true, enabled: false}
aliases:
  - {pattern: "claude-haiku-*", target: "scene:night"}
  - {pattern: "claude-*", target: "route:everyday"}
policies:
  - name: smart
    default: true
    mode: smart
    scenes: [默认对话, night]
    classifier: [main/small]
    reference_model: main/big
    cheap_route: cheap
    shadow: later
    stickiness: session
    session_idle_minutes: 45
    min_confidence: 0.55
    continues_streams: true
    kind_rules: {title: "scene:night", probe: cheapest, subagent: "route:everyday", compaction: same, main: classify}
  - {name: later, mode: direct, route: everyday, shadow: smart}
"""


class IntentFileTest(ConfigCase):
    def setUp(self) -> None:
        super().setUp()
        self.printed = self.apply(GOOD)

    def test_every_field_is_written(self) -> None:
        self.assertEqual(Provider.objects.get().max_concurrency, 8)
        smart = Policy.objects.get(name="smart")
        self.assertEqual(
            (smart.mode, str(smart.cheap_route), str(smart.shadow), smart.stickiness, smart.session_idle_minutes),
            ("smart", "cheap", "later", "session", 45),
        )
        self.assertEqual((smart.min_confidence, smart.continues_streams, smart.route), (0.55, True, None))
        self.assertEqual(str(Policy.objects.get(name="later").shadow), "smart")
        self.assertEqual(
            {rule.kind: (rule.action, str(rule.scene), str(rule.route)) for rule in smart.kind_rules.all()},
            {
                "title": ("scene", "night", "None"),
                "probe": ("cheapest", "None", "None"),
                "subagent": ("route", "None", "everyday"),
                "compaction": ("same", "None", "None"),
                "main": ("classify", "None", "None"),
            },
        )
        general = Scene.objects.get(is_default=True)
        self.assertEqual(general.examples, ["什么是闭包？", "How does\nthis work? "])
        by_time, by_words = Scene.objects.get(name="night").rules.all()
        self.assertEqual(
            (by_time.time_from, by_time.time_until, by_time.weekdays, by_time.is_enabled),
            (time(22, 30), time(6), [6, 7], True),
        )
        self.assertEqual((by_words.keywords, by_words.pattern), (["晚安", "good night"], "(?i)sleep"))
        self.assertEqual((by_words.min_prompt_tokens, by_words.max_prompt_tokens), (0, 2000))
        self.assertEqual(
            (by_words.efforts, by_words.plan_mode, by_words.has_image, by_words.has_pdf, by_words.has_tools),
            (["low", "medium"], False, False, False, True),
        )
        self.assertFalse(by_words.is_enabled)
        self.assertEqual(
            [(alias.pattern, str(alias.scene), str(alias.route)) for alias in ModelAlias.objects.all()],
            [("claude-haiku-*", "night", "None"), ("claude-*", "None", "everyday")],
        )

    def test_the_second_run_and_the_export_change_nothing(self) -> None:
        self.assertEqual(self.apply(GOOD), ["No changes."])
        self.assertEqual(self.apply(GOOD, "--prune"), ["No changes."])
        text = exported()
        self.assertEqual(self.apply(text, "--prune"), ["No changes."])
        document = yaml.safe_load(text)
        self.assertEqual(document["policies"][1]["kind_rules"]["title"], "scene:night")
        self.assertEqual(document["scenes"][1]["rules"][0], {"from": "22:30", "until": "06:00", "weekdays": [6, 7]})
        self.assertEqual(document["aliases"][0]["target"], "scene:night")

    def test_an_export_sets_up_another_database(self) -> None:
        text = exported()
        for rows in (ModelAlias, Policy, Scene, Route, Provider):
            rows.objects.update(is_default=False) if rows is Scene else None
            rows.objects.all().delete()
        self.apply(text)
        self.assertEqual(exported(), text)

    def test_changes_are_shown(self) -> None:
        changed = (
            GOOD.replace("max_concurrency: 8", "max_concurrency: null")
            .replace("from: 22:30", "from: 23:00")
            .replace("probe: cheapest, ", "")
            .replace("shadow: later", "shadow: null")
            .replace("min_confidence: 0.55", "min_confidence: 1")
            .replace('target: "scene:night"', "target: main/small")
        )
        self.assertEqual(
            self.apply(changed),
            [
                "~ provider main: max_concurrency 8 -> none",
                "~ scene night: rules changed",
                "~ alias claude-haiku-*: target scene:night -> main/small",
                "~ policy smart: min_confidence 0.55 -> 1; kind_rules compaction same, main classify, probe cheapest, "
                "subagent route:everyday, title scene:night -> compaction same, main classify, subagent "
                "route:everyday, title scene:night",
                "~ policy smart: shadow later -> none",
            ],
        )
        self.assertEqual(Scene.objects.get(name="night").rules.count(), 2)
        self.assertEqual(self.apply(changed), ["No changes."])

    def test_a_file_without_rules_leaves_them_alone_and_an_empty_list_removes_them(self) -> None:
        self.assertEqual(self.apply({"scenes": [{"name": "night"}], "policies": [{"name": "smart"}]}), ["No changes."])
        self.assertEqual(
            self.apply({"scenes": [{"name": "night", "rules": []}], "policies": [{"name": "smart", "kind_rules": {}}]})[
                0
            ],
            "~ scene night: rules changed",
        )
        self.assertEqual(Policy.objects.get(name="smart").kind_rules.count(), 0)
        self.assertEqual(Scene.objects.get(name="night").rules.count(), 0)

    def test_what_a_policy_by_intent_needs_cannot_be_taken_away(self) -> None:
        in_use = "The scene night is in use by the policy smart. Take it off its list first."
        for document, options, problems in (
            (
                {"routes": [{"name": "everyday", "targets": []}]},
                (),
                [
                    "routes[0].targets: The scene 默认对话 is empty: its route everyday has no targets.",
                    "routes[0].targets: The route everyday has no targets.",
                ],
            ),
            (
                {"routes": [{"name": "cheap", "targets": []}]},
                (),
                [
                    "routes[0].targets: The scene night is empty: its route cheap has no targets.",
                    "routes[0].targets: The cheap route of the policy smart has no targets.",
                ],
            ),
            (
                {"scenes": [{"name": "night", "enabled": False}]},
                (),
                ["scenes[0].enabled: The scene night is not enabled."],
            ),
            (
                {"scenes": [{"name": "默认对话", "enabled": False}]},
                (),
                ["scenes[0].enabled: The default scene must stay enabled."],
            ),
            (
                {"scenes": [{"name": "默认对话", "default": False}]},
                (),
                [
                    "policy smart: Routing by intent needs a default scene, which answers where no other is "
                    "recognised. Make one the default."
                ],
            ),
            (
                {"policies": [{"name": "smart", "scenes": ["night"]}]},
                (),
                [
                    "policies[0].scenes: The default scene 默认对话 must be one of them: it answers where no other is "
                    "recognised."
                ],
            ),
            (
                {"policies": [{"name": "smart", "scenes": ["默认对话"]}]},
                (),
                ["policies[0].kind_rules.title: The scene night is none of those of the policy."],
            ),
            (
                {"policies": [{"name": "smart", "classifier": ["main/*"]}]},
                (),
                ["policies[0].classifier: main/* stands for any model. Choose single models."],
            ),
            (
                {"scenes": [{"name": "night"}]},
                ("--prune",),
                [
                    "scenes: cannot remove scene 默认对话: The default scene cannot be deleted. Make another scene the "
                    "default first."
                ],
            ),
            (
                {"aliases": [], "scenes": [{"name": "默认对话"}], "policies": [{"name": "smart", "kind_rules": {}}]},
                ("--prune",),
                [f"scenes: cannot remove scene night: {in_use}"],
            ),
            (
                {"routes": [{"name": "everyday"}]},
                ("--prune",),
                ["routes: cannot remove route cheap: used by policy smart, scene night"],
            ),
        ):
            with self.subTest(document):
                self.assertEqual(self.refused(document, *options), problems)

    def test_what_is_well_in_the_end_may_be_changed_in_one_file(self) -> None:
        self.apply(
            {
                "scenes": [
                    {"name": "默认对话", "default": False},
                    {"name": "night", "default": True},
                    {"name": "other", "description": "Whatever else there is", "route": "cheap"},
                ],
                "policies": [{"name": "smart", "scenes": ["night", "other"]}],
            }
        )
        self.apply({"scenes": [{"name": "night"}, {"name": "other"}]}, "--prune")
        self.assertEqual([scene.name for scene in Scene.objects.all()], ["night", "other"])
        self.apply(
            {
                "scenes": [{"name": "other", "enabled": False}],
                "policies": [{"name": "smart", "scenes": ["night"]}],
            }
        )
        self.assertFalse(Scene.objects.get(name="other").is_enabled)
        self.apply({"routes": [{"name": "filled-later"}]})
        self.apply(
            {
                "routes": [{"name": "filled-later", "targets": ["big"]}],
                "policies": [{"name": "smart", "cheap_route": "filled-later"}],
            }
        )

    def test_a_mode_may_change_without_losing_the_other_list(self) -> None:
        self.apply({"policies": [{"name": "smart", "mode": "direct", "route": "cheap"}]})
        smart = Policy.objects.get(name="smart")
        self.assertEqual((str(smart.route), smart.scenes.count()), ("cheap", 2))
        self.apply({"policies": [{"name": "smart", "mode": "smart"}]})
        self.assertEqual(
            self.refused({"policies": [{"name": "smart", "mode": "direct", "route": None}]}),
            ["policies[0].route: Choose the route whose targets answer."],
        )

    def test_values_are_refused_at_their_place(self) -> None:
        rule = {
            "weekdays": [0, 7, 7],
            "from": "9:00",
            "until": 900,
            "efforts": ["hihg"],
            "keywords": [""],
            "min_prompt_tokens": -1,
            "has_imgae": True,
            "plan_mode": "yes",
        }
        self.assertEqual(
            self.refused(
                {
                    "scenes": [{"name": "night", "rules": [{}, rule]}],
                    "policies": [
                        {
                            "name": "smart",
                            "min_confidence": 1.1,
                            "stickiness": "sesion",
                            "kind_rules": {"titel": "same", "title": "scene", "probe": "cheapest:x", "main": "x:y"},
                            "session_idle_minutes": 0,
                        }
                    ],
                }
            ),
            [
                "scenes[0].rules[1].weekdays[0]: must be a number from 1 (Monday) to 7 (Sunday)",
                "scenes[0].rules[1].from: must be a time of day like 09:00",
                "scenes[0].rules[1].until: must be a time of day like 09:00",
                "scenes[0].rules[1].efforts[0]: must be one of low, medium, high, xhigh, max; did you mean high?",
                "scenes[0].rules[1].keywords[0]: must not be empty",
                "scenes[0].rules[1].min_prompt_tokens: must be a whole number of at least 0",
                "scenes[0].rules[1].has_imgae: unknown field; did you mean has_image?",
                "scenes[0].rules[1].plan_mode: must be true or false",
                "policies[0].min_confidence: must be a number from 0 to 1",
                "policies[0].stickiness: must be one of turn, session; did you mean session?",
                "policies[0].kind_rules.titel: unknown field; did you mean title?",
                "policies[0].kind_rules.title: must be one of classify, same, cheapest, scene:NAME, route:NAME",
                "policies[0].kind_rules.probe: must be one of classify, same, cheapest, scene:NAME, route:NAME",
                "policies[0].kind_rules.main: must be one of classify, same, cheapest, scene:NAME, route:NAME",
                "policies[0].session_idle_minutes: must be a whole number of at least 1",
            ],
        )

    def test_names_that_are_nowhere_are_refused_at_their_place(self) -> None:
        self.assertEqual(
            self.refused(
                {
                    "policies": [
                        {
                            "name": "smart",
                            "cheap_route": "cheep",
                            "kind_rules": {"title": "scene:nihgt", "probe": "route:x"},
                            "session_idle_minutes": 1441,
                        },
                        {"name": "later", "shadow": "smrt"},
                    ]
                }
            ),
            [
                "policies[0].cheap_route: there is no route cheep; did you mean cheap?",
                "policies[0].kind_rules.title: there is no scene nihgt; did you mean night?",
                "policies[0].kind_rules.probe: there is no route x",
                "policies[1].shadow: there is no policy smrt; did you mean smart?",
            ],
        )
        self.assertEqual(
            self.refused(
                {
                    "policies": [{"name": "smart", "session_idle_minutes": 1441, "cheap_route": "empty"}],
                    "routes": [{"name": "empty"}],
                }
            ),
            [
                "policies[0].session_idle_minutes: Ensure this value is less than or equal to 1440.",
                "policies[0].cheap_route: The route empty has no targets.",
            ],
        )
        self.assertEqual(
            self.refused({"policies": [{"name": "smart", "shadow": "smart"}]}),
            ["policies[0].shadow: A policy cannot be its own shadow. Choose another one."],
        )

    def test_half_a_span_and_turned_bounds_are_refused(self) -> None:
        for rule in ({"from": "09:00"}, {"min_prompt_tokens": 2, "max_prompt_tokens": 1}):
            [problem] = self.refused({"scenes": [{"name": "night", "rules": [rule]}]})
            self.assertTrue(problem.startswith("scenes[0].rules[0]"), problem)

    def test_texts_of_scenes_are_measured_in_characters(self) -> None:
        for values, problem in (
            ({"name": "码"}, "scenes[0].name: Ensure this value has at least 2 characters (it has 1)."),
            ({"name": "n" * 51}, "scenes[0].name: Ensure this value has at most 50 characters (it has 51)."),
            (
                {"description": "只有九个字的描述。"},
                "scenes[0].description: Ensure this value has at least 10 characters (it has 9).",
            ),
            ({"description": "  \u3000  " * 5}, "scenes[0].description: must not be empty"),
            (
                {"description": "d" * 501},
                "scenes[0].description: Ensure this value has at most 500 characters (it has 501).",
            ),
        ):
            scene = {"name": "写作", "description": "写作或润色各种文档与邮件", "route": "cheap"}
            self.assertEqual(self.refused({"scenes": [scene | values]}), [problem])
        self.apply({"scenes": [{"name": "写作", "description": " 写作或润色各种文档与邮件 ", "route": "cheap"}]})
        self.assertEqual(Scene.objects.get(name="写作").description, "写作或润色各种文档与邮件")
