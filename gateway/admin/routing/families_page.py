"""The page that says what Claude's families mean here: four choices instead of four aliases."""

from collections.abc import Mapping
from typing import Any

from django import forms
from django.contrib import messages
from django.contrib.admin import AdminSite
from django.contrib.admin.models import CHANGE, LogEntry
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from gateway.config.apply import Refused
from gateway.config.routing import shown_alias_target
from gateway.families import FAMILIES, map_families
from providers.models import Model
from routing.models import ModelAlias, Route, Scene

_LABELS: dict[str, Any] = {"haiku": "Haiku", "sonnet": "Sonnet", "opus": "Opus", "other": _("every other Claude")}


class FamiliesForm(forms.Form):
    """What each family means: a model, a route or a scene."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        choices = _choices(set(self.initial.values()))
        for family, pattern in FAMILIES.items():
            self.fields[family] = forms.ChoiceField(
                label=_LABELS[family], choices=choices, required=False, help_text=pattern
            )


def _choices(current: set[str]) -> list[tuple[Any, Any]]:
    """Return what a family may mean, and what one means already, even if that is switched off."""
    models = [
        model
        for model in Model.objects.select_related("provider")
        if (model.is_enabled and model.provider.is_enabled) or str(model) in current
    ]
    groups = (
        (
            _("Scenes"),
            [
                (f"scene:{scene}", scene.name)
                for scene in Scene.objects.all()
                if scene.is_enabled or f"scene:{scene}" in current
            ],
        ),
        (_("Routes"), [(f"route:{route}", route.name) for route in Route.objects.all()]),
        (_("Models"), [(str(model), str(model)) for model in models]),
    )
    return [("", _("as it is"))] + [(label, choices) for label, choices in groups if choices]


def _current() -> Mapping[str, str]:
    """Return family -> what it means, of those that have an alias."""
    aliases = ModelAlias.objects.filter(pattern__in=FAMILIES.values())
    found = {
        alias.pattern: shown_alias_target(alias)
        for alias in aliases.select_related("model__provider", "route", "scene")
    }
    return {family: found[pattern] for family, pattern in FAMILIES.items() if pattern in found}


def families_view(site: AdminSite, request: HttpRequest) -> HttpResponse:
    """Show what the families mean, and write what is chosen."""
    if not (request.user.has_perm("routing.add_modelalias") and request.user.has_perm("routing.change_modelalias")):
        raise PermissionDenied
    form = FamiliesForm(request.POST if request.method == "POST" else None, initial=dict(_current()))
    if request.method == "POST" and form.is_valid():
        chosen = {family: target for family, target in form.cleaned_data.items() if target}
        try:
            changes = map_families(chosen).changes
        except Refused as error:
            # Something that was chosen has gone meanwhile.
            messages.error(request, " ".join(error.problems))
        else:
            if changes:
                _log(request, chosen)
            text = gettext("The families are mapped.") if changes else gettext("Nothing was changed.")
            messages.success(request, text)
            return HttpResponseRedirect(reverse("admin:routing_modelalias_changelist"))
    context: dict[str, Any] = {
        **site.each_context(request),
        "title": _("Map Claude's families"),
        "opts": ModelAlias._meta,
        "form": form,
    }
    return TemplateResponse(request, "admin/routing/modelalias/families.html", context)


def _log(request: HttpRequest, chosen: Mapping[str, str]) -> None:
    LogEntry.objects.log_actions(
        user_id=str(request.user.pk),
        queryset=ModelAlias.objects.filter(pattern__in=[FAMILIES[family] for family in chosen]),
        action_flag=CHANGE,
        change_message="Mapped with Claude's families.",
    )
