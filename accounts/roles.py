"""Roles: what the people in a group may do, and whose rows they see.

What one may do is a matter of the permissions of the groups; which rows one may do it to, of `visible`. A role is a
group that a migration makes. Its permissions are these here, whatever was done to them: for other combinations an
administrator makes groups of the house's own.
"""

from collections.abc import Iterable
from typing import Any, TypeVar

from django.apps import apps as installed
from django.contrib.auth.models import AbstractBaseUser, AnonymousUser, Group
from django.db.models import Model, Q, QuerySet, TextChoices
from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

from accounts import audit
from accounts.models import Team, User

_M = TypeVar("_M", bound=Model)
Reader = User | AbstractBaseUser | AnonymousUser


class Role(TextChoices):
    """The groups that a migration makes."""

    ADMINISTRATOR = "administrator", _("Administrator")
    TEAM_LEAD = "team_lead", _("Team lead")
    FINANCE = "finance", _("Finance")
    MEMBER = "member", _("Member")


# What an administrator reads beside each.
EXPLAINED: dict[str, "str | Promise"] = {
    Role.ADMINISTRATOR: _("may do everything here, except make superusers."),
    Role.TEAM_LEAD: _(
        "sees the people, keys, quotas and usage of the teams that the person leads, with the teams below them; issues"
        " and revokes keys there, and limits people and keys. Who leads a team is chosen on the page of the team."
    ),
    Role.FINANCE: _(
        "sees usage, costs, prices, budgets and closed months of all teams and exports them, and uploads invoices;"
        " changes nothing else and sees no prompts."
    ),
    Role.MEMBER: _("sees the own keys and the own usage, and no page of this administration."),
}

# Whoever has one of these may log in to the admin.
STAFF_ROLES = frozenset({Role.ADMINISTRATOR.value, Role.TEAM_LEAD.value, Role.FINANCE.value})

# Lifts the restriction of rows to teams. A permission, so that an administrator's own groups can have it as well.
VIEW_ALL_TEAMS = "accounts.view_all_teams"

_EVERYTHING = "view add change delete"
# An administrator has everything of these apps.
_OURS = ("providers", "routing", "accounts", "gateway")

# Role -> model -> what may be done with its rows, if they are visible.
PERMISSIONS: dict[Role, dict[str, str]] = {
    Role.ADMINISTRATOR: {"auth.group": _EVERYTHING},
    Role.TEAM_LEAD: {
        "accounts.team": "view",
        "accounts.user": "view",
        "accounts.apikey": "view add change",
        "accounts.keyhandover": "view add",
        "accounts.keynetwork": "view",
        "accounts.quota": "view add change",
        "accounts.quotawindow": "view",
        "accounts.quotaraise": "view",
        "accounts.callrecord": "view",
        "accounts.attempt": "view",
        "accounts.usagedaily": "view",
        "accounts.correction": "view",
    },
    Role.FINANCE: {
        "accounts.team": "view",
        "accounts.user": "view",
        "accounts.apikey": "view",
        "accounts.quota": "view",
        "accounts.quotawindow": "view",
        "accounts.quotaraise": "view",
        "accounts.callrecord": "view",
        "accounts.attempt": "view",
        "accounts.usagedaily": "view",
        "accounts.correction": "view",
        "accounts.closedmonth": "view",
        "accounts.monthlyexport": "view",
        "accounts.exchangerate": "view",
        "accounts.invoice": "view add",
        "accounts.invoiceline": "view",
        "providers.model": "view",
        "providers.price": "view",
    },
    Role.MEMBER: {},
}


def permissions_of(role: Role) -> set[str]:
    """Return the permissions of `role`, as "app.codename"."""
    found: set[str] = set()
    if role == Role.ADMINISTRATOR:
        models = [model for label in _OURS for model in installed.get_app_config(label).get_models()]
        found |= {_permission(model._meta.label_lower, action) for model in models for action in _EVERYTHING.split()}
    for model, actions in PERMISSIONS[role].items():
        found |= {_permission(model, action) for action in actions.split()}
    return found | {VIEW_ALL_TEAMS} if role in (Role.ADMINISTRATOR, Role.FINANCE) else found


def _permission(model: str, action: str) -> str:
    app, name = model.split(".")
    return f"{app}.{action}_{name}"


def sync_permissions(apps: Any = installed, using: str = "default") -> None:
    """Make the groups of the roles where they are missing, and give each exactly its permissions.

    `apps` are those of the state that a migration has reached. Other groups are left alone.
    """
    group_model, permission_model = apps.get_model("auth", "Group"), apps.get_model("auth", "Permission")
    content_type = apps.get_model("contenttypes", "ContentType").objects.using(using)
    team, _is_new = content_type.get_or_create(app_label="accounts", model="team")
    permission_model.objects.using(using).get_or_create(
        content_type=team, codename=VIEW_ALL_TEAMS.split(".")[1], defaults={"name": "Can view the rows of all teams"}
    )
    stored = {
        f"{app}.{codename}": pk
        for pk, app, codename in permission_model.objects.using(using).values_list(
            "pk", "content_type__app_label", "codename"
        )
    }
    groups = group_model.objects.using(using)
    present = {group.name: group for group in groups.filter(name__in=Role.values).prefetch_related("permissions")}
    for role in Role:
        group = present.get(role.value) or groups.create(name=role.value)
        # On the way back through the migrations some tables are gone, with their permissions.
        wanted = {stored[name] for name in permissions_of(role) if name in stored}
        if wanted != {permission.pk for permission in group.permissions.all()}:
            group.permissions.set(wanted)


def sync_after_migrate(sender: Any, using: str, apps: Any = installed, **_signal: Any) -> None:
    """Set the permissions of the roles, once those of all our apps are there."""
    if sender.label != _OURS[-1]:
        return
    try:
        apps.get_model("accounts", "User"), apps.get_model("auth", "Group")
    except LookupError:  # the way back to an empty database
        return
    sync_permissions(apps, using)


def follow_groups(
    sender: Any, instance: "User | Group", action: str, reverse: bool, pk_set: set[int] | None, **_signal: Any
) -> None:
    """Let people into the admin with the first role that leads there, and out with the last."""
    if isinstance(instance, User):
        forget_roles(instance)
    if action == "pre_clear":
        # Afterwards nobody knows who was in which group.
        through = sender.objects.filter(group__name__in=STAFF_ROLES)
        through = through.filter(group=instance) if isinstance(instance, Group) else through.filter(user=instance)
        instance._leaving = set(through.values_list("user", flat=True))  # type: ignore[union-attr]
    elif action in ("post_add", "post_remove") and pk_set:
        is_role = instance.name in STAFF_ROLES if isinstance(instance, Group) else _are_roles(pk_set)
        if is_role:
            _follow(pk_set if reverse else {instance.pk}, instance)
    elif action == "post_clear":
        _follow(getattr(instance, "_leaving", set()), instance)


def _are_roles(groups: set[int]) -> bool:
    return Group.objects.filter(pk__in=groups, name__in=STAFF_ROLES).exists()


def let_in(people: set[int]) -> set[int]:
    """Make those of `people` (ids) staff who have a role for it, and return them. A service cannot log in at all."""
    rows = User.objects.filter(pk__in=people)
    with_role = set(rows.filter(groups__name__in=STAFF_ROLES).values_list("pk", flat=True))
    audit.update(rows.filter(pk__in=with_role, is_staff=False, is_service=False), is_staff=True)
    return with_role


def _follow(people: set[int], instance: "User | Group") -> None:
    leaving = User.objects.filter(pk__in=people - let_in(people), is_staff=True, is_superuser=False)
    audit.update(leaving, is_staff=False)
    if isinstance(instance, User):
        instance.is_staff = User.objects.values_list("is_staff", flat=True).get(pk=instance.pk)


# How a row of a model is reached from people and from teams.
_Paths = tuple[tuple[str, ...], tuple[str, ...]]
_SUBJECT: _Paths = (("user", "key__user"), ("team", "user__team", "key__user__team"))
_OF_QUOTA: _Paths = (
    ("quota__user", "quota__key__user"),
    ("quota__team", "quota__user__team", "quota__key__user__team"),
)
_PATHS: dict[str, _Paths] = {
    "accounts.team": ((), ("pk",)),
    "accounts.user": (("pk",), ("team",)),
    "accounts.apikey": (("user",), ("user__team",)),
    "accounts.keynetwork": (("key__user",), ("key__user__team",)),
    "accounts.keyhandover": (("key__user",), ("key__user__team",)),
    "accounts.quota": _SUBJECT,
    "accounts.quotawindow": _OF_QUOTA,
    "accounts.quotaraise": _OF_QUOTA,
    "accounts.callrecord": (("user",), ("team",)),
    "accounts.attempt": (("call__user",), ("call__team",)),
    "accounts.usagedaily": (("user",), ("team",)),
    "accounts.correction": (("user",), ("team",)),
    "accounts.auditentry": (("actor",), ()),
    "accounts.notificationchannel": ((), ("team",)),
    "accounts.notification": ((), ("channel__team",)),
    "gateway.capture": (("call__user",), ("call__team",)),
}
_NOTHING = Q(pk__in=[])


def roles_of(user: User) -> set[str]:
    """Return the roles of `user`. A superuser is an administrator with or without the group."""
    found: frozenset[str] | None = getattr(user, "_roles", None)
    if found is None:
        found = frozenset(group.name for group in user.groups.all()) & frozenset(Role.values)
        # As Django keeps permissions: a request has a user object of its own.
        user._roles = found  # type: ignore[attr-defined]
    return {*found, Role.ADMINISTRATOR.value} if user.is_superuser else set(found)


def forget_roles(user: User) -> None:
    """Let the roles and permissions of `user` be read anew."""
    for name in ("_roles", "_led_teams", "_perm_cache", "_user_perm_cache", "_group_perm_cache"):
        if hasattr(user, name):
            delattr(user, name)


def sees_everything(user: Reader) -> bool:
    """Return whether rows are hidden from `user` by nothing but missing permissions."""
    return isinstance(user, User) and user.has_perm(VIEW_ALL_TEAMS)


def led_teams(user: User) -> set[int]:
    """Return the ids of the teams that `user` leads, with the teams below them. Without the role they are none."""
    found: frozenset[int] | None = getattr(user, "_led_teams", None)
    if found is None:
        found = frozenset(_led_teams(user) if Role.TEAM_LEAD in roles_of(user) else ())
        user._led_teams = found  # type: ignore[attr-defined]
    return set(found)


def _led_teams(user: User) -> Iterable[int]:
    parents = list(Team.objects.values_list("pk", "parent_id", "lead_id"))
    led = {team for team, _parent, lead in parents if lead == user.pk}
    while below := {team for team, parent, _lead in parents if parent in led} - led:
        led |= below
    return led


def scope(model: type[Model], user: Reader, *, own: bool = True) -> Q | None:
    """Return the condition for the rows of `model` that `user` may see, None for all of them.

    Without `own` those that are the person's own only are not among them.
    """
    if not isinstance(user, User) or not user.is_active:
        return _NOTHING
    if sees_everything(user):
        return None
    paths = _PATHS.get(model._meta.label_lower)
    if paths is None:
        return None
    found = _NOTHING
    to_people, to_teams = paths
    if own:
        for path in to_people:
            found |= Q(**{path: user.pk})
    if teams := led_teams(user):
        for path in to_teams:
            found |= Q(**{f"{path}__in": teams})
    return found


def visible(rows: "QuerySet[_M]", user: Reader) -> "QuerySet[_M]":
    """Return those of `rows` that `user` may see: all, those of the led teams, or one's own."""
    condition = scope(rows.model, user)
    return rows if condition is None else rows.filter(condition)


def in_charge_of(rows: "QuerySet[_M]", user: Reader) -> "QuerySet[_M]":
    """Return those of `rows` that `user` answers for: all, or those of the led teams.

    One's own are visible too, but not to be changed for being one's own.
    """
    condition = scope(rows.model, user, own=False)
    return rows if condition is None else rows.filter(condition)
