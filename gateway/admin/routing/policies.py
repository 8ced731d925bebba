"""Policies: how the calls of somebody find their targets."""

from functools import partial
from typing import Any

from django.contrib import admin
from django.db import models
from django.db.models import Count, OuterRef, QuerySet, Subquery
from django.db.models.functions import Coalesce
from django.http import HttpRequest
from django.urls import path
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString
from django.utils.translation import gettext, ngettext
from django.utils.translation import gettext_lazy as _

from accounts.models import ApiKey, Team, User
from gateway.admin.routing.entries import EntryAdmin, with_provider
from gateway.admin.routing.policy_forms import ClassifierEntryInline, KindRuleInline, PolicyForm
from gateway.admin.routing.replay_page import replay_view
from gateway.admin.routing.trial_page import trial_view
from gateway.admin_base import ModelAdmin, list_link, make_default
from routing.models import (
    ClassifierEntry,
    KindRule,
    Policy,
)

_ASSIGNED: tuple[type[models.Model], ...] = (Team, User, ApiKey)


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

    form = PolicyForm
    list_display = ("name", "mode", "answered_by", "assigned", "reference_model", "shadow", "is_default", "capture")
    list_filter = ("mode", "is_default", "capture", "route")
    list_select_related = ("route", "reference_model__provider", "shadow")
    search_fields = ("name", "route__name")
    ordering = ("name",)
    inlines = (ClassifierEntryInline, KindRuleInline)
    autocomplete_fields = ("route", "reference_model", "cheap_route", "shadow")
    actions = ["set_default"]
    readonly_fields = ("is_default", "assigned")
    # Which of these a mode uses is in templates/admin/routing/policy/change_form.html.
    fieldsets = (
        (None, {"fields": ("name", "mode")}),
        (_("Targets"), {"fields": ("route",), "classes": ("for-listed",)}),
        (
            _("Scenes"),
            {"fields": ("scenes", "stickiness", "session_idle_minutes"), "classes": ("for-smart",)},
        ),
        (
            _("How sure the choice must be"),
            {
                "fields": ("min_confidence", "classifier_timeout_ms"),
                "classes": ("for-smart",),
                "description": _(
                    "A scorer that runs inside the gateway compares the user's words with the scenes' descriptions and "
                    "examples. Where its confidence is lower than needed, the classifier models below are asked; "
                    "without any, the default scene answers."
                ),
            },
        ),
        (_("Cost"), {"fields": ("reference_model", "cheap_route")}),
        (_("In use"), {"fields": (("is_default", "assigned"), "shadow", "continues_streams", "capture")}),
    )

    def get_queryset(self, request: HttpRequest) -> QuerySet[Policy]:
        """Count along how many use each policy."""
        policies: QuerySet[Policy] = super().get_queryset(request)
        return policies.prefetch_related("scenes").annotate(
            **{f"{model._meta.model_name}_count": _count_of(model) for model in _ASSIGNED}
        )

    def get_urls(self) -> list[Any]:
        """Add the pages that try a prompt, and decide recorded calls again."""
        trial, replay = (
            self.admin_site.admin_view(partial(view, self.admin_site)) for view in (trial_view, replay_view)
        )
        own = [
            path("try/", trial, name="routing_trial"),
            path("<int:pk>/replay/", replay, name="routing_replay"),
        ]
        return [*own, *super().get_urls()]

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

    @admin.display(description=_("answered by"))
    def answered_by(self, policy: Policy) -> str:
        """Return the route, or the scenes of a policy that chooses by intent."""
        if policy.mode != Policy.Mode.SMART:
            return str(policy.route or "-")
        return ", ".join(scene.name for scene in policy.scenes.all()) or gettext("all scenes")

    @admin.display(description=_("used by"))
    def assigned(self, policy: Policy) -> SafeString | str:
        """Return how many teams, users and keys have this policy of their own, with links to them."""
        if policy.pk is None:
            return "-"
        links: list[tuple[SafeString | str]] = []
        for model in _ASSIGNED:
            count = getattr(policy, f"{model._meta.model_name}_count", 0)
            if count:
                links.append((list_link(model, _counted(model, count), policy__id__exact=policy.pk),))
        if policy.is_default:
            links.append((gettext("everybody without one"),))
        return format_html_join(", ", "{}", links) if links else format_html("{}", gettext("nobody"))


def _count_of(model: type[models.Model]) -> Any:
    rows = model._default_manager.filter(policy=OuterRef("pk")).order_by().values("policy")
    return Coalesce(Subquery(rows.annotate(count=Count("pk")).values("count")), 0)


def _counted(model: type[models.Model], count: int) -> str:
    if model is Team:
        text = ngettext("%(count)d team", "%(count)d teams", count)
    elif model is User:
        text = ngettext("%(count)d user", "%(count)d users", count)
    else:
        text = ngettext("%(count)d key", "%(count)d keys", count)
    return text % {"count": count}


@admin.register(KindRule)
class KindRuleAdmin(EntryAdmin):
    """The rules for kinds of all policies."""

    list_display = ("policy", "kind", "action", "scene", "route")
    list_filter = ("policy", "kind", "action")
    list_select_related = ("policy", "scene", "route")
    search_fields = ("policy__name", "scene__name", "route__name")
    ordering = ("policy__name", "kind")
