"""The text of one PDF file, page by page: a program, run by documents.py in a process of its own.

pypdf is pure Python and takes whatever time and memory a file makes it take; a thread cannot be stopped, and would
hold up the event loop by the interpreter lock. A process has limits, and what it wrote before it died is kept.

The file comes on standard input. Standard output gets one JSON object per line: {"pages": int}, then {"text": str} per
page, then {"end": str}, which is "" after the last page, else what stopped it: "encrypted", "damaged", "pages",
"characters" or "time". Imports nothing of ours: it is started by its path.
"""

import contextlib
import io
import json
import logging
import os
import re
import resource
import sys
import time

from pypdf import PdfReader
from pypdf.errors import FileNotDecryptedError, WrongPasswordError

_MEMORY_BYTES = 1024 * 1024 * 1024
# pypdf recurses into nested objects; the default limit ends on honest files.
_RECURSION_LIMIT = 5000
_CONTROLS = dict.fromkeys([*range(9), *range(11, 32), 127])
_BLANK_LINES = re.compile(r"\n{3,}")


def main() -> None:
    """Read standard input, write standard output. Arguments: the most pages, characters and CPU seconds."""
    max_pages, max_characters, cpu_s = (int(argument) for argument in sys.argv[1:4])
    _bound_resources(cpu_s)
    logging.getLogger("pypdf").setLevel(logging.CRITICAL)
    sys.setrecursionlimit(_RECURSION_LIMIT)
    data = sys.stdin.buffer.read()
    try:
        _say(end=_write_pages(data, max_pages, max_characters, cpu_s))
    except (FileNotDecryptedError, WrongPasswordError):
        _say(end="encrypted")


def _bound_resources(cpu_s: int) -> None:
    # Not every system has each of these limits; the parent's clock is there in any case.
    with contextlib.suppress(OSError, ValueError):
        os.nice(10)
    with contextlib.suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_AS, (_MEMORY_BYTES, _MEMORY_BYTES))
    with contextlib.suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_CPU, (cpu_s + 1, cpu_s + 2))  # SIGXCPU, then SIGKILL


def _write_pages(data: bytes, max_pages: int, max_characters: int, cpu_s: int) -> str:
    """Write the pages and return the reason of the end."""
    try:
        reader = PdfReader(io.BytesIO(data))
        count = len(reader.pages)
    except (FileNotDecryptedError, WrongPasswordError):
        raise
    except Exception:  # noqa: BLE001  (a damaged file makes pypdf raise anything, and this process ends here)
        return "damaged"
    _say(pages=count)
    left = max_characters
    for number in range(count):
        if number >= max_pages:
            return "pages"
        # CPU time, so that the same file is cut at about the same page on a busy machine.
        if time.process_time() > cpu_s:
            return "time"
        try:
            text = _clean(reader.pages[number].extract_text())
        except Exception:  # noqa: BLE001  (as above; the other pages may be whole)
            text = ""
        if len(text) > left:
            _say(text=text[:left])
            return "characters"
        left -= len(text)
        _say(text=text)
    return ""


def _clean(text: str) -> str:
    """Return text that any JSON encoder takes, without trailing blanks and runs of empty lines."""
    text = text.encode("utf-8", "replace").decode().translate(_CONTROLS)
    lines = "\n".join(line.rstrip() for line in text.split("\n"))
    return _BLANK_LINES.sub("\n\n", lines).strip("\n")


def _say(**members: object) -> None:
    # Flushed line by line: what was said before the process is killed counts.
    print(json.dumps(members), flush=True)


if __name__ == "__main__":
    main()
