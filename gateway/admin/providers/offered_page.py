"""The page that makes ready-made scenes: the four to begin with, or the templates."""

from typing import Any, cast

from django import forms
from django.contrib import messages
from django.contrib.admin import AdminSite
from django.contrib.admin.models import ADDITION, CHANGE, LogEntry
from django.core.exceptions import PermissionDenied, ValidationError
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils.html import format_html, format_html_join
from django.utils.translation import get_language, gettext
from django.utils.translation import gettext_lazy as _

from gateway.admin_base import row_link
from routing.models import Scene
from routing.offered import NoModels, Offer, Which, offer, offered_language, offered_scenes, standing

_TITLES = {"defaults": _("Add the four default scenes"), "templates": _("Add templates")}
_OUTCOMES = {"made": _("added"), "replaced": _("overwritten"), "kept": _("left as it is")}


class OfferForm(forms.Form):
    """In which language, and what becomes of scenes that exist."""

    language = forms.ChoiceField(label=_("language"), choices=[("en", "English"), ("zh-hans", "简体中文")])
    replace = forms.BooleanField(
        required=False,
        label=_("overwrite scenes that exist"),
        help_text=_("Name, description and examples become those offered. Routes keep the targets that they have."),
    )


def offered_view(site: AdminSite, request: HttpRequest, which: str) -> HttpResponse:
    """Show what is offered, and make it."""
    if which not in _TITLES:
        raise Http404
    if not request.user.has_perms(("routing.add_scene", "routing.add_route")):
        raise PermissionDenied
    chosen = cast("Which", which)
    language = offered_language(get_language() or "en")
    form = OfferForm(request.POST if request.method == "POST" else None, initial={"language": language})
    if not request.user.has_perm("routing.change_scene"):
        del form.fields["replace"]
    if request.method == "POST" and form.is_valid():
        language = form.cleaned_data["language"]
        if _made(request, chosen, language, replace=bool(form.cleaned_data.get("replace"))):
            return HttpResponseRedirect(reverse("admin:routing_scene_changelist"))
    context: dict[str, Any] = {
        **site.each_context(request),
        "title": _TITLES[which],
        "opts": Scene._meta,
        "form": form,
        "offered": [
            {"name": each.names[language], "description": each.descriptions[language], "count": len(each.examples)}
            for each in offered_scenes(chosen)
        ],
        "standing": standing(chosen, language),
    }
    return TemplateResponse(request, "admin/routing/scene/offered.html", context)


def _made(request: HttpRequest, which: Which, language: str, *, replace: bool) -> bool:
    """Make the scenes and say what became of each; return whether that was possible."""
    try:
        offers = offer(which, language, replace=replace)
    except NoModels:
        messages.error(
            request, gettext("There is no enabled model yet. Add a provider and refresh its list of models first.")
        )
        return False
    except ValidationError as error:
        # Somebody's own scene has the name in the other language, for example.
        messages.error(request, " ".join(error.messages))
        return False
    rows = ((row_link(each.scene), str(_OUTCOMES[each.outcome])) for each in offers)
    messages.success(request, format_html("{}", format_html_join("; ", "{}: {}", rows)))
    _log(request, offers)
    return True


def _log(request: HttpRequest, offers: list[Offer]) -> None:
    for outcome, flag in (("made", ADDITION), ("replaced", CHANGE)):
        if scenes := [each.scene for each in offers if each.outcome == outcome]:
            LogEntry.objects.log_actions(
                user_id=str(request.user.pk),
                queryset=scenes,
                action_flag=flag,
                change_message="Made from the offered scenes.",
            )
