"""Server-sent events of Chat Completions upstreams: bytes, cut anywhere, to chunks.

Takes what real servers send: any line end, comments, `data:` without a space or without blank lines between events,
events cut in two, lines without `data:`, a JSON document or an HTML page instead of a stream.
"""

import html
import json
import re
from typing import Any

import orjson

from providers import wire_json
from providers.translation.response import choice_of, from_ollama, is_ollama, to_chunks

Chunk = dict[str, Any]

_BOM = b"\xef\xbb\xbf"
_LINE_END = re.compile(rb"\r\n|\n|\r")
_TITLE = re.compile(r"<title[^>]*>(.*?)</title>", re.IGNORECASE | re.DOTALL)
_TAG = re.compile(r"<(?:script|style).*?</(?:script|style)>|<[^>]*>", re.IGNORECASE | re.DOTALL)
# A whole file's content may come in one event; a line beyond this is no answer.
_MAX_EVENT_BYTES = 64 * 1024 * 1024
_MAX_BROKEN_EVENTS = 3


class MalformedStream(Exception):
    """The upstream's body is no stream of chunks."""


class ChunkReader:
    """Reads one body. After `saw_done` the rest of the body is ignored."""

    def __init__(self) -> None:
        self.saw_done = False
        self.liveness_only = False  # what the last `feed` got held no chunk: comments, half an event
        self.skipped_events = 0  # were no JSON
        self._is_first = True
        self._buffer = bytearray()  # the beginning of a line
        self._scanned = 0  # bytes of the buffer known to hold no line end
        self._skip_newline = False  # the last line ended with a CR that ended the data: a LF may follow
        self._event = b""
        self._data: list[bytes] = []
        self._broken: list[bytes] = []  # an event that is no JSON so far: its other half may come as the next one
        self._broken_in_row = 0
        self._body = bytearray()  # lines that are no event
        self._has_chunks = False
        self._is_whole = False  # the body is one answer, no stream

    def feed(self, data: bytes) -> list[Chunk]:
        """Return the chunks that `data` completes. Raises `MalformedStream` after three broken events in a row."""
        if self.saw_done:
            return []
        chunks = self._feed_plain(data)
        if chunks is None:
            chunks = []
            self._feed_lines(data, chunks)
        self.liveness_only = not chunks
        return chunks

    def finish(self) -> list[Chunk]:
        """Return the chunks that the end of the body completes. Raises `MalformedStream` if there never was any."""
        chunks: list[Chunk] = []
        if self.saw_done:
            return chunks
        if self._buffer:
            line = bytes(self._buffer)
            self._buffer.clear()
            self._take_line(line, chunks)
        if not self.saw_done:
            self._end_event(chunks)
        if self._body and not self.saw_done:
            self._take_body(chunks)
        # A whole answer ends with its body.
        self.saw_done = self.saw_done or self._is_whole
        if not self._has_chunks and not self.saw_done and (self._body or self.skipped_events or self._broken):
            raise MalformedStream(_describe(bytes(self._body) or b"\n".join(self._broken)))
        return chunks

    def _feed_plain(self, data: bytes) -> list[Chunk] | None:
        """Read data that is nothing but whole events of one `data:` line each; None for all else."""
        if (
            self._buffer
            or self._data
            or self._broken
            or self._body
            or self._event
            or not data.startswith(b"data: {")
            or not data.endswith(b"}\n\n")
            or b"\r" in data
        ):
            return None
        chunks: list[Chunk] = []
        for event in data[:-2].split(b"\n\n"):
            if not event.startswith(b"data: {"):
                return None
            try:
                # A line feed inside would be one between JSON tokens of one line, or of two: not plain.
                chunk = None if b"\n" in event else orjson.loads(event[6:])
            except orjson.JSONDecodeError:
                return None
            if chunk is None or "choices" not in chunk or chunk.get("object") == "chat.completion":
                return None
            chunks.append(chunk)
        self._is_first = self._skip_newline = False
        self._broken_in_row = 0
        self._has_chunks = True
        return chunks

    def _feed_lines(self, data: bytes, chunks: list[Chunk]) -> None:
        if self._skip_newline and data:
            self._skip_newline = False
            if data.startswith(b"\n"):
                data = data[1:]
        self._buffer += data
        if self._is_first:
            if len(self._buffer) < len(_BOM) and _BOM.startswith(self._buffer):
                return
            self._is_first = False
            if self._buffer.startswith(_BOM):
                del self._buffer[: len(_BOM)]
        buffer = self._buffer
        begin = 0
        for end in _LINE_END.finditer(buffer, self._scanned):
            line = bytes(buffer[begin : end.start()])
            begin = end.end()
            if begin == len(buffer) and end.group() == b"\r":
                self._skip_newline = True
            self._take_line(line, chunks)
            if self.saw_done:
                break
        if self.saw_done:
            self._buffer = bytearray()
        elif begin:
            self._buffer = buffer[begin:]
        self._scanned = len(self._buffer)
        if len(self._buffer) > _MAX_EVENT_BYTES:
            raise MalformedStream("an event larger than 64 MiB")

    def _take_line(self, line: bytes, chunks: list[Chunk]) -> None:
        if not line:
            self._end_event(chunks)
            return
        if line.startswith(b":"):
            return
        name, colon, value = line.partition(b":")
        if name == b"data" and (colon or line == b"data"):
            self._take_data(value.removeprefix(b" "), chunks)
        elif name == b"event" and colon:
            if self._data:
                self._end_event(chunks)
            self._event = value.strip()
        elif name in (b"id", b"retry") and colon:
            return
        elif name == b"error" and colon:  # older llama.cpp servers
            self._event = b"error"
            self._take_data(value.strip(), chunks)
        else:
            self._take_stray(line, chunks)

    def _take_data(self, value: bytes, chunks: list[Chunk]) -> None:
        """Take the value of a `data:` line, which is an event of its own if it is a document of its own."""
        stripped = value.strip()
        if not stripped:
            return
        if stripped == b"[DONE]":
            self._end_event(chunks)
            self.saw_done = True
            return
        if sum(map(len, self._data)) + len(value) > _MAX_EVENT_BYTES:
            raise MalformedStream("an event larger than 64 MiB")
        document = _load(stripped) if stripped[:1] in b"{[" and stripped[-1:] in b"}]" else None
        # In the middle of a document over several lines, a line may be a document too: one that is no chunk.
        if document is not None and (not self._data or _is_chunk(document)):
            if self._data:
                self._skip_event()
            self._emit(document, chunks)
            self._end_broken()
            self._data.clear()
            self._event = b""
            return
        self._data.append(value)
        if len(self._data) > 1 and stripped[-1:] in b"}]" and self._emit(_load_joined(self._data), chunks):
            self._data.clear()
            self._event = b""
            self._broken_in_row = 0

    def _end_event(self, chunks: list[Chunk]) -> None:
        data, self._data = self._data, []
        event, self._event = self._event, b""
        if not data:
            return
        if event == b"error":
            message = b"\n".join(data).decode("utf-8", "replace").strip()
            self._append({"error": {"message": message}}, chunks)
            return
        if _is_scalar(data):
            return  # "null" and the like, as a sign of life
        if self._broken and self._emit(_load_joined([*self._broken, *data]), chunks):
            self._broken = []
            self._broken_in_row = 0
            return
        if self._broken:
            self._skip_event()
        self._broken = data
        if self._broken_in_row + 1 >= _MAX_BROKEN_EVENTS:
            self._skip_event()

    def _end_broken(self) -> None:
        """A good event came: what was broken before it stays so."""
        if self._broken:
            self._broken = []
            self.skipped_events += 1
        self._broken_in_row = 0

    def _skip_event(self) -> None:
        self.skipped_events += 1
        self._broken_in_row += 1
        if self._broken_in_row >= _MAX_BROKEN_EVENTS:
            raise MalformedStream("three events in a row are no JSON")

    def _take_stray(self, line: bytes, chunks: list[Chunk]) -> None:
        """Take a line that is no field: JSON without `data:`, the rest of a broken line, or another kind of body."""
        stripped = line.strip()
        document = _load(stripped) if stripped.startswith(b"{") and stripped.endswith(b"}") else None
        if document is not None and (not (self._body or self._data) or _is_chunk(document)):
            self._body.clear()
            self._emit(document, chunks)
            self._is_whole = self._is_whole or _is_completion(document)
            return
        if self._data:
            # A line feed inside a JSON string that the upstream did not escape.
            self._data.append(line)
            if self._emit(_load_lines(self._data), chunks):
                self._data.clear()
                self._event = b""
            return
        if len(self._body) + len(line) > _MAX_EVENT_BYTES:
            raise MalformedStream("a body larger than 64 MiB")
        self._body += line + b"\n"

    def _take_body(self, chunks: list[Chunk]) -> None:
        """Read what came without any event as one document."""
        document = _load(bytes(self._body).strip())
        if isinstance(document, str) and not self._has_chunks:
            # SiliconFlow: a bare JSON string, "Invalid token".
            self._append({"error": {"message": document}}, chunks)
        elif isinstance(document, dict | list):
            self._emit(document, chunks)
            self._is_whole = _is_completion(document)

    def _emit(self, document: Any, chunks: list[Chunk]) -> bool:
        """Add the chunks in a document; say whether it is one."""
        if isinstance(document, list):
            found = [item for item in document if isinstance(item, dict)]
        elif isinstance(document, dict):
            found = [document]
        else:
            return False
        for chunk in found:
            if self._event == b"error" and "error" not in chunk:
                chunk = {"error": chunk}
            elif is_ollama(chunk):
                # It has no [DONE]; its last line says so itself.
                chunk = from_ollama(chunk)
            elif _is_completion(chunk):
                for part in to_chunks(chunk):
                    self._append(part, chunks)
                continue
            self._append(chunk, chunks)
        return True

    def _append(self, chunk: Chunk, chunks: list[Chunk]) -> None:
        self._has_chunks = True
        chunks.append(chunk)


def _is_chunk(document: Any) -> bool:
    """Say whether a document can be nothing but an event, not a part of one."""
    return isinstance(document, dict) and ("choices" in document or bool(document.get("error")) or is_ollama(document))


def _is_completion(document: Any) -> bool:
    """Say whether a document is a whole answer (and not a chunk that writes `message` for `delta`)."""
    if not isinstance(document, dict) or document.get("object") not in ("chat.completion", None):
        return False
    choice = choice_of(document)
    return choice is not None and "delta" not in choice and "message" in choice and bool(choice.get("finish_reason"))


def _is_scalar(data: list[bytes]) -> bool:
    try:
        return not isinstance(json.loads(b"".join(data)), dict | list)
    except (ValueError, RecursionError):
        return False


def _load(data: bytes) -> Any:
    try:
        return wire_json.decode(data)
    except ValueError:
        return None


def _load_joined(parts: list[bytes]) -> Any:
    """Return the document that several pieces make: the `data:` lines of one event, or an event cut in two."""
    document = _load(b"\n".join(parts))
    return _load(b"".join(parts)) if document is None else document


def _load_lines(lines: list[bytes]) -> Any:
    """Return the document in lines that may break inside a string."""
    try:
        return json.loads(b"\n".join(lines).decode("utf-8", "replace"), strict=False)
    except (ValueError, RecursionError):
        return None


def _describe(body: bytes) -> str:
    """Return one line about a body that is no stream, without markup."""
    text = body[:20_000].decode("utf-8", "replace")
    title = _TITLE.search(text)
    if title:
        text = title.group(1)
    elif "<" in text:
        text = _TAG.sub(" ", text)
    text = " ".join(html.unescape(text).split())[:200]
    return f"the body is no event stream: {text}" if text else "the body is no event stream"
