"""Rows in an order of their own, which is changed by dragging them, or by numbers where no script runs."""

from typing import TYPE_CHECKING, Any

from django import forms
from django.db import models
from django.http import HttpRequest
from django.utils.translation import gettext_lazy as _

if TYPE_CHECKING:
    from gateway.admin_base import ModelAdmin, TabularInline

    class _Page(ModelAdmin, TabularInline): ...

    _InlineFormSet = forms.BaseInlineFormSet[Any, Any, Any]
else:
    _Page = object
    _InlineFormSet = forms.BaseInlineFormSet


class OrderedRows(_Page):
    """A list or an inline of rows with a column `position`."""

    class Media:
        js = ("gateway/ordering.js",)
        css = {"all": ("gateway/ordering.css",)}

    def formfield_for_dbfield(
        self, db_field: "models.Field[Any, Any]", request: HttpRequest, **kwargs: Any
    ) -> forms.Field | None:
        if db_field.name == "position":
            # Where the script puts its handle.
            title = _("Drag, or use the arrow keys, to change the order")
            kwargs["widget"] = forms.NumberInput(attrs={"data-sortable": title, "class": "vIntegerField"})
        return super().formfield_for_dbfield(db_field, request, **kwargs)


class OrderedFormSet(_InlineFormSet):
    """Puts added rows at the end, unless a position was given."""

    def save_new(self, form: Any, commit: bool = True) -> Any:
        """Save the row of `form`, which is new."""
        if "position" not in form.changed_data:
            form.instance.position = self._end()
        return super().save_new(form, commit)

    def _end(self) -> int:
        saved = set(self.deleted_forms)
        known = [form.instance for form in self.initial_forms if form not in saved] + self.new_objects
        typed = [
            form.cleaned_data["position"]
            for form in self.extra_forms
            if "position" in form.changed_data and form.cleaned_data.get("position") is not None
        ]
        return max([row.position for row in known] + typed, default=-1) + 1
