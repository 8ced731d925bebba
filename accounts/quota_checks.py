"""What is odd about a quota beside others: one of the same is there already, or another one is stricter anyway."""

from collections.abc import Iterable

from django.db.models import Q

from accounts.models import Quota, UsageDaily
from providers.models import Model, Price
from providers.presets import PRESETS, base_url_of
from providers.pricing import price_list_for

# From the shortest to the longest.
_WINDOWS = list(Quota.Window)


def overlapping(quota: Quota) -> Quota | None:
    """Return the quota that limits the same subject in the same unit and window, None if there is none.

    A currency tells only quotas on cost apart.
    """
    same = Quota.objects.filter(
        team=quota.team_id, user=quota.user_id, key=quota.key_id, unit=quota.unit, window=quota.window
    )
    if quota.unit == Quota.Unit.COST:
        same = same.filter(currency=quota.currency)
    return same.exclude(pk=quota.pk).select_related("team", "user", "key__user").order_by("-is_active", "pk").first()


def stricter(quota: Quota) -> list[Quota]:
    """Return the quotas in force that refuse calls before `quota` is reached, of the user and the team behind it.

    They allow less in the same window or in a longer one.
    """
    user = quota.key.user if quota.key is not None else quota.user
    if user is None or not quota.is_active:
        return []
    above = Q(team=user.team_id) if user.team_id is not None else Q(pk__in=[])
    if quota.key is not None:
        above |= Q(user=user.pk)
    longer = _WINDOWS[_WINDOWS.index(Quota.Window(quota.window)) :]
    rows = Quota.objects.filter(
        above, unit=quota.unit, window__in=longer, limit__lt=quota.limit, action=Quota.Action.BLOCK, is_active=True
    )
    if quota.unit == Quota.Unit.COST:
        rows = rows.filter(currency=quota.currency)
    return list(rows.select_related("team", "user", "key__user").order_by("pk"))


def is_unpriced(currency: str) -> bool:
    """Return whether no call counts for a quota in `currency`: no price is in it, and no call was booked in it."""
    if Price.objects.filter(currency=currency).exists() or UsageDaily.objects.filter(currency=currency).exists():
        return False
    return not any(_currency_of(model) == currency for model in _models_in_use())


def _models_in_use() -> Iterable[Model]:
    return Model.objects.filter(is_enabled=True, provider__is_enabled=True).select_related("provider")


def _currency_of(model: Model) -> str:
    """Return the currency of the price that a model has without an administrator's, "" if it has none."""
    provider = model.provider
    wire_format = provider.wire_format or PRESETS[provider.kind].wire_format
    price = price_list_for(provider.kind, base_url_of(provider.kind, provider.base_url, wire_format), model.model_id)
    return price.currency if price is not None else ""
