"""The two limits of a key by the minute: quotas like any other, set with the key."""

from collections.abc import Mapping, Sequence
from decimal import Decimal

from django.db import transaction

from accounts import audit
from accounts.models import ApiKey, Quota

UNITS = (Quota.Unit.REQUESTS, Quota.Unit.TOKENS)


def minute_limits(key: ApiKey) -> dict[str, Decimal]:
    """Return unit -> limit of the quotas by the minute that refuse calls of `key`; one that has none is absent."""
    rows = Quota.objects.filter(
        key=key, unit__in=UNITS, window=Quota.Window.MINUTE, action=Quota.Action.BLOCK, is_active=True
    )
    found: dict[str, Decimal] = {}
    for row in rows:
        found[row.unit] = min(row.limit, found.get(row.unit, row.limit))
    return found


def set_minute_limits(keys: Sequence[ApiKey], limits: Mapping[str, int | None]) -> None:
    """Let `limits` (unit -> limit, None: no limit) hold for each of `keys`. Units that are absent stay as they are.

    The rows are kept when a limit goes: the books name them.
    """
    with transaction.atomic():
        rows = Quota.objects.select_for_update(no_key=True).filter(
            key__in=keys, unit__in=list(limits), window=Quota.Window.MINUTE
        )
        stored: dict[tuple[int | None, str], list[Quota]] = {}
        for row in rows.order_by("pk"):
            stored.setdefault((row.key_id, row.unit), []).append(row)
        missing: list[Quota] = []
        for key in keys:
            for unit, limit in limits.items():
                first, *rest = stored.get((key.pk, unit), [None])
                # Rows that differ in a currency, which means nothing here, would limit the same twice.
                for row in (row for row in rest if row is not None):
                    _change(row, None)
                if first is not None:
                    _change(first, limit)
                elif limit is not None:
                    missing.append(Quota(key=key, unit=unit, window=Quota.Window.MINUTE, limit=Decimal(limit)))
        audit.created(Quota.objects.bulk_create(missing, batch_size=500))


def _change(row: Quota, limit: int | None) -> None:
    if limit is None:
        row.is_active = False
        row.save(update_fields=["is_active"])
    else:
        row.limit, row.action, row.is_active = Decimal(limit), Quota.Action.BLOCK, True
        row.save(update_fields=["limit", "action", "is_active"])
