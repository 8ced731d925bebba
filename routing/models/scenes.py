"""Kinds of intent, and how they are recognised: by example, by rule, by a scorer trained on the examples."""

from collections.abc import Collection, Iterator
from typing import Any

from django.core.exceptions import ValidationError
from django.core.validators import MinLengthValidator
from django.db import models
from django.db.models import F, Q
from django.utils.translation import gettext_lazy as _

from providers.row import Row
from routing.intent.patterns import PatternInvalid, compiled
from routing.models.routes import Route
from routing.policy_rules import fault_of_deleting

# They are learnt from, in a second or so.
MAX_EXAMPLES = 1000
MAX_EXAMPLE_LENGTH = 4000

_MAX_KEYWORDS = 100
_MAX_KEYWORD_LENGTH = 100


class Scene(Row):
    """A kind of intent, and the route that serves it."""

    name = models.CharField(_("name"), max_length=50, unique=True, validators=[MinLengthValidator(2)])
    description = models.CharField(_("description"), max_length=500, validators=[MinLengthValidator(10)])
    examples = models.JSONField(
        _("examples"),
        default=list,
        blank=True,
        help_text=_("Prompts of this kind, one per line; five in each language that is used make a good start."),
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

    def clean_fields(self, exclude: Collection[str] | None = None) -> None:
        """Check the fields without the space around the texts: blanks are no name and no description."""
        self.name, self.description = self.name.strip(), self.description.strip()
        super().clean_fields(exclude=exclude)

    def clean(self) -> None:
        if not self.name.isprintable():
            raise ValidationError({"name": _("Use printable characters only.")})
        examples = self.examples
        if not isinstance(examples, list) or not all(isinstance(one, str) and one.strip() for one in examples):
            raise ValidationError({"examples": _("The examples must be a list of texts.")})
        if len(examples) > MAX_EXAMPLES:
            fault = _("At most %(count)s examples are read.")
            raise ValidationError({"examples": ValidationError(fault, params={"count": MAX_EXAMPLES})})
        if any(len(one) > MAX_EXAMPLE_LENGTH for one in examples):
            fault = _("An example has at most %(count)s characters.")
            raise ValidationError({"examples": ValidationError(fault, params={"count": MAX_EXAMPLE_LENGTH})})
        if self.is_default and not self.is_enabled:
            raise ValidationError({"is_enabled": _("The default scene must stay enabled.")})

    def delete(self, *args: Any, **kwargs: Any) -> tuple[int, dict[str, int]]:
        """Delete the scene. Raises `ValidationError` for the default one, and for one that a policy names."""
        if fault := fault_of_deleting(self):
            raise fault
        return super().delete(*args, **kwargs)


class Effort(models.TextChoices):
    """The thinking effort that a request asks for (`output_config.effort`)."""

    LOW = "low", _("low")
    MEDIUM = "medium", _("medium")
    HIGH = "high", _("high")
    XHIGH = "xhigh", _("very high")
    MAX = "max", _("maximum")


class SceneRule(Row):
    """A rule that chooses a scene without asking anybody: all of its conditions that are set must hold."""

    scene = models.ForeignKey(Scene, models.CASCADE, related_name="rules", verbose_name=_("scene"))
    keywords = models.JSONField(
        _("keywords"), default=list, blank=True, help_text=_("One per line; any of them in the user's own words.")
    )
    pattern = models.CharField(
        _("pattern"),
        max_length=500,
        blank=True,
        help_text=_("A regular expression (RE2) found in the user's own words, whatever the case."),
    )
    min_prompt_tokens = models.PositiveIntegerField(_("prompt tokens from"), null=True, blank=True)
    max_prompt_tokens = models.PositiveIntegerField(_("prompt tokens up to"), null=True, blank=True)
    efforts = models.JSONField(
        _("thinking efforts"), default=list, blank=True, help_text=_("Any of low, medium, high, xhigh, max.")
    )
    plan_mode = models.BooleanField(_("plan mode"), null=True, blank=True)
    has_image = models.BooleanField(_("has an image"), null=True, blank=True)
    has_pdf = models.BooleanField(_("has a PDF file"), null=True, blank=True)
    has_tools = models.BooleanField(_("has tools"), null=True, blank=True)
    time_from = models.TimeField(
        _("from"), null=True, blank=True, help_text=_("In the business time zone. A span may pass midnight.")
    )
    time_until = models.TimeField(_("until"), null=True, blank=True)
    weekdays = models.JSONField(_("weekdays"), default=list, blank=True, help_text=_("1 is Monday, 7 is Sunday."))
    is_enabled = models.BooleanField(_("enabled"), default=True)
    position = models.PositiveIntegerField(_("position"), default=0)

    class Meta:
        verbose_name = _("scene rule")
        verbose_name_plural = _("scene rules")
        ordering = ["position", "pk"]
        constraints = [
            models.CheckConstraint(
                condition=Q(time_from__isnull=True, time_until__isnull=True)
                | Q(time_from__isnull=False, time_until__isnull=False),
                name="routing_scenerule_whole_span",
            ),
            models.CheckConstraint(
                condition=Q(min_prompt_tokens__isnull=True)
                | Q(max_prompt_tokens__isnull=True)
                | Q(min_prompt_tokens__lte=F("max_prompt_tokens")),
                name="routing_scenerule_tokens_in_order",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.scene} {self.position}"

    def clean(self) -> None:
        errors = {name: fault for name, fault in self._faults() if fault}
        if errors:
            raise ValidationError(errors)
        if not self._has_condition():
            raise ValidationError(_("Set at least one condition: a rule without any would take every call."))
        self.keywords = [keyword.strip() for keyword in self.keywords]

    def _faults(self) -> Iterator[tuple[str, ValidationError | None]]:
        """Yield each field that can be wrong with what is wrong with it, None where nothing is."""
        yield "keywords", _fault_of_keywords(self.keywords)
        yield "pattern", _fault_of_pattern(self.pattern or "")
        if not _is_list_of(self.efforts, Effort.values):
            yield "efforts", ValidationError(_("Give a list of efforts: low, medium, high, xhigh, max."))
        if not _is_list_of(self.weekdays, range(1, 8)):
            yield "weekdays", ValidationError(_("Give a list of numbers from 1 (Monday) to 7 (Sunday)."))
        least, most = self.min_prompt_tokens, self.max_prompt_tokens
        # Fields that are no numbers have a fault of their own, and come here all the same.
        if isinstance(least, int) and isinstance(most, int) and least > most:
            yield "max_prompt_tokens", ValidationError(_("Must not be less than the least number of prompt tokens."))
        if (self.time_from is None) != (self.time_until is None):
            missing = "time_from" if self.time_from is None else "time_until"
            yield missing, ValidationError(_("Give both times, or none."))
        elif self.time_from is not None and self.time_from == self.time_until:
            yield "time_until", ValidationError(_("The two times must differ."))

    def _has_condition(self) -> bool:
        values = (
            *(self.min_prompt_tokens, self.max_prompt_tokens, self.time_from),
            *(self.plan_mode, self.has_image, self.has_pdf, self.has_tools),
        )
        has_value = any(value is not None for value in values)
        return has_value or bool(self.keywords or self.pattern or self.efforts or self.weekdays)


def _fault_of_keywords(keywords: Any) -> ValidationError | None:
    if not isinstance(keywords, list) or not all(isinstance(keyword, str) for keyword in keywords):
        return ValidationError(_("Give a list of texts."))
    if not all(keyword.strip() for keyword in keywords):
        return ValidationError(_("A keyword must not be empty: it would be found in every text."))
    if len(keywords) > _MAX_KEYWORDS or any(len(keyword) > _MAX_KEYWORD_LENGTH for keyword in keywords):
        limits = {"count": _MAX_KEYWORDS, "length": _MAX_KEYWORD_LENGTH}
        return ValidationError(_("Give at most %(count)d keywords of at most %(length)d characters."), params=limits)
    return None


def _fault_of_pattern(pattern: str) -> ValidationError | None:
    try:
        compiled(pattern)
    except PatternInvalid as error:
        return ValidationError(_("RE2 cannot read this regular expression: %(reason)s"), params={"reason": str(error)})
    return None


def _is_list_of(values: Any, known: Collection[Any]) -> bool:
    return isinstance(values, list) and all(not isinstance(value, bool) and value in known for value in values)


class TrainedScorer(models.Model):
    """What the local scorer learnt for one set of scenes. Made when scenes are saved, read with the configuration."""

    fingerprint = models.CharField(max_length=64, unique=True, help_text=_("Of the scenes and of the seed set."))
    weights = models.BinaryField()
    report = models.JSONField(default=dict)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        verbose_name = _("trained scorer")
        verbose_name_plural = _("trained scorers")

    def __str__(self) -> str:
        return self.fingerprint[:12]
