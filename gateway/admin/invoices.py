"""Invoices of the providers."""

from django.contrib import admin

from accounts.models import Invoice, InvoiceLine
from gateway.admin_base import LedgerAdmin, column


@admin.register(Invoice)
class InvoiceAdmin(LedgerAdmin):
    """Uploaded invoices."""

    list_display = (
        "provider_name",
        "currency",
        "file_name",
        "is_withdrawn",
        "uploaded_by",
        column(Invoice, "created_at"),
    )
    list_filter = ("created_at", "is_withdrawn")
    list_select_related = ("uploaded_by",)
    search_fields = ("provider_name", "file_name", "note")
    ordering = ("-created_at",)


@admin.register(InvoiceLine)
class InvoiceLineAdmin(LedgerAdmin):
    """What was charged for a day."""

    list_display = ("date", "invoice", "model_name", column(InvoiceLine, "amount"), column(InvoiceLine, "tokens"))
    list_filter = ("date",)
    list_select_related = ("invoice",)
    search_fields = ("model_name", "invoice__provider_name")
    ordering = ("-date",)
