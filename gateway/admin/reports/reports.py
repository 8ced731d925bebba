"""The pages of the reports, under /admin/reports/. The numbers are made in accounts/reports."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import date
from decimal import Decimal
from typing import Any

from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.core.paginator import Paginator
from django.http import HttpRequest, HttpResponse, QueryDict
from django.template.response import TemplateResponse
from django.utils import timezone
from django.utils.safestring import SafeString
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from accounts.reports import DIMENSIONS, BadQuery, Conversion, Query, Report, Row, Totals, business_day, run
from gateway.admin.books.decisions import INNER_KINDS
from gateway.admin.reports.charts import ranking, stacks
from gateway.admin.reports.form import MEASURES, ReportForm
from gateway.admin.reports.links import calls_url, parameters
from gateway.admin.reports.tables import (
    FAILURES,
    SAVINGS,
    USAGE_SUMS,
    Column,
    cells,
    corrections_cell,
    money,
    row_labels,
    sorted_rows,
    sums_of,
    usage_columns,
)
from gateway.admin.reports.tabs import tabs_of

ROWS_PER_PAGE = 100
# Of sessions and subagents a month has more than anybody reads; exports have all.
LARGEST = 100


@dataclass(frozen=True, slots=True)
class Kind:
    """One page: a table with certain columns over any rows."""

    name: str
    title: Any
    by: str
    columns: Callable[[Report], Sequence[Column]]
    sums: frozenset[str]  # behind the columns
    explanation: Any = ""
    measure: str = "cost"


USAGE = Kind("usage", _("Usage"), "day", usage_columns, USAGE_SUMS)
SAVINGS_KIND = Kind(
    "savings",
    _("Savings"),
    "model",
    lambda _report: SAVINGS,
    sums_of(SAVINGS),
    _(
        "Saved by routing: what the same tokens, cached as they were, had cost on the reference model of the policy,"
        " less what they did cost. Only calls with both costs are compared. Saved by caches: what the same calls had"
        " cost without any cache, less what they did cost; below zero when writing caches cost more than reading"
        " them saved."
    ),
    "saved",
)
FAILURES_KIND = Kind(
    "failures",
    _("Failures"),
    "provider",
    lambda _report: FAILURES,
    sums_of(FAILURES),
    _(
        "Failed are calls that ended in an error or were lost with their worker; they can have cost something all the"
        " same. Fallback calls were answered by another target than the first: their cost is what the fallback cost."
    ),
)
KINDS = (USAGE, SAVINGS_KIND, FAILURES_KIND)


@dataclass(frozen=True, slots=True)
class Head:
    """The head of a column, which sorts by it."""

    label: Any
    url: str = ""
    sorted: str = ""
    is_number: bool = True


@dataclass(frozen=True, slots=True)
class Label:
    """One of the things that a row is of."""

    text: str
    is_time: bool


@dataclass(frozen=True, slots=True)
class Line:
    """A row as it is shown."""

    labels: tuple[Label, ...]
    cells: Sequence[SafeString | str]


@dataclass(frozen=True, slots=True)
class Table:
    """A table as it is shown."""

    caption: str
    heads: list[Head]
    lines: list[Line]
    total: Sequence[SafeString | str]
    label_count: int


def context_of(request: HttpRequest, name: str, title: Any, **more: Any) -> dict[str, Any]:
    """Return what every page of the reports needs. Raises `PermissionDenied` for who may not read them."""
    if not request.user.has_perm("accounts.view_usagedaily"):
        raise PermissionDenied
    return {
        **admin.site.each_context(request),
        "title": title,
        "tabs": tabs_of(request, f"reports:{name}"),
        "is_overview": name == "overview",
        **more,
    }


def is_linked(request: HttpRequest) -> bool:
    """Return whether the reader may see the calls behind a number."""
    return request.user.has_perm("accounts.view_callrecord")


def report_view(kind: Kind, request: HttpRequest) -> HttpResponse:
    """Show one kind of report, by what the address says."""
    context = context_of(request, kind.name, kind.title)
    form = ReportForm(request, business_day(timezone.now()), {"by": kind.by, "measure": kind.measure})
    context |= {"form": form, "explanation": kind.explanation}
    if form.is_valid():
        try:
            context |= _answer(kind, form, request)
        except BadQuery as error:
            context["problem"] = str(error)
    return TemplateResponse(request, "admin/reports/report.html", context)


def _answer(kind: Kind, form: ReportForm, request: HttpRequest) -> dict[str, Any]:
    conversion = Conversion.load()
    measure = form.cleaned_data["measure"]
    query = replace(form.query(), sums=kind.sums | sums_of((), measure), largest=LARGEST)
    report = run(query, conversion)
    columns = kind.columns(report)
    rows, order = sorted_rows(report, columns, request.GET.get("sort", ""))
    pages = Paginator(rows, ROWS_PER_PAGE).get_page(request.GET.get("page"))
    answer: dict[str, Any] = {
        "report": report,
        "subject": subject(form, report),
        "missing_rates": ", ".join(sorted(report.missing_rates)),
        "table": table_of(request, report, columns, list(pages.object_list), order),
        "chart": chart_of(report, measure, is_linked(request)),
        "largest": LARGEST if report.rest is not None else None,
        **page_links(request, pages),
    }
    if kind is SAVINGS_KIND:
        kinds = [kind for kind in INNER_KINDS if query.filters.get("kind", kind) == kind]
        filters = {**query.filters, "kind": kinds}
        inner = run(Query(query.period, ("kind",), filters, query.viewer, query.roll_up, USAGE_SUMS), conversion)
        if inner.rows:
            answer["inner"] = table_of(request, inner, usage_columns(inner), inner.rows, None)
    return answer


def page_links(request: HttpRequest, pages: Any) -> dict[str, Any]:
    """Return what templates need to lead to the pages before and after one."""
    return {
        "pages": pages,
        "next_url": _with(request, page=pages.next_page_number()) if pages.has_next() else "",
        "previous_url": _with(request, page=pages.previous_page_number()) if pages.has_previous() else "",
    }


def _with(request: HttpRequest, **changes: Any) -> str:
    parameters_: QueryDict = request.GET.copy()
    for name, value in changes.items():
        parameters_[name] = str(value)
    return f"?{parameters_.urlencode()}"


def subject(form: ReportForm, report: Report) -> str:
    """Return in words what a report is about: for its print, which has no form."""
    period = report.query.period
    parts = [f"{period.start} – {period.end}"]
    for name in report.query.filters:
        field = form.fields[name]
        value = form.cleaned_data[name]
        shown = dict(getattr(field, "choices", ())).get(value, value) if name in ("team", "kind") else value
        parts.append(f"{field.label}: {shown}")
    parts.append(gettext("amounts in %(currency)s") % {"currency": report.currency})
    return " · ".join(parts)


def table_of(
    request: HttpRequest, report: Report, columns: Sequence[Column], rows: Sequence[Any], order: str | None
) -> Table:
    """Return the table of some rows of a report with its total; `order` is that of the rows, None: not to be chosen."""
    by = report.query.by
    has_corrections = report.total.corrections > 0
    links, sees_corrections = is_linked(request), request.user.has_perm("accounts.view_correction")
    names = [(name, DIMENSIONS[name].label, False) for name in by]
    names += [(column.name, column.label, True) for column in columns]
    heads = [
        Head(label, "" if order is None else _with(request, sort=_next_order(name, order, is_number), page=1),
             _sorted(name, order), is_number)
        for name, label, is_number in names
    ]  # fmt: skip
    if has_corrections:
        heads.append(Head(_("corrections")))

    def numbers(row: Any) -> list[SafeString | str]:
        own = cells(report, columns, row, links)
        return [*own, corrections_cell(report, row, sees_corrections)] if has_corrections else own

    lines = [
        Line(
            tuple(
                Label(text, DIMENSIONS[name].is_time) for name, text in zip(by, row_labels(report, row), strict=True)
            ),
            numbers(row),
        )
        for row in rows
    ]
    caption = gettext("amounts in %(currency)s") % {"currency": report.currency}
    return Table(caption, heads, lines, numbers(None), max(len(by), 1))


def _next_order(name: str, order: str, is_number: bool) -> str:
    if order in (name, f"-{name}"):
        return name if order.startswith("-") else f"-{name}"
    return f"-{name}" if is_number else name


def _sorted(name: str, order: str | None) -> str:
    return {name: "ascending", f"-{name}": "descending"}.get(order or "", "")


def measured(totals: Totals, measure: str) -> Decimal:
    """Return what a chart of `measure` draws."""
    if measure == "cost":
        return totals.cost or Decimal(0)
    if measure == "saved":
        return totals.saved
    return Decimal(totals.calls if measure == "calls" else totals.tokens)


def chart_of(report: Report, measure: str, links: bool) -> SafeString | None:
    """Return the chart of a report: stacks if there is a time in it, else a ranking."""
    by = report.query.by
    is_money = measure in ("cost", "saved")
    unit = report.currency if is_money else ""
    time = next((position for position, name in enumerate(by) if DIMENSIONS[name].is_time), None)
    labels = " / ".join(str(DIMENSIONS[name].label) for name in by)
    title = gettext("%(measure)s by %(what)s") % {"measure": MEASURES[measure], "what": labels}
    if time is None:

        def show(row: Row) -> tuple[str, str, str]:
            value = measured(row.totals, measure)
            url = calls_url(parameters(report.query, row.ids)) if links and row.totals.calls else ""
            return " / ".join(row_labels(report, row)), money(value, unit) if is_money else f"{value:,}", url

        return ranking(title, [(measured(row.totals, measure), row) for row in report.rows], show)
    points: dict[tuple[date, str], Decimal] = {}
    for row in report.rows:
        shown = row_labels(report, row)
        series = " / ".join(shown[:time] + shown[time + 1 :])
        place = (row.ids[time], series)
        points[place] = points.get(place, Decimal(0)) + measured(row.totals, measure)
    return stacks(title, points, report.query.period, unit, by[time])
