"""A team's month on paper: what it used and spent, by whom, on what, and how that compares."""

import zoneinfo
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import Any

from django.db.models import Sum
from django.template.loader import render_to_string

from accounts.exports.reports import rates_used
from accounts.models import ClosedMonth, Correction, ExchangeRate, Quota, QuotaWindow, Team
from accounts.reports import Conversion, Period, Query, Report, Row, Totals, run
from accounts.reports.query import rows_of
from accounts.reports.sources import CORRECTIONS
from routing.models import RuntimeSettings

# More of them are in the export of the calls.
MAX_CORRECTIONS = 100


@dataclass(frozen=True, slots=True)
class BudgetLine:
    """A quota of the team and what was used of it in the month, in its unit."""

    quota: Quota
    used: Decimal
    limit: Decimal

    @property
    def percent(self) -> Decimal | None:
        """How much of the limit was used, in percent."""
        return (100 * self.used / self.limit).quantize(Decimal("0.1")) if self.limit else None


@dataclass(frozen=True, slots=True)
class Statement:
    """A team's statement. `team` None: the usage of those without one."""

    team: Team | None
    period: Period
    time_zone: str
    whole: Report
    users: list[Row]
    models: list[Row]
    before: Totals
    corrections: list[Correction]
    corrections_left_out: int
    corrections_by_currency: dict[str, Decimal]
    budgets: list[BudgetLine]
    below: list[Team]
    rates: list[ExchangeRate]
    is_closed: bool

    @property
    def total(self) -> Totals:
        """What the whole month adds up to."""
        return self.whole.total

    @property
    def currency(self) -> str:
        """The currency of the converted amounts."""
        return self.whole.currency

    @property
    def change(self) -> Decimal | None:
        """How much more the month cost than the one before, in percent; None of nothing."""
        if not self.before.cost or self.total.cost is None:
            return None
        return (100 * (self.total.cost - self.before.cost) / self.before.cost).quantize(Decimal("0.1"))


def statement(team: Team | None, month: date) -> Statement:
    """Return the statement of `team` for the month of `month`, by a fixed number of queries.

    It is of this team alone; teams below it have their own. Who may see it is for the caller to check.
    """
    settings = RuntimeSettings.load()
    period = Period.month(month)
    of_team = {"team": team.pk if team is not None else None}
    conversion = Conversion.load()
    whole = run(Query(period, (), of_team), conversion)
    corrections = rows_of(CORRECTIONS, Query(period, (), of_team)).select_related("user").order_by("booked_on", "pk")
    sums = corrections.order_by().values("currency").annotate(sum=Sum("cost")).values_list("currency", "sum")
    former = Period.month(period.start - timedelta(days=1))
    return Statement(
        team,
        period,
        settings.business_time_zone,
        whole,
        _by_cost(run(Query(period, ("user",), of_team), conversion).rows),
        _by_cost(run(Query(period, ("provider", "model"), of_team), conversion).rows),
        run(Query(former, (), of_team), conversion).total,
        list(corrections[:MAX_CORRECTIONS]),
        max(0, whole.total.corrections - MAX_CORRECTIONS),
        {currency: sum_ for currency, sum_ in sums if sum_},
        _budgets(team, period, settings.business_time_zone) if team is not None else [],
        list(team.children.order_by("name")) if team is not None else [],
        rates_used(whole),
        ClosedMonth.objects.filter(month=period.start).exists(),
    )


def _by_cost(rows: list[Row]) -> list[Row]:
    return sorted(rows, key=lambda row: (-(row.totals.cost or Decimal(0)), row.labels))


def _budgets(team: Team, period: Period, time_zone: str) -> list[BudgetLine]:
    zone = zoneinfo.ZoneInfo(time_zone)
    begins = datetime.combine(period.start, time(), zone)
    ends = datetime.combine(period.end + timedelta(days=1), time(), zone)
    windows = QuotaWindow.objects.filter(quota__team=team, quota__window=Quota.Window.MONTH)
    # The month's own window, also where the business time zone was another one then.
    windows = windows.filter(starts_at__gte=begins - timedelta(days=1), starts_at__lt=ends - timedelta(days=2))
    used = {window.quota_id: window.used for window in windows}
    quotas = Quota.objects.filter(team=team, window=Quota.Window.MONTH).select_related("team")
    raises: dict[int, Decimal] = {}
    for quota in quotas.prefetch_related("raises"):
        in_force = (each for each in quota.raises.all() if each.starts_at < ends and each.ends_at > begins)
        raises[quota.pk] = sum((each.amount for each in in_force), Decimal(0))
    return [
        BudgetLine(quota, used.get(quota.pk, Decimal(0)), quota.limit + raises[quota.pk])
        for quota in quotas
        if quota.is_active or quota.pk in used
    ]


def statement_html(found: Statement, made_at: datetime, **context: Any) -> str:
    """Return the page, in the language in force, with its styles in it: a file that needs no other."""
    made = made_at.astimezone(zoneinfo.ZoneInfo(found.time_zone))
    return render_to_string(
        "exports/statement.html", {"statement": found, "made_at": made.replace(tzinfo=None), **context}
    )
