"""The books: one row per call, one per attempt, one per day and dimension; and the workers that write them."""

import uuid
from decimal import Decimal

from django.db import models
from django.db.models import F, Q
from django.db.models.functions import Coalesce
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from accounts.models.people import ApiKey, Team, User
from accounts.money import MoneyField
from providers.translation.usage import Usage


class Worker(models.Model):
    """A serving process. One whose heartbeat stops has died, and the reaper closes its calls."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    host = models.CharField(_("host"), max_length=255)
    pid = models.PositiveIntegerField(_("process id"))
    started_at = models.DateTimeField(_("started"), default=timezone.now)
    heartbeat_at = models.DateTimeField(_("last heartbeat"), default=timezone.now)

    class Meta:
        verbose_name = _("worker")
        verbose_name_plural = _("workers")
        ordering = ["-started_at"]

    def __str__(self) -> str:
        return f"{self.host}:{self.pid}"


class CallRecord(models.Model):
    """One call: written as running before the upstream is asked, settled exactly once. Corrections are new rows.

    Names stand beside or instead of keys, so a report of the past never changes when something is renamed.
    """

    class Status(models.TextChoices):
        RUNNING = "running", _("running")
        OK = "ok", _("ok")
        FAILED = "failed", _("failed")
        CANCELLED = "cancelled", _("cancelled by the client")
        LOST = "lost", _("lost with its worker")

    class CostSource(models.TextChoices):
        UPSTREAM = "upstream", _("reported by the platform")
        PRICE = "price", _("price list of the administrator")
        BUNDLED = "bundled", _("bundled price list")
        CATALOGUE = "catalogue", _("price catalogue")
        FREE = "free", _("local model")

    id = models.UUIDField(primary_key=True, editable=False)
    key = models.ForeignKey(ApiKey, models.PROTECT, related_name="calls", verbose_name=_("key"))
    user = models.ForeignKey(User, models.PROTECT, related_name="calls", verbose_name=_("user"))
    team = models.ForeignKey(Team, models.PROTECT, related_name="calls", null=True, verbose_name=_("team"))
    worker_id = models.UUIDField(_("worker"), null=True)

    requested_model = models.CharField(_("requested model"), max_length=200)
    kind = models.CharField(_("kind"), max_length=20, default="main")
    wire_format = models.CharField(_("client's wire format"), max_length=10, default="anthropic")
    streamed = models.BooleanField(_("streamed"), default=False)
    session_id = models.CharField(_("session"), max_length=100, blank=True)
    agent_id = models.CharField(_("agent"), max_length=100, blank=True)
    user_agent = models.CharField(_("client program"), max_length=200, blank=True)
    request_bytes = models.PositiveIntegerField(_("request size (bytes)"), default=0)
    dropped_fields = models.JSONField(_("fields not forwarded"), default=list)

    policy_name = models.CharField(_("policy"), max_length=60, blank=True)
    route_name = models.CharField(_("route"), max_length=60, blank=True)
    scene_name = models.CharField(_("scene"), max_length=50, blank=True)
    provider_name = models.CharField(_("provider"), max_length=60, blank=True)
    model_name = models.CharField(_("model"), max_length=200, blank=True)
    decision = models.JSONField(_("decision"), default=dict)

    status = models.CharField(_("status"), max_length=10, choices=Status.choices, default=Status.RUNNING)
    http_status = models.PositiveSmallIntegerField(_("HTTP status"), null=True)
    error_kind = models.CharField(_("error kind"), max_length=30, blank=True)
    error_message = models.CharField(_("error"), max_length=500, blank=True)
    stop_reason = models.CharField(_("stop reason"), max_length=40, blank=True)
    upstream_request_id = models.CharField(_("upstream request id"), max_length=120, blank=True)

    input_tokens = models.PositiveBigIntegerField(_("input tokens"), default=0)
    output_tokens = models.PositiveBigIntegerField(_("output tokens"), default=0)
    cache_read_tokens = models.PositiveBigIntegerField(_("cache read tokens"), default=0)
    cache_write_tokens = models.PositiveBigIntegerField(_("cache write tokens"), default=0)
    cache_write_1h_tokens = models.PositiveBigIntegerField(
        _("cache write tokens for 1 hour"), default=0, help_text=_("Part of the cache write tokens.")
    )
    thinking_tokens = models.PositiveBigIntegerField(
        _("thinking tokens"), default=0, help_text=_("Part of the output tokens.")
    )
    usage_is_estimated = models.BooleanField(_("usage is estimated"), default=False)
    cost = MoneyField(_("cost"), null=True)
    currency = models.CharField(_("currency"), max_length=3, blank=True)
    cost_source = models.CharField(_("cost source"), max_length=10, choices=CostSource.choices, blank=True)
    reference_cost = MoneyField(_("cost on the reference model"), null=True)
    reference_currency = models.CharField(_("currency of the reference"), max_length=3, blank=True)
    uncached_cost = MoneyField(
        _("cost without cache"),
        null=True,
        help_text=_("What the same tokens had cost on the same model, had none of them been cached."),
    )
    fallbacks = models.PositiveSmallIntegerField(
        _("fallbacks"), default=0, help_text=_("Attempts that failed before the one that answered.")
    )
    # What the call holds while it runs (accounts.quota.Reservation), and the quota windows that hold it.
    reservation = models.JSONField(_("reservation"), default=dict)

    started_at = models.DateTimeField(_("started"))
    settled_at = models.DateTimeField(_("settled"), null=True)
    booked_on = models.DateField(
        _("booked on"), null=True, help_text=_("The day of the start in the business time zone of then.")
    )
    ttft_ms = models.PositiveIntegerField(_("time to first token (ms)"), null=True)
    duration_ms = models.PositiveIntegerField(_("duration (ms)"), null=True)

    class Meta:
        verbose_name = _("call")
        verbose_name_plural = _("calls")
        ordering = ["-started_at"]
        indexes = [
            # The newest calls of all, of a user, of a key: the admin's lists and every "one person's month" report.
            models.Index(F("started_at").desc(), name="accounts_call_newest"),
            models.Index(F("user"), F("started_at").desc(), name="accounts_call_user_newest"),
            models.Index(F("key"), F("started_at").desc(), name="accounts_call_key_newest"),
            # A team's month, and the opening balance of a new team quota.
            models.Index(F("team"), F("started_at").desc(), name="accounts_call_team_newest"),
            # Calls in progress: the reaper's and the concurrency cap's look-up. Partial, so it stays tiny.
            models.Index("worker_id", "key", condition=Q(status="running"), name="accounts_call_running"),
            # All calls of one Claude Code session.
            models.Index("session_id", condition=~Q(session_id=""), name="accounts_call_session"),
            # Calls without a cost: the list of unpriced models and pricing them afterwards. Partial, so it stays small.
            models.Index(
                "provider_name",
                "model_name",
                "started_at",
                condition=Q(cost__isnull=True) & ~Q(status="running"),
                name="accounts_call_unpriced",
            ),
            # Calls that did not just go well, newest first: what failed, was cancelled, fell back or is estimated.
            # Partial, so that a settle of any other call does not write it.
            models.Index(
                F("started_at").desc(),
                condition=Q(status__in=("failed", "cancelled", "lost"))
                | Q(fallbacks__gt=0)
                | Q(usage_is_estimated=True),
                name="accounts_call_particular",
            ),
        ]
        constraints = [
            models.CheckConstraint(
                condition=Q(status="running", settled_at__isnull=True)
                | (~Q(status="running") & Q(settled_at__isnull=False)),
                name="accounts_callrecord_settled_unless_running",
            ),
            models.CheckConstraint(
                condition=Q(cost__isnull=True, currency="") | (Q(cost__isnull=False) & ~Q(currency="")),
                name="accounts_callrecord_cost_has_currency",
            ),
        ]

    def __str__(self) -> str:
        return self.request_id

    @property
    def request_id(self) -> str:
        """The id that the client sees in the header `request-id`."""
        return f"req_{self.id.hex}"

    @property
    def usage(self) -> Usage:
        """What the call used, without what the platform charged for it."""
        return Usage(
            input_tokens=self.input_tokens,
            output_tokens=self.output_tokens,
            cache_read_tokens=self.cache_read_tokens,
            cache_write_tokens=self.cache_write_tokens,
            cache_write_1h_tokens=self.cache_write_1h_tokens,
            thinking_tokens=self.thinking_tokens,
            is_estimated=self.usage_is_estimated,
        )


class Attempt(models.Model):
    """One try of one target within a call."""

    call = models.ForeignKey(CallRecord, models.CASCADE, related_name="attempts", verbose_name=_("call"))
    position = models.PositiveSmallIntegerField(_("position"))
    provider_name = models.CharField(_("provider"), max_length=60)
    credential_name = models.CharField(_("credential"), max_length=60, blank=True)
    model_name = models.CharField(_("model"), max_length=200)
    outcome = models.CharField(_("outcome"), max_length=30, help_text=_("ok, or the kind of the error"))
    http_status = models.PositiveSmallIntegerField(_("HTTP status"), null=True)
    message = models.CharField(_("message"), max_length=500, blank=True)
    started_at = models.DateTimeField(_("started"))
    duration_ms = models.PositiveIntegerField(_("duration (ms)"))

    class Meta:
        verbose_name = _("attempt")
        verbose_name_plural = _("attempts")
        ordering = ["call_id", "position"]
        constraints = [models.UniqueConstraint("call", "position", name="accounts_attempt_unique_position")]

    def __str__(self) -> str:
        return f"{self.provider_name}/{self.model_name}: {self.outcome}"


class UsageDaily(models.Model):
    """The sum of the settled calls and the corrections of one day of the business time zone, per dimension.

    Written with each settle. A correction can bring any of its sums below zero.
    """

    date = models.DateField(_("date"))
    key = models.ForeignKey(ApiKey, models.PROTECT, related_name="daily_usage", verbose_name=_("key"))
    user = models.ForeignKey(User, models.PROTECT, related_name="daily_usage", verbose_name=_("user"))
    team = models.ForeignKey(Team, models.PROTECT, related_name="daily_usage", null=True, verbose_name=_("team"))
    provider_name = models.CharField(_("provider"), max_length=60, blank=True)
    model_name = models.CharField(_("model"), max_length=200, blank=True)
    scene_name = models.CharField(_("scene"), max_length=50, blank=True)
    kind = models.CharField(_("kind"), max_length=20, blank=True)
    currency = models.CharField(_("currency"), max_length=3, blank=True)
    reference_currency = models.CharField(_("currency of the reference"), max_length=3, blank=True)
    calls = models.BigIntegerField(_("calls"), default=0)
    failed_calls = models.BigIntegerField(_("failed calls"), default=0)
    fallback_calls = models.BigIntegerField(_("calls answered by a fallback"), default=0)
    unpriced_calls = models.BigIntegerField(_("unpriced calls"), default=0)
    estimated_calls = models.BigIntegerField(_("estimated calls"), default=0)
    input_tokens = models.BigIntegerField(_("input tokens"), default=0)
    output_tokens = models.BigIntegerField(_("output tokens"), default=0)
    cache_read_tokens = models.BigIntegerField(_("cache read tokens"), default=0)
    cache_write_tokens = models.BigIntegerField(_("cache write tokens"), default=0)
    cost = MoneyField(_("cost"), default=Decimal(0))
    failed_cost = MoneyField(_("cost of failed calls"), default=Decimal(0))
    fallback_cost = MoneyField(_("cost of calls answered by a fallback"), default=Decimal(0))
    reference_cost = MoneyField(_("cost on the reference model"), default=Decimal(0))
    # Only what was compared can have been saved: calls without a reference cost are left out of this sum.
    compared_cost = MoneyField(_("cost of the calls with a reference"), default=Decimal(0))
    uncached_cost = MoneyField(_("cost without cache"), default=Decimal(0))

    class Meta:
        verbose_name = _("daily usage")
        verbose_name_plural = _("daily usage")
        ordering = ["-date"]
        constraints = [
            # The conflict target of the ledger's upsert. A team may be absent, and NULLs are distinct: hence COALESCE.
            models.UniqueConstraint(
                "date",
                "key",
                "user",
                Coalesce("team", 0),
                "provider_name",
                "model_name",
                "scene_name",
                "kind",
                "currency",
                "reference_currency",
                name="accounts_usagedaily_unique_dimension",
            ),
        ]
        indexes = [
            # One person's and one team's month.
            models.Index("user", "date", name="accounts_usage_user_date"),
            models.Index("team", "date", name="accounts_usage_team_date"),
        ]

    def __str__(self) -> str:
        return f"{self.date} {self.user}"
