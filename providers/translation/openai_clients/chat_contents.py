"""Content parts of Chat Completions messages -> content blocks."""

from typing import Any

from providers.translation.openai_clients.media_sources import document_source, image_source
from providers.translation.validation import InvalidRequest, MessagesForm


def content_blocks(content: Any, path: str, form: MessagesForm) -> list[dict[str, Any]]:
    """Return the blocks of a message's `content`; blank text has none, for the Messages API refuses it."""
    if content is None:
        return []
    if isinstance(content, str):
        return [{"type": "text", "text": content}] if content.strip() else []
    if not isinstance(content, list):
        raise InvalidRequest(f"{path}.content: expected a string or an array of content parts")
    blocks = []
    for position, part in enumerate(content):
        block = _block(part, f"{path}.content[{position}]", form)
        if block is not None:
            blocks.append(block)
    return blocks


def tool_result_content(content: Any, path: str, form: MessagesForm) -> str | list[dict[str, Any]]:
    """Return the `content` of a tool_result: a string stays one."""
    return content if isinstance(content, str) else content_blocks(content, path, form)


def _block(part: Any, path: str, form: MessagesForm) -> dict[str, Any] | None:
    if not isinstance(part, dict):
        raise InvalidRequest(f"{path}: expected an object")
    block: dict[str, Any] | None = None
    match part.get("type"):
        case "text" | "input_text" | "output_text":
            block = _text_block(part.get("text"), path)
        case "refusal":
            block = _text_block(part.get("refusal"), path)
        case "image_url":
            block = _image(part.get("image_url"), path)
        case "file":
            block = _file(part.get("file"), path, form)
        case "input_audio":
            form.needs_relay(f"{path}: this model takes no audio")
        case str() as kind:
            form.needs_relay(f"{path}.type: this model takes no {kind[:50]}")
        case _:
            raise InvalidRequest(f"{path}.type: missing required parameter")
    mark = part.get("prompt_cache_breakpoint") or part.get("cache_control")
    if block is not None and isinstance(mark, dict):
        block["cache_control"] = {"type": "ephemeral"}
        if mark.get("ttl") not in (None, "5m"):
            block["cache_control"]["ttl"] = "1h"
    return block


def _text_block(text: Any, path: str) -> dict[str, Any] | None:
    if not isinstance(text, str):
        raise InvalidRequest(f"{path}.text: expected a string")
    return {"type": "text", "text": text} if text.strip() else None


def _image(image: Any, path: str) -> dict[str, Any]:
    url = image.get("url") if isinstance(image, dict) else image
    if not isinstance(url, str) or not url:
        raise InvalidRequest(f"{path}.image_url.url: expected a URL")
    return {"type": "image", "source": image_source(url, f"{path}.image_url.url")}


def _file(file: Any, path: str, form: MessagesForm) -> dict[str, Any] | None:
    if not isinstance(file, dict):
        raise InvalidRequest(f"{path}.file: expected an object")
    data = file.get("file_data")
    if not isinstance(data, str) or not data:
        # An id is known to the platform that gave it out, and to no other.
        form.needs_relay(f"{path}.file: this model takes files as file_data only")
        return None
    block: dict[str, Any] = {"type": "document", "source": document_source(data, f"{path}.file.file_data")}
    if isinstance(file.get("filename"), str) and file["filename"]:
        block["title"] = file["filename"]
    return block
