"""Notification channels in configuration files: applied once, kept, switched off, exported without their secrets."""

import os
from typing import Any
from unittest import mock

import yaml

from accounts.models import NotificationChannel
from routing.models import RuntimeSettings
from tests.accounts.notices.robots import URLS
from tests.gateway.config_files import ConfigCase
from tests.gateway.test_config_export import exported

SECRET = "SECverysecret0123"
OPS = {
    "name": "ops",
    "kind": "dingtalk",
    "url": URLS["dingtalk"],
    "secret": SECRET,
    "team": "platform",
    "events": ["quota_exhausted", "key_flagged"],
    "language": "zh-hans",
}
MAIL = {"name": "mail", "kind": "email", "recipients": ["a@example.com", "b@example.com"]}


def channels(*rows: Any) -> dict[str, Any]:
    return {"teams": [{"name": "platform"}], "channels": list(rows)}


class ChannelsTest(ConfigCase):
    def test_channels_are_applied_once(self) -> None:
        self.assertIn("+ channel ops", self.apply(channels(OPS, MAIL)))
        self.assertEqual(self.apply(channels(OPS, MAIL)), ["No changes."])
        row = NotificationChannel.objects.select_related("team").get(name="ops")
        assert row.team is not None
        self.assertEqual((row.url(), row.secret(), row.team.name), (URLS["dingtalk"], SECRET, "platform"))
        self.assertEqual((row.url_host, row.secret_last_four), ("oapi.dingtalk.com", "0123"))
        self.assertEqual(NotificationChannel.objects.get(name="mail").recipients, "a@example.com\nb@example.com")

    def test_changes_are_said_without_the_secrets(self) -> None:
        self.apply(channels(OPS, MAIL))
        changed = {**OPS, "url": "https://proxy.example/0123456789abcdef", "secret": "another-secret", "language": "en"}
        self.assertEqual(
            self.apply(channels(changed, {**MAIL, "recipients": ["c@example.com"], "enabled": False})),
            [
                "~ channel ops: language zh-hans -> en; url changed; secret changed",
                '~ channel mail: enabled true -> false; recipients "a@example.com\\nb@example.com" -> c@example.com',
            ],
        )

    def test_what_the_file_leaves_out_is_kept_and_null_removes_the_secret(self) -> None:
        self.apply(channels(OPS))
        kept = {name: value for name, value in OPS.items() if name not in ("url", "secret")}
        self.assertEqual(self.apply(channels(kept)), ["No changes."])
        self.assertEqual(self.apply(channels({**kept, "secret": None})), ["~ channel ops: secret changed"])
        row = NotificationChannel.objects.get()
        self.assertEqual((row.url(), row.encrypted_secret), (URLS["dingtalk"], ""))

    def test_address_and_secret_may_come_from_the_environment(self) -> None:
        row = {"name": "ops", "kind": "feishu", "url_env": "TEST_URL", "secret_env": "TEST_SECRET"}
        with mock.patch.dict(os.environ, {"TEST_URL": URLS["feishu"], "TEST_SECRET": SECRET}):
            self.apply(channels(row))
        stored = NotificationChannel.objects.get()
        self.assertEqual((stored.url(), stored.secret()), (URLS["feishu"], SECRET))
        self.assertEqual(
            self.refused(channels(row)),
            [
                "channels[0].secret_env: TEST_SECRET is not set in the environment",
                "channels[0].url_env: TEST_URL is not set in the environment",
            ],
        )

    def test_what_cannot_work_is_refused_with_its_path(self) -> None:
        cases: list[tuple[dict[str, Any], str]] = [
            ({"url": "http://oapi.dingtalk.com/x"}, "channels[0].url: Use https: the address itself is a secret."),
            ({"url": "https://10.0.0.1/x"}, "channels[0].url: This is a private address."),
            ({"kind": "irc"}, "channels[0].kind: must be one of email"),
            ({"kind": "slack"}, "channels[0].secret: Channels of this kind sign nothing"),
            ({"kind": "email"}, "channels[0].url: is not for e-mail, which has recipients"),
            ({"events": ["quota"]}, "channels[0].events[0]: must be one of"),
            ({"language": "fr"}, "channels[0].language: The gateway does not speak this language."),
            ({"team": "nobody"}, "channels[0].team: there is no team nobody"),
            ({"secret": "with space"}, "channels[0].secret: must consist of printable ASCII"),
            ({"url_env": "X"}, "channels[0].url_env: stands beside a url; give one of them"),
        ]
        for fields, message in cases:
            with self.subTest(fields=fields):
                [line] = self.refused(channels({**OPS, **fields}))[:1]
                self.assertIn(message, line)
        self.assertIn("url: Enter the address", self.refused(channels({"name": "x", "kind": "slack"}))[0])
        self.assertIn("recipients: Enter at least", self.refused(channels({"name": "x", "kind": "email"}))[0])
        wrong = self.refused(channels({**MAIL, "recipients": ["nobody"]}))
        self.assertEqual(wrong, ["channels[0].recipients: Line 1: “nobody” is no e-mail address."])
        self.assertFalse(NotificationChannel.objects.exists())

    def test_prune_switches_off_what_the_file_does_not_name(self) -> None:
        self.apply(channels(OPS, MAIL))
        self.assertEqual(self.apply(channels(MAIL), "--prune"), ["- channel ops: switched off"])
        self.assertEqual(self.apply(channels(MAIL), "--prune"), ["No changes."])
        self.assertFalse(NotificationChannel.objects.get(name="ops").is_enabled)

    def test_an_export_holds_no_secret_and_changes_nothing_when_it_is_applied(self) -> None:
        private = {"name": "in", "kind": "webhook", "url": "http://10.0.0.1/0123456789abcdef"}
        self.apply(channels(OPS, MAIL, {**private, "allow_private_network": True, "enabled": False}))
        RuntimeSettings.objects.create(pk=1, mails_people=False)
        text = exported()
        for secret in ("0123456789abcdef", SECRET):
            self.assertNotIn(secret, text)
        document = yaml.safe_load(text)
        self.assertEqual(
            document["channels"],
            [
                {"name": "in", "kind": "webhook", "allow_private_network": True, "enabled": False},
                MAIL,
                {name: value for name, value in OPS.items() if name not in ("url", "secret")},
            ],
        )
        self.assertIs(document["settings"]["mails_people"], False)
        self.assertEqual(self.apply(text), ["No changes."])
