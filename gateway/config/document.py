"""Reading a configuration file: YAML or JSON text to plain values, with exact numbers and known duplicates."""

import json
from collections.abc import Iterator
from decimal import Decimal, InvalidOperation
from typing import Any

import yaml
from django.utils.translation import gettext as _


class Unreadable(Exception):
    """The file is neither YAML nor JSON. The message says where it stops making sense."""


class FileMapping(dict[Any, Any]):
    """A mapping of the file, and the names that it gives twice (a plain dict would hide all but the last)."""

    def __init__(self) -> None:
        super().__init__()
        self.duplicates: list[str] = []


def load(text: str) -> Any:
    """Return the values of a YAML or JSON `text`. Raises `Unreadable`.

    Numbers with a fraction are `Decimal`, as they are written; times are text (the field that wants one reads it).
    JSON is tried first: YAML 1.1 reads `1e5` as text and the halves of an escaped surrogate pair as two characters.
    """
    try:
        return json.loads(text, object_pairs_hook=_json_mapping, parse_float=Decimal)
    except (ValueError, RecursionError):
        pass
    try:
        # A subclass of the safe loader: it makes no Python objects.
        return yaml.load(text, Loader=_Loader)
    except yaml.MarkedYAMLError as error:
        # Its own text quotes the line, which may hold a secret.
        where = ""
        if error.problem_mark is not None:
            where = f"{error.problem_mark.line + 1}:{error.problem_mark.column + 1}"
        raise Unreadable(
            _("line %(where)s: %(problem)s") % {"where": where, "problem": error.problem or error.context}
        ) from None
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise Unreadable(_("is neither YAML nor JSON (%(error)s)") % {"error": type(error).__name__}) from None


def _json_mapping(pairs: list[tuple[str, Any]]) -> FileMapping:
    mapping = FileMapping()
    for name, value in pairs:
        if name in mapping:
            mapping.duplicates.append(name)
        mapping[name] = value
    return mapping


class _Loader(yaml.SafeLoader):
    pass


def _yaml_mapping(loader: _Loader, node: yaml.MappingNode) -> Iterator[FileMapping]:
    mapping = FileMapping()
    yield mapping  # before its values, so that an anchor may name it
    names = [key.value for key, _value in node.value if isinstance(key, yaml.ScalarNode)]
    mapping.duplicates = sorted({name for name in names if names.count(name) > 1})
    mapping.update(loader.construct_mapping(node))


def _yaml_float(loader: _Loader, node: yaml.ScalarNode) -> Decimal:
    text = loader.construct_scalar(node)
    try:
        return Decimal(text)
    except InvalidOperation:  # .inf, .nan and 1:30.5
        return Decimal(str(loader.construct_yaml_float(node)))


def _yaml_whole_number(loader: _Loader, node: yaml.ScalarNode) -> int | str:
    # YAML 1.1 counts in sixties: 22:30 would be 1350, and 09:30 text.
    text = loader.construct_scalar(node)
    return text if ":" in text else loader.construct_yaml_int(node)


def _yaml_text(loader: _Loader, node: yaml.ScalarNode) -> str:
    return loader.construct_scalar(node)


_Loader.add_constructor("tag:yaml.org,2002:map", _yaml_mapping)
_Loader.add_constructor("tag:yaml.org,2002:float", _yaml_float)
_Loader.add_constructor("tag:yaml.org,2002:int", _yaml_whole_number)
_Loader.add_constructor("tag:yaml.org,2002:timestamp", _yaml_text)
