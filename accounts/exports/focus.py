"""Usage in the columns of FOCUS 1.2, the FinOps Open Cost and Usage Specification.

Source of every rule: https://github.com/FinOps-Open-Cost-and-Usage-Spec/FOCUS_Spec, tag v1.2, specification/columns and
specification/attributes, read on 2026-11-26. All columns of the level "Mandatory" and "Recommended" are there, of the
conditional ones those whose condition holds here. Not: unit prices (a day holds calls of four token classes and of
several dated prices, so there is none of which the quantity times it is the cost), what concerns commitments, capacity
reservations and regions.
"""

import json
from collections import defaultdict
from collections.abc import Iterator
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

from django.conf import settings
from django.db.models import Sum

from accounts.exports.cells import Cell, csv_bytes
from accounts.models import Correction
from accounts.reports import Query
from accounts.reports.query import rows_of
from accounts.reports.sources import CORRECTIONS, USAGE
from routing.models import RuntimeSettings

PAGE = 2000
_TOKENS = ("input_tokens", "output_tokens", "cache_read_tokens", "cache_write_tokens")
_WHERE = ("key_id", "user_id", "team_id", "provider_name", "model_name", "scene_name", "kind", "currency")
_NAMES = ("key__name", "user__username", "team__name", "team__cost_center")
_COUNTS = ("calls", "failed_calls", "fallback_calls", "unpriced_calls", "estimated_calls")
_AMOUNTS = ("failed_cost", "fallback_cost", "reference_cost", "compared_cost", "uncached_cost")
# In the order of their names, as the specification recommends; ours behind them.
COLUMNS = (
    "AvailabilityZone",
    "BilledCost",
    "BillingAccountId",
    "BillingAccountName",
    "BillingAccountType",
    "BillingCurrency",
    "BillingPeriodEnd",
    "BillingPeriodStart",
    "ChargeCategory",
    "ChargeClass",
    "ChargeDescription",
    "ChargeFrequency",
    "ChargePeriodEnd",
    "ChargePeriodStart",
    "ConsumedQuantity",
    "ConsumedUnit",
    "ContractedCost",
    "EffectiveCost",
    "InvoiceId",
    "InvoiceIssuerName",
    "ListCost",
    "PricingCategory",
    "PricingCurrency",
    "PricingQuantity",
    "PricingUnit",
    "ProviderName",
    "PublisherName",
    "ResourceId",
    "ResourceName",
    "ResourceType",
    "ServiceCategory",
    "ServiceName",
    "ServiceSubcategory",
    "SkuId",
    "SkuMeter",
    "SkuPriceId",
    "SubAccountId",
    "SubAccountName",
    "SubAccountType",
    "Tags",
    "x_CacheReadTokens",
    "x_CacheWriteTokens",
    "x_Calls",
    "x_ComparedCost",
    "x_EstimatedCalls",
    "x_FailedCalls",
    "x_FailedCost",
    "x_FallbackCalls",
    "x_FallbackCost",
    "x_InputTokens",
    "x_OutputTokens",
    "x_ReferenceCost",
    "x_ReferenceCurrency",
    "x_UncachedCost",
    "x_UnpricedCalls",
)

_Row = dict[str, Any]


def focus_csv(query: Query) -> Iterator[bytes]:
    """Yield the file of what `query` asks for: a line per day and dimensions of the rollup, and one per correction.

    UTF-8 without a byte order mark and with English names whatever the language: it is for programs. `query.by` is
    ignored. The lines add up to the report. Raises `ValueError` for a filter that days do not have.
    """
    if query.needs_calls:
        raise ValueError("days do not know sessions and subagents")
    yield csv_bytes([COLUMNS])
    for rows in _pages(query):
        yield csv_bytes([_cells(row) for row in rows])


def focus_rows(query: Query) -> Iterator[_Row]:
    """Yield the lines by the names of the columns, without those that are null."""
    for rows in _pages(query):
        yield from rows


def _pages(query: Query) -> Iterator[list[_Row]]:
    row = RuntimeSettings.load()
    zone, currency = ZoneInfo(row.business_time_zone), row.report_currency
    day = query.period.start
    while day <= query.period.end:
        yield from _usage_pages(query, day, zone, currency)
        yield from _correction_pages(query, day, zone, currency)
        day += timedelta(days=1)


def _usage_pages(query: Query, day: date, zone: ZoneInfo, currency: str) -> Iterator[list[_Row]]:
    corrected = _corrected(query, day)
    fields = (*_WHERE, *_NAMES, *_COUNTS, *_TOKENS, "cost", *_AMOUNTS, "reference_currency")
    found = rows_of(USAGE, query).filter(date=day).order_by("pk").values("pk", *fields)
    page = list(found[:PAGE])
    while page:
        rows = []
        for usage in page:
            # Corrections are in the sums of the days, under no reference, and are lines of their own here.
            taken = {} if usage["reference_currency"] else corrected.get(tuple(usage[name] for name in _WHERE), {})
            for name, value in taken.items():
                usage[name] -= value
            if any(usage[name] for name in ("calls", "cost", *_TOKENS)):
                rows.append(_usage_row(usage, day, zone, currency))
        yield rows
        page = list(found.filter(pk__gt=page[-1]["pk"])[:PAGE]) if len(page) == PAGE else []


def _corrected(query: Query, day: date) -> dict[tuple[Any, ...], dict[str, Any]]:
    """Return what corrections added to the rows of the day."""
    sums = {f"sum_{name}": Sum(name) for name in ("cost", *_TOKENS)}
    found = rows_of(CORRECTIONS, query).filter(booked_on=day).order_by().values(*_WHERE).annotate(**sums)
    added: dict[tuple[Any, ...], dict[str, Any]] = defaultdict(dict)
    for row in found:
        values = {name: row[f"sum_{name}"] for name in ("cost", *_TOKENS)}
        added[tuple(row[name] for name in _WHERE)] = {**values, "uncached_cost": values["cost"]}
    return added


def _correction_pages(query: Query, day: date, zone: ZoneInfo, currency: str) -> Iterator[list[_Row]]:
    fields = (*_WHERE, *_NAMES, *_TOKENS, "cost", "reason", "source", "corrects_on")
    found = rows_of(CORRECTIONS, query).filter(booked_on=day).order_by("pk").values("pk", *fields)
    page = list(found[:PAGE])
    while page:
        yield [_correction_row(correction, day, zone, currency) for correction in page]
        page = list(found.filter(pk__gt=page[-1]["pk"])[:PAGE]) if len(page) == PAGE else []


def _usage_row(usage: _Row, day: date, zone: ZoneInfo, currency: str) -> _Row:
    tokens, calls = sum(usage[name] for name in _TOKENS), usage["calls"]
    # A consumed quantity is above zero; a call that no target answered used no tokens.
    quantity, unit = (tokens, "Tokens") if tokens > 0 else (calls, "Requests")
    row = _row(usage, day, day, zone, currency)
    row["ChargeDescription"] = f"{row['SkuId']}: {tokens} tokens in {calls} calls"
    if quantity > 0:
        row |= {
            "ChargeCategory": "Usage",
            "ConsumedQuantity": quantity,
            "ConsumedUnit": unit,
            "PricingQuantity": quantity,
            "PricingUnit": unit,
        }
    else:
        row |= {"ChargeCategory": "Adjustment", "ChargeFrequency": "One-Time"}
    row |= {f"x_{_pascal(name)}": usage[name] for name in (*_COUNTS, *_AMOUNTS)}
    row["x_ReferenceCurrency"] = usage["reference_currency"] or None
    return row


def _correction_row(correction: _Row, day: date, zone: ZoneInfo, currency: str) -> _Row:
    corrects_on = correction["corrects_on"]
    # "Correction" is one of a month billed before; within the month it is an ordinary charge.
    is_of_former = corrects_on.replace(day=1) < day.replace(day=1)
    is_late = correction["source"] == Correction.Source.LATE_PRICE
    return {
        **_row(correction, corrects_on if is_of_former else day, day, zone, currency),
        "ChargeCategory": "Usage" if is_of_former and is_late else "Adjustment",
        "ChargeClass": "Correction" if is_of_former else None,
        "ChargeDescription": f"Correction of {corrects_on}: {correction['reason']}",
        "ChargeFrequency": "Usage-Based" if is_late else "One-Time",
    }


def _row(values: _Row, charged_on: date, booked_on: date, zone: ZoneInfo, currency: str) -> _Row:
    """Return what a day's usage and a correction have in common."""
    first = booked_on.replace(day=1)
    following = (first + timedelta(days=31)).replace(day=1)
    # What no target answered was made available by the gateway.
    provider, model = values["provider_name"] or "Wolfgate", values["model_name"] or "none"
    cost: Decimal = values["cost"]
    # An amount is billed in its own currency; where nothing was priced there is none.
    billed_in = values["currency"] or currency
    sku = f"{provider}/{model}"
    team = values["team_id"]
    return {
        "BilledCost": cost,
        "BillingAccountId": settings.PUBLIC_URL or "wolfgate",
        "BillingAccountName": "Wolfgate",
        "BillingAccountType": "Gateway",
        "BillingCurrency": billed_in,
        "BillingPeriodEnd": _moment(following, zone),
        "BillingPeriodStart": _moment(first, zone),
        "ChargeFrequency": "Usage-Based",
        "ChargePeriodEnd": _moment(charged_on + timedelta(days=1), zone),
        "ChargePeriodStart": _moment(charged_on, zone),
        "ContractedCost": cost,
        "EffectiveCost": cost,
        "InvoiceIssuerName": provider,
        "ListCost": cost,
        "PricingCategory": "Standard",
        "PricingCurrency": billed_in,
        "ProviderName": provider,
        "PublisherName": provider,
        "ResourceId": f"key/{values['key_id']}",
        "ResourceName": f"{values['user__username']}/{values['key__name']}",
        "ResourceType": "API key",
        "ServiceCategory": "AI and Machine Learning",
        "ServiceName": f"Model inference at {provider}",
        "ServiceSubcategory": "Generative AI",
        "SkuId": sku,
        "SkuMeter": "Tokens",
        "SkuPriceId": sku,
        "SubAccountId": None if team is None else f"team/{team}",
        "SubAccountName": None if team is None else values["team__name"],
        "SubAccountType": None if team is None else "Team",
        "Tags": _tags(values),
        **{f"x_{_pascal(name)}": values[name] for name in _TOKENS},
    }


def _tags(values: _Row) -> str:
    """Return the tags as JSON; those that a provider defines have a prefix, those without a value are left out."""
    tags = {
        "user": values["user__username"],
        "key": values["key__name"],
        "scene": values["scene_name"],
        "kind": values["kind"],
        "cost_center": values["team__cost_center"],
    }
    return json.dumps({f"wolfgate/{name}": value for name, value in tags.items() if value}, ensure_ascii=False)


def _pascal(name: str) -> str:
    return "".join(part.capitalize() for part in name.split("_"))


def _moment(day: date, zone: ZoneInfo) -> str:
    return f"{datetime.combine(day, time(), zone).astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}"


def _cells(row: _Row) -> list[Cell]:
    return [row.get(name) for name in COLUMNS]
