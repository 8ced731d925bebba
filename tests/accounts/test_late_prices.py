"""Calls that are priced afterwards: once, at the price of their time, with books that go on to agree."""

import io
import random
from datetime import timedelta
from decimal import Decimal
from typing import Any
from unittest.mock import patch

from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import Permission
from django.core.management import CommandError, call_command
from django.test import TestCase

from accounts import late_prices
from accounts.late_prices import price_calls
from accounts.models import ApiKey, CallRecord, Quota, QuotaWindow, Team, UsageDaily, User
from accounts.verification import differences
from providers.models import Model, Price, Provider
from providers.target import PriceList
from providers.translation.usage import Usage
from tests.accounts.books import NOW, admit, person, quota, settle, snapshot, target

D = Decimal
NOTHING: dict[str, Any] = {"cost": None, "currency": "", "cost_source": ""}
UNPRICED = snapshot(target(price=None))
YUAN = PriceList("CNY", D(4), D(16), D(1), D(5), "price", cache_write_1h=D(8))


class LateCase(TestCase):
    def setUp(self) -> None:
        self.team = Team.objects.create(name="platform")
        self.keys: list[tuple[ApiKey, str]] = [person("dev1", self.team), person("dev2")]
        for subject in (self.team, self.keys[0][0], self.keys[0][0].user):
            quota(subject, Quota.Unit.COST, Quota.Window.DAY, 1000, currency="CNY")
            quota(subject, Quota.Unit.COST, Quota.Window.TOTAL, 1000, currency="USD")
            quota(subject, Quota.Unit.TOKENS, Quota.Window.DAY, 10**9)

    def call(self, which: int = 0, hours: float = 0, **fields: Any) -> CallRecord:
        now = NOW + timedelta(hours=hours)
        admitted = admit(self.keys[which][1], now=now, view=UNPRICED)
        settle(admitted, UNPRICED, ended_at=now, **(NOTHING | {"usage": Usage(1000, 500)} | fields))
        return CallRecord.objects.get(pk=admitted.call_id)

    def price(self, **options: Any) -> late_prices.Summary:
        return price_calls("main", "big", lambda _moment: YUAN, by="dev1", **options)

    def assert_books_agree(self) -> None:
        self.assertEqual(list(differences()), [])


class LatePrices(LateCase):
    def test_calls_days_and_quotas_on_cost_follow(self) -> None:
        call = self.call(reference_cost=D("0.5"), reference_currency="USD")
        summary = self.price()
        self.assertEqual((summary.priced, summary.costs, summary.unknown), (1, {"CNY": D("0.012")}, 0))
        call.refresh_from_db()
        self.assertEqual((call.cost, call.currency, call.cost_source), (D("0.012"), "CNY", "price"))
        trail = call.decision["priced"]
        self.assertEqual((trail["by"], trail["price"]), ("dev1", "CNY 4 / 16"))
        day = UsageDaily.objects.get()
        self.assertEqual(
            (day.currency, day.calls, day.unpriced_calls, day.cost, day.reference_cost),
            ("CNY", 1, 0, D("0.012"), D("0.5")),
        )
        used = QuotaWindow.objects.filter(quota__unit="cost", quota__currency="CNY").values_list("used", flat=True)
        self.assertEqual(list(used), [D("0.012")] * 3)
        self.assert_books_agree()

    def test_twice_is_once_and_a_cost_is_never_overwritten(self) -> None:
        self.call()
        booked = self.call(cost=D("7"), currency="USD", cost_source="upstream")
        self.price()
        before = [list(rows.objects.order_by("pk").values()) for rows in (CallRecord, UsageDaily, QuotaWindow)]
        self.assertEqual(self.price().priced, 0)
        after = [list(rows.objects.order_by("pk").values()) for rows in (CallRecord, UsageDaily, QuotaWindow)]
        self.assertEqual(before, after)
        booked.refresh_from_db()
        self.assertEqual((booked.cost, booked.currency, booked.cost_source), (7, "USD", "upstream"))
        self.assert_books_agree()

    def test_a_dry_run_says_the_same_and_writes_nothing(self) -> None:
        self.call()
        before = list(CallRecord.objects.values())
        dry = self.price(dry_run=True)
        self.assertEqual(list(CallRecord.objects.values()), before)
        self.assertEqual(dry, self.price())

    def test_only_settled_calls_of_the_model_and_the_time_that_used_something(self) -> None:
        kept = [
            self.call(usage=Usage()),
            self.call(model_name="small"),
            self.call(provider_name="other"),
            self.call(hours=-2),
            self.call(hours=2),
        ]
        running = admit(self.keys[0][1], view=UNPRICED)
        CallRecord.objects.filter(pk=running.call_id).update(provider_name="main", model_name="big", input_tokens=5)
        priced = self.call()
        summary = self.price(since=NOW - timedelta(hours=1), until=NOW + timedelta(hours=1))
        self.assertEqual(summary.priced, 1)
        priced.refresh_from_db()
        self.assertIsNotNone(priced.cost)
        self.assertFalse(CallRecord.objects.filter(pk__in=[each.pk for each in kept], cost__isnull=False).exists())
        self.assertIsNone(CallRecord.objects.get(pk=running.call_id).cost)

    def test_whatever_the_calls_are_the_books_agree_in_any_size_of_batch(self) -> None:
        chance = random.Random(7)
        for _number in range(40):
            usage = Usage(*(chance.randint(0, 3000) for _class in range(4)), is_estimated=chance.random() < 0.2)
            usage.cache_write_1h_tokens = chance.randint(0, usage.cache_write_tokens)
            self.call(
                chance.randint(0, 1),
                chance.choice([0, 30, 31]),
                usage=usage,
                status=chance.choice(["ok", "failed", "cancelled"]),
                scene_name=chance.choice(["", "code"]),
                **chance.choice([{}, {"cost": D("0.25"), "currency": "CNY"}, {"model_name": "small"}]),
            )
        self.assert_books_agree()
        count = CallRecord.objects.filter(late_prices.UNPRICED, model_name="big").count()
        self.assertGreater(count, 10)
        unpriced_small = CallRecord.objects.filter(late_prices.UNPRICED, model_name="small").count()
        with patch.object(late_prices, "BATCH", 3):
            summary = self.price()
        self.assertEqual(summary.priced, count)
        self.assert_books_agree()
        self.assertEqual(sum(UsageDaily.objects.values_list("unpriced_calls", flat=True)), unpriced_small)
        self.assertFalse(UsageDaily.objects.filter(calls=0).exists())

    def test_a_batch_that_fails_books_nothing(self) -> None:
        self.call()
        with patch.object(late_prices, "raise_days", side_effect=RuntimeError), self.assertRaises(RuntimeError):
            self.price()
        self.assertFalse(CallRecord.objects.filter(cost__isnull=False).exists())
        self.assert_books_agree()
        self.assertEqual(self.price().priced, 1)


class PriceCallsCommand(LateCase):
    def setUp(self) -> None:
        super().setUp()
        provider = Provider.objects.create(name="main", kind="openai_compatible", base_url="https://relay.example/v1")
        self.model = Model.objects.create(provider=provider, model_id="big")

    def add_price(self, price: int, hours: float) -> None:
        Price.objects.create(
            model=self.model, currency="CNY", input_per_million=price, output_per_million=0,
            valid_from=NOW + timedelta(hours=hours),
        )  # fmt: skip

    def run_command(self, *options: str, model: str = "main/big") -> str:
        output = io.StringIO()
        call_command("price_calls", "--model", model, *options, stdout=output)
        return output.getvalue()

    def test_each_call_gets_the_price_of_its_time(self) -> None:
        old, new, before = self.call(hours=-1), self.call(hours=1), self.call(hours=-9)
        self.add_price(4, -5)
        self.add_price(8, 0)
        printed = self.run_command("--dry-run")
        self.assertIn("main/big: 2 calls would be priced, 0.012 CNY.", printed)
        self.assertIn("1 calls stay without a cost", printed)
        self.assertFalse(CallRecord.objects.filter(cost__isnull=False).exists())
        self.assertIn("main/big: 2 calls priced, 0.012 CNY.", self.run_command())
        costs = [CallRecord.objects.get(pk=call.pk).cost for call in (before, old, new)]
        self.assertEqual(costs, [None, D("0.004"), D("0.008")])
        self.assertIn("main/big: 0 calls priced, 0.", self.run_command())
        self.assert_books_agree()

    def test_days_are_those_of_the_business(self) -> None:
        self.call()
        self.add_price(4, -5)
        self.assertIn(" 0 calls", self.run_command("--until", NOW.date().isoformat(), "--dry-run"))
        self.assertIn(" 1 calls", self.run_command("--since", NOW.date().isoformat(), "--dry-run"))
        for wrong in (("--since", "yesterday"), ("--until", "2026-13-01")):
            with self.assertRaises(CommandError):
                self.run_command(*wrong)
        for model in ("big", "none/big", "main/"):
            with self.assertRaises(CommandError):
                self.run_command(model=model)

    def test_a_name_without_a_row_has_the_price_of_any_model(self) -> None:
        Model.objects.filter(pk=self.model.pk).update(model_id="*")
        self.add_price(4, -5)
        self.call()
        self.assertIn("1 calls priced", self.run_command())

    def test_the_action_of_the_admin_reports_and_leaves_a_trail(self) -> None:
        self.client.force_login(User.objects.create_superuser("boss"))
        self.call()
        self.call(hours=-9)
        self.add_price(4, -5)
        form = {"action": "price_unpriced_calls", "_selected_action": str(self.model.pk)}
        page = self.client.post("/admin/providers/model/", form, follow=True).content.decode()
        self.assertIn("The model main/big: 1 call priced, 0.004 CNY.", page)
        self.assertIn("The model main/big: 1 call stays without a cost", page)
        self.assertEqual(LogEntry.objects.get().change_message, "Priced 1 calls: 0.004 CNY.")
        self.assertEqual(CallRecord.objects.get(cost__isnull=False).decision["priced"]["by"], "boss")
        self.assert_books_agree()

    def test_who_sees_some_teams_only_is_not_offered_the_action(self) -> None:
        clerk = User.objects.create(username="clerk", is_staff=True)
        clerk.user_permissions.set(Permission.objects.filter(codename__in=("view_model", "change_model")))
        self.client.force_login(clerk)
        self.call()
        self.add_price(4, -5)
        self.assertNotContains(self.client.get("/admin/providers/model/"), "price_unpriced_calls")
        form = {"action": "price_unpriced_calls", "_selected_action": str(self.model.pk)}
        self.client.post("/admin/providers/model/", form)
        self.assertFalse(CallRecord.objects.filter(cost__isnull=False).exists())
