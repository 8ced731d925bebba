"""The audit log: to be read, never changed."""

from django.contrib import admin
from django.utils.translation import gettext_lazy as _

from accounts.models import AuditEntry
from gateway.admin_base import LedgerAdmin, column


@admin.register(AuditEntry)
class AuditEntryAdmin(LedgerAdmin):
    """Who changed what."""

    list_display = (column(AuditEntry, "at"), "actor_name", "via", "action", "object_type", "object_name", "note")
    list_filter = ("at", "via", "action", "object_type")
    list_select_related = ("actor",)
    search_fields = ("actor_name", "object_name", "=object_id")
    search_help_text = _("Part of the name of who or what, or the id of an object as it is written.")
    ordering = ("-at",)
