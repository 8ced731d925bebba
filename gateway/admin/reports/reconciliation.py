"""A provider's month: what the books say, what its invoices say, and where they differ."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, timedelta
from decimal import Decimal
from typing import Any

from django import forms
from django.contrib.admin import AdminSite
from django.core.exceptions import PermissionDenied, ValidationError
from django.http import HttpRequest, HttpResponse, HttpResponseBase
from django.template.response import TemplateResponse
from django.utils import timezone
from django.utils.http import urlencode
from django.utils.safestring import SafeString
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from accounts.audit import record
from accounts.exports.cells import BOM, Cell, csv_bytes
from accounts.models import AuditEntry, Invoice, User
from accounts.reconciliation import Reconciliation, Sides, reconcile
from accounts.reports import Period, business_day
from gateway.admin.reports.invoice_upload import provider_names
from gateway.admin.reports.links import calls_url
from gateway.admin.reports.tabs import RECONCILIATION, may_reconcile, tabs_of
from gateway.streamed import download
from routing.models import RuntimeSettings


class MonthField(forms.CharField):
    """A month, chosen with the browser's own calendar; its value is the first day."""

    widget = forms.TextInput(attrs={"type": "month", "placeholder": "2026-11", "size": 8})

    def clean(self, value: Any) -> Any:
        """Return the first day. Raises `ValidationError`."""
        text = super().clean(value)
        try:
            if re.fullmatch(r"\d{4}-\d{2}", text):
                return date.fromisoformat(f"{text}-01")
        except ValueError:
            pass
        raise ValidationError(_("Write the month like 2026-11."))


class MonthForm(forms.Form):
    """Whose month."""

    provider = forms.ChoiceField(label=_("provider"))
    month = MonthField(label=_("month"))

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        field = self.fields["provider"]
        assert isinstance(field, forms.ChoiceField)
        field.choices = [(name, name) for name in provider_names()]


def reconciliation_view(site: AdminSite, request: HttpRequest) -> HttpResponse:
    """Show the form, and the month that it names."""
    form, found = _asked(request)
    context: dict[str, Any] = {
        **site.each_context(request),
        "title": gettext("Reconciliation"),
        "opts": Invoice._meta,
        "tabs": tabs_of(request, RECONCILIATION),
        "form": form,
        "found": found,
        "time_zone": RuntimeSettings.load().business_time_zone,
    }
    if found is not None:
        sees_calls = request.user.has_perm("accounts.view_callrecord")
        context |= {
            "rows": [_shown(found, line, sees_calls) for line in _lines(found)],
            "total": _figures(found.total),
            "query": urlencode({"provider": found.provider_name, "month": f"{found.period.start:%Y-%m}"}),
            "former": _month_before(found),
        }
    return TemplateResponse(request, "admin/accounts/invoice/reconciliation.html", context)


def reconciliation_csv(request: HttpRequest) -> HttpResponseBase:
    """Return the same as a file."""
    form, found = _asked(request)
    if found is None:
        return HttpResponse(str(form.errors), status=400)
    month = f"{found.period.start:%Y-%m}"
    assert isinstance(request.user, User)
    record(AuditEntry.Action.OTHER, request.user, note=f"export reconciliation {found.provider_name} {month}")
    titles = [
        gettext("Day"), gettext("Model"), gettext("Calls"), gettext("Tokens"), gettext("Booked calls"),
        gettext("Corrections"), gettext("Books"), gettext("Invoice"), gettext("Difference"), "%", gettext("Currency"),
    ]  # fmt: skip
    split = {line.day for line in _lines(found) if line.is_model}
    rows: list[list[Cell]] = [
        [
            line.day, line.model, line.sides.calls, line.sides.tokens, line.sides.usage, line.sides.corrections,
            line.sides.booked, line.sides.invoiced, line.sides.difference, line.sides.percent, found.currency,
        ]
        for line in _lines(found)
        # Beside those of its models, the line of a day would count twice in a sum.
        if line.is_model or line.day not in split
    ]  # fmt: skip
    parts: Iterator[bytes] = iter([BOM + csv_bytes([titles]), csv_bytes(rows)])
    name = f"reconciliation-{found.provider_name}-{month}.csv"
    return download(request, parts, name, "text/csv; charset=utf-8")


def _asked(request: HttpRequest) -> tuple[MonthForm, Reconciliation | None]:
    if not may_reconcile(request.user):
        raise PermissionDenied
    last = business_day(timezone.now()).replace(day=1) - timedelta(days=1)
    form = MonthForm(request.GET if "provider" in request.GET else None, initial={"month": f"{last:%Y-%m}"})
    if not form.is_bound or not form.is_valid():
        return form, None
    return form, reconcile(form.cleaned_data["provider"], Period.month(form.cleaned_data["month"]))


@dataclass(frozen=True, slots=True)
class _Line:
    """A day or, below it, one of its models; a day of one model names it itself."""

    day: date
    model_name: str
    sides: Sides
    is_model: bool = False

    @property
    def model(self) -> str:
        """The model as it is shown."""
        return self.model_name or (gettext("(no model)") if self.is_model else "")


def _lines(found: Reconciliation) -> Iterator[_Line]:
    """Yield the days, each followed by its models where an invoice names any."""
    for day in found.days:
        if len(day.models) == 1:
            yield _Line(day.date, day.models[0][0], day.sides)
            continue
        yield _Line(day.date, "", day.sides)
        for name, sides in day.models:
            yield _Line(day.date, name, sides, is_model=True)


def _shown(found: Reconciliation, line: _Line, sees_calls: bool) -> dict[str, Any]:
    sides = line.sides
    row = _figures(sides) | {"day": line.day, "model": line.model, "is_model": line.is_model}
    if sides.calls and sees_calls:
        filters = {"booked": f"{line.day}..{line.day}", "provider": found.provider_name}
        row["calls_url"] = calls_url(filters | ({"model": line.model_name} if line.is_model else {}))
    if sides.invoiced is None and sides.booked:
        row["note"] = gettext("on no invoice")
    elif sides.booked is None and sides.invoiced:
        row["note"] = gettext("not in the books")
    return row


def _figures(sides: Sides) -> dict[str, Any]:
    return {
        "calls": f"{sides.calls:,}",
        "tokens": f"{sides.tokens:,}",
        "usage": _money(sides.usage),
        "corrections": _money(sides.corrections) if sides.corrections else "",
        "booked": _money(sides.booked),
        "invoiced": _money(sides.invoiced),
        "difference": _money(sides.difference),
        "is_different": bool(sides.difference),
        "percent": "" if sides.percent is None else f"{sides.percent:,} %",
    }


def _money(amount: Decimal | None) -> SafeString | str:
    if amount is None:
        return "–"
    # As many decimals as an invoice has, and of small amounts as many as there are.
    return f"{amount:,.2f}" if abs(amount) >= 1 or not amount else f"{amount.normalize():,f}"


def _month_before(found: Reconciliation) -> str:
    before = found.period.start - timedelta(days=1)
    return urlencode({"provider": found.provider_name, "month": f"{before:%Y-%m}"})
