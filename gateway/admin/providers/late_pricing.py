"""The action that prices the calls of models which were booked without a cost."""

from typing import Any
from zoneinfo import ZoneInfo

from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.translation import gettext_lazy as _
from django.utils.translation import ngettext

from accounts.late_prices import price_calls
from accounts.models import User
from providers.models import Model
from providers.targets import price_history
from routing.models import RuntimeSettings


@admin.action(permissions=["price"], description=_("Price the calls that have no cost"))
def price_unpriced_calls(model_admin: Any, request: HttpRequest, queryset: QuerySet[Model]) -> None:
    """Price the calls of each model at the price that was in force when they began, and report each."""
    zone = ZoneInfo(RuntimeSettings.load().business_time_zone)
    for model in queryset.select_related("provider"):
        try:
            price_at = price_history(model.provider.name, model.model_id, zone)
        except LookupError:  # a kind of platform that this version does not know
            continue
        user = request.user if isinstance(request.user, User) else None
        by = request.user.get_username()
        summary = price_calls(model.provider.name, model.model_id, price_at, by=by, user=user)
        text = ngettext(
            "The model %(model)s: %(count)d call priced, %(costs)s.",
            "The model %(model)s: %(count)d calls priced, %(costs)s.",
            summary.priced,
        )
        values = {"model": model, "count": summary.priced, "costs": summary.in_words()}
        model_admin.message_user(request, text % values, messages.SUCCESS)
        if summary.corrected:
            text = ngettext(
                "The model %(model)s: the price of %(count)d call of a closed month is a correction of the open one, "
                "%(costs)s.",
                "The model %(model)s: the prices of %(count)d calls of closed months are corrections of the open one, "
                "%(costs)s.",
                summary.corrected,
            )
            values = {"model": model, "count": summary.corrected, "costs": summary.corrected_in_words()}
            model_admin.message_user(request, text % values, messages.SUCCESS)
        if summary.unknown:
            text = ngettext(
                "The model %(model)s: %(count)d call stays without a cost; no price was in force when it began.",
                "The model %(model)s: %(count)d calls stay without a cost; no price was in force when they began.",
                summary.unknown,
            )
            model_admin.message_user(request, text % {"model": model, "count": summary.unknown}, messages.WARNING)
        if summary.priced:
            model_admin.log_rows(request, [model], f"Priced {summary.priced} calls: {summary.in_words()}.")
