"""The sums of the books and the processes that write them: to be read, never changed."""

from django.contrib import admin
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from accounts.models import QuotaWindow, UsageDaily, Worker
from accounts.reaper import SILENCE
from gateway.admin.calls import ProviderFilter, SceneFilter, amount
from gateway.admin_base import LedgerAdmin, exact_time


@admin.register(UsageDaily)
class UsageDailyAdmin(LedgerAdmin):
    """Usage per day of the business time zone, key, model, scene and kind."""

    list_display = (
        "date",
        "user",
        "key_name",
        "team",
        "provider_name",
        "model_name",
        "scene_name",
        "kind",
        "calls",
        "failed_calls",
        "input_tokens",
        "output_tokens",
        "cache_read_tokens",
        "cache_write_tokens",
        "cost_text",
        "unpriced_calls",
        "estimated_calls",
    )
    sortable_by = ("date",)
    list_filter = ("date", "user", "team", ProviderFilter, SceneFilter)
    list_select_related = ("user", "team", "key")
    search_fields = ("user__username", "key__name", "=model_name")
    search_help_text = _("Part of the name of a user or key, or a model as it is written.")
    ordering = ("-date",)

    @admin.display(description=_("key"))
    def key_name(self, usage: UsageDaily) -> str:
        """Return the name of the key; its owner is in the column beside it."""
        return usage.key.name

    @admin.display(description=_("cost"))
    def cost_text(self, usage: UsageDaily) -> str:
        """Return the cost with its currency."""
        return amount(usage.cost, usage.currency) if usage.currency else "-"


@admin.register(QuotaWindow)
class QuotaWindowAdmin(LedgerAdmin):
    """What was used of each quota."""

    list_display = ("quota", "starts_at", "ends_at", "used_text", "reserved_text", "limit_text", "share")
    sortable_by = ()
    list_filter = ("starts_at", "quota__unit", "quota__window", "quota__team")
    list_select_related = ("quota__team", "quota__user", "quota__key__user")
    search_fields = ("quota__team__name", "quota__user__username", "quota__key__name", "quota__key__user__username")
    # Windows are made in the order of time, and the number has an index.
    ordering = ("-pk",)

    @admin.display(description=_("used"))
    def used_text(self, window: QuotaWindow) -> str:
        """Return what was used."""
        return f"{window.used.normalize():f}"

    @admin.display(description=_("reserved"))
    def reserved_text(self, window: QuotaWindow) -> str:
        """Return what running calls hold."""
        return f"{window.reserved.normalize():f}"

    @admin.display(description=_("limit"))
    def limit_text(self, window: QuotaWindow) -> str:
        """Return the limit as it is set today."""
        return f"{window.quota.limit.normalize():f}"

    @admin.display(description=_("share"))
    def share(self, window: QuotaWindow) -> str:
        """Return the used share of the limit."""
        limit = window.quota.limit
        return f"{100 * window.used / limit:.1f} %" if limit else "-"


@admin.register(Worker)
class WorkerAdmin(LedgerAdmin):
    """Serving processes."""

    list_display = ("host", "pid", "started_at", "heartbeat", "is_serving")
    list_filter = ("heartbeat_at", "host")
    list_select_related = ()
    search_fields = ("host",)
    ordering = ("-started_at",)

    @admin.display(description=_("last heartbeat"), ordering="heartbeat_at")
    def heartbeat(self, worker: Worker) -> str:
        """Return when the process was last heard of, to the second."""
        return exact_time(worker.heartbeat_at)

    @admin.display(description=_("serving"), boolean=True)
    def is_serving(self, worker: Worker) -> bool:
        """Return whether the process was heard of lately."""
        return timezone.now() - worker.heartbeat_at < SILENCE
