"""Routes, and the names that stand for them."""

from functools import partial
from typing import Any

from django.contrib import admin
from django.db import models
from django.db.models import Prefetch, QuerySet
from django.http import HttpRequest
from django.urls import path
from django.utils.translation import gettext_lazy as _

from gateway.admin.routing.entries import EntryAdmin, ModelEntryInline, with_provider
from gateway.admin.routing.families_page import families_view
from gateway.admin.routing.ordering import OrderedFormSet
from gateway.admin_base import ModelAdmin, column
from routing.models import (
    ModelAlias,
    Route,
    RouteEntry,
)
from routing.policy_rules import fault_of_emptying


class RouteEntryFormSet(OrderedFormSet):
    """The targets of a route, which must keep one where a policy by intent uses it."""

    def clean(self) -> None:
        """Raise `ValidationError` when the last target goes that something needs."""
        super().clean()
        route: Route = self.instance
        if route.pk is None or any(self.errors):
            return
        stays = [form for form in self.forms if form.instance.pk or form.has_changed()]
        if self.initial_form_count() and all(form.cleaned_data.get("DELETE") for form in stays):
            fault = fault_of_emptying(route.pk)
            if fault is not None:
                raise fault


class RouteEntryInline(ModelEntryInline):
    """The targets of a route, asked from the lowest position upwards."""

    model = RouteEntry
    formset = RouteEntryFormSet
    fields = ("position", "model", "weight")


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


@admin.register(RouteEntry)
class RouteEntryAdmin(EntryAdmin):
    """Which routes use a model."""

    list_display = ("route", "position", "model", "weight")
    list_filter = ("route", "model__provider")
    list_select_related = ("route", "model__provider")
    search_fields = ("route__name", "model__model_id", "model__provider__name")
    ordering = ("route__name", "position", "pk")


@admin.register(ModelAlias)
class ModelAliasAdmin(ModelAdmin):
    """Aliases."""

    list_display = ("pattern", "model", "route", "scene", "position")
    list_filter = ("route", "model__provider")
    list_select_related = ("model__provider", "route", "scene")
    search_fields = ("pattern", "model__model_id", "route__name", "scene__name")
    ordering = ("position", "pk")
    autocomplete_fields = ("model", "route", "scene")
    fieldsets = (
        (
            None,
            {
                "fields": ("pattern", "model", "route", "scene", "position"),
                "description": _(
                    "A longer pattern is asked before a shorter one, a name without * before all; the position decides "
                    "between equals."
                ),
            },
        ),
    )

    def get_urls(self) -> list[Any]:
        """Add the page that maps the families."""
        view = self.admin_site.admin_view(partial(families_view, self.admin_site))
        return [path("families/", view, name="routing_modelalias_families"), *super().get_urls()]

    def formfield_for_foreignkey(
        self, db_field: "models.ForeignKey[Any, Any]", request: HttpRequest, **kwargs: Any
    ) -> Any:
        field = super().formfield_for_foreignkey(db_field, request, **kwargs)
        return with_provider(field) if db_field.name == "model" else field
