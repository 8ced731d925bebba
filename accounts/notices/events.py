"""The events that are told, and what is said of each, in the language that is active.

An event is a kind, an occasion (what happened, so that it is told once) and facts: a JSON object. The facts are kept
with the message and put into words when it is sent, in the language and the time zone of who reads it.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, tzinfo
from decimal import Decimal
from typing import Any

from django.utils.translation import gettext, ngettext
from django.utils.translation import gettext_lazy as _

from accounts.models import Quota
from accounts.models.quotas import measured

Facts = Mapping[str, Any]
Lines = list[tuple[str, str]]  # label, value

INFO, WARNING, CRITICAL = "info", "warning", "critical"

QUOTA_WARNING = "quota_warning"
QUOTA_EXHAUSTED = "quota_exhausted"
KEY_FLAGGED = "key_flagged"
KEY_EXPIRING = "key_expiring"
MONTHLY_EXPORT = "monthly_export"
TEST = "test"


@dataclass(frozen=True, slots=True)
class Event:
    """Something that is told once per occasion."""

    kind: str
    occasion: str  # at most 200 characters
    facts: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Message:
    """What is said: plain text without line breaks, which may hold names that people chose."""

    title: str
    lines: tuple[tuple[str, str], ...]
    level: str

    def as_text(self) -> str:
        """Return the message as plain text of several lines."""
        return "\n".join([self.title, "", *(said(label, value) for label, value in self.lines)])


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of event."""

    label: Any
    level: str
    describe: Callable[[Facts, tzinfo], tuple[str, Lines]]  # title and lines
    is_usual: bool = True  # told to a channel that names no events


def said(label: str, value: str) -> str:
    """Return one line of a message."""
    return gettext("%(label)s: %(value)s") % {"label": label, "value": value} if label else value


def message_of(kind: str, facts: Facts, zone: tzinfo) -> Message:
    """Return what is said of an event in the active language, its times in `zone`."""
    row = KINDS[kind]
    title, lines = row.describe(facts, zone)
    clean = tuple((_one_line(label), _one_line(value)) for label, value in lines if value)
    return Message(_one_line(title), clean, row.level)


def _one_line(text: str) -> str:
    """Return `text` without line breaks and other control characters, which a name may hold."""
    return " ".join("".join(character if character.isprintable() else " " for character in text).split())


def _amount(value: Any) -> str:
    number = Decimal(str(value))
    text = f"{number:,.4f}" if abs(number) < 100 else f"{number:,.2f}"
    return text.rstrip("0").rstrip(".")


def _moment(value: Any, zone: tzinfo) -> str:
    # With the zone's name: abbreviations such as CST mean several.
    return f"{datetime.fromisoformat(value).astimezone(zone):%Y-%m-%d %H:%M} ({zone})" if value else ""


def _subject(facts: Facts) -> str:
    name = facts["name"]
    if facts["subject"] == "key":
        return gettext("key %(name)s") % {"name": name}
    if facts["subject"] == "user":
        return gettext("user %(name)s") % {"name": name}
    return gettext("team %(name)s") % {"name": name}


_AT_THE_LIMIT = {
    Quota.Action.BLOCK.value: _("calls are refused"),
    Quota.Action.WARN.value: _("calls go on"),
    Quota.Action.DOWNGRADE.value: _("calls go to a cheaper route"),
}


def _quota_lines(facts: Facts, zone: tzinfo) -> Lines:
    limit = measured(facts["unit"], facts["currency"], Decimal(str(facts["limit"])), _amount(facts["limit"]))
    values = {"used": _amount(facts["used"]), "limit": limit}
    return [
        (gettext("Used"), gettext("%(used)s of %(limit)s") % values),
        (gettext("Window"), str(Quota.Window(facts["window"]).label)),
        (gettext("Resets"), _moment(facts["resets_at"], zone) or gettext("never")),
        (gettext("At the limit"), str(_AT_THE_LIMIT.get(facts["action"], ""))),
    ]


def _quota_warning(facts: Facts, zone: tzinfo) -> tuple[str, Lines]:
    values = {"subject": _subject(facts), "percent": facts["percent"]}
    return gettext("Quota of %(subject)s: %(percent)s %% used") % values, _quota_lines(facts, zone)


def _quota_exhausted(facts: Facts, zone: tzinfo) -> tuple[str, Lines]:
    return gettext("Quota of %(subject)s is used up") % {"subject": _subject(facts)}, _quota_lines(facts, zone)


def _key_flagged(facts: Facts, zone: tzinfo) -> tuple[str, Lines]:
    seen = ngettext(
        "used from %(count)d network within %(hours)d hours",
        "used from %(count)d networks within %(hours)d hours",
        facts["networks"],
    ) % {"count": facts["networks"], "hours": facts["hours"]}
    return gettext("The key %(name)s may have leaked") % {"name": facts["name"]}, [
        (gettext("Reason"), seen),
        (gettext("What to do"), gettext("Rotate the key, unless its owner can explain it.")),
    ]


def _key_expiring(facts: Facts, zone: tzinfo) -> tuple[str, Lines]:
    title = ngettext(
        "The key %(name)s expires within %(days)d day",
        "The key %(name)s expires within %(days)d days",
        facts["days"],
    ) % {"name": facts["name"], "days": facts["days"]}
    return title, [
        (gettext("Expires"), _moment(facts["expires_at"], zone)),
        (gettext("What to do"), gettext("Have it extended, or use a new one from then on.")),
    ]


def _monthly_export(facts: Facts, zone: tzinfo) -> tuple[str, Lines]:
    values = {"month": facts["month"]}
    if facts.get("error"):
        return gettext("The export of %(month)s failed") % values, [(gettext("Error"), str(facts["error"]))]
    files = ", ".join(str(name) for name in facts.get("files", ()))
    return gettext("%(month)s was exported") % values, [(gettext("Files"), files)]


def _test(facts: Facts, zone: tzinfo) -> tuple[str, Lines]:
    lines = [(gettext("Channel"), str(facts.get("channel", ""))), (gettext("Sent"), _moment(facts.get("at"), zone))]
    return gettext("Test message of the gateway"), lines


KINDS: dict[str, Kind] = {
    QUOTA_WARNING: Kind(_("a quota runs low"), WARNING, _quota_warning),
    QUOTA_EXHAUSTED: Kind(_("a quota is used up"), CRITICAL, _quota_exhausted),
    KEY_FLAGGED: Kind(_("a key is used from many networks"), CRITICAL, _key_flagged),
    # Of a thousand colleagues somebody's key ends every day: its owner is told, a channel only where it asks for it.
    KEY_EXPIRING: Kind(_("a key expires soon"), WARNING, _key_expiring, is_usual=False),
    MONTHLY_EXPORT: Kind(_("a month was exported"), INFO, _monthly_export),
    TEST: Kind(_("test message"), INFO, _test),
}
# What a channel may be told of; a test is sent by hand.
CHOICES = [(name, kind.label) for name, kind in KINDS.items() if name != TEST]


def is_for(kind: str, chosen: list[str]) -> bool:
    """Return whether a channel that chose these events is told of `kind`. None chosen: the usual ones."""
    return kind in chosen if chosen else KINDS[kind].is_usual
