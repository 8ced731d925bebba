"""Teams: list, read, create, change."""

from datetime import datetime
from typing import Any

from django.db.models import Q
from ninja import Query, Router, Schema
from pydantic import Field

from accounts.models import Team
from gateway.manage.auth import Caller
from gateway.manage.errors import invalid
from gateway.manage.operations import Body, Text, operation, without_null
from gateway.manage.paging import Page, PageQuery, each, page_of
from gateway.manage.writing import apply_entry, find, find_to_change, save

router = Router(tags=["teams"])


class TeamOut(Schema):
    """A group of people whose usage is reported and limited together."""

    id: int
    name: str
    cost_center: str
    parent: str | None
    lead: str | None = Field(description="The username of the lead.")
    policy: str | None
    active: bool
    created_at: datetime


class TeamChange(Body):
    """What changes; what is absent stays."""

    name: Text = Field("", examples=["Platform"])
    cost_center: Text | None = Field(None, examples=["4711"])
    parent: Text | None = Field(None, description="The name of the team above.")
    lead: Text | None = Field(None, description="A username.")
    policy: Text | None = Field(None, description="The name of the policy; null: the default one.")
    active: bool | None = None


class TeamNew(TeamChange):
    """A new team."""

    name: Text = Field(min_length=1, examples=["Platform"])


class TeamFilter(PageQuery):
    """Which teams."""

    q: str = Field("", max_length=100, description="Part of the name or the cost centre.")
    parent: str = Field("", description="The name of the team above.")
    active: bool | None = None


def show(team: Team) -> TeamOut:
    return TeamOut(
        id=team.pk,
        name=team.name,
        cost_center=team.cost_center,
        parent=team.parent.name if team.parent else None,
        lead=team.lead.username if team.lead else None,
        policy=team.policy.name if team.policy else None,
        active=team.is_active,
        created_at=team.created_at,
    )


def _rows() -> Any:
    return Team.objects.select_related("parent", "lead", "policy")


@operation(router, "GET", "", "accounts.view_team", summary="List the teams", answer=Page[TeamOut])
def list_teams(caller: Caller, query: Query[TeamFilter]) -> Page[TeamOut]:
    rows = caller.visible(_rows())
    if query.q:
        rows = rows.filter(Q(name__icontains=query.q) | Q(cost_center__icontains=query.q))
    if query.parent:
        rows = rows.filter(parent__name=query.parent)
    if query.active is not None:
        rows = rows.filter(is_active=query.active)
    return page_of(rows, query, each(show))


@operation(router, "GET", "/{int:pk}", "accounts.view_team", summary="One team", answer=TeamOut)
def get_team(caller: Caller, pk: int) -> TeamOut:
    return show(find(caller, _rows(), pk=pk))


@operation(router, "POST", "", "accounts.add_team", summary="Create a team", answer=TeamOut, status=201)
def create_team(caller: Caller, data: TeamNew) -> TeamOut:
    name = data.name.strip()
    if Team.objects.filter(name=name).exists():
        raise invalid(name="there is a team of this name already")
    apply_entry("teams", data.given() | {"name": name})
    return show(_rows().get(name=name))


@operation(
    router,
    "PATCH",
    "/{int:pk}",
    "accounts.change_team",
    summary="Change a team",
    description="Teams are never deleted, for the books name them: `active: false` takes one out of use.",
    answer=TeamOut,
)
def change_team(caller: Caller, pk: int, data: TeamChange) -> TeamOut:
    team, given = find_to_change(caller, _rows(), pk=pk), data.given()
    without_null(given, "name")
    if "name" in given:
        save(team, {"name": given["name"].strip()})
    apply_entry("teams", given | {"name": team.name})
    return show(_rows().get(pk=pk))
