"""Quotas, and what was used of them."""

from decimal import Decimal

from django.contrib import admin
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from accounts.models import Quota, QuotaWindow
from gateway.admin_base import LedgerAdmin, PermanentAdmin, column, grouped

STARTS, ENDS = column(QuotaWindow, "starts_at"), column(QuotaWindow, "ends_at")


def subject_text(quota: Quota) -> str:
    """Return the team, the person or the key that is limited."""
    if quota.team is not None:
        return gettext("team %(name)s") % {"name": quota.team}
    if quota.user is not None:
        return gettext("user %(name)s") % {"name": quota.user}
    return gettext("key %(name)s") % {"name": quota.key}


def measured(quota: Quota, amount: Decimal) -> str:
    """Return `amount` in the unit of `quota`."""
    unit = quota.currency if quota.unit == Quota.Unit.COST else quota.get_unit_display()
    return f"{grouped(amount)} {unit}"


@admin.register(Quota)
class QuotaAdmin(PermanentAdmin):
    """Quotas."""

    list_display = ("subject", "limit_text", "window", "action", "is_active")
    list_display_links = ("subject",)
    list_filter = ("is_active", "unit", "window", "action", "team")
    list_select_related = ("team", "user", "key__user")
    search_fields = ("team__name", "user__username", "key__name", "key__user__username")
    ordering = ("pk",)
    autocomplete_fields = ("team", "user", "key")
    fieldsets = (
        (_("Whose"), {"fields": ("team", "user", "key"), "description": _("Choose one of team, user and key.")}),
        (_("Limit"), {"fields": ("unit", "window", "limit", "currency", "action", "is_active")}),
    )

    @admin.display(description=_("whose"))
    def subject(self, quota: Quota) -> str:
        """Return whose quota it is."""
        return subject_text(quota)

    @admin.display(description=_("limit"), ordering="limit")
    def limit_text(self, quota: Quota) -> str:
        """Return the limit with its unit."""
        return measured(quota, quota.limit)


@admin.register(QuotaWindow)
class QuotaWindowAdmin(LedgerAdmin):
    """What was used of each quota."""

    list_display = ("subject", "window", STARTS, ENDS, "used_text", "reserved_text", "limit_text", "share")
    fields = ("quota", STARTS, ENDS, "used_text", "reserved_text", "limit_text", "share")
    sortable_by = ()
    list_filter = ("starts_at", "quota__unit", "quota__window", "quota__team")
    list_select_related = ("quota__team", "quota__user", "quota__key__user")
    search_fields = ("quota__team__name", "quota__user__username", "quota__key__name", "quota__key__user__username")
    # Windows are made in the order of time, and the number has an index.
    ordering = ("-pk",)

    @admin.display(description=_("whose"))
    def subject(self, window: QuotaWindow) -> str:
        """Return whose quota it is."""
        return subject_text(window.quota)

    @admin.display(description=_("window"))
    def window(self, window: QuotaWindow) -> str:
        """Return how long the windows of the quota are."""
        return window.quota.get_window_display()

    @admin.display(description=_("used"))
    def used_text(self, window: QuotaWindow) -> str:
        """Return what was used."""
        return measured(window.quota, window.used)

    @admin.display(description=_("reserved"))
    def reserved_text(self, window: QuotaWindow) -> str:
        """Return what running calls hold."""
        return measured(window.quota, window.reserved)

    @admin.display(description=_("limit"))
    def limit_text(self, window: QuotaWindow) -> str:
        """Return the limit as it is set today."""
        return measured(window.quota, window.quota.limit)

    @admin.display(description=_("share"))
    def share(self, window: QuotaWindow) -> str:
        """Return the used share of the limit."""
        limit = window.quota.limit
        return f"{100 * window.used / limit:.1f} %" if limit else "-"
