"""The price catalogue: what each model costs and why, and what no price was known for."""

from datetime import time, timedelta
from decimal import Decimal
from html import unescape
from typing import Any

from django.utils import timezone

from accounts.models import UsageDaily, User
from providers.models import Model, Price, Provider
from tests.admin.pages import AdminTestCase
from tests.admin.rows import NOW, SCRIPT, make_call, make_key

URL = "/admin/providers/price/catalogue/"


class Catalogue(AdminTestCase):
    def model(
        self, model_id: str, kind: str = "openai_compatible", base_url: str = "https://relay.example/v1"
    ) -> Model:
        provider, _created = Provider.objects.get_or_create(
            name=kind.replace("_", "-"), defaults={"kind": kind, "base_url": base_url}
        )
        return Model.objects.create(provider=provider, model_id=model_id)

    def entries(self, **query: str) -> list[Any]:
        response = self.client.get(URL, query)
        self.assertEqual(response.status_code, 200)
        return list(response.context["page"])

    def test_each_price_says_where_it_is_from(self) -> None:
        self.model("qwen3-coder-plus", "dashscope", "https://dashscope.aliyuncs.com/compatible-mode/v1")
        self.model("anything", "ollama", "http://127.0.0.1:11434/v1")
        self.model("gpt-4o", base_url="https://api.openai.com/v1")
        own = self.model("own")
        self.model("nobody-knows")
        Price.objects.create(
            model=own, currency="CNY", input_per_million=4, output_per_million=Decimal("16.5"), source_note="合同 7",
            tiers=[{"above": 32000, "input": "6", "output": "24"}], valid_from=timezone.now() - timedelta(days=1),
        )  # fmt: skip
        found = {entry.model_name: entry for entry in self.entries()}
        bundled, listed, free, stated = (
            found[name].prices[0] for name in ("qwen3-coder-plus", "gpt-4o", "anything", "own")
        )
        self.assertTrue(bundled.origin.startswith("2026-05-30: Alibaba Cloud"), bundled.origin)
        self.assertIn("above 32,000 tokens 6 / 24", bundled.tiers)
        self.assertRegex(listed.origin, r"^genai-prices \d")
        self.assertEqual((free.amounts[0], stated.currency, stated.amounts[:2]), ("0", "CNY", ["4", "16.5"]))
        self.assertEqual(
            (stated.source, stated.tiers), ("entered by an administrator · 合同 7", "above 32,000 tokens 6 / 24")
        )
        self.assertEqual(found["nobody-knows"].prices, [])

    def test_hours_and_the_next_change_are_shown(self) -> None:
        model, now = self.model("m"), timezone.now()
        common: dict[str, Any] = {"model": model, "currency": "CNY", "output_per_million": 0}
        Price.objects.create(input_per_million=4, valid_from=now - timedelta(days=2), **common)
        Price.objects.create(
            input_per_million=2, valid_from=now - timedelta(days=1), time_from=time(22), time_until=time(6),
            time_zone="Asia/Shanghai", **common,
        )  # fmt: skip
        Price.objects.create(input_per_million=9, valid_from=now + timedelta(days=1), **common)
        self.model("steady")
        (entry,) = self.entries(only="changing")
        self.assertEqual(entry.changes_at, now + timedelta(days=1))
        self.assertEqual(
            [(price.amounts[0], price.hours) for price in entry.prices],
            [("2", "22:00–06:00 Asia/Shanghai"), ("4", "")],
        )

    def test_the_hours_of_the_catalogue_are_shown(self) -> None:
        self.model("deepseek-v4-pro", base_url="https://api.deepseek.com")
        (entry,) = self.entries()
        hours = [price.hours for price in entry.prices]
        self.assertEqual((len(hours), hours[-1], set(hours[:-1])), (3, "", {"06:00–10:00 UTC", "01:00–04:00 UTC"}))
        peak, rest = entry.prices[0].amounts[0], entry.prices[-1].amounts[0]
        self.assertEqual(Decimal(peak), 2 * Decimal(rest))

    def test_the_unpriced_are_listed_with_their_calls(self) -> None:
        self.model("priced-now", base_url="https://api.openai.com/v1")
        key = make_key(User.objects.create(username="dev1"), "laptop")
        names = {"provider_name": "openai-compatible", "key": key, "user": key.user}
        for model_name, count in (("priced-now", 2), ("gone/model", 3)):
            make_call(key, provider_name="openai-compatible", model_name=model_name, input_tokens=7)
            UsageDaily.objects.create(
                date=NOW.date(), model_name=model_name, calls=9, unpriced_calls=count, input_tokens=1200,
                output_tokens=34, **names,
            )  # fmt: skip
        make_call(key, provider_name="openai-compatible", model_name="gone/model", cost=Decimal(1), currency="USD")
        make_call(key, provider_name="openai-compatible", model_name="gone/model")  # used nothing
        first, second = self.entries(only="unpriced")
        self.assertEqual((first.model_name, first.unpriced_calls, first.unpriced_tokens), ("gone/model", 3, 1234))
        self.assertEqual((second.model_name, second.unpriced_calls), ("priced-now", 2))
        link = unescape(str(first.calls_link).split('"')[1])
        listed = self.client.get(link).context["cl"].result_list
        self.assertEqual(
            [(call.model_name, call.cost, call.input_tokens) for call in listed], [("gone/model", None, 7)]
        )

    def test_nothing_stored_becomes_markup_and_filters_are_bounded(self) -> None:
        Price.objects.create(
            model=self.model(SCRIPT), currency="USD", input_per_million=1, output_per_million=1, source_note=SCRIPT
        )
        page = self.client.get(URL, {"q": SCRIPT, "p": "x"}).content.decode()
        self.assertNotIn(SCRIPT, page)
        self.assertIn("&lt;script&gt;", page)
        self.assertEqual(self.client.get(URL, {"provider": "999", "only": "no"}).status_code, 200)

    def test_who_may_not_see_prices_does_not(self) -> None:
        self.client.force_login(User.objects.create_user("clerk", is_staff=True))
        self.assertEqual(self.client.get(URL).status_code, 403)
