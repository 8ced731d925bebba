"""Sending what is in the outbox.

A row that is due is claimed by moving its next try into the future, which also counts the try; then it is sent outside
of any transaction, and the outcome is written. Several workers share the work: on PostgreSQL each skips the rows that
another is claiming, on SQLite they claim one after the other. A worker that dies while it sends leaves a claimed row,
which is due again after the lease: a message is delivered at least once, and twice only in that case. A plain webhook
can tell by the id.
"""

import contextlib
import logging
import zoneinfo
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta, tzinfo
from typing import Any

import httpx
from django.conf import settings
from django.core.exceptions import ObjectDoesNotExist
from django.db import transaction
from django.utils import timezone, translation
from django.utils.translation import gettext

from accounts.models import Notification, NotificationChannel
from accounts.notices import events
from accounts.notices.delivery import Mail, Post, mail_all, masked, post_all, secrets_of
from accounts.notices.formats import Verdict, request_of
from accounts.notices.recipients import distribute
from providers.encryption import Undecryptable
from routing.models import RuntimeSettings

logger = logging.getLogger(__name__)

_BATCH = 20
# Longer than the longest round: 10 s for chats, two minutes for mails, and a last one that drags on.
LEASE = timedelta(minutes=5)
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 30.0, 3600.0
MAX_TRIES = 10  # within about three hours
_MAX_ROUNDS = 20
# What a row raises that another version of the gateway wrote, or whose subject is gone. It must not hold up the others.
_BROKEN = (ArithmeticError, AttributeError, LookupError, TypeError, ValueError, ObjectDoesNotExist)

_Status = Notification.Status


@dataclass(slots=True)
class _Parcel:
    """A claimed row, and what became of it."""

    row: Notification
    verdict: Verdict
    is_final: bool = False  # no use in trying again


def send_due(now: datetime | None = None, transport: httpx.AsyncBaseTransport | None = None) -> int:
    """Send what is due; return how many messages were tried. One query when there is nothing. Not in a transaction.

    Database errors propagate; what was claimed is then due again after the lease. `transport` is for tests.
    """
    tried = 0
    for _round in range(_MAX_ROUNDS):
        moment = now or timezone.now()
        if not _due(moment).exists():
            break
        rows = _claim(moment)
        _distribute([row for row in rows if _is_event(row)], moment)
        for parcel in _send([row for row in rows if not _is_event(row)], moment, transport):
            _book(parcel, now or timezone.now())
            tried += 1
    return tried


def _due(now: datetime) -> Any:
    return Notification.objects.filter(status=_Status.PENDING, next_try_at__lte=now)


def _is_event(row: Notification) -> bool:
    return row.channel_id is None and not row.recipient


def _claim(now: datetime) -> list[Notification]:
    with transaction.atomic():
        # On SQLite the transaction itself locks (IMMEDIATE).
        due = _due(now).select_for_update(skip_locked=True).order_by("next_try_at", "pk")
        ids = list(due.values_list("pk", flat=True)[:_BATCH])
        rows = list(Notification.objects.filter(pk__in=ids).select_related("channel").order_by("pk"))
        for row in rows:
            row.attempts += 1
            row.next_try_at = now + LEASE
        Notification.objects.bulk_update(rows, ["attempts", "next_try_at"])
    return rows


def _distribute(rows: Sequence[Notification], now: datetime) -> None:
    """Replace events by a row for each recipient. One that cannot be told is given up."""
    for row in rows:
        try:
            with transaction.atomic():
                Notification.objects.bulk_create([_due_at(one, now) for one in distribute(row)], ignore_conflicts=True)
                Notification.objects.filter(pk=row.pk).update(status=_Status.SENT, sent_at=now, error="")
        except _BROKEN as error:
            logger.exception("the event %s cannot be told", row.occasion)
            _book(_Parcel(row, Verdict(f"{type(error).__name__}: {error}"), is_final=True), now)


def _due_at(row: Notification, now: datetime) -> Notification:
    row.next_try_at = now
    return row


def _send(rows: Sequence[Notification], now: datetime, transport: httpx.AsyncBaseTransport | None) -> Iterator[_Parcel]:
    """Send `rows`, chats side by side and then mails; yield what became of each as soon as it is known."""
    business_zone = zoneinfo.ZoneInfo(RuntimeSettings.load().business_time_zone) if rows else zoneinfo.ZoneInfo("UTC")
    posts: list[tuple[Notification, Post]] = []
    mails: list[tuple[Notification, Mail]] = []
    for row in rows:
        channel = row.channel
        try:
            if channel is not None and not channel.is_enabled:
                yield _Parcel(row, Verdict(gettext("the channel is switched off")), is_final=True)
            elif channel is None or channel.kind == NotificationChannel.Kind.EMAIL:
                mails.append((row, _mail(row, business_zone)))
            else:
                posts.append((row, _post(row, channel, business_zone, now)))
        except Undecryptable:
            yield _Parcel(row, Verdict(gettext("the URL or the secret cannot be decrypted; enter it again")))
        except _BROKEN as error:
            logger.exception("the notification %s cannot be put into words", row.pk)
            yield _Parcel(row, Verdict(type(error).__name__), is_final=True)
    verdicts = post_all([post for _row, post in posts], transport)
    for (row, _request), verdict in zip(posts, verdicts, strict=True):
        yield _Parcel(row, verdict)
    for (row, _message), verdict in zip(mails, mail_all([one for _row, one in mails]), strict=True):
        yield _Parcel(row, verdict)


def _mail(row: Notification, business_zone: tzinfo) -> Mail:
    language, zone = row.content.get("language", ""), business_zone
    recipients: tuple[str, ...] = (row.recipient,)
    if row.channel is not None:
        language, recipients = row.channel.language, tuple(row.channel.recipients.split())
    elif row.content.get("time_zone"):
        # It was a zone when it was stored; the system's list may have changed.
        with contextlib.suppress(zoneinfo.ZoneInfoNotFoundError, ValueError):
            zone = zoneinfo.ZoneInfo(row.content["time_zone"])
    with translation.override(language or settings.LANGUAGE_CODE):
        return Mail(recipients, events.message_of(row.event, row.content, zone))


def _post(row: Notification, channel: NotificationChannel, zone: tzinfo, now: datetime) -> Post:
    url, secret = channel.url(), channel.secret()
    if not url:
        raise ValueError("the channel has no URL")
    with translation.override(channel.language or settings.LANGUAGE_CODE):
        message = events.message_of(row.event, row.content, zone)
        document = {
            "id": row.occasion,
            "event": row.event,
            "occurred_at": row.created_at.isoformat(),
            "facts": {name: value for name, value in row.content.items() if not name.endswith("_id")},
        }
        request = request_of(channel.kind, url, secret, message, document, now)
    return Post(channel.kind, request, channel.allow_private_network, secrets_of(url, secret))


def _book(parcel: _Parcel, now: datetime) -> None:
    row, verdict = parcel.row, parcel.verdict
    # Not what another worker has claimed meanwhile, after the lease.
    claimed = Notification.objects.filter(pk=row.pk, status=_Status.PENDING, attempts=row.attempts)
    if not verdict.error:
        claimed.update(status=_Status.SENT, sent_at=now, error="")
        _book_channel(row.channel_id, last_sent_at=now, last_error="")
        return
    gives_up = parcel.is_final or row.attempts >= MAX_TRIES
    pause_s = min(_FIRST_PAUSE_S * 2 ** (row.attempts - 1), _LONGEST_PAUSE_S)
    claimed.update(
        status=_Status.FAILED if gives_up else _Status.PENDING,
        error=verdict.error[:300],
        next_try_at=now + timedelta(seconds=max(pause_s, verdict.wait_s)),
    )
    _book_channel(row.channel_id, last_error=verdict.error[:300])
    logger.warning(
        "notification %s to %s failed (%d of %d tries)%s: %s",
        row.pk,
        f"channel {row.channel.name}" if row.channel is not None else "a person",
        row.attempts,
        MAX_TRIES,
        ", given up" if gives_up else "",
        verdict.error,
    )


def _book_channel(channel_id: int | None, **values: Any) -> None:
    if channel_id is not None:
        NotificationChannel.objects.filter(pk=channel_id).update(**values)


def send_test(channel: NotificationChannel, transport: httpx.AsyncBaseTransport | None = None) -> str:
    """Send a test message to `channel` now, enabled or not; return the error, "" if it was taken. Within about 10 s."""
    now = timezone.now()
    row = Notification(
        channel=channel,
        event=events.TEST,
        occasion=f"{events.TEST}:{channel.pk}:{now.isoformat()}",
        content={"channel": channel.name, "at": now.isoformat()},
        created_at=now,
    )
    zone = zoneinfo.ZoneInfo(RuntimeSettings.load().business_time_zone)
    try:
        if channel.kind == NotificationChannel.Kind.EMAIL:
            [verdict] = mail_all([_mail(row, zone)])
        else:
            [verdict] = post_all([_post(row, channel, zone, now)], transport)
    except Undecryptable:
        verdict = Verdict(gettext("the URL or the secret cannot be decrypted; enter it again"))
    except ValueError as error:
        verdict = Verdict(masked(str(error), ()))
    if verdict.error:
        _book_channel(channel.pk, last_error=verdict.error[:300])
    else:
        _book_channel(channel.pk, last_sent_at=now, last_error="")
    return verdict.error
