"""Policies, routes, scenes, aliases, and the settings of the running gateway."""

from typing import Any

from django import forms
from django.contrib import admin
from django.db import models
from django.db.models import Prefetch, QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse
from django.utils.text import capfirst
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from gateway.admin.settings_form import RuntimeSettingsForm
from gateway.admin_base import ModelAdmin, SwitchableAdmin, TabularInline, TimeZoneField, column, make_default
from providers.models import Model
from routing.models import ClassifierEntry, ModelAlias, Policy, Route, RouteEntry, RuntimeSettings, Scene


def _with_provider(field: Any) -> Any:
    """Let a choice of models read the provider along: a model's name is written with it."""
    field.queryset = Model.objects.select_related("provider")
    return field


class ModelEntryInline(TabularInline):
    """An ordered list of models."""

    extra = 1
    autocomplete_fields = ("model",)
    ordering = ("position", "pk")

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        """Read the models and their providers along."""
        return super().get_queryset(request).select_related("model__provider")

    def formfield_for_foreignkey(
        self, db_field: "models.ForeignKey[Any, Any]", request: HttpRequest, **kwargs: Any
    ) -> Any:
        field = super().formfield_for_foreignkey(db_field, request, **kwargs)
        return _with_provider(field) if db_field.name == "model" else field


class RouteEntryInline(ModelEntryInline):
    """The targets of a route, asked from the lowest position upwards."""

    model = RouteEntry
    fields = ("position", "model", "weight")


class ClassifierEntryInline(ModelEntryInline):
    """The classifier models of a policy, asked from the lowest position upwards."""

    model = ClassifierEntry
    fields = ("position", "model")


@admin.register(Route)
class RouteAdmin(ModelAdmin):
    """Routes."""

    list_display = ("name", "order", "target_list", column(Route, "updated_at"))
    list_filter = ("order",)
    list_select_related = ()
    search_fields = ("name", "entries__model__model_id", "entries__model__provider__name")
    ordering = ("name",)
    inlines = (RouteEntryInline,)
    fields = ("name", "order", "created_at", "updated_at")
    readonly_fields = ("created_at", "updated_at")

    def get_queryset(self, request: HttpRequest) -> QuerySet[Route]:
        """Read the targets along, in order."""
        queryset: QuerySet[Route] = super().get_queryset(request)
        entries = RouteEntry.objects.select_related("model__provider").order_by("position", "pk")
        return queryset.prefetch_related(Prefetch("entries", queryset=entries))

    @admin.display(description=_("targets"))
    def target_list(self, route: Route) -> str:
        """Return the targets in order."""
        return " → ".join(str(entry) for entry in route.entries.all())


class EntryAdmin(ModelAdmin):
    """Rows that are changed on the page of their owner; the index does not list them beside it."""

    actions = None

    def has_add_permission(self, request: HttpRequest) -> bool:
        """Return False: rows are added on the page of their owner."""
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Return False: rows are changed on the page of their owner."""
        return False

    def get_model_perms(self, request: HttpRequest) -> dict[str, bool]:
        """Return nothing, which hides the table from the index."""
        return {}


@admin.register(RouteEntry)
class RouteEntryAdmin(EntryAdmin):
    """Which routes use a model."""

    list_display = ("route", "position", "model", "weight")
    list_filter = ("route", "model__provider")
    list_select_related = ("route", "model__provider")
    search_fields = ("route__name", "model__model_id", "model__provider__name")
    ordering = ("route__name", "position", "pk")


@admin.register(ClassifierEntry)
class ClassifierEntryAdmin(EntryAdmin):
    """Which policies classify with a model."""

    list_display = ("policy", "position", "model")
    list_filter = ("policy", "model__provider")
    list_select_related = ("policy", "model__provider")
    search_fields = ("policy__name", "model__model_id", "model__provider__name")
    ordering = ("policy__name", "position", "pk")


@admin.register(Scene)
class SceneAdmin(SwitchableAdmin):
    """Scenes."""

    list_display = ("name", "description", "route", "is_default", "is_enabled", "position")
    list_filter = ("is_enabled", "is_default", "route")
    list_select_related = ("route",)
    search_fields = ("name", "description")
    ordering = ("position", "name")
    actions = ["set_default", "enable", "disable"]
    fields = ("name", "description", "examples", "route", "position", "is_enabled", "is_default")
    readonly_fields = ("is_default",)

    def save_model(self, request: HttpRequest, obj: Scene, form: Any, change: bool) -> None:
        """Make the first scene the default."""
        if not change and obj.is_enabled and not Scene.objects.filter(is_default=True).exists():
            obj.is_default = True
        super().save_model(request, obj, form, change)

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> tuple[str, ...]:
        """Return also `is_enabled` for the default scene, which must answer."""
        return ("is_default", "is_enabled") if obj is not None and obj.is_default else ("is_default",)

    @admin.action(permissions=["change"], description=_("Disable the selected %(verbose_name_plural)s"))
    def disable(self, request: HttpRequest, queryset: QuerySet[Any]) -> None:
        """Switch the rows off, except the default scene, which must answer."""
        super().disable(request, queryset.filter(is_default=False))

    @admin.action(permissions=["change"], description=_("Make the selected row the default"))
    def set_default(self, request: HttpRequest, queryset: QuerySet[Scene]) -> None:
        """Make the one selected scene the default."""
        make_default(self, request, queryset, is_enabled=True)


@admin.register(Policy)
class PolicyAdmin(ModelAdmin):
    """Policies."""

    list_display = ("name", "mode", "route", "reference_model", "is_default", "capture")
    list_filter = ("mode", "is_default", "capture", "route")
    list_select_related = ("route", "reference_model__provider")
    search_fields = ("name", "route__name")
    ordering = ("name",)
    inlines = (ClassifierEntryInline,)
    autocomplete_fields = ("route", "reference_model")
    filter_horizontal = ("scenes",)
    actions = ["set_default"]
    readonly_fields = ("is_default",)
    fieldsets = (
        (None, {"fields": ("name", "mode", "route", "is_default", "reference_model", "capture")}),
        (_("By intent"), {"fields": ("scenes", "classifier_timeout_ms"), "classes": ("collapse",)}),
    )

    def formfield_for_foreignkey(
        self, db_field: "models.ForeignKey[Any, Any]", request: HttpRequest, **kwargs: Any
    ) -> Any:
        field = super().formfield_for_foreignkey(db_field, request, **kwargs)
        return _with_provider(field) if db_field.name == "reference_model" else field

    def save_model(self, request: HttpRequest, obj: Policy, form: Any, change: bool) -> None:
        """Make the first policy the default."""
        if not change and not Policy.objects.filter(is_default=True).exists():
            obj.is_default = True
        super().save_model(request, obj, form, change)

    @admin.action(permissions=["change"], description=_("Make the selected row the default"))
    def set_default(self, request: HttpRequest, queryset: QuerySet[Policy]) -> None:
        """Make the one selected policy the default."""
        make_default(self, request, queryset)


@admin.register(ModelAlias)
class ModelAliasAdmin(ModelAdmin):
    """Aliases."""

    list_display = ("pattern", "model", "route", "position")
    list_filter = ("route", "model__provider")
    list_select_related = ("model__provider", "route")
    search_fields = ("pattern", "model__model_id", "route__name")
    ordering = ("position", "pk")
    autocomplete_fields = ("model", "route")
    fields = ("pattern", "model", "route", "position")

    def formfield_for_foreignkey(
        self, db_field: "models.ForeignKey[Any, Any]", request: HttpRequest, **kwargs: Any
    ) -> Any:
        field = super().formfield_for_foreignkey(db_field, request, **kwargs)
        return _with_provider(field) if db_field.name == "model" else field


@admin.register(RuntimeSettings)
class RuntimeSettingsAdmin(ModelAdmin):
    """The one row of settings: its list leads to its form."""

    list_display = ("capture", "capture_retention_days", "business_time_zone", "ping_interval_s", "cooldown_enabled")
    list_filter = ("capture",)
    list_select_related = ()
    search_fields = ("business_time_zone",)
    ordering = ("pk",)
    fieldsets = (
        (_("Capture"), {"fields": ("capture", "capture_retention_days", "capture_max_bytes")}),
        (_("Time"), {"fields": ("business_time_zone",)}),
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
        return _with_provider(field) if db_field.name == "safety_model" else field

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
