"""Corrections, closed months and monthly exports."""

from django.contrib import admin

from accounts.models import ClosedMonth, Correction, MonthlyExport
from gateway.admin_base import LedgerAdmin, column


@admin.register(Correction)
class CorrectionAdmin(LedgerAdmin):
    """Amounts that were added to the books afterwards."""

    list_display = ("booked_on", "corrects_on", "user", "key", "team", column(Correction, "cost"), "currency", "reason")
    list_filter = ("booked_on", "source", "team")
    list_select_related = ("user", "key__user", "team")
    search_fields = ("user__username", "key__name", "reason", "=model_name")
    ordering = ("-created_at",)


@admin.register(ClosedMonth)
class ClosedMonthAdmin(LedgerAdmin):
    """Months whose books are closed."""

    list_display = ("month", "closed_by", column(ClosedMonth, "closed_at"), "note")
    list_filter = ("closed_at",)
    list_select_related = ("closed_by",)
    search_fields = ("note",)
    ordering = ("-month",)


@admin.register(MonthlyExport)
class MonthlyExportAdmin(LedgerAdmin):
    """What the scheduled export did."""

    list_display = (
        "month",
        "status",
        column(MonthlyExport, "started_at"),
        column(MonthlyExport, "finished_at"),
        "error",
    )
    list_filter = ("status",)
    list_select_related = ()
    search_fields = ("error",)
    ordering = ("-month",)
