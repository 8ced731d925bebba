"""`manage.py replay_routing`: decide recorded calls again under another policy, and say what would move."""

import argparse
import json
from datetime import UTC, datetime, time, timedelta
from decimal import Decimal
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.utils import timezone
from django.utils.dateparse import parse_date, parse_datetime

from gateway.replay import Replayed, Totals, recorded_calls, replay
from routing.snapshot import Snapshot, load


class Command(BaseCommand):
    help = (
        "Decide the calls since a time again, as the policy is now. No model is called and nothing is changed. Words "
        "count where the request was kept whole."
    )

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        parser.add_argument("--policy", required=True, help="the name of the policy to decide by")
        parser.add_argument("--since", help="a date or time, in the business time zone; default: a day ago")
        parser.add_argument("--until", help="a date or time; default: now")
        parser.add_argument("--of", default="", metavar="POLICY", help="only calls that this policy decided")
        parser.add_argument("--limit", type=int, default=10_000, help="the newest so many calls; default: 10000")
        parser.add_argument("--moved", action="store_true", help="also print each call that would move")
        parser.add_argument("--json", action="store_true", help="print the totals as JSON")

    def handle(self, *_args: Any, **options: Any) -> None:
        snapshot = load()
        policy = next((each for each in snapshot.policies.values() if each.name == options["policy"]), None)
        if policy is None:
            raise CommandError(f"There is no policy {options['policy']}.")
        if options["limit"] < 1:
            raise CommandError("--limit: give at least 1.")
        now = timezone.now()
        since = _moment(options["since"], snapshot, "--since") or now - timedelta(days=1)
        until = _moment(options["until"], snapshot, "--until") or now
        calls = recorded_calls(since, until, policy_name=options["of"], limit=options["limit"])
        totals = Totals()
        for each in replay(snapshot, policy, calls):
            totals.add(each)
            if options["moved"] and each.is_moved and not options["json"]:
                self.stdout.write(_line(each))
        self.stdout.write(_as_json(totals) if options["json"] else _as_text(totals))


def _moment(text: str | None, snapshot: Snapshot, option: str) -> datetime | None:
    """Return the moment that `text` names. Raises `CommandError`."""
    if not text:
        return None
    zone = snapshot.settings.business_time_zone
    try:
        moment = parse_datetime(text)
        day = parse_date(text) if moment is None else None
        if day is not None:
            moment = datetime.combine(day, time())
        if moment is not None:
            return (moment if moment.tzinfo else moment.replace(tzinfo=zone)).astimezone(UTC)
    except (ValueError, OverflowError):
        pass  # the 31st of February, the first day of the calendar
    raise CommandError(f"{option}: {text} is no date or time. Write 2026-01-31 or 2026-01-31T08:00.")


def _line(each: Replayed) -> str:
    call = each.recorded.call
    scenes = f"{call.scene_name or '-'} -> {each.scene or '-'}"
    return f"{call.request_id} {call.kind}: {each.recorded.target} -> {each.target} (scene {scenes}, by {each.by})"


def _as_text(totals: Totals) -> str:
    lines = [
        f"{totals.calls} calls, {totals.by_words} of them with their words",
        f"{totals.moved} would go to another target",
        *(f"  {count} from {old} to {new}" for (old, new), count in totals.moves.most_common()),
        f"{totals.asked} would ask a classifier model",
        f"{totals.unknown} cannot be decided without their words",
        f"{totals.refused} would be refused",
        f"{totals.unpriced} have no known cost before or after",
    ]
    for currency in sorted(totals.before):
        old, new = totals.before[currency], totals.after.get(currency, Decimal(0))
        lines.append(f"cost: {old.normalize():f} -> {new.normalize():f} {currency}")
    others = sorted(totals.after.keys() - totals.before)
    lines += [f"cost: 0 -> {totals.after[currency].normalize():f} {currency}" for currency in others]
    return "\n".join(lines)


def _as_json(totals: Totals) -> str:
    document = {
        **{name: getattr(totals, name) for name in ("calls", "by_words", "moved", "asked", "unknown", "refused")},
        "unpriced": totals.unpriced,
        "before": {currency: str(cost) for currency, cost in totals.before.items()},
        "after": {currency: str(cost) for currency, cost in totals.after.items()},
        "moves": [{"from": old, "to": new, "calls": count} for (old, new), count in totals.moves.most_common()],
    }
    return json.dumps(document, ensure_ascii=False, indent=2)
