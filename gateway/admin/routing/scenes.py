"""Scenes, and what the gateway knows of how to recognise them."""

from functools import partial
from typing import Any

from django.contrib import admin, messages
from django.contrib.admin.actions import delete_selected as delete_after_confirmation
from django.core.exceptions import ValidationError
from django.db import models
from django.db.models import Prefetch, QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import path, reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from gateway.admin.providers.offered_page import offered_view
from gateway.admin.routing.entries import EntryAdmin
from gateway.admin.routing.ordering import OrderedRows
from gateway.admin.routing.scene_forms import SceneForm, SceneRuleInline
from gateway.admin_base import SwitchableAdmin, grouped, make_default, row_link
from routing.models import (
    RouteEntry,
    Scene,
    SceneRule,
    TrainedScorer,
)
from routing.policy_rules import fault_of_default, fault_of_deleting, fault_of_disabling, fault_of_use

# Dragging orders the rows of one page, so all of them must be on it.
ALL_ROWS = 1000


@admin.register(Scene)
class SceneAdmin(OrderedRows, SwitchableAdmin):
    """Scenes."""

    form = SceneForm
    list_display = (
        "position",
        "name",
        "short_description",
        "served_by",
        "example_count",
        "rule_count",
        "is_default",
        "is_enabled",
    )
    list_display_links = ("name",)
    list_editable = ("position",)
    list_filter = ("is_enabled", "is_default", "route")
    list_select_related = ("route",)
    list_per_page = list_max_show_all = ALL_ROWS
    search_fields = ("name", "description")
    # A column to click on would hide the order that rows can be dragged into.
    sortable_by = ()
    ordering = ("position", "name")
    actions = ["set_default", "enable", "disable", "delete_selected"]
    autocomplete_fields = ("route",)
    inlines = (SceneRuleInline,)
    fields = ("name", "description", "route", "served_by", "examples", ("is_enabled", "is_default"), "position")
    readonly_fields = ("is_default", "served_by")

    def get_queryset(self, request: HttpRequest) -> QuerySet[Scene]:
        """Read along what the columns show."""
        queryset: QuerySet[Scene] = super().get_queryset(request)
        entries = RouteEntry.objects.select_related("model__provider").order_by("position", "pk")
        return queryset.annotate(rules_written=models.Count("rules")).prefetch_related(
            Prefetch("route__entries", queryset=entries)
        )

    def get_urls(self) -> list[Any]:
        """Add the page that makes ready-made scenes."""
        view = self.admin_site.admin_view(partial(offered_view, self.admin_site))
        return [path("offered/<str:which>/", view, name="routing_scene_offered"), *super().get_urls()]

    def save_model(self, request: HttpRequest, obj: Scene, form: Any, change: bool) -> None:
        """Make the first scene the default, and put a new one at the end."""
        if not change and obj.is_enabled and not Scene.objects.filter(is_default=True).exists():
            obj.is_default = True
        if not change and "position" not in form.changed_data:
            last = Scene.objects.aggregate(last=models.Max("position"))["last"]
            obj.position = 0 if last is None else last + 1
        super().save_model(request, obj, form, change)

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> tuple[str, ...]:
        """Return also `is_enabled` for the default scene, which must answer."""
        return ("is_enabled", *self.readonly_fields) if obj is not None and obj.is_default else self.readonly_fields

    def render_change_form(
        self, request: HttpRequest, context: dict[str, Any], *args: Any, **kwargs: Any
    ) -> HttpResponse:
        """Offer no button that could only be refused."""
        scene = kwargs.get("obj")
        if scene is not None and fault_of_deleting(scene):
            context["show_delete"] = False
        return super().render_change_form(request, context, *args, **kwargs)

    def delete_view(self, request: HttpRequest, object_id: str, extra_context: Any = None) -> HttpResponse:
        """Lead back to the scene, with the reason, when it must stay."""
        scene = self.get_object(request, object_id)
        if scene is not None and self.has_delete_permission(request, scene) and (fault := fault_of_deleting(scene)):
            self._tell(request, fault)
            return HttpResponseRedirect(reverse("admin:routing_scene_change", args=(scene.pk,)))
        return super().delete_view(request, object_id, extra_context)

    @admin.action(permissions=["delete"], description=_("Delete the selected %(verbose_name_plural)s"))
    def delete_selected(self, request: HttpRequest, queryset: QuerySet[Scene]) -> HttpResponse | None:
        """Delete the rows after a confirmation, or none of them if one must stay."""
        faults = [fault for scene in queryset if (fault := fault_of_deleting(scene))]
        for fault in faults:
            self._tell(request, fault)
        return None if faults else delete_after_confirmation(self, request, queryset)

    @admin.action(permissions=["change"], description=_("Enable the selected %(verbose_name_plural)s"))
    def enable(self, request: HttpRequest, queryset: QuerySet[Any]) -> None:
        """Switch the rows on, except those that a policy would choose and nothing would answer."""
        empty = {scene.pk: fault for scene in queryset if (fault := fault_of_use(scene))}
        for fault in empty.values():
            self._tell(request, fault)
        super().enable(request, queryset.exclude(pk__in=empty))

    @admin.action(permissions=["change"], description=_("Disable the selected %(verbose_name_plural)s"))
    def disable(self, request: HttpRequest, queryset: QuerySet[Any]) -> None:
        """Switch the rows off, except those that must answer."""
        staying = {scene.pk: fault for scene in queryset if (fault := fault_of_disabling(scene))}
        for fault in staying.values():
            self._tell(request, fault)
        super().disable(request, queryset.exclude(pk__in=staying))

    @admin.action(permissions=["change"], description=_("Make the selected row the default"))
    def set_default(self, request: HttpRequest, queryset: QuerySet[Scene]) -> None:
        """Make the one selected scene the default, unless a policy could then not choose it."""
        scenes = list(queryset[:2])
        if len(scenes) == 1 and (fault := fault_of_default(scenes[0]) or fault_of_use(scenes[0])):
            self._tell(request, fault)
            return
        make_default(self, request, queryset, is_enabled=True)

    def _tell(self, request: HttpRequest, fault: ValidationError) -> None:
        self.message_user(request, " ".join(fault.messages), messages.ERROR)

    @admin.display(description=_("description"))
    def short_description(self, scene: Scene) -> SafeString:
        """Return the description, cut to what a row has room for."""
        text = scene.description
        return format_html('<span title="{}">{}</span>', text, text if len(text) <= 100 else f"{text[:99]}…")

    @admin.display(description=_("served by"))
    def served_by(self, scene: Scene) -> SafeString | str:
        """Return the route and its targets in order."""
        if scene.route_id is None:
            return "-"
        targets = " → ".join(str(entry) for entry in scene.route.entries.all())
        return format_html("{}: {}", row_link(scene.route), targets or gettext("no targets"))

    @admin.display(description=_("examples"))
    def example_count(self, scene: Scene) -> str:
        """Return how many examples there are."""
        return grouped(len(scene.examples))

    @admin.display(description=_("rules"))
    def rule_count(self, scene: Scene) -> str:
        """Return how many rules there are."""
        return grouped(getattr(scene, "rules_written", 0))


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
