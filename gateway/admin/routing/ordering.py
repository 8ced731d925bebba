"""Rows in an order of their own, which is changed by dragging them, or by numbers where no script runs."""

from typing import TYPE_CHECKING, Any

from django import forms
from django.db import models
from django.http import HttpRequest
from django.utils.translation import gettext_lazy as _

from gateway.admin.unique_rows import UniqueRowsFormSet

if TYPE_CHECKING:
    from gateway.admin_base import ModelAdmin, TabularInline

    class _Page(ModelAdmin, TabularInline): ...
else:
    _Page = object


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


class OrderedFormSet(UniqueRowsFormSet):
    """Puts added rows at the end, unless a position is given."""

    def add_fields(self, form: Any, index: int | None) -> None:
        """Let the position of a row that is added be empty."""
        super().add_fields(form, index)
        if not form.instance.pk and "position" in form.fields:
            form.initial["position"] = None
            form.fields["position"].required = False

    def save_new(self, form: Any, commit: bool = True) -> Any:
        """Save the row of `form`, which is new."""
        if form.instance.position is None:
            form.instance.position = self._end()
        return super().save_new(form, commit)

    def _end(self) -> int:
        added = [form for form in self.extra_forms if form.has_changed()]
        rows = [form.instance for form in [*self.initial_forms, *added]]
        return max((row.position for row in rows if row.position is not None), default=-1) + 1
