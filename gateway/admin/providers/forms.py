"""The forms of platforms and their credentials."""

from typing import TYPE_CHECKING, Any

from django import forms
from django.core.exceptions import ValidationError
from django.utils.text import capfirst
from django.utils.translation import gettext_lazy as _

from gateway.admin_base import SecretField
from providers.models import Credential, Provider
from providers.presets import PRESETS, wire_format_of
from routing.models import Policy

if TYPE_CHECKING:
    _CredentialModelForm = forms.ModelForm[Credential]
    _ProviderModelForm = forms.ModelForm[Provider]
else:
    _CredentialModelForm = _ProviderModelForm = forms.ModelForm


class ProviderForm(_ProviderModelForm):
    """A platform, which policies that pass calls through may depend on."""

    def clean(self) -> dict[str, Any] | None:
        """Raise `ValidationError` for a wire format that a policy in use cannot pass calls through to."""
        cleaned = super().clean()
        values = self.cleaned_data
        if self.instance.pk is None or values.get("kind") not in PRESETS or "wire_format" not in values:
            return cleaned
        changed = Provider(kind=values["kind"], wire_format=values["wire_format"])
        if wire_format_of(changed) != "anthropic":
            policies = Policy.objects.filter(
                mode=Policy.Mode.PASSTHROUGH, route__entries__model__provider=self.instance
            ).distinct()
            if names := ", ".join(policies.values_list("name", flat=True)):
                self.add_error(
                    "wire_format",
                    ValidationError(
                        _("These policies pass calls through to this provider in Anthropic Messages: %(names)s."),
                        params={"names": names},
                    ),
                )
        return cleaned


class CredentialForm(_CredentialModelForm):
    """A credential whose secret goes in and never comes out."""

    secret = SecretField(label=capfirst(_("secret")))

    class Meta:
        model = Credential
        fields = ("name", "secret", "position", "is_enabled")

    def clean_secret(self) -> str:
        """Return the secret. Raises `ValidationError` where a new credential has none."""
        secret: str = self.cleaned_data["secret"]
        if not secret and self.instance.pk is None:
            raise ValidationError(_("Enter the secret."))
        return secret

    def save(self, commit: bool = True) -> Credential:
        """Encrypt the secret into the row if one was entered."""
        if self.cleaned_data["secret"]:
            self.instance.set_secret(self.cleaned_data["secret"])
        return super().save(commit)
