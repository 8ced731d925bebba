"""The forms of policies, with what they list: scenes, classifier models, rules for kinds."""

from typing import TYPE_CHECKING, Any

from django import forms
from django.db import models
from django.http import HttpRequest
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.text import capfirst
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from gateway.admin.routing.entries import ModelEntryInline
from gateway.admin.unique_rows import UniqueRowsFormSet
from gateway.admin_base import TabularInline
from routing.models import ClassifierEntry, KindRule, Policy, Scene
from routing.policy_rules import faults_of_policy

if TYPE_CHECKING:
    _PolicyModelForm = forms.ModelForm[Policy]
    _SceneChoiceField = forms.ModelMultipleChoiceField[Scene]
else:
    _PolicyModelForm = forms.ModelForm
    _SceneChoiceField = forms.ModelMultipleChoiceField


# Where a policy carries the scenes of its form until they are saved.
_SCENES_OF_FORM = "_scenes_of_form"


class ScenesField(_SceneChoiceField):
    """Ticks for the scenes in their order, each with its description."""

    def label_from_instance(self, obj: Scene) -> SafeString:
        """Return the name of a scene, what is special about it, and what it is for."""
        marks = [gettext("default")] if obj.is_default else []
        marks += [] if obj.is_enabled else [gettext("disabled")]
        return format_html(
            '<b>{}</b>{} <span class="quiet">{}</span>',
            obj.name,
            f" ({', '.join(marks)})" if marks else "",
            obj.description,
        )


class PolicyForm(_PolicyModelForm):
    """A policy with its scenes as ticks."""

    scenes = ScenesField(
        Scene.objects.all(),
        required=False,
        label=capfirst(_("scenes")),
        widget=forms.CheckboxSelectMultiple,
        help_text=_("Among these the intent chooses. None ticked: all scenes, also those that are added later."),
    )

    class Media:
        css = {"all": ("gateway/forms.css",)}

    class Meta:
        model = Policy
        fields = [
            "name",
            "mode",
            "route",
            "reference_model",
            "capture",
            "scenes",
            "stickiness",
            "session_idle_minutes",
            "min_confidence",
            "classifier_timeout_ms",
            "cheap_route",
            "continues_streams",
            "shadow",
        ]
        help_texts = {
            "mode": _("Changes are in force with the next call of every worker."),
            "route": _("Its targets answer, in the order that the route has."),
            "classifier_timeout_ms": _(
                "A call waits no longer for all of them together; then the default scene answers."
            ),
        }
        widgets = {
            "mode": forms.RadioSelect,
            "stickiness": forms.RadioSelect,
            "min_confidence": forms.NumberInput(attrs={"min": 0, "max": 1, "step": 0.05}),
        }

    def clean(self) -> dict[str, Any] | None:
        """Check the scenes against the mode, before they are saved."""
        cleaned = super().clean() or {}
        if "scenes" in cleaned:
            scenes = list(cleaned["scenes"])
            # The rules for kinds, checked after this form, may lead to these scenes only.
            setattr(self.instance, _SCENES_OF_FORM, scenes)
            for fault in faults_of_policy(cleaned.get("mode", ""), scenes=scenes).get("scenes", ()):
                # The model says the same when there is no default scene at all.
                if fault.code != "no_default_scene":
                    self.add_error("scenes", fault)
        shadow = cleaned.get("shadow")
        if shadow is not None and shadow.pk == self.instance.pk:
            self.add_error("shadow", _("A policy cannot be its own shadow. Choose another one."))
        return cleaned


def _scenes_of(policy: Policy) -> list[Scene]:
    """Return the policy's scenes as its form has them, saved or not."""
    chosen: list[Scene] | None = getattr(policy, _SCENES_OF_FORM, None)
    if chosen is not None:
        return chosen
    return list(policy.scenes.all()) if policy.pk else []


class ClassifierEntryInline(ModelEntryInline):
    """The classifier models of a policy, asked from the lowest position upwards."""

    model = ClassifierEntry
    fields = ("position", "model")
    verbose_name_plural = _("classifier models: small models that are asked, in order, when the scorer is not sure")
    classes = ("for-smart",)


class KindRuleFormSet(UniqueRowsFormSet):
    """The rules for kinds of a policy, checked against its scenes."""

    _choices: dict[str, list[tuple[Any, str]]]

    def add_fields(self, form: Any, index: int | None) -> None:
        """Let all rows offer the same choices, read once."""
        super().add_fields(form, index)
        known = self.__dict__.setdefault("_choices", {})
        for name in ("scene", "route"):
            if name in form.fields:
                if name not in known:
                    known[name] = [(str(value), label) for value, label in form.fields[name].choices]
                form.fields[name].choices = known[name]

    def clean(self) -> None:
        """Raise `ValidationError` for a rule that leads to a scene of other policies."""
        super().clean()
        policy: Policy = self.instance
        rules = {
            form.instance.kind: form
            for form in self.forms
            if form.is_valid() and not form.cleaned_data.get("DELETE") and (form.has_changed() or form.instance.pk)
        }
        faults = faults_of_policy(
            policy.mode, scenes=_scenes_of(policy), kind_rules=[form.instance for form in rules.values()]
        )
        for fault in faults.get("kind_rules", ()):
            kind = (fault.params or {}).get("kind")
            form = rules.get(str(kind))
            if form is None:
                raise fault
            form.add_error("scene" if fault.code == "foreign_scene" else "route", fault)


class KindRuleInline(TabularInline):
    """Where a policy sends the requests of one kind."""

    model = KindRule
    formset = KindRuleFormSet
    fields = ("kind", "action", "scene", "route")
    ordering = ("kind",)
    verbose_name_plural = _(
        "rules for kinds; without one, titles, probes and permission checks go to the cheapest capable target, "
        "compaction and tool results stay with their session"
    )
    classes = ("for-smart",)

    def get_queryset(self, request: HttpRequest) -> models.QuerySet[KindRule]:
        """Read the targets along."""
        rules: models.QuerySet[KindRule] = super().get_queryset(request)
        return rules.select_related("policy", "scene", "route")
