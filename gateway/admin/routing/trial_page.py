"""The page "try a prompt": what would become of a request, without calling anybody."""

from typing import Any

from django.contrib.admin import AdminSite
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.utils import timezone
from django.utils.translation import gettext

from gateway.admin.books.decisions import decision_html
from gateway.admin.routing.trial_form import TrialForm, Tried
from gateway.trial import Trial, decide
from routing import estimate, health
from routing.intent.facts import SessionMemory
from routing.models import Policy
from routing.snapshot import PolicySnapshot, load


def trial_view(site: AdminSite, request: HttpRequest) -> HttpResponse:
    """Show the form, and of what was posted the decision. Writes nothing."""
    if not request.user.has_perm("routing.view_policy"):
        raise PermissionDenied
    is_posted = request.method == "POST"
    initial = {"policy": request.GET.get("policy"), "text": ""}
    form = TrialForm(request.POST if is_posted else None, initial=initial, user=request.user)
    context: dict[str, Any] = {
        **site.each_context(request),
        "title": gettext("Try a prompt"),
        "opts": Policy._meta,
        "form": form,
    }
    if is_posted and form.is_valid():
        context |= _result(form.tried())
    return TemplateResponse(request, "admin/routing/trial.html", context)


def _result(tried: Tried) -> dict[str, Any]:
    """Return what the page shows of the decision on a request."""
    snapshot = load()
    policy = snapshot.policy(*tried.asking.policy_pks)
    now = timezone.now()
    memory = SessionMemory(tried.session_scene, "", policy.name, now) if tried.session_scene and policy else None
    trial = decide(
        snapshot,
        policy,
        tried.facts,
        now.astimezone(snapshot.settings.business_time_zone),
        memory=memory,
        allowed=tried.asking.allowed,
        health=health.current() if snapshot.settings.cooldown_enabled else None,
    )
    return {
        "trial": trial,
        "policy": policy,
        "words": tried.facts.text,
        "left_out": tried.left_out,
        "decision": decision_html(trial.as_record(), refusal=trial.refusal, **_compared(trial, policy)),
    }


def _compared(trial: Trial, policy: PolicySnapshot | None) -> dict[str, Any]:
    """Return what the decision is measured by: the confidence needed, and the cost on the reference model."""
    found: dict[str, Any] = {}
    if policy is not None and trial.scores:
        percent = round(100 * policy.min_confidence, 1)
        found |= {"threshold": f"{percent} %", "threshold_width": f"{percent:.1f}"}
    if policy is not None and policy.reference is not None and trial.decision is not None:
        cost = estimate.cost_of_call(policy.reference, trial.facts)
        found["reference"] = {"name": policy.reference.name, "cost": estimate.written(cost) if cost else ""}
    return found
