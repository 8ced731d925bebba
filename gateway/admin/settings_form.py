"""The form of the settings: the search secret goes in and never comes out."""

from typing import TYPE_CHECKING, Any

from django import forms
from django.core.exceptions import ValidationError
from django.utils.text import capfirst
from django.utils.translation import gettext_lazy as _

from routing.models import RuntimeSettings

if TYPE_CHECKING:
    _SettingsModelForm = forms.ModelForm[RuntimeSettings]
else:
    _SettingsModelForm = forms.ModelForm


class RuntimeSettingsForm(_SettingsModelForm):
    """The settings, with a write-only field for the secret of the search backend."""

    search_secret = forms.CharField(
        label=capfirst(_("search secret")),
        required=False,
        # Never rendered back, not even after an error in another field.
        widget=forms.PasswordInput(render_value=False, attrs={"autocomplete": "new-password", "size": 40}),
        help_text=_("Stored encrypted and never shown again. Empty: unchanged."),
    )
    removes_search_secret = forms.BooleanField(label=capfirst(_("remove the stored search secret")), required=False)

    def clean_search_secret(self) -> str:
        """Return the secret. Raises `ValidationError` for one that no HTTP header can carry."""
        secret: str = self.cleaned_data["search_secret"]
        if not (secret.isascii() and secret.isprintable()) or " " in secret:
            raise ValidationError(_("A secret is made of visible ASCII characters without spaces."))
        return secret

    def clean(self) -> dict[str, Any]:
        """Refuse to enter a secret and remove it at once."""
        cleaned: dict[str, Any] = super().clean() or self.cleaned_data
        if cleaned.get("search_secret") and cleaned.get("removes_search_secret"):
            self.add_error("removes_search_secret", _("Either enter a secret or remove the stored one."))
        return cleaned

    def save(self, commit: bool = True) -> RuntimeSettings:
        """Encrypt the secret into the row if one was entered, or remove it."""
        if self.cleaned_data["search_secret"] or self.cleaned_data["removes_search_secret"]:
            self.instance.set_search_secret(self.cleaned_data["search_secret"])
        return super().save(commit)
