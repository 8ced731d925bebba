"""JSON at the border: fast for what is well formed, tolerant of what real clients send.

orjson refuses lone surrogates (terminal output holds them), numbers beyond a double and nesting over 1,024 levels;
the standard library takes the first two.
"""

import json
from typing import Any

import orjson


def decode(data: bytes) -> Any:
    """Return the document in `data`. Lone surrogates become U+FFFD. Raises `ValueError` for anything but JSON."""
    try:
        return orjson.loads(data)
    except orjson.JSONDecodeError:
        pass
    try:
        document = json.loads(data.decode("utf-8", "replace"), parse_constant=_refuse_constant)
        return _without_surrogates(document)
    except RecursionError as error:
        raise ValueError("nested too deeply") from error


def encode(document: Any) -> bytes:
    """Return `document` as compact UTF-8 JSON. Lone surrogates become U+FFFD."""
    try:
        return orjson.dumps(document)
    except TypeError:
        return _clean(json.dumps(document, ensure_ascii=False, separators=(",", ":"))).encode()


def _refuse_constant(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")


def _clean(text: str) -> str:
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def _without_surrogates(value: Any) -> Any:
    if isinstance(value, str):
        return _clean(value)
    if isinstance(value, list):
        return [_without_surrogates(item) for item in value]
    if isinstance(value, dict):
        return {_without_surrogates(key): _without_surrogates(item) for key, item in value.items()}
    return value
