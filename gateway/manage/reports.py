"""Reports: usage by anything, an overview, budgets."""

from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Annotated, Any

from django.utils import timezone
from ninja import Query, Router, Schema
from pydantic import AfterValidator, Field

from accounts import reports
from accounts.models import ApiKey, Team, User
from accounts.reports.budgets import budgets
from gateway.manage.auth import Caller
from gateway.manage.errors import invalid
from gateway.manage.operations import Amount, operation, within_reason
from gateway.manage.paging import DEFAULT_LIMIT, MAX_LIMIT
from gateway.manage.quotas import key_named
from gateway.manage.writing import find

router = Router(tags=["reports"])
Day = Annotated[date, AfterValidator(within_reason)]
_OVERVIEW = ("user", "key", "model", "provider", "scene", "day")


class TotalsOut(Schema):
    """Numbers that add up. Amounts without a currency are converted into the report's."""

    calls: int
    failed_calls: int
    fallback_calls: int
    unpriced_calls: int
    estimated_calls: int
    input_tokens: int
    output_tokens: int
    cache_read_tokens: int
    cache_write_tokens: int
    costs: dict[str, Amount] = Field(description="By the currency of the calls.", examples=[{"USD": "1.25"}])
    cost: Amount | None = Field(description="Converted; null: no rate for any of it.")
    failed_cost: Amount
    fallback_cost: Amount
    reference_cost: Amount = Field(description="What the compared calls had cost on the reference model.")
    saved: Amount = Field(description="By routing, against the reference model.")
    cache_saved: Amount


class ReportRow(Schema):
    """One line."""

    labels: list[str] = Field(examples=[["Platform", "main/big"]])
    ids: list[Any] = Field(description="Numbers, names or days, in the order of `by`.")
    totals: TotalsOut


class ReportOut(Schema):
    """The answer to a question."""

    from_day: date = Field(alias="from")
    to_day: date = Field(alias="to")
    by: list[str]
    currency: str
    missing_rates: list[str] = Field(description="Currencies without a rate; amounts in them are in no conversion.")
    total: TotalsOut
    rows: list[ReportRow]
    next: str | None = Field(description="To be sent as `after` for more rows.")


class PeriodQuery(Schema):
    """Which days of the business time zone; without them the last 30."""

    from_day: Day | None = Field(None, alias="from")
    to_day: Day | None = Field(None, alias="to", description="Inclusive.")


class UsageQuery(PeriodQuery):
    """A question."""

    by: str = Field(
        "",
        max_length=200,
        description="What rows are made by, with commas: month, week, day, team, cost_center, user, key, model, "
        "provider, scene, kind, session, subagent.",
        examples=["month,team"],
    )
    team: str | None = Field(None, description="The name; empty: without a team.")
    cost_center: str | None = None
    user: str | None = Field(None, description="The username.")
    key: str | None = Field(None, description="As username/name.")
    model: str | None = None
    provider: str | None = None
    scene: str | None = None
    kind: str | None = None
    session: str | None = None
    subagent: str | None = None
    currency: str | None = None
    limit: int = Field(DEFAULT_LIMIT, ge=1, le=MAX_LIMIT)
    after: str | None = Field(None, max_length=10)


class Overview(Schema):
    """All usage of a period, by each of several things."""

    from_day: date = Field(alias="from")
    to_day: date = Field(alias="to")
    currency: str
    total: TotalsOut
    by: dict[str, list[ReportRow]] = Field(description="By user, key, model, provider, scene and day.")


class BudgetOut(Schema):
    """A quota, what is used of it, and where it goes."""

    quota_id: int
    subject: str
    unit: str
    window: str
    currency: str | None
    used: Amount
    reserved: Amount
    limit: Amount = Field(description="With the raises in force.")
    raised: Amount = Field(description="What the raises in force add to the limit.")
    percent: Amount
    forecast: Amount | None = Field(description="What is used at the end of the window, at the pace so far.")
    forecast_percent: Amount | None
    runs_out_at: datetime | None = Field(
        description="When the limit is reached at that pace; null: not before the end."
    )
    starts_at: datetime | None
    ends_at: datetime | None


class Budgets(Schema):
    """All budgets."""

    items: list[BudgetOut]


def period_of(query: PeriodQuery) -> reports.Period:
    """Return the days of a question. Raises `ManageError`."""
    today = reports.business_day(timezone.now())
    end = query.to_day or max(today, query.from_day or today)
    start = query.from_day or end - timedelta(days=29)
    if start > end:
        raise invalid(to="is before `from`")
    return reports.Period(start, end)


def totals_of(totals: reports.Totals) -> TotalsOut:
    """Return the numbers as they are shown."""
    return TotalsOut(**{name: getattr(totals, name) for name in TotalsOut.model_fields})


def _row(row: reports.Row) -> ReportRow:
    return ReportRow(labels=list(row.labels), ids=list(row.ids), totals=totals_of(row.totals))


def _filters(caller: Caller, query: UsageQuery) -> dict[str, Any]:
    given = {name: getattr(query, name) for name in reports.FILTERS}
    found: dict[str, Any] = {name: value for name, value in given.items() if value is not None}
    if found.get("team") == "":
        found["team"] = None
    elif query.team is not None:
        team = caller.visible(Team.objects.all()).filter(name=query.team).first()
        if team is None:
            raise invalid(team=f"there is no team {query.team}")
        found["team"] = team.pk
    if query.user is not None:
        user = caller.visible(User.objects.all()).filter(username=query.user).first()
        if user is None:
            raise invalid(user=f"there is no user {query.user}")
        found["user"] = user.pk
    if query.key is not None:
        found["key"] = key_named(caller, "key", query.key).pk
    return found


def _answer(query: reports.Query) -> reports.Report:
    try:
        return reports.run(query)
    except reports.BadQuery as error:
        raise invalid(by=str(error)) from error


@operation(
    router,
    "GET",
    "/usage",
    "accounts.view_usagedaily",
    summary="Usage and costs by anything",
    description="Rows add up to the total. Corrections are counted on the day they are booked on.",
    answer=ReportOut,
)
def usage_report(caller: Caller, query: Query[UsageQuery]) -> ReportOut:
    period = period_of(query)
    after = query.after or "0"
    if not after.isascii() or not after.isdecimal():
        raise invalid(after="is no `next` of a page")
    by = tuple(name.strip() for name in query.by.split(",") if name.strip())
    try:
        question = reports.Query(period, by, _filters(caller, query), caller.viewer)
    except reports.BadQuery as error:
        raise invalid(by=str(error)) from error
    report = _answer(question)
    begin, end = int(after), int(after) + query.limit
    return ReportOut.model_validate(
        {
            "from": period.start,
            "to": period.end,
            "by": list(by),
            "currency": report.currency,
            "missing_rates": sorted(report.missing_rates),
            "total": totals_of(report.total),
            "rows": [_row(row) for row in report.rows[begin:end]],
            "next": str(end) if end < len(report.rows) else None,
        }
    )


@operation(
    router,
    "GET",
    "/overview",
    "accounts.view_usagedaily",
    summary="All usage of a period, by user, key, model, provider, scene and day",
    description="Of each the 1000 that cost most; days in their order.",
    answer=Overview,
)
def usage_overview(caller: Caller, query: Query[PeriodQuery]) -> Overview:
    period = period_of(query)
    found = {name: _answer(reports.Query(period, (name,), {}, caller.viewer)) for name in _OVERVIEW}
    total = found["day"]
    lists = {
        name: [_row(row) for row in _dearest(report.rows) if name != "day"][:MAX_LIMIT]
        for name, report in found.items()
    }
    lists["day"] = [_row(row) for row in total.rows]
    return Overview.model_validate(
        {
            "from": period.start,
            "to": period.end,
            "currency": total.currency,
            "total": totals_of(total.total),
            "by": lists,
        }
    )


def _dearest(rows: list[reports.Row]) -> list[reports.Row]:
    return sorted(rows, key=lambda row: (-(row.totals.cost or Decimal(0)), -row.totals.calls))


@operation(
    router,
    "GET",
    "/budgets",
    "accounts.view_quota",
    summary="Budgets: used, reserved, limit and forecast of every quota in force",
    answer=Budgets,
)
def budget_report(caller: Caller) -> Budgets:
    return Budgets(
        items=[
            BudgetOut(
                quota_id=budget.quota.pk,
                subject=budget.subject,
                unit=budget.quota.unit,
                window=budget.quota.window,
                currency=budget.quota.currency if budget.quota.unit == "cost" else None,
                **{
                    name: getattr(budget, name)
                    for name in BudgetOut.model_fields
                    if name not in ("quota_id", "subject", "unit", "window", "currency")
                },
            )
            for budget in budgets(caller.viewer, timezone.now())
        ]
    )


class KeyStatistics(Schema):
    """What was used with a key."""

    key: str
    from_day: date = Field(alias="from")
    to_day: date = Field(alias="to")
    currency: str
    total: TotalsOut
    by_model: list[ReportRow]
    by_provider: list[ReportRow]
    by_day: list[ReportRow]


keys_router = Router(tags=["keys"])


@operation(
    keys_router,
    "GET",
    "/{int:pk}/statistics",
    "accounts.view_apikey",
    summary="What was used with a key: by model, platform and day",
    answer=KeyStatistics,
)
def key_statistics(caller: Caller, pk: int, query: Query[PeriodQuery]) -> KeyStatistics:
    key, period = find(caller, ApiKey.objects.select_related("user"), pk=pk), period_of(query)
    found = {name: _answer(reports.Query(period, (name,), {"key": key.pk})) for name in ("model", "provider", "day")}
    return KeyStatistics.model_validate(
        {
            "key": str(key),
            "from": period.start,
            "to": period.end,
            "currency": found["day"].currency,
            "total": totals_of(found["day"].total),
            **{f"by_{name}": [_row(row) for row in report.rows] for name, report in found.items()},
        }
    )
