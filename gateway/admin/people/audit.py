"""The audit log: to be read, never changed."""

from typing import Any

from django.contrib import admin
from django.db.models import Model, QuerySet
from django.http import HttpRequest
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from accounts.audit_signals import AUDITED
from accounts.models import AuditEntry, User
from gateway.admin_base import LedgerAdmin, column, row_link
from gateway.audit_words import kind_of, lines_of, model_of, note_of
from gateway.models import Capture
from routing.models import TargetHealth

# Who may have changed something is listed; more than these are found by the search.
_MAX_PEOPLE = 100


class KindFilter(admin.SimpleListFilter):
    """By the kind of object. The stock filter would look for the kinds in the whole log."""

    title = _("kind of object")
    parameter_name = "object_type"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, Any]]:
        """Return what entries are about."""
        kinds: tuple[type[Model], ...] = (*AUDITED, TargetHealth, Capture)
        labels = [model._meta.label_lower for model in kinds]
        return sorted(((label, kind_of(label)) for label in labels), key=lambda choice: choice[1])

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        """Return the entries about objects of the chosen kind."""
        value = self.value()
        return queryset.filter(object_type=value) if value else queryset


class WhoFilter(admin.SimpleListFilter):
    """By who did it: those who have access to these pages."""

    title = _("who")
    parameter_name = "actor"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        """Return the people with access."""
        people = User.objects.filter(is_staff=True).order_by("username").values_list("pk", "username")
        return [(str(pk), name) for pk, name in people[:_MAX_PEOPLE]]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        """Return what the chosen person did."""
        value = self.value()
        return queryset.filter(actor=value) if value and value.isdecimal() else queryset


@admin.register(AuditEntry)
class AuditEntryAdmin(LedgerAdmin):
    """Who changed what."""

    list_display = (column(AuditEntry, "at"), "who", "via", "action", "kind", "object_name", "what")
    list_filter = ("at", WhoFilter, "via", "action", KindFilter)
    list_select_related = ()
    # Another column would sort the whole log.
    sortable_by = ("at",)
    search_fields = ("actor_name", "object_name", "=object_id", "=address")
    search_help_text = _("Part of the name of who or what, or an address or the id of an object as it is written.")
    ordering = ("-at", "-pk")
    fieldsets = (
        (None, {"fields": (column(AuditEntry, "at"), "actor_link", "via", "address")}),
        (None, {"fields": ("action", "kind", "object_link", "note_text")}),
        (_("Changes"), {"fields": ("changes_table",)}),
    )

    class Media:
        css = {"all": ("gateway/audit.css",)}

    def get_object(self, request: HttpRequest, object_id: str, from_field: str | None = None) -> AuditEntry | None:
        """Return the entry, with a link to its object where the reader may see that."""
        entry: AuditEntry | None = super().get_object(request, object_id, from_field)
        if entry is not None:
            vars(entry)["seen"] = self._seen(request, entry)
        return entry

    def lookup_allowed(self, lookup: str, value: Any, request: HttpRequest | None = None) -> bool:
        """Return True also for the id of an object, which the pages of histories filter by."""
        return lookup == "object_id" or super().lookup_allowed(lookup, value, request)  # type: ignore[arg-type]

    def _seen(self, request: HttpRequest, entry: AuditEntry) -> SafeString | None:
        model = model_of(entry.object_type)
        page = self.admin_site._registry.get(model) if model is not None else None
        if model is None or page is None or not entry.object_id:
            return None
        row = page.get_object(request, entry.object_id)
        return row_link(row, entry.object_name) if row is not None and page.has_view_permission(request, row) else None

    @admin.display(description=_("who"))
    def who(self, entry: AuditEntry) -> str:
        """Return the name as of then, with the address."""
        return f"{entry.actor_name} ({entry.address})" if entry.address else entry.actor_name

    @admin.display(description=_("who"))
    def actor_link(self, entry: AuditEntry) -> SafeString | str:
        """Return the name as of then, with a link to the person's page."""
        return entry.actor_name if entry.actor is None else row_link(entry.actor, entry.actor_name)

    @admin.display(description=_("kind of object"))
    def kind(self, entry: AuditEntry) -> str:
        """Return what an object of that kind is called."""
        return kind_of(entry.object_type)

    @admin.display(description=_("object"))
    def object_link(self, entry: AuditEntry) -> SafeString | str:
        """Return the name as of then, with a link if the object is still there and may be seen."""
        return vars(entry).get("seen") or entry.object_name or "-"

    @admin.display(description=_("note"))
    def note_text(self, entry: AuditEntry) -> str:
        """Return the note."""
        return note_of(entry) or "-"

    @admin.display(description=_("what"))
    def what(self, entry: AuditEntry) -> str:
        """Return the note, or else which fields changed; of what came and went it is all of them."""
        if entry.note or entry.action in (AuditEntry.Action.CREATE, AuditEntry.Action.DELETE):
            return note_of(entry)
        return ", ".join(line.name for line in lines_of(entry))

    @admin.display(description=_("changes"))
    def changes_table(self, entry: AuditEntry) -> SafeString | str:
        """Return the fields with their values before and after."""
        lines = lines_of(entry)
        if not lines:
            return "-"
        rows = format_html_join(
            "",
            '<tr><th scope="row">{}</th><td>{}</td><td>{}</td></tr>',
            ((line.name, line.before, line.after) for line in lines),
        )
        return format_html(
            '<div class="audit-changes"><table><thead><tr><th scope="col">{}</th><th scope="col">{}</th>'
            '<th scope="col">{}</th></tr></thead><tbody>{}</tbody></table></div>',
            *(gettext("Field"), gettext("Before"), gettext("After")),
            rows,
        )
