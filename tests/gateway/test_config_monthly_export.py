"""The export of each month in configuration files."""

import yaml

from routing.models import RuntimeSettings
from tests.gateway.config_files import ConfigCase
from tests.gateway.test_config_export import exported


class MonthlyExport(ConfigCase):
    def test_it_is_applied_exported_and_applied_again_without_a_change(self) -> None:
        settings = {
            "monthly_export_enabled": True,
            "monthly_export_recipients": ["a@example.com", "b@example.com"],
        }
        self.apply({"settings": settings})
        row = RuntimeSettings.objects.get()
        self.assertEqual(row.monthly_export_recipients, "a@example.com\nb@example.com")
        written = yaml.safe_load(exported())["settings"]
        self.assertEqual({name: written[name] for name in settings}, settings)
        self.assertEqual(self.apply({"settings": written}), ["No changes."])
        self.apply({"settings": {"monthly_export_recipients": None}})
        self.assertEqual(RuntimeSettings.objects.get().monthly_export_recipients, "")

    def test_a_wrong_address_is_refused_with_its_place(self) -> None:
        lines = self.refused({"settings": {"monthly_export_recipients": ["a@example.com", "nobody"]}})
        self.assertEqual(lines, ["settings.monthly_export_recipients: Line 2: “nobody” is no e-mail address."])
