"""One-time links to secrets: who opened them, and how to take one back."""

from typing import Any

from django.contrib import admin, messages
from django.db.models import Q, QuerySet
from django.http import HttpRequest
from django.utils import timezone
from django.utils.translation import gettext_lazy as _
from django.utils.translation import ngettext

from accounts import handovers
from accounts.models import KeyHandover
from gateway.admin_base import LedgerAdmin, column

_STATES = {"open": _("not opened yet"), "opened": _("was opened"), "over": _("over, not opened")}


def _open(now: Any) -> Q:
    return ~Q(encrypted_secret="") & Q(opened_at__isnull=True, expires_at__gt=now, key__is_active=True)


class HandoverStateFilter(admin.SimpleListFilter):
    """Links that still show their secret, that did, and that never will."""

    title = _("state")
    parameter_name = "state"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, Any]]:
        """Return the states."""
        return list(_STATES.items())

    def queryset(self, request: HttpRequest, queryset: QuerySet[KeyHandover]) -> QuerySet[KeyHandover]:
        """Return the links in the chosen state."""
        match self.value():
            case "open":
                return queryset.filter(_open(timezone.now()))
            case "opened":
                return queryset.filter(opened_at__isnull=False)
            case "over":
                return queryset.filter(opened_at__isnull=True).exclude(_open(timezone.now()))
        return queryset


@admin.register(KeyHandover)
class KeyHandoverAdmin(LedgerAdmin):
    """One-time links. They are made where keys are issued and rotated; the link itself is kept nowhere."""

    list_display = (
        "key",
        "state",
        column(KeyHandover, "opened_at"),
        "opened_from",
        column(KeyHandover, "expires_at"),
        column(KeyHandover, "created_at"),
        "created_by",
    )
    fields = list_display
    list_filter = ("created_at", HandoverStateFilter, "key__user__team")
    list_select_related = ("key__user", "created_by")
    search_fields = ("key__name", "key__user__username", "opened_from")
    ordering = ("-created_at",)
    actions = ["withdraw"]  # type: ignore[assignment]  # the base has none

    def has_withdraw_permission(self, request: HttpRequest) -> bool:
        """Return whether the reader may take links back: who may change keys may."""
        return request.user.has_perm("accounts.change_apikey")

    @admin.display(description=_("state"))
    def state(self, handover: KeyHandover) -> str:
        """Return whether the link was opened, and if not, whether it can be."""
        if handover.opened_at is not None:
            return str(_STATES["opened"])
        return str(_STATES["open" if handovers.is_open(handover, timezone.now()) else "over"])

    @admin.action(permissions=["withdraw"], description=_("Withdraw the selected %(verbose_name_plural)s"))
    def withdraw(self, request: HttpRequest, queryset: QuerySet[KeyHandover]) -> None:
        """End links that nobody opened. The keys stay as they are."""
        rows = list(queryset.filter(_open(timezone.now())))
        count = handovers.withdraw(row.pk for row in rows)
        self.log_rows(request, rows, "Withdrawn.")
        text = ngettext(
            "%(count)d link withdrawn. Its key stays valid: rotate it to hand out another secret.",
            "%(count)d links withdrawn. Their keys stay valid: rotate them to hand out other secrets.",
            count,
        )
        self.message_user(request, text % {"count": count}, messages.SUCCESS if count else messages.WARNING)
