from datetime import date, timedelta
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from accounts.rebuild import rebuild_days


class Command(BaseCommand):
    help = (
        "Make daily usage again the sum of calls and corrections, and print what changed. Calls go on meanwhile. A "
        "closed month is never changed: what differs there is printed, and the exit code is 1."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--from", dest="start", metavar="DAY", help="The first day, like 2026-11-01.")
        parser.add_argument("--to", dest="end", metavar="DAY", help="The last day.")
        parser.add_argument("--dry-run", action="store_true", help="Only say what would change.")

    def handle(self, *args: Any, **options: Any) -> None:
        start, last = _day(options["start"], "--from"), _day(options["end"], "--to")
        if start and last and last < start:
            raise CommandError("--to is before --from.")
        end = last + timedelta(days=1) if last else None
        verb = "would change" if options["dry_run"] else "changed"
        refused: list[str] = []
        found = False
        for repair in rebuild_days(start, end, dry_run=options["dry_run"]):
            month = f"{repair.month:%Y-%m}"
            if repair.is_closed:
                refused.append(month)
            for change in repair.changes:
                found = True
                amount = f", {change.cost.normalize():+f} {change.currency}" if change.currency else ""
                self.stdout.write(
                    f"{month}: {change.rows} rows {'differ' if repair.is_closed else verb}, {change.calls:+d} calls, "
                    f"{change.tokens:+d} tokens{amount}"
                )
        if refused:
            raise CommandError(f"Closed months are left as they are: {', '.join(refused)}.")
        if not found:
            self.stdout.write("Daily usage is the sum of calls and corrections; nothing to change.")


def _day(text: str | None, option: str) -> date | None:
    if text is None:
        return None
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise CommandError(f"{option} must be a day like 2026-11-01.") from None
