"""The first file of a fresh installation, which begins with a policy and a scene that wait for models."""

from routing.models import Policy, Route, Scene
from routing.offered import first_scene
from tests.gateway.config_files import ConfigCase, provider


class FreshInstallationTest(ConfigCase):
    def setUp(self) -> None:
        super().setUp()
        route = Route.objects.create(name="default")
        Policy.objects.create(name="default", route=route, is_default=True)
        first_scene("en")

    def targets(self) -> list[str]:
        return [str(entry) for entry in Route.objects.get(name="default").entries.all()]

    def test_a_file_with_a_provider_alone_makes_it_work(self) -> None:
        document = {"providers": [provider()]}
        self.assertIn("~ route default: targets none -> main/big", self.apply(document))
        self.assertEqual(self.targets(), ["main/big"])
        self.assertEqual(self.apply(document), ["No changes."])
        self.apply({"policies": [{"name": "default", "mode": "smart"}]})
        self.assertEqual(Policy.objects.get().mode, "smart")

    def test_a_file_that_names_the_route_decides_itself(self) -> None:
        self.apply({"providers": [provider()], "routes": [{"name": "default"}]})
        self.assertEqual(self.targets(), [])

    def test_models_that_were_there_before_are_not_put_into_the_route(self) -> None:
        self.apply({"providers": [provider()], "routes": [{"name": "default"}]})
        self.apply({"providers": [provider(enabled=True, max_concurrency=3)]})
        self.assertEqual(self.targets(), [])

    def test_the_scene_gives_way_to_a_default_scene_of_the_file(self) -> None:
        document = {
            "providers": [provider()],
            "routes": [{"name": "everyday", "targets": ["big"]}, {"name": "default"}],
            "scenes": [{"name": "mine", "description": "What I want it to be.", "route": "everyday", "default": True}],
            "policies": [{"name": "default", "mode": "smart"}],
        }
        self.assertIn("- scene General: the file has a default scene of its own", self.apply(document))
        self.assertEqual([scene.name for scene in Scene.objects.all()], ["mine"])
        self.assertEqual(self.apply(document), ["No changes."])

    def test_a_scene_that_somebody_changed_or_uses_stays(self) -> None:
        document = {
            "scenes": [{"name": "mine", "description": "What I want it to be.", "route": "default", "default": True}]
        }
        self.apply({"aliases": [{"pattern": "general", "target": "scene:General"}]})
        self.assertIn("~ scene General: default true -> false", self.apply(document))
        Scene.objects.filter(name="mine").update(is_default=False)
        Scene.objects.filter(name="General").update(is_default=True, description="My own words for it.")
        self.apply({"aliases": []}, "--prune")
        self.assertIn("~ scene General: default true -> false", self.apply(document))
        self.assertEqual(Scene.objects.count(), 2)
