"""What a model costs, and what a call cost. Decimal throughout; a price that nobody knows is None, never 0.

Resolution: the cost that the upstream reports -> the administrator's `Price` row -> our bundled list (百炼,
SiliconFlow) -> the genai-prices catalogue -> unknown. Local platforms cost an explicit zero.
"""

import asyncio
import json
import logging
import re
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, date, datetime, time
from decimal import Decimal
from functools import lru_cache
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo

from providers.presets import PRESETS
from providers.price_rows import price_list_of
from providers.target import DatedPrice, Hours, PriceList, Tier
from providers.translation.usage import Usage

if TYPE_CHECKING:
    from providers.models import Price

logger = logging.getLogger(__name__)

_MILLION = Decimal(1_000_000)
_ALWAYS = datetime(1970, 1, 1, tzinfo=UTC)
# "1-hour cache write tokens are 2 times the base input tokens price":
# https://docs.claude.com/en/docs/build-with-claude/prompt-caching#pricing
_ANTHROPIC_1H = Decimal(2)
# Input, output, cache read, cache write, cache write for an hour (None: as cache write).
_Rates = tuple[Decimal, Decimal, Decimal, Decimal, Decimal | None]
_BUNDLED = Path(__file__).parent / "data" / "prices_cn.json"
# 百炼 names snapshots of a model by date; they cost what the model costs.
_SNAPSHOT = re.compile(r"-\d{4}-\d{2}-\d{2}$")


def cost_of(usage: Usage, price: PriceList | None) -> tuple[Decimal | None, str, str]:
    """Return the cost of a call, its currency, and the source (a `CallRecord.CostSource` value).

    (None, "", "") when the price is unknown. What the upstream itself charged (in USD) wins, except a zero: some
    platforms report 0 for calls that they bill through another account.
    """
    if usage.cost is not None and usage.cost > 0:
        return usage.cost, "USD", "upstream"
    if price is None:
        return None, "", ""
    rates: PriceList | Tier = price
    for tier in price.tiers:
        if usage.prompt_tokens > tier.above_tokens:
            rates = tier
    cost = (
        rates.input * usage.input_tokens
        + rates.output * usage.output_tokens
        + rates.cache_read * usage.cache_read_tokens
        + rates.cache_write * (usage.cache_write_tokens - usage.cache_write_1h_tokens)
        + _or(rates.cache_write_1h, rates.cache_write) * usage.cache_write_1h_tokens
    ) / _MILLION
    return cost, price.currency, price.source


def uncached_cost_of(usage: Usage, cost: Decimal | None, currency: str, price: PriceList | None) -> Decimal | None:
    """Return what a call of `cost` had cost if no token of its prompt had been written to or read from a cache.

    None when the cost is unknown; the cost itself where what the cache changed cannot be told.
    """
    if cost is None or price is None or price.currency != currency or usage.prompt_tokens == usage.input_tokens:
        return cost
    as_listed, _currency, _source = cost_of(replace(usage, cost=None), price)
    uncached = Usage(input_tokens=usage.prompt_tokens, output_tokens=usage.output_tokens)
    without, _currency, _source = cost_of(uncached, price)
    return cost + (without or 0) - (as_listed or 0)


def price_list_for(kind: str, base_url: str, model_id: str, row: "Price | None" = None) -> PriceList | None:
    """Return the price list of a model: from `row` (the Price in force), else the bundled list, else the catalogue.

    `base_url` is the address in use, which tells the region and with it the currency. Reads files and may import the
    catalogue (0.2 s, once): never call it on the event loop.
    """
    if row is not None:
        return price_list_of(row)
    host = (urlsplit(base_url).hostname or "").lower()
    if PRESETS[kind].local and not host.endswith("ollama.com"):
        zero = Decimal(0)
        return PriceList(PRESETS[kind].currency, zero, zero, zero, zero, "free")
    return _bundled_price(kind, host, model_id) or _catalogue_price(kind, base_url, model_id)


_LISTED: dict[tuple[str, str, str], PriceList | None] = {}
_MAX_LISTED = 4096  # the names are the clients'


async def listed_price(kind: str, base_url: str, model_id: str) -> PriceList | None:
    """Return the price of a model that is no row, from the lists: looked up in a thread, once in a process."""
    key = (kind, base_url, model_id)
    if key not in _LISTED:
        price = await asyncio.to_thread(price_list_for, kind, base_url, model_id)
        if len(_LISTED) >= _MAX_LISTED:
            _LISTED.clear()
        _LISTED[key] = price
    return _LISTED[key]


def _or(price: Decimal | None, default: Decimal) -> Decimal:
    return default if price is None else price


@lru_cache(maxsize=1)
def _bundled_lists() -> list[dict[str, Any]]:
    document = json.loads(_BUNDLED.read_text(encoding="utf-8"))
    lists: list[dict[str, Any]] = document["lists"]
    return lists


def origin_of(price: PriceList, kind: str, base_url: str, model_id: str) -> str:
    """Return where a price of the lists is from: the bundled list with its source and date, or the catalogue."""
    if price.source == "bundled":
        found = _bundled_entry(kind, (urlsplit(base_url).hostname or "").lower(), model_id)
        return f"{found[0]['date']}: {found[0]['source']}" if found else ""
    return f"genai-prices {version('genai-prices')}" if price.source == "catalogue" else ""


def _bundled_price(kind: str, host: str, model_id: str) -> PriceList | None:
    found = _bundled_entry(kind, host, model_id)
    return _from_entry(found[1], found[0]["currency"]) if found else None


def _bundled_entry(kind: str, host: str, model_id: str) -> tuple[dict[str, Any], dict[str, Any]] | None:
    """Return the bundled list that holds a model, and the model's entry in it."""
    for price_list in _bundled_lists():
        if price_list["kind"] != kind or not any(host == h or host.endswith(f".{h}") for h in price_list["hosts"]):
            continue
        entry = price_list["models"].get(model_id) or price_list["models"].get(_SNAPSHOT.sub("", model_id))
        if entry is not None:
            return price_list, entry
    return None


def _from_entry(entry: Mapping[str, Any], currency: str) -> PriceList:
    price_in, price_out, read, write, for_1h = _rates(entry)
    tiers = tuple(Tier(tier["above"], *_rates(tier)) for tier in entry.get("tiers", ()))
    return PriceList(currency, price_in, price_out, read, write, "bundled", tiers, for_1h)


def _rates(entry: Mapping[str, Any]) -> _Rates:
    """Return the prices of a list's entry or tier; those of the cache that it leaves out are as input."""
    price_in = Decimal(entry["input"])
    return (
        price_in,
        Decimal(entry["output"]),
        Decimal(entry.get("cache_read", price_in)),
        Decimal(entry.get("cache_write", price_in)),
        Decimal(entry["cache_write_1h"]) if "cache_write_1h" in entry else None,
    )


def listed_schedule(kind: str, base_url: str, model_id: str) -> tuple[DatedPrice, ...]:
    """Return when which price of the catalogue holds, for `price_in_force`; () where one holds always.

    To be asked only where `price_list_for` names a price of the catalogue, and like it never on the event loop.
    """
    found = _catalogue_entry(kind, base_url, model_id)
    if found is None or not isinstance(found[1].prices, list):
        return ()
    provider, model = found
    try:
        # The catalogue lets the last of its conditions that holds decide.
        dated = [_dated(each, is_anthropic=provider.id == "anthropic") for each in reversed(model.prices)]
    except (AttributeError, TypeError, ValueError, ArithmeticError):
        logger.exception("The prices of %s in the catalogue have an unknown form", model_id)
        return ()
    return tuple(each for each in dated if each is not None)


def _dated(conditional: Any, *, is_anthropic: bool) -> DatedPrice | None:
    price = _from_catalogue(conditional.prices, is_anthropic=is_anthropic)
    condition = conditional.constraint
    if price is None:
        return None
    if condition is None:
        return DatedPrice(_ALWAYS, price)
    if hasattr(condition, "start_date"):
        return DatedPrice(datetime.combine(condition.start_date, time(), UTC), price)
    begin, end = _in_utc(condition.start_time), _in_utc(condition.end_time)
    return DatedPrice(_ALWAYS, price, Hours(begin, end, ZoneInfo("UTC"))) if begin != end else None


def _in_utc(clock: time) -> time:
    if clock.tzinfo is None:
        return clock
    return datetime.combine(date(2000, 1, 1), clock).astimezone(UTC).time()


@lru_cache(maxsize=4096)
def _catalogue_price(kind: str, base_url: str, model_id: str) -> PriceList | None:
    found = _catalogue_entry(kind, base_url, model_id)
    if found is None:
        return None
    provider, model = found
    try:
        return _from_catalogue(model.prices, is_anthropic=provider.id == "anthropic")
    except (AttributeError, TypeError, ValueError, ArithmeticError):
        # The shape is another project's; a model without a price is better than no models.
        logger.exception("The price of %s in the catalogue has an unknown form", model_id)
        return None


@lru_cache(maxsize=4096)
def _catalogue_entry(kind: str, base_url: str, model_id: str) -> tuple[Any, Any] | None:
    """Return the catalogue's provider and model."""
    # Imported here: it costs 0.2 s and 39 MB, which a gateway with prices of its own need not pay.
    from genai_prices.data_snapshot import get_snapshot

    provider_id = "openrouter" if kind == "openrouter" else None
    try:
        found: tuple[Any, Any] = get_snapshot().find_provider_model(
            model_id, None, provider_id, None if provider_id else base_url
        )
    except LookupError:
        return None
    return found


def _from_catalogue(prices: Any, *, is_anthropic: bool) -> PriceList | None:
    """Return the catalogue's standard price in force today; of prices by the hour of the day, the highest.

    Estimates rather show too much than too little; what a call is booked at is the affair of `listed_schedule`.
    """
    if isinstance(prices, list):
        now = datetime.now(UTC)
        chosen = prices[0].prices
        hourly = []
        for conditional in prices:
            if conditional.constraint is None or hasattr(conditional.constraint, "start_date"):
                if conditional.constraint is None or conditional.constraint.active(now):
                    chosen = conditional.prices
            else:
                hourly.append(conditional.prices)
        prices = max([chosen, *hourly], key=lambda price: _base(price, "input_mtok") or Decimal(0))
    price_in, price_out = _base(prices, "input_mtok"), _base(prices, "output_mtok")
    if price_in is None or price_out is None:
        return None
    names = {"input": "input_mtok", "output": "output_mtok", "cache_read": "cache_read_mtok"}
    names |= {"cache_write": "cache_write_mtok", "cache_write_1h": "cache_write_1h_mtok"}
    starts = sorted({tier.start for name in names.values() for tier in getattr(_value(prices, name), "tiers", ())})

    def rates(input_tokens: int) -> _Rates:
        found = {key: _at(_value(prices, name), input_tokens) for key, name in names.items()}
        default = _or(found["input"], price_in)
        return (
            default,
            _or(found["output"], price_out),
            _or(found["cache_read"], default),
            _or(found["cache_write"], default),
            _ANTHROPIC_1H * default if found["cache_write_1h"] is None and is_anthropic else found["cache_write_1h"],
        )

    base_in, base_out, read, write, for_1h = rates(0)
    tiers = tuple(Tier(start, *rates(start + 1)) for start in starts)
    return PriceList("USD", base_in, base_out, read, write, "catalogue", tiers, for_1h)


def _value(prices: Any, name: str) -> Any:
    return getattr(prices, name, None)


def _base(prices: Any, name: str) -> Decimal | None:
    return _at(_value(prices, name), 0)


def _at(value: Any, input_tokens: int) -> Decimal | None:
    """Return a price of the catalogue, plain or tiered, for a prompt of `input_tokens`."""
    if value is None:
        return None
    if hasattr(value, "tiers"):
        found = value.base
        for tier in value.tiers:
            if input_tokens > tier.start:
                found = tier.price
        return Decimal(found)
    return Decimal(value)
