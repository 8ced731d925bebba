"""Which model answers a call: policies, routes, scenes, aliases, and the settings an administrator changes live."""

import zoneinfo
from urllib.parse import urlsplit

from django.core.exceptions import ValidationError
from django.core.validators import MaxValueValidator, MinLengthValidator, MinValueValidator
from django.db import models
from django.db.models import Q
from django.utils.translation import gettext_lazy as _

from providers.encryption import decrypt, encrypt
from providers.models import Model, name_validator
from providers.presets import wire_format_of
from providers.target import ANY_MODEL


class Route(models.Model):
    """An ordered list of targets."""

    class Order(models.TextChoices):
        PRIORITY = "priority", _("in the given order")
        WEIGHTED = "weighted", _("by weight")
        CHEAPEST = "cheapest", _("cheapest first")
        FASTEST = "fastest", _("fastest first")

    name = models.CharField(_("name"), max_length=60, unique=True, validators=[name_validator])
    targets: "models.ManyToManyField[Model, RouteEntry]" = models.ManyToManyField(
        Model, through="RouteEntry", related_name="routes", verbose_name=_("targets")
    )
    order = models.CharField(_("order"), max_length=10, choices=Order.choices, default=Order.PRIORITY)
    created_at = models.DateTimeField(_("created"), auto_now_add=True)
    updated_at = models.DateTimeField(_("changed"), auto_now=True)

    class Meta:
        verbose_name = _("route")
        verbose_name_plural = _("routes")
        ordering = ["name"]

    def __str__(self) -> str:
        return self.name

    def targets_of_another_wire(self) -> list[str]:
        """Return the names of the targets that are no Anthropic-compatible servers: a body cannot be passed to them."""
        models_of_route = Model.objects.filter(route_entries__route=self).select_related("provider")
        return [str(model) for model in models_of_route if wire_format_of(model.provider) != "anthropic"]

    def clean(self) -> None:
        if self.order != self.Order.PRIORITY:
            raise ValidationError({"order": _("Only the given order is available in this version.")})


class RouteEntry(models.Model):
    """One target of a route."""

    route = models.ForeignKey(Route, models.CASCADE, related_name="entries", verbose_name=_("route"))
    model = models.ForeignKey(Model, models.PROTECT, related_name="route_entries", verbose_name=_("target"))
    position = models.PositiveIntegerField(_("position"), default=0)
    weight = models.PositiveIntegerField(_("weight"), default=1, validators=[MinValueValidator(1)])

    class Meta:
        verbose_name = _("target")
        verbose_name_plural = _("targets")
        ordering = ["position", "pk"]
        constraints = [models.UniqueConstraint("route", "model", name="routing_routeentry_unique_model")]

    def __str__(self) -> str:
        return str(self.model)

    def clean(self) -> None:
        if self.model_id is None or self.route_id is None or wire_format_of(self.model.provider) == "anthropic":
            return
        policy = Policy.objects.filter(route_id=self.route_id, mode=Policy.Mode.PASSTHROUGH).first()
        if policy is not None:
            fault = _("%(target)s is no Anthropic-compatible server, and the policy %(policy)s passes calls through.")
            raise ValidationError(
                {"model": ValidationError(fault, params={"target": str(self.model), "policy": policy.name})}
            )


class Scene(models.Model):
    """A kind of intent, and the route that serves it."""

    name = models.CharField(_("name"), max_length=50, unique=True, validators=[MinLengthValidator(2)])
    description = models.CharField(_("description"), max_length=500, validators=[MinLengthValidator(10)])
    examples = models.JSONField(
        _("examples"), default=list, blank=True, help_text=_("Prompts of this kind, as a JSON list.")
    )
    route = models.ForeignKey(Route, models.PROTECT, related_name="scenes", verbose_name=_("route"))
    is_default = models.BooleanField(_("default"), default=False)
    is_enabled = models.BooleanField(_("enabled"), default=True)
    position = models.PositiveIntegerField(_("position"), default=0)

    class Meta:
        verbose_name = _("scene")
        verbose_name_plural = _("scenes")
        ordering = ["position", "name"]
        constraints = [
            models.UniqueConstraint("is_default", condition=Q(is_default=True), name="routing_scene_one_default"),
            models.CheckConstraint(
                condition=Q(is_default=False) | Q(is_enabled=True), name="routing_scene_default_is_enabled"
            ),
        ]

    def __str__(self) -> str:
        return self.name


class CaptureMode(models.TextChoices):
    """How much of an exchange is kept for inspection."""

    OFF = "off", _("nothing")
    METADATA = "metadata", _("headers and sizes")
    FULL = "full", _("everything, prompts included")


class Policy(models.Model):
    """How a call finds its targets."""

    class Mode(models.TextChoices):
        PASSTHROUGH = "passthrough", _("Anthropic-compatible servers in order")
        DIRECT = "direct", _("one ordered list of targets")
        SMART = "smart", _("by intent")

    name = models.CharField(_("name"), max_length=60, unique=True, validators=[name_validator])
    route = models.ForeignKey(
        Route, models.PROTECT, related_name="policies", null=True, blank=True, verbose_name=_("route")
    )
    scenes = models.ManyToManyField(Scene, blank=True, related_name="policies", verbose_name=_("scenes"))
    reference_model = models.ForeignKey(
        Model,
        models.PROTECT,
        related_name="reference_of",
        null=True,
        blank=True,
        verbose_name=_("reference model"),
        help_text=_("Savings are stated against what this model would have cost."),
    )
    mode = models.CharField(_("mode"), max_length=12, choices=Mode.choices, default=Mode.DIRECT)
    is_default = models.BooleanField(_("default"), default=False)
    capture = models.CharField(
        _("capture"), max_length=10, choices=CaptureMode.choices, blank=True, help_text=_("Empty: as in the settings.")
    )
    classifier_timeout_ms = models.PositiveIntegerField(
        _("classifier timeout (ms)"), default=1500, validators=[MinValueValidator(100), MaxValueValidator(60000)]
    )

    class Meta:
        verbose_name = _("policy")
        verbose_name_plural = _("policies")
        ordering = ["name"]
        constraints = [
            models.UniqueConstraint("is_default", condition=Q(is_default=True), name="routing_policy_one_default"),
            models.CheckConstraint(
                condition=Q(mode="smart") | Q(route__isnull=False), name="routing_policy_mode_has_route"
            ),
        ]

    def __str__(self) -> str:
        return self.name

    def clean(self) -> None:
        if self.mode == self.Mode.SMART:
            raise ValidationError({"mode": _("Routing by intent is not available in this version.")})
        if self.route_id is None:
            raise ValidationError({"route": _("Choose the route whose targets answer.")})
        wrong = self.route.targets_of_another_wire() if self.route and self.mode == self.Mode.PASSTHROUGH else []
        if wrong:
            fault = _("Calls can be passed through to Anthropic-compatible servers only, not to %(targets)s.")
            raise ValidationError({"route": ValidationError(fault, params={"targets": ", ".join(wrong)})})
        if self.reference_model is not None and self.reference_model.model_id == ANY_MODEL:
            raise ValidationError({"reference_model": _("Choose one model: * stands for any, and has no price.")})


class ClassifierEntry(models.Model):
    """One of the small models that classify the intent of a call, in order."""

    policy = models.ForeignKey(Policy, models.CASCADE, related_name="classifier_entries", verbose_name=_("policy"))
    model = models.ForeignKey(Model, models.PROTECT, related_name="classifies_for", verbose_name=_("model"))
    position = models.PositiveIntegerField(_("position"), default=0)

    class Meta:
        verbose_name = _("classifier model")
        verbose_name_plural = _("classifier models")
        ordering = ["position", "pk"]
        constraints = [models.UniqueConstraint("policy", "model", name="routing_classifierentry_unique_model")]

    def __str__(self) -> str:
        return str(self.model)


class ModelAlias(models.Model):
    """A name that clients may ask for, and what it means."""

    pattern = models.CharField(
        _("pattern"), max_length=200, unique=True, help_text=_("A model name; * stands for any characters.")
    )
    model = models.ForeignKey(
        Model, models.PROTECT, related_name="aliases", null=True, blank=True, verbose_name=_("model")
    )
    route = models.ForeignKey(
        Route, models.PROTECT, related_name="aliases", null=True, blank=True, verbose_name=_("route")
    )
    position = models.PositiveIntegerField(_("position"), default=0)

    class Meta:
        verbose_name = _("model alias")
        verbose_name_plural = _("model aliases")
        ordering = ["position", "pk"]
        constraints = [
            models.CheckConstraint(
                condition=Q(model__isnull=True, route__isnull=False) | Q(model__isnull=False, route__isnull=True),
                name="routing_modelalias_one_target",
            ),
        ]

    def __str__(self) -> str:
        return self.pattern

    def clean(self) -> None:
        if (self.model_id is None) == (self.route_id is None):
            raise ValidationError(_("Choose either a model or a route."))


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


class RuntimeSettings(models.Model):
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
