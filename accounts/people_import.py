"""Making and changing people by a list: what it would do, row by row, and doing it, all or nothing.

`plan` reads and changes nothing, `carry_out` writes what a plan without a fault says. An empty cell leaves a person as
he is; "-" empties the field.
"""

import hashlib
import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from django.contrib.auth.models import Group
from django.core.exceptions import NON_FIELD_ERRORS, ValidationError
from django.utils.translation import gettext as _

from accounts import audit
from accounts.models import AuditEntry, Team, User
from accounts.people_columns import ALIASES, NAMES, Cells, read_cells
from accounts.people_files import Line, Table
from accounts.roles import STAFF_ROLES, Role, roles_of, sees_everything, visible

# Of a person, by the column they come from.
_PLAIN = ("first_name", "last_name", "email", "language", "time_zone", "is_active")

State = Literal["new", "changed", "unchanged", "fault"]


@dataclass(frozen=True, slots=True)
class Change:
    """One field of a person, before and after."""

    column: str
    before: str
    after: str


@dataclass(slots=True)
class PlannedRow:
    """What a row of the list does. `faults` and `notes` are (column or "", text)."""

    number: int
    username: str
    user: User | None = None
    changes: list[Change] = field(default_factory=list)
    faults: list[tuple[str, str]] = field(default_factory=list)
    notes: list[tuple[str, str]] = field(default_factory=list)
    columns: list[str] = field(default_factory=list)  # of the model, to be saved
    roles: set[str] | None = None  # to be had instead of those that are
    new_team: str = ""

    @property
    def state(self) -> State:
        """Return what becomes of the person."""
        if self.faults or self.user is None:
            return "fault"
        if self.user._state.adding:
            return "new"
        return "changed" if self.changes else "unchanged"


@dataclass(slots=True)
class Plan:
    """What a list does. Nothing of it may be written while `is_clean` is false."""

    form: str
    rows: list[PlannedRow]
    new_teams: list[str]
    unknown_columns: list[str]

    def count(self, state: State) -> int:
        """Return how many rows are in `state`."""
        return sum(row.state == state for row in self.rows)

    @property
    def is_clean(self) -> bool:
        """Return whether no row has a fault."""
        return not any(row.faults for row in self.rows)

    def fingerprint(self) -> str:
        """Return a digest of all that the plan does, by which a confirmation is known to be of this very plan."""
        told = [
            [
                row.number,
                row.state,
                row.username,
                [[change.column, change.before, change.after] for change in row.changes],
            ]
            for row in self.rows
        ]
        return hashlib.sha256(json.dumps([self.new_teams, told]).encode()).hexdigest()


def may_give(giver: User) -> set[str]:
    """Return the roles that `giver` may give and take: nobody makes people who may more than the giver."""
    if giver.is_superuser:
        return set(Role.values)
    return set(Role.values) - {Role.ADMINISTRATOR.value} if Role.ADMINISTRATOR in roles_of(giver) else set()


def columns_of(head: Line) -> tuple[dict[str, int], list[str]]:
    """Return column -> position of the columns that are known, and the names of the others.

    Raises `ValidationError` for a head without usernames, or with a column twice.
    """
    found: dict[str, int] = {}
    unknown: list[str] = []
    for position, text in enumerate(head.cells):
        name = ALIASES.get(" ".join(text.casefold().replace("_", " ").replace("-", " ").split()))
        if name is None:
            unknown += [text] if text else []
        elif name in found:
            raise ValidationError(_("The column “%(column)s” is there twice.") % {"column": text})
        else:
            found[name] = position
    if "username" not in found:
        raise ValidationError(
            _("There is no column for the username. Call it “username” or “用户名”. Found: %(columns)s.")
            % {"columns": ", ".join(cell[:40] for cell in head.cells if cell)}
        )
    if "name" in found and {"first_name", "last_name"} & set(found):
        raise ValidationError(_("Give names in one column, or first and last names in two, not both."))
    return found, unknown


def plan(table: Table, giver: User, *, make_teams: bool = False) -> Plan:
    """Return what `table` does if `giver` carries it out. `make_teams` lets teams be made that are not there.

    Raises `ValidationError` for a head that cannot be used.
    """
    columns, unknown = columns_of(table.head)
    people = _People(table, columns, giver, make_teams)
    rows = [people.planned(line) for line in table.lines]
    return Plan(table.form, rows, list(people.new_teams.values()), unknown)


class _People:
    """The rows that a list may be about, read at once, and what was met in the list so far."""

    def __init__(self, table: Table, columns: Mapping[str, int], giver: User, make_teams: bool) -> None:
        self.columns, self.giver, self.make_teams = columns, giver, make_teams
        self.may_give, self.sees_all = may_give(giver), sees_everything(giver)
        names = {User.normalize_username(cell) for line in table.lines if (cell := self._username(line))}
        allowed = visible(User.objects.all(), giver).select_related("team").prefetch_related("groups")
        self.users = allowed.in_bulk(list(names), field_name="username")
        self.known = {name.casefold(): name for name in User.objects.values_list("username", flat=True)}
        addresses = User.objects.exclude(email="").values_list("email", "username")
        self.addresses = {email.casefold(): username for email, username in addresses}
        self.teams = {team.name.casefold(): team for team in visible(Team.objects.all(), giver)}
        self.all_teams = {name.casefold() for name in Team.objects.values_list("name", flat=True)}
        self.new_teams: dict[str, str] = {}
        self.met: dict[str, int] = {}
        self.met_addresses: dict[str, str] = {}

    def _username(self, line: Line) -> str:
        position = self.columns["username"]
        return line.cells[position] if position < len(line.cells) else ""

    def planned(self, line: Line) -> PlannedRow:
        """Return what the row `line` does."""
        cells = {
            name: line.cells[position] if position < len(line.cells) else "" for name, position in self.columns.items()
        }
        row = PlannedRow(line.number, str(User.normalize_username(cells["username"])))
        by_position = {position: name for name, position in self.columns.items()}
        for position, text in line.faults.items():
            if position in by_position:
                row.faults.append((by_position[position], text))
                cells[by_position[position]] = ""
        read = read_cells(cells)
        row.faults += read.faults
        if not any(column == "username" for column, _text in row.faults):
            self._find(row)
        if row.user is not None:
            self._fill(row, read)
        return row

    def _find(self, row: PlannedRow) -> None:
        """Put the person of the row into it, or what is wrong with the username."""
        folded = row.username.casefold()
        if not row.username:
            row.faults.append(("username", _("is missing")))
        elif folded in self.met:
            row.faults.append(("username", _("is in row %(row)d already") % {"row": self.met[folded]}))
        elif row.username in self.users:
            row.user = self.users[row.username]
            if row.user.is_superuser and not self.giver.is_superuser:
                row.user = None
                row.faults.append(("username", _("is a superuser, whom only another one changes")))
        elif row.username == self.known.get(folded):
            row.faults.append(("username", _("is somebody whom you may not change")))
        elif folded in self.known:
            text = _("differs from the existing username %(name)s only in upper and lower case")
            row.faults.append(("username", text % {"name": self.known[folded]}))
        else:
            row.user = User(username=row.username)
        self.met.setdefault(folded, row.number)

    def _fill(self, row: PlannedRow, read: Cells) -> None:
        """Put what the row says into the person, and note each difference."""
        user = row.user
        assert user is not None
        if "name" in read.values and user.get_full_name() != read.values["name"]:
            before = user.get_full_name()
            # One field takes a name in whatever order its language has.
            user.first_name, user.last_name = read.values["name"], ""
            row.columns += ["first_name", "last_name"]
            row.changes.append(Change("name", before, read.values["name"]))
        for column in _PLAIN:
            if column in read.values:
                self._set(row, column, read.values[column])
        if "team" in read.values:
            self._set_team(row, read.values["team"])
        if not self.sees_all and not row.new_team and (user.team is None or user.team not in self.teams.values()):
            row.faults.append(("team", _("must be one of your teams")))
        if "roles" in read.values:
            self._set_roles(row, read.values["roles"])
        if user.pk == self.giver.pk and ("is_active" in row.columns or row.roles is not None):
            row.faults.append(("", _("is yourself: neither your roles nor whether you are active is yours to change")))
        self._check(row)

    def _set(self, row: PlannedRow, column: str, value: Any) -> None:
        user = row.user
        before = getattr(user, column)
        if column == "email":
            value = User.objects.normalize_email(value)
            self._note_address(row, value)
        if before == value:
            return
        setattr(user, column, value)
        row.columns.append(column)
        row.changes.append(Change(column, _shown(before), _shown(value)))

    def _note_address(self, row: PlannedRow, email: str) -> None:
        folded = email.casefold()
        holder = self.met_addresses.get(folded) or self.addresses.get(folded)
        if email and holder and holder != row.username:
            row.notes.append(("email", _("is the address of %(name)s too") % {"name": holder}))
        self.met_addresses.setdefault(folded, row.username)

    def _set_team(self, row: PlannedRow, name: str) -> None:
        user = row.user
        assert user is not None
        before = user.team.name if user.team is not None else ""
        team = self.teams.get(name.casefold()) if name else None
        if name and team is None:
            self._set_new_team(row, name, before)
            return
        if team is not None and not team.is_active and team != user.team:
            row.faults.append(("team", _("%(name)s is not active") % {"name": team.name}))
        elif team != user.team:
            user.team = team
            row.columns.append("team")
            row.changes.append(Change("team", before, team.name if team is not None else ""))

    def _set_new_team(self, row: PlannedRow, name: str, before: str) -> None:
        if not self.make_teams or name.casefold() in self.all_teams:
            row.faults.append(("team", _("there is no team %(name)s") % {"name": name}))
            return
        try:
            Team(name=name).clean_fields(exclude=["parent", "lead", "policy"])
        except ValidationError as error:
            row.faults += [("team", text) for text in error.messages]
            return
        row.new_team = self.new_teams.setdefault(name.casefold(), name)
        row.changes.append(Change("team", before, row.new_team))

    def _set_roles(self, row: PlannedRow, roles: set[str]) -> None:
        user = row.user
        assert user is not None
        before = set() if user._state.adding else roles_of(user)
        if roles == before:
            return
        if refused := (roles ^ before) - self.may_give:
            names = ", ".join(str(Role(role).label) for role in sorted(refused))
            row.faults.append(("roles", _("you may neither give nor take: %(roles)s") % {"roles": names}))
            return
        if user.is_superuser and Role.ADMINISTRATOR not in roles:
            row.faults.append(("roles", _("a superuser is an administrator; change that on the page of the person")))
            return
        row.roles = roles
        row.changes.append(Change("roles", _role_names(before), _role_names(roles)))
        is_staff = bool(roles & STAFF_ROLES) or user.is_superuser
        if is_staff != user.is_staff:
            user.is_staff = is_staff
            row.columns.append("is_staff")

    def _check(self, row: PlannedRow) -> None:
        """Note what the model has against the person."""
        user = row.user
        assert user is not None
        found: dict[str, list[ValidationError]] = {}
        try:
            user.clean_fields(exclude=["password", "policy", "team"])
            # Whether a service has a team is known only when the new teams are there.
            if not row.new_team:
                user.clean()
        except ValidationError as error:
            error.update_error_dict(found)
        told = {column for column, _text in row.faults}
        for name, errors in found.items():
            # What an existing person has had before is not the list's fault.
            if not user._state.adding and name not in (*row.columns, NON_FIELD_ERRORS):
                continue
            column = "name" if name == "first_name" and "name" in self.columns else name
            column = column if column in NAMES else ""
            if not column or column not in told:
                row.faults += [(column, text) for error in errors for text in error.messages]


def carry_out(plan: Plan) -> list[User]:
    """Write what `plan` says, all or nothing, and return the people who are new. Raises `ValueError` for faults.

    Plan and carry out in one transaction, so that what was read is what is written.
    """
    if not plan.is_clean:
        raise ValueError("The plan has faults.")
    made: list[User] = []
    with audit.together():
        teams = {name: Team.objects.create(name=name) for name in plan.new_teams}
        groups = {name: Group.objects.get_or_create(name=name)[0] for name in _given(plan.rows)}
        for row in plan.rows:
            user = row.user
            assert user is not None
            if row.new_team:
                user.team = teams[row.new_team]
                row.columns.append("team")
            if user._state.adding:
                user.set_unusable_password()
                made.append(user)
            else:
                if row.columns:
                    user.save(update_fields=row.columns)
                if row.roles is not None:
                    _give(user, row.roles, groups)
        # Together: on SQLite no call is let in while this writes, and it may be thousands.
        roles = {row.username: row.roles or set() for row in plan.rows}
        made = User.objects.bulk_create(made, batch_size=500)
        membership = User.groups.through
        membership._default_manager.bulk_create(
            [membership(user_id=user.pk, group_id=groups[name].pk) for user in made for name in roles[user.username]],
            batch_size=500,
        )
        audit.created(made)
        for user in made:
            if names := sorted(roles[user.username]):
                audit.record(AuditEntry.Action.CHANGE, user, {"groups": (None, names)})
    return made


def _given(rows: Collection[PlannedRow]) -> set[str]:
    return {role for row in rows for role in row.roles or ()}


def _give(user: User, roles: set[str], groups: Mapping[str, Group]) -> None:
    if surplus := [group for group in user.groups.all() if group.name in Role.values and group.name not in roles]:
        user.groups.remove(*surplus)
    if roles:
        user.groups.add(*(groups[role] for role in sorted(roles)))


def _role_names(roles: set[str]) -> str:
    return ", ".join(str(role.label) for role in Role if role.value in roles)


def _shown(value: Any) -> str:
    if isinstance(value, bool):
        return _("yes") if value else _("no")
    return str(value)
