"""What the pages of the admin do for the audit log, and show of it."""

from typing import TYPE_CHECKING, Any

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.urls import reverse
from django.utils.http import urlencode

from accounts import audit
from accounts.models import AuditEntry
from accounts.roles import visible
from gateway.audit_words import Line, lines_of, note_of

if TYPE_CHECKING:
    _DjangoModelAdmin = admin.ModelAdmin[Any]
else:
    _DjangoModelAdmin = admin.ModelAdmin

# On the page of an object's history; all are a click away.
_SHOWN = 50


class AuditedPages(_DjangoModelAdmin):
    """The pages of rows: one entry for each saved form, and the entries of a row on the page of its history."""

    def changeform_view(
        self, request: HttpRequest, object_id: str | None = None, form_url: str = "", extra_context: Any = None
    ) -> Any:
        """Show or save the form. What one saving changes of a row, its relations too, is one entry."""
        if request.method != "POST":
            return super().changeform_view(request, object_id, form_url, extra_context)
        with audit.together():
            return super().changeform_view(request, object_id, form_url, extra_context)

    def delete_model(self, request: HttpRequest, obj: Any) -> None:
        """Delete the row. With it may go many others, whose entries are written at once."""
        with audit.together():
            super().delete_model(request, obj)

    def delete_queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> None:
        """Delete the rows."""
        with audit.together():
            super().delete_queryset(request, queryset)

    def history_view(self, request: HttpRequest, object_id: str, extra_context: Any = None) -> HttpResponse:
        """Show also what the audit log says of the row, to those who may read it."""
        shown: dict[str, Any] = {}
        if request.user.has_perm("accounts.view_auditentry"):
            label = self.model._meta.label_lower
            rows = AuditEntry.objects.filter(object_type=label, object_id=object_id)
            entries = visible(rows, request.user)[: _SHOWN + 1]
            listed = reverse("admin:accounts_auditentry_changelist")
            shown = {
                "audit_entries": [_Shown(entry) for entry in entries[:_SHOWN]],
                "has_more_audit_entries": len(entries) > _SHOWN,
                "audit_url": f"{listed}?{urlencode({'object_type': label, 'object_id': object_id})}",
            }
        return super().history_view(request, object_id, {**shown, **(extra_context or {})})


class _Shown:
    """An entry as the page of a history shows it."""

    def __init__(self, entry: AuditEntry) -> None:
        self.entry = entry
        self.url = reverse("admin:accounts_auditentry_change", args=(entry.pk,))
        self.lines: list[Line] = lines_of(entry)
        self.note = note_of(entry)
