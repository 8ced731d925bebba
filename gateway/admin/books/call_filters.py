"""What calls and their attempts are filtered by."""

from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.translation import gettext_lazy as _

from accounts.late_prices import UNPRICED
from accounts.models import CallRecord
from gateway.admin.books.decisions import INNER_KINDS, kind_label
from gateway.admin_base import NameFilter
from providers.models import Provider
from routing.models import Policy, RequestKind, Scene


class ProviderFilter(NameFilter):
    """By the provider that answered."""

    title = _("provider")
    parameter_name = "provider_name"
    source = Provider


class SceneFilter(NameFilter):
    """By the scene."""

    title = _("scene")
    parameter_name = "scene_name"
    source = Scene


class PolicyFilter(NameFilter):
    """By the policy that was in force."""

    title = _("policy")
    parameter_name = "policy_name"
    source = Policy


class CostFilter(admin.SimpleListFilter):
    """By where the cost is from."""

    title = _("cost")
    parameter_name = "cost"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, Any]]:
        """Return what a cost can rest on."""
        return [("unpriced", _("unpriced")), *CallRecord.CostSource.choices]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        """Return the calls with such a cost; unpriced are those that used tokens of unknown price."""
        value = self.value()
        if value == "unpriced":
            return queryset.filter(UNPRICED)
        return queryset.filter(cost_source=value) if value in CallRecord.CostSource.values else queryset


class KindFilter(admin.SimpleListFilter):
    """By what the requests are for."""

    title = _("kind")
    parameter_name = "kind"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        """Return the kinds of clients' calls, and those of the gateway's own."""
        kinds = [kind for kind in RequestKind.values if kind != RequestKind.COUNT]
        return [(kind, kind_label(kind)) for kind in (*kinds, *INNER_KINDS)]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        """Return the calls of the chosen kind; the address may name several."""
        value = self.value()
        return queryset if value is None else queryset.filter(kind__in=value.split(","))
