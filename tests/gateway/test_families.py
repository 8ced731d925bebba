"""What haiku, sonnet, opus and every other Claude mean, said by one command."""

import io

from django.core.management import CommandError, call_command

from routing import snapshot
from routing.intent.facts import Facts
from routing.meaning import meaning_of
from routing.models import ModelAlias, Policy, Route, Scene
from tests.gateway.config_files import ConfigCase, provider


class FamiliesTest(ConfigCase):
    def setUp(self) -> None:
        super().setUp()
        self.apply(
            {
                "providers": [provider(models=[{"id": "big"}, {"id": "small"}, {"id": "qwen2.5:7b"}])],
                "routes": [{"name": "everyday", "targets": ["big"]}],
                "scenes": [{"name": "代码修改", "description": "修改已有的代码、修复缺陷", "route": "everyday"}],
                "policies": [{"name": "default", "default": True, "route": "everyday"}],
            }
        )

    def map(self, *arguments: str) -> list[str]:
        output = io.StringIO()
        call_command("map_families", *arguments, stdout=output)
        return output.getvalue().splitlines()

    def meaning(self, name: str) -> tuple[str, ...]:
        """Return the alias and the targets that a name means."""
        current = snapshot.load()
        meaning = meaning_of(current, current.default_policy, Facts(name))
        return meaning.reason, *meaning.route.target_names

    def test_each_family_is_mapped_to_a_model_a_route_or_a_scene(self) -> None:
        self.map("--haiku", "qwen2.5:7b", "--sonnet", "route:everyday", "--opus", "scene:代码修改", "--other", "small")
        self.assertEqual(
            {alias.pattern: str(alias.model or alias.route or alias.scene) for alias in ModelAlias.objects.all()},
            {
                "claude-*haiku*": "main/qwen2.5:7b",
                "claude-*sonnet*": "everyday",
                "claude-*opus*": "代码修改",
                "claude-*": "main/small",
            },
        )
        for name, pattern, target in (
            ("claude-haiku-5-5", "claude-*haiku*", "main/qwen2.5:7b"),
            ("claude-3-5-haiku-20241022", "claude-*haiku*", "main/qwen2.5:7b"),
            ("claude-sonnet-5-5[1m]", "claude-*sonnet*", "main/big"),
            ("claude-opus-5-5", "claude-*opus*", "main/big"),
            ("claude-fable-5-2", "claude-*", "main/small"),
        ):
            self.assertEqual(self.meaning(name), (f"alias {pattern}", target), name)
        self.assertEqual(self.meaning("gpt-5"), ("policy default", "main/big"))

    def test_the_rest_is_asked_last_whatever_came_first(self) -> None:
        self.map("--other", "small")
        self.map("--haiku", "big")
        ModelAlias.objects.create(pattern="claude-haiku-3", route=Route.objects.get(), position=9)
        self.assertEqual(self.meaning("claude-haiku-3")[0], "alias claude-haiku-3")
        self.assertEqual(self.meaning("claude-haiku-4")[0], "alias claude-*haiku*")
        self.assertEqual(self.meaning("claude-next")[0], "alias claude-*")

    def test_a_second_run_changes_what_is_named_and_nothing_else(self) -> None:
        arguments = ("--haiku", "small", "--opus", "big")
        self.assertEqual(self.map(*arguments), ["+ alias claude-*haiku*", "+ alias claude-*opus*"])
        self.assertEqual(self.map(*arguments), ["No changes."])
        self.assertEqual(
            self.map("--opus", "small", "--dry-run"), ["~ alias claude-*opus*: target main/big -> main/small"]
        )
        self.assertEqual(self.map("--opus", "small"), ["~ alias claude-*opus*: target main/big -> main/small"])
        self.assertEqual(ModelAlias.objects.count(), 2)

    def test_what_is_wrong_is_said_with_the_family(self) -> None:
        with self.assertRaises(CommandError) as caught:
            self.map("--haiku", "smal", "--other", "scene:none", "--opus", "big")
        self.assertEqual(
            str(caught.exception).splitlines(),
            ["--haiku: there is no model smal; did you mean small?", "--other: there is no scene none"],
        )
        self.assertEqual(ModelAlias.objects.count(), 0)
        with self.assertRaisesMessage(CommandError, "at least one family"):
            self.map()
        self.assertEqual((Policy.objects.count(), Scene.objects.count()), (1, 1))
