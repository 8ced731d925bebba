"""Rows that stand in a list of their owner: how the lists of the routing pages are shown."""

from typing import Any

from django.core.exceptions import PermissionDenied
from django.db import models
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse

from gateway.admin.routing.ordering import OrderedFormSet, OrderedRows
from gateway.admin_base import ModelAdmin, TabularInline
from providers.models import Model


def with_provider(field: Any) -> Any:
    """Let a choice of models read the provider along: a model's name is written with it."""
    field.queryset = Model.objects.select_related("provider")
    return field


class ModelEntryInline(OrderedRows, TabularInline):
    """An ordered list of models."""

    formset = OrderedFormSet
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
        return with_provider(field) if db_field.name == "model" else field


class EntryAdmin(ModelAdmin):
    """Rows that are changed on the page of their owner; the index does not list them beside it."""

    actions = None

    def has_add_permission(self, request: HttpRequest) -> bool:
        """Return False: rows are added on the page of their owner."""
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Return False: rows are changed on the page of their owner."""
        return False

    def delete_view(self, request: HttpRequest, object_id: str, extra_context: Any = None) -> HttpResponse:
        """Refuse: rows are deleted on the page of their owner, which checks what is left of its list.

        The permission to delete them stays, as it is asked for when their owner is deleted.
        """
        raise PermissionDenied

    def get_model_perms(self, request: HttpRequest) -> dict[str, bool]:
        """Return nothing, which hides the table from the index."""
        return {}
