"""What images and PDF files become before translation, where a target does not take them as they are.

The work itself is I/O and CPU (providers/clients/attachments.py); translation only looks its results up. Keys are the
base64 texts of the blocks: equal files are one entry, and looking up the same string object compares no characters.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Extract:
    """The text of a PDF file, with a mark at the head of each page; or, in a few words, why there is none."""

    text: str = ""
    pages: int = 0
    problem: str = ""


@dataclass(frozen=True, slots=True)
class Rendition:
    """An image as the platform takes it; or, in a few words, why there is none. `loss` names what it lacks."""

    media_type: str = ""
    data: str = ""  # base64
    loss: str = ""  # "", "scaled", "frames"
    problem: str = ""


@dataclass(frozen=True, slots=True)
class Attachments:
    """The files of one request that were prepared for one target; all others go out, or are left out, as they are."""

    extracts: Mapping[str, Extract] = field(default_factory=dict)
    renditions: Mapping[str, Rendition] = field(default_factory=dict)


UNPREPARED = Attachments()
_MAX_DEPTH = 6


def files_of(body: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield "document" or "image" and the base64 data of each file in the messages, however nested."""
    for message in body["messages"]:
        if not isinstance(content := message.get("content"), str):
            yield from _files_in(content, 0)


def _files_in(content: Any, depth: int) -> Iterator[tuple[str, str]]:
    if isinstance(content, dict):
        content = [content]
    if not isinstance(content, list) or depth > _MAX_DEPTH:
        return
    for block in content:
        if not isinstance(block, dict):
            continue
        kind = block.get("type")
        if kind in ("tool_result", "search_result"):
            # Mostly a string: every call is walked, and long conversations have hundreds of results.
            if not isinstance(inner := block.get("content"), str):
                yield from _files_in(inner, depth + 1)
        elif kind in ("document", "image") and isinstance(source := block.get("source"), dict):
            data = source.get("data")
            if source.get("type") == "base64" and isinstance(data, str) and data:
                yield kind, data
            elif source.get("type") == "content":
                yield from _files_in(source.get("content"), depth + 1)


def omitted_document(title: str, data: str, extract: Extract | None) -> str:
    """Return the text in place of a PDF whose content the target will not see."""
    size_kb = max(1, len(data) * 3 // 4 // 1024)
    reason = "this model cannot read PDF files"
    if extract is not None:
        pages = f", {extract.pages} {'page' if extract.pages == 1 else 'pages'}" if extract.pages else ""
        return (
            f"[document omitted: {title or 'document.pdf'}, {size_kb} KB{pages}; {reason}, and its text could not be"
            f" extracted: {extract.problem}]"
        )
    return f"[document omitted: {title or 'document.pdf'}, {size_kb} KB; {reason}]"


def keep_newest_images(messages: list[dict[str, Any]], most: int) -> bool:
    """Replace all but the newest `most` images by a text; say whether any was."""
    found = [
        (message["content"], position)
        for message in messages
        if isinstance(message.get("content"), list)
        for position, part in enumerate(message["content"])
        if part["type"] == "image_url"
    ]
    older = found[: max(len(found) - most, 0)]
    for content, position in older:
        content[position] = {"type": "text", "text": f"[image omitted: the platform takes {most} per request]"}
    return bool(older)
