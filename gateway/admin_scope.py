"""Whose rows the pages of the admin show, offer as choices and let be changed."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from django.contrib import admin, messages
from django.contrib.admin.utils import get_model_from_relation
from django.db import models
from django.http import HttpRequest
from django.utils.translation import ngettext

from accounts.models import UsageDaily
from accounts.roles import in_charge_of, scope, sees_everything, visible

if TYPE_CHECKING:
    from django.contrib.admin.options import BaseModelAdmin

    _BaseModelAdmin = BaseModelAdmin[Any]
    _ModelAdmin = admin.ModelAdmin[Any]
else:
    _BaseModelAdmin = object
    _ModelAdmin = object


def is_restricted(request: HttpRequest) -> bool:
    """Return whether rows are hidden from the reader, for being other people's."""
    return not sees_everything(request.user)


def names_in_scope(source: type[models.Model], column: str, request: HttpRequest) -> list[str]:
    """Return the names of the rows of `source`; who sees some teams only, those in the `column` of their usage."""
    if not is_restricted(request):
        return list(source._default_manager.order_by("name").values_list("name", flat=True))
    if column not in {field.name for field in UsageDaily._meta.fields}:
        return []
    used = visible(UsageDaily.objects.exclude(**{column: ""}), request.user)
    return list(used.order_by(column).values_list(column, flat=True).distinct())


def permitted_fields(request: HttpRequest, fieldsets: Any, needed: Mapping[str, Sequence[str]]) -> Any:
    """Return `fieldsets` without the fields whose permissions (`needed`: field -> permissions) the reader lacks."""
    hidden = {field for field, permissions in needed.items() if not request.user.has_perms(permissions)}
    parts = [
        (title, {**options, "fields": tuple(field for field in options["fields"] if field not in hidden)})
        for title, options in fieldsets
    ]
    return [part for part in parts if part[1]["fields"]]


class ScopedRows(_BaseModelAdmin):
    """Rows, and choices of forms, that the reader may see. For pages and for the tables on them."""

    def get_queryset(self, request: HttpRequest) -> models.QuerySet[Any]:
        """Return the rows that the reader may see."""
        return visible(super().get_queryset(request), request.user)

    def get_field_queryset(self, db: str | None, db_field: Any, request: HttpRequest) -> models.QuerySet[Any] | None:
        """Return the rows that a field may point to; None leaves it to the field."""
        rows: models.QuerySet[Any] | None = super().get_field_queryset(db, db_field, request)
        model = db_field.remote_field.model
        if scope(model, request.user) is None:
            return rows
        return visible(model._default_manager.using(db) if rows is None else rows, request.user)


class ScopedPage(ScopedRows, _ModelAdmin):
    """A page that refuses the rows of others, whichever way they were named to it."""

    def changeable(self, request: HttpRequest, rows: models.QuerySet[Any] | None = None) -> models.QuerySet[Any]:
        """Return those of `rows` (all that are visible) that the reader may change, given the permission to change any.

        The reader's own are not among them for being that only.
        """
        return in_charge_of(self.get_queryset(request) if rows is None else rows, request.user)

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Return whether the reader may see rows, and `obj` is one of those to be seen."""
        return super().has_view_permission(request, obj) and self._reaches(request, obj, "view")

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Return whether the reader may change rows, and `obj` is one of those to be changed."""
        return super().has_change_permission(request, obj) and self._reaches(request, obj, "change")

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Return whether the reader may delete rows, and `obj` is one of those to be changed."""
        return super().has_delete_permission(request, obj) and self._reaches(request, obj, "change")

    def _reaches(self, request: HttpRequest, obj: Any, action: str) -> bool:
        if obj is None or obj.pk is None or not is_restricted(request):
            return True
        # A page asks many times.
        known: dict[Any, bool] = vars(request).setdefault("_rows_reached", {})
        key = (self.model, obj.pk, action)
        if key not in known:
            rows = self.model._default_manager.all()
            reached = visible(rows, request.user) if action == "view" else self.changeable(request, rows)
            known[key] = reached.filter(pk=obj.pk).exists()
        return known[key]

    def response_action(self, request: HttpRequest, queryset: models.QuerySet[Any], *args: Any) -> Any:
        """Do what was chosen to those of the selected rows that the reader may change, and say how many were not."""
        selected = request.POST.getlist("_selected_action")
        allowed = self.changeable(request, queryset)
        if (
            selected
            and allowed is not queryset
            and (left := queryset.filter(pk__in=selected).count() - allowed.filter(pk__in=selected).count())
        ):
            text = ngettext(
                "%(count)d row was left alone: you may not change it.",
                "%(count)d rows were left alone: you may not change them.",
                left,
            )
            self.message_user(request, text % {"count": left}, messages.WARNING)
        return super().response_action(request, allowed, *args)


class ScopedRelatedFilter(admin.RelatedFieldListFilter):
    """A filter of a list by what its rows point to: it names nothing that the reader may not see.

    Nobody chooses from a thousand names beside a list. Of more than `most` rows it offers the chosen one only, to be
    seen and taken away; the others are found by the search.
    """

    most = 100

    def field_choices(self, field: Any, request: HttpRequest, model_admin: Any) -> Any:
        """Return the rows to choose from."""
        model = get_model_from_relation(field)
        if not request.user.has_perm(f"{model._meta.app_label}.view_{model._meta.model_name}"):
            return []
        rows = visible(model._default_manager.complex_filter(field.get_limit_choices_to()), request.user)
        ordering = self.field_admin_ordering(field, request, model_admin)
        found = list(rows.order_by(*ordering)[: self.most + 1] if ordering else rows[: self.most + 1])
        if len(found) > self.most:
            chosen = [one for one in self.lookup_val or () if one.isascii() and one.isdigit() and len(one) < 19]
            found = list(rows.filter(pk__in=chosen)) if chosen else []
        return [(row.pk, str(row)) for row in found]

    def has_output(self) -> bool:
        """Return whether there is something to choose, or to take away."""
        return super().has_output() or bool(self.lookup_val and self.lookup_choices)


admin.FieldListFilter.register(lambda field: bool(field.remote_field), ScopedRelatedFilter, take_priority=True)
