"""The search backend in configuration files: applied, kept, removed, exported without its secret."""

import os
from typing import Any
from unittest import mock

import yaml
from django.core.management import call_command
from django.test import override_settings

from providers.encryption import Undecryptable
from routing import snapshot
from routing.models import RuntimeSettings
from tests.gateway.config_files import ConfigCase
from tests.gateway.test_config_export import NEW_KEY, OLD_KEY, exported

SECRET = "tvly-0123456789abcdef"
TAVILY = {"kind": "tavily", "url": "https://api.tavily.com", "secret": SECRET}


def settings(search: Any, **more: Any) -> dict[str, Any]:
    return {"settings": {"search": search, **more}}


class SearchTest(ConfigCase):
    def test_a_backend_is_applied_once_and_reaches_the_snapshot(self) -> None:
        self.assertEqual(
            self.apply(settings(TAVILY)),
            ['~ settings: search.kind "" -> tavily; search.url "" -> https://api.tavily.com; search.secret changed'],
        )
        self.assertEqual(self.apply(settings(TAVILY)), ["No changes."])
        row = RuntimeSettings.objects.get()
        self.assertEqual((row.search_secret(), row.search_secret_last_four), (SECRET, "cdef"))
        backend = snapshot.load().settings.search
        assert backend is not None
        self.assertEqual((backend.kind, backend.url, backend.secret), ("tavily", "https://api.tavily.com", SECRET))

    def test_the_secret_may_come_from_the_environment(self) -> None:
        search = {"kind": "tavily", "url": "https://api.tavily.com", "secret_env": "TEST_SEARCH_KEY"}
        with mock.patch.dict(os.environ, {"TEST_SEARCH_KEY": SECRET}):
            self.apply(settings(search))
        self.assertEqual(RuntimeSettings.objects.get().search_secret(), SECRET)
        self.assertEqual(
            self.refused(settings(search)),
            ["settings.search.secret_env: TEST_SEARCH_KEY is not set in the environment"],
        )

    def test_without_a_secret_the_stored_one_is_kept_and_null_removes_it(self) -> None:
        self.apply(settings(TAVILY))
        kept = {"kind": "tavily", "url": "https://other.example"}
        self.assertEqual(
            self.apply(settings(kept)), ["~ settings: search.url https://api.tavily.com -> https://other.example"]
        )
        self.assertEqual(RuntimeSettings.objects.get().search_secret(), SECRET)
        self.assertEqual(self.apply(settings({**kept, "secret": None})), ["~ settings: search.secret changed"])
        self.assertEqual(RuntimeSettings.objects.get().encrypted_search_secret, "")

    def test_null_removes_the_backend(self) -> None:
        self.apply(settings(TAVILY))
        self.apply({"settings": {"ping_interval_s": 20}})
        self.assertIsNotNone(snapshot.load().settings.search)
        self.apply(settings(None))
        row = RuntimeSettings.objects.get()
        self.assertEqual((row.search_kind, row.search_url, row.encrypted_search_secret), ("", "", ""))
        self.assertIsNone(snapshot.load().settings.search)
        self.assertEqual(self.apply(settings(None)), ["No changes."])

    def test_an_export_holds_no_secret_and_changes_nothing(self) -> None:
        self.apply(settings(TAVILY))
        text = exported()
        self.assertEqual(
            yaml.safe_load(text)["settings"]["search"], {"kind": "tavily", "url": "https://api.tavily.com"}
        )
        self.assertNotIn(SECRET, text)
        self.assertEqual(self.apply(text), ["No changes."])
        self.apply(settings(None))
        self.assertNotIn("search", yaml.safe_load(exported())["settings"])

    def test_each_problem_is_said_with_its_path(self) -> None:
        url = "https://api.tavily.com"
        cases: list[tuple[Any, list[str]]] = [
            ({"kind": "bing", "url": url}, ["settings.search.kind: must be one of searxng, tavily"]),
            ({"kind": "tavily"}, ["settings.search.url: is required"]),
            ({"url": url}, ["settings.search.kind: is required"]),
            ({"kind": "tavily", "url": ""}, ["settings.search.url: must not be empty"]),
            ("searxng", ["settings.search: must be a mapping of fields"]),
            ({**TAVILY, "key": "x"}, ["settings.search.key: unknown field"]),
            ({**TAVILY, "secret_env": "X"}, ["settings.search.secret_env: stands beside a secret; give one of them"]),
            (
                {**TAVILY, "secret": "two words"},
                ["settings.search.secret: must consist of printable ASCII characters without spaces"],
            ),
            ({**TAVILY, "url": "ftp://x"}, ["settings.search.url: Use an http or https URL with a host."]),
            ({**TAVILY, "url": "https://"}, ["settings.search.url: Use an http or https URL with a host."]),
            ({**TAVILY, "url": "https://x:port"}, ["settings.search.url: This is not a URL."]),
            (
                {**TAVILY, "url": "https://u:p@x"},
                ["settings.search.url: Enter the secret in its own field, not in the URL."],
            ),
            (
                {**TAVILY, "url": "https://x/?key=1"},
                ["settings.search.url: Use the URL without a query; the gateway adds its own."],
            ),
        ]
        for search, problems in cases:
            with self.subTest(search):
                self.assertEqual(self.refused(settings(search)), problems)
        self.assertFalse(RuntimeSettings.objects.exclude(search_kind="").exists())


class SecretTest(ConfigCase):
    def test_the_secret_is_rotated_with_the_credentials(self) -> None:
        with override_settings(ENCRYPTION_KEYS=[OLD_KEY]):
            self.apply(settings(TAVILY))
        with override_settings(ENCRYPTION_KEYS=[NEW_KEY, OLD_KEY]):
            call_command("rotate_encryption", stdout=mock.Mock())
        with override_settings(ENCRYPTION_KEYS=[NEW_KEY]):
            self.assertEqual(RuntimeSettings.objects.get().search_secret(), SECRET)

    def test_a_secret_that_no_key_fits_switches_the_search_off(self) -> None:
        with override_settings(ENCRYPTION_KEYS=[OLD_KEY]):
            self.apply(settings(TAVILY))
        with override_settings(ENCRYPTION_KEYS=[NEW_KEY]):
            with self.assertRaises(Undecryptable):
                RuntimeSettings.objects.get().search_secret()
            with self.assertLogs("routing.snapshot", "ERROR") as logged:
                self.assertIsNone(snapshot.load().settings.search)
            self.assertNotIn(SECRET, str(logged.output))
