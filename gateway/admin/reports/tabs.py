"""The tabs of the pages for finance: reports, exports, reconciliation."""

from typing import Any

from django.http import HttpRequest
from django.urls import reverse
from django.utils.translation import gettext_lazy as _

from accounts.models import User
from accounts.roles import sees_everything

_TABS = (
    ("reports:overview", _("Overview")),
    ("reports:usage", _("Usage")),
    ("reports:savings", _("Savings")),
    ("reports:failures", _("Failures")),
    ("reports:keys", _("Keys")),
    ("reports:budgets", _("Budgets")),
    ("exports:index", _("Exports")),
)
RECONCILIATION = "admin:accounts_invoice_reconciliation"


def may_reconcile(user: Any) -> bool:
    """Return whether `user` may hold the books against invoices: it takes those of everybody."""
    return bool(user.has_perm("accounts.view_invoice")) and isinstance(user, User) and sees_everything(user)


def tabs_of(request: HttpRequest, current: str) -> list[dict[str, Any]]:
    """Return the tabs that the reader may open; `current` is the name of the address of the page that shows them."""
    pages = [*_TABS, (RECONCILIATION, _("Reconciliation"))] if may_reconcile(request.user) else _TABS
    return [{"url": reverse(name), "label": label, "is_current": name == current} for name, label in pages]
