"""The page that decides recorded calls again by a policy as it is now: what would move, and what it would cost."""

from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from typing import Any

from django import forms
from django.contrib.admin import AdminSite
from django.core.exceptions import PermissionDenied
from django.core.validators import MaxValueValidator, MinValueValidator
from django.db.models import QuerySet
from django.http import Http404, HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.utils import timezone
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from accounts.models import CallRecord
from accounts.roles import visible
from gateway.admin.books.calls import amount, id_text
from gateway.admin.books.decisions import by_label, kind_label
from gateway.admin_base import exact_time, row_link
from gateway.replay import Replayed, Totals, recorded_calls, replay
from routing.models import Policy
from routing.snapshot import PolicySnapshot, Snapshot, load

# A browser waits; the command replay_routing takes as many as there are.
MAX_CALLS = 1000
_SHOWN = 100
# The ends of the calendar have no midnight in every zone.
_DAYS = [MinValueValidator(date(2000, 1, 1)), MaxValueValidator(date(9000, 1, 1))]


class ReplayForm(forms.Form):
    """Which calls are decided again."""

    since = forms.DateField(label=_("since"), validators=_DAYS, widget=forms.DateInput(attrs={"type": "date"}))
    until = forms.DateField(
        label=_("until"),
        required=False,
        validators=_DAYS,
        widget=forms.DateInput(attrs={"type": "date"}),
        help_text=_("That day included. Empty: until now."),
    )
    of = forms.ModelChoiceField(
        Policy.objects.all(), required=False, label=_("decided by"), empty_label=_("any policy"), to_field_name="name"
    )


def replay_view(site: AdminSite, request: HttpRequest, pk: int) -> HttpResponse:
    """Show the form, and what was asked for by it. Only reads."""
    if not request.user.has_perms(["routing.view_policy", "accounts.view_callrecord"]):
        raise PermissionDenied
    row = Policy.objects.filter(pk=pk).first()
    if row is None:
        raise Http404
    snapshot = load()
    policy = snapshot.policies[row.pk]
    today = timezone.now().astimezone(snapshot.settings.business_time_zone).date()
    form = ReplayForm(request.GET if "since" in request.GET else None, initial={"since": today - timedelta(days=1)})
    context: dict[str, Any] = {
        **site.each_context(request),
        "title": gettext("What would have moved"),
        "opts": Policy._meta,
        "policy": row,
        "form": form,
        "max_calls": MAX_CALLS,
    }
    if form.is_bound and form.is_valid():
        context |= _result(snapshot, policy, form.cleaned_data, visible(CallRecord.objects.all(), request.user))
    return TemplateResponse(request, "admin/routing/policy/replay.html", context)


def _result(
    snapshot: Snapshot, policy: PolicySnapshot, asked: dict[str, Any], among: QuerySet[CallRecord]
) -> dict[str, Any]:
    zone = snapshot.settings.business_time_zone
    since = datetime.combine(asked["since"], time(), zone).astimezone(UTC)
    end = asked["until"]
    until = datetime.combine(end + timedelta(days=1), time(), zone).astimezone(UTC) if end else timezone.now()
    policy_name = asked["of"].name if asked["of"] else ""
    calls = recorded_calls(since, until, policy_name=policy_name, limit=MAX_CALLS, among=among)
    totals = Totals()
    moved: list[dict[str, Any]] = []
    for each in replay(snapshot, policy, calls):
        totals.add(each)
        if (each.is_moved or each.refusal) and len(moved) < _SHOWN:
            moved.append(_row(each))
    currencies = sorted({*totals.before, *totals.after})
    return {
        "totals": totals,
        "moves": [{"old": old, "new": new, "count": count} for (old, new), count in totals.moves.most_common()],
        "costs": [
            {
                "before": amount(totals.before.get(currency, Decimal(0)), currency),
                "after": amount(totals.after.get(currency, Decimal(0)), currency),
            }
            for currency in currencies
        ],
        "moved": moved,
        "is_cut": len(calls) == MAX_CALLS,
    }


def _row(each: Replayed) -> dict[str, Any]:
    call = each.recorded.call
    return {
        "call": row_link(call, id_text(call)),
        "time": exact_time(call.started_at),
        "kind": kind_label(call.kind),
        "scenes": (call.scene_name or "-", each.scene or "-"),
        "targets": (each.recorded.target, each.target or each.refusal),
        "by": by_label(each.by),
        "costs": (amount(call.cost, call.currency), amount(*each.cost) if each.cost else gettext("unknown")),
    }
