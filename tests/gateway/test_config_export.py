"""An exported configuration applies to the same database without change, and shows no secret."""

import io
import re

import yaml
from django.core.management import CommandError, call_command
from django.test import override_settings

from accounts import handovers, keys
from accounts.models import NotificationChannel, User
from providers.models import Credential, Model, Price, Provider
from tests.gateway.config_files import FULL, SECRETS, ConfigCase

OLD_KEY = "ZGV2ZWxvcG1lbnQtb25seS1zZWNyZXQtMDAwMDAwMDA="
NEW_KEY = "YW5vdGhlci1kZXZlbG9wbWVudC1zZWNyZXQtMDAwMDA="


def exported() -> str:
    output = io.StringIO()
    call_command("export_config", stdout=output)
    return output.getvalue()


class ExportTest(ConfigCase):
    def test_an_export_applied_to_the_same_database_changes_nothing(self) -> None:
        self.apply(FULL)
        # What a person or a refresh adds in the admin, and defaults that were never saved.
        User.objects.create_superuser("root", "root@example.com", "x")
        router = Provider.objects.create(name="router", kind="openrouter", extra_headers={"X-Title": "w"})
        refreshed = Model.objects.create(provider=router, model_id="a/b:free", capabilities=[], context_window=7)
        Price.objects.create(
            model=refreshed, currency="USD", input_per_million="0.123456", output_per_million="99999999.000001"
        )
        text = exported()
        self.assertEqual(self.apply(text), ["No changes."])
        self.assertEqual(self.apply(text, "--prune"), ["No changes."])

    def test_the_export_of_an_empty_database_is_a_valid_file(self) -> None:
        self.assertEqual(self.apply(exported()), ["No changes."])

    def test_the_safety_model_is_exported_by_name(self) -> None:
        self.apply(FULL)
        self.assertIsNone(yaml.safe_load(exported())["settings"]["safety_model"])
        self.apply({"settings": {"safety_model": "main/qwen/qwen3:free"}})
        text = exported()
        self.assertEqual(yaml.safe_load(text)["settings"]["safety_model"], "main/qwen/qwen3:free")
        self.assertEqual(self.apply(text, "--prune"), ["No changes."])

    def test_no_secret_is_exported(self) -> None:
        self.apply(FULL)
        text = exported()
        self.assertFalse([secret for secret in SECRETS if secret in text])
        self.assertIsNone(re.search("digest|gAAAA", text))
        self.assertEqual(
            yaml.safe_load(text)["providers"][0]["extra_headers"], {"x-team": "platform", "x-auth-token": None}
        )

    def test_elsewhere_the_export_says_which_secrets_are_missing(self) -> None:
        self.apply(FULL)
        text = exported()
        Credential.objects.all().delete()
        self.assertEqual(
            self.refused(text),
            [
                "providers[0].credentials[0].secret: is required for a new credential (or secret_env)",
                "providers[0].credentials[1].secret: is required for a new credential (or secret_env)",
            ],
        )

    def test_it_can_be_written_to_a_file(self) -> None:
        path = self.directory / "export.yaml"
        call_command("export_config", output=path)
        self.assertEqual(path.read_text(), exported())
        with self.assertRaises(CommandError):
            call_command("export_config", output=self.directory / "none" / "export.yaml")


class RotateEncryptionTest(ConfigCase):
    def rotate(self) -> str:
        output = io.StringIO()
        call_command("rotate_encryption", stdout=output)
        return output.getvalue()

    def test_after_rotation_the_old_key_is_not_needed(self) -> None:
        with override_settings(ENCRYPTION_KEYS=[OLD_KEY]):
            self.apply(FULL)
        with override_settings(ENCRYPTION_KEYS=[NEW_KEY, OLD_KEY]):
            self.assertEqual(self.rotate(), "2 secrets encrypted anew.\n")
        with override_settings(ENCRYPTION_KEYS=[NEW_KEY]):
            self.assertEqual([row.secret() for row in Credential.objects.all()], list(SECRETS[:2]))

    def test_a_credential_that_no_key_fits_is_named_and_the_others_are_rotated(self) -> None:
        with override_settings(ENCRYPTION_KEYS=[OLD_KEY]):
            self.apply(FULL)
        Credential.objects.filter(name="spare").update(encrypted_secret="not a token")
        with override_settings(ENCRYPTION_KEYS=[NEW_KEY, OLD_KEY]), self.assertRaisesRegex(CommandError, "main/spare"):
            self.rotate()
        with override_settings(ENCRYPTION_KEYS=[NEW_KEY]):
            self.assertEqual(Credential.objects.get(name="default").secret(), SECRETS[0])

    def test_links_and_notification_channels_are_rotated_too(self) -> None:
        with override_settings(ENCRYPTION_KEYS=[OLD_KEY]):
            key, secret = keys.issue(User.objects.create(username="dev"), "laptop")
            token = handovers.create(key, secret, None)
            channel = NotificationChannel(name="chat", kind=NotificationChannel.Kind.FEISHU)
            channel.set_secret("shared-secret-of-the-chat")
            channel.save()
        with override_settings(ENCRYPTION_KEYS=[NEW_KEY, OLD_KEY]):
            self.assertEqual(self.rotate(), "2 secrets encrypted anew.\n")
        with override_settings(ENCRYPTION_KEYS=[NEW_KEY]):
            self.assertEqual(handovers.open_once(token, "").secret, secret)
            self.assertEqual(NotificationChannel.objects.get().secret(), "shared-secret-of-the-chat")
