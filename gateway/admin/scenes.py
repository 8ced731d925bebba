"""Scenes, and what the gateway knows of how to recognise them."""

from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.translation import gettext_lazy as _

from gateway.admin.entries import EntryAdmin
from gateway.admin_base import SwitchableAdmin, make_default
from routing.models import (
    Scene,
    SceneRule,
    TrainedScorer,
)


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


@admin.register(SceneRule)
class SceneRuleAdmin(EntryAdmin):
    """The rules of all scenes."""

    list_display = ("scene", "position", "keywords", "pattern", "is_enabled")
    list_filter = ("scene", "is_enabled")
    list_select_related = ("scene",)
    search_fields = ("scene__name", "pattern")
    ordering = ("position", "pk")


@admin.register(TrainedScorer)
class TrainedScorerAdmin(EntryAdmin):
    """What was learnt for which scenes."""

    list_display = ("fingerprint", "report", "created_at")
    list_filter = ("created_at",)
    list_select_related = ()
    search_fields = ("fingerprint",)
    ordering = ("-created_at",)
