"""The sums of the books and the processes that write them: to be read, never changed."""

from django.contrib import admin
from django.utils import timezone
from django.utils.safestring import SafeString
from django.utils.translation import gettext_lazy as _

from accounts.models import UsageDaily, Worker
from accounts.reaper import SILENCE
from gateway.admin.books.call_filters import ProviderFilter, SceneFilter
from gateway.admin.books.calls import amount
from gateway.admin_base import LedgerAdmin, column, exact_time


@admin.register(UsageDaily)
class UsageDailyAdmin(LedgerAdmin):
    """Usage per day of the business time zone, key, model, scene and kind."""

    list_display = (
        "date",
        "user",
        "key_name",
        "team",
        "target",
        "cost_text",
        *(column(UsageDaily, name) for name in ("calls", "failed_calls", "unpriced_calls", "estimated_calls")),
        *(column(UsageDaily, f"{name}_tokens") for name in ("input", "cache_read", "cache_write", "output")),
        "scene_name",
        "kind",
    )
    sortable_by = ("date",)
    list_filter = ("date", "user", "team", ProviderFilter, SceneFilter)
    list_select_related = ("user", "team", "key")
    search_fields = ("user__username", "key__name", "=model_name")
    search_help_text = _("Part of the name of a user or key, or a model as it is written.")
    ordering = ("-date",)

    @admin.display(description=_("target"))
    def target(self, usage: UsageDaily) -> str:
        """Return provider/model; of calls that no target answered there is none."""
        return f"{usage.provider_name}/{usage.model_name}" if usage.provider_name else "-"

    @admin.display(description=_("key"))
    def key_name(self, usage: UsageDaily) -> str:
        """Return the name of the key; its owner is in the column beside it."""
        return usage.key.name

    @admin.display(description=_("cost"))
    def cost_text(self, usage: UsageDaily) -> str:
        """Return the cost with its currency."""
        return amount(usage.cost, usage.currency) if usage.currency else "-"


@admin.register(Worker)
class WorkerAdmin(LedgerAdmin):
    """Serving processes."""

    list_display = ("host", "pid", column(Worker, "started_at"), "heartbeat", "is_serving")
    list_filter = ("heartbeat_at", "host")
    list_select_related = ()
    search_fields = ("host",)
    ordering = ("-started_at",)

    @admin.display(description=_("last heartbeat"), ordering="heartbeat_at")
    def heartbeat(self, worker: Worker) -> SafeString | str:
        """Return when the process was last heard of, to the second."""
        return exact_time(worker.heartbeat_at)

    @admin.display(description=_("serving"), boolean=True)
    def is_serving(self, worker: Worker) -> bool:
        """Return whether the process was heard of lately."""
        return timezone.now() - worker.heartbeat_at < SILENCE
