"""Writing and reading `price` of a model: one price, or several by hour and by date. Appended, never changed."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import datetime, time
from decimal import Decimal
from typing import Any

from django.utils import timezone

from gateway.config.fields import at
from gateway.config.rows import Run, shown
from gateway.config.schema import Item
from gateway.config.shapes import PRICE, columns
from providers.models import Model, Price
from providers.price_rows import newest_first, rows_in_force

PRICE_COLUMNS = columns(PRICE)
# What two prices are compared by: not from when they hold, nor where they are from.
_FIGURES = {field: column for field, column in PRICE_COLUMNS.items() if field not in ("valid_from", "note")}
# Prices that a person stated. The bundled list is another step of the price resolution and is not the file's affair.
STATED_SOURCES = (Price.Source.ADMIN, Price.Source.CONFIG)


def stated_prices() -> dict[int, list[Price]]:
    """Return model pk -> its stated prices, newest first."""
    found: dict[int, list[Price]] = defaultdict(list)
    for price in Price.objects.filter(source__in=STATED_SOURCES):
        found[price.model_id].append(price)
    return {pk: newest_first(rows) for pk, rows in found.items()}


def write_prices(run: Run, item: Item, model: Model, stated: list[Price]) -> None:
    """Append what the file says of the price of `model` beyond what is `stated`; null takes the stated ones away.

    Prices without `valid_from` hold from now on, until the first of the file's dated ones.
    """
    wanted: list[dict[str, Any]] | None = item.values.get("price")
    if wanted is None:
        if ("price" in item.values or run.prune) and stated:
            Price.objects.filter(model=model, source__in=STATED_SOURCES).delete()
            run.say("-", "price", item.identity)
        return
    now = timezone.now()
    known = [(row.valid_from, row.values()) for row in stated]
    dated = [one for one in wanted if one.get("valid_from") is not None]
    undated = [one for one in wanted if one.get("valid_from") is None]
    current = rows_in_force(stated, now)
    is_over = any(one["valid_from"] <= now for one in dated)
    in_force = [row.values() for row in current]
    adds_undated = not is_over and not _same(in_force, [_figures(one) for one in undated])
    new = [
        one
        for one in wanted  # in the order of the file
        if (adds_undated if one in undated else (one["valid_from"], _figures(one)) not in known)
    ]
    was_stated = bool(stated)
    for one in new:
        if not _append(run, item, model, one, now):
            return
    if not new:
        return
    told = " | ".join(_shown(_figures(one), one.get("valid_from")) for one in new)
    if was_stated:
        before = " | ".join(_shown(row.values(), None) for row in reversed(current)) or "none"
        run.say("~", "price", item.identity, f"{before} -> {told}")
    else:
        run.say("+", "price", item.identity, told)


def exported(stated: Sequence[Price]) -> Any:
    """Return what a file says of these prices: those in force, and those to come with their date. None: nothing."""
    now = timezone.now()
    entries = [_entry(row) for row in reversed(rows_in_force(stated, now))]
    coming = [row for row in reversed(stated) if row.valid_from > now]
    entries += [_entry(row) | {"valid_from": row.valid_from.isoformat()} for row in coming]
    if not entries:
        return None
    return entries[0] if len(entries) == 1 and "valid_from" not in entries[0] else entries


def _entry(row: Price) -> dict[str, Any]:
    entry: dict[str, Any] = {}
    for field, column in PRICE_COLUMNS.items():
        value = getattr(row, column)
        if field == "valid_from" or value in (None, "", []):
            continue
        if field == "tiers":
            value = [{name: one if name == "above" else Decimal(one) for name, one in tier.items()} for tier in value]
        entry[field] = shown(value) if isinstance(value, time) else value
    return entry


def _figures(one: Mapping[str, Any]) -> dict[str, Any]:
    empty: dict[str, Any] = {"tiers": [], "time_zone": ""}
    return {field: one.get(field, empty.get(field)) for field in _FIGURES}


def _same(some: list[dict[str, Any]], others: list[dict[str, Any]]) -> bool:
    return len(some) == len(others) and all(one in others for one in some)


def _append(run: Run, item: Item, model: Model, one: Mapping[str, Any], now: datetime) -> bool:
    price = Price(
        model=model,
        source=Price.Source.CONFIG,
        valid_from=one.get("valid_from") or now,
        source_note=one.get("note", ""),
        **{_FIGURES[field]: value for field, value in _figures(one).items()},
    )
    wanted: list[Any] = item.values["price"]
    # A price that stands alone may be written without a list.
    index = f"[{wanted.index(one)}]" if len(wanted) > 1 else ""
    row = Item("price", at(item.path, "price") + index, "", dict(one))
    if run.write(row, price, {}, PRICE_COLUMNS):
        return True
    run.refuse(item)
    return False


def _shown(figures: Mapping[str, Any], valid_from: datetime | None) -> str:
    """Return e.g. "USD 3 in, 15 out, 0.3 cache_read"."""
    parts = [f"{figures['currency']} {shown(figures['input'])} in", f"{shown(figures['output'])} out"]
    names = ("cache_read", "cache_write", "cache_write_1h")
    parts += [f"{shown(figures[name])} {name}" for name in names if figures[name] is not None]
    parts += [f"above {tier['above']} tokens {tier['input']} in, {tier['output']} out" for tier in figures["tiers"]]
    if figures["from"] is not None:
        zone = f" {figures['time_zone']}" if figures["time_zone"] else ""
        parts.append(f"{shown(figures['from'])}-{shown(figures['until'])}{zone}")
    if valid_from is not None:
        parts.append(f"from {shown(valid_from)}")
    return ", ".join(parts)
