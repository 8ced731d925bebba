"""Price lists and the cost of a call. Pinned to our own list; the catalogue's numbers move."""

import json
from dataclasses import replace
from decimal import Decimal
from pathlib import Path

import pytest

import providers.pricing
from providers.models import Price
from providers.pricing import cost_of, origin_of, price_list_for
from providers.target import PriceList, Tier
from providers.translation.usage import Usage, add

D = Decimal
LIST = PriceList("USD", D(3), D(15), D("0.3"), D("3.75"), "price")
MAINLAND = "https://dashscope.aliyuncs.com/compatible-mode/v1"


def test_cost_is_the_sum_over_the_four_classes() -> None:
    usage = Usage(input_tokens=1000, output_tokens=200, cache_read_tokens=50_000, cache_write_tokens=4000)
    assert cost_of(usage, LIST) == (D("0.003") + D("0.003") + D("0.015") + D("0.015"), "USD", "price")


def test_writes_for_an_hour_have_a_price_of_their_own() -> None:
    usage = Usage(cache_write_tokens=4000, cache_write_1h_tokens=1000)
    assert cost_of(usage, replace(LIST, cache_write_1h=D(6))) == (D("0.01125") + D("0.006"), "USD", "price")
    assert cost_of(usage, LIST) == (D("0.015"), "USD", "price")  # as any write
    tier = Tier(3000, D(6), D(30), D(1), D(10), D(12))
    assert cost_of(usage, replace(LIST, tiers=(tier,), cache_write_1h=D(6)))[0] == D("0.03") + D("0.012")
    assert cost_of(usage, replace(LIST, tiers=(replace(tier, cache_write_1h=None),)))[0] == D("0.04")


def test_anthropics_own_list_knows_what_an_hour_costs() -> None:
    price = price_list_for("anthropic_compatible", "https://api.anthropic.com", "claude-haiku-4-5")
    assert price is not None
    assert price.cache_write_1h == 2 * price.input > price.cache_write
    # A model whose writes the catalogue does not price.
    bare = price_list_for("anthropic_compatible", "https://api.anthropic.com", "claude-2")
    assert bare is not None
    assert bare.cache_write_1h == 2 * bare.input
    other = price_list_for("openai_compatible", "https://api.openai.com/v1", "gpt-4o")
    assert other is not None
    assert other.cache_write_1h is None


def test_cost_reported_upstream_wins_unless_zero() -> None:
    assert cost_of(Usage(input_tokens=10, cost=D("0.5")), LIST) == (D("0.5"), "USD", "upstream")
    assert cost_of(Usage(input_tokens=10, cost=D(0)), LIST) == (D("0.00003"), "USD", "price")


def test_a_zero_from_upstream_is_no_cost_unless_the_model_is_declared_free() -> None:
    zero = Usage(input_tokens=10, output_tokens=5, cost=D(0))
    assert cost_of(zero, None) == (None, "", "")
    declared = price_list_for(
        "openrouter",
        "https://openrouter.ai/api/v1",
        "a/b:free",
        Price(currency="CNY", input_per_million=D(0), output_per_million=D(0), source="admin"),
    )
    assert cost_of(zero, declared) == (D(0), "CNY", "price")
    local = price_list_for("lmstudio", "http://127.0.0.1:1234/v1", "qwen3")
    assert cost_of(zero, local) == (D(0), "USD", "free")
    # Two requests of one call, of which one was charged for: the sum is known.
    assert add(Usage(cost=D(0)), Usage(cost=D("0.1"))).cost == D("0.1")


@pytest.mark.parametrize(
    ("kind", "base", "model", "origin"),
    [
        ("dashscope", MAINLAND, "qwen3.7-max", "2026-05-30: Alibaba Cloud Model Studio"),
        ("openai_compatible", "https://api.openai.com/v1", "gpt-4o", "genai-prices "),
        ("ollama", "http://127.0.0.1:11434/v1", "qwen3", ""),
    ],
)
def test_a_listed_price_says_where_it_is_from(kind: str, base: str, model: str, origin: str) -> None:
    price = price_list_for(kind, base, model)
    assert price is not None
    found = origin_of(price, kind, base, model)
    assert found.startswith(origin)
    assert bool(found) == bool(origin)


def test_unknown_price_is_none_and_local_is_zero() -> None:
    assert cost_of(Usage(input_tokens=10), None) == (None, "", "")
    free = price_list_for("ollama", "http://127.0.0.1:11434/v1", "qwen3:8b")
    assert cost_of(Usage(input_tokens=10), free) == (D(0), "USD", "free")
    assert price_list_for("ollama", "https://ollama.com", "qwen3:8b") is None


def test_row_in_force_wins_and_missing_cache_prices_are_as_input() -> None:
    row = Price(
        currency="EUR", input_per_million=D(2), output_per_million=D(4), cache_read_per_million=D(0), source="admin"
    )
    assert price_list_for("dashscope", MAINLAND, "qwen3.7-max", row) == PriceList(
        "EUR", D(2), D(4), D(0), D(2), "price"
    )


@pytest.mark.parametrize(
    ("base", "model", "currency", "price_in"),
    [
        (MAINLAND, "qwen3.7-max", "CNY", D(12)),
        (MAINLAND, "qwen3.7-max-2026-05-20", "CNY", D(12)),
        ("https://ws1.cn-beijing.maas.aliyuncs.com/compatible-mode/v1", "qwen3.7-max", "CNY", D(12)),
        ("https://dashscope-intl.aliyuncs.com/compatible-mode/v1", "qwen3.8-max", "USD", D(2)),
    ],
)
def test_bundled_list_follows_the_region(base: str, model: str, currency: str, price_in: Decimal) -> None:
    price = price_list_for("dashscope", base, model)
    assert price is not None
    assert (price.currency, price.input, price.source) == (currency, price_in, "bundled")


@pytest.mark.parametrize(
    ("usage", "expected"),
    [
        (Usage(input_tokens=32_000), D("0.128")),
        (Usage(input_tokens=32_001), D("0.192006")),
        (Usage(input_tokens=1, cache_read_tokens=299_999, output_tokens=1000), D("6.2")),
    ],
)
def test_all_tokens_are_billed_at_the_tier_of_the_whole_input(usage: Usage, expected: Decimal) -> None:
    price = price_list_for("dashscope", MAINLAND, "qwen3-coder-plus")
    assert price is not None
    assert price.tiers
    assert cost_of(usage, price) == (expected, "CNY", "bundled")


def test_catalogue_knows_the_large_vendors_and_not_our_relay() -> None:
    price = price_list_for("openai_compatible", "https://api.openai.com/v1", "gpt-4o")
    assert price is not None
    assert price.currency == "USD"
    assert price.source == "catalogue"
    assert price.input > price.cache_read > 0
    assert price_list_for("openai_compatible", "https://relay.example/v1", "gpt-4o") is None
    assert price_list_for("openai_compatible", "https://api.openai.com/v1", "no-such-model") is None


def test_prices_by_the_hour_take_the_highest() -> None:
    price = price_list_for("openai_compatible", "https://api.deepseek.com", "deepseek-v4-pro")
    assert price is not None
    assert price.input >= D("1.32")


def test_bundled_file_says_where_it_comes_from_and_rises_by_tier() -> None:
    document = json.loads((Path(providers.pricing.__file__).parent / "data" / "prices_cn.json").read_text())
    for price_list in document["lists"]:
        assert price_list["source"]
        assert price_list["date"]
        for model in price_list["models"].values():
            assert [t["above"] for t in model.get("tiers", [])] == sorted(t["above"] for t in model.get("tiers", []))
            for rates in (model, *model.get("tiers", [])):
                assert all(isinstance(v, str) and D(v) >= 0 for k, v in rates.items() if k not in ("tiers", "above"))
