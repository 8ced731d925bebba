"""Passing calls through and forwarding credentials, as a configuration file says it."""

import yaml

from providers.models import Provider
from routing.models import Policy
from tests.gateway.config_files import ConfigCase
from tests.gateway.test_config_export import exported

GOOD = """
version: 1
providers:
  - name: claude
    kind: anthropic_compatible
    forward_client_credential: true
    flags: {native_betas: false, native_system: fold}
    models: [{id: "*"}, {id: claude-opus-5-5}]
  - {name: up, kind: openai_compatible, models: [{id: a}]}
  - {name: qwen, kind: dashscope, wire_format: anthropic, models: [{id: qwen3-max}]}
routes: [{name: servers, targets: ["claude/*", qwen/qwen3-max]}, {name: other, targets: [up/a]}]
policies: [{name: through, default: true, mode: passthrough, route: servers}]
"""


class PassthroughFileTests(ConfigCase):
    def test_it_is_applied_and_exported(self) -> None:
        self.apply(GOOD)
        assert Provider.objects.get(name="claude").forwards_client_credential
        assert Policy.objects.get().mode == "passthrough"
        text = exported()
        document = yaml.safe_load(text)
        assert document["providers"][0]["forward_client_credential"] is True
        assert "forward_client_credential" not in document["providers"][1]
        assert document["routes"][1]["targets"] == ["claude/*", "qwen/qwen3-max"]
        assert self.apply(text) == ["No changes."]

    def test_a_policy_names_a_target_of_another_wire(self) -> None:
        assert self.refused(GOOD.replace("route: servers", "route: other")) == [
            "policies[0].route: Calls can be passed through to Anthropic-compatible servers only, not to up/a."
        ]

    def test_a_route_and_a_provider_below_a_policy_are_checked_too(self) -> None:
        self.apply(GOOD)
        said = "up/a is no Anthropic-compatible server, and the policy through passes calls through."
        assert self.refused("version: 1\nroutes: [{name: servers, targets: [up/a]}]") == [f"routes[0].targets: {said}"]
        changed = "version: 1\nproviders: [{name: qwen, wire_format: openai}]"
        assert self.refused(changed) == [f"providers[0].wire_format: {said.replace('up/a', 'qwen/qwen3-max')}"]
        # What is well in the end may pass through a state that is not.
        both = "version: 1\nroutes: [{name: servers, targets: [up/a]}]\npolicies: [{name: through, mode: direct}]"
        assert self.apply(both)

    def test_only_the_anthropic_wire_forwards_a_credential(self) -> None:
        text = "version: 1\nproviders: [{name: up, kind: openai_compatible, forward_client_credential: true}]"
        assert self.refused(text) == [
            "providers[0].forward_client_credential: Only a provider of the wire format Anthropic Messages can get the "
            "client's own credential."
        ]
        assert self.apply(text.replace("openai_compatible", "dashscope, wire_format: anthropic"))

    def test_a_reference_model_is_one_model(self) -> None:
        text = GOOD.replace("route: servers}", 'route: servers, reference_model: "claude/*"}')
        assert self.refused(text) == [
            "policies[0].reference_model: Choose one model: * stands for any, and has no price."
        ]

    def test_a_safety_classifier_is_one_model(self) -> None:
        assert self.refused(GOOD + '\nsettings: {safety_model: "claude/*"}\n') == [
            "settings.safety_model: Choose one model: * stands for any."
        ]

    def test_flags_of_the_messages_endpoint_are_checked(self) -> None:
        text = GOOD.replace("native_betas: false", "native_betas: maybe")
        assert self.refused(text) == ["providers[0].flags.native_betas: must be true or false"]
