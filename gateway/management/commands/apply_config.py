"""`manage.py apply_config FILE`: bring the configuration to what a file says."""

import argparse
import sys
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from gateway.config.apply import Refused, apply
from gateway.settings import secret


class Command(BaseCommand):
    help = "Apply a configuration file (YAML or JSON): all of it or, when anything in it is wrong, nothing."

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        parser.add_argument("file", help="the file; - reads standard input")
        parser.add_argument("--dry-run", action="store_true", help="print the differences and change nothing")
        parser.add_argument(
            "--prune",
            action="store_true",
            help="remove what the file does not name, of the sections it contains; people, teams, keys and quotas "
            "are deactivated",
        )
        parser.add_argument(
            "--keys-out",
            type=Path,
            metavar="FILE",
            help="append the secrets made for keys that have none in the file, as JSON lines, mode 600",
        )

    def handle(self, *_args: Any, **options: Any) -> None:
        try:
            result = apply(
                _read(options["file"]),
                read_secret=secret,
                dry_run=options["dry_run"],
                prune=options["prune"],
                keys_out=Path(options["keys_out"]) if options["keys_out"] else None,
            )
        except Refused as error:
            head = ngettext(
                "The file has %(count)s problem; nothing was changed.",
                "The file has %(count)s problems; nothing was changed.",
                len(error.problems),
            ) % {"count": len(error.problems)}
            raise CommandError("\n".join([head, *error.problems])) from error
        for line in [*result.changes, *result.notes]:
            self.stdout.write(line)
        if not result.changes:
            self.stdout.write(_("No changes."))
        elif options["dry_run"]:
            self.stdout.write(_("Dry run: nothing was changed."))


def _read(name: str) -> str:
    """Return the text of the file, or of standard input. Raises `CommandError`."""
    try:
        data = sys.stdin.buffer.read() if name == "-" else Path(name).read_bytes()
        return data.decode("utf-8-sig")
    except OSError as error:
        raise CommandError(_("Cannot read %(name)s: %(error)s.") % {"name": name, "error": error.strerror}) from error
    except UnicodeDecodeError as error:
        raise CommandError(_("%(name)s is not UTF-8 text.") % {"name": name}) from error
