"""The self-test as the admin and the command use it: which models, and what is stored of its findings."""

from collections.abc import Sequence

from django.db.models import Count
from django.utils import timezone

from providers.models import Model, Provider
from providers.selftest import Card, Options, found_values, run_selftest, was_tried

# Of a provider whose models were not chosen one by one.
MODELS_PER_PROVIDER = 3


def models_to_test(provider: Provider, limit: int | None = MODELS_PER_PROVIDER) -> list[Model]:
    """Return the provider's enabled models, at most `limit`: those that routes lead to first."""
    listed = provider.models.filter(is_enabled=True, missing_since__isnull=True).select_related("provider")
    return list(listed.annotate(_route_count=Count("route_entries")).order_by("-_route_count", "model_id")[:limit])


def check_and_store(models: Sequence[Model], options: Options | None = None) -> list[Card]:
    """Test each of `models`, store and return their cards. Takes minutes where a platform is slow.

    A card for which there was no time replaces no other. The configuration's version does not move: routing reads
    nothing of this.
    """
    cards = run_selftest(models, options)
    for model, card in zip(models, cards, strict=True):
        if not was_tried(card):
            continue
        model.compatibility, model.compatibility_checked_at = card, timezone.now()
        Model.objects.filter(pk=model.pk).update(
            compatibility=card, compatibility_checked_at=model.compatibility_checked_at
        )
    return cards


def write_found(model: Model) -> list[str]:
    """Write what the model's card found into its row, and return the fields that changed.

    A refresh of the list must not undo it, so the row counts as entered by hand from then on. `save` raises the
    configuration's version.
    """
    values = found_values(model)
    if not values:
        return []
    for name, value in values.items():
        setattr(model, name, value)
    model.is_manual = True
    model.save(update_fields=[*values, "is_manual", "updated_at"])
    return list(values)
