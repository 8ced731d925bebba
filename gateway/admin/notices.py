"""Notification channels, and what was sent to them."""

from django.contrib import admin

from accounts.models import Notification, NotificationChannel
from gateway.admin_base import LedgerAdmin, column


@admin.register(NotificationChannel)
class NotificationChannelAdmin(LedgerAdmin):
    """Where news goes."""

    list_display = ("name", "kind", "url_host", "team", "is_enabled", column(NotificationChannel, "last_sent_at"))
    list_filter = ("kind", "is_enabled", "team")
    list_select_related = ("team",)
    search_fields = ("name", "url_host")
    ordering = ("name",)


@admin.register(Notification)
class NotificationAdmin(LedgerAdmin):
    """What was sent, or is on its way."""

    list_display = ("event", "channel", "recipient", "status", "attempts", column(Notification, "created_at"), "error")
    list_filter = ("created_at", "status", "event")
    list_select_related = ("channel",)
    search_fields = ("recipient", "channel__name", "occasion")
    ordering = ("-created_at",)
