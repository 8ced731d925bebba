"""Orders of routes and quotas that downgrade, as a configuration file says them."""

import yaml

from accounts.models import Quota
from routing.models import Route
from tests.gateway.config_files import ConfigCase, provider
from tests.gateway.test_config_export import exported


class OrdersAndDowngradesTest(ConfigCase):
    def test_every_order_is_written_with_its_weights_and_exported(self) -> None:
        targets = [{"target": "big", "weight": 3}, "small"]
        document = {
            "providers": [provider(models=[{"id": "big"}, {"id": "small"}])],
            "routes": [{"name": order, "order": order, "targets": targets} for order in Route.Order.values],
        }
        self.apply(document)
        self.assertEqual(set(Route.objects.values_list("order", flat=True)), set(Route.Order.values))
        self.assertEqual([entry.weight for entry in Route.objects.get(name="weighted").entries.all()], [3, 1])
        self.assertEqual(self.apply(document), ["No changes."])
        self.assertEqual(self.apply(exported(), "--prune"), ["No changes."])
        self.assertEqual(
            self.apply({"routes": [{"name": "fastest", "order": "cheapest"}]}),
            ["~ route fastest: order fastest -> cheapest"],
        )

    def test_a_quota_may_downgrade(self) -> None:
        quota = {"user": "dev1", "unit": "cost", "window": "month", "limit": 20, "action": "downgrade"}
        document = {"users": [{"username": "dev1"}], "quotas": [quota]}
        self.apply(document)
        self.assertEqual(Quota.objects.get().action, "downgrade")
        self.assertEqual(self.apply(document), ["No changes."])
        self.assertEqual(yaml.safe_load(exported())["quotas"][0]["action"], "downgrade")
