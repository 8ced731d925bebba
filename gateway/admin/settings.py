"""The settings of the running gateway."""

from typing import Any

from django import forms
from django.contrib import admin
from django.db import models
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse
from django.utils.text import capfirst
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from gateway.admin.routing.entries import with_provider
from gateway.admin.settings_form import RuntimeSettingsForm
from gateway.admin.write_only import WriteOnly
from gateway.admin_base import ModelAdmin, TimeZoneField
from routing.models import (
    RuntimeSettings,
)


@admin.register(RuntimeSettings)
class RuntimeSettingsAdmin(WriteOnly, ModelAdmin):
    """The one row of settings: its list leads to its form."""

    list_display = ("capture", "capture_retention_days", "business_time_zone", "ping_interval_s", "cooldown_enabled")
    list_filter = ("capture",)
    list_select_related = ()
    search_fields = ("business_time_zone",)
    ordering = ("pk",)
    fieldsets = (
        (_("Capture"), {"fields": ("capture", "capture_retention_days", "capture_max_bytes")}),
        (_("Time"), {"fields": ("business_time_zone",)}),
        (
            _("Reports"),
            {"fields": ("report_currency", "monthly_export_enabled", "monthly_export_recipients")},
        ),
        (_("Notices"), {"fields": ("mails_people",)}),
        (_("Calls"), {"fields": ("ping_interval_s", "cooldown_enabled")}),
        (_("Auto mode"), {"fields": ("safety_model",)}),
        (
            _("Web search"),
            {
                "fields": (
                    "search_kind",
                    "search_url",
                    "search_secret",
                    "stored_search_secret",
                    "removes_search_secret",
                ),
                "description": _(
                    "Runs the web searches of Claude Code and of other clients for models that have no search of "
                    "their own."
                ),
            },
        ),
    )
    form = RuntimeSettingsForm
    autocomplete_fields = ("safety_model",)
    readonly_fields = ("stored_search_secret",)

    @admin.display(description=_("stored secret"))
    def stored_search_secret(self, row: RuntimeSettings) -> str:
        """Return what may be shown of the secret."""
        if row.search_secret_last_four:
            return f"…{row.search_secret_last_four}"
        return gettext("set") if row.encrypted_search_secret else ""

    def formfield_for_foreignkey(
        self, db_field: "models.ForeignKey[Any, Any]", request: HttpRequest, **kwargs: Any
    ) -> Any:
        field = super().formfield_for_foreignkey(db_field, request, **kwargs)
        return with_provider(field) if db_field.name == "safety_model" else field

    def formfield_for_dbfield(
        self, db_field: "models.Field[Any, Any]", request: HttpRequest, **kwargs: Any
    ) -> forms.Field | None:
        if db_field.name == "business_time_zone":
            return TimeZoneField(label=capfirst(db_field.verbose_name), help_text=db_field.help_text)
        return super().formfield_for_dbfield(db_field, request, **kwargs)

    def get_model_perms(self, request: HttpRequest) -> dict[str, bool]:
        """Return what the index and the sidebar show, without asking the database on every page."""
        return {
            "add": False,
            "change": self.has_change_permission(request),
            "delete": False,
            "view": self.has_view_permission(request),
        }

    def has_add_permission(self, request: HttpRequest) -> bool:
        """Return whether the row is still missing."""
        return super().has_add_permission(request) and not RuntimeSettings.objects.exists()

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Return False: the gateway always has settings."""
        return False

    def save_model(self, request: HttpRequest, obj: RuntimeSettings, form: Any, change: bool) -> None:
        """Save the row under its one number."""
        obj.pk = 1
        super().save_model(request, obj, form, change)

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        """Lead to the form."""
        if not self.has_view_or_change_permission(request):
            return super().changelist_view(request, extra_context)
        row = RuntimeSettings.objects.first()
        if row is None:
            return HttpResponseRedirect(reverse("admin:routing_runtimesettings_add"))
        return HttpResponseRedirect(reverse("admin:routing_runtimesettings_change", args=(row.pk,)))
