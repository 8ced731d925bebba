"""Changes named parts of a JSON text and leaves every other byte as it is: order, whitespace, escapes, long numbers.

A `Patch` says what becomes of the members of an object (by name) or the elements of a list (by position): another
patch for a container that keeps the rest of its text, `DROP`, `Several` values in its place, or the new value. Names
that the object does not have are added behind the others. An upstream's prompt cache and the signature of a thinking
block depend on the bytes.
"""

import asyncio
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from json.decoder import scanstring  # type: ignore[attr-defined]
from typing import Any

from providers import wire_json


class Part(Enum):
    """What may stand in a patch for a value."""

    DROP = "drop"
    KEEP = "keep"  # within `Several`: the text that stood there


DROP, KEEP = Part.DROP, Part.KEEP


@dataclass(frozen=True, slots=True)
class Several:
    """Elements of a list in the place of one."""

    values: Sequence[Any]


class Patch(dict[Any, Any]):
    """The changes of one object or list, by name or position."""


# A body above this is changed off the event loop: a megabyte can take 10 ms.
IN_THREAD_BYTES = 256 * 1024

_SPACE = re.compile(r"[ \t\n\r]*")
_BEGINNING = re.compile(rb"[ \t\n\r]*\{[ \t\n\r]*")
_COLON = rb"[ \t\n\r]*:[ \t\n\r]*"
_TEXT = re.compile(rb'"(?:[^"\\]|\\.)*+"')
# The name of a member may be written with these, and is not found then.
_ESCAPED_LETTER = re.compile(rb"\\u00[4-7]")
_scan = json.JSONDecoder(strict=False).raw_decode


def apply(raw: bytes, patch: Patch) -> bytes:
    """Return the JSON object `raw` with the changes of `patch`. Raises `ValueError` for what is nested too deeply."""
    quickly = _with_members(raw, patch)
    if quickly is not None:
        return quickly
    try:
        return _patched(raw.decode("utf-8", "surrogateescape"), patch).encode("utf-8", "surrogateescape")
    except RecursionError as error:
        raise ValueError("nested too deeply") from error


async def aapply(raw: bytes, patch: Patch) -> bytes:
    """Return what `apply` does, made off the event loop where it takes long."""
    if len(raw) < IN_THREAD_BYTES:
        return apply(raw, patch)
    return await asyncio.to_thread(apply, raw, patch)


def _with_members(raw: bytes, patch: Patch) -> bytes | None:
    """Return the object `raw` with texts replaced and members added; None where that takes a parser.

    Most calls change no more than the name of the model. A body of 120 KB takes 0.1 ms this way, else more than 1 ms.
    """
    if _ESCAPED_LETTER.search(raw) is not None:
        return None
    for name, value in patch.items():
        if not isinstance(name, str) or isinstance(value, (Part, Several, Patch)):
            return None
        # A quotation mark behind a backslash belongs to a text; no other can stand before a name that it does not open.
        names = re.finditer(re.escape(wire_json.encode(name)) + _COLON, raw)
        members = [found for found in names if raw[found.start() - 1] != ord("\\")]
        changed = _with_text(raw, members, name, value) if members else _with_added(raw, name, value)
        if changed is None:
            return None
        raw = changed
    return raw


def _with_text(raw: bytes, members: list[re.Match[bytes]], name: str, text: Any) -> bytes | None:
    """Return `raw` with another text in its member `name`; None where that member is not sure to be the one.

    `members` are all of that name, at any depth, up to their values.
    """
    beginning = _BEGINNING.match(raw)
    is_first = beginning is not None and members[0].start() == beginning.end()
    value = _TEXT.match(raw, members[0].end()) if is_first or len(members) == 1 else None
    if value is None or not isinstance(text, str):
        return None
    rest = memoryview(raw)  # a body can be megabytes of files: they are copied once
    changed = b"".join((rest[: value.start()], wire_json.encode(text), rest[value.end() :]))
    if is_first and len(members) == 1:
        return changed
    # Further in, the member may be another object's; behind it, one of the same name may be the one that counts.
    return changed if wire_json.decode(changed).get(name) == text else None


def _with_added(raw: bytes, name: str, value: Any) -> bytes | None:
    """Return `raw` with a member that it does not have; None for an object without members."""
    end = raw.rfind(b"}")
    if b'"' not in raw or end < 0:
        return None
    rest = memoryview(raw)
    return b"".join((rest[:end], b",", wire_json.encode(name), b":", wire_json.encode(value), rest[end:]))


def _patched(text: str, patch: Patch) -> str:
    """Return the text of one object or list with the changes of `patch`."""
    head, parts, tail = _split(text)
    is_object = head.endswith("{")
    kept: list[str] = []
    done: set[Any] = set()
    # Of repeated members the last one's value counts for most parsers: a changed one stands once, with that value.
    last = {name: value for name, _lead, value, _trail in parts} if is_object else {}
    for name, lead, value, trail in parts:
        if name not in patch:
            kept.append(lead + value + trail)
            continue
        if name in done:
            continue
        done.add(name)
        change = patch[name]
        old = last.get(name, value)
        if change is DROP:
            continue
        if isinstance(change, Several):
            kept += [f"{lead}{_written(one, old)}{trail}" for one in change.values]
        else:
            kept.append(lead + _written(change, old) + trail)
    if is_object:
        added = [name for name in patch if name not in done and patch[name] is not DROP]
        kept += [f"{_encoded(name)}:{_encoded(patch[name])}" for name in added]
    return head + ",".join(kept) + tail


def _written(change: Any, old: str) -> str:
    if change is KEEP:
        return old
    return _patched(old, change) if isinstance(change, Patch) else _encoded(change)


def _encoded(value: Any) -> str:
    return wire_json.encode(value).decode()


def _split(text: str) -> tuple[str, list[tuple[Any, str, str, str]], str]:
    """Return the opening of a container, its parts, and its end.

    A part is (name or position, what stands before the value, the value, what stands behind it up to the comma).
    """
    at = _after_space(text, 0) + 1
    head = text[:at]
    is_object = text[at - 1] == "{"
    parts: list[tuple[Any, str, str, str]] = []
    while True:
        begin = at
        at = _after_space(text, at)
        if text[at] in "}]":  # only of an empty container
            return head, parts, text[begin:]
        name: Any = len(parts)
        if is_object:
            name, at = scanstring(text, at + 1, False)
            at = _after_space(text, _after_space(text, at) + 1)
        value_at = at
        _value, at = _scan(text, at)
        end, at = at, _after_space(text, at)
        parts.append((name, text[begin:value_at], text[value_at:end], text[end:at]))
        if text[at] != ",":
            return head, parts, text[at:]
        at += 1


def _after_space(text: str, at: int) -> int:
    match = _SPACE.match(text, at)
    assert match is not None
    return match.end()
