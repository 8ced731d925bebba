"""What the workers learnt from the calls: failing targets, and the scenes of sessions."""

from datetime import datetime
from typing import Any

from django.contrib import admin
from django.db import transaction
from django.db.models import Count, F, IntegerField, OuterRef, Q, QuerySet, Subquery
from django.db.models.functions import Coalesce
from django.http import HttpRequest
from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext, gettext_noop, ngettext
from django.utils.translation import gettext_lazy as _

from accounts import audit
from accounts.models import AuditEntry
from gateway.admin.routing.entries import EntryAdmin
from gateway.admin_base import ModelAdmin, column, exact_time, list_link
from providers.models import Provider
from routing.models import (
    StickySession,
    TargetHealth,
)

# As the audit log says it.
RESET = gettext_noop("Cooldown ended.")


def _span(seconds: int) -> str:
    if seconds < 120:
        return ngettext("in %(count)d second", "in %(count)d seconds", seconds) % {"count": seconds}
    minutes = round(seconds / 60)
    return ngettext("in %(count)d minute", "in %(count)d minutes", minutes) % {"count": minutes}


def back_in(row: TargetHealth, now: datetime) -> str:
    """Return in words when a target is asked in its turn again; "" when it is."""
    if not row.failures:
        return ""
    if row.cooling_until is None or row.cooling_until <= now:
        return gettext("with the next call")
    return _span(max(round((row.cooling_until - now).total_seconds()), 1))


def with_cooling_count(providers: QuerySet[Provider]) -> QuerySet[Provider]:
    """Add to each provider how much of it is cooling, for `cooling_mark`."""
    cooling = TargetHealth.objects.filter(provider_name=OuterRef("name"), cooling_until__gt=timezone.now())
    counted = cooling.order_by().values("provider_name").annotate(count=Count("pk")).values("count")
    return providers.annotate(_cooling_count=Coalesce(Subquery(counted, output_field=IntegerField()), 0))


def _cooling_mark(provider: Provider) -> SafeString | str:
    """Return a link to what of the provider is cooling, if anything is."""
    count = getattr(provider, "_cooling_count", 0)
    if not count:
        return "-"
    text = ngettext("%(count)d cooling", "%(count)d cooling", count) % {"count": count}
    link = list_link(TargetHealth, text, provider_name=provider.name, state="cooling")
    return format_html('<span style="font-weight: bold">{}</span>', link)


# A function of a row; django-stubs knows those in `list_display` only.
cooling_mark: Any = admin.display(description=_("health"))(_cooling_mark)


class StateFilter(admin.SimpleListFilter):
    """By whether a target is asked in its turn."""

    title = _("state")
    parameter_name = "state"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, Any]]:
        """Return the states."""
        return [("cooling", _("cooling")), ("trial", _("to be tried again")), ("healthy", _("healthy"))]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        """Return the rows in the chosen state."""
        is_cooling = Q(failures__gt=0, cooling_until__gt=timezone.now())
        match self.value():
            case "cooling":
                return queryset.filter(is_cooling)
            case "trial":
                return queryset.filter(failures__gt=0).exclude(is_cooling)
            case "healthy":
                return queryset.filter(failures=0)
        return queryset


@admin.register(TargetHealth)
class TargetHealthAdmin(ModelAdmin):
    """How the targets answer: what is cooling, why, until when; and how soon they begin."""

    list_display = (
        "target",
        "credential",
        "state",
        "back",
        column(TargetHealth, "failures"),
        "reason",
        "since",
        column(TargetHealth, "message"),
        "ttft",
    )
    list_display_links = ("target",)
    list_filter = (StateFilter, "provider_name", "error_kind")
    list_select_related = ()
    search_fields = ("provider_name", "model_name", "credential_name")
    ordering = (F("cooling_until").desc(nulls_last=True), "provider_name", "model_name", "credential_name")
    actions = ["reset"]
    fieldsets = (
        (None, {"fields": ("target", "credential", "state", "back", column(TargetHealth, "failures"))}),
        (_("Last failure"), {"fields": ("reason", "since", "until", column(TargetHealth, "message"))}),
        (_("Speed"), {"fields": ("ttft", column(TargetHealth, "updated_at"))}),
    )

    def has_add_permission(self, request: HttpRequest) -> bool:
        """Return False: the workers write these rows."""
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Return False: the workers write these rows."""
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Return False: resetting is what deleting would be, and leaves a trace."""
        return False

    def has_reset_permission(self, request: HttpRequest) -> bool:
        """Return whether the user may end cooldowns."""
        return bool(request.user.has_perm("routing.change_targethealth"))

    @admin.action(permissions=["reset"], description=_("Reset: ask the selected targets in their turn again"))
    def reset(self, request: HttpRequest, queryset: QuerySet[TargetHealth]) -> None:
        """End the cooldowns; every worker takes that over with its next call."""
        with transaction.atomic():
            rows = list(queryset.filter(failures__gt=0))
            TargetHealth.objects.filter(pk__in=[row.pk for row in rows]).update(
                failures=0, cooling_until=None, updated_at=timezone.now()
            )
            if rows:
                self.log_rows(request, rows, "Reset.")
            for row in rows:
                audit.record(AuditEntry.Action.OTHER, row, {"failures": (row.failures, 0)}, RESET)
        count = len(rows)
        self.message_user(
            request, ngettext("%(count)d cooldown ended.", "%(count)d cooldowns ended.", count) % {"count": count}
        )

    @admin.display(description=_("target"), ordering="provider_name")
    def target(self, row: TargetHealth) -> str:
        """Return what the row is about."""
        if row.model_name:
            return f"{row.provider_name}/{row.model_name}"
        if row.credential_name:
            return gettext("%(provider)s, all models") % {"provider": row.provider_name}
        return gettext("%(provider)s as a whole") % {"provider": row.provider_name}

    @admin.display(description=_("credential"), ordering="credential_name")
    def credential(self, row: TargetHealth) -> str:
        """Return the credential, if the row is about one."""
        return row.credential_name or "-"

    @admin.display(description=_("state"), ordering="cooling_until")
    def state(self, row: TargetHealth) -> SafeString | str:
        """Return whether the target is asked in its turn."""
        if not row.failures:
            return gettext("healthy")
        if row.cooling_until is None or row.cooling_until <= timezone.now():
            return gettext("to be tried again")
        return format_html('<span style="font-weight: bold; color: #ba2121">{}</span>', gettext("cooling"))

    @admin.display(description=_("back"), ordering="cooling_until")
    def back(self, row: TargetHealth) -> str:
        """Return in words when the target is asked in its turn again."""
        return back_in(row, timezone.now()) or "-"

    @admin.display(description=_("reason"), ordering="error_kind")
    def reason(self, row: TargetHealth) -> str:
        """Return the kind and the status of the last failure."""
        return " ".join(str(part) for part in (row.error_kind, row.http_status) if part) or "-"

    @admin.display(description=_("failed"), ordering="failed_at")
    def since(self, row: TargetHealth) -> SafeString | str:
        """Return when the last failure was."""
        return exact_time(row.failed_at)

    @admin.display(description=_("tried last until"))
    def until(self, row: TargetHealth) -> SafeString | str:
        """Return when the cooldown is over."""
        return exact_time(row.cooling_until)

    @admin.display(description=_("time to first token (ms)"), ordering="ttft_ms")
    def ttft(self, row: TargetHealth) -> str:
        """Return the average, in whole milliseconds."""
        return "-" if row.ttft_ms is None else f"{row.ttft_ms:,.0f}"


@admin.register(StickySession)
class StickySessionAdmin(EntryAdmin):
    """The sessions that hold a scene."""

    list_display = ("key", "policy_name", "scene_name", "target_name", "used_at")
    list_filter = ("policy_name", "scene_name")
    list_select_related = ()
    search_fields = ("scene_name", "target_name")
    ordering = ("-used_at",)
