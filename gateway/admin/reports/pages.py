"""The pages of the reports that are no choice of rows: the overview, one key, all keys, the budgets."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from functools import partial
from typing import Any

from django.contrib import admin
from django.core.paginator import Paginator
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils import timezone
from django.utils.http import urlencode
from django.utils.safestring import SafeString
from django.utils.translation import gettext_lazy as _

from accounts.models import ApiKey, Quota, User
from accounts.reports import BadQuery, Conversion, Period, Query, Report, Row, Totals, business_day, run
from accounts.reports.budgets import Budget, budgets
from accounts.roles import visible
from gateway.admin.keys.keys import key_state_text
from gateway.admin.quotas.forms import measured, subject_text
from gateway.admin.reports.charts import ranking
from gateway.admin.reports.form import WITHOUT, ReportForm
from gateway.admin.reports.links import parameters
from gateway.admin.reports.reports import (
    KINDS,
    ROWS_PER_PAGE,
    chart_of,
    context_of,
    is_linked,
    page_links,
    report_view,
    subject,
    table_of,
)
from gateway.admin.reports.tables import USAGE_SUMS, amount, cell, count, money, row_labels, sums_of, usage_columns
from gateway.admin_base import grouped, row_link


@dataclass(frozen=True, slots=True)
class Card:
    """A number of now beside the same of before."""

    label: Any
    now: SafeString | str
    before: str
    change: str


_CARDS = (
    amount("cost", _("cost")),
    count("calls", _("calls")),
    count("tokens", _("tokens")),
    count("failed_calls", _("failed"), "failed"),
    amount("saved", _("saved by routing")),
    amount("cache_saved", _("saved by caches")),
)


_OF_KEY = (
    count("calls", _("calls")),
    count("input_tokens", _("input tokens")),
    count("output_tokens", _("output tokens")),
    count("tokens", _("tokens")),
    amount("cost", _("cost")),
)


def _viewer(request: HttpRequest) -> User | None:
    # The pages are those of people who have logged in; nobody else comes this far.
    return request.user if isinstance(request.user, User) else None


def _change(now: Decimal | int | None, before: Decimal | int | None) -> str:
    if now is None or not before or before < 0:
        return ""
    return f"{100 * (Decimal(now) - Decimal(before)) / Decimal(before):+,.0f} %"


def overview_view(request: HttpRequest) -> HttpResponse:
    """Show this month beside the same days of the last one, who and what it was spent on, and the last weeks."""
    context = context_of(request, "overview", _("Reports"))
    today, conversion, viewer, links = (
        business_day(timezone.now()),
        Conversion.load(),
        _viewer(request),
        is_linked(request),
    )
    month, last_month = Period(today.replace(day=1), today), Period.last_month(today)
    same_days = Period(last_month.start, min(last_month.start + timedelta(days=today.day - 1), last_month.end))
    of_cards, only_cost = sums_of(_CARDS) | {"unpriced_calls"}, frozenset(("cost",))
    # One report of the teams has the cards' numbers in its total.
    now = run(Query(month, ("team",), {}, viewer, sums=of_cards), conversion)
    before = run(Query(same_days, (), {}, viewer, sums=of_cards), conversion)
    whole = run(Query(last_month, (), {}, viewer, sums=only_cost), conversion)
    found = parameters(now.query)
    context["cards"] = [
        Card(
            column.label,
            cell(column, now.total, found, links, now.currency),
            column.text(before.total),
            _change(column.value(now.total), column.value(before.total)),
        )
        for column in _CARDS
    ]
    rankings = []
    for name, title in (("team", _("Teams")), ("user", _("Users")), ("model", _("Models"))):
        report = now if name == "team" else run(Query(month, (name,), {}, viewer, sums=only_cost), conversion)
        rankings.append(_ranking(title, report))
    trend = run(Query(Period.last_days(today, 30), ("day", "team"), {}, viewer, sums=only_cost), conversion)
    context |= {
        "month": month,
        "same_days": same_days,
        "last_month": last_month,
        "whole": money(whole.total.cost, whole.currency),
        "currency": now.currency,
        "rankings": rankings,
        "chart": chart_of(trend, "cost", links),
        "trend_url": f"{reverse('reports:usage')}?{urlencode({'period': '30', 'by': 'day', 'then': 'team'})}",
        "missing_rates": ", ".join(sorted(now.missing_rates | before.missing_rates | whole.missing_rates)),
        "unpriced_calls": now.total.unpriced_calls,
        "has_usage": bool(whole.total.calls or now.total.calls),
    }
    return TemplateResponse(request, "admin/reports/overview.html", context)


def _ranking(title: Any, report: Report) -> SafeString | None:
    """Return the largest rows of a report by cost; each leads to the days of its usage."""
    (name,) = report.query.by
    usage = reverse("reports:usage")

    def show(row: Row) -> tuple[str, str, str]:
        one = WITHOUT if row.ids[0] in (None, "") else row.ids[0]
        url = f"{usage}?{urlencode({'period': 'month', 'by': 'day', name: one})}"
        return row_labels(report, row)[0], money(row.totals.cost, report.currency), url

    rows = [(row.totals.cost or Decimal(0), row) for row in report.rows]
    return ranking(str(title), rows, show, f"{usage}?{urlencode({'period': 'month', 'by': name})}")


def key_view(request: HttpRequest, pk: int) -> HttpResponse:
    """Show what one key used: in all, by model, by provider and by day."""
    context = context_of(request, "keys", _("Usage of a key"))
    keys = visible(ApiKey.objects.select_related("user__team"), request.user)
    key = get_object_or_404(keys, pk=pk)
    form = ReportForm(request, business_day(timezone.now()), {"period": "30", "by": "day", "key": str(pk)})
    context |= {"form": form, "key": key, "title": str(key)}
    if form.is_valid():
        conversion, period = Conversion.load(), form.chosen_period()
        sums = USAGE_SUMS | sums_of(_CARDS, form.cleaned_data["measure"])
        reports = {
            name: run(Query(period, (name,), {"key": pk}, form.viewer, sums=sums), conversion)
            for name in ("model", "provider", "day")
        }
        days = reports["day"]
        found, links = parameters(Query(period, (), {"key": pk})), is_linked(request)
        context |= {
            "report": days,
            "subject": subject(form, days),
            "cards": [
                Card(column.label, cell(column, days.total, found, links, days.currency), "", "") for column in _CARDS
            ],
            "chart": chart_of(days, form.cleaned_data["measure"], links),
            "tables": [
                (title, table_of(request, reports[name], usage_columns(reports[name]), reports[name].rows, None))
                for name, title in (("model", _("By model")), ("provider", _("By provider")), ("day", _("By day")))
            ],
            "missing_rates": ", ".join(sorted(days.missing_rates)),
        }
    return TemplateResponse(request, "admin/reports/key.html", context)


@dataclass(frozen=True, slots=True)
class KeyLine:
    """A key with what it used and how full the tightest of its own quotas is."""

    name: str
    url: str
    state: str
    totals: Totals
    cells: list[SafeString | str]
    limit: str
    used: str


def keys_view(request: HttpRequest) -> HttpResponse:
    """Show every key: its usage in the chosen days, whether it is active, and how much of its quota is used."""
    context = context_of(request, "keys", _("Keys"))
    now = timezone.now()
    form = ReportForm(request, business_day(now), {"period": "30", "by": "key"})
    context |= {"form": form}
    if form.is_valid():
        try:
            query = Query(form.chosen_period(), ("key",), form.filters(), form.viewer, sums=sums_of(_OF_KEY))
            report = run(query, Conversion.load())
        except BadQuery as error:
            context["problem"] = str(error)
        else:
            context |= _keys(request, form, report, now)
    return TemplateResponse(request, "admin/reports/keys.html", context)


def _keys(request: HttpRequest, form: ReportForm, report: Report, now: datetime) -> dict[str, Any]:
    keys = visible(ApiKey.objects.select_related("user"), request.user).in_bulk()
    # Also those that used nothing, and those that were used in a team that their owner has left since.
    used = {pk: (str(key), Totals()) for pk, key in keys.items()}
    used |= {row.ids[0]: (row.labels[0], row.totals) for row in report.rows}
    listed = sorted(used, key=lambda pk: (-(used[pk][1].cost or 0), -used[pk][1].calls, used[pk][0].casefold()))
    pages = Paginator(listed, ROWS_PER_PAGE).get_page(request.GET.get("page"))
    tightest: dict[int, Budget] = {}
    # The fullest comes first.
    for budget in budgets(form.viewer, now):
        if budget.quota.key_id is not None:
            tightest.setdefault(budget.quota.key_id, budget)
    links = is_linked(request)

    def numbers(totals: Totals, found: Mapping[str, str]) -> list[SafeString | str]:
        return [cell(column, totals, found, links, report.currency) for column in _OF_KEY]

    def line(pk: int) -> KeyLine:
        name, totals = used[pk]
        key, tight = keys.get(pk), tightest.get(pk)
        return KeyLine(
            name,
            reverse("reports:key", args=(pk,)) if key is not None else "",
            key_state_text(key) if key is not None else "-",
            totals,
            numbers(totals, parameters(report.query, (pk,))),
            f"{measured(tight.quota, tight.limit)} / {tight.quota.get_window_display()}" if tight else "-",
            f"{tight.percent} %" if tight else "-",
        )

    return {
        "report": report,
        "subject": subject(form, report),
        "lines": [line(pk) for pk in pages.object_list],
        "total": numbers(report.total, parameters(report.query)),
        "missing_rates": ", ".join(sorted(report.missing_rates)),
        **page_links(request, pages),
    }


@dataclass(frozen=True, slots=True)
class BudgetLine:
    """A budget as it is shown."""

    budget: Budget
    subject: str
    link: SafeString | str
    used: str
    limit: str
    forecast: str
    forecast_percent: str
    former: str
    bar: float
    forecast_bar: float
    is_over: bool
    is_used_up: bool


def budgets_view(request: HttpRequest) -> HttpResponse:
    """Show each budget against what was used, with the forecast."""
    context = context_of(request, "budgets", _("Budgets"))
    now = timezone.now()
    sees_quotas = request.user.has_perm("accounts.view_quota")
    context["lines"] = [_budget_line(budget, sees_quotas) for budget in budgets(_viewer(request), now)]
    context["now"] = now
    return TemplateResponse(request, "admin/reports/budgets.html", context)


def _budget_line(budget: Budget, sees_quotas: bool) -> BudgetLine:
    quota = budget.quota
    name = subject_text(quota)
    forecast_percent = budget.forecast_percent
    return BudgetLine(
        budget,
        name,
        row_link(quota, name) if sees_quotas else name,
        _measured(quota, budget.used),
        _measured(quota, budget.limit),
        "-" if budget.forecast is None else _measured(quota, budget.forecast),
        "" if forecast_percent is None else f"{forecast_percent:,.0f} %",
        ", ".join(_plain(quota, past.used) for past in budget.former),
        min(float(budget.percent), 100),
        min(float(forecast_percent or 0), 100),
        budget.percent >= 100 or (forecast_percent or 0) > 100,
        budget.used >= budget.limit,
    )


def _plain(quota: Quota, used: Decimal) -> str:
    return money(used) if quota.unit == Quota.Unit.COST else grouped(used)


def _measured(quota: Quota, used: Decimal) -> str:
    if quota.unit == Quota.Unit.COST:
        return money(used, quota.currency)
    return measured(quota, used)


def urls() -> list[URLPattern]:
    """Return the addresses of the reports."""
    views: Sequence[tuple[str, str, Any]] = (
        ("", "overview", overview_view),
        *((f"{kind.name}/", kind.name, partial(report_view, kind)) for kind in KINDS),
        ("keys/", "keys", keys_view),
        ("keys/<int:pk>/", "key", key_view),
        ("budgets/", "budgets", budgets_view),
    )
    return [path(route, admin.site.admin_view(view), name=name) for route, name, view in views]
