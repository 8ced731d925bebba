"""What every page of the admin stands on. The only file that may import the admin's theme."""

import functools
import json
import zoneinfo
from collections.abc import Callable
from datetime import datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from django import forms
from django.contrib import admin, messages
from django.contrib.admin.models import CHANGE, LogEntry
from django.core.exceptions import ValidationError
from django.core.paginator import Paginator
from django.db import models, transaction
from django.http import HttpRequest
from django.urls import reverse
from django.utils.functional import cached_property
from django.utils.html import format_html, format_html_join
from django.utils.http import urlencode
from django.utils.safestring import SafeString
from django.utils.timezone import localtime
from django.utils.translation import gettext, ngettext
from django.utils.translation import gettext_lazy as _

from accounts import audit
from gateway.admin_scope import ScopedPage, ScopedRows, names_in_scope
from gateway.audited_pages import AuditedPages
from providers.config_version import bump

if TYPE_CHECKING:
    # Generic in the stubs, not at run time.
    _DjangoStackedInline = admin.StackedInline[Any, Any]
    _DjangoTabularInline = admin.TabularInline[Any, Any]
    _DjangoPaginator = Paginator[Any]
else:
    _DjangoStackedInline = admin.StackedInline
    _DjangoTabularInline = admin.TabularInline
    _DjangoPaginator = Paginator


class JSONField(forms.JSONField):
    """A JSON text area that gives the column's default when it is emptied and refuses another JSON type.

    Without it an emptied field would store NULL in a column that forbids it, and a list where an object is expected
    would only fail when a call reads it.
    """

    def __init__(self, *, default: Callable[[], Any] | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.default = default

    def clean(self, value: Any) -> Any:
        cleaned = super().clean(value)
        if cleaned is None:
            return self.default() if self.default is not None else None
        if self.default is not None and not isinstance(cleaned, type(self.default())):
            if self.default is list:
                raise ValidationError(_("Enter a JSON list, e.g. []."))
            raise ValidationError(_("Enter a JSON object, e.g. {}."))
        return cleaned

    def prepare_value(self, value: Any) -> Any:
        if value is None:
            # Django would write null; our help texts say what an empty field means.
            return ""
        if isinstance(value, dict | list):
            return json.dumps(value, ensure_ascii=False, indent=2)
        return super().prepare_value(value)


@functools.cache
def _time_zones() -> list[str]:
    return sorted(name for name in zoneinfo.available_timezones() if "/" in name and not name.startswith("Etc/"))


class SecretField(forms.CharField):
    """A secret that goes in and never comes out, and that an HTTP header can carry. Optional: empty changes nothing."""

    def __init__(self, **kwargs: Any) -> None:
        # Never rendered back, not even after an error in another field.
        widget = forms.PasswordInput(render_value=False, attrs={"autocomplete": "new-password", "size": 40})
        help_text = _("Stored encrypted and never shown again. Empty: unchanged.")
        super().__init__(required=False, widget=widget, help_text=help_text, **kwargs)

    def validate(self, value: str) -> None:
        """Raise `ValidationError` for a secret that no HTTP header can carry."""
        super().validate(value)
        if not (value.isascii() and value.isprintable()) or " " in value:
            raise ValidationError(_("A secret is made of visible ASCII characters without spaces."))


class TimeZoneField(forms.ChoiceField):
    """A choice of the time zones of the world; `empty` says what no choice means."""

    def __init__(self, *, empty: Any = None, **kwargs: Any) -> None:
        super().__init__(choices=self._choices_with, **kwargs)
        self.empty = empty

    def _choices_with(self) -> list[tuple[str, Any]]:
        zones = ["UTC", *_time_zones()]
        return [*([("", self.empty)] if self.empty else []), *((name, name) for name in zones)]

    def valid_value(self, value: Any) -> bool:
        """Return whether `value` is a time zone; the old names that are not offered count too."""
        return value in zoneinfo.available_timezones()


def _form_field(db_field: "models.Field[Any, Any]", kwargs: dict[str, Any]) -> dict[str, Any]:
    if isinstance(db_field, models.JSONField):
        default = db_field.default if callable(db_field.default) and not db_field.null else None
        return {"form_class": JSONField, "default": default, "widget": forms.Textarea(attrs={"rows": 4}), **kwargs}
    if isinstance(db_field, models.URLField):
        # An address typed without a scheme is most likely one of the local network.
        return {"assume_scheme": "http", **kwargs}
    return kwargs


class ModelAdmin(ScopedPage, AuditedPages):
    """The base of all our pages."""

    list_per_page = 100
    save_on_top = False

    def formfield_for_dbfield(
        self, db_field: "models.Field[Any, Any]", request: HttpRequest, **kwargs: Any
    ) -> forms.Field | None:
        field = super().formfield_for_dbfield(db_field, request, **_form_field(db_field, kwargs))
        if isinstance(field, JSONField) and isinstance(db_field, models.JSONField) and db_field.default is list:
            field.initial = []
        return field

    def update_rows(self, request: HttpRequest, queryset: models.QuerySet[Any], log: str, **values: Any) -> int:
        """Set `values` on the rows, write the logs with the text `log`, return how many rows there were.

        Raises the config version, because an update sends no signal.
        """
        with transaction.atomic():
            rows = audit.update(queryset, log, **values)
            bump()
            self.log_rows(request, rows, log)
        return len(rows)

    def log_rows(self, request: HttpRequest, rows: list[Any], log: str) -> None:
        """Write one line of the admin's log for each of `rows`. The audit log is another one (accounts/audit.py)."""
        LogEntry.objects.log_actions(
            user_id=str(request.user.pk),
            queryset=rows,
            action_flag=CHANGE,
            change_message=log,
        )


class SwitchableAdmin(ModelAdmin):
    """Rows that an administrator switches on and off."""

    actions = ["enable", "disable"]

    @admin.action(permissions=["change"], description=_("Enable the selected %(verbose_name_plural)s"))
    def enable(self, request: HttpRequest, queryset: models.QuerySet[Any]) -> None:
        """Switch the rows on."""
        count = self.update_rows(request, queryset, "Enabled.", is_enabled=True)
        self.message_user(
            request, ngettext("%(count)d row enabled.", "%(count)d rows enabled.", count) % {"count": count}
        )

    @admin.action(permissions=["change"], description=_("Disable the selected %(verbose_name_plural)s"))
    def disable(self, request: HttpRequest, queryset: models.QuerySet[Any]) -> None:
        """Switch the rows off."""
        count = self.update_rows(request, queryset, "Disabled.", is_enabled=False)
        self.message_user(
            request, ngettext("%(count)d row disabled.", "%(count)d rows disabled.", count) % {"count": count}
        )


class PermanentAdmin(ModelAdmin):
    """People, teams, keys and quotas: the books name them, so they are deactivated, never deleted."""

    actions = ["activate", "deactivate"]

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Return False: nobody may."""
        return False

    @admin.action(permissions=["change"], description=_("Activate the selected %(verbose_name_plural)s"))
    def activate(self, request: HttpRequest, queryset: models.QuerySet[Any]) -> None:
        """Make the rows active."""
        count = self.update_rows(request, queryset, "Activated.", is_active=True)
        self.message_user(
            request, ngettext("%(count)d row activated.", "%(count)d rows activated.", count) % {"count": count}
        )

    @admin.action(permissions=["change"], description=_("Deactivate the selected %(verbose_name_plural)s"))
    def deactivate(self, request: HttpRequest, queryset: models.QuerySet[Any]) -> None:
        """Make the rows inactive."""
        count = self.update_rows(request, queryset, "Deactivated.", is_active=False)
        self.message_user(
            request, ngettext("%(count)d row deactivated.", "%(count)d rows deactivated.", count) % {"count": count}
        )


class CappedPaginator(_DjangoPaginator):
    """Count at most `cap` rows.

    COUNT(*) reads a whole ledger (255 ms for 4 million rows on PostgreSQL); with a bound it stops after `cap`. Rows
    beyond it are reached by the filters and the search.
    """

    cap = 10_000

    @cached_property
    def _bounded_count(self) -> int:
        # Sliced, the count is of a subquery with LIMIT.
        rows: Any = self.object_list[: self.cap + 1]
        return int(rows.count()) if isinstance(rows, models.QuerySet) else len(rows)

    @cached_property
    def count(self) -> int:
        """Return the number of rows, `cap` if there are more."""
        return min(self._bounded_count, self.cap)

    @property
    def is_capped(self) -> bool:
        """Return whether there are more rows than were counted."""
        return self._bounded_count > self.cap


class LedgerAdmin(ModelAdmin):
    """A large table that only the gateway writes: to be read and searched, by date first."""

    paginator = CappedPaginator
    show_full_result_count = False
    # Facets count the rows of every choice of every filter.
    show_facets = admin.ShowFacets.NEVER
    # "Show all" would load up to `cap` rows into one page.
    list_max_show_all = 0
    change_list_template = "admin/ledger_change_list.html"
    actions = None

    def has_add_permission(self, request: HttpRequest) -> bool:
        """Return False: the gateway writes the books."""
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Return False: corrections are new rows."""
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Return False: history stays."""
        return False


class TabularInline(ScopedRows, _DjangoTabularInline):
    """The base of the tables of dependent rows on a page."""

    extra = 0

    def formfield_for_dbfield(
        self, db_field: "models.Field[Any, Any]", request: HttpRequest, **kwargs: Any
    ) -> forms.Field | None:
        return super().formfield_for_dbfield(db_field, request, **_form_field(db_field, kwargs))


class StackedInline(ScopedRows, _DjangoStackedInline):
    """The base of dependent rows with more fields than a table has room for."""

    extra = 0

    def formfield_for_dbfield(
        self, db_field: "models.Field[Any, Any]", request: HttpRequest, **kwargs: Any
    ) -> forms.Field | None:
        return super().formfield_for_dbfield(db_field, request, **_form_field(db_field, kwargs))


class ReadOnlyInline(TabularInline):
    """Dependent rows of a ledger row."""

    can_delete = False

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Return False: the gateway writes the books."""
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Return False: corrections are new rows."""
        return False


class NameFilter(admin.SimpleListFilter):
    """Filter a column that holds a name by the names of today's rows of `source`.

    The stock filter would run SELECT DISTINCT over the whole ledger to find its choices.
    """

    source: type[models.Model]

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        """Return the names of the rows of `source`; who sees some teams only, those that their calls went to."""
        names = names_in_scope(self.source, str(self.parameter_name), request)
        return [(name, name) for name in names]

    def queryset(self, request: HttpRequest, queryset: models.QuerySet[Any]) -> models.QuerySet[Any]:
        """Return the rows whose column holds the chosen name."""
        value = self.value()
        return queryset.filter(**{str(self.parameter_name): value}) if value else queryset


def list_link(model: type[models.Model], text: Any, **filters: Any) -> SafeString:
    """Return a link with the text `text` to the list of `model`, filtered by `filters`."""
    opts = model._meta
    url = reverse(f"admin:{opts.app_label}_{opts.model_name}_changelist")
    return format_html('<a href="{}?{}">{}</a>', url, urlencode(filters), text)


def see_also(row: models.Model, *targets: tuple[type[models.Model], str, str]) -> SafeString | str:
    """Return links to the lists of `targets` (model, text, name of the filter), filtered by `row`."""
    if row.pk is None:
        return "-"
    return format_html_join(" · ", "{}", ((list_link(model, text, **{name: row.pk}),) for model, text, name in targets))


def row_url(row: models.Model) -> str:
    """Return the address of the page of `row`."""
    opts = row._meta
    return reverse(f"admin:{opts.app_label}_{opts.model_name}_change", args=(row.pk,))


def row_link(row: models.Model, text: Any = None) -> SafeString:
    """Return a link to the page of `row`."""
    return format_html('<a href="{}">{}</a>', row_url(row), row if text is None else text)


def exact_time(moment: datetime | None) -> SafeString | str:
    """Return `moment` to the second, unbroken; the admin's own format stops at the minute.

    The time zone is at the foot of every page.
    """
    if moment is None:
        return "-"
    return format_html('<span style="white-space: nowrap">{}</span>', f"{localtime(moment):%Y-%m-%d %H:%M:%S}")


def grouped(number: int | Decimal) -> str:
    """Return `number` in groups of three digits and without trailing zeros."""
    return f"{number:,}" if isinstance(number, int) else f"{number.normalize():,f}"


def readable(value: Any) -> SafeString | str:
    """Return `value` as a person reads it: exact times, grouped numbers, yes and no instead of green and red."""
    if isinstance(value, bool):
        return gettext("yes") if value else gettext("no")
    if isinstance(value, datetime):
        return exact_time(value)
    if isinstance(value, int | Decimal):
        return grouped(value)
    return "-" if value in (None, "") else str(value)


def column(model: type[models.Model], name: str) -> Any:
    """Return the field `name` of `model` for `list_display` and `fields`, shown by `readable`.

    It is a function of a row; django-stubs knows those in `list_display` only.
    """

    def show(row: Any) -> SafeString | str:
        return readable(getattr(row, name))

    # By this name Django finds the help text, and the pages' style sheet the cells.
    show.__name__ = name
    field: Any = model._meta.get_field(name)
    return admin.display(description=field.verbose_name, ordering=name)(show)


def pretty_json(value: Any) -> SafeString:
    """Return `value` as escaped, indented JSON in which Chinese stays readable."""
    return format_html("<pre>{}</pre>", json.dumps(value, ensure_ascii=False, indent=2, default=str))


def make_default(model_admin: ModelAdmin, request: HttpRequest, queryset: models.QuerySet[Any], **values: Any) -> None:
    """Make the one selected row the default instead of the one that was, also setting `values` on it."""
    rows = list(queryset)
    if len(rows) != 1:
        model_admin.message_user(request, _("Select exactly one row to be the default."), messages.ERROR)
        return
    manager = model_admin.model._default_manager
    with transaction.atomic():
        audit.update(manager.filter(is_default=True).exclude(pk=rows[0].pk), is_default=False)
        audit.update(manager.filter(pk=rows[0].pk), is_default=True, **values)
        bump()
        model_admin.log_rows(request, rows, "Made the default.")
    model_admin.message_user(request, _("%(row)s is the default.") % {"row": rows[0]})
