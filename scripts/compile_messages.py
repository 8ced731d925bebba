"""Compile the message catalogues (.po) to what Django reads (.mo), without GNU gettext.

The compiled files are not kept in git, and `manage.py compilemessages` needs the program `msgfmt`, which a machine
with nothing but Python does not have. Fuzzy and obsolete entries are left out, as msgfmt does.
"""

import ast
import os
import re
import struct
import sys
from collections.abc import Iterator
from pathlib import Path

REPO = Path(__file__).resolve().parent.parent
FIELD = re.compile(r'(msgctxt|msgid_plural|msgid|msgstr(?:\[\d+\])?)\s+(".*")')


def entries(po: str) -> Iterator[tuple[str, str]]:
    """Yield (key, translation) of each usable entry, keyed as gettext does: context, EOT, id, NUL, plural id."""
    for block in re.split(r"\n\s*\n", po.replace("\r\n", "\n")):
        fields: dict[str, str] = {}
        name, is_fuzzy = "", False
        for line in map(str.strip, block.splitlines()):
            if line.startswith("#"):
                is_fuzzy = is_fuzzy or (line.startswith("#,") and "fuzzy" in line)
            elif found := FIELD.fullmatch(line):
                name = found[1]
                fields[name] = ast.literal_eval(found[2])
            elif line.startswith('"') and name:
                fields[name] += ast.literal_eval(line)
            elif line:
                raise ValueError(f"not a line of a message catalogue: {line}")
        translations = [text for field, text in fields.items() if field.startswith("msgstr")]
        key = fields.get("msgid", "")
        if not translations or not all(translations) or (is_fuzzy and key):
            continue
        if "msgid_plural" in fields:
            key += "\0" + fields["msgid_plural"]
        if "msgctxt" in fields:
            key = fields["msgctxt"] + "\4" + key
        yield key, "\0".join(translations)


def to_mo(po: str) -> bytes:
    """Return the catalogue in GNU's binary form: a header, two tables of (length, offset), the strings."""
    messages = sorted((key.encode(), text.encode()) for key, text in entries(po))
    table_bytes = 8 * len(messages)
    offset = 28 + 2 * table_bytes
    tables, strings = b"", b""
    for column in (0, 1):
        for message in messages:
            tables += struct.pack("<II", len(message[column]), offset + len(strings))
            strings += message[column] + b"\0"
    header = struct.pack("<7I", 0x950412DE, 0, len(messages), 28, 28 + table_bytes, 0, offset)
    return header + tables + strings


def compile_stale(root: Path) -> list[Path]:
    """Compile each catalogue below `root` whose .mo is missing or older; return the files written."""
    written = []
    for po in sorted([*root.glob("locale/*/LC_MESSAGES/*.po"), *root.glob("*/locale/*/LC_MESSAGES/*.po")]):
        mo = po.with_suffix(".mo")
        if mo.exists() and mo.stat().st_mtime_ns >= po.stat().st_mtime_ns:
            continue
        # Another copy may start from the same folder at this moment: a reader sees the old file or the whole new one.
        draft = mo.with_suffix(f".{os.getpid()}.mo")
        draft.write_bytes(to_mo(po.read_text(encoding="utf-8")))
        draft.replace(mo)
        written.append(mo)
    return written


if __name__ == "__main__":
    for path in compile_stale(REPO):
        print(f"wolfgate: compiled {path.relative_to(REPO)}", file=sys.stderr)
