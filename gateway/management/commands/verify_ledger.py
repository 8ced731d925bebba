from itertools import islice
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from accounts.verification import consistent_view, differences


class Command(BaseCommand):
    help = (
        "Check that calls and corrections add up to daily usage, calls to quota windows, and closed months to what "
        "they were closed with. Exits with 1 and the first difference when they do not. Safe while the gateway serves."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--all", action="store_true", help="Print every difference.")

    def handle(self, *args: Any, **options: Any) -> None:
        count = 0
        with consistent_view():
            for line in islice(differences(), None if options["all"] else 1):
                self.stderr.write(line)
                count += 1
        if count:
            more = "" if options["all"] else " This is the first difference; --all prints every one."
            raise CommandError(f"The books do not agree.{more}")
        self.stdout.write("The books agree.")
