"""The admin pages of all apps.

They stand here because they share gateway/admin_base.py, and an app must not import from one to its right.
"""

from django.contrib import admin
from django.utils.translation import gettext_lazy as _

from gateway.admin import accounts, books, calls, captures, providers, routing

__all__ = ["accounts", "books", "calls", "captures", "providers", "routing"]

admin.site.site_header = "Wolfgate"
admin.site.site_title = "Wolfgate"
admin.site.index_title = _("Overview")
