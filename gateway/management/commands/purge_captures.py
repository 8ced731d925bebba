from typing import Any

from django.core.management.base import BaseCommand, CommandParser
from django.utils import timezone
from django.utils.translation import gettext_noop

from accounts import audit
from accounts.models import AuditEntry
from gateway.capture import purge
from routing.models import RuntimeSettings

# As the audit log says it.
DELETED = gettext_noop("Deleted kept prompts and answers.")


class Command(BaseCommand):
    help = "Delete captures that have expired; usage and calls stay. The server also does this by itself, every hour."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--all", action="store_true", help="delete every capture, expired or not")

    def handle(self, *args: Any, **options: Any) -> None:
        count = purge(timezone.now(), everything=options["all"])
        if count:
            audit.record(AuditEntry.Action.OTHER, RuntimeSettings.load(), {"captures": (count, 0)}, DELETED)
        self.stdout.write(f"Deleted {count} captures.")
