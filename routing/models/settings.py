"""What an administrator changes while the gateway runs."""

import zoneinfo
from urllib.parse import urlsplit

from django.core.exceptions import ValidationError
from django.core.validators import MaxValueValidator, MinValueValidator, RegexValidator
from django.db import models
from django.db.models import Q
from django.utils.translation import gettext_lazy as _

from providers.encryption import decrypt, encrypt
from providers.models import Model
from providers.row import Row
from providers.target import ANY_MODEL
from routing.models.policies import CaptureMode


def validate_time_zone(value: str) -> None:
    """Raise `ValidationError` unless `value` is an IANA time zone."""
    try:
        zoneinfo.ZoneInfo(value)
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise ValidationError(_("“%(value)s” is not a time zone."), params={"value": value}) from error


def validate_search_url(value: str) -> None:
    """Raise `ValidationError` unless `value` is the address of a search backend."""
    try:
        parts = urlsplit(value)
        host, _port = parts.hostname, parts.port
    except ValueError as error:
        raise ValidationError(_("This is not a URL.")) from error
    if parts.scheme not in ("http", "https") or not host or any(character.isspace() for character in value):
        raise ValidationError(_("Use an http or https URL with a host."))
    if parts.username is not None or parts.password is not None:
        raise ValidationError(_("Enter the secret in its own field, not in the URL."))
    if parts.query or parts.fragment:
        raise ValidationError(_("Use the URL without a query; the gateway adds its own."))


class SearchKind(models.TextChoices):
    """The API that a search backend speaks."""

    SEARXNG = "searxng", "SearXNG"
    TAVILY = "tavily", _("Tavily or compatible")


class RuntimeSettings(Row):
    """One row: what an administrator changes while the gateway runs."""

    capture = models.CharField(_("capture"), max_length=10, choices=CaptureMode.choices, default=CaptureMode.METADATA)
    capture_retention_days = models.PositiveIntegerField(_("keep captures (days)"), default=30)
    capture_max_bytes = models.PositiveIntegerField(
        _("capture limit per stage (bytes)"), default=1024 * 1024, help_text=_("What is longer is cut.")
    )
    business_time_zone = models.CharField(
        _("business time zone"),
        max_length=60,
        default="UTC",
        validators=[validate_time_zone],
        help_text=_("Days, weeks and months of quotas and reports begin at midnight here."),
    )
    report_currency = models.CharField(
        _("currency of reports"),
        max_length=3,
        default="USD",
        validators=[RegexValidator(r"^[A-Z]{3}\Z")],
        help_text=_("Reports convert into it by the exchange rates."),
    )
    monthly_export_enabled = models.BooleanField(
        _("export each month"),
        default=False,
        help_text=_("On the second day of a month the month before goes into the export folder."),
    )
    monthly_export_recipients = models.TextField(
        _("send it to"), blank=True, help_text=_("E-mail addresses, one per line.")
    )
    mails_people = models.BooleanField(
        _("mail people"), default=True, help_text=_("Owners and team leads get a mail when a quota of theirs runs low.")
    )
    ping_interval_s = models.FloatField(
        _("ping interval (s)"), default=15, validators=[MinValueValidator(1), MaxValueValidator(120)]
    )
    cooldown_enabled = models.BooleanField(
        _("cooldown"), default=True, help_text=_("A target that just failed is tried after the others for a while.")
    )

    safety_model = models.ForeignKey(
        Model,
        models.PROTECT,
        related_name="+",
        null=True,
        blank=True,
        verbose_name=_("safety classifier"),
        help_text=_(
            "Judges the tool calls of Claude Code's auto mode where the answering platform cannot. Empty: such calls "
            "are not judged, and the client asks its user."
        ),
    )
    search_kind = models.CharField(
        _("search backend"),
        max_length=10,
        choices=SearchKind.choices,
        blank=True,
        help_text=_("Executes web searches for models that have none of their own. Empty: no search."),
    )
    search_url = models.CharField(_("search URL"), max_length=500, blank=True)
    encrypted_search_secret = models.TextField(_("search secret"), blank=True, editable=False)
    search_secret_last_four = models.CharField(_("last four characters"), max_length=4, blank=True, editable=False)

    class Meta:
        verbose_name = _("settings")
        verbose_name_plural = _("settings")
        constraints = [models.CheckConstraint(condition=Q(pk=1), name="routing_runtimesettings_one_row")]

    def __str__(self) -> str:
        return str(_("settings"))

    def clean(self) -> None:
        if self.search_kind and not self.search_url:
            raise ValidationError({"search_url": _("A search backend needs a URL.")})
        if self.search_url:
            try:
                validate_search_url(self.search_url)
            except ValidationError as error:
                raise ValidationError({"search_url": error.messages}) from error
        if self.safety_model is not None and self.safety_model.model_id == ANY_MODEL:
            raise ValidationError({"safety_model": _("Choose one model: * stands for any.")})

    def set_search_secret(self, secret: str) -> None:
        """Encrypt `secret` into this row, or remove the stored one when it is empty; the caller saves."""
        self.encrypted_search_secret = encrypt(secret) if secret else ""
        # Of a short secret four characters would be too much of it.
        self.search_secret_last_four = secret[-4:] if len(secret) >= 12 else ""

    def search_secret(self) -> str:
        """Return the decrypted search secret, "" without one. Raises `Undecryptable`."""
        return decrypt(self.encrypted_search_secret) if self.encrypted_search_secret else ""

    @classmethod
    def load(cls) -> "RuntimeSettings":
        """Return the row, or the defaults when it was never saved."""
        return cls.objects.filter(pk=1).first() or cls(pk=1)
