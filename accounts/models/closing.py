"""What happens to the books after the calls: corrections, which are appended, and months that are closed."""

from decimal import Decimal

from django.db import models
from django.utils.translation import gettext_lazy as _

from accounts.models.books import CallRecord
from accounts.models.people import ApiKey, Team, User
from accounts.money import MoneyField
from providers.row import Row


class Correction(Row):
    """An amount that is added to the books afterwards, on a day of an open month. Appended, never changed.

    What it adds is in `UsageDaily` too, under the same dimensions. Quota windows are left alone: they limited what was
    asked for then.
    """

    class Source(models.TextChoices):
        MANUAL = "manual", _("by hand")
        LATE_PRICE = "late_price", _("priced after its month was closed")

    call = models.ForeignKey(
        CallRecord, models.PROTECT, related_name="corrections", null=True, blank=True, verbose_name=_("call")
    )
    key = models.ForeignKey(ApiKey, models.PROTECT, related_name="corrections", verbose_name=_("key"))
    user = models.ForeignKey(User, models.PROTECT, related_name="corrections", verbose_name=_("user"))
    team = models.ForeignKey(
        Team, models.PROTECT, related_name="corrections", null=True, blank=True, verbose_name=_("team")
    )
    provider_name = models.CharField(_("provider"), max_length=60, blank=True)
    model_name = models.CharField(_("model"), max_length=200, blank=True)
    scene_name = models.CharField(_("scene"), max_length=50, blank=True)
    kind = models.CharField(_("kind"), max_length=20, blank=True)
    source = models.CharField(_("source"), max_length=10, choices=Source.choices, default=Source.MANUAL)

    input_tokens = models.BigIntegerField(_("input tokens"), default=0)
    output_tokens = models.BigIntegerField(_("output tokens"), default=0)
    cache_read_tokens = models.BigIntegerField(_("cache read tokens"), default=0)
    cache_write_tokens = models.BigIntegerField(_("cache write tokens"), default=0)
    cost = MoneyField(_("cost"), default=Decimal(0), help_text=_("What is added; negative: what is taken off."))
    currency = models.CharField(_("currency"), max_length=3, blank=True)
    reason = models.CharField(_("reason"), max_length=300)

    corrects_on = models.DateField(_("corrects"), help_text=_("The day that the amount belongs to."))
    booked_on = models.DateField(_("booked on"), help_text=_("The day of an open month on which it is counted."))
    made_by = models.ForeignKey(
        User, models.PROTECT, related_name="made_corrections", null=True, blank=True, verbose_name=_("made by")
    )
    created_at = models.DateTimeField(_("created"), auto_now_add=True)

    class Meta:
        verbose_name = _("correction")
        verbose_name_plural = _("corrections")
        ordering = ["-created_at", "-pk"]
        constraints = [
            # A call is priced once, also by two who do it at the same moment.
            models.UniqueConstraint(
                "call", condition=models.Q(source="late_price"), name="accounts_correction_one_late_price"
            ),
            models.CheckConstraint(
                condition=models.Q(cost=0) | ~models.Q(currency=""), name="accounts_correction_cost_has_currency"
            ),
        ]
        # A month's corrections, for the rollup and its verification.
        indexes = [models.Index("booked_on", name="accounts_correction_booked")]

    def __str__(self) -> str:
        return f"{self.booked_on} {self.user}: {self.cost.normalize():f} {self.currency}".rstrip()


class ClosedMonth(Row):
    """A month whose books are closed: nothing is added to its days any more. It is never opened again."""

    month = models.DateField(_("month"), unique=True, help_text=_("Its first day, in the business time zone."))
    totals = models.JSONField(_("totals"), default=dict, help_text=_("What its days added up to when it was closed."))
    note = models.CharField(_("note"), max_length=300, blank=True)
    closed_by = models.ForeignKey(
        User, models.PROTECT, related_name="closed_months", null=True, blank=True, verbose_name=_("closed by")
    )
    closed_at = models.DateTimeField(_("closed"), auto_now_add=True)

    class Meta:
        verbose_name = _("closed month")
        verbose_name_plural = _("closed months")
        ordering = ["-month"]

    def __str__(self) -> str:
        return f"{self.month:%Y-%m}"


class MonthlyExport(models.Model):
    """The scheduled export of a month: made once, by whichever process comes first."""

    class Status(models.TextChoices):
        RUNNING = "running", _("running")
        DONE = "done", _("done")
        FAILED = "failed", _("failed")

    month = models.DateField(_("month"), unique=True)
    status = models.CharField(_("status"), max_length=10, choices=Status.choices, default=Status.RUNNING)
    files = models.JSONField(_("files"), default=list)
    recipients = models.JSONField(_("sent to"), default=list)
    error = models.CharField(_("error"), max_length=500, blank=True)
    attempts = models.PositiveSmallIntegerField(_("attempts"), default=0)
    started_at = models.DateTimeField(_("started"))
    finished_at = models.DateTimeField(_("finished"), null=True)

    class Meta:
        verbose_name = _("monthly export")
        verbose_name_plural = _("monthly exports")
        ordering = ["-month"]

    def __str__(self) -> str:
        return f"{self.month:%Y-%m}"
