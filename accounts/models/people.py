"""People, their teams and their keys."""

from django.contrib.auth.models import AbstractUser
from django.core.exceptions import ValidationError
from django.core.validators import MinValueValidator
from django.db import models
from django.db.models import Q
from django.utils.translation import gettext_lazy as _

from accounts.networks import clean_networks
from providers.models import name_validator
from providers.row import Row
from routing.models import CaptureMode, Policy


class Team(Row):
    """A group of people whose usage is reported and limited together."""

    name = models.CharField(_("name"), max_length=100, unique=True)
    cost_center = models.CharField(_("cost center"), max_length=60, blank=True)
    parent = models.ForeignKey(
        "self", models.PROTECT, related_name="children", null=True, blank=True, verbose_name=_("parent team")
    )
    lead = models.ForeignKey(
        "User", models.PROTECT, related_name="led_teams", null=True, blank=True, verbose_name=_("lead")
    )
    policy = models.ForeignKey(
        Policy, models.PROTECT, related_name="teams", null=True, blank=True, verbose_name=_("policy")
    )
    is_active = models.BooleanField(_("active"), default=True)
    created_at = models.DateTimeField(_("created"), auto_now_add=True)

    class Meta:
        verbose_name = _("team")
        verbose_name_plural = _("teams")
        ordering = ["name"]

    def __str__(self) -> str:
        return self.name


class User(Row, AbstractUser):
    """A person, or a service: a program whose keys are a team's.

    Deactivated, never deleted: the books keep the name.
    """

    team = models.ForeignKey(
        Team, models.PROTECT, related_name="members", null=True, blank=True, verbose_name=_("team")
    )
    policy = models.ForeignKey(
        Policy, models.PROTECT, related_name="users", null=True, blank=True, verbose_name=_("policy")
    )
    is_service = models.BooleanField(
        _("service"), default=False, help_text=_("No person: its keys are those of a program, owned by the team.")
    )
    must_change_password = models.BooleanField(
        _("must change the password"), default=False, help_text=_("No page answers before the password is changed.")
    )
    language = models.CharField(_("language"), max_length=10, blank=True)
    time_zone = models.CharField(_("time zone"), max_length=60, blank=True)

    class Meta(AbstractUser.Meta):
        ordering = ["username"]

    def clean(self) -> None:
        """Raise `ValidationError` for a service that nobody answers for, or that could administer."""
        super().clean()
        if not self.is_service:
            return
        if self.team_id is None:
            raise ValidationError({"team": _("Choose the team that the service belongs to.")})
        if self.is_staff or self.is_superuser:
            raise ValidationError(_("A service is no administrator: take its permissions away first."))

    def check_password(self, raw_password: str | None) -> bool:
        """Return whether the password is right; a service has none, whatever the row holds."""
        return not self.is_service and super().check_password(raw_password)


class ApiKey(Row):
    """A personal key. Only its first characters and a keyed digest are stored (accounts/keys.py)."""

    class Scope(models.TextChoices):
        NONE = "", _("models only")
        FINANCE = "finance", _("read reports")
        ADMIN = "admin", _("administer")

    user = models.ForeignKey(User, models.PROTECT, related_name="api_keys", verbose_name=_("owner"))
    name = models.CharField(_("name"), max_length=60, validators=[name_validator])
    prefix = models.CharField(_("begins with"), max_length=16, editable=False)
    digest = models.CharField(max_length=64, unique=True, editable=False)
    # After a rotation the former secret is good for a while; use and quotas belong to the row, not to the secret.
    previous_prefix = models.CharField(_("formerly began with"), max_length=16, blank=True, editable=False)
    previous_digest = models.CharField(max_length=64, blank=True, editable=False)
    previous_expires_at = models.DateTimeField(_("former secret ends"), null=True, blank=True, editable=False)
    policy = models.ForeignKey(
        Policy, models.PROTECT, related_name="api_keys", null=True, blank=True, verbose_name=_("policy")
    )
    allowed_models = models.JSONField(
        _("allowed models"),
        default=list,
        blank=True,
        help_text=_("JSON list of patterns, e.g. main/*, claude-haiku-*. Empty: all."),
    )
    allowed_networks = models.JSONField(
        _("allowed networks"),
        default=list,
        blank=True,
        help_text=_("Addresses or networks such as 10.1.0.0/16, one per line. Empty: from anywhere."),
    )
    capture = models.CharField(
        _("capture"), max_length=10, choices=CaptureMode.choices, blank=True, help_text=_("Empty: as in the policy.")
    )
    scope = models.CharField(
        _("management"),
        max_length=10,
        choices=Scope.choices,
        default=Scope.NONE,
        blank=True,
        help_text=_("What the key may do at /api/manage/, beside calling models."),
    )
    max_concurrency = models.PositiveIntegerField(
        _("calls at the same time"), null=True, blank=True, validators=[MinValueValidator(1)]
    )
    note = models.CharField(_("note"), max_length=200, blank=True)
    is_active = models.BooleanField(_("active"), default=True)
    expires_at = models.DateTimeField(_("expires"), null=True, blank=True)
    revoked_at = models.DateTimeField(_("revoked"), null=True, blank=True, editable=False)
    flagged_at = models.DateTimeField(_("flagged"), null=True, blank=True, editable=False)
    flag_reason = models.CharField(_("why flagged"), max_length=200, blank=True, editable=False)
    created_at = models.DateTimeField(_("created"), auto_now_add=True)

    class Meta:
        verbose_name = _("API key")
        verbose_name_plural = _("API keys")
        ordering = ["user__username", "name"]
        constraints = [
            models.UniqueConstraint("user", "name", name="accounts_apikey_unique_name"),
            # Also the look-up of a former secret.
            models.UniqueConstraint(
                "previous_digest", condition=~Q(previous_digest=""), name="accounts_apikey_unique_previous"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.user}/{self.name}"

    def clean(self) -> None:
        """Bring the allowed networks into their shortest form. Raises `ValidationError` for what is none."""
        networks = self.allowed_networks
        if not isinstance(networks, list) or not all(isinstance(network, str) for network in networks):
            raise ValidationError({"allowed_networks": _("Enter a list of networks.")})
        try:
            self.allowed_networks = clean_networks(networks)
        except ValidationError as error:
            raise ValidationError({"allowed_networks": error}) from error


class KeyHandover(Row):
    """A secret on its way to its owner: behind a link that shows it once."""

    key = models.ForeignKey(ApiKey, models.CASCADE, related_name="handovers", verbose_name=_("key"))
    token_digest = models.CharField(max_length=64, unique=True, editable=False)
    # Empty once it was shown, or its time was over.
    encrypted_secret = models.TextField(blank=True, editable=False)
    created_by = models.ForeignKey(
        User, models.PROTECT, related_name="+", null=True, blank=True, verbose_name=_("created by")
    )
    created_at = models.DateTimeField(_("created"), auto_now_add=True)
    expires_at = models.DateTimeField(_("expires"))
    opened_at = models.DateTimeField(_("opened"), null=True, blank=True)
    opened_from = models.CharField(_("opened from"), max_length=45, blank=True)

    class Meta:
        verbose_name = _("one-time link")
        verbose_name_plural = _("one-time links")
        ordering = ["-created_at"]

    def __str__(self) -> str:
        return str(self.key)


class KeyNetwork(models.Model):
    """A network from which a key was used: a /24 of IPv4, a /48 of IPv6."""

    key = models.ForeignKey(ApiKey, models.CASCADE, related_name="networks", verbose_name=_("key"))
    network = models.CharField(_("network"), max_length=50)
    first_seen_at = models.DateTimeField(_("first seen"))
    last_seen_at = models.DateTimeField(_("last seen"))

    class Meta:
        verbose_name = _("network of a key")
        verbose_name_plural = _("networks of keys")
        ordering = ["key_id", "-last_seen_at"]
        constraints = [models.UniqueConstraint("key", "network", name="accounts_keynetwork_unique_network")]

    def __str__(self) -> str:
        return self.network
