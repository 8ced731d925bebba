from typing import Any

from django.core.management.base import BaseCommand, CommandParser

from routing.intent import training
from routing.models import TrainedScorer


class Command(BaseCommand):
    help = "Train the local scorers that smart policies lack. Saving a scene does so by itself."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--again", action="store_true", help="Train all of them anew, whatever is there.")

    def handle(self, *args: Any, **options: Any) -> None:
        if options["again"]:
            TrainedScorer.objects.all().delete()
        training.ensure_all()
        for row in TrainedScorer.objects.order_by("created_at"):
            names = ", ".join(row.report.get("scenes", []))
            self.stdout.write(f"{row}: {names}")
