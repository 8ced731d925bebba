"""`manage.py map_families`: say what haiku, sonnet, opus and every other Claude mean here."""

import argparse
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.utils.translation import gettext as _

from gateway.config.apply import Refused
from gateway.families import FAMILIES, map_families


class Command(BaseCommand):
    help = "Map the names of Claude's models by family. A target is a model, route:NAME or scene:NAME."

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        for family, pattern in FAMILIES.items():
            parser.add_argument(f"--{family}", metavar="TARGET", help=f"what {pattern} means")
        parser.add_argument("--dry-run", action="store_true", help="print the differences and change nothing")

    def handle(self, *_args: Any, **options: Any) -> None:
        targets = {family: options[family] for family in FAMILIES if options[family] is not None}
        if not targets:
            raise CommandError(_("Name the target of at least one family."))
        try:
            result = map_families(targets, dry_run=options["dry_run"])
        except Refused as error:
            raise CommandError("\n".join(f"--{problem}" for problem in error.problems)) from error
        for line in result.changes or [_("No changes.")]:
            self.stdout.write(line)
