"""Writing the sections `teams`, `users`, `keys` and `quotas`."""

from typing import Any

from django.contrib.auth.models import Group
from django.contrib.auth.password_validation import validate_password
from django.core.exceptions import ValidationError
from django.utils.translation import gettext as _

from accounts import keys
from accounts.models import ApiKey, Quota, Team, User
from accounts.roles import STAFF_ROLES, Role, roles_of
from gateway.config.raises import write_raises
from gateway.config.rows import Run, shown
from gateway.config.schema import Item
from gateway.config.shapes import KEY, QUOTA, ROLES, TEAM, USER, columns

TEAM_COLUMNS = columns(TEAM)
USER_COLUMNS = columns(USER)
KEY_COLUMNS = columns(KEY)
QUOTA_COLUMNS = columns(QUOTA)


def write_teams(run: Run, items: list[Item]) -> None:
    """Write the teams, without parents and leads: those may stand further down in the file."""
    for item in items:
        policy = None if item.is_broken else run.reference(item, "policy", "policy")
        if policy is None:
            run.refuse(item)
            continue
        row: Team = run.rows["team"].get(item.identity) or Team()
        values = run.plain_values(item, row, TEAM_COLUMNS) | policy
        if run.write(item, row, values, TEAM_COLUMNS):
            _note_inactive(run, item, row.is_active)


def write_team_relations(run: Run, items: list[Item]) -> None:
    """Write the parents and leads of the teams, when all teams and people are there."""
    for item in items:
        if item.is_broken:
            continue
        parent = run.reference(item, "parent", "team")
        lead = run.reference(item, "lead", "user")
        if parent is None or lead is None:
            run.refuse(item)
            continue
        row: Team = run.rows["team"][item.identity]
        if _is_below(run, parent.get("parent"), row):
            run.refuse(item, ("parent", _("is the team itself or below it")))
            continue
        before = len(run.changes)
        run.write(item, row, parent | lead, {})
        if ("team", item.identity) in run.created:
            del run.changes[before:]  # "+ team x" says it
        if row.lead is not None and Role.TEAM_LEAD not in role_names(row.lead):
            run.notes.append(
                _("%(user)s leads the team %(team)s, but sees nothing of it without the role %(role)s.")
                % {"user": shown(row.lead), "team": shown(row), "role": Role.TEAM_LEAD.value}
            )


def _is_below(run: Run, team: Team | None, top: Team) -> bool:
    """Tell whether `team` is `top` or stands below it."""
    seen: set[int] = set()
    while team is not None and team.pk not in seen:
        if team.pk == top.pk:
            return True
        seen.add(team.pk)
        team = run.rows["team"][team.name].parent
    return False


def role_names(user: User) -> set[str]:
    """Return the roles that a user has; one who is not stored has none yet."""
    return set() if user._state.adding else roles_of(user)


def write_users(run: Run, items: list[Item]) -> None:
    for item in items:
        if item.is_broken:
            run.refuse(item)
            continue
        team = run.reference(item, "team", "team")
        policy = run.reference(item, "policy", "policy")
        if team is None or policy is None:
            run.refuse(item)
            continue
        row: User = run.rows["user"].get(item.identity) or User()
        values = run.plain_values(item, row, USER_COLUMNS) | team | policy
        if "email" in values:
            values["email"] = User.objects.normalize_email(values["email"])  # as clean() would, else it always differs
        if row._state.adding:
            row.set_unusable_password()
        extra: list[str] = []
        password: str | None = item.values.get("password")
        if password is not None and values.get("is_service", row.is_service):
            run.refuse(item, ("password_env", _("is not for a service, which has no password")))
            continue
        if values.get("is_service") and row.has_usable_password():
            row.set_unusable_password()
            values["password"], row.password = row.password, ""
        # Only the first password comes from the file: one that the person chose later stays.
        if password is not None and not row.has_usable_password():
            try:
                validate_password(password, row)
            except ValidationError as error:
                run.refuse(item, *(("password_env", message) for message in error.messages))
                continue
            row.set_password(password)
            values["password"] = row.password
            row.password = ""
            extra.append(_("password set"))
        roles: set[str] | None = set(item.values["roles"]) if "roles" in item.values else None
        stored_roles = role_names(row)
        writes_roles = roles is not None and roles != stored_roles
        if roles is not None and writes_roles:
            extra.append(f"roles {shown(sorted(stored_roles))} -> {shown(sorted(roles))}")
            values |= {"is_staff": bool(roles & STAFF_ROLES), "is_superuser": Role.ADMINISTRATOR in roles}
        hidden = {"password": "", "is_staff": "", "is_superuser": ""}
        if not run.write(item, row, values, USER_COLUMNS, hidden=hidden, extra=extra):
            continue
        if roles is not None and writes_roles:
            row.groups.remove(*row.groups.filter(name__in=set(ROLES) - roles))
            row.groups.add(*(Group.objects.get_or_create(name=role)[0] for role in sorted(roles)))
        _note_inactive(run, item, row.is_active)


def write_keys(run: Run, items: list[Item], can_hand_out: bool) -> None:
    """Write the keys. One without a secret gets one, if there is a file (`can_hand_out`) to write it to."""
    for item in items:
        if item.is_broken:
            run.refuse(item)
            continue
        user = run.reference(item, "user", "user")
        policy = run.reference(item, "policy", "policy")
        if user is None or policy is None:
            run.refuse(item)
            continue
        row: ApiKey = run.rows["key"].get(item.identity) or ApiKey()
        secret: str | None = item.values.get("secret")
        if secret is None and row._state.adding:
            if not can_hand_out:
                run.refuse(item, ("secret", _("is required for a new key, or --keys-out FILE to write a made one to")))
                continue
            secret = keys.new_secret()
            run.new_secrets[item.identity] = secret
        values = run.plain_values(item, row, KEY_COLUMNS) | user | policy
        if secret is not None:
            try:
                keys.validate_secret(secret)
            except ValidationError as error:
                run.refuse(item, *(("secret", message) for message in error.messages))
                continue
            values |= {"digest": keys.digest(secret), "prefix": keys.prefix(secret)}
            holder = next(
                (key for key in run.rows["key"].values() if values["digest"] in (key.digest, key.previous_digest)), None
            )
            if holder is not None and holder is not row:
                run.refuse(item, ("secret", _("is that of the key %(name)s") % {"name": shown(holder)}))
                continue
            if values["digest"] != row.digest:
                # Who puts another secret into the file does so at once, and a rotation's grace ends with that.
                values |= {"previous_digest": "", "previous_prefix": "", "previous_expires_at": None}
        if values.get("is_active") and row.revoked_at is not None:
            values["revoked_at"] = None
        hidden = {"digest": _("secret changed")}
        hidden |= dict.fromkeys(
            ("prefix", "revoked_at", "previous_digest", "previous_prefix", "previous_expires_at"), ""
        )
        if run.write(item, row, values, {**KEY_COLUMNS, "secret": "digest"}, hidden=hidden):
            _note_inactive(run, item, row.is_active)


def write_quotas(run: Run, items: list[Item]) -> None:
    for item in items:
        if item.is_broken:
            run.refuse(item)
            continue
        [kind] = [kind for kind in ("key", "user", "team") if kind in item.values]
        subject: dict[str, Any] | None = run.reference(item, kind, kind)
        if subject is None:
            run.refuse(item)
            continue
        row: Quota = run.rows["quota"].get(item.identity) or Quota(**subject)
        # A limit that a file states is in force, unless it says otherwise.
        values = {"is_active": True} | run.plain_values(item, row, QUOTA_COLUMNS)
        if values["unit"] != Quota.Unit.COST:
            values.pop("currency", None)
        if run.write(item, row, values, QUOTA_COLUMNS):
            write_raises(run, item, row)


def _note_inactive(run: Run, item: Item, is_active: bool) -> None:
    """Say that a row which the file names is out of use: whoever switched it off meant it, so the file alone does not
    switch it on again."""
    if not is_active and "active" not in item.values:
        run.notes.append(
            _("%(kind)s %(name)s is inactive and stays so; `active: true` would change that.")
            % {"kind": item.kind, "name": shown(item.identity)}
        )
