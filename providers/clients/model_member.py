"""Replaces the value of the top-level "model" member of a JSON document, and nothing else of its bytes."""

import re

from providers import wire_json

_TOKEN = re.compile(rb'"(?:[^"\\]|\\.)*"|[{}\[\]]', re.DOTALL)
_COLON = re.compile(rb"\s*:\s*")


def replace_model(raw: bytes, body: dict[str, object], model: str) -> bytes:
    """Return `raw` with `model` as its model. `body` is the same document decoded.

    An upstream's prompt cache and a thinking block's signature depend on the bytes, so only the value changes. Where
    that cannot be done safely (a second "model" member, say), the document is encoded anew.
    """
    span = _model_span(raw)
    if span is not None:
        replaced = raw[: span[0]] + wire_json.encode(model) + raw[span[1] :]
        # Of repeated members the last counts for most parsers: it must not be another than the one replaced.
        if wire_json.decode(replaced) == {**body, "model": model}:
            return replaced
    return wire_json.encode({**body, "model": model})


def _model_span(raw: bytes) -> tuple[int, int] | None:
    """Return where the value of the first top-level "model" begins and ends, if it is a string."""
    depth = 0
    for token in _TOKEN.finditer(raw):
        first = raw[token.start()]
        if first in b"{[":
            depth += 1
        elif first in b"}]":
            depth -= 1
        elif depth == 1 and (colon := _COLON.match(raw, token.end())):
            key = token.group()
            if key == b'"model"' or (b"\\" in key and wire_json.decode(key) == "model"):
                value = _TOKEN.match(raw, colon.end())
                return value.span() if value is not None and value.group().startswith(b'"') else None
    return None
