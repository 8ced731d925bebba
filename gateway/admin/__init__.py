"""The admin pages of all apps.

They stand here because they share gateway/admin_base.py, and an app must not import from one to its right.
"""

from django.contrib import admin
from django.utils.translation import gettext_lazy as _
from django.utils.translation import gettext_noop, ngettext_lazy

from gateway.admin import (
    accounts,
    audit,
    books,
    calls,
    captures,
    closing,
    handovers,
    health,
    invoices,
    keys,
    notices,
    policies,
    prices,
    providers,
    quotas,
    rates,
    routes,
    scenes,
    settings,
)

__all__ = [
    "accounts",
    "audit",
    "books",
    "calls",
    "captures",
    "closing",
    "handovers",
    "health",
    "invoices",
    "keys",
    "notices",
    "policies",
    "prices",
    "providers",
    "quotas",
    "rates",
    "routes",
    "scenes",
    "settings",
]

admin.site.site_header = "Wolfgate"
admin.site.site_title = "Wolfgate"
admin.site.index_title = _("Overview")
# The root of the site leads back to these pages.
admin.site.site_url = None

# Texts of the admin that Django's own Chinese catalogue lacks; ours then has them.
_TEXTS_OF_DJANGO = (
    gettext_noop("Add link"),
    gettext_noop("After you’ve created a user, you’ll be able to edit more user options."),
    gettext_noop("Change or view list link"),
    gettext_noop("Error:"),
    gettext_noop("Model name"),
    ngettext_lazy(
        "This password is too short. It must contain at least %d character.",
        "This password is too short. It must contain at least %d characters.",
        "min_length",
    ),
)
