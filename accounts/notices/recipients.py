"""Who is told of an event.

Channels   Those that are enabled and asked for the kind. A channel of a team hears of what concerns that team or a
           team below it; one without a team hears of everything.
People     The owner, of what concerns a key or a user; the lead, of what concerns a team. A service is no person: the
           lead of its team hears of it. Only active people with an address, and only while the settings say so.
"""

from dataclasses import dataclass
from typing import Any

from django.conf import settings

from accounts.models import ApiKey, Notification, NotificationChannel, Quota, Team, User
from accounts.notices import events
from routing.models import RuntimeSettings


@dataclass(slots=True)
class _Concern:
    """What an event is about: its facts, completed, the team it belongs to, the person it is said to."""

    facts: dict[str, Any]
    team: Team | None = None
    person: User | None = None


def distribute(row: Notification) -> list[Notification]:
    """Return a row, not yet saved, for each recipient of the event in `row`."""
    concern = _concern_of(row.event, row.content)
    rows = [
        Notification(channel=channel, content=concern.facts, **_same(row)) for channel in _channels(row.event, concern)
    ]
    if (person := _mailed(concern)) is not None:
        about = {"language": _language(person), "time_zone": person.time_zone}
        rows.append(Notification(recipient=person.email, content=concern.facts | about, **_same(row)))
    return rows


def _same(row: Notification) -> dict[str, Any]:
    return {"event": row.event, "occasion": row.occasion, "created_at": row.created_at}


def _concern_of(kind: str, facts: dict[str, Any]) -> _Concern:
    if kind in (events.QUOTA_WARNING, events.QUOTA_EXHAUSTED):
        return _of_quota(facts)
    if kind in (events.KEY_FLAGGED, events.KEY_EXPIRING):
        key = ApiKey.objects.select_related("user__team__lead").get(pk=facts["key_id"])
        named = {**facts, "name": str(key), "team": _name(key.user.team)}
        return _Concern(named, key.user.team, _answering(key.user))
    return _Concern(dict(facts))


def _of_quota(facts: dict[str, Any]) -> _Concern:
    quota = Quota.objects.select_related("team__lead", "user__team__lead", "key__user__team__lead").get(
        pk=facts["quota_id"]
    )
    team: Team | None
    if quota.key is not None:
        subject, name, team, person = "key", str(quota.key), quota.key.user.team, _answering(quota.key.user)
    elif quota.user is not None:
        subject, name, team, person = "user", quota.user.username, quota.user.team, _answering(quota.user)
    else:
        assert quota.team is not None
        subject, name, team, person = "team", quota.team.name, quota.team, quota.team.lead
    named = {
        **facts,
        "subject": subject,
        "name": name,
        "team": _name(team),
        "unit": quota.unit,
        "currency": quota.currency if quota.unit == Quota.Unit.COST else "",
        "window": quota.window,
        "action": quota.action,
    }
    return _Concern(named, team, person)


def _name(team: Team | None) -> str:
    return team.name if team is not None else ""


def _answering(user: User) -> User | None:
    """Return who answers for the keys of `user`."""
    if not user.is_service:
        return user
    return user.team.lead if user.team is not None else None


def _channels(kind: str, concern: _Concern) -> list[NotificationChannel]:
    teams = _with_those_above(concern.team)
    return [
        channel
        for channel in NotificationChannel.objects.filter(is_enabled=True)
        if events.is_for(kind, channel.events) and (channel.team_id is None or channel.team_id in teams)
    ]


def _with_those_above(team: Team | None) -> set[int]:
    if team is None:
        return set()
    parents = dict(Team.objects.values_list("pk", "parent_id"))
    found: set[int] = set()
    above: int | None = team.pk
    while above is not None and above not in found:
        found.add(above)
        above = parents.get(above)
    return found


def _mailed(concern: _Concern) -> User | None:
    """Return the person who gets a mail."""
    person = concern.person
    if person is None or not person.email or not person.is_active or person.is_service:
        return None
    # Without a mail server there is nobody to tell, and no reason to report a failure for each of a thousand people.
    return person if settings.MAIL_IS_SET_UP and RuntimeSettings.load().mails_people else None


def _language(person: User) -> str:
    known = {code for code, _label in settings.LANGUAGES}
    return person.language if person.language in known else settings.LANGUAGE_CODE
