"""Price rows as price lists: their tiers, the hours of the day at which they hold, the moments from which they do."""

import logging
from collections.abc import Iterable, Sequence
from datetime import datetime
from decimal import Decimal, InvalidOperation
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

from django.core.exceptions import ValidationError
from django.utils.translation import gettext as _

from providers.target import DatedPrice, Hours, PriceList, Tier

if TYPE_CHECKING:
    from providers.models import Price

logger = logging.getLogger(__name__)

TIER_PRICES = ("input", "output", "cache_read", "cache_write", "cache_write_1h")
_REQUIRED = ("above", "input", "output")
_MAX_TIERS = 20
_MAX_ABOVE = 2**40
# What a price column holds.
_MAX_PRICE = Decimal(10) ** 8
_QUANTUM = Decimal("0.000001")


def clean_tiers(value: Any) -> list[dict[str, Any]]:
    """Return the tiers in the form in which they are stored: prices as text, so that none becomes a float.

    Raises `ValidationError` with a message for each thing that is wrong.
    """
    if not isinstance(value, list):
        raise ValidationError(_("Enter a JSON list, e.g. []."))
    if len(value) > _MAX_TIERS:
        raise ValidationError(_("There are more than %(max)d tiers.") % {"max": _MAX_TIERS})
    problems: list[str] = []
    clean = [_clean_tier(tier, number, problems) for number, tier in enumerate(value, 1)]
    above = 0
    for number, tier in enumerate(clean, 1):
        if tier is None:
            continue
        if tier["above"] <= above and number > 1:
            problems.append(_("Tier %(number)d: “above” must rise from tier to tier.") % {"number": number})
        above = tier["above"]
    if problems:
        raise ValidationError(problems)
    return [tier for tier in clean if tier is not None]


def _clean_tier(tier: Any, number: int, problems: list[str]) -> dict[str, Any] | None:
    if not isinstance(tier, dict):
        problems.append(_("Tier %(number)d: enter a JSON object.") % {"number": number})
        return None
    before = len(problems)
    unknown = [name for name in tier if name != "above" and name not in TIER_PRICES]
    missing = [name for name in _REQUIRED if tier.get(name) is None]
    problems += [_("Tier %(number)d: unknown field %(name)s.") % {"number": number, "name": one} for one in unknown]
    problems += [_("Tier %(number)d: “%(name)s” is required.") % {"number": number, "name": one} for one in missing]
    clean: dict[str, Any] = {}
    above = tier.get("above")
    if above is not None:
        if isinstance(above, bool) or not isinstance(above, int) or not 0 < above <= _MAX_ABOVE:
            problems.append(
                _("Tier %(number)d: “above” must be a whole number of tokens, at least 1.") % {"number": number}
            )
        clean["above"] = above
    for name in TIER_PRICES:
        if tier.get(name) is None:
            continue
        price = _price(tier[name])
        if price is None:
            problems.append(
                _("Tier %(number)d: “%(name)s” must be a price of at least 0, with up to 6 decimal places.")
                % {"number": number, "name": name}
            )
        else:
            clean[name] = f"{price.normalize():f}"
    return clean if len(problems) == before else None


def _price(value: Any) -> Decimal | None:
    if isinstance(value, bool) or not isinstance(value, int | float | str | Decimal):
        return None
    try:
        price = Decimal(str(value))
        is_exact = price.is_finite() and price == price.quantize(_QUANTUM)
    except (InvalidOperation, ValueError):
        return None
    return price if is_exact and 0 <= price < _MAX_PRICE else None


def zone_named(name: str) -> ZoneInfo | None:
    """Return a time zone by its name, None for a name that is none."""
    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError):
        return None


def price_list_of(row: "Price") -> PriceList:
    """Return the prices of a row; what it leaves out of the cache costs as input."""
    return PriceList(
        currency=row.currency,
        input=row.input_per_million,
        output=row.output_per_million,
        cache_read=_or(row.cache_read_per_million, row.input_per_million),
        cache_write=_or(row.cache_write_per_million, row.input_per_million),
        source="bundled" if row.source == "bundled" else "price",
        tiers=_tiers(row),
        cache_write_1h=row.cache_write_1h_per_million,
    )


def _tiers(row: "Price") -> tuple[Tier, ...]:
    try:
        found = clean_tiers(row.tiers)
    except ValidationError as error:
        # Written past the forms. A call at the plain price is better than no configuration at all.
        logger.error("The tiers of price %s of model %s are left out: %s", row.pk, row.model_id, error.messages)
        return ()
    tiers = []
    for tier in found:
        price_in = Decimal(tier["input"])
        tiers.append(
            Tier(
                tier["above"],
                price_in,
                Decimal(tier["output"]),
                Decimal(tier.get("cache_read", price_in)),
                Decimal(tier.get("cache_write", price_in)),
                Decimal(tier["cache_write_1h"]) if "cache_write_1h" in tier else None,
            )
        )
    return tuple(tiers)


def _or(price: Decimal | None, default: Decimal) -> Decimal:
    return default if price is None else price


def newest_first(rows: Iterable["Price"]) -> list["Price"]:
    """Return the rows of a model in the order in which they are asked whether they hold.

    Of rows from one moment those with hours come first: they are exceptions from the one without.
    """
    return sorted(rows, key=lambda row: (row.valid_from, row.time_from is not None, row.pk), reverse=True)


def dated_prices(rows: Iterable["Price"], zone: ZoneInfo) -> tuple[DatedPrice, ...]:
    """Return the rows of a model with when they hold, for `price_in_force`.

    Hours without a time zone are those of `zone`.
    """
    return tuple(DatedPrice(row.valid_from, price_list_of(row), hours_of(row, zone)) for row in newest_first(rows))


def hours_of(row: "Price", zone: ZoneInfo) -> Hours | None:
    """Return at what hours of the day the row holds; None: always."""
    if row.time_from is None or row.time_until is None:
        return None
    return Hours(row.time_from, row.time_until, zone_named(row.time_zone) or zone if row.time_zone else zone)


def rows_in_force(rows: Iterable["Price"], moment: datetime) -> list["Price"]:
    """Return the rows that are in force on the day of `moment`, whatever the hour; the one without hours comes last."""
    found: list[Price] = []
    seen = set()
    for row in newest_first(rows):
        hours = (row.time_from, row.time_until, row.time_zone)
        if row.valid_from > moment or hours in seen:
            continue
        seen.add(hours)
        found.append(row)
        if row.time_from is None:
            break
    return found


def next_change(rows: Sequence["Price"], moment: datetime) -> datetime | None:
    """Return when the next row comes into force; None: none is known to."""
    return min((row.valid_from for row in rows if row.valid_from > moment), default=None)
