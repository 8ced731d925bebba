"""The page that closes a month: what would be frozen, what stands against it, and the button."""

from datetime import date
from decimal import Decimal
from typing import Any

from django import forms
from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils import timezone
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from accounts.closing import MonthNotClosable, close_month, last_month, month_of, next_month, preview
from accounts.models import UsageDaily, User
from accounts.open_points import open_points
from gateway.admin.books.calls import amount
from gateway.admin_base import ModelAdmin, grouped

_COUNTS = (
    "calls",
    "failed_calls",
    "fallback_calls",
    "unpriced_calls",
    "estimated_calls",
    "input_tokens",
    "output_tokens",
    "cache_read_tokens",
    "cache_write_tokens",
)
_COSTS = ("cost", "failed_cost", "fallback_cost", "compared_cost", "uncached_cost")


class CloseForm(forms.Form):
    """That it is meant, and a note."""

    note = forms.CharField(label=_("note"), required=False, max_length=300, widget=forms.TextInput(attrs={"size": 60}))
    is_meant = forms.BooleanField(
        label=_("Close this month for good"),
        help_text=_("It cannot be opened again. What is found out later is booked in the open month."),
    )


def lines_of(totals: dict[str, Any]) -> list[tuple[str, str]]:
    """Return the totals of a month as lines of a name and an amount. Totals of another version may lack some."""

    def name(field: str) -> str:
        return str(UsageDaily._meta.get_field(field).verbose_name)  # type: ignore[union-attr]

    lines = [(name(field), grouped(totals[field])) for field in _COUNTS if field in totals]
    for currency, sums in sorted(totals.get("costs", {}).items()):
        lines += [(name(field), amount(Decimal(sums[field]), currency)) for field in _COSTS if field in sums]
    for currency, cost in sorted(totals.get("reference_costs", {}).items()):
        lines.append((name("reference_cost"), amount(Decimal(cost), currency)))
    return lines


def _month(request: HttpRequest) -> date:
    """Return the month that was asked for, else the first that can be closed, else the last one."""
    try:
        return month_of(request.GET["month"])
    except (KeyError, ValueError):
        return next_month() or last_month(timezone.now())


def close_view(page: ModelAdmin, request: HttpRequest) -> HttpResponse:
    """Show what closing a month would freeze, and close it when that is confirmed."""
    if not page.has_add_permission(request) or not isinstance(request.user, User):
        raise PermissionDenied
    month = _month(request)
    form = CloseForm(request.POST or None)
    if request.method == "POST" and form.is_valid():
        try:
            row = close_month(month, request.user, form.cleaned_data["note"])
        except MonthNotClosable as refusal:
            form.add_error(None, str(refusal))
        else:
            page.log_addition(request, row, [{"added": {}}])
            page.message_user(request, gettext("%(month)s is closed.") % {"month": str(row)}, messages.SUCCESS)
            return HttpResponseRedirect(reverse("admin:accounts_closedmonth_change", args=(row.pk,)))
    seen = preview(month)
    context = {
        **page.admin_site.each_context(request),
        "title": gettext("Close %(month)s") % {"month": f"{month:%Y-%m}"},
        "opts": page.opts,
        "form": form,
        "month": f"{month:%Y-%m}",
        "lines": lines_of(seen.totals),
        "problems": () if form.errors else seen.problems,
        "open_points": () if seen.problems else open_points(month),
        "has_unpriced": bool(seen.totals["unpriced_calls"]),
        "can_close": not seen.problems,
    }
    return TemplateResponse(request, "admin/accounts/closedmonth/close.html", context)
