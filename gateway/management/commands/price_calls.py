from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

from django.core.management.base import BaseCommand, CommandError, CommandParser

from accounts.late_prices import price_calls
from providers.targets import price_history
from routing.models import RuntimeSettings


class Command(BaseCommand):
    help = (
        "Price calls that were booked without a cost, at the price that was in force when they began. A cost that is "
        "there stays; days and quotas follow in the same transaction. To be repeated at will."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--model", required=True, metavar="PROVIDER/MODEL", help="As the calls name their target.")
        parser.add_argument("--since", metavar="DAY", help="Calls from this day on, like 2026-11-01.")
        parser.add_argument("--until", metavar="DAY", help="Calls before this day.")
        parser.add_argument("--dry-run", action="store_true", help="Only say what would be done.")

    def handle(self, *args: Any, **options: Any) -> None:
        provider_name, slash, model_name = options["model"].partition("/")
        if not slash or not provider_name or not model_name:
            raise CommandError("--model must be written PROVIDER/MODEL.")
        zone = ZoneInfo(RuntimeSettings.load().business_time_zone)
        since, until = (_moment(options[name], f"--{name}", zone) for name in ("since", "until"))
        try:
            price_at = price_history(provider_name, model_name, zone)
        except LookupError:
            raise CommandError(f"There is no provider {provider_name}.") from None
        dry_run = options["dry_run"]
        summary = price_calls(
            provider_name, model_name, price_at, by="price_calls", since=since, until=until, dry_run=dry_run
        )
        verb = "would be priced" if dry_run else "priced"
        self.stdout.write(f"{options['model']}: {summary.priced} calls {verb}, {summary.in_words()}.")
        if summary.corrected:
            verb = "would be booked" if dry_run else "booked"
            self.stdout.write(
                f"{summary.corrected} calls are of closed months: their price {verb} as corrections of the open month, "
                f"{summary.corrected_in_words()}."
            )
        if summary.unknown:
            self.stdout.write(
                f"{summary.unknown} calls stay without a cost: no price was in force when they began. Add one that is "
                "valid from before them."
            )


def _moment(text: str | None, option: str, zone: ZoneInfo) -> datetime | None:
    """Return a day's midnight in the business time zone, or a moment as it is written."""
    if text is None:
        return None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise CommandError(f"{option} must be a day like 2026-11-01.") from None
    return moment if moment.tzinfo else moment.replace(tzinfo=zone)
