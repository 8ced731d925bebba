"""Checks of the values of a configuration file. Each problem is kept with the path of its field."""

import dataclasses
import difflib
import re
import typing
from collections.abc import Callable, Iterable, Mapping
from datetime import date, datetime, time
from decimal import Decimal
from typing import Any

from django.core.exceptions import ValidationError
from django.utils.translation import gettext as _

from accounts.addresses import clean_addresses
from accounts.networks import clean_networks
from gateway.config.document import FileMapping
from providers.presets import FLAG_TYPES

_DAY = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}\Z")
_TIME_OF_DAY = re.compile(r"[0-9]{2}:[0-9]{2}(:[0-9]{2})?\Z")


class Invalid(Exception):
    """A value is not as it must be. Empty: the problems were already reported at the paths inside it."""


class Problems:
    """Everything that is wrong with a file, in the order in which it was found."""

    def __init__(self) -> None:
        self._found: dict[tuple[str, str], None] = {}

    def add(self, path: str, message: str) -> None:
        self._found[path, message] = None

    def located(self) -> list[tuple[str, str]]:
        """Return (path, message) of each; the path of the whole is empty."""
        return list(self._found)

    def lines(self) -> list[str]:
        return [f"{path}: {message}" if path else message for path, message in self._found]

    def __bool__(self) -> bool:
        return bool(self._found)


# (value, path, problems) -> the clean value. Raises `Invalid`.
Check = Callable[[Any, str, Problems], Any]


@dataclasses.dataclass(frozen=True, slots=True)
class Field:
    """One field of a mapping. Absent leaves the stored value alone; null sets the model's default."""

    check: Check
    column: str = ""  # the model field that it sets; empty: the section's writer knows what to do
    required: bool = False
    nullable: bool = True
    flatten: bool = False  # the check gives a mapping whose fields stand as "name.field"


Shape = Mapping[str, Field]


def at(path: str, name: str) -> str:
    """Return the path of the field `name` below `path`."""
    return f"{path}.{name}" if path else name


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """Return "; did you mean x?", or nothing when no known word is near."""
    near = difflib.get_close_matches(word, list(known), n=1)
    return _("; did you mean %(word)s?") % {"word": near[0]} if near else ""


def text(value: Any, path: str, problems: Problems) -> str:
    """Accept text that a database and a terminal can hold."""
    if not isinstance(value, str):
        if isinstance(value, int | Decimal):
            raise Invalid(_("must be text; put it in quotes"))
        raise Invalid(_("must be text"))
    if "\x00" in value or (not value.isascii() and any("\ud800" <= char <= "\udfff" for char in value)):
        raise Invalid(_("holds characters that are not text"))
    return value


def name(value: Any, path: str, problems: Problems) -> str:
    """Accept text that is not empty."""
    clean = text(value, path, problems).strip()
    if not clean:
        raise Invalid(_("must not be empty"))
    return clean


def boolean(value: Any, path: str, problems: Problems) -> bool:
    if not isinstance(value, bool):
        raise Invalid(_("must be true or false"))
    return value


def whole_number(minimum: int) -> Check:
    def check(value: Any, path: str, problems: Problems) -> int:
        if isinstance(value, bool) or not isinstance(value, int) or value < minimum:
            raise Invalid(_("must be a whole number of at least %(minimum)s") % {"minimum": minimum})
        return value

    return check


def number(minimum: int) -> Check:
    def check(value: Any, path: str, problems: Problems) -> Decimal:
        if isinstance(value, int) and not isinstance(value, bool):
            value = Decimal(value)
        if not isinstance(value, Decimal) or not value.is_finite() or value < minimum:
            raise Invalid(_("must be a number of at least %(minimum)s") % {"minimum": minimum})
        return value

    return check


def seconds(value: Any, path: str, problems: Problems) -> float:
    return float(number(0)(value, path, problems))


def fraction(value: Any, path: str, problems: Problems) -> float:
    """Accept a number from 0 to 1."""
    clean: Decimal = number(0)(value, path, problems)
    if clean > 1:
        raise Invalid(_("must be a number from 0 to 1"))
    return float(clean)


def choice(*allowed: str) -> Check:
    def check(value: Any, path: str, problems: Problems) -> str:
        if not isinstance(value, str) or value not in allowed:
            near = did_you_mean(value, allowed) if isinstance(value, str) else ""
            raise Invalid(_("must be one of %(allowed)s") % {"allowed": ", ".join(allowed)} + near)
        return value

    return check


def list_of(check_one: Check) -> Check:
    def check(value: Any, path: str, problems: Problems) -> list[Any]:
        if not isinstance(value, list):
            raise Invalid(_("must be a list"))
        clean = []
        is_broken = False
        for index, one in enumerate(value):
            try:
                clean.append(check_one(one, f"{path}[{index}]", problems))
            except Invalid as error:
                is_broken = True
                if str(error):
                    problems.add(f"{path}[{index}]", str(error))
        if is_broken:
            raise Invalid
        return clean

    return check


def unique_list_of(check_one: Check) -> Check:
    """Accept a list whose entries differ."""

    def check(value: Any, path: str, problems: Problems) -> list[Any]:
        clean: list[Any] = list_of(check_one)(value, path, problems)
        again = [index for index, one in enumerate(clean) if one in clean[:index]]
        for index in again:
            problems.add(f"{path}[{index}]", _("%(entry)s is named twice") % {"entry": clean[index]})
        if again:
            raise Invalid
        return clean

    return check


def read(value: Any, shape: Shape, path: str, problems: Problems) -> tuple[dict[str, Any], bool]:
    """Return the clean fields of the mapping `value` and whether it was free of problems. Raises `Invalid`."""
    if not isinstance(value, dict):
        raise Invalid(_("must be a mapping of fields"))
    is_clean = True
    for twice in value.duplicates if isinstance(value, FileMapping) else ():
        is_clean = False
        problems.add(at(path, twice), _("is given twice"))
    clean: dict[str, Any] = {}
    for key, one in value.items():
        field = shape.get(key) if isinstance(key, str) else None
        if field is None:
            is_clean = False
            problems.add(at(path, str(key)), _("unknown field") + did_you_mean(str(key), shape))
            continue
        try:
            if one is None and field.nullable and not field.required:
                clean[key] = None
            elif field.flatten:
                clean |= {at(key, inner): entry for inner, entry in field.check(one, at(path, key), problems).items()}
            else:
                clean[key] = field.check(one, at(path, key), problems)
        except Invalid as error:
            is_clean = False
            if str(error):
                problems.add(at(path, key), str(error))
    for key, field in shape.items():
        if field.required and key not in value:
            is_clean = False
            problems.add(at(path, key), _("is required"))
    return clean, is_clean


def mapping(shape: Shape) -> Check:
    def check(value: Any, path: str, problems: Problems) -> dict[str, Any]:
        clean, is_clean = read(value, shape, path, problems)
        if not is_clean:
            raise Invalid
        return clean

    return check


def moment(value: Any, path: str, problems: Problems) -> datetime:
    """Accept an ISO 8601 time with its offset: a time without one means another instant on every machine."""
    try:
        clean = datetime.fromisoformat(value) if isinstance(value, str) else None
    except ValueError:
        clean = None
    if clean is None:
        raise Invalid(_("must be a time like 2027-01-01T00:00:00+08:00"))
    if clean.tzinfo is None:
        raise Invalid(_("must state its offset, like 2027-01-01T00:00:00+08:00"))
    return clean


def time_of_day(value: Any, path: str, problems: Problems) -> time:
    """Accept a time like 09:00, with seconds or without."""
    try:
        clean = time.fromisoformat(value) if isinstance(value, str) and _TIME_OF_DAY.match(value) else None
    except ValueError:
        clean = None
    if clean is None:
        raise Invalid(_("must be a time of day like 09:00"))
    return clean


def day(value: Any, path: str, problems: Problems) -> date:
    """Accept a day like 2027-01-01."""
    try:
        clean = date.fromisoformat(value) if isinstance(value, str) and _DAY.match(value) else None
    except ValueError:
        clean = None
    if clean is None:
        raise Invalid(_("must be a day like 2027-01-01"))
    return clean


def currency(value: Any, path: str, problems: Problems) -> str:
    if not isinstance(value, str) or len(value) != 3 or not (value.isascii() and value.isalpha() and value.isupper()):
        raise Invalid(_("must be a currency code of three capital letters"))
    return value


def addresses(value: Any, path: str, problems: Problems) -> str:
    """Accept a list of e-mail addresses; the clean value has one per line, as the column holds them."""
    entries: list[str] = list_of(name)(value, path, problems)
    try:
        return clean_addresses("\n".join(entries))
    except ValidationError as error:
        raise Invalid("; ".join(error.messages)) from error


def _flag(kind: Any) -> Check:
    """Return the check of one dialect flag from its annotation."""
    if typing.get_origin(kind) is typing.Literal:
        allowed = typing.get_args(kind)

        def check(value: Any, path: str, problems: Problems) -> Any:
            if isinstance(value, bool) or value not in allowed:
                shown = ", ".join('""' if one == "" else "null" if one is None else str(one) for one in allowed)
                raise Invalid(_("must be one of %(allowed)s") % {"allowed": shown})
            return value

        return check
    return boolean if kind is bool else whole_number(1)


flags: Check = mapping({key: Field(_flag(kind), nullable=False) for key, kind in FLAG_TYPES.items()})


def network(value: Any, path: str, problems: Problems) -> str:
    """Accept an address or a network, in its shortest form."""
    try:
        return clean_networks([name(value, path, problems)])[0]
    except ValidationError as error:
        raise Invalid(_("must be an address or a network such as 10.1.0.0/16")) from error


def headers(value: Any, path: str, problems: Problems) -> dict[str, str | None]:
    """Accept a mapping of header names to values; null keeps the stored value (an export leaves secret ones out)."""
    if not isinstance(value, dict):
        raise Invalid(_("must be a mapping of header names to values"))
    is_broken = False
    for key, one in value.items():
        if not isinstance(key, str) or not key.isascii() or not key.replace("-", "").replace("_", "").isalnum():
            is_broken = True
            problems.add(at(path, str(key)), _("is not a header name"))
        elif one is not None and not (isinstance(one, str) and one.isascii() and one.isprintable()):
            is_broken = True
            problems.add(at(path, key), _("must be text of printable ASCII characters"))
    if is_broken:
        raise Invalid
    return dict(value)
