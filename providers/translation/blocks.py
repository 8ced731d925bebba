"""Content blocks -> content parts of Chat Completions: text, image_url and file."""

from typing import Any

from providers.translation import server_blocks
from providers.translation.attachments import UNPREPARED, Attachments, Rendition, omitted_document

Part = dict[str, Any]

_MAX_DEPTH = 4  # documents inside documents
_IMAGE_MAGIC = (
    ("iVBORw0KGgo", "image/png"),
    ("/9j/", "image/jpeg"),
    ("R0lGOD", "image/gif"),
    ("UklGR", "image/webp"),
)
_SILENT = ("thinking", "redacted_thinking", "fallback", "tool_removal")


def is_blank(text: str) -> bool:
    return not text or text.isspace()


class BlockTranslator:
    """Translates blocks for one target and notes what the target cannot see."""

    def __init__(
        self,
        *,
        vision: bool,
        pdf: bool,
        pdf_by_url: bool,
        cache_control: bool,
        image_urls: bool = True,
        attachments: Attachments = UNPREPARED,
    ) -> None:
        self._vision = vision
        self._image_urls = image_urls
        self._attachments = attachments
        self._pdf = pdf
        self._pdf_by_url = pdf_by_url
        self._cache_control = cache_control
        self.dropped: list[str] = []
        self.revealed: set[str] = set()  # tools the history refers to
        self.definitions: list[dict[str, Any]] = []  # tools defined in the middle of a conversation

    def text(self, text: str, block: dict[str, Any]) -> Part:
        """Return a text part, with the block's cache mark where the platform reads it (OpenRouter, DashScope)."""
        part: Part = {"type": "text", "text": text}
        mark = block.get("cache_control")
        if self._cache_control and isinstance(mark, dict) and isinstance(mark.get("type"), str):
            part["cache_control"] = {key: mark[key] for key in ("type", "ttl") if isinstance(mark.get(key), str)}
        return part

    def parts(self, content: Any, depth: int = 0) -> list[Part]:
        """Return the parts of a message's or tool result's content; blank texts are left out."""
        if isinstance(content, str):
            return [] if is_blank(content) else [{"type": "text", "text": content}]
        if isinstance(content, dict):
            content = [content]
        if not isinstance(content, list):
            return []
        out: list[Part] = []
        for block in content:
            if isinstance(block, dict):
                self._append(block, out, depth)
            elif isinstance(block, str) and not is_blank(block):
                out.append({"type": "text", "text": block})
        return out

    def part_of(self, block: dict[str, Any]) -> list[Part]:
        """Return the parts of one block."""
        out: list[Part] = []
        self._append(block, out, 0)
        return out

    def _append(self, block: dict[str, Any], out: list[Part], depth: int) -> None:
        kind = block.get("type")
        if kind == "text":
            text = block.get("text")
            if isinstance(text, str) and not is_blank(text):
                out.append(self.text(text, block))
        elif kind == "image":
            out.append(self._image(block))
        elif kind == "document":
            self._note_citations(block)
            out.extend(self._document(block, depth))
        elif kind == "search_result":
            self._note_citations(block)
            out.append(self.text(self._search_result(block, depth), block))
        elif kind == "tool_reference":
            name = block.get("tool_name")
            if isinstance(name, str) and name:
                self.revealed.add(name)
                out.append(self.text(f"Tool available: {name}", block))
        elif kind == "tool_addition":
            self._add_tool(block.get("tool"))
        elif kind == "compaction":
            summary = block.get("content")
            if isinstance(summary, str) and not is_blank(summary):
                out.append(self.text(summary, block))
        elif kind == "container_upload":
            out.append({"type": "text", "text": f"[uploaded file {_short(block.get('file_id'))} not available]"})
        elif isinstance(kind, str) and server_blocks.is_server_block(kind):
            out.append({"type": "text", "text": server_blocks.summary(block)})
        elif kind not in _SILENT:
            self.note(f"block:{_short(kind)}")
            out.append({"type": "text", "text": f"[unsupported block: {_short(kind)}]"})

    def note(self, what: str) -> None:
        if what not in self.dropped:
            self.dropped.append(what)

    def _note_citations(self, block: dict[str, Any]) -> None:
        """Note that the answer will not cite this source as the client asked: no other platform does."""
        citations = block.get("citations")
        if isinstance(citations, dict) and citations.get("enabled") is True:
            self.note("citations")

    def _add_tool(self, tool: Any) -> None:
        """Note a tool that becomes available in mid-conversation: by name, or with its definition."""
        if not isinstance(tool, dict):
            return
        name = tool.get("tool_name") or tool.get("name")
        if isinstance(tool.get("definition"), dict):
            self.definitions.append(tool["definition"])
        elif isinstance(name, str):
            self.revealed.add(name)

    def _image(self, block: dict[str, Any]) -> Part:
        if not self._vision:
            self.note("block:image")
            return {"type": "text", "text": "[image omitted: model has no vision]"}
        source = block.get("source")
        source = source if isinstance(source, dict) else {}
        data, url = source.get("data"), source.get("url")
        if source.get("type") == "url" and isinstance(url, str) and url:
            if self._image_urls:
                return {"type": "image_url", "image_url": {"url": url}}
            self.note("block:image")
            return {"type": "text", "text": f"[image not attached, the platform fetches none: {url}]"}
        if source.get("type") == "base64" and isinstance(data, str) and data:
            renditions = self._attachments.renditions  # mostly empty: spares hashing megabytes
            if renditions and data in renditions:
                return self._rendition(renditions[data])
            if not data.startswith("data:"):
                data = f"data:{_image_type(source, data)};base64,{data}"
            return {"type": "image_url", "image_url": {"url": data}}
        self.note("block:image")
        if source.get("type") == "file":
            return {"type": "text", "text": f"[image file {_short(source.get('file_id'))} not available]"}
        return {"type": "text", "text": "[image omitted: its source cannot be read]"}

    def _rendition(self, rendition: Rendition) -> Part:
        if rendition.problem:
            self.note("block:image")
            return {"type": "text", "text": f"[image omitted: {rendition.problem}]"}
        if rendition.loss:
            self.note(f"block:image:{rendition.loss}")
        return {"type": "image_url", "image_url": {"url": f"data:{rendition.media_type};base64,{rendition.data}"}}

    def _document(self, block: dict[str, Any], depth: int) -> list[Part]:
        source = block.get("source")
        source = source if isinstance(source, dict) else {}
        title = block.get("title")
        title = title if isinstance(title, str) else ""
        kind, data = source.get("type"), source.get("data")
        if kind == "text" and isinstance(data, str):
            return [self.text(_document_text(title, block.get("context"), data), block)]
        if kind == "content" and depth < _MAX_DEPTH:
            inner = self.parts(source.get("content"), depth + 1)
            head, foot = _document_frame(title, block.get("context"))
            return [{"type": "text", "text": head}, *inner, self.text(foot, block)]
        if kind == "base64" and isinstance(data, str) and data:
            if self._pdf:
                media_type = source.get("media_type")
                media_type = media_type if isinstance(media_type, str) and media_type else "application/pdf"
                if not data.startswith("data:"):
                    data = f"data:{media_type};base64,{data}"
                return [_file(title, data)]
            extract = self._attachments.extracts.get(data)
            if extract is not None and extract.text:
                self.note("block:document:layout")  # its pictures, tables and forms are not in the text
                return [self.text(_document_text(title, block.get("context"), extract.text, extract.pages), block)]
            self.note("block:document")
            return [self.text(omitted_document(title, data, extract), block)]
        url = source.get("url")
        if kind == "url" and isinstance(url, str) and url:
            if self._pdf and self._pdf_by_url:
                return [_file(title, url)]
            self.note("block:document")
            return [self.text(f"[document not attached: {title + ' ' if title else ''}{url}]", block)]
        self.note("block:document")
        named = title or _short(source.get("file_id"))
        return [self.text(f"[document {named} not available]", block)]

    def _search_result(self, block: dict[str, Any], depth: int) -> str:
        lines = [value for key in ("title", "source") if isinstance(value := block.get(key), str) and value]
        if depth < _MAX_DEPTH:
            content = self.parts(block.get("content"), depth + 1)
            lines.extend(part["text"] for part in content if part["type"] == "text")
        return "\n".join(lines) or "[empty search result]"


def _image_type(source: dict[str, Any], data: str) -> str:
    media_type = source.get("media_type")
    if isinstance(media_type, str) and media_type:
        return media_type
    for magic, sniffed in _IMAGE_MAGIC:
        if data.startswith(magic):
            return sniffed
    return "image/png"


def _file(title: str, data: str) -> Part:
    return {"type": "file", "file": {"filename": title or "document.pdf", "file_data": data}}


def _document_frame(title: str, context: Any, pages: int = 0) -> tuple[str, str]:
    quoted = title.replace('"', "'")
    head = f'<document title="{quoted}"' if title else "<document"
    head += f' pages="{pages}">' if pages else ">"
    if isinstance(context, str) and not is_blank(context):
        head += f"\n{context}"
    return head, "</document>"


def _document_text(title: str, context: Any, text: str, pages: int = 0) -> str:
    head, foot = _document_frame(title, context, pages)
    return f"{head}\n{text}\n{foot}"


def _short(value: Any) -> str:
    return value[:80] if isinstance(value, str) else "unknown"
