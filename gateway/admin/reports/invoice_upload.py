"""Uploading an invoice: read, shown, and kept only after that."""

import base64
from typing import Any

from django import forms
from django.contrib import messages
from django.contrib.admin import AdminSite
from django.core import signing
from django.core.exceptions import PermissionDenied
from django.core.validators import RegexValidator
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.utils import timezone
from django.utils.translation import gettext, ngettext
from django.utils.translation import gettext_lazy as _

from accounts.invoices import AlreadyKept, Reading, keep_invoice, read_invoice
from accounts.models import Invoice, User
from accounts.reports import business_day
from accounts.tables import Limits, check_size
from gateway.admin_base import grouped, row_url
from providers.models import Provider
from routing.models import RuntimeSettings

_SALT = "gateway.admin.reports.invoice_upload"
# Between the look at a file and its keeping.
_VALID_S = 3600
_SHOWN_LINES, _SHOWN_PROBLEMS = 20, 100


class UploadForm(forms.Form):
    """Whose invoice it is, in which currency, and the file."""

    provider = forms.ChoiceField(label=_("provider"))
    currency = forms.CharField(
        label=_("currency"), max_length=3, validators=[RegexValidator(r"^[A-Z]{3}\Z", _("Such as CNY or USD."))]
    )
    file = forms.FileField(
        label=_("file"),
        max_length=200,
        help_text=_(
            "CSV (UTF-8, UTF-16 or GB18030) or .xlsx, with a line of titles: date and amount; optional are model, "
            "currency and tokens."
        ),
    )
    note = forms.CharField(label=_("note"), max_length=200, required=False)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        field = self.fields["provider"]
        assert isinstance(field, forms.ChoiceField)
        field.choices = [("", "---------"), *((name, name) for name in provider_names())]

    def clean_file(self) -> Any:
        """Refuse a file that nobody would read before it is in memory."""
        file = self.cleaned_data["file"]
        check_size(file.size, Limits())
        return file


def provider_names() -> list[str]:
    """Return the names of the providers of today, and of those that invoices are there of."""
    names = set(Provider.objects.values_list("name", flat=True))
    return sorted(names | set(Invoice.objects.order_by().values_list("provider_name", flat=True).distinct()))


def upload_view(site: AdminSite, request: HttpRequest) -> HttpResponse:
    """Show the form; of a posted file what it holds or what is wrong with it; keep what was shown and confirmed."""
    if not request.user.has_perm("accounts.add_invoice"):
        raise PermissionDenied
    context: dict[str, Any] = {
        **site.each_context(request),
        "title": gettext("Upload an invoice"),
        "opts": Invoice._meta,
    }
    if request.method == "POST" and "confirmed" in request.POST:
        return _keep(request, context)
    initial = {"currency": RuntimeSettings.load().report_currency, "provider": request.GET.get("provider")}
    form = UploadForm(request.POST or None, request.FILES or None, initial=initial)
    if request.method == "POST" and form.is_valid():
        file = form.cleaned_data["file"]
        values = {name: form.cleaned_data[name] for name in ("provider", "currency", "note")}
        content = file.read()
        _show(context, values | {"name": file.name}, content)
        if context["reading"].problems:
            context["form"] = form
    else:
        context["form"] = form
    return TemplateResponse(request, "admin/accounts/invoice/upload.html", context)


def _read(values: dict[str, str], content: bytes) -> Reading:
    return read_invoice(values["name"], content, values["currency"], business_day(timezone.now()))


def _show(context: dict[str, Any], values: dict[str, str], content: bytes) -> None:
    """Put what the file holds into `context`; without problems also the file itself, to be confirmed."""
    reading = _read(values, content)
    days = [line.date for line in reading.lines]
    context |= {
        "reading": reading,
        "values": values,
        "problems": reading.problems[:_SHOWN_PROBLEMS],
        "problems_left_out": max(0, len(reading.problems) - _SHOWN_PROBLEMS),
    }
    if reading.problems:
        return
    also = Invoice.objects.filter(provider_name=values["provider"], is_withdrawn=False)
    context |= {
        "lines": [(line, grouped(line.amount)) for line in reading.lines[:_SHOWN_LINES]],
        "lines_left_out": max(0, len(days) - _SHOWN_LINES),
        "total": grouped(reading.total),
        "first": min(days),
        "last": max(days),
        "also": list(also.filter(lines__date__range=(min(days), max(days))).distinct()[:10]),
        "token": signing.dumps({**values, "content": base64.b64encode(content).decode()}, salt=_SALT, compress=True),
    }


def _keep(request: HttpRequest, context: dict[str, Any]) -> HttpResponse:
    try:
        values = signing.loads(request.POST["confirmed"], salt=_SALT, max_age=_VALID_S)
    except signing.BadSignature:
        messages.error(request, gettext("The look at the file is too long ago. Upload it again."))
        return HttpResponseRedirect(request.path)
    content = base64.b64decode(values["content"])
    reading = _read(values, content)
    user = request.user if isinstance(request.user, User) else None
    try:
        invoice = keep_invoice(values["provider"], values["name"], content, reading, user, values["note"])
    except AlreadyKept:
        messages.error(
            request, gettext("This file was uploaded before. Withdraw that invoice first if it is to be replaced.")
        )
        return HttpResponseRedirect(request.path)
    count = len(reading.lines)
    text = ngettext("Kept, with %(count)d line.", "Kept, with %(count)d lines.", count)
    messages.success(request, text % {"count": count})
    return HttpResponseRedirect(row_url(invoice))
