from datetime import date
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.utils import timezone

from accounts.audit import Actor, acting, record
from accounts.exports.monthly import MailNotSetUp, send, write_month
from accounts.models import AuditEntry, MonthlyExport


class Command(BaseCommand):
    help = (
        "Write the files of a month: calls and FOCUS as CSV, usage as a workbook, a statement of each team. What the "
        "scheduled export does, by hand and at any time; files that are there are replaced."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("month", metavar="YYYY-MM", help="Such as 2026-11.")
        parser.add_argument("--to", metavar="DIR", help="The folder that gets a folder of the month's name.")
        parser.add_argument("--mail", metavar="ADDRESS", nargs="+", default=[], help="Whom to send the files.")

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            month = date.fromisoformat(f"{options['month']}-01")
        except ValueError:
            raise CommandError("The month must be written like 2026-11.") from None
        target = Path(options["to"]) if options["to"] else settings.EXPORT_DIR
        with acting(Actor("export_month", AuditEntry.Via.COMMAND)):
            try:
                names = write_month(month, target, timezone.now())
            except OSError as error:
                raise CommandError(f"The files could not be written: {error}.") from None
            folder = target / options["month"]
            for name in names:
                self.stdout.write(str(folder / name))
            record(AuditEntry.Action.OTHER, MonthlyExport(month=month), note=f"export of the month: {len(names)} files")
            try:
                for address in options["mail"]:
                    send(month, folder, address)
                    self.stdout.write(f"Sent to {address}.")
            except MailNotSetUp:
                raise CommandError("No mail server is set up (EMAIL_URL); the files are in the folder.") from None
            except OSError as error:
                raise CommandError(f"The mail could not be sent: {error}.") from None
