"""Models named by their id alone, where one provider has it."""

import yaml

from routing.models import ModelAlias, Policy, Route
from tests.gateway.config_files import ConfigCase
from tests.gateway.test_config_export import exported


class BareNameTest(ConfigCase):
    PROVIDERS = """
version: 1
providers:
  - {name: router, kind: openrouter, models: [{id: qwen/qwen3-coder}, {id: shared}, {id: big}]}
  - {name: qwen, kind: ollama, models: [{id: "qwen2.5:7b"}, {id: shared}, {id: 12:34}, {id: "route:odd"}]}
"""

    def test_an_id_that_one_provider_has_is_name_enough(self) -> None:
        text = (
            self.PROVIDERS
            + """
routes: [{name: all, targets: [big, "qwen2.5:7b", {target: qwen/qwen3-coder, weight: 2}, 12:34]}]
aliases: [{pattern: a, target: "qwen2.5:7b"}, {pattern: b, target: "qwen/route:odd"}]
policies: [{name: p, route: all, reference_model: big, classifier: ["qwen2.5:7b", router/big]}]
settings: {safety_model: big}
"""
        )
        self.apply(text)
        self.assertEqual(
            [str(entry) for entry in Route.objects.get().entries.all()],
            ["router/big", "qwen/qwen2.5:7b", "router/qwen/qwen3-coder", "qwen/12:34"],
        )
        self.assertEqual(
            [str(alias.model) for alias in ModelAlias.objects.all()], ["qwen/qwen2.5:7b", "qwen/route:odd"]
        )
        policy = Policy.objects.get()
        self.assertEqual(str(policy.reference_model), "router/big")
        self.assertEqual([str(entry) for entry in policy.classifier_entries.all()], ["qwen/qwen2.5:7b", "router/big"])
        self.assertEqual(self.apply(text), ["No changes."])
        document = yaml.safe_load(exported())
        self.assertEqual(document["routes"][0]["targets"][2], {"target": "router/qwen/qwen3-coder", "weight": 2})
        self.assertEqual(document["settings"]["safety_model"], "router/big")

    def test_a_name_written_out_comes_before_an_id(self) -> None:
        # qwen/qwen3-coder is an id of router, and then also a model of qwen.
        self.apply(self.PROVIDERS + "routes: [{name: a, targets: [qwen/qwen3-coder]}]")
        self.apply({"providers": [{"name": "qwen", "models": [{"id": "qwen3-coder"}]}]})
        printed = self.apply({"routes": [{"name": "a", "targets": ["qwen/qwen3-coder"]}]})
        self.assertEqual(printed, ["~ route a: targets router/qwen/qwen3-coder -> qwen/qwen3-coder"])

    def test_an_id_of_several_providers_is_refused_with_their_names(self) -> None:
        self.assertEqual(
            self.refused(self.PROVIDERS + 'routes: [{name: a, targets: [shared, "qwen2.5:7", big, router/big]}]'),
            [
                "routes[0].targets[0]: shared is offered by several providers; write one of qwen/shared, router/shared",
                "routes[0].targets[1]: there is no model qwen2.5:7; did you mean qwen2.5:7b?",
                "routes[0].targets[3]: router/big is named twice",
            ],
        )

    def test_the_id_of_a_refused_model_raises_no_second_problem(self) -> None:
        self.assertEqual(
            self.refused(
                {
                    "providers": [{"name": "x", "kind": "openrouter", "models": [{"id": "big", "context_window": 0}]}],
                    "routes": [{"name": "a", "targets": ["big"]}],
                }
            ),
            ["providers[0].models[0].context_window: must be a whole number of at least 1"],
        )
