"""Removing what a file does not name, of the sections that it contains.

Platforms, models, credentials, routes, aliases, scenes and policies are deleted; people, teams, keys and quotas are
deactivated, for the books name them; channels are switched off.
"""

from collections.abc import Iterable
from typing import Any

from django.core.exceptions import ValidationError
from django.db import models
from django.db.models import ProtectedError
from django.utils.translation import gettext as _

from accounts import keys
from accounts.models import User
from gateway.config.rows import Run, identity_of, kind_of, shown
from gateway.config.schema import Document, Item
from routing.models import ClassifierEntry, KindRule, RouteEntry, RuntimeSettings


def prune(run: Run, document: Document) -> None:
    """Remove the rows that `document` leaves out. Rows that others still use are reported with the section's path."""
    sections = document.sections
    _switch_off_channels(run, sections.get("channels"))
    _deactivate(run, "quota", sections.get("quotas"))
    _deactivate(run, "key", sections.get("keys"))
    _deactivate(run, "user", sections.get("users"))
    _deactivate(run, "team", sections.get("teams"))
    # What refers first, what is referred to last.
    for section, kind in (("policies", "policy"), ("aliases", "alias"), ("scenes", "scene"), ("routes", "route")):
        if section in sections:
            _delete(run, section, _unnamed(run, kind, sections[section]))
    for item in sections.get("providers", ()):
        provider = run.rows["provider"].get(item.identity)
        for kind, children in (("credential", item.credentials), ("model", item.models)):
            if children is not None and provider is not None:
                rows = [row for row in _unnamed(run, kind, children) if row.provider_id == provider.pk]
                _delete(run, f"{item.path}.{kind}s", rows)
    if "providers" in sections:
        _delete(run, "providers", _unnamed(run, "provider", sections["providers"]))


def _unnamed(run: Run, kind: str, items: Iterable[Item]) -> list[Any]:
    named = {item.identity for item in items}
    return [row for identity, row in run.rows[kind].items() if identity not in named]


def _deactivate(run: Run, kind: str, items: list[Item] | None) -> None:
    if items is None:
        return
    rows = [row for row in _unnamed(run, kind, items) if row.is_active]
    kept: set[int] = set()
    if kind == "user":
        going = {row.pk for row in rows}
        if not User.objects.filter(is_superuser=True, is_active=True).exclude(pk__in=going).exists():
            kept = {row.pk for row in rows if row.is_superuser}
    for row in rows:
        if row.pk in kept:
            run.notes.append(
                _("user %(name)s stays active: no other administrator would be left.") % {"name": shown(row)}
            )
            continue
        if kind == "key":
            keys.revoke(row)
        else:
            row.is_active = False
            row.save(update_fields=["is_active"])
        run.say("-", kind, identity_of(row), _("deactivated"))


def _switch_off_channels(run: Run, items: list[Item] | None) -> None:
    for row in _unnamed(run, "channel", items) if items is not None else ():
        if row.is_enabled:
            row.is_enabled = False
            row.save(update_fields=["is_enabled"])
            run.say("-", "channel", identity_of(row), _("switched off"))


def _delete(run: Run, path: str, rows: Iterable[models.Model]) -> None:
    for row in rows:
        kind, identity = kind_of(row), identity_of(row)
        try:
            row.delete()
        except ProtectedError as error:
            users = sorted({_user_of(user) for user in error.protected_objects})
            run.problems.add(
                path,
                _("cannot remove %(kind)s %(name)s: used by %(users)s")
                % {"kind": kind, "name": shown(identity), "users": ", ".join(users)},
            )
            continue
        except ValidationError as error:
            fault = _("cannot remove %(kind)s %(name)s: %(reason)s")
            run.problems.add(path, fault % {"kind": kind, "name": shown(identity), "reason": " ".join(error.messages)})
            continue
        del run.rows[kind][identity]
        run.say("-", kind, identity)


def _user_of(row: models.Model) -> str:
    """Return what a person would look for: the route of an entry, not the entry."""
    if isinstance(row, RuntimeSettings):
        return "settings"
    if isinstance(row, RouteEntry):
        row = row.route
    elif isinstance(row, ClassifierEntry | KindRule):
        row = row.policy
    return f"{kind_of(row)} {shown(identity_of(row))}"
