"""The form of the settings: the search secret goes in and never comes out."""

from typing import TYPE_CHECKING, Any

from django import forms
from django.utils.text import capfirst
from django.utils.translation import gettext_lazy as _

from accounts.addresses import clean_addresses
from gateway.admin_base import SecretField
from routing.models import RuntimeSettings

if TYPE_CHECKING:
    _SettingsModelForm = forms.ModelForm[RuntimeSettings]
else:
    _SettingsModelForm = forms.ModelForm


class RuntimeSettingsForm(_SettingsModelForm):
    """The settings, with a write-only field for the secret of the search backend."""

    search_secret = SecretField(label=capfirst(_("search secret")))
    removes_search_secret = forms.BooleanField(label=capfirst(_("remove the stored search secret")), required=False)

    def clean_monthly_export_recipients(self) -> str:
        """Return the addresses, one per line and each once."""
        return clean_addresses(self.cleaned_data["monthly_export_recipients"])

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
