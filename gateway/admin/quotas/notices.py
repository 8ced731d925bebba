"""Notification channels, and what was sent to them."""

from typing import Any

from django.conf import settings
from django.contrib import admin, messages
from django.db import transaction
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext, gettext_noop, ngettext
from django.utils.translation import gettext_lazy as _

from accounts import audit
from accounts.channel_rules import host_hint
from accounts.models import AuditEntry, Notification, NotificationChannel
from accounts.notices import events, outbox, sending
from gateway.admin.quotas.notice_forms import ChannelForm
from gateway.admin.write_only import WriteOnly
from gateway.admin_base import LedgerAdmin, SwitchableAdmin, column, pretty_json
from providers.encryption import Undecryptable

_MAX_TESTS = 10  # each may take 10 s


@admin.register(NotificationChannel)
class NotificationChannelAdmin(WriteOnly, SwitchableAdmin):
    """Where news goes."""

    form = ChannelForm
    list_display = (
        "name",
        "kind",
        "url_host",
        "team",
        "is_enabled",
        column(NotificationChannel, "last_sent_at"),
        "last_error",
    )
    list_filter = ("kind", "is_enabled", "team")
    list_select_related = ("team",)
    search_fields = ("name", "url_host")
    ordering = ("name",)
    actions = ["send_test", "enable", "disable"]
    autocomplete_fields = ("team",)
    readonly_fields = ("stored_url", "stored_secret", "last_sent_at", "last_error", "created_at")
    fieldsets = (
        (None, {"fields": ("name", "kind", "is_enabled")}),
        (
            _("Chat or webhook"),
            {
                "fields": ("url", "stored_url", "secret", "stored_secret", "removes_secret", "allow_private_network"),
                "description": _(
                    "The address of the robot, as its platform shows it. The secret signs the messages: as Feishu and "
                    "DingTalk want it, or in the header X-Wolfgate-Signature of a webhook."
                ),
            },
        ),
        (_("E-mail"), {"fields": ("recipients",)}),
        (_("What is sent"), {"fields": ("team", "events", "language")}),
        (_("State"), {"fields": ("last_sent_at", "last_error", "created_at")}),
    )

    @admin.display(description=_("stored URL"))
    def stored_url(self, channel: NotificationChannel) -> str:
        """Return what may be shown of the address: its host and its last four characters."""
        if not channel.encrypted_url:
            return "-"
        try:
            url = channel.url()
        except Undecryptable:
            return gettext("cannot be decrypted; enter it again")
        # Of a short address the end would be too much of it.
        return f"{channel.url_host} …{url[-4:]}" if len(url) >= len(channel.url_host) + 24 else channel.url_host

    @admin.display(description=_("stored secret"))
    def stored_secret(self, channel: NotificationChannel) -> str:
        """Return what may be shown of the secret."""
        if channel.secret_last_four:
            return f"…{channel.secret_last_four}"
        return gettext("set") if channel.encrypted_secret else "-"

    def save_model(self, request: HttpRequest, obj: NotificationChannel, form: Any, change: bool) -> None:
        """Save the channel, and say what looks wrong with it and yet may be meant."""
        super().save_model(request, obj, form, change)
        if hosts := host_hint(obj.kind, obj.url_host):
            values = {"kind": obj.get_kind_display(), "hosts": hosts, "host": obj.url_host}
            text = gettext("Robots of %(kind)s are usually at %(hosts)s; this one is at %(host)s.")
            self.message_user(request, text % values, messages.WARNING)
        if obj.kind == NotificationChannel.Kind.EMAIL and not settings.MAIL_IS_SET_UP:
            text = gettext("No mail server is set up (EMAIL_URL), so this channel sends nothing yet.")
            self.message_user(request, text, messages.WARNING)

    @admin.action(permissions=["change"], description=_("Send a test message"))
    def send_test(self, request: HttpRequest, queryset: QuerySet[NotificationChannel]) -> None:
        """Send a test message to each channel, and report each."""
        channels = list(queryset[: _MAX_TESTS + 1])
        if len(channels) > _MAX_TESTS:
            text = gettext("Select at most %(count)d channels at once.") % {"count": _MAX_TESTS}
            self.message_user(request, text, messages.ERROR)
            return
        for channel in channels:
            if error := sending.send_test(channel):
                text = gettext("The channel %(channel)s failed: %(error)s") % {"channel": channel, "error": error}
                self.message_user(request, text, messages.ERROR)
            else:
                text = gettext("The channel %(channel)s took the test message.") % {"channel": channel}
                self.message_user(request, text, messages.SUCCESS)
            audit.record(AuditEntry.Action.OTHER, channel, note=gettext_noop("Sent a test message."))
        self.log_rows(request, channels, "Sent a test message.")


class EventFilter(admin.SimpleListFilter):
    """Filter by the kind of event, without reading the kinds from the table."""

    title = _("event")
    parameter_name = "event"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, Any]]:
        """Return the kinds."""
        return events.CHOICES

    def queryset(self, request: HttpRequest, queryset: QuerySet[Notification]) -> QuerySet[Notification]:
        """Return the notifications of the chosen kind."""
        value = self.value()
        return queryset.filter(event=value) if value else queryset


@admin.register(Notification)
class NotificationAdmin(LedgerAdmin):
    """What was sent, or is on its way."""

    list_display = (
        "said_event",
        "channel",
        "recipient",
        "status",
        "attempts",
        column(Notification, "created_at"),
        column(Notification, "sent_at"),
        "error",
    )
    list_filter = ("created_at", "status", EventFilter)
    list_select_related = ("channel",)
    search_fields = ("recipient", "channel__name", "occasion")
    ordering = ("-created_at", "-pk")
    actions = ["try_again"]  # type: ignore[assignment]
    fields = (
        "said_event",
        "channel",
        "recipient",
        "text",
        "facts",
        "status",
        "attempts",
        "error",
        "next_try_at",
        "sent_at",
        "created_at",
    )
    readonly_fields = ("said_event", "text", "facts")

    def get_queryset(self, request: HttpRequest) -> QuerySet[Notification]:
        """Leave out events that were handed out: their messages, one per recipient, stand beside them."""
        rows: QuerySet[Notification] = super().get_queryset(request)
        return rows.exclude(channel=None, recipient="", status=Notification.Status.SENT)

    @admin.display(description=_("event"), ordering="event")
    def said_event(self, row: Notification) -> SafeString:
        """Return the event in words."""
        kind = events.KINDS.get(row.event)
        label = kind.label if kind is not None else row.event
        return format_html('<span style="white-space: nowrap">{}</span>', label)

    @admin.display(description=_("text"))
    def text(self, row: Notification) -> SafeString | str:
        """Return the message as the reader of this page would get it."""
        try:
            message = events.message_of(row.event, row.content, timezone.get_current_timezone())
        except (LookupError, TypeError, ValueError, ArithmeticError):
            return "-"  # an event that was not handed out yet, or one of another version
        return format_html('<div style="white-space: pre-wrap">{}</div>', message.as_text())

    @admin.display(description=_("facts"))
    def facts(self, row: Notification) -> SafeString:
        """Return what the message is made of."""
        return pretty_json(row.content)

    def has_retry_permission(self, request: HttpRequest) -> bool:
        """Return whether the user may have messages sent again."""
        return bool(request.user.has_perm("accounts.change_notification"))

    @admin.action(permissions=["retry"], description=_("Try again now"))
    def try_again(self, request: HttpRequest, queryset: QuerySet[Notification]) -> None:
        """Send again what waits or was given up; what was sent stays sent."""
        with transaction.atomic():
            rows = list(queryset.exclude(status=Notification.Status.SENT))
            Notification.objects.filter(pk__in=[row.pk for row in rows]).update(
                status=Notification.Status.PENDING, attempts=0, error="", next_try_at=timezone.now()
            )
            for row in rows:
                audit.record(AuditEntry.Action.OTHER, row, note=gettext_noop("Sent again."))
            self.log_rows(request, rows, "Sent again.")
            transaction.on_commit(outbox.wake, robust=True)
        count = len(rows)
        text = ngettext("%(count)d message is sent again.", "%(count)d messages are sent again.", count)
        self.message_user(request, text % {"count": count}, messages.SUCCESS if count else messages.WARNING)
