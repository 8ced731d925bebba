"""`manage.py export_config`: the configuration as a file."""

import argparse
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.db import transaction
from django.utils.translation import gettext as _

from gateway.config.export import export


class Command(BaseCommand):
    help = "Print the configuration as YAML for apply_config, without secrets."

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        parser.add_argument("--output", type=Path, metavar="FILE", help="write to a file instead of printing")

    def handle(self, *_args: Any, **options: Any) -> None:
        with transaction.atomic():  # one moment, not several
            text = export()
        if options["output"] is None:
            self.stdout.write(text, ending="")
            return
        try:
            Path(options["output"]).write_text(text, encoding="utf-8")
        except OSError as error:
            raise CommandError(
                _("Cannot write %(name)s: %(error)s.") % {"name": options["output"], "error": error.strerror}
            ) from error
