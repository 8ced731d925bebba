"""The admin pages of all apps.

They stand here because they share gateway/admin_base.py, and an app must not import from one to its right.
"""

from django.contrib import admin
from django.utils.translation import gettext_lazy as _
from django.utils.translation import gettext_noop, ngettext_lazy

import gateway.admin.books.calls
import gateway.admin.books.captures
import gateway.admin.books.closing
import gateway.admin.books.sums
import gateway.admin.keys.handovers
import gateway.admin.keys.keys
import gateway.admin.people.audit
import gateway.admin.people.people
import gateway.admin.providers.health
import gateway.admin.providers.prices
import gateway.admin.providers.providers
import gateway.admin.providers.rates
import gateway.admin.quotas.notices
import gateway.admin.quotas.quotas
import gateway.admin.reports.invoices
import gateway.admin.routing.policies
import gateway.admin.routing.routes
import gateway.admin.routing.scenes
import gateway.admin.settings  # noqa: F401

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
