"""Form fields for lists: prompts and lines in a text area, ticks for a fixed choice."""

import json
import re
from collections.abc import Iterable
from typing import Any

from django import forms
from django.core.exceptions import ValidationError
from django.core.validators import ProhibitNullCharactersValidator
from django.utils.translation import gettext_lazy as _
from django.utils.translation import ngettext_lazy

from routing.models.scenes import MAX_EXAMPLE_LENGTH, MAX_EXAMPLES

_SEPARATOR = re.compile(r"-{3,}")
# What no name of a model holds; brackets belong to patterns.
_NO_NAME = re.compile(r"[\s,;\"'{}，、；“”]|^\[.*\]$")
no_null_characters = ProhibitNullCharactersValidator()


def split_prompts(text: str) -> list[str]:
    """Return the prompts in `text`, without blanks around them and without empty and repeated ones.

    Each line is one. If a line consists of three or more hyphens, the first such line separates prompts of any number
    of lines instead.
    """
    # Only line feeds: a prompt may well hold what str.splitlines also counts.
    lines = text.replace("\r\n", "\n").replace("\r", "\n").split("\n")
    separator = next((line.strip() for line in lines if _SEPARATOR.fullmatch(line.strip())), None)
    if separator is None:
        return _distinct(lines)
    prompts: list[list[str]] = [[]]
    for line in lines:
        if line.strip() == separator:
            prompts.append([])
        else:
            prompts[-1].append(line)
    return _distinct("\n".join(prompt) for prompt in prompts)


def join_prompts(prompts: Iterable[str]) -> str:
    """Return the text of which `split_prompts` makes `prompts` again."""
    prompts = _distinct(prompts)
    hyphens = [line.strip() for prompt in prompts for line in prompt.split("\n") if _SEPARATOR.fullmatch(line.strip())]
    if not hyphens and not any("\n" in prompt or "\r" in prompt for prompt in prompts):
        return "\n".join(prompts)
    separator = "-" * max(3, *(len(line) + 1 for line in hyphens), 0)
    return "\n".join(f"{separator}\n{prompt}" for prompt in prompts)


def _distinct(texts: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(text for each in texts if (text := each.strip())))


class LinesField(forms.Field):
    """A list of texts, one per line. Blank lines and repetitions are left out."""

    def __init__(self, *, rows: int = 4, **kwargs: Any) -> None:
        widget = forms.Textarea(attrs={"rows": rows, "cols": 60})
        super().__init__(**{"required": False, "widget": widget, **kwargs})

    def prepare_value(self, value: Any) -> Any:
        """Return the text for the list `value`; what was typed stays as it is."""
        return self.joined([str(each) for each in value]) if isinstance(value, list | tuple) else value

    def to_python(self, value: Any) -> list[str]:
        """Return the list for what was typed."""
        return self.split(value) if isinstance(value, str) else list(value or ())

    def has_changed(self, initial: Any, data: Any) -> bool:
        """Say whether the list differs, not merely how it is typed."""
        before = initial() if callable(initial) else initial
        return not self.disabled and list(before or ()) != self.to_python(data)

    def validate(self, value: Any) -> None:
        """Raise `ValidationError` also for characters that PostgreSQL cannot keep."""
        super().validate(value)
        no_null_characters("\n".join(value))

    def split(self, text: str) -> list[str]:
        """Return the texts in `text`."""
        return _distinct(text.replace("\r", "\n").split("\n"))

    def joined(self, texts: list[str]) -> str:
        """Return `texts` as one text."""
        return "\n".join(texts)


class PatternsField(LinesField):
    """A list of names of models or patterns. What was copied out of a file, a JSON list, is one too."""

    def split(self, text: str) -> list[str]:
        """Return the patterns in `text`; a list of JSON that is none of texts stays as it was typed."""
        try:
            found = json.loads(text)
        except ValueError:
            return super().split(text)
        is_list = isinstance(found, list) and all(isinstance(each, str) and each.strip() for each in found)
        return _distinct(found) if is_list else super().split(text)

    def validate(self, value: Any) -> None:
        """Raise `ValidationError` for each line that names no model."""
        super().validate(value)
        text = _("“%(text)s” is no name of a model. Enter one name or pattern per line, without quotes and commas.")
        faults = [ValidationError(text, params={"text": pattern[:60]}) for pattern in value if _NO_NAME.search(pattern)]
        if faults:
            raise ValidationError(faults[:10])


class PromptsField(LinesField):
    """A list of prompts, also of such with several lines."""

    too_many = _("These are %(count)d prompts; up to %(limit)d are possible.")
    too_long = ngettext_lazy(
        "The prompt that begins with “%(begin)s” has %(count)d character; up to %(limit)d are possible.",
        "The prompt that begins with “%(begin)s” has %(count)d characters; up to %(limit)d are possible.",
        "count",
    )

    def validate(self, value: Any) -> None:
        """Raise `ValidationError` for too many prompts, and for each that is too long."""
        super().validate(value)
        if len(value) > MAX_EXAMPLES:
            raise ValidationError(self.too_many, params={"count": len(value), "limit": MAX_EXAMPLES})
        faults = [
            ValidationError(
                self.too_long, params={"begin": prompt[:30], "count": len(prompt), "limit": MAX_EXAMPLE_LENGTH}
            )
            for prompt in value
            if len(prompt) > MAX_EXAMPLE_LENGTH
        ]
        if faults:
            raise ValidationError(faults)

    def split(self, text: str) -> list[str]:
        return split_prompts(text)

    def joined(self, texts: list[str]) -> str:
        return join_prompts(texts)


class TicksField(forms.TypedMultipleChoiceField):
    """A list out of a fixed choice, as ticks."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**{"required": False, "empty_value": [], "widget": forms.CheckboxSelectMultiple, **kwargs})


class ConditionField(forms.NullBooleanField):
    """Whether something must hold, must not hold, or does not matter."""

    def __init__(self, **kwargs: Any) -> None:
        widget = forms.NullBooleanSelect()
        widget.choices = [("unknown", _("any")), ("true", _("yes")), ("false", _("no"))]
        super().__init__(**{"required": False, "widget": widget, **kwargs})
