"""Keys that end soon: said once a week before and once a day before."""

from datetime import datetime, timedelta

from accounts.models import ApiKey, Notification
from accounts.notices.events import KEY_EXPIRING, Event
from accounts.notices.outbox import tell

DAYS = (7, 1)  # the longest first


def tell_expiring(now: datetime) -> None:
    """Write an event for each key in use that ends within 7 days or one, unless that was told before."""
    ending = ApiKey.objects.filter(
        is_active=True,
        revoked_at__isnull=True,
        user__is_active=True,
        expires_at__gt=now,
        expires_at__lte=now + timedelta(days=DAYS[0]),
    )
    found = [
        event
        for key_id, expires_at, created_at in ending.values_list("pk", "expires_at", "created_at")
        if expires_at is not None and (event := _event(key_id, expires_at, created_at, now)) is not None
    ]
    told = set(
        Notification.objects.filter(occasion__in=[event.occasion for event in found]).values_list("occasion", flat=True)
    )
    tell([event for event in found if event.occasion not in told])


def _event(key_id: int, expires_at: datetime, created_at: datetime, now: datetime) -> Event | None:
    days = min(days for days in DAYS if expires_at <= now + timedelta(days=days))
    # Who was given a key for a week knows it.
    if expires_at - created_at <= timedelta(days=days, hours=24):
        return None
    occasion = f"{KEY_EXPIRING}:{key_id}:{expires_at.isoformat()}:{days}"
    return Event(KEY_EXPIRING, occasion, {"key_id": key_id, "days": days, "expires_at": expires_at.isoformat()})
