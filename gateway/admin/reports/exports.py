"""Downloads, under /admin/exports/. They take what the pages of the reports take, and the list of calls its filters."""

from collections.abc import Callable, Iterator
from datetime import date, timedelta
from functools import partial
from tempfile import TemporaryFile
from typing import Any
from zoneinfo import ZoneInfo

from django.contrib import admin
from django.contrib.admin.options import IncorrectLookupParameters
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseBase, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, register_converter, reverse
from django.utils import timezone
from django.utils.translation import gettext

from accounts.audit import record
from accounts.exports.calls import calls_csv, write_calls
from accounts.exports.focus import focus_csv
from accounts.exports.reports import report_csv, report_xlsx
from accounts.exports.selection import Selection, booked, count_up_to
from accounts.exports.statements import statement, statement_html
from accounts.models import AuditEntry, CallRecord, Correction, MonthlyExport, Team, User
from accounts.reports import BadQuery, Query, business_day, run
from accounts.roles import sees_everything, visible
from gateway.admin.reports.form import ReportForm
from gateway.admin.reports.tabs import tabs_of
from gateway.streamed import download
from routing.models import RuntimeSettings

XLSX = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"
CSV = "text/csv; charset=utf-8"
# A workbook of more takes minutes of a processor that models are called with; the CSV has no limit.
MAX_XLSX_CALLS = 200_000
_PART_BYTES = 256 * 1024


class MonthConverter:
    """A month in an address, such as 2026-11; its value is the first day."""

    regex = r"\d{4}-\d{2}"

    def to_python(self, value: str) -> date:
        """Return the first day. Raises `ValueError`, which Django takes for another address."""
        return date.fromisoformat(f"{value}-01")

    def to_url(self, value: date) -> str:
        """Return the month of a day."""
        return f"{value:%Y-%m}"


register_converter(MonthConverter, "month")


class NotThisWay(ValueError):
    """The format is not good for what was asked; the text says what to do."""


def _need(request: HttpRequest, *permissions: str) -> User:
    if not request.user.has_perms(permissions) or not isinstance(request.user, User):
        raise PermissionDenied
    return request.user


def _zone() -> ZoneInfo:
    return ZoneInfo(RuntimeSettings.load().business_time_zone)


def _note(user: User, name: str, filters: Any = None) -> None:
    text = f"export {name}"
    record(AuditEntry.Action.OTHER, user, note=f"{text}, {filters}"[:300] if filters else text)


def _form(request: HttpRequest) -> ReportForm:
    return ReportForm(request, business_day(timezone.now()), {"by": "day"})


def _refused(request: HttpRequest, problem: str, form: ReportForm | None = None) -> HttpResponse:
    """Return the page that says why there is no file."""
    context = {**admin.site.each_context(request), "title": gettext("Export"), "problem": problem, "wrong": form}
    return TemplateResponse(request, "admin/exports/refused.html", context, status=400)


def _asked(
    make: Callable[[HttpRequest, User, Query, str], HttpResponseBase], permission: str
) -> Callable[[HttpRequest], HttpResponseBase]:
    """Return a view that reads the question from the address, and makes the file of it."""

    def view(request: HttpRequest) -> HttpResponseBase:
        user = _need(request, permission)
        form = _form(request)
        if not form.is_valid():
            return _refused(request, gettext("The address asks for something that reports do not have."), form)
        query = form.query()
        days = f"{query.period.start}--{query.period.end}"
        try:
            return make(request, user, query, days)
        except (BadQuery, NotThisWay) as error:
            return _refused(request, str(error))

    return view


def _report_csv(request: HttpRequest, user: User, query: Query, days: str) -> HttpResponseBase:
    report = run(query)
    name = f"usage-{days}.csv"
    _note(user, name, dict(query.filters))
    return download(request, report_csv(report), name, CSV)


def _report_xlsx(request: HttpRequest, user: User, query: Query, days: str) -> HttpResponseBase:
    content = report_xlsx(run(query), timezone.now(), user.get_username())
    name = f"usage-{days}.xlsx"
    _note(user, name, dict(query.filters))
    return download(request, iter([content]), name, XLSX)


def _focus(request: HttpRequest, user: User, query: Query, days: str) -> HttpResponseBase:
    if query.needs_calls:
        raise NotThisWay(gettext("FOCUS has a line per day; leave the session and the subagent out."))
    name = f"focus-{days}.csv"
    _note(user, name, dict(query.filters))
    return download(request, focus_csv(query), name, CSV)


def _calls_csv(request: HttpRequest, user: User, query: Query, days: str) -> HttpResponseBase:
    name = f"calls-{days}.csv"
    _note(user, name, dict(query.filters))
    return download(request, calls_csv(booked(query), _zone()), name, CSV)


def _calls_xlsx(request: HttpRequest, user: User, query: Query, days: str) -> HttpResponseBase:
    selection = booked(query)
    if count_up_to(selection, MAX_XLSX_CALLS) > MAX_XLSX_CALLS:
        text = gettext("These are more than %(count)s calls, too many for a workbook. Take the CSV, or fewer days.")
        raise NotThisWay(text % {"count": f"{MAX_XLSX_CALLS:,}"})
    name = f"calls-{days}.xlsx"
    _note(user, name, dict(query.filters))
    return download(request, _written(partial(write_calls, selection, _zone())), name, XLSX)


def _written(write: Callable[[Any], None]) -> Iterator[bytes]:
    """Yield what `write` wrote, from a file: a workbook is complete before its first byte can be sent."""
    with TemporaryFile() as file:
        write(file)
        file.seek(0)
        while part := file.read(_PART_BYTES):
            yield part


def listed_calls(request: HttpRequest) -> HttpResponseBase:
    """Return the calls that the list of calls shows for the same address, those still running included."""
    user = _need(request, "accounts.view_callrecord")
    page = admin.site._registry[CallRecord]
    try:
        calls = page.get_changelist_instance(request).get_queryset(request)
    except IncorrectLookupParameters:
        return HttpResponseRedirect(reverse("admin:accounts_callrecord_changelist"))
    _note(user, "calls.csv", request.GET.urlencode())
    selection = Selection(visible(calls, user), Correction.objects.none())
    return download(request, calls_csv(selection, _zone()), "calls.csv", CSV)


def statement_view(request: HttpRequest, month: date, team_id: int = 0) -> HttpResponse:
    """Show the statement of a team; `team_id` 0: of those without one."""
    user = _need(request, "accounts.view_usagedaily")
    if team_id:
        # A lead sees the teams that he leads; a member is not shown the money of the others in it.
        team = visible(Team.objects.select_related("lead"), user).filter(pk=team_id).first()
        if team is None:
            raise Http404
    elif not sees_everything(user):
        raise Http404
    else:
        team = None
    _note(user, f"statement {month:%Y-%m} {team or '-'}")
    found = statement(team, month)
    today = business_day(timezone.now())
    following = (month + timedelta(days=31)).replace(day=1)

    def address(first: date) -> str:
        return reverse("exports:statement", args=(first, team_id))

    page = statement_html(
        found,
        timezone.now(),
        back=reverse("exports:index"),
        former=address((month - timedelta(days=1)).replace(day=1)),
        following=address(following) if following <= today else "",
    )
    return HttpResponse(page)


def index(request: HttpRequest) -> HttpResponse:
    """Show what can be downloaded: the same choice as of the reports, and statements of a month."""
    user = _need(request, "accounts.view_usagedaily")
    form = _form(request)
    today = business_day(timezone.now())
    month = _month(request, today)
    context: dict[str, Any] = {
        **admin.site.each_context(request),
        "title": gettext("Exports"),
        "tabs": tabs_of(request, "exports:index"),
        "form": form,
        "query": request.GET.urlencode(),
        "is_chosen": bool(request.GET) and form.is_valid(),
        "month": month,
        "teams": list(visible(Team.objects.order_by("name"), user)),
        "sees_everything": sees_everything(user),
        "exports": list(MonthlyExport.objects.order_by("-month")[:12])
        if user.has_perm("accounts.view_monthlyexport")
        else [],
    }
    return TemplateResponse(request, "admin/exports/index.html", context)


def _month(request: HttpRequest, today: date) -> date:
    try:
        return date.fromisoformat(f"{request.GET.get('statements', '')}-01")
    except ValueError:
        return (today.replace(day=1) - timedelta(days=1)).replace(day=1)


def urls() -> list[URLPattern]:
    """Return the addresses below /admin/exports/, of the namespace "exports"."""
    wrap = admin.site.admin_view
    usage, calls = "accounts.view_usagedaily", "accounts.view_callrecord"
    return [
        path("", wrap(index), name="index"),
        path("usage.csv", wrap(_asked(_report_csv, usage)), name="report_csv"),
        path("usage.xlsx", wrap(_asked(_report_xlsx, usage)), name="report_xlsx"),
        path("focus.csv", wrap(_asked(_focus, usage)), name="focus"),
        path("calls.csv", wrap(_asked(_calls_csv, calls)), name="calls_csv"),
        path("calls.xlsx", wrap(_asked(_calls_xlsx, calls)), name="calls_xlsx"),
        path("listed-calls.csv", wrap(listed_calls), name="listed_calls"),
        path("statement/<month:month>/<int:team_id>/", wrap(statement_view), name="statement"),
    ]
