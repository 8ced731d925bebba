"""What the tests of the reports share."""

from datetime import date
from decimal import Decimal
from typing import Any

from django.test import TestCase
from django.test.utils import CaptureQueriesContext

from accounts.models import ApiKey, ExchangeRate, Team, UsageDaily, User
from accounts.reports import Period, Report
from tests.admin.rows import make_key

NOVEMBER = Period(date(2026, 11, 1), date(2026, 11, 30))


def make_usage(key: ApiKey, day: date, **fields: Any) -> UsageDaily:
    """Write a row of the rollup."""
    values: dict[str, Any] = {
        "date": day,
        "key": key,
        "user": key.user,
        "team": key.user.team,
        "provider_name": "main",
        "model_name": "big",
        "kind": "main",
        "currency": "USD",
        "calls": 1,
    }
    return UsageDaily.objects.create(**{**values, **fields})


def rate(from_currency: str, to_currency: str, value: str, since: date) -> None:
    """Set an exchange rate."""
    ExchangeRate.objects.create(
        from_currency=from_currency, to_currency=to_currency, rate=Decimal(value), valid_from=since
    )


def selects(context: CaptureQueriesContext) -> int:
    """Return how many queries read; PostgreSQL is given memory by statements of its own.

    What the reader's roles are is looked up elsewhere, as often as it must be.
    """
    texts = [query["sql"] for query in context.captured_queries]
    return sum(text.startswith("SELECT") and "auth_group" not in text for text in texts)


class ReportCase(TestCase):
    """Two teams, one below the other, with a person and a key each."""

    @classmethod
    def setUpTestData(cls) -> None:
        cls.above = Team.objects.create(name="研发", cost_center="4711")
        cls.below = Team.objects.create(name="平台", cost_center="4712", parent=cls.above)
        cls.ann = User.objects.create(username="ann", team=cls.above)
        cls.bob = User.objects.create(username="bob", team=cls.below)
        cls.loner = User.objects.create(username="loner")
        cls.keys = [make_key(user, "laptop") for user in (cls.ann, cls.bob, cls.loner)]

    def cost(self, report: Report) -> dict[tuple[str, ...], Decimal | None]:
        return {row.labels: row.totals.cost for row in report.rows}
