"""What reports are made by and filtered by, and how a reader calls it."""

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import date
from typing import Any

from django.db.models import Model, QuerySet
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from accounts.models import ApiKey, Team, User


@dataclass(frozen=True, slots=True)
class Dimension:
    """One thing that numbers are grouped and filtered by.

    A time is the first day of a day, week (from Monday, as ISO 8601 counts) or month of the business time zone. A cost
    centre is the one that the team of then has today, as an organisation chart is read; everything else is as it was
    booked, so later changes of a person, key or model move no number.
    """

    name: str
    label: Any
    path: str = ""  # the column; of a time the tables differ
    is_time: bool = False
    is_of_call: bool = False  # in the calls only, not in the sums of a day


DIMENSIONS: dict[str, Dimension] = {
    dimension.name: dimension
    for dimension in (
        Dimension("month", _("month"), is_time=True),
        Dimension("week", _("week"), is_time=True),
        Dimension("day", _("day"), is_time=True),
        Dimension("team", _("team"), "team_id"),
        Dimension("cost_center", _("cost center"), "team__cost_center"),
        Dimension("user", _("user"), "user_id"),
        Dimension("key", _("key"), "key_id"),
        Dimension("model", _("model"), "model_name"),
        Dimension("provider", _("provider"), "provider_name"),
        Dimension("scene", _("scene"), "scene_name"),
        Dimension("kind", _("kind"), "kind"),
        Dimension("session", _("session"), "session_id", is_of_call=True),
        Dimension("subagent", _("subagent"), "agent_id", is_of_call=True),
    )
}
# What can be chosen beside: no dimension, because each amount has its currency anyway.
CURRENCY = "currency"
FILTERS = (*(name for name, dimension in DIMENSIONS.items() if not dimension.is_time), CURRENCY)


def teams_below(team_ids: Collection[int | None]) -> set[int | None]:
    """Return the teams with all those under them. One query."""
    parents = list(Team.objects.values_list("pk", "parent_id"))
    found = set(team_ids)
    while below := {team for team, parent in parents if parent in found and parent is not None} - found:
        found |= below
    return found


def top_teams(seen: Collection[int]) -> dict[int, int]:
    """Return of each of the teams `seen` the highest team above it that is seen, too. One query."""
    parents = dict(Team.objects.filter(pk__in=list(seen)).values_list("pk", "parent_id"))
    tops: dict[int, int] = {}
    for team in parents:
        top, passed = team, {team}
        while (above := parents.get(top)) in parents and above is not None and above not in passed:
            top = above
            passed.add(top)
        tops[team] = top
    return tops


def _rows(model: type[Model], ids: Collection[Any], *related: str) -> dict[Any, Any]:
    rows: QuerySet[Any] = model._default_manager.select_related(*related) if related else model._default_manager.all()
    return rows.in_bulk([one for one in ids if one is not None])


def labels_of(name: str, ids: Iterable[Any]) -> dict[Any, str]:
    """Return id -> text, as a reader knows it: of people, keys and teams that are no longer active too."""
    wanted = set(ids)
    labels: dict[Any, str] = {}
    if name == "team":
        labels = {pk: team.name for pk, team in _rows(Team, wanted).items()}
    elif name == "user":
        labels = {pk: user.username for pk, user in _rows(User, wanted).items()}
    elif name == "key":
        labels = {pk: str(key) for pk, key in _rows(ApiKey, wanted, "user").items()}
    elif name == "month":
        labels = {day: f"{day:%Y-%m}" for day in wanted}
    elif DIMENSIONS[name].is_time:
        labels = {day: day.isoformat() for day in wanted if isinstance(day, date)}
    else:
        labels = {text: str(text) for text in wanted if text}
    # Without a team, a scene, a target: a number belongs somewhere even so.
    return {one: labels.get(one) or gettext("(none)") for one in wanted}
