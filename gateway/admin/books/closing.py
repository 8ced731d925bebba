"""Corrections, closed months and monthly exports."""

from typing import Any

from django.contrib import admin
from django.http import HttpRequest, HttpResponse
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString
from django.utils.translation import gettext_lazy as _

from accounts.models import ClosedMonth, Correction, MonthlyExport
from gateway.admin.books.calls import amount
from gateway.admin.books.correction_page import correction_view
from gateway.admin.books.month_page import close_view, lines_of
from gateway.admin.reports.filters import CORRECTION_REPORT_FILTERS
from gateway.admin_base import LedgerAdmin, column, row_link


class AppendedAdmin(LedgerAdmin):
    """What an administrator appends to the books, on a page of its own; never changed, never deleted."""

    def has_add_permission(self, request: HttpRequest) -> bool:
        """Return whether the user may append."""
        return request.user.has_perm(f"{self.opts.app_label}.add_{self.opts.model_name}")


@admin.register(Correction)
class CorrectionAdmin(AppendedAdmin):
    """Amounts that were added to the books afterwards."""

    list_display = ("booked_on", "corrects_on", "user", "key", "team", "cost_text", "target", "reason")
    list_filter = ("booked_on", "source", "team", *CORRECTION_REPORT_FILTERS)
    list_select_related = ("user", "key__user", "team")
    search_fields = ("user__username", "key__name", "reason", "=model_name")
    ordering = ("-created_at",)
    fieldsets = (
        (None, {"fields": ("cost_text", "reason", "source", "call_link")}),
        (_("Who"), {"fields": (("user", "key", "team"),)}),
        (_("What"), {"fields": (("target", "scene_name", "kind"),)}),
        (
            _("Usage"),
            {"fields": (tuple(column(Correction, f"{name}_tokens") for name in ("input", "output")),
                        tuple(column(Correction, f"{name}_tokens") for name in ("cache_read", "cache_write")))},
        ),
        (_("Times"), {"fields": (("corrects_on", "booked_on"), ("made_by", column(Correction, "created_at")))}),
    )  # fmt: skip

    def add_view(
        self, request: HttpRequest, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """Ask for a correction and book it."""
        return correction_view(self, request)

    @admin.display(description=_("cost"))
    def cost_text(self, row: Correction) -> str:
        """Return the amount with its currency."""
        return amount(row.cost, row.currency) if row.currency else "-"

    @admin.display(description=_("target"))
    def target(self, row: Correction) -> str:
        """Return provider/model."""
        return f"{row.provider_name}/{row.model_name}" if row.provider_name else row.model_name or "-"

    @admin.display(description=_("call"))
    def call_link(self, row: Correction) -> SafeString | str:
        """Return a link to the call."""
        return row_link(row.call, row.call.request_id) if row.call is not None else "-"


@admin.register(ClosedMonth)
class ClosedMonthAdmin(AppendedAdmin):
    """Months whose books are closed."""

    list_display = ("name", "closed_by", column(ClosedMonth, "closed_at"), "note")
    list_filter = ("closed_at",)
    list_select_related = ("closed_by",)
    search_fields = ("note",)
    ordering = ("-month",)
    fields = ("name", "totals_table", "note", ("closed_by", column(ClosedMonth, "closed_at")))

    def add_view(
        self, request: HttpRequest, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """Show what closing a month would freeze, and close it."""
        return close_view(self, request)

    @admin.display(description=_("month"), ordering="month")
    def name(self, row: ClosedMonth) -> str:
        """Return the month as YYYY-MM."""
        return str(row)

    @admin.display(description=_("totals"))
    def totals_table(self, row: ClosedMonth) -> SafeString:
        """Return what the month was closed with."""
        lines = format_html_join(
            "", '<tr><th scope="row">{}</th><td style="text-align: right">{}</td></tr>', lines_of(row.totals)
        )
        return format_html("<table>{}</table>", lines)


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
