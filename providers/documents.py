"""The text of PDF files, for models that take none. Sync and slow: for a thread."""

import json
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from providers.translation.attachments import Extract

_PROGRAM = str(Path(__file__).with_name("pdf_text.py"))
_CUT = {
    "pages": "only the first {pages:,} pages are extracted",
    "characters": "only the first {characters:,} characters are extracted",
    "time": "extracting them took too long",
    "damaged": "the file is damaged there, or takes too much memory",
}


@dataclass(frozen=True, slots=True)
class Limits:
    """How much of a file is read. CPU time decides where a slow file is cut; `wall_s` is when its process is killed."""

    file_bytes: int = 25_000_000
    pages: int = 200
    characters: int = 400_000
    cpu_s: int = 10
    wall_s: float = 20.0  # it runs at a low priority


LIMITS = Limits()


def extract(data: bytes, limits: Limits = LIMITS) -> Extract:
    """Return the text of a PDF file, or why there is none. Raises `OSError` when no process can be started."""
    if len(data) > limits.file_bytes:
        return Extract(problem=f"it is larger than {limits.file_bytes // 1_000_000} MB")
    if b"%PDF-" not in data[:1024]:
        return Extract(problem="it is not a PDF file")
    output, end = _run(data, limits)
    pages, texts = 0, []
    for line in output.splitlines():
        try:
            said = json.loads(line)
        except ValueError:
            break  # the process was killed in the middle of a line
        pages = said.get("pages", pages)
        end = said.get("end", end)
        if "text" in said:
            texts.append(said["text"])
    if not any(texts):
        return Extract(pages=pages, problem=_problem(end, pages))
    marked = [
        f"[page {number}]\n{text}" if text else f"[page {number}: no text]" for number, text in enumerate(texts, 1)
    ]
    if end == "characters" or (end and len(texts) < pages):
        marked.append(_left_out(end, len(texts), pages, limits))
    return Extract(text="\n".join(marked), pages=pages)


def _run(data: bytes, limits: Limits) -> tuple[bytes, str]:
    """Return what the program wrote, and how it ended if it could not say so itself."""
    arguments = [str(limits.pages), str(limits.characters), str(limits.cpu_s)]
    try:
        done = subprocess.run(
            # -P: the folder of the program must not hide modules of the standard library.
            [sys.executable, "-P", _PROGRAM, *arguments],
            input=data,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            timeout=limits.wall_s,
            check=False,
        )
    except subprocess.TimeoutExpired as late:
        return late.stdout or b"", "time"
    return done.stdout, "time" if done.returncode == -signal.SIGXCPU else "damaged"


def _problem(end: str, pages: int) -> str:
    if end == "encrypted":
        return "it is encrypted"
    if end == "time":
        return "it took too long"
    if end == "damaged" or not pages:
        return "it is damaged" if pages or end == "damaged" else "it has no pages"
    return "no extractable text (scanned?)"


def _left_out(end: str, last: int, pages: int, limits: Limits) -> str:
    reason = _CUT[end].format(pages=limits.pages, characters=limits.characters)
    if end == "characters":
        return f"[left out from here, within page {last} of {pages}: {reason}]"
    return f"[pages {last + 1} to {pages} are left out: {reason}]"
