"""Each line of the FOCUS file against the rules of FOCUS 1.2.

The rules are those of https://github.com/FinOps-Open-Cost-and-Usage-Spec/FOCUS_Spec, tag v1.2, specification/columns,
read on 2026-11-26.
"""

import csv
import io
import json
import re
from datetime import date
from decimal import Decimal
from typing import Any

from django.test import TestCase

from accounts.exports import focus
from accounts.exports.focus import COLUMNS, focus_csv
from accounts.models import ApiKey, Correction, Team, UsageDaily
from accounts.reports import Period, Query, run
from routing.models import RuntimeSettings
from tests.accounts.books import person

MANDATORY = [
    "BilledCost",
    "BillingAccountId",
    "BillingAccountName",
    "BillingCurrency",
    "BillingPeriodEnd",
    "BillingPeriodStart",
    "ChargeCategory",
    "ChargeClass",
    "ChargeDescription",
    "ChargePeriodEnd",
    "ChargePeriodStart",
    "ContractedCost",
    "EffectiveCost",
    "InvoiceIssuerName",
    "ListCost",
    "PricingQuantity",
    "PricingUnit",
    "ProviderName",
    "PublisherName",
    "ServiceCategory",
    "ServiceName",
]
RECOMMENDED = ["AvailabilityZone", "ChargeFrequency", "InvoiceId", "ServiceSubcategory"]
NOT_NULL = [
    "BilledCost",
    "BillingAccountId",
    "BillingAccountType",
    "BillingCurrency",
    "BillingPeriodEnd",
    "BillingPeriodStart",
    "ChargeCategory",
    "ChargeFrequency",
    "ChargePeriodEnd",
    "ChargePeriodStart",
    "ContractedCost",
    "EffectiveCost",
    "InvoiceIssuerName",
    "ListCost",
    "ProviderName",
    "PublisherName",
    "ServiceCategory",
    "ServiceName",
    "ServiceSubcategory",
    "PricingCurrency",
]
DECIMALS = ["BilledCost", "ContractedCost", "EffectiveCost", "ListCost", "ConsumedQuantity", "PricingQuantity"]
MOMENTS = ["BillingPeriodEnd", "BillingPeriodStart", "ChargePeriodEnd", "ChargePeriodStart"]
ALLOWED = {
    "ChargeCategory": {"Usage", "Purchase", "Tax", "Credit", "Adjustment"},
    "ChargeClass": {"", "Correction"},
    "ChargeFrequency": {"One-Time", "Recurring", "Usage-Based"},
    "PricingCategory": {"", "Standard", "Dynamic", "Committed", "Other"},
    "ServiceCategory": {"AI and Machine Learning"},
    "ServiceSubcategory": {"Generative AI"},
    "ConsumedUnit": {"", "Tokens", "Requests"},
    "PricingUnit": {"", "Tokens", "Requests"},
}
MOMENT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ\Z")
NUMBER = re.compile(r"-?\d+(\.\d+)?\Z")
NOVEMBER = Period(date(2026, 11, 1), date(2026, 11, 30))


def problems(line: dict[str, str]) -> list[str]:
    """Return which rules the line breaks."""
    found = [f"{name} is null" for name in NOT_NULL if not line[name]]
    found += [f"{name}: {line[name]}" for name, allowed in ALLOWED.items() if line[name] not in allowed]
    found += [f"{name}: {line[name]}" for name in DECIMALS if line[name] and not NUMBER.match(line[name])]
    found += [f"{name}: {line[name]}" for name in MOMENTS if not MOMENT.match(line[name])]
    if not re.fullmatch(r"[A-Z]{3}", line["BillingCurrency"]):
        found.append("BillingCurrency is no code of ISO 4217")
    if not line["BillingPeriodStart"] < line["BillingPeriodEnd"]:
        found.append("an empty billing period")
    if not line["ChargePeriodStart"] < line["ChargePeriodEnd"]:
        found.append("an empty charge period")
    is_usage, is_correction = line["ChargeCategory"] == "Usage", line["ChargeClass"] == "Correction"
    if is_usage and not is_correction:
        needed = ("PricingQuantity", "PricingUnit", "ConsumedQuantity", "ConsumedUnit", "PricingCategory", "SkuId")
        found += [f"{name} of usage is null" for name in (*needed, "SkuPriceId") if not line[name]]
        if Decimal(line["ConsumedQuantity"] or 0) <= 0:
            found.append("nothing was consumed")
        if not line["BillingPeriodStart"] <= line["ChargePeriodStart"] < line["BillingPeriodEnd"]:
            found.append("charged outside of its billing period")
    if not is_usage and (line["ConsumedQuantity"] or line["ConsumedUnit"]):
        found.append("only usage consumes")
    for quantity, unit in (("ConsumedQuantity", "ConsumedUnit"), ("PricingQuantity", "PricingUnit")):
        if bool(line[quantity]) != bool(line[unit]):
            found.append(f"{quantity} without {unit} or the other way round")
    if bool(line["SubAccountId"]) != bool(line["SubAccountType"]):
        found.append("SubAccountType goes with SubAccountId")
    tags = json.loads(line["Tags"])
    if not all(name.startswith("wolfgate/") and isinstance(value, str) for name, value in tags.items()):
        found.append("tags of a provider have its prefix")
    return found


class Focus(TestCase):
    def setUp(self) -> None:
        RuntimeSettings.objects.create(pk=1, business_time_zone="Asia/Shanghai", report_currency="CNY")
        self.team = Team.objects.create(name="Platform", cost_center="4711")
        self.key = person("dev1", self.team)[0]

    def day(self, key: ApiKey | None = None, **fields: Any) -> UsageDaily:
        key = key or self.key
        values: dict[str, Any] = {
            "date": date(2026, 11, 23),
            "key": key,
            "user": key.user,
            "team": key.user.team,
            "provider_name": "main",
            "model_name": "big",
            "kind": "main",
            "currency": "USD",
            "calls": 3,
            "input_tokens": 100,
            "output_tokens": 20,
            "cost": Decimal("1.25"),
            "uncached_cost": Decimal("1.5"),
        }
        return UsageDaily.objects.create(**(values | fields))

    def correction(self, **fields: Any) -> Correction:
        values: dict[str, Any] = {
            "key": self.key,
            "user": self.key.user,
            "team": self.team,
            "provider_name": "main",
            "model_name": "big",
            "kind": "main",
            "cost": Decimal("-0.25"),
            "currency": "USD",
            "reason": "refund",
            "corrects_on": date(2026, 11, 20),
            "booked_on": date(2026, 11, 23),
        }
        return Correction.objects.create(**(values | fields))

    def lines(self, query: Query | None = None) -> list[dict[str, str]]:
        content = b"".join(focus_csv(query or Query(NOVEMBER))).decode()
        lines = list(csv.DictReader(io.StringIO(content)))
        for line in lines:
            self.assertEqual(problems(line), [])
        return lines

    def test_the_columns_are_those_of_the_specification_and_marked_ones_of_ours(self) -> None:
        self.assertLessEqual({*MANDATORY, *RECOMMENDED}, set(COLUMNS))
        self.assertEqual(list(COLUMNS), sorted(COLUMNS))
        for name in COLUMNS:
            self.assertRegex(name, r"\A(x_)?[A-Z][A-Za-z]{1,47}\Z")

    def test_a_day_of_a_key_and_model_is_a_line_of_usage(self) -> None:
        self.day(scene_name="code", reference_cost=Decimal(2), reference_currency="USD", compared_cost=Decimal("1.25"))
        (line,) = self.lines()
        self.assertEqual((line["ChargeCategory"], line["ChargeClass"]), ("Usage", ""))
        self.assertEqual((line["BilledCost"], line["BillingCurrency"]), ("1.25", "USD"))
        self.assertEqual((line["ConsumedQuantity"], line["ConsumedUnit"]), ("120", "Tokens"))
        # A day of Shanghai begins at 16:00 of the day before in UTC, and its end is that of the next one's begin.
        self.assertEqual(line["ChargePeriodStart"], "2026-11-22T16:00:00Z")
        self.assertEqual(line["ChargePeriodEnd"], "2026-11-23T16:00:00Z")
        self.assertEqual(line["BillingPeriodStart"], "2026-10-31T16:00:00Z")
        self.assertEqual(line["BillingPeriodEnd"], "2026-11-30T16:00:00Z")
        self.assertEqual((line["SubAccountId"], line["SubAccountName"]), (f"team/{self.team.pk}", "Platform"))
        tags = {"user": "dev1", "key": "laptop", "scene": "code", "kind": "main", "cost_center": "4711"}
        self.assertEqual(json.loads(line["Tags"]), {f"wolfgate/{name}": value for name, value in tags.items()})
        self.assertEqual((line["x_InputTokens"], line["x_OutputTokens"], line["x_Calls"]), ("100", "20", "3"))
        self.assertEqual((line["x_ReferenceCost"], line["x_ReferenceCurrency"]), ("2", "USD"))

    def test_a_call_that_nothing_answered_and_one_without_a_price_are_lines_too(self) -> None:
        loner = person("dev2")[0]
        self.day(loner, provider_name="", model_name="", currency="", cost=0, input_tokens=0, output_tokens=0)
        self.day(currency="", cost=0, unpriced_calls=3)
        failed, unpriced = sorted(self.lines(), key=lambda line: line["x_UnpricedCalls"])
        self.assertEqual((failed["ConsumedQuantity"], failed["ConsumedUnit"]), ("3", "Requests"))
        self.assertEqual((failed["SubAccountId"], failed["ProviderName"]), ("", "Wolfgate"))
        self.assertEqual((unpriced["BilledCost"], unpriced["BillingCurrency"]), ("0", "CNY"))

    def test_corrections_leave_the_usage_and_are_lines_of_their_own(self) -> None:
        # As the books add it: into the sums of the day on which it is booked.
        self.day(cost=Decimal("0.75"), uncached_cost=Decimal(1))
        self.correction()
        self.correction(corrects_on=date(2026, 10, 31))
        usage, same_month, former = self.lines()
        self.assertEqual((usage["BilledCost"], usage["x_UncachedCost"]), ("1.25", "1.5"))
        self.assertEqual((same_month["ChargeCategory"], same_month["ChargeClass"]), ("Adjustment", ""))
        self.assertEqual((former["ChargeCategory"], former["ChargeClass"]), ("Adjustment", "Correction"))
        # Billed in November, for a day of October.
        self.assertEqual(former["ChargePeriodStart"], "2026-10-30T16:00:00Z")
        self.assertEqual(former["BillingPeriodStart"], "2026-10-31T16:00:00Z")

    def test_a_call_that_was_priced_after_its_month_is_corrected_usage(self) -> None:
        self.day(calls=0, input_tokens=0, output_tokens=0, cost=Decimal(4), uncached_cost=Decimal(4))
        self.correction(cost=Decimal(4), corrects_on=date(2026, 10, 3), source=Correction.Source.LATE_PRICE)
        (line,) = self.lines()
        self.assertEqual((line["ChargeCategory"], line["ChargeClass"]), ("Usage", "Correction"))
        self.assertEqual(line["BilledCost"], "4")

    def test_the_lines_add_up_to_the_report(self) -> None:
        self.day(cost=Decimal("0.75"))
        self.correction(cost=Decimal("-0.5"))
        self.day(currency="CNY", cost=Decimal("0.0000000001"))
        query = Query(NOVEMBER)
        sums: dict[str, Decimal] = {}
        for line in self.lines(query):
            currency = line["BillingCurrency"]
            sums[currency] = sums.get(currency, Decimal(0)) + Decimal(line["BilledCost"])
        self.assertEqual(sums, run(query).total.costs)

    def test_pages_lose_nothing(self) -> None:
        for number in range(5):
            self.day(model_name=f"model{number}")
            self.correction(model_name=f"model{number}")
        whole = self.lines()
        size, focus.PAGE = focus.PAGE, 2
        self.addCleanup(setattr, focus, "PAGE", size)
        self.assertEqual(self.lines(), whole)
        self.assertEqual(len(whole), 10)

    def test_only_what_is_asked_for_is_in_it(self) -> None:
        self.day()
        self.day(person("dev2")[0])
        self.day(date=date(2026, 12, 1))
        self.assertEqual(len(self.lines(Query(NOVEMBER, filters={"team": self.team.pk}))), 1)
        with self.assertRaises(ValueError):
            list(focus_csv(Query(NOVEMBER, filters={"session": "x"})))
