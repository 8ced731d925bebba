"""The forms of scenes and their rules."""

from typing import TYPE_CHECKING, Any

from django import forms
from django.utils.text import capfirst
from django.utils.translation import gettext_lazy as _

from gateway.admin.line_fields import ConditionField, LinesField, PromptsField, TicksField
from gateway.admin.routing.ordering import OrderedFormSet, OrderedRows
from gateway.admin_base import StackedInline
from routing.models import Effort, Scene, SceneRule
from routing.policy_rules import fault_of_disabling, fault_of_use

if TYPE_CHECKING:
    _SceneModelForm = forms.ModelForm[Scene]
    _SceneRuleModelForm = forms.ModelForm[SceneRule]
else:
    _SceneModelForm = forms.ModelForm
    _SceneRuleModelForm = forms.ModelForm

WEEKDAYS = (
    (1, _("Monday")),
    (2, _("Tuesday")),
    (3, _("Wednesday")),
    (4, _("Thursday")),
    (5, _("Friday")),
    (6, _("Saturday")),
    (7, _("Sunday")),
)


class SceneForm(_SceneModelForm):
    """A scene with its examples as lines."""

    examples = PromptsField(
        label=capfirst(_("examples")),
        rows=14,
        help_text=_(
            "Prompts of this kind, one per line; five in each language that is used make a good start. For prompts "
            "of several lines, put a line --- before each prompt."
        ),
    )

    class Media:
        css = {"all": ("gateway/forms.css",)}

    class Meta:
        model = Scene
        fields = ["name", "description", "examples", "route", "position", "is_enabled"]
        help_texts = {
            "description": _("What belongs to the scene. The scorer learns from it, and classifier models read it."),
        }
        widgets = {"description": forms.Textarea(attrs={"rows": 3, "cols": 60, "maxlength": 500})}

    def clean_is_enabled(self) -> bool:
        """Raise `ValidationError` when a scene is switched off that must answer."""
        is_enabled: bool = self.cleaned_data["is_enabled"]
        if not is_enabled and self.instance.pk and (fault := fault_of_disabling(self.instance)):
            raise fault
        return is_enabled

    def clean(self) -> dict[str, Any] | None:
        """Raise `ValidationError` when a policy would choose from a scene that has no targets."""
        cleaned = super().clean() or {}
        route = cleaned.get("route")
        if route is not None and cleaned.get("is_enabled", self.instance.is_enabled):
            self.instance.name, self.instance.route = cleaned.get("name", self.instance.name), route
            if fault := fault_of_use(self.instance):
                self.add_error("route", fault)
        return cleaned


class SceneRuleForm(_SceneRuleModelForm):
    """A rule with its lists as lines and ticks."""

    keywords = LinesField(
        label=capfirst(_("keywords")), rows=4, help_text=_("One per line; any of them in the user's own words.")
    )
    efforts = TicksField(
        label=capfirst(_("thinking efforts")), choices=Effort.choices, help_text=_("None ticked: any.")
    )
    weekdays = TicksField(label=capfirst(_("weekdays")), choices=WEEKDAYS, coerce=int, help_text=_("None ticked: any."))
    plan_mode = ConditionField(label=capfirst(_("plan mode")))
    has_image = ConditionField(label=capfirst(_("has an image")))
    has_pdf = ConditionField(label=capfirst(_("has a PDF file")))
    has_tools = ConditionField(label=capfirst(_("has tools")))

    class Meta:
        model = SceneRule
        fields = [
            "position",
            "is_enabled",
            "keywords",
            "pattern",
            "min_prompt_tokens",
            "max_prompt_tokens",
            "efforts",
            "plan_mode",
            "has_image",
            "has_pdf",
            "has_tools",
            "time_from",
            "time_until",
            "weekdays",
        ]
        widgets = {"pattern": forms.TextInput(attrs={"class": "vLargeTextField", "spellcheck": "false"})}


class SceneRuleInline(OrderedRows, StackedInline):
    """The rules of a scene."""

    model = SceneRule
    form = SceneRuleForm
    formset = OrderedFormSet
    ordering = ("position", "pk")
    fieldsets = (
        (None, {"fields": (("position", "is_enabled"), "keywords", "pattern")}),
        (
            None,
            {
                "fields": (
                    ("min_prompt_tokens", "max_prompt_tokens"),
                    ("plan_mode", "has_image", "has_pdf", "has_tools"),
                    "efforts",
                )
            },
        ),
        (None, {"fields": (("time_from", "time_until"), "weekdays")}),
    )
    verbose_name = _("rule")
    verbose_name_plural = _(
        "rules: one whose conditions all hold chooses the scene; of several scenes, the rule with the lowest position"
    )

    def get_queryset(self, request: Any) -> Any:
        """Read the scene along: a rule's name has it."""
        return super().get_queryset(request).select_related("scene")
