"""The temporary raises on the page of a quota."""

from datetime import datetime
from typing import TYPE_CHECKING, Any

from django import forms
from django.core.exceptions import ValidationError
from django.http import HttpRequest
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from accounts.models import QuotaRaise
from gateway.admin_base import TabularInline

if TYPE_CHECKING:
    _ModelForm = forms.ModelForm[QuotaRaise]
else:
    _ModelForm = forms.ModelForm


class RaiseForm(_ModelForm):
    """A raise that is granted, or changed while it lasts. One of the past stays as it was."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["starts_at"].required = False
        self.fields["starts_at"].help_text = _("Empty: now.")
        if self.instance.pk is not None:
            self.initial["amount"] = f"{self.instance.amount.normalize():f}"
        self._is_past = self.instance.pk is not None and self.instance.ends_at <= timezone.now()
        if self._is_past:
            for field in self.fields.values():
                field.disabled = True

    def clean_starts_at(self) -> datetime:
        """Return the begin; now where none was entered."""
        return self.cleaned_data["starts_at"] or timezone.now()

    def clean_amount(self) -> Any:
        """Return the amount. Raises `ValidationError` unless it raises anything."""
        amount = self.cleaned_data["amount"]
        if amount <= 0:
            raise ValidationError(_("A raise is more than 0."))
        return amount

    def clean(self) -> dict[str, Any] | None:
        """Check that the raise ends after its begin, and not before now."""
        cleaned = super().clean()
        starts_at, ends_at = self.cleaned_data.get("starts_at"), self.cleaned_data.get("ends_at")
        if ends_at is not None and not self._is_past:
            if ends_at <= timezone.now():
                self.add_error("ends_at", _("The end is in the past."))
            elif starts_at is not None and ends_at <= starts_at:
                self.add_error("ends_at", _("The end is not after the begin."))
        return cleaned


class RaiseInline(TabularInline):
    """The temporary raises of a quota."""

    model = QuotaRaise
    form = RaiseForm
    fields = ("amount", "starts_at", "ends_at", "reason", "granted_by")
    readonly_fields = ("granted_by",)
    can_delete = False

    def get_queryset(self, request: HttpRequest) -> Any:
        """Return the raises with who granted them."""
        return super().get_queryset(request).select_related("granted_by")
