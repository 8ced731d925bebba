"""Invoices of the providers."""

from functools import partial
from typing import Any

from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.db.models import Sum
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import path
from django.utils.safestring import SafeString
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from accounts.models import Invoice, InvoiceLine
from gateway.admin.books.call_filters import ProviderFilter
from gateway.admin.books.calls import amount
from gateway.admin.reports.invoice_upload import upload_view
from gateway.admin.reports.reconciliation import reconciliation_csv, reconciliation_view
from gateway.admin.reports.tabs import may_reconcile
from gateway.admin_base import LedgerAdmin, column, grouped, list_link, row_url


@admin.register(Invoice)
class InvoiceAdmin(LedgerAdmin):
    """Uploaded invoices."""

    list_display = (
        "provider_name",
        "file_name",
        "currency",
        "is_withdrawn",
        "uploaded_by",
        column(Invoice, "created_at"),
        "note",
    )
    list_filter = ("created_at", "is_withdrawn", ProviderFilter)
    list_select_related = ("uploaded_by",)
    search_fields = ("provider_name", "file_name", "note")
    ordering = ("-created_at",)
    change_list_template = "admin/accounts/invoice/change_list.html"
    change_form_template = "admin/accounts/invoice/change_form.html"
    fields = (
        "provider_name",
        "file_name",
        "total_text",
        "lines_link",
        "note",
        "uploaded_by",
        column(Invoice, "created_at"),
        column(Invoice, "is_withdrawn"),
    )

    def get_urls(self) -> list[Any]:
        """Add the pages of reconciliation and withdrawal."""
        wrap = self.admin_site.admin_view
        return [
            path(
                "reconciliation/",
                wrap(partial(reconciliation_view, self.admin_site)),
                name="accounts_invoice_reconciliation",
            ),
            path("reconciliation/csv/", wrap(reconciliation_csv), name="accounts_invoice_reconciliation_csv"),
            path("<int:pk>/withdraw/", wrap(self.withdraw_view), name="accounts_invoice_withdraw"),
            *super().get_urls(),
        ]

    def has_add_permission(self, request: HttpRequest) -> bool:
        """Return whether the reader may upload invoices."""
        return request.user.has_perm("accounts.add_invoice")

    def add_view(
        self, request: HttpRequest, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """Show the upload."""
        return upload_view(self.admin_site, request)

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        """Show the list, with the way to reconciliation for who may go it."""
        return super().changelist_view(request, {"may_reconcile": may_reconcile(request.user), **(extra_context or {})})

    def withdraw_view(self, request: HttpRequest, pk: int) -> HttpResponse:
        """Ask, and after that withdraw: the lines count no more, the row stays."""
        if not request.user.has_perm("accounts.add_invoice"):
            raise PermissionDenied
        invoice = Invoice.objects.filter(pk=pk).first()
        if invoice is None:
            raise Http404
        if request.method == "POST" and not invoice.is_withdrawn:
            invoice.is_withdrawn = True
            invoice.save(update_fields=["is_withdrawn"])
            self.message_user(request, gettext("Withdrawn."), messages.SUCCESS)
        if request.method == "POST" or invoice.is_withdrawn:
            return HttpResponseRedirect(row_url(invoice))
        context = {
            **self.admin_site.each_context(request),
            "title": gettext("Withdraw the invoice?"),
            "opts": Invoice._meta,
            "invoice": invoice,
        }
        return TemplateResponse(request, "admin/accounts/invoice/withdraw.html", context)

    @admin.display(description=_("amount"))
    def total_text(self, invoice: Invoice) -> str:
        """Return what its lines add up to."""
        return amount(invoice.lines.aggregate(sum=Sum("amount"))["sum"], invoice.currency)

    @admin.display(description=_("lines"))
    def lines_link(self, invoice: Invoice) -> SafeString:
        """Return a link to its lines."""
        return list_link(InvoiceLine, grouped(invoice.lines.count()), invoice__id__exact=invoice.pk)


@admin.register(InvoiceLine)
class InvoiceLineAdmin(LedgerAdmin):
    """What was charged for a day."""

    list_display = ("date", "invoice", "model_name", column(InvoiceLine, "amount"), "currency", "tokens_text")
    list_filter = ("date", "invoice__is_withdrawn")
    list_select_related = ("invoice",)
    search_fields = ("model_name", "invoice__provider_name")
    ordering = ("-date",)

    def lookup_allowed(self, lookup: str, value: str, request: HttpRequest | None = None) -> bool:
        """Return whether the list may be narrowed by `lookup`: by its invoice too, from whose page it is opened."""
        return lookup == "invoice__id__exact" or super().lookup_allowed(lookup, value, request)  # type: ignore[arg-type]

    def get_model_perms(self, request: HttpRequest) -> dict[str, bool]:
        """Return nothing for the index: the way here is through an invoice."""
        return {}

    @admin.display(description=_("currency"))
    def currency(self, line: InvoiceLine) -> str:
        """Return the currency of the invoice."""
        return line.invoice.currency

    @admin.display(description=_("tokens"))
    def tokens_text(self, line: InvoiceLine) -> str:
        """Return the tokens that the provider counted."""
        return "-" if line.tokens is None else grouped(line.tokens)
