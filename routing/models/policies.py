"""How the calls of somebody find their targets."""

from django.core.exceptions import ValidationError
from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models
from django.db.models import Q
from django.utils.translation import gettext_lazy as _

from providers.models import Model, name_validator
from providers.target import ANY_MODEL
from routing.models.routes import Route
from routing.models.scenes import Scene


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
