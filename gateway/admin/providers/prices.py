"""Prices: added on the page of their model or on one of their own, never changed."""

from functools import partial
from typing import Any

from django import forms
from django.contrib import admin
from django.db import models
from django.http import HttpRequest
from django.urls import path
from django.utils.safestring import SafeString
from django.utils.text import capfirst
from django.utils.translation import gettext_lazy as _

from gateway.admin.providers.price_catalogue import catalogue_view, tiers_text
from gateway.admin.providers.price_form import PriceForm
from gateway.admin_base import ModelAdmin, TabularInline, TimeZoneField, column, row_link
from providers.models import Price
from providers.price_rows import price_list_of

_PRICES = ("input", "output", "cache_read", "cache_write", "cache_write_1h")


def _tiers_cell(price: Price) -> str:
    """Return from which sizes of the input on other prices hold."""
    return tiers_text(price_list_of(price))


def _hours_cell(price: Price) -> str:
    """Return at what hours the price holds, "" for the whole day."""
    if price.time_from is None or price.time_until is None:
        return ""
    return f"{price.time_from:%H:%M}–{price.time_until:%H:%M} {price.time_zone}".strip()


# Functions of a row; django-stubs knows those in `list_display` only.
tiers_cell: Any = admin.display(description=_("tiers"))(_tiers_cell)
hours_cell: Any = admin.display(description=_("hours"))(_hours_cell)


class PriceInline(TabularInline):
    """The prices of a model. A new one is appended; those that calls were booked with stay as they are."""

    model = Price
    extra = 1
    can_delete = False
    fields = ("valid_from", "currency", *(f"{name}_per_million" for name in _PRICES), tiers_cell, hours_cell, "source")
    readonly_fields = (tiers_cell, hours_cell, "source")
    ordering = ("-valid_from",)
    # Five figures beside each other.
    formfield_overrides = {
        models.DecimalField: {"widget": forms.NumberInput(attrs={"style": "width: 7em", "step": "any"})},
        models.CharField: {"widget": forms.TextInput(attrs={"size": 4, "placeholder": "USD"})},
    }
    verbose_name_plural = _(
        "prices per million tokens (add a row to change the price; those with tiers or hours are added under Prices)"
    )

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Return False: history does not move."""
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Return False: history does not move."""
        return False


@admin.register(Price)
class PriceAdmin(ModelAdmin):
    """All prices; new ones with all that a price can have."""

    form = PriceForm
    list_display = (
        column(Price, "valid_from"),
        "model_link",
        "currency",
        *(column(Price, f"{name}_per_million") for name in _PRICES),
        tiers_cell,
        hours_cell,
        "source",
        "source_note",
    )
    list_filter = ("valid_from", "source", "currency", "model__provider")
    list_select_related = ("model__provider",)
    search_fields = ("model__model_id", "model__provider__name")
    ordering = ("-valid_from", "-pk")
    autocomplete_fields = ("model",)
    actions = None
    fieldsets = (
        (
            None,
            {
                "fields": ("model", "valid_from", "currency"),
                "description": _(
                    "A price is added, never changed. It holds for calls that start at or after its moment, until the "
                    "next one without hours; calls that are booked keep what they cost."
                ),
            },
        ),
        (_("Per million tokens"), {"fields": (tuple(f"{name}_per_million" for name in _PRICES), "tiers")}),
        (
            _("Hours of the day"),
            {
                "fields": (("time_from", "time_until"), "time_zone"),
                "description": _(
                    "A price with hours stands beside the one without, which holds for the rest of the day. Add the "
                    "one without hours first: a later one ends them all."
                ),
            },
        ),
        (_("Source"), {"fields": ("source_note",)}),
    )

    change_list_template = "admin/providers/price/change_list.html"

    def get_urls(self) -> list[Any]:
        """Add the price catalogue."""
        view = self.admin_site.admin_view(partial(catalogue_view, self.admin_site))
        return [path("catalogue/", view, name="providers_price_catalogue"), *super().get_urls()]

    def formfield_for_dbfield(
        self, db_field: "models.Field[Any, Any]", request: HttpRequest, **kwargs: Any
    ) -> forms.Field | None:
        if db_field.name == "time_zone":
            return TimeZoneField(
                label=capfirst(db_field.verbose_name), required=False, empty=_("the business time zone")
            )
        return super().formfield_for_dbfield(db_field, request, **kwargs)

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Return False: history does not move."""
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Return False: history does not move."""
        return False

    @admin.display(description=_("model"), ordering="model__model_id")
    def model_link(self, price: Price) -> SafeString:
        """Return a link to the page of the price's model."""
        return row_link(price.model)
