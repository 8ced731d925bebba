"""Limits on use, and what was used of them."""

from decimal import Decimal

from django.core.exceptions import ValidationError
from django.core.validators import MinValueValidator
from django.db import models
from django.db.models import Q
from django.db.models.functions import Coalesce
from django.utils.translation import gettext_lazy as _
from django.utils.translation import ngettext

from accounts.models.people import ApiKey, Team, User
from providers.row import Row


def measured(unit: str, currency: str, amount: Decimal, written: str) -> str:
    """Return `amount`, of which `written` is the number as it is shown, with what it is an amount of."""
    if unit == Quota.Unit.COST:
        return f"{written} {currency}"
    count = 1 if amount == 1 else 2
    if unit == Quota.Unit.REQUESTS:
        return ngettext("%(amount)s request", "%(amount)s requests", count) % {"amount": written}
    return ngettext("%(amount)s token", "%(amount)s tokens", count) % {"amount": written}


class Quota(Row):
    """A limit on what a team, a user or a key may use in a window of time."""

    class Unit(models.TextChoices):
        COST = "cost", _("cost")
        TOKENS = "tokens", _("tokens")
        REQUESTS = "requests", _("requests")

    class Window(models.TextChoices):
        MINUTE = "minute", _("minute")
        FIVE_HOURS = "5h", _("5 hours")
        DAY = "day", _("day")
        WEEK = "week", _("week")
        MONTH = "month", _("month")
        TOTAL = "total", _("total")

    class Action(models.TextChoices):
        BLOCK = "block", _("refuse")
        WARN = "warn", _("warn")
        DOWNGRADE = "downgrade", _("use a cheaper route")

    team = models.ForeignKey(Team, models.PROTECT, related_name="quotas", null=True, blank=True, verbose_name=_("team"))
    user = models.ForeignKey(User, models.PROTECT, related_name="quotas", null=True, blank=True, verbose_name=_("user"))
    key = models.ForeignKey(ApiKey, models.PROTECT, related_name="quotas", null=True, blank=True, verbose_name=_("key"))
    unit = models.CharField(_("unit"), max_length=10, choices=Unit.choices)
    window = models.CharField(_("window"), max_length=10, choices=Window.choices)
    limit = models.DecimalField(_("limit"), max_digits=20, decimal_places=6, validators=[MinValueValidator(0)])
    currency = models.CharField(
        _("currency"),
        max_length=3,
        blank=True,
        default="USD",
        help_text=_("Of a limit on cost. Only calls priced in this currency count."),
    )
    action = models.CharField(_("action"), max_length=10, choices=Action.choices, default=Action.BLOCK)
    is_active = models.BooleanField(_("active"), default=True)
    created_at = models.DateTimeField(_("created"), auto_now_add=True)

    class Meta:
        verbose_name = _("quota")
        verbose_name_plural = _("quotas")
        ordering = ["pk"]
        constraints = [
            models.CheckConstraint(
                condition=Q(team__isnull=False, user__isnull=True, key__isnull=True)
                | Q(team__isnull=True, user__isnull=False, key__isnull=True)
                | Q(team__isnull=True, user__isnull=True, key__isnull=False),
                name="accounts_quota_one_subject",
            ),
            models.CheckConstraint(condition=Q(limit__gte=0), name="accounts_quota_limit_not_negative"),
            models.UniqueConstraint(
                Coalesce("team", 0),
                Coalesce("user", 0),
                Coalesce("key", 0),
                "unit",
                "window",
                "currency",
                name="accounts_quota_unique_per_subject",
            ),
        ]

    def __str__(self) -> str:
        amount = f"{self.limit.normalize():f}"
        what = f"{amount} {self.currency}" if self.unit == self.Unit.COST else f"{amount} {self.unit}"
        return f"{self.subject_name()}: {what} / {self.window}"

    def subject_field(self) -> str:
        """Return which of the three relations is set."""
        return "team" if self.team_id is not None else "user" if self.user_id is not None else "key"

    def subject_name(self) -> str:
        """Return the subject as a configuration file writes it."""
        if self.team_id is not None:
            return f"team {self.team}"
        if self.user_id is not None:
            return f"user {self.user}"
        return f"key {self.key}"

    def clean(self) -> None:
        if sum(subject is not None for subject in (self.team_id, self.user_id, self.key_id)) != 1:
            raise ValidationError(_("Choose one of team, user and key."))


class QuotaWindow(models.Model):
    """What was used of a quota in one window, and what running calls have reserved of it."""

    quota = models.ForeignKey(Quota, models.PROTECT, related_name="windows", verbose_name=_("quota"))
    starts_at = models.DateTimeField(_("starts"))
    ends_at = models.DateTimeField(_("ends"), null=True, blank=True, help_text=_("Empty: never."))
    used = models.DecimalField(_("used"), max_digits=24, decimal_places=10, default=0)
    reserved = models.DecimalField(_("reserved"), max_digits=24, decimal_places=10, default=0)
    warned_percent = models.PositiveSmallIntegerField(
        _("warned at (%)"), default=0, help_text=_("The highest threshold that was reported.")
    )

    class Meta:
        verbose_name = _("quota window")
        verbose_name_plural = _("quota windows")
        ordering = ["-starts_at"]
        constraints = [
            # Also the look-up of a window by the ledger.
            models.UniqueConstraint("quota", "starts_at", name="accounts_quotawindow_unique_start"),
            models.CheckConstraint(condition=Q(used__gte=0), name="accounts_quotawindow_used_not_negative"),
        ]

    def __str__(self) -> str:
        return f"{self.quota} @ {self.starts_at:%Y-%m-%d %H:%M}"


class QuotaRaise(Row):
    """A temporary addition to the limit of a quota."""

    quota = models.ForeignKey(Quota, models.PROTECT, related_name="raises", verbose_name=_("quota"))
    amount = models.DecimalField(
        _("amount"),
        max_digits=20,
        decimal_places=6,
        validators=[MinValueValidator(0)],
        help_text=_("In the quota's unit."),
    )
    reason = models.CharField(_("reason"), max_length=200, blank=True)
    granted_by = models.ForeignKey(
        User, models.PROTECT, related_name="granted_raises", null=True, blank=True, verbose_name=_("granted by")
    )
    starts_at = models.DateTimeField(_("from"))
    ends_at = models.DateTimeField(_("until"))
    created_at = models.DateTimeField(_("created"), auto_now_add=True)

    class Meta:
        verbose_name = _("temporary raise")
        verbose_name_plural = _("temporary raises")
        ordering = ["-ends_at"]
        constraints = [
            models.CheckConstraint(condition=Q(amount__gt=0), name="accounts_quotaraise_amount_positive"),
            models.CheckConstraint(condition=Q(ends_at__gt=models.F("starts_at")), name="accounts_quotaraise_in_order"),
        ]
        # The ledger's look-up of those in force.
        indexes = [models.Index("ends_at", name="accounts_raise_in_force")]

    def __str__(self) -> str:
        return f"+{self.amount.normalize():f}"
