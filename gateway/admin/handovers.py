"""One-time links to secrets: to be read, never changed."""

from django.contrib import admin

from accounts.models import KeyHandover
from gateway.admin_base import LedgerAdmin, column


@admin.register(KeyHandover)
class KeyHandoverAdmin(LedgerAdmin):
    """One-time links."""

    list_display = (
        "key",
        "created_by",
        *(column(KeyHandover, f"{name}_at") for name in ("created", "expires")),
        "opened",
    )
    list_filter = ("created_at", "opened_at")
    list_select_related = ("key__user", "created_by")
    search_fields = ("key__name", "key__user__username")
    ordering = ("-created_at",)

    @admin.display(boolean=True)
    def opened(self, handover: KeyHandover) -> bool:
        """Return whether the secret was shown."""
        return handover.opened_at is not None
