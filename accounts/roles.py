"""Who may see which rows. What one may do with them is a matter of the permissions of the groups."""

from typing import Any, TypeVar

from django.contrib.auth.models import AbstractBaseUser, AnonymousUser
from django.db.models import Model, Q, QuerySet, TextChoices
from django.utils.translation import gettext_lazy as _

from accounts.models import Team, User

_M = TypeVar("_M", bound=Model)


class Role(TextChoices):
    """The groups that a migration makes."""

    ADMINISTRATOR = "administrator", _("Administrator")
    TEAM_LEAD = "team_lead", _("Team lead")
    FINANCE = "finance", _("Finance")
    MEMBER = "member", _("Member")


# How a row of a model is reached from a person and from a team; "" where it cannot be.
_PATHS: dict[str, tuple[str, str]] = {
    "accounts.team": ("", "pk"),
    "accounts.user": ("pk", "team"),
    "accounts.apikey": ("user", "user__team"),
    "accounts.keynetwork": ("key__user", "key__user__team"),
    "accounts.keyhandover": ("key__user", "key__user__team"),
    "accounts.callrecord": ("user", "team"),
    "accounts.attempt": ("call__user", "call__team"),
    "accounts.usagedaily": ("user", "team"),
    "accounts.correction": ("user", "team"),
}


def roles_of(user: User) -> set[str]:
    """Return the roles of `user`. A superuser is an administrator with or without the group."""
    roles = {group.name for group in user.groups.all()} & set(Role.values)
    return roles | {Role.ADMINISTRATOR.value} if user.is_superuser else roles


def sees_everything(user: User) -> bool:
    """Return whether rows are hidden from `user` by nothing but missing permissions."""
    return bool(roles_of(user) & {Role.ADMINISTRATOR, Role.FINANCE})


def led_teams(user: User) -> set[int]:
    """Return the ids of the teams that `user` leads, with the teams below them."""
    if Role.TEAM_LEAD not in roles_of(user):
        return set()
    parents = list(Team.objects.values_list("pk", "parent_id", "lead_id"))
    led = {team for team, _parent, lead in parents if lead == user.pk}
    while below := {team for team, parent, _lead in parents if parent in led} - led:
        led |= below
    return led


def visible(rows: "QuerySet[_M]", user: "User | AbstractBaseUser | AnonymousUser") -> "QuerySet[_M]":
    """Return those of `rows` that `user` may see: all, those of the led teams, or one's own."""
    if not isinstance(user, User):
        return rows.none()
    if sees_everything(user):
        return rows
    paths = _PATHS.get(rows.model._meta.label_lower)
    if paths is None:
        return rows
    to_user, to_team = paths
    mine: Any = Q(**{to_user: user.pk}) if to_user else Q(pk__in=[])
    return rows.filter(mine | Q(**{f"{to_team}__in": led_teams(user)}))
