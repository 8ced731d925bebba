from typing import Any

from django.core.management.base import BaseCommand, CommandParser
from django.utils import timezone

from gateway.models import Capture

_BATCH = 1000


class Command(BaseCommand):
    help = "Delete captures that have expired; usage and calls stay."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--all", action="store_true", help="delete every capture, expired or not")

    def handle(self, *args: Any, **options: Any) -> None:
        captures = Capture.objects.all() if options["all"] else Capture.objects.filter(expires_at__lte=timezone.now())
        deleted = 0
        # In batches: one statement over a month of captures would hold the database for minutes.
        while ids := list(captures.values_list("pk", flat=True)[:_BATCH]):
            deleted += Capture.objects.filter(pk__in=ids).delete()[0]
        self.stdout.write(f"Deleted {deleted} captures.")
