"""How the calls of somebody find their targets."""

from django.core.exceptions import ValidationError
from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models
from django.db.models import Q
from django.utils.translation import gettext_lazy as _

from providers.models import Model, name_validator
from providers.row import Row
from providers.target import ANY_MODEL
from routing.models.routes import Route
from routing.models.scenes import Scene
from routing.policy_rules import no_default_scene


class CaptureMode(models.TextChoices):
    """How much of an exchange is kept for inspection."""

    OFF = "off", _("nothing")
    METADATA = "metadata", _("headers and sizes")
    FULL = "full", _("everything, prompts included")


class Policy(Row):
    """How a call finds its targets."""

    class Mode(models.TextChoices):
        PASSTHROUGH = "passthrough", _("Anthropic-compatible servers in order")
        DIRECT = "direct", _("one ordered list of targets")
        SMART = "smart", _("by intent")

    class Stickiness(models.TextChoices):
        TURN = "turn", _("unless a new request clearly belongs to another")
        SESSION = "session", _("as long as it is not idle")

    name = models.CharField(_("name"), max_length=60, unique=True, validators=[name_validator])
    route = models.ForeignKey(
        Route, models.PROTECT, related_name="policies", null=True, blank=True, verbose_name=_("route")
    )
    scenes = models.ManyToManyField(
        Scene,
        blank=True,
        related_name="policies",
        verbose_name=_("scenes"),
        help_text=_("Among these the intent chooses; the default scene must be one of them. Empty: all scenes."),
    )
    cheap_route = models.ForeignKey(
        Route,
        models.PROTECT,
        related_name="cheap_for",
        null=True,
        blank=True,
        verbose_name=_("cheap route"),
        help_text=_(
            "Answers titles, probes and the like, and everything once a quota that downgrades is used up. Empty: the "
            "cheapest targets that the policy has."
        ),
    )
    shadow = models.ForeignKey(
        "self",
        models.SET_NULL,
        related_name="shadow_of",
        null=True,
        blank=True,
        verbose_name=_("shadow policy"),
        help_text=_("What this other policy would have chosen is recorded beside each decision."),
    )
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
    stickiness = models.CharField(
        _("a session stays with its scene"),
        max_length=10,
        choices=Stickiness.choices,
        default=Stickiness.TURN,
        help_text=_("Within a tool loop it always stays."),
    )
    session_idle_minutes = models.PositiveIntegerField(
        _("session idle time (minutes)"),
        default=30,
        validators=[MinValueValidator(1), MaxValueValidator(1440)],
        help_text=_("After so long without a call a session chooses its scene anew."),
    )
    min_confidence = models.FloatField(
        _("confidence needed"),
        default=0.6,
        validators=[MinValueValidator(0), MaxValueValidator(1)],
        help_text=_("0 to 1. Below it the local scorer does not decide alone, and the classifier models are asked."),
    )
    continues_streams = models.BooleanField(
        _("continue broken streams"),
        default=False,
        help_text=_("When a stream breaks after some text, the next target that can goes on from there."),
    )
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
        """Check the columns. What the policy lists is checked by `routing.policy_rules`, when it is known."""
        faults: dict[str, ValidationError] = {}
        if self.mode == self.Mode.SMART:
            # Whatever its list is, this scene has to be in it.
            if not Scene.objects.filter(is_default=True).exists():
                faults["scenes"] = no_default_scene()
        elif self.route_id is None:
            faults["route"] = ValidationError(_("Choose the route whose targets answer."))
        wrong = self.route.targets_of_another_wire() if self.route and self.mode == self.Mode.PASSTHROUGH else []
        if wrong:
            fault = _("Calls can be passed through to Anthropic-compatible servers only, not to %(targets)s.")
            faults["route"] = ValidationError(fault, params={"targets": ", ".join(wrong)})
        if self.cheap_route is not None and not self.cheap_route.entries.exists():
            fault = _("The route %(route)s has no targets.")
            faults["cheap_route"] = ValidationError(fault, params={"route": self.cheap_route.name})
        if self.shadow_id is not None and self.shadow_id == self.pk:
            faults["shadow"] = ValidationError(_("A policy cannot be its own shadow. Choose another one."))
        if self.reference_model is not None and self.reference_model.model_id == ANY_MODEL:
            faults["reference_model"] = ValidationError(_("Choose one model: * stands for any, and has no price."))
        if faults:
            raise ValidationError(faults)


class ClassifierEntry(Row):
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

    def clean(self) -> None:
        if self.model_id is not None and self.model.model_id == ANY_MODEL:
            raise ValidationError({"model": _("Choose one model: * stands for any.")})


class RequestKind(models.TextChoices):
    """What a request is for, as far as its structure tells."""

    MAIN = "main", _("request of the user")
    TOOL_RESULT = "tool_result", _("tool result")
    SUBAGENT = "subagent", _("subagent")
    TITLE = "title", _("session title")
    PERMISSION = "permission", _("permission check")
    WEB_SEARCH = "web_search", _("web search")
    COMPACTION = "compaction", _("compaction")
    PROBE = "probe", _("probe")
    COUNT = "count", _("token count")


class KindRule(Row):
    """Where a policy sends the requests of one kind, if not where kinds of that sort go by themselves."""

    class Action(models.TextChoices):
        CLASSIFY = "classify", _("choose by intent")
        SAME = "same", _("as the session")
        CHEAPEST = "cheapest", _("cheapest capable target")
        SCENE = "scene", _("a scene")
        ROUTE = "route", _("a route")

    policy = models.ForeignKey(Policy, models.CASCADE, related_name="kind_rules", verbose_name=_("policy"))
    kind = models.CharField(
        _("kind"), max_length=20, choices=[pair for pair in RequestKind.choices if pair[0] != RequestKind.COUNT]
    )
    action = models.CharField(_("goes to"), max_length=10, choices=Action.choices)
    scene = models.ForeignKey(
        Scene, models.PROTECT, related_name="kind_rules", null=True, blank=True, verbose_name=_("scene")
    )
    route = models.ForeignKey(
        Route, models.PROTECT, related_name="kind_rules", null=True, blank=True, verbose_name=_("route")
    )

    class Meta:
        verbose_name = _("rule for a kind")
        verbose_name_plural = _("rules for kinds")
        ordering = ["policy", "kind"]
        constraints = [
            models.UniqueConstraint("policy", "kind", name="routing_kindrule_unique_kind"),
            models.CheckConstraint(
                condition=Q(action="scene", scene__isnull=False, route__isnull=True)
                | Q(action="route", scene__isnull=True, route__isnull=False)
                | (~Q(action__in=["scene", "route"]) & Q(scene__isnull=True, route__isnull=True)),
                name="routing_kindrule_target_as_action",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.policy}: {self.kind}"

    def clean(self) -> None:
        for name, target, fault in (
            ("scene", self.scene_id, _("Choose the scene, and nothing else.")),
            ("route", self.route_id, _("Choose the route, and nothing else.")),
        ):
            if (self.action == name) != (target is not None):
                raise ValidationError({name: fault if self.action == name else _("Leave this empty.")})
