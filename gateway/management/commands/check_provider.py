"""`manage.py check_provider NAME`: run the self-test against a live provider and print the compatibility cards."""

import argparse
import json
import unicodedata
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.utils.translation import gettext as _

from gateway.selftest import check_and_store, models_to_test, write_found
from gateway.selftest_texts import listed, mark_of, name_of, sentence_of, totals_of
from providers.models import Model, Provider
from providers.selftest import Card, Options, is_usable

_BAD_NAME, _UNUSABLE, _INTERRUPTED = 2, 1, 130
_LIMIT_S, _LONG_LIMIT_S = 900.0, 3600.0
_COLOURS = {"ok": "32", "partial": "33", "no": "31", "error": "31", "skipped": "2"}


class Command(BaseCommand):
    help = (
        "Test live models of a provider by a battery of real calls, which cost tokens and are not in the books. "
        "Exits with 0 when every model answers, streams and reports its usage, 1 when one does not, 2 for a bad name."
    )

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        parser.add_argument("name", help="the provider")
        chosen = parser.add_mutually_exclusive_group()
        chosen.add_argument(
            "--model", action="append", default=[], metavar="ID", help="a model to test; more than one may be given"
        )
        chosen.add_argument("--all-models", action="store_true", help="test all enabled models, not only three")
        parser.add_argument("--long", action="store_true", help="also prompts that fill the context window: costs more")
        parser.add_argument("--write", action="store_true", help="write what was found to the models")
        parser.add_argument("--json", action="store_true", help="print the cards as a JSON list")

    def handle(self, *_args: Any, **options: Any) -> None:
        models = self._models(options["name"], options["model"], all_models=options["all_models"])
        limit_s = _LONG_LIMIT_S if options["long"] else _LIMIT_S
        try:
            cards = check_and_store(models, Options(long_prompts=options["long"], total_limit_s=limit_s))
        except KeyboardInterrupt as error:
            raise CommandError(_("Interrupted; nothing was stored."), returncode=_INTERRUPTED) from error
        if options["json"]:
            self.stdout.write(json.dumps(cards, ensure_ascii=False, indent=2))
        for model, card in zip(models, cards, strict=True):
            if not options["json"]:
                self._print(card)
            if options["write"]:
                self._write(model, quiet=options["json"])
        unusable = [card["model"] for card in cards if not is_usable(card)]
        if unusable:
            text = _("Cannot be used as they are: %(names)s.") % {"names": ", ".join(unusable)}
            raise CommandError(text, returncode=_UNUSABLE)

    def _models(self, name: str, model_ids: list[str], *, all_models: bool) -> list[Model]:
        provider = Provider.objects.filter(name=name).first()
        if provider is None:
            names = ", ".join(Provider.objects.values_list("name", flat=True)) or "-"
            text = _("There is no provider %(name)s; known are: %(names)s.") % {"name": name, "names": names}
            raise CommandError(text, returncode=_BAD_NAME)
        if model_ids:
            rows = {row.model_id: row for row in provider.models.select_related("provider")}
            unknown = [model_id for model_id in model_ids if model_id not in rows]
            if unknown:
                text = _("%(provider)s has no model %(names)s.") % {"provider": name, "names": ", ".join(unknown)}
                raise CommandError(text, returncode=_BAD_NAME)
            return [rows[model_id] for model_id in dict.fromkeys(model_ids)]
        models = models_to_test(provider, None) if all_models else models_to_test(provider)
        if not models:
            text = _("The provider %(provider)s has no enabled model to test; refresh its list first.")
            raise CommandError(text % {"provider": name}, returncode=_BAD_NAME)
        return models

    def _print(self, card: Card) -> None:
        in_colour = self.stdout.isatty()
        names = [name_of(row) for row in card["rows"]]
        width = max(map(_width, names))
        self.stdout.write(f"{card['model']} ({card['wire_format']})")
        for row, name in zip(card["rows"], names, strict=True):
            sign, word = mark_of(row["status"])
            if in_colour:
                sign = f"\033[{_COLOURS[row['status']]}m{sign}\033[0m"
            seconds = f"{row['latency_ms'] / 1000:.1f} s" if row["latency_ms"] else ""
            padding = " " * (width - _width(name))
            self.stdout.write(f"  {sign} {name}{padding}  {seconds:>8}  {word}: {sentence_of(row)}")
        for head, value in (
            (_("found capabilities"), listed(card["capabilities"])),
            (_("not decided"), listed(card["unknown"])),
            (_("flags that it needs"), listed(card["flags"])),
            (_("flags worth a try"), listed(card["hints"])),
            (_("used by the test"), totals_of(card)),
        ):
            self.stdout.write(f"  {head}: {value}")

    def _write(self, model: Model, *, quiet: bool) -> None:
        fields = write_found(model)
        out = self.stderr if quiet else self.stdout
        if fields:
            out.write(_("Written to %(model)s: %(fields)s.") % {"model": model, "fields": ", ".join(fields)})
        else:
            out.write(_("Nothing to write to %(model)s.") % {"model": model})


def _width(text: str) -> int:
    """Return the columns that `text` takes in a terminal, where Chinese characters are two wide."""
    return sum(2 if unicodedata.east_asian_width(character) in "WF" else 1 for character in text)
