"""The import of people from a file: upload, preview of every row, confirmation, and on to their keys."""

import csv
import io
import json
from typing import TYPE_CHECKING, Any

from django import forms
from django.contrib import messages
from django.contrib.admin.models import ADDITION, CHANGE, LogEntry
from django.core import signing
from django.core.exceptions import PermissionDenied, ValidationError
from django.core.files.uploadedfile import UploadedFile
from django.db import IntegrityError, transaction
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils.text import capfirst
from django.utils.translation import get_language, gettext, ngettext
from django.utils.translation import gettext_lazy as _

from accounts import people_files
from accounts.models import User
from accounts.people_columns import ALIASES, COLUMNS, NAMES
from accounts.people_files import Line, Table
from accounts.people_import import Plan, PlannedRow, State, carry_out, plan
from accounts.tables import check_size
from gateway.admin.keys.bulk import issue_page, read_selection

if TYPE_CHECKING:
    from gateway.admin.people.people import UserAdmin

_SHOWN_STAFF = 20
_SHOWN = 500
# Between preview and confirmation the list is in the form: any machine may serve the next step. Signed, so that what is
# confirmed is what was previewed, by the one who saw it.
_SALT = "gateway.admin.people.import_page"
_MAX_AGE_S = 3600
# Of the signed text. A list within the limits of people_files packs to far less.
_MAX_CARRIED = 16 * 1024 * 1024
_ORDER = {"fault": 0, "changed": 1, "new": 2, "unchanged": 3}
_STATE_NAMES = {
    "fault": _("error"),
    "changed": _("is changed"),
    "new": _("is made"),
    "unchanged": _("stays as it is"),
}


class UploadForm(forms.Form):
    """A file with people. `cleaned_data["file"]` is the table in it."""

    file = forms.FileField(
        label=capfirst(_("file")),
        allow_empty_file=True,
        widget=forms.ClearableFileInput(attrs={"accept": ".csv,.txt,.tsv,.xlsx"}),
        help_text=_(
            "CSV in UTF-8 or as Excel saves it (GBK), or an Excel workbook (.xlsx), of which the first sheet is"
            " read. Up to 10,000 rows and 5 MB."
        ),
    )
    make_teams = forms.BooleanField(label=capfirst(_("make teams that are not there yet")), required=False)

    def clean_file(self) -> Table:
        """Return the table. Raises `ValidationError` for a file that holds none."""
        file: UploadedFile[Any] = self.cleaned_data["file"]
        check_size(file.size or 0, people_files.LIMITS)
        return people_files.read(file.read(), file.name or "")


def may_import(request: HttpRequest) -> bool:
    """Return whether the reader may make and change people by a list."""
    return request.user.has_perms(("accounts.add_user", "accounts.change_user"))


def import_view(page: "UserAdmin", request: HttpRequest) -> HttpResponse:
    """Ask for a file, show what it would do, and do it."""
    if not may_import(request) or not isinstance(request.user, User):
        raise PermissionDenied
    if request.method != "POST":
        return _upload_page(page, request, _form(request))
    if "carried" in request.POST:
        return _confirm(page, request)
    form = _form(request, request.POST, request.FILES)
    if not form.is_valid():
        return _upload_page(page, request, form)
    table, make_teams = form.cleaned_data["file"], form.cleaned_data.get("make_teams", False)
    try:
        planned = plan(table, request.user, make_teams=make_teams)
    except ValidationError as error:
        form.add_error("file", error)
        return _upload_page(page, request, form)
    return _preview_page(page, request, planned, _carried(request, table, make_teams, planned))


def _form(request: HttpRequest, *data: Any) -> UploadForm:
    form = UploadForm(*data)
    if not request.user.has_perm("accounts.add_team"):
        del form.fields["make_teams"]
    return form


def _signer(request: HttpRequest) -> signing.TimestampSigner:
    return signing.TimestampSigner(salt=f"{_SALT}:{request.user.pk}")


def _carried(request: HttpRequest, table: Table, make_teams: bool, planned: Plan) -> str:
    """Return the list as the form carries it, "" if there is nothing that could be confirmed."""
    if not planned.is_clean:
        return ""
    lines = [[line.number, line.cells] for line in [table.head, *table.lines]]
    content = {"form": table.form, "lines": lines, "make_teams": make_teams, "fingerprint": planned.fingerprint()}
    return _signer(request).sign_object(content, compress=True)


def _confirm(page: "UserAdmin", request: HttpRequest) -> HttpResponse:
    """Write what the preview showed, unless it has changed: then show it again."""
    assert isinstance(request.user, User)
    carried = request.POST["carried"]
    try:
        if len(carried) > _MAX_CARRIED:
            raise signing.BadSignature
        content = _signer(request).unsign_object(carried, max_age=_MAX_AGE_S)
    except signing.BadSignature:
        text = gettext("The preview is too old, or not yours. Upload the file again; nothing was changed.")
        page.message_user(request, text, messages.ERROR)
        return HttpResponseRedirect(reverse("admin:accounts_user_import"))
    make_teams = content["make_teams"] and request.user.has_perm("accounts.add_team")
    head, *lines = [Line(number, cells) for number, cells in content["lines"]]
    table = Table(content["form"], head, lines)
    try:
        with transaction.atomic():
            planned = plan(table, request.user, make_teams=make_teams)
            if planned.is_clean and planned.fingerprint() == content["fingerprint"]:
                made = carry_out(planned)
                _log(request, planned, made)
                return _done_page(page, request, planned, made)
    except IntegrityError:
        # Somebody made one of these people meanwhile; the new preview shows whom.
        planned = plan(table, request.user, make_teams=make_teams)
    text = gettext("Something changed since the preview, and nothing was imported. Look at it again.")
    page.message_user(request, text, messages.WARNING)
    return _preview_page(page, request, planned, _carried(request, table, make_teams, planned))


def _log(request: HttpRequest, planned: Plan, made: list[User]) -> None:
    new = {user.pk for user in made}
    changed = [row.user for row in planned.rows if row.changes and row.user is not None and row.user.pk not in new]
    for rows, flag in ((made, ADDITION), (changed, CHANGE)):
        LogEntry.objects.log_actions(str(request.user.pk), rows, flag, change_message="Imported from a list.")


def _context(page: "UserAdmin", request: HttpRequest, title: str, **values: Any) -> dict[str, Any]:
    return {**page.admin_site.each_context(request), "opts": page.opts, "title": title, **values}


def _upload_page(page: "UserAdmin", request: HttpRequest, form: UploadForm) -> HttpResponse:
    columns = [(name, column, aliases.split(", ")) for column, (name, aliases) in COLUMNS.items()]
    context = _context(page, request, gettext("Import people"), form=form, columns=columns)
    return TemplateResponse(request, "admin/accounts/user/import.html", context)


def _preview_page(page: "UserAdmin", request: HttpRequest, planned: Plan, carried: str) -> HttpResponse:
    rows = sorted(planned.rows, key=lambda row: (_ORDER[row.state], row.number))
    counts: dict[State, str] = {
        "fault": ngettext("%(count)d row with an error", "%(count)d rows with errors", planned.count("fault")),
        "new": ngettext("%(count)d new person", "%(count)d new people", planned.count("new")),
        "changed": ngettext("%(count)d changed", "%(count)d changed", planned.count("changed")),
        "unchanged": ngettext("%(count)d unchanged", "%(count)d unchanged", planned.count("unchanged")),
    }
    context = _context(
        page,
        request,
        gettext("Preview of the import"),
        plan=planned,
        carried=carried,
        counts=[text % {"count": planned.count(state)} for state, text in counts.items() if planned.count(state)],
        rows=[_shown(row) for row in rows[:_SHOWN]],
        more=len(rows) - _SHOWN,
        has_work=planned.count("new") + planned.count("changed") > 0,
    )
    return TemplateResponse(request, "admin/accounts/user/import_preview.html", context)


def _shown(row: PlannedRow) -> dict[str, Any]:
    return {
        "number": row.number,
        "username": row.username,
        "state": row.state,
        "state_name": _STATE_NAMES[row.state],
        "faults": [(NAMES.get(column, ""), text) for column, text in row.faults],
        "notes": [(NAMES.get(column, ""), text) for column, text in row.notes],
        "changes": [(NAMES[change.column], change.before, change.after) for change in row.changes],
    }


def _done_page(page: "UserAdmin", request: HttpRequest, planned: Plan, made: list[User]) -> HttpResponse:
    new = {user.pk for user in made}
    changed = sum(bool(row.changes) and row.user is not None and row.user.pk not in new for row in planned.rows)
    parts = [ngettext("%(count)d person was made.", "%(count)d people were made.", len(made)) % {"count": len(made)}]
    if changed:
        text = ngettext("%(count)d person was changed.", "%(count)d people were changed.", changed)
        parts.append(text % {"count": changed})
    staff = [user for user in made if user.is_staff and user.is_active]
    active = [user.pk for user in made if user.is_active]
    context = _context(
        page,
        request,
        gettext("People imported"),
        parts=parts,
        teams=planned.new_teams,
        staff=staff[:_SHOWN_STAFF],
        more_staff=max(0, len(staff) - _SHOWN_STAFF),
        selection=json.dumps(dict.fromkeys(active, "")) if active and page.has_issue_keys_permission(request) else "",
        count=len(active),
    )
    return TemplateResponse(request, "admin/accounts/user/import_done.html", context)


def keys_view(page: "UserAdmin", request: HttpRequest) -> HttpResponse:
    """Ask what the keys of the people who were just imported are to be like."""
    if not page.has_issue_keys_permission(request) or not page.has_view_permission(request):
        raise PermissionDenied
    selection = read_selection(request.POST.get("selection", ""))
    return issue_page(page, request, selection) or HttpResponseRedirect(reverse("admin:accounts_user_changelist"))


def _headings() -> list[str]:
    """Return the heads of the template, in the reader's language where we know them in it."""
    names = ["username", "name", "email", "team", "roles", "language", "time_zone", "is_active"]
    if (get_language() or "").startswith("zh"):
        chinese = {column: alias for alias, column in reversed(ALIASES.items()) if not alias.isascii()}
        return [chinese[name] for name in names]
    return names


def template_view(page: "UserAdmin", request: HttpRequest, kind: str) -> HttpResponse:
    """Return an empty list to be filled, as CSV that Excel reads or as a workbook. Raises `Http404` for others."""
    if not may_import(request):
        raise PermissionDenied
    if kind == "csv":
        text = io.StringIO()
        csv.writer(text, lineterminator="\r\n").writerow(_headings())
        # With a byte order mark, without which Excel takes UTF-8 for the local code page.
        content, content_type = text.getvalue().encode("utf-8-sig"), "text/csv; charset=utf-8"
    elif kind == "xlsx":
        content = _template_workbook()
        content_type = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"
    else:
        raise Http404
    disposition = f'attachment; filename="people.{kind}"'
    return HttpResponse(content, content_type=content_type, headers={"Content-Disposition": disposition})


def _template_workbook() -> bytes:
    from openpyxl import Workbook
    from openpyxl.styles import Font
    from openpyxl.utils import get_column_letter

    book = Workbook()
    sheet: Any = book.active
    sheet.append(_headings())
    sheet.freeze_panes = "A2"
    for number, cell in enumerate(sheet[1], 1):
        cell.font = Font(bold=True)
        column = sheet.column_dimensions[get_column_letter(number)]
        # As text: else Excel makes dates and rounded numbers of usernames and teams.
        column.width, column.number_format = 22, "@"
    target = io.BytesIO()
    book.save(target)
    return target.getvalue()
