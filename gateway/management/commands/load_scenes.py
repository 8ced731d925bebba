"""`manage.py load_scenes`: make the scenes that are offered ready-made."""

import argparse
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError
from django.utils import translation
from django.utils.translation import gettext as _

from routing.offered import NoModels, Which, offer, standing


class Command(BaseCommand):
    help = (
        "Make the four scenes to begin with (general, chat, code changes, new features), or the four templates, with "
        "routes of models that exist. Scenes that exist are left alone."
    )

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        parser.add_argument("--templates", action="store_true", help="make the templates instead")
        parser.add_argument(
            "--language",
            choices=[code for code, _name in settings.LANGUAGES],
            default=settings.LANGUAGE_CODE,
            help="of the names and descriptions; examples come in all languages",
        )
        parser.add_argument(
            "--replace", action="store_true", help="overwrite the texts of those of the scenes that exist"
        )
        parser.add_argument("--noinput", "--no-input", action="store_true", help="do not ask before overwriting")

    def handle(self, *_args: Any, **options: Any) -> None:
        which: Which = "templates" if options["templates"] else "defaults"
        with translation.override(options["language"]):
            if options["replace"] and not options["noinput"]:
                self._confirm(which, options["language"])
            try:
                offers = offer(which, options["language"], replace=options["replace"])
            except NoModels as error:
                raise CommandError(_("There is no enabled model yet. Add a provider first.")) from error
            said = {"made": _("made"), "replaced": _("replaced"), "kept": _("kept as it is")}
            for one in offers:
                targets = ", ".join(str(entry) for entry in one.scene.route.entries.select_related("model__provider"))
                self.stdout.write(f"{one.scene.name}: {said[one.outcome]} -> {targets}")

    def _confirm(self, which: Which, language: str) -> None:
        """Ask before scenes are overwritten. Raises `CommandError` unless the answer is yes."""
        names = ", ".join(scene.name for scene in standing(which, language))
        if not names:
            return
        question = _("The names, descriptions and examples of these scenes will be overwritten: %(names)s.")
        self.stdout.write(question % {"names": names})
        try:
            answer = input(_("Type yes to go on: "))
        except EOFError:
            answer = ""
        if answer.strip().lower() != "yes":
            raise CommandError(_("Nothing was changed."))
