"""Where news goes, and what is on its way there."""

from django.conf import settings
from django.core.exceptions import ValidationError
from django.db import models
from django.db.models import Q
from django.db.models.functions import Coalesce
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from accounts.addresses import clean_addresses
from accounts.channel_rules import SIGNED
from accounts.models.people import Team
from providers.encryption import decrypt, encrypt
from providers.row import Row


class NotificationChannel(Row):
    """A chat group, a mailbox or a program that is told of events."""

    class Kind(models.TextChoices):
        EMAIL = "email", _("e-mail")
        FEISHU = "feishu", _("Feishu")
        DINGTALK = "dingtalk", _("DingTalk")
        WECOM = "wecom", _("WeCom")
        SLACK = "slack", "Slack"
        WEBHOOK = "webhook", _("webhook (JSON)")

    name = models.CharField(_("name"), max_length=60, unique=True)
    kind = models.CharField(_("kind"), max_length=10, choices=Kind.choices)
    recipients = models.TextField(_("recipients"), blank=True, help_text=_("E-mail addresses, one per line."))
    # The address of a chat robot lets whoever knows it write into the group: it is a secret as a whole.
    encrypted_url = models.TextField(blank=True, editable=False)
    url_host = models.CharField(_("host"), max_length=255, blank=True, editable=False)
    encrypted_secret = models.TextField(blank=True, editable=False)
    secret_last_four = models.CharField(_("last four characters"), max_length=4, blank=True, editable=False)
    allow_private_network = models.BooleanField(
        _("allow private network"), default=False, help_text=_("Needed for loopback and private addresses.")
    )
    team = models.ForeignKey(
        Team,
        models.PROTECT,
        related_name="channels",
        null=True,
        blank=True,
        verbose_name=_("team"),
        help_text=_("Only what concerns this team. Empty: everything."),
    )
    events = models.JSONField(_("events"), default=list, blank=True, help_text=_("Empty: all."))
    language = models.CharField(_("language"), max_length=10, blank=True)
    is_enabled = models.BooleanField(_("enabled"), default=True)
    last_sent_at = models.DateTimeField(_("last sent"), null=True, blank=True, editable=False)
    last_error = models.CharField(_("last error"), max_length=300, blank=True, editable=False)
    created_at = models.DateTimeField(_("created"), auto_now_add=True)

    class Meta:
        verbose_name = _("notification channel")
        verbose_name_plural = _("notification channels")
        ordering = ["name"]

    def __str__(self) -> str:
        return self.name

    def clean(self) -> None:
        """Raise `ValidationError` where the channel could send nothing."""
        faults: dict[str, ValidationError] = {}
        if self.kind == self.Kind.EMAIL:
            try:
                self.recipients = clean_addresses(self.recipients, is_needed=True)
            except ValidationError as error:
                faults["recipients"] = error
        elif not self.encrypted_url:
            faults["url"] = ValidationError(_("Enter the address that the platform gave the robot."))
        if self.encrypted_secret and self.kind not in SIGNED:
            faults["secret"] = ValidationError(_("Channels of this kind sign nothing; leave the secret out."))
        if self.language and self.language not in dict(settings.LANGUAGES):
            faults["language"] = ValidationError(_("The gateway does not speak this language."))
        if faults:
            raise ValidationError(faults)

    def set_url(self, url: str, host: str) -> None:
        """Encrypt `url` into this row, whose `host` may be shown; the caller saves."""
        self.encrypted_url, self.url_host = encrypt(url) if url else "", host

    def url(self) -> str:
        """Return the address, "" without one. Raises `Undecryptable`."""
        return decrypt(self.encrypted_url) if self.encrypted_url else ""

    def set_secret(self, secret: str) -> None:
        """Encrypt the secret that messages are signed with into this row; the caller saves."""
        self.encrypted_secret = encrypt(secret) if secret else ""
        self.secret_last_four = secret[-4:] if len(secret) >= 12 else ""

    def secret(self) -> str:
        """Return what messages are signed with, "" for unsigned ones. Raises `Undecryptable`."""
        return decrypt(self.encrypted_secret) if self.encrypted_secret else ""


class Notification(models.Model):
    """A message on its way: written with the event, sent by whichever worker takes it first, once."""

    class Status(models.TextChoices):
        PENDING = "pending", _("waiting")
        SENT = "sent", _("sent")
        FAILED = "failed", _("given up")

    channel = models.ForeignKey(
        NotificationChannel,
        models.PROTECT,
        related_name="notifications",
        null=True,
        blank=True,
        verbose_name=_("channel"),
    )
    recipient = models.CharField(_("recipient"), max_length=254, blank=True, help_text=_("Of a mail to one person."))
    event = models.CharField(_("event"), max_length=30)
    # What happened, once per recipient, however many workers notice it.
    occasion = models.CharField(_("occasion"), max_length=200)
    content = models.JSONField(_("content"), default=dict)
    status = models.CharField(_("status"), max_length=10, choices=Status.choices, default=Status.PENDING)
    attempts = models.PositiveSmallIntegerField(_("attempts"), default=0)
    error = models.CharField(_("error"), max_length=300, blank=True)
    created_at = models.DateTimeField(_("created"), default=timezone.now)
    next_try_at = models.DateTimeField(_("next try"), default=timezone.now)
    sent_at = models.DateTimeField(_("sent"), null=True)

    class Meta:
        verbose_name = _("notification")
        verbose_name_plural = _("notifications")
        ordering = ["-created_at", "-pk"]
        constraints = [
            models.UniqueConstraint(
                "occasion",
                Coalesce("channel", 0),
                "recipient",
                name="accounts_notification_unique_occasion",
            ),
        ]
        # What is to be sent next. Partial, so it stays tiny.
        indexes = [models.Index("next_try_at", condition=Q(status="pending"), name="accounts_notification_due")]

    def __str__(self) -> str:
        return f"{self.event}: {self.channel or self.recipient}"
