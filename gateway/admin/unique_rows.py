"""Tables of dependent rows of which no two may say the same."""

from typing import TYPE_CHECKING, Any

from django import forms
from django.core.exceptions import ValidationError
from django.utils.translation import gettext_lazy as _

from providers.row import unique_columns

if TYPE_CHECKING:
    _InlineFormSet = forms.BaseInlineFormSet[Any, Any, Any]
else:
    _InlineFormSet = forms.BaseInlineFormSet


class UniqueRowsFormSet(_InlineFormSet):
    """Checks the rows of one form against each other; each is checked against the database by its model."""

    def clean(self) -> None:
        """Put an error at the second of two rows that a constraint of the model lets only one be of."""
        super().clean()
        options = self.form._meta.model._meta
        for constraint in options.constraints:
            own = [name for name in unique_columns(constraint) if name != self.fk.name]
            if own and self.fk.name in unique_columns(constraint):
                self._check(own, [options.get_field(name).attname for name in own])

    def _check(self, names: list[str], attributes: list[str]) -> None:
        met: set[tuple[Any, ...]] = set()
        for form in self.forms:
            data = getattr(form, "cleaned_data", {})
            if (not form.has_changed() and not form.instance.pk) or data.get("DELETE") or names[-1] in form.errors:
                continue
            values = tuple(getattr(form.instance, attribute) for attribute in attributes)
            if values in met and names[-1] in form.fields:
                form.add_error(names[-1], ValidationError(_("This is in the list already.")))
            met.add(values)
