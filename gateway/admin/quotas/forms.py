"""The form of a quota."""

from decimal import Decimal
from typing import TYPE_CHECKING, Any

from django import forms
from django.core.exceptions import NON_FIELD_ERRORS, ValidationError
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from accounts.models import Quota
from accounts.models.quotas import measured as in_words
from accounts.quota_checks import overlapping
from gateway.admin_base import grouped

if TYPE_CHECKING:
    _ModelForm = forms.ModelForm[Quota]
else:
    _ModelForm = forms.ModelForm


def subject_text(quota: Quota) -> str:
    """Return the team, the person or the key that is limited."""
    if quota.team is not None:
        return gettext("team %(name)s") % {"name": quota.team}
    if quota.user is not None:
        return gettext("user %(name)s") % {"name": quota.user}
    return gettext("key %(name)s") % {"name": quota.key}


def measured(quota: Quota, amount: Decimal) -> str:
    """Return `amount` in the unit of `quota`."""
    return in_words(quota.unit, quota.currency, amount, grouped(amount))


class QuotaForm(_ModelForm):
    """A quota that is none twice. Of one that is there the subject, the unit and the window are no fields."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if self.instance.pk is not None and "limit" in self.fields:
            self.initial["limit"] = f"{self.instance.limit.normalize():f}"

    def clean_currency(self) -> str:
        """Return the code in capital letters. Raises `ValidationError` for what is none."""
        currency = str(self.cleaned_data["currency"]).upper()
        if self.cleaned_data.get("unit") != Quota.Unit.COST:
            # It means nothing there, and must not tell two quotas of the same apart.
            return str(Quota._meta.get_field("currency").default)
        if len(currency) != 3 or not (currency.isascii() and currency.isalpha()):
            raise ValidationError(_("Enter the code of a currency, such as USD or CNY."))
        return currency

    def _post_clean(self) -> None:
        super()._post_clean()  # type: ignore[misc]  # Django's own hook, which the stubs leave out
        quota = self.instance
        if quota.pk is not None:
            return
        if sum(pk is not None for pk in (quota.team_id, quota.user_id, quota.key_id)) != 1:
            # Whoever is wrong is named at the field; the constraint of the database says it again, by its name.
            if {"team", "user", "key"} & set(self.errors):
                self.errors.pop(NON_FIELD_ERRORS, None)
            elif NON_FIELD_ERRORS in self.errors:
                self.errors.pop(NON_FIELD_ERRORS)
                self.add_error(None, _("Choose one of team, user and key."))
            return
        if {"unit", "window", "currency"} & set(self.errors) or (other := overlapping(quota)) is None:
            return
        # What the constraint in the database says would only be its name.
        self.errors.pop(NON_FIELD_ERRORS, None)
        text = _("This quota is there already: %(quota)s. Change its limit, or grant a temporary raise.")
        if not other.is_active:
            text = _("This quota is there already, but not active: %(quota)s. Activate it and change its limit.")
        limit = f"{measured(other, other.limit)} / {other.get_window_display()}"
        self.add_error("window", ValidationError(text, params={"quota": f"{subject_text(other)}: {limit}"}))
