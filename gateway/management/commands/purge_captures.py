from typing import Any

from django.core.management.base import BaseCommand, CommandParser
from django.utils import timezone

from gateway.capture import purge


class Command(BaseCommand):
    help = "Delete captures that have expired; usage and calls stay. The server also does this by itself, every hour."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--all", action="store_true", help="delete every capture, expired or not")

    def handle(self, *args: Any, **options: Any) -> None:
        self.stdout.write(f"Deleted {purge(timezone.now(), everything=options['all'])} captures.")
