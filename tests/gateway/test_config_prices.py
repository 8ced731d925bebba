"""Prices in configuration files: tiers, hours, dates."""

from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

import yaml
from django.utils import timezone

from gateway.config.export import export
from providers.models import Price
from tests.gateway.config_files import ConfigCase, provider

BASE = {"currency": "CNY", "input": 4, "output": 16}
TIERED = {**BASE, "tiers": [{"above": 32000, "input": 6, "output": 24.5, "cache_write_1h": 12}]}
NIGHT = {**BASE, "input": 2, "from": "22:00", "until": "06:00", "time_zone": "Asia/Shanghai"}


def priced(*prices: dict[str, Any]) -> dict[str, Any]:
    price = prices[0] if len(prices) == 1 else list(prices)
    return {"providers": [provider(models=[{"id": "big", "price": price}])]}


def stamp(days: float) -> str:
    return (timezone.now() + timedelta(days=days)).replace(microsecond=0).isoformat()


class PriceTest(ConfigCase):
    def in_force(self, days: float = 0) -> list[Decimal]:
        from providers.price_rows import rows_in_force

        found = rows_in_force(Price.objects.all(), timezone.now() + timedelta(days=days))
        return [row.input_per_million for row in found]

    def again(self, document: dict[str, Any]) -> None:
        """Apply the same file, and what is exported, and see that nothing moves."""
        before = list(Price.objects.values())
        self.assertEqual(self.apply(document), ["No changes."])
        text = export()
        self.assertEqual(self.apply(text), ["No changes."])
        self.assertEqual(self.apply(text, "--prune"), ["No changes."])
        self.assertEqual(list(Price.objects.values()), before)

    def test_everything_that_a_price_can_have(self) -> None:
        file = priced({**TIERED, "cache_write_1h": 8, "note": "合同 2026"}, NIGHT, {**BASE, "valid_from": stamp(9)})
        self.apply(file)
        base, night, later = Price.objects.order_by("pk")
        self.assertEqual(base.tiers, [{"above": 32000, "input": "6", "output": "24.5", "cache_write_1h": "12"}])
        self.assertEqual((base.cache_write_1h_per_million, base.source_note), (8, "合同 2026"))
        self.assertEqual(
            (str(night.time_from), str(night.time_until), night.time_zone), ("22:00:00", "06:00:00", "Asia/Shanghai")
        )
        self.assertGreater(later.valid_from, timezone.now())
        self.assertEqual((self.in_force(), self.in_force(9.1)), ([2, 4], [4]))
        self.again(file)

    def test_hours_taken_out_of_the_file_are_ended_by_a_new_row(self) -> None:
        self.apply(priced(BASE, NIGHT))
        (line,) = self.apply(priced(BASE))
        self.assertTrue(
            line.startswith("~ price main/big: CNY 4 in, 16 out | CNY 2 in, 16 out, 22:00-06:00 Asia"), line
        )
        self.assertEqual((self.in_force(), Price.objects.count()), ([4], 3))
        self.again(priced(BASE))

    def test_a_dated_price_ends_the_undated_one_and_the_file_stays_true(self) -> None:
        file = priced(BASE, {**BASE, "input": 9, "valid_from": stamp(1)})
        self.apply(file)
        # Two days later.
        for row in Price.objects.all():
            Price.objects.filter(pk=row.pk).update(valid_from=row.valid_from - timedelta(days=2))
        dated = Price.objects.latest("pk").valid_from.isoformat()
        file = priced(BASE, {**BASE, "input": 9, "valid_from": dated})
        self.assertEqual(self.in_force(), [9])
        self.again(file)
        self.assertEqual(self.in_force(), [9])

    def test_a_coming_price_is_exported_with_its_date(self) -> None:
        self.apply(priced(BASE, {**BASE, "input": 9, "valid_from": stamp(1)}))
        first, second = yaml.safe_load(export())["providers"][0]["models"][0]["price"]
        self.assertEqual(first, BASE)
        self.assertGreater(datetime.fromisoformat(str(second["valid_from"])), timezone.now())

    def test_each_fault_has_its_path(self) -> None:
        path = "providers[0].models[0].price"
        tier = {"above": 5, "input": 1, "output": 1}
        faults: list[tuple[Any, str]] = [
            ([], f"{path}: must hold a price; null stands for none"),
            ({**BASE, "tiers": [{**tier, "price": 1}]}, f"{path}.tiers[0].price: unknown field"),
            ({**BASE, "tiers": [tier, tier]}, f"{path}.tiers: Tier 2: “above” must rise from tier to tier."),
            ({**BASE, "tiers": [{**tier, "input": -1}]}, f"{path}.tiers[0].input: must be a number of at least 0"),
            ({**BASE, "cache_write_1h": -1}, f"{path}.cache_write_1h: must be a number of at least 0"),
            ([BASE, {**NIGHT, "time_zone": "Mars"}], f"{path}[1].time_zone: There is no such time zone"),
            ([BASE, {**NIGHT, "until": None}], f"{path}[1].until: Enter both times, or none."),
            ([BASE, {**BASE, "input": 5}], f"{path}[1]: holds at the same time as another price of the list"),
            (NIGHT | {"from": "9"}, f"{path}.from: must be a time of day like 09:00"),
            (NIGHT, f"{path}: needs one price without hours"),
            ({**BASE, "valid_from": "2027-01-01T00:00:00"}, f"{path}.valid_from: must state its offset"),
        ]
        for price, problem in faults:
            with self.subTest(problem=problem):
                problems = self.refused({"providers": [provider(models=[{"id": "big", "price": price}])]})
                self.assertTrue(any(line.strip().startswith(problem) for line in problems), problems)
        self.assertEqual(Price.objects.count(), 0)
