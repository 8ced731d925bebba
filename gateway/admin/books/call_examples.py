"""A recorded call as an example of a scene, so that the scorer learns from the house's own traffic."""

import re
import uuid
from typing import Any

from django import forms
from django.contrib import messages
from django.contrib.admin import AdminSite
from django.contrib.admin.models import CHANGE, LogEntry
from django.core.exceptions import PermissionDenied, ValidationError
from django.db import transaction
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from accounts.models import CallRecord
from accounts.roles import visible
from gateway.admin_base import row_link
from gateway.kept import NotKept, kept_request
from gateway.models import Capture
from routing.intent.words import own_words
from routing.models import Scene
from routing.models.scenes import MAX_EXAMPLE_LENGTH, MAX_EXAMPLES

# Who makes a call an example sees its prompt and changes a scene.
NEEDED = ("accounts.view_callrecord", "gateway.view_capture", "routing.change_scene")
_MASK = "***"
# What people paste without thinking of it. Captures know the gateway's own secrets and those of its platforms only.
_SECRETS = re.compile(
    r"-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END [A-Z ]*PRIVATE KEY-----|\Z)"
    r"|\b(?:sk|pk|rk|wg|lxs|ghp|gho|ghs|ghu|github_pat|glpat|xox[abprs]|hf|AKIA|ASIA|AIza)[-_]?[A-Za-z0-9_-]{16,}"
    r"|\beyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]*",
    re.DOTALL,
)
_NAMED_SECRETS = re.compile(
    r"((?:password|passwd|pwd|secret|token|api[-_ ]?key|authorization|bearer|密码|口令|密钥)"
    r"[\"']?(?:\s*[:=：]\s*|\s+is\s+|\s*是\s*|\s+)(?:bearer\s+)?[\"']?)"
    # A value, not the next word of a sentence.
    r"(?=[^\s\"',;，。；]*[\d_!@#$%^&*+/-])([^\s\"',;，。；]{6,})",
    re.IGNORECASE,
)
_LOGIN_IN_URL = re.compile(r"(://[^/\s:@]+:)[^/\s@]+(@)")


_WHY = {
    "damaged": _("What was kept of this call cannot be read."),
    "no body": _("Of this call no text was kept. Only calls whose capture is “everything” can be learnt."),
    "cut": _("The kept request is cut, so its end is unknown. Raise the size limit of captures."),
    "not a request": _("The kept request is not one that can be read."),
}


class NoWords(Exception):
    """The words of a call are not to be had; says why, in the reader's language."""


def redacted(text: str) -> str:
    """Return `text` with everything masked that looks like a secret."""
    text = _LOGIN_IN_URL.sub(rf"\1{_MASK}\2", _SECRETS.sub(_MASK, text))
    return _NAMED_SECRETS.sub(rf"\1{_MASK}", text)


def words_of(call: CallRecord) -> str:
    """Return the user's own words in the captured request of `call`, secrets masked. Raises `NoWords`."""
    capture = Capture.objects.filter(pk=call.pk).only("client_request", "is_full").first()
    if capture is None:
        raise NoWords(gettext("Nothing was kept of this call. Only calls whose capture is “everything” can be learnt."))
    try:
        request = kept_request(bytes(capture.client_request), call.wire_format)
    except NotKept as error:
        raise NoWords(str(_WHY[error.why])) from None
    words = redacted(own_words(request.body["messages"]).text).strip()
    if not words:
        raise NoWords(gettext("The request holds no words of the user: it goes on with what was said before."))
    return words[:MAX_EXAMPLE_LENGTH]


class ExampleForm(forms.Form):
    """The words, to be looked through, and the scene that they are of."""

    scene = forms.ModelChoiceField(Scene.objects.all(), label=_("scene"))
    text = forms.CharField(
        label=_("example"),
        max_length=MAX_EXAMPLE_LENGTH,
        widget=forms.Textarea(attrs={"rows": 10, "cols": 80}),
        help_text=_("Secrets are masked as far as they are recognised. Take out what is nobody else's business."),
    )

    def clean(self) -> dict[str, Any] | None:
        """Raise `ValidationError` for a text that is an example already, of this or another scene."""
        cleaned = super().clean() or {}
        text, scene = _normal(cleaned.get("text", "")), cleaned.get("scene")
        if scene is None or not text:
            return cleaned
        for other in Scene.objects.all():
            if any(_normal(str(example)) == text for example in other.examples):
                fault = _("The scene %(scene)s has this example already.")
                raise ValidationError({"text": ValidationError(fault, params={"scene": other.name})})
        if len(scene.examples) >= MAX_EXAMPLES:
            fault = _("The scene %(scene)s has %(limit)s examples, which is the most that is possible.")
            raise ValidationError(
                {"scene": ValidationError(fault, params={"scene": scene.name, "limit": MAX_EXAMPLES})}
            )
        return cleaned


def _normal(text: str) -> str:
    return " ".join(text.split()).casefold()


def example_link(call: CallRecord) -> SafeString:
    """Return a link to the page that makes `call` an example."""
    url = reverse("admin:accounts_callrecord_example", args=(call.pk,))
    return format_html('<a href="{}">{}</a>', url, gettext("Add to the examples of a scene"))


def example_view(site: AdminSite, request: HttpRequest, call_id: uuid.UUID) -> HttpResponse:
    """Show the words of a call for review, and add them to a scene's examples."""
    if not request.user.has_perms(NEEDED):
        raise PermissionDenied
    call = visible(CallRecord.objects.filter(pk=call_id), request.user).first()
    if call is None:
        raise Http404
    words, fault = "", ""
    try:
        words = words_of(call)
    except NoWords as error:
        fault = str(error)
    form = None
    if not fault:
        scene = Scene.objects.filter(name=call.scene_name).first()
        form = ExampleForm(request.POST or None, initial={"text": words, "scene": scene})
        if request.method == "POST" and form.is_valid():
            scene = _add(request, form.cleaned_data["scene"], form.cleaned_data["text"].strip(), call)
            text = gettext("Added to the examples of {scene}; there are {count}.")
            messages.success(request, format_html(text, scene=row_link(scene), count=len(scene.examples)))
            return HttpResponseRedirect(reverse("admin:accounts_callrecord_change", args=(call.pk,)))
    context = {
        **site.each_context(request),
        "title": gettext("Add to the examples of a scene"),
        "opts": CallRecord._meta,
        "call": call,
        "form": form,
        "fault": fault,
    }
    return TemplateResponse(request, "admin/accounts/callrecord/example.html", context)


def _add(request: HttpRequest, scene: Scene, text: str, call: CallRecord) -> Scene:
    with transaction.atomic():
        # Another administrator may be adding to it.
        locked = Scene.objects.select_for_update().get(pk=scene.pk)
        if text in locked.examples:
            return locked  # the button was pressed twice
        locked.examples = [*locked.examples, text]
        locked.save(update_fields=["examples"])
        LogEntry.objects.log_actions(
            user_id=str(request.user.pk),
            queryset=[locked],
            action_flag=CHANGE,
            change_message=f"Added the words of the call {call.request_id} to the examples.",
        )
    return locked
