"""Form fields that go in and never come out, kept off the pages of those who may only look."""

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from django.contrib.admin.options import BaseModelAdmin
from django.http import HttpRequest

from gateway.admin_base import SecretField

if TYPE_CHECKING:
    _BaseModelAdmin = BaseModelAdmin[Any]
else:
    _BaseModelAdmin = BaseModelAdmin


class WriteOnly(_BaseModelAdmin):
    """A page whose form has secrets. Stands before the other bases.

    To one without the permission to change, the admin shows each field by the attribute of the row with its name, and
    calls it if it is a method: a row's `secret` decrypts.
    """

    def get_fieldsets(self, request: HttpRequest, obj: Any = None) -> Any:
        """Return the fieldsets, without secrets where they would not be form fields."""
        fieldsets = super().get_fieldsets(request, obj)
        if obj is None or self.has_change_permission(request, obj):
            return fieldsets
        fields = getattr(self.form, "declared_fields", {})
        secrets = {name for name, field in fields.items() if isinstance(field, SecretField)}
        return [
            (title, {**options, "fields": tuple(_without(options["fields"], secrets))}) for title, options in fieldsets
        ]


def _without(names: Iterable[Any], secrets: set[str]) -> Iterable[Any]:
    for name in names:
        if isinstance(name, list | tuple):
            yield tuple(_without(name, secrets))
        elif name not in secrets:
            yield name
