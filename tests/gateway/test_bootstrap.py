"""What an empty installation gets from `bootstrap`, and that a second start changes nothing."""

import io
import re
from typing import Any

import httpx
from django.conf import settings
from django.core.management import call_command
from django.test import TestCase, override_settings

from accounts import keys
from accounts.models import ApiKey, User
from gateway.bootstrap import bootstrap
from providers.models import Model, Price, Provider
from routing import policy_rules
from routing.models import Policy, Route, Scene

NOTHING: dict[str, dict[str, str]] = {
    "superuser": {"username": "admin", "password": "", "email": ""},
    **{
        kind: {"api_key": "", "base_url": ""}
        for kind in (
            "dashscope",
            "openrouter",
            "siliconflow",
            "openai_compatible",
            "anthropic_compatible",
            "ollama",
            "lmstudio",
        )
    },
}


# The hosts that were asked, in order.
asked: list[str] = []


def answer(request: httpx.Request) -> httpx.Response:
    """Play OpenRouter's list of models (the shape of its API reference, 2026-05); every other host is away."""
    asked.append(request.url.host)
    if request.url.host != "openrouter.ai":
        raise httpx.ConnectError("refused", request=request)
    models = [
        {
            "id": name,
            "name": name,
            "context_length": 262144,
            "supported_parameters": ["tools"],
            "architecture": {"input_modalities": ["text"], "output_modalities": ["text"]},
        }
        for name in ("a/first", "qwen/qwen3-coder")
    ]
    return httpx.Response(200, json={"data": models})


class BootstrapTest(TestCase):
    def run_with(self, demo_port: int | None = None, **environment: dict[str, str]) -> list[str]:
        """Run bootstrap with the given part of `settings.BOOTSTRAP` and return the lines it says."""
        lines: list[str] = []
        transport = httpx.MockTransport(answer)
        with override_settings(BOOTSTRAP={**NOTHING, **environment}):
            bootstrap(lines.append, demo_port=demo_port, transport=transport)
        return lines

    def test_the_settings_have_what_bootstrap_reads(self) -> None:
        self.assertEqual(set(settings.BOOTSTRAP), set(NOTHING))

    def test_an_administrator_is_made_with_a_password_that_must_be_changed(self) -> None:
        text = "\n".join(self.run_with())
        admin = User.objects.get()
        found = re.search(r"user admin, password (\S+)", text)
        assert found is not None
        self.assertTrue(admin.check_password(found[1]))
        self.assertEqual((admin.is_superuser, admin.is_staff, admin.must_change_password), (True, True, True))

    def test_a_password_of_the_environment_is_neither_shown_nor_to_be_changed(self) -> None:
        wanted = {"username": "root", "password": "given-by-the-operator", "email": "root@example.com"}
        text = "\n".join(self.run_with(superuser=wanted))
        root = User.objects.get(username="root")
        self.assertTrue(root.check_password("given-by-the-operator"))
        self.assertEqual((root.email, root.must_change_password), ("root@example.com", False))
        self.assertNotIn("given-by-the-operator", text)

    def test_the_first_key_is_shown_once_and_works(self) -> None:
        text = "\n".join(self.run_with())
        [secret] = re.findall(r"wg_[A-Za-z0-9_-]{43}", text)
        key = ApiKey.objects.get()
        self.assertEqual((str(key), key.digest), ("admin/first", keys.digest(secret)))
        self.assertNotIn("wg_", "\n".join(self.run_with()))

    def test_a_provider_of_the_environment_is_set_up_with_its_models_and_answers_calls(self) -> None:
        text = "\n".join(self.run_with(openrouter={"api_key": "sk-or-0123456789", "base_url": ""}))
        provider = Provider.objects.get()
        self.assertEqual((provider.name, provider.kind), ("openrouter", "openrouter"))
        self.assertEqual([row.secret() for row in provider.credentials.all()], ["sk-or-0123456789"])
        self.assertEqual(Model.objects.count(), 2)
        policy = Policy.objects.get(is_default=True)
        assert policy.route is not None
        # The preferred one, not the first of the list.
        self.assertEqual([str(entry) for entry in policy.route.entries.all()], ["openrouter/qwen/qwen3-coder"])
        self.assertNotIn("sk-or-0123456789", text)

    def test_a_second_start_says_nothing_asks_nobody_and_changes_nothing(self) -> None:
        openrouter = {"api_key": "sk-or-0123456789", "base_url": ""}
        self.run_with(openrouter=openrouter)
        Provider.objects.update(base_url="http://chosen.example/v1")
        asked.clear()
        self.assertEqual(self.run_with(openrouter=openrouter), [])
        # Only whether a local platform has been started meanwhile.
        self.assertEqual(set(asked), {"127.0.0.1"})
        self.assertEqual(Provider.objects.get().base_url, "http://chosen.example/v1")

    def test_a_provider_that_does_not_answer_stops_nobody(self) -> None:
        lines = self.run_with(
            dashscope={"api_key": "sk-dash-0123456789", "base_url": ""},
            openrouter={"api_key": "sk-or-0123456789", "base_url": ""},
        )
        text = "\n".join(lines)
        self.assertIn("Provider dashscope: its list of models could not be read", text)
        self.assertIn("Provider openrouter: 2 models found.", text)
        self.assertEqual(Provider.objects.count(), 2)

    def test_a_local_platform_is_set_up_when_it_answers(self) -> None:
        def local(request: httpx.Request) -> httpx.Response:
            replies: dict[str, Any] = {
                "/api/version": {"version": "0.14.0"},
                "/api/tags": {"models": [{"name": "qwen3:8b", "model": "qwen3:8b"}]},
            }
            if request.url.port == 11434 and request.url.path in replies:
                return httpx.Response(200, json=replies[request.url.path])
            return httpx.Response(404, json={"error": "not found"})

        lines: list[str] = []
        with override_settings(BOOTSTRAP=NOTHING):
            bootstrap(lines.append, transport=httpx.MockTransport(local))
        self.assertEqual([str(model) for model in Model.objects.all()], ["ollama/qwen3:8b"])

    def test_without_any_platform_there_is_a_policy_whose_route_waits_to_be_filled(self) -> None:
        self.run_with()
        policy = Policy.objects.get(is_default=True)
        self.assertEqual((policy.mode, str(policy.route)), ("direct", "default"))
        self.assertEqual(Route.objects.get().entries.count(), 0)
        self.run_with(openrouter={"api_key": "sk-or-0123456789", "base_url": ""})
        self.assertEqual(Route.objects.get().entries.count(), 1)

    def test_the_default_scene_works_as_soon_as_there_is_a_platform(self) -> None:
        self.run_with()
        scene = Scene.objects.get()
        self.assertEqual((scene.name, scene.is_default, str(scene.route)), ("General", True, "default"))
        smart = Policy(name="smart", mode="smart")
        smart.full_clean()
        self.assertEqual(
            [error.code for error in policy_rules.faults_of_policy("smart", scenes=[])["scenes"]], ["empty_scene"]
        )
        self.run_with(openrouter={"api_key": "sk-or-0123456789", "base_url": ""})
        self.assertEqual(policy_rules.faults_of_policy("smart", scenes=[]), {})
        self.assertEqual(Policy.objects.get().mode, "direct")

    def test_scenes_of_the_administrator_are_left_alone(self) -> None:
        route = Route.objects.create(name="mine")
        Scene.objects.create(name="mine", description="What I want it to be.", route=route)
        self.run_with()
        self.assertEqual([scene.name for scene in Scene.objects.all()], ["mine"])

    def test_a_default_policy_of_the_administrator_is_left_alone(self) -> None:
        route = Route.objects.create(name="mine")
        Policy.objects.create(name="mine", route=route, is_default=True)
        self.run_with(openrouter={"api_key": "sk-or-0123456789", "base_url": ""})
        self.assertEqual((Policy.objects.get().name, route.entries.count()), ("mine", 0))

    def test_the_demo_is_free_and_follows_its_port(self) -> None:
        self.run_with(demo_port=4001)
        provider = Provider.objects.get()
        self.assertEqual((provider.name, provider.base_url), ("demo", "http://127.0.0.1:4001/v1"))
        provider.full_clean()
        price = Price.objects.get()
        self.assertEqual((price.input_per_million, price.output_per_million), (0, 0))
        self.assertEqual(str(Route.objects.get().entries.get()), "demo/smollm2-135m-instruct")
        self.run_with(demo_port=4002)
        self.assertEqual(Provider.objects.get().base_url, "http://127.0.0.1:4002/v1")
        self.assertEqual(Price.objects.count(), 1)

    def test_the_command_prints_what_is_said(self) -> None:
        output = io.StringIO()
        with override_settings(
            BOOTSTRAP={
                **NOTHING,
                "ollama": {"base_url": "http://127.0.0.1:1"},
                "lmstudio": {"base_url": "http://127.0.0.1:1"},
            }
        ):
            call_command("bootstrap", stdout=output)
        self.assertIn("admin/first", output.getvalue())

    def test_a_private_address_of_the_environment_is_meant(self) -> None:
        self.run_with(openai_compatible={"api_key": "sk-0123456789", "base_url": "http://127.0.0.1:9/v1"})
        self.assertTrue(Provider.objects.get(name="openai").allow_private_network)

    def test_a_wrong_address_stops_nobody(self) -> None:
        text = "\n".join(self.run_with(openai_compatible={"api_key": "sk-0123456789", "base_url": "nonsense"}))
        self.assertIn("Provider openai cannot be set up: ", text)
        self.assertIn("admin/first", text)

    def test_nobody_becomes_administrator_by_having_the_name(self) -> None:
        User.objects.create(username="admin")
        text = "\n".join(self.run_with())
        self.assertIn("the name admin is taken", text)
        self.assertFalse(User.objects.get().is_superuser)
        self.assertEqual(ApiKey.objects.count(), 0)
