"""Entries of the audit log that write themselves, when a row of ours that a person edits is saved or deleted.

The ledger and what else writes on the way of a call sends no signals, and its tables are not among these. The entry is
in the transaction of the change (`providers.row.Row`): neither is there without the other.
"""

import logging
import threading
import time
from collections.abc import Collection, Iterable
from typing import Any

from django.contrib.auth.models import Group, Permission
from django.contrib.auth.signals import user_logged_in, user_login_failed
from django.db import models
from django.db.models.signals import m2m_changed, post_delete, post_save, pre_delete, pre_save
from django.utils.translation import gettext_noop

from accounts import audit
from accounts.audit_values import Fields, bounded, differences, final, held, initial, stored, watched
from accounts.models import (
    ApiKey,
    AuditEntry,
    ClosedMonth,
    Correction,
    ExchangeRate,
    Invoice,
    KeyHandover,
    NotificationChannel,
    Quota,
    QuotaRaise,
    Team,
    User,
)
from providers.catalog import refreshed
from providers.models import Credential, Model, Price, Provider
from routing.models import (
    ClassifierEntry,
    KindRule,
    ModelAlias,
    Policy,
    Route,
    RouteEntry,
    RuntimeSettings,
    Scene,
    SceneRule,
)

logger = logging.getLogger(__name__)

AUDITED: tuple[type[models.Model], ...] = (
    *(Provider, Credential, Model, Price),
    *(Route, RouteEntry, ModelAlias, Scene, SceneRule, Policy, ClassifierEntry, KindRule, RuntimeSettings),
    *(Team, User, Group, ApiKey, KeyHandover, Quota, QuotaRaise, ExchangeRate),
    *(Correction, ClosedMonth, Invoice, NotificationChannel),
)
RELATIONS: tuple["models.ManyToManyField[Any, Any]", ...] = tuple(
    field for model in AUDITED for field in model._meta.local_many_to_many
)

SIGNED_IN = gettext_noop("Signed in.")
SIGN_IN_FAILED = gettext_noop("Failed sign-in.")
HASHED_ANEW = gettext_noop("The same password, hashed anew at a sign-in.")
REFRESHED = gettext_noop("Refreshed the list of models.")

# Where the values from before are kept between the two signals of a change.
_BEFORE = "_audit_before"


def connect() -> None:
    """Let every change of a row of `AUDITED`, and every sign-in, write its entry."""
    for model in AUDITED:
        uid = f"audit-{model._meta.label}"
        pre_save.connect(_before_save, sender=model, dispatch_uid=uid)
        post_save.connect(_after_save, sender=model, dispatch_uid=uid)
        pre_delete.connect(_before_delete, sender=model, dispatch_uid=uid)
        post_delete.connect(_after_delete, sender=model, dispatch_uid=uid)
    for field in RELATIONS:
        through: Any = field.remote_field.through
        m2m_changed.connect(_related_changed, sender=through, dispatch_uid=f"audit-{through._meta.label}")
    refreshed.connect(_models_refreshed, dispatch_uid="audit")
    user_logged_in.connect(_signed_in, dispatch_uid="audit")
    user_login_failed.connect(_sign_in_failed, dispatch_uid="audit")


def _fields(model: type[models.Model], update_fields: Collection[str] | None) -> Fields:
    """Return the watched fields that a save writes."""
    fields = watched(model)
    if update_fields is None:
        return fields
    return tuple(field for field in fields if field.name in update_fields or field.attname in update_fields)


def _before_save(sender: type[models.Model], instance: models.Model, **kwargs: Any) -> None:
    fields = _fields(sender, kwargs["update_fields"])
    vars(instance)[_BEFORE] = stored(instance, fields) if fields and instance.pk is not None else None


def _after_save(sender: type[models.Model], instance: models.Model, created: bool, **kwargs: Any) -> None:
    before = vars(instance).pop(_BEFORE, None)
    fields = _fields(sender, kwargs["update_fields"])
    # What is priced late says so itself, call by call.
    if isinstance(instance, Correction) and instance.source == Correction.Source.LATE_PRICE:
        return
    if created:
        audit.record(AuditEntry.Action.CREATE, instance, initial(fields, held(instance, fields), instance))
    elif before is not None and (changes := differences(fields, before, held(instance, fields), instance)):
        # Django's check of a password does so, with a row of which nothing else is saved.
        hashes_anew = kwargs["update_fields"] == {"password"} and vars(instance).get("_password") is None
        note = HASHED_ANEW if hashes_anew and isinstance(instance, User) else ""
        audit.record(AuditEntry.Action.CHANGE, instance, changes, note)


def _before_delete(sender: type[models.Model], instance: models.Model, **_kwargs: Any) -> None:
    """Write down which other rows lose their relation to the row: Django does that by an update."""
    for relation in sender._meta.related_objects:
        model: Any = relation.related_model
        if model in AUDITED and getattr(relation, "on_delete", None) is models.SET_NULL:
            before = f"{instance} ({instance.pk})"
            for row in model._base_manager.filter(**{relation.field.name: instance}):
                audit.record(AuditEntry.Action.CHANGE, row, {relation.field.name: (before, None)})


def _after_delete(sender: type[models.Model], instance: models.Model, **_kwargs: Any) -> None:
    fields = watched(sender)
    audit.record(AuditEntry.Action.DELETE, instance, final(fields, held(instance, fields), instance))


def _related_changed(
    sender: type[models.Model], instance: Any, action: str, reverse: bool, pk_set: set[Any] | None, **_kwargs: Any
) -> None:
    """Write what rows a row is related to, before and after; the row is the one that has the field."""
    field = next(field for field in RELATIONS if field.remote_field.through is sender)
    kept: dict[str, Any] = vars(instance).setdefault(_BEFORE + "_related", {})
    if action.startswith("pre_"):
        owners = [instance] if not reverse else _owners(field, instance, pk_set)
        kept[field.name] = [(owner, _names(field, owner)) for owner in owners]
        return
    for owner, before in kept.pop(field.name, []):
        after = _names(field, owner)
        if before != after:
            audit.record(AuditEntry.Action.CHANGE, owner, {field.name: bounded(before, after)})


def _owners(field: "models.ManyToManyField[Any, Any]", instance: models.Model, pk_set: set[Any] | None) -> list[Any]:
    rows = field.model._base_manager.all()
    # Clearing names none: all that are related.
    return list(rows.filter(pk__in=pk_set) if pk_set is not None else rows.filter(**{field.name: instance}))


def _names(field: "models.ManyToManyField[Any, Any]", owner: models.Model) -> list[str]:
    related = getattr(owner, field.name)
    if field.related_model is Permission:
        # A permission's own name is a sentence, in the language of who reads it.
        names = related.order_by("content_type__app_label", "codename")
        return [f"{app}.{name}" for app, name in names.values_list("content_type__app_label", "codename")]
    return [str(row) for row in related.order_by("pk")]


def _models_refreshed(
    provider: Provider,
    added: Iterable[str],
    changed: Iterable[str],
    missing: Iterable[str],
    prices: Iterable[Price],
    **_kwargs: Any,
) -> None:
    named = {
        "added": sorted(added),
        "changed": sorted(changed),
        "missing": sorted(missing),
        "prices": sorted(f"{price.model.model_id}: {price}" for price in prices),
    }
    changes = {name: bounded(None, models) for name, models in named.items() if models}
    audit.record(AuditEntry.Action.OTHER, provider, changes, REFRESHED)


def _signed_in(user: User, **_kwargs: Any) -> None:
    actor = audit.actor()
    # Without a request that came from outside nobody signed in.
    if actor is not None:
        with audit.acting(audit.Actor(user.get_username(), actor.via, user, actor.address)):
            audit.record(AuditEntry.Action.OTHER, user, note=SIGNED_IN)


class _Allowance:
    """How many failed sign-ins are written: an entry stays for ever, and whoever guesses passwords makes many."""

    per_minute = 30

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._minute = 0
        self._count = 0
        self._left_out = 0

    def take(self, now_s: float) -> int | None:
        """Return how many were left out before this one, None if this one is left out too."""
        with self._lock:
            minute = int(now_s // 60)
            if minute != self._minute:
                self._minute, self._count = minute, 0
            self._count += 1
            if self._count > self.per_minute:
                self._left_out += 1
                return None
            left_out, self._left_out = self._left_out, 0
            return left_out


failed_sign_ins = _Allowance()


def _sign_in_failed(credentials: dict[str, Any], **_kwargs: Any) -> None:
    actor = audit.actor()
    if actor is None:
        return
    name = str(credentials.get("username", ""))[:150]
    logger.warning("Failed sign-in from %s.", actor.address or "an unknown address")
    left_out = failed_sign_ins.take(time.monotonic())
    if left_out is None:
        return
    user = User.objects.filter(username=name).first() or User()
    changes = {"left out before": (None, left_out)} if left_out else {}
    audit.record(AuditEntry.Action.OTHER, user, changes, SIGN_IN_FAILED, name=name or "-")
