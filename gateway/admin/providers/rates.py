"""Exchange rates: added, and left alone once their day has come."""

from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

from django.contrib import admin
from django.http import HttpRequest

from accounts.models import ExchangeRate
from gateway.admin_base import ModelAdmin, column
from routing.models import RuntimeSettings


@admin.register(ExchangeRate)
class ExchangeRateAdmin(ModelAdmin):
    """What one currency is worth in another, from a day on."""

    list_display = ("__str__", column(ExchangeRate, "valid_from"), "note", column(ExchangeRate, "created_at"))
    list_filter = ("from_currency", "to_currency", "valid_from")
    list_select_related = ()
    search_fields = ("=from_currency", "=to_currency", "note")
    ordering = ("-valid_from", "from_currency", "to_currency")
    actions = None
    fields = (("from_currency", "to_currency"), "rate", "valid_from", "note")

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Return whether the rate is still to come: reports go by those whose day has come."""
        return super().has_change_permission(request, obj) and (obj is None or not _is_in_use(obj))

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Return whether the rate is still to come."""
        return super().has_delete_permission(request, obj) and (obj is None or not _is_in_use(obj))


def _is_in_use(rate: ExchangeRate) -> bool:
    return rate.valid_from <= datetime.now(ZoneInfo(RuntimeSettings.load().business_time_zone)).date()
