"""Policies: how the calls of somebody find their targets."""

from typing import Any

from django.contrib import admin
from django.db import models
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.translation import gettext_lazy as _

from gateway.admin.entries import EntryAdmin, ModelEntryInline, with_provider
from gateway.admin_base import ModelAdmin, make_default
from routing.models import (
    ClassifierEntry,
    KindRule,
    Policy,
)


class ClassifierEntryInline(ModelEntryInline):
    """The classifier models of a policy, asked from the lowest position upwards."""

    model = ClassifierEntry
    fields = ("position", "model")


@admin.register(ClassifierEntry)
class ClassifierEntryAdmin(EntryAdmin):
    """Which policies classify with a model."""

    list_display = ("policy", "position", "model")
    list_filter = ("policy", "model__provider")
    list_select_related = ("policy", "model__provider")
    search_fields = ("policy__name", "model__model_id", "model__provider__name")
    ordering = ("policy__name", "position", "pk")


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
        return with_provider(field) if db_field.name == "reference_model" else field

    def save_model(self, request: HttpRequest, obj: Policy, form: Any, change: bool) -> None:
        """Make the first policy the default."""
        if not change and not Policy.objects.filter(is_default=True).exists():
            obj.is_default = True
        super().save_model(request, obj, form, change)

    @admin.action(permissions=["change"], description=_("Make the selected row the default"))
    def set_default(self, request: HttpRequest, queryset: QuerySet[Policy]) -> None:
        """Make the one selected policy the default."""
        make_default(self, request, queryset)


@admin.register(KindRule)
class KindRuleAdmin(EntryAdmin):
    """The rules for kinds of all policies."""

    list_display = ("policy", "kind", "action", "scene", "route")
    list_filter = ("policy", "kind", "action")
    list_select_related = ("policy", "scene", "route")
    search_fields = ("policy__name", "scene__name", "route__name")
    ordering = ("policy__name", "kind")
