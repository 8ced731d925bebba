"""The form of "try a prompt": a request as far as routing goes by it."""

from dataclasses import dataclass, field, replace
from typing import Any

from django import forms
from django.contrib.auth.models import AnonymousUser
from django.core.exceptions import ValidationError
from django.db.models import Q
from django.utils.translation import gettext_lazy as _

from accounts.models import ApiKey, User
from accounts.roles import visible
from gateway.admin.line_fields import no_null_characters
from gateway.trial import facts_of_body, left_out
from providers import wire_json
from providers.translation.validation import InvalidRequest, validate
from routing.intent.facts import Facts
from routing.models import Effort, Policy, RequestKind, Scene

MAX_TEXT = 4_000_000
# Stands for a name that the client did not choose, where one is needed.
_NO_MODEL = "-"


@dataclass(frozen=True, slots=True)
class Asking:
    """Who asks: whose policy is in force, and what his key may use."""

    policy_pks: tuple[int | None, ...] = ()
    allowed: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Tried:
    """The request of the form."""

    facts: Facts
    left_out: str = ""
    asking: Asking = field(default_factory=Asking)
    session_scene: str = ""


class TrialForm(forms.Form):
    """What is to be tried. Nothing of it is kept."""

    text = forms.CharField(
        label=_("prompt"),
        max_length=MAX_TEXT,
        strip=False,
        validators=[no_null_characters],
        widget=forms.Textarea(attrs={"rows": 8, "cols": 80}),
        help_text=_("What the user writes, or the whole JSON body of a Messages request."),
    )
    policy = forms.ModelChoiceField(
        Policy.objects.all(),
        required=False,
        label=_("policy"),
        empty_label=_("the default, or that of the user or key"),
    )
    caller = forms.CharField(
        required=False,
        max_length=200,
        label=_("user or key"),
        help_text=_("A user name, or the name or the beginning of a key: its policy and its models are in force."),
    )
    model = forms.CharField(
        required=False, max_length=200, label=_("requested model"), help_text=_("Empty: as in the body, or none.")
    )
    kind = forms.ChoiceField(
        required=False,
        label=_("kind"),
        choices=[("", _("as recognised")), *(pair for pair in RequestKind.choices if pair[0] != RequestKind.COUNT)],
    )
    session_scene = forms.ModelChoiceField(
        Scene.objects.filter(is_enabled=True),
        required=False,
        label=_("scene of the session"),
        empty_label=_("a new session"),
    )
    effort = forms.ChoiceField(
        required=False, label=_("thinking effort"), choices=[("", _("as in the body, or none")), *Effort.choices]
    )
    prompt_tokens = forms.IntegerField(
        required=False, min_value=1, max_value=100_000_000, label=_("prompt tokens"), help_text=_("Empty: estimated.")
    )
    plan_mode = forms.BooleanField(required=False, label=_("plan mode"))
    has_image = forms.BooleanField(required=False, label=_("has an image"))
    has_pdf = forms.BooleanField(required=False, label=_("has a PDF file"))
    has_tools = forms.BooleanField(required=False, label=_("has tools"))

    def __init__(self, *args: Any, user: User | AnonymousUser, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.user = user
        # Who may not see people and keys learns nothing of them here.
        if not user.has_perms(["accounts.view_user", "accounts.view_apikey"]):
            del self.fields["caller"]

    def clean_caller(self) -> Asking:
        """Return who asks. Raises `ValidationError` where nobody, or more than one, is meant."""
        name = self.cleaned_data["caller"].strip()
        if not name:
            return Asking()
        owner, slash, key_name = name.partition("/")
        wanted = Q(name=name) | Q(prefix=name[: ApiKey._meta.get_field("prefix").max_length])
        if slash:
            wanted |= Q(user__username=owner, name=key_name)
        keys = list(visible(ApiKey.objects.filter(wanted), self.user).select_related("user__team")[:2])
        user = visible(User.objects.filter(username=name), self.user).select_related("team").first()
        if len(keys) + (user is not None) > 1:
            raise ValidationError(_("Several are called that. Write user/key, or the beginning of the key."))
        if keys:
            return Asking((keys[0].policy_id, *_policies_of(keys[0].user)), tuple(keys[0].allowed_models))
        if user is None:
            raise ValidationError(_("No user and no key is called that."))
        return Asking(_policies_of(user))

    def clean(self) -> dict[str, Any] | None:
        """Read the prompt or body into the facts of a request."""
        cleaned = super().clean() or {}
        if cleaned.get("policy") and cleaned.get("caller") and cleaned["caller"] != Asking():
            self.add_error("policy", _("Choose a policy, or write a user or key."))
        if self.errors:
            return cleaned
        try:
            body = self._body(cleaned)
            facts = facts_of_body(body, {})
        except (InvalidRequest, RecursionError) as error:
            self.add_error("text", str(error))
            return cleaned
        cleaned["facts"] = self._with_choices(facts, cleaned)
        cleaned["left_out"] = left_out(body, facts.text)
        return cleaned

    def tried(self) -> Tried:
        """Return the request of this form, which is valid."""
        cleaned, scene = self.cleaned_data, self.cleaned_data.get("session_scene")
        asking = cleaned.get("caller") or Asking()
        if policy := cleaned.get("policy"):
            asking = Asking((policy.pk,))
        return Tried(cleaned["facts"], cleaned["left_out"], asking, scene.name if scene else "")

    def _body(self, cleaned: dict[str, Any]) -> dict[str, Any]:
        text: str = cleaned["text"]
        document: Any = None
        if text.lstrip().startswith("{"):
            try:
                document = wire_json.decode(text.encode("utf-8", "replace"))
            except ValueError:
                document = None  # a prompt may well begin like that
        if not isinstance(document, dict) or "messages" not in document:
            document = {"messages": [{"role": "user", "content": text.replace("\r\n", "\n")}]}
        model = cleaned.get("model") or document.get("model") or _NO_MODEL
        return validate({**document, "model": model}, require_max_tokens=False)

    def _with_choices(self, facts: Facts, cleaned: dict[str, Any]) -> Facts:
        """Return the facts with what the form says beside the prompt."""
        image, tools = cleaned.get("has_image"), cleaned.get("has_tools")
        needs = facts.needs | {name for name, is_set in (("vision", image), ("tools", tools)) if is_set}
        return replace(
            facts,
            requested_model="" if facts.requested_model == _NO_MODEL else facts.requested_model,
            kind=cleaned.get("kind") or facts.kind,
            effort=cleaned.get("effort") or facts.effort,
            prompt_tokens=cleaned.get("prompt_tokens") or facts.prompt_tokens,
            plan_mode=bool(cleaned.get("plan_mode")) or facts.plan_mode,
            has_image=bool(image) or facts.has_image,
            has_pdf=bool(cleaned.get("has_pdf")) or facts.has_pdf,
            has_tools=bool(tools) or facts.has_tools,
            needs=frozenset(needs),
        )


def _policies_of(user: User) -> tuple[int | None, ...]:
    return (user.policy_id, user.team.policy_id if user.team else None)
