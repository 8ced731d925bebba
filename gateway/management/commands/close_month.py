from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from accounts.closing import MonthNotClosable, close_month, month_of, next_month, preview
from accounts.open_points import open_points


class Command(BaseCommand):
    help = (
        "Close the books of a month for good: what is found out later is booked in the open month. Refused while calls "
        "of the month run, while an earlier month is open, or when its books do not agree."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("month", metavar="YYYY-MM")
        parser.add_argument("--note", default="", help="Kept with the month.")
        parser.add_argument("--earlier", action="store_true", help="Close the earlier months first, in order.")
        parser.add_argument("--dry-run", action="store_true", help="Only say what would be closed, or why not.")

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            month = month_of(options["month"])
        except ValueError:
            raise CommandError("The month must be written like 2026-11.") from None
        try:
            if options["dry_run"]:
                seen = preview(month)
                self._print(f"{month:%Y-%m} would be closed", seen.totals)
                if seen.problems:
                    raise MonthNotClosable(seen.problems[0])
                for point in open_points(month):
                    self.stdout.write(point)
                return
            if options["earlier"]:
                while (earlier := next_month()) is not None and earlier < month:
                    self._close(earlier, options["note"])
            self._close(month, options["note"])
        except MonthNotClosable as error:
            raise CommandError(str(error)) from None

    def _close(self, month: Any, note: str) -> None:
        closed = close_month(month, note=note)
        self._print(f"{month:%Y-%m} is closed", closed.totals)

    def _print(self, head: str, totals: dict[str, Any]) -> None:
        costs = ", ".join(f"{sums['cost']} {currency}" for currency, sums in sorted(totals["costs"].items()))
        self.stdout.write(f"{head}: {totals['calls']} calls, {costs or 'no cost'}.")
