"""Credentials of platforms: written in a form, encrypted, never rendered again. And what the actions report."""

import http.server
import json
import threading
from typing import Any

from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import Permission
from django.urls import reverse

from accounts.models import User
from providers.models import Credential, Model, Provider
from routing.models import RuntimeSettings
from tests.admin.pages import AdminTestCase, row_url

SECRET = "sk-very-secret-0123456789-wxyz"


class SecretTestCase(AdminTestCase):
    def provider_form(self, provider: Provider | None = None, **fields: Any) -> dict[str, Any]:
        initial = provider.credentials.count() if provider else 0
        return {
            "name": "main",
            "kind": "openai_compatible",
            "base_url": "https://example.com/v1",
            "flags": "{}",
            "extra_headers": "{}",
            "is_enabled": "on",
            "credentials-TOTAL_FORMS": str(max(initial, 1)),
            "credentials-INITIAL_FORMS": str(initial),
            "credentials-0-name": "default",
            "credentials-0-position": "0",
            "credentials-0-is_enabled": "on",
            **fields,
        }

    def make_provider(self) -> tuple[Provider, Credential]:
        provider = Provider.objects.create(name="main", kind="openai_compatible", base_url="https://example.com/v1")
        credential = Credential(provider=provider)
        credential.set_secret(SECRET)
        credential.save()
        return provider, credential


class Lookers(SecretTestCase):
    def test_one_who_may_only_look_is_not_shown_what_decrypts(self) -> None:
        provider, credential = self.make_provider()
        row = RuntimeSettings(pk=1, search_kind="tavily", search_url="https://api.tavily.com")
        row.set_search_secret(SECRET)
        row.save()
        viewer = User.objects.create_user("viewer", is_staff=True)
        viewer.user_permissions.add(*Permission.objects.filter(codename__startswith="view_"))
        self.client.force_login(viewer)
        for shown in (provider, credential, row):
            with self.subTest(shown=shown):
                page = self.client.get(row_url(shown))
                self.assertEqual(page.status_code, 200)
                self.assertNotContains(page, SECRET)
                self.assertContains(page, "…wxyz")


class ProviderPage(SecretTestCase):
    def test_a_provider_is_created_with_an_encrypted_credential(self) -> None:
        data = self.provider_form(**{"credentials-0-secret": SECRET})
        response = self.client.post(reverse("admin:providers_provider_add"), data)
        self.assertEqual(response.status_code, 302)
        credential = Credential.objects.get()
        self.assertEqual(credential.secret(), SECRET)
        self.assertNotIn(SECRET, credential.encrypted_secret)
        self.assertEqual(credential.last_four, "wxyz")

    def test_no_page_shows_the_secret_or_its_encrypted_form(self) -> None:
        provider, credential = self.make_provider()
        for url in (
            reverse("admin:providers_provider_change", args=(provider.pk,)),
            reverse("admin:providers_provider_changelist"),
            reverse("admin:providers_credential_change", args=(credential.pk,)),
            reverse("admin:providers_credential_changelist"),
            reverse("admin:providers_credential_history", args=(credential.pk,)),
            reverse("admin:providers_provider_delete", args=(provider.pk,)),
        ):
            with self.subTest(url=url):
                response = self.client.get(url)
                self.assertEqual(response.status_code, 200)
                self.assertNotContains(response, SECRET)
                self.assertNotContains(response, SECRET[:-4])
                self.assertNotContains(response, credential.encrypted_secret)
        self.assertContains(self.client.get(reverse("admin:providers_credential_changelist")), "…wxyz")

    def test_an_empty_field_leaves_the_secret_and_another_value_replaces_it(self) -> None:
        provider, credential = self.make_provider()
        url = reverse("admin:providers_provider_change", args=(provider.pk,))
        row = {"credentials-0-id": credential.pk, "credentials-0-provider": provider.pk}
        renamed = {**row, "credentials-0-name": "renamed", "credentials-0-secret": ""}
        self.assertEqual(self.client.post(url, self.provider_form(provider, **renamed)).status_code, 302)
        credential.refresh_from_db()
        self.assertEqual((credential.name, credential.secret()), ("renamed", SECRET))
        replaced = {**row, "credentials-0-secret": "sk-another-secret-abcd"}
        self.assertEqual(self.client.post(url, self.provider_form(provider, **replaced)).status_code, 302)
        credential.refresh_from_db()
        self.assertEqual((credential.secret(), credential.last_four), ("sk-another-secret-abcd", "abcd"))
        self.assertFalse(LogEntry.objects.filter(change_message__contains="secret-abcd").exists())

    def test_a_form_with_an_error_elsewhere_does_not_render_the_secret_back(self) -> None:
        data = self.provider_form(**{"name": "not a name", "credentials-0-secret": SECRET})
        response = self.client.post(reverse("admin:providers_provider_add"), data)
        self.assertEqual(response.status_code, 200)
        self.assertNotContains(response, SECRET)

    def test_secrets_that_no_header_can_carry_are_refused(self) -> None:
        add = reverse("admin:providers_credential_add")
        provider, credential = self.make_provider()
        data = {"provider": provider.pk, "name": "second", "position": "1", "is_enabled": "on"}
        for secret in ("", "with space", "zeile\nzwei", "密钥", "tab\tbed"):
            with self.subTest(secret=secret):
                self.assertEqual(self.client.post(add, {**data, "secret": secret}).status_code, 200)
        self.assertEqual(list(Credential.objects.all()), [credential])
        self.assertEqual(self.client.post(add, {**data, "secret": "sk-fine"}).status_code, 302)

    def test_a_credential_can_be_removed(self) -> None:
        provider, credential = self.make_provider()
        url = reverse("admin:providers_credential_delete", args=(credential.pk,))
        self.assertEqual(self.client.post(url, {"post": "yes"}).status_code, 302)
        self.assertFalse(provider.credentials.exists())


class _Platform(http.server.BaseHTTPRequestHandler):
    """A platform with one model that answers in one word; without the right key it answers 401."""

    def _answer(self, status: int, payload: dict[str, Any]) -> None:
        body = json.dumps(payload).encode()
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def _is_allowed(self) -> bool:
        if self.headers.get("authorization") == f"Bearer {SECRET}":
            return True
        self._answer(401, {"error": {"message": "<b>no such key</b>", "type": "invalid_request_error"}})
        return False

    def do_GET(self) -> None:
        if self._is_allowed():
            self._answer(200, {"object": "list", "data": [{"id": "big", "object": "model"}]})

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers.get("content-length") or 0))
        if self._is_allowed():
            message = {"role": "assistant", "content": "ok"}
            choice = {"index": 0, "message": message, "finish_reason": "stop"}
            self._answer(200, {"object": "chat.completion", "model": "big", "choices": [choice]})

    def log_message(self, *_args: Any) -> None:
        """Say nothing."""


class Actions(SecretTestCase):
    def setUp(self) -> None:
        super().setUp()
        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Platform)
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        self.addCleanup(thread.join)
        self.addCleanup(server.server_close)
        self.addCleanup(server.shutdown)
        self.base_url = f"http://127.0.0.1:{server.server_address[1]}/v1"

    def make(self, name: str, base_url: str, secret: str) -> Provider:
        provider = Provider.objects.create(
            name=name, kind="openai_compatible", base_url=base_url, allow_private_network=True
        )
        credential = Credential(provider=provider)
        credential.set_secret(secret)
        credential.save()
        return provider

    def run_action(self, action: str) -> list[tuple[str, str]]:
        data = {"action": action, "_selected_action": list(Provider.objects.values_list("pk", flat=True))}
        response = self.client.post(reverse("admin:providers_provider_changelist"), data, follow=True)
        self.assertNotContains(response, SECRET)
        self.assertNotContains(response, "<b>no such key</b>")
        return [(message.level_tag, str(message)) for message in response.context["messages"]]

    def test_the_connection_test_reports_each_provider_and_one_that_fails_does_not_stop_the_others(self) -> None:
        self.make("a-refused", "http://127.0.0.1:9/v1", SECRET)
        self.make("b-wrong-key", self.base_url, "sk-wrong-0123456789")
        good = self.make("c-good", self.base_url, SECRET)
        reports = self.run_action("test_connection")
        self.assertEqual([level for level, _text in reports], ["error", "error", "success"])
        for (_level, text), name in zip(reports, ("a-refused", "b-wrong-key", "c-good"), strict=True):
            self.assertIn(name, text)
        good.refresh_from_db()
        self.assertIsNotNone(good.checked_at)
        self.assertTrue(good.check_result)

    def test_the_chat_test_asks_the_first_model_for_a_word(self) -> None:
        self.make("a-without-models", self.base_url, SECRET)
        good = self.make("b-good", self.base_url, SECRET)
        Model.objects.create(provider=good, model_id="big")
        reports = self.run_action("test_chat")
        self.assertEqual([level for level, _text in reports], ["error", "success"])
        self.assertIn("no enabled model", reports[0][1])
        self.assertIn("big answers", reports[1][1])

    def test_the_page_of_a_provider_has_the_buttons(self) -> None:
        provider = self.make("main", self.base_url, SECRET)
        url = reverse("admin:providers_provider_change", args=(provider.pk,))
        page = self.client.get(url)
        self.assertContains(page, f'name="_selected_action" value="{provider.pk}">Test the connection</button>')
        self.assertContains(page, f'name="_selected_action" value="{provider.pk}">Refresh the list of models</button>')
        self.assertNotContains(self.client.get(reverse("admin:providers_provider_add")), "Test the connection")

    def test_the_refresh_reports_each_provider_and_adds_models(self) -> None:
        self.make("a-refused", "http://127.0.0.1:9/v1", SECRET)
        good = self.make("b-good", self.base_url, SECRET)
        reports = self.run_action("refresh_models")
        self.assertEqual([level for level, _text in reports], ["error", "success"])
        self.assertIn("a-refused", reports[0][1])
        self.assertEqual(list(Model.objects.values_list("provider", "model_id")), [(good.pk, "big")])
