"""Content parts of Responses items -> content blocks."""

from typing import Any

from providers.translation.openai_clients.media_sources import document_source, image_source
from providers.translation.validation import InvalidRequest

_NO_FILES = "no files are stored here; send the file itself"


def content_blocks(content: Any, path: str) -> list[dict[str, Any]]:
    """Return the blocks of an item's content; blank text has none, for the Messages API refuses it.

    Raises `InvalidRequest`, naming the path, for what no model behind this gateway can be given.
    """
    if content is None:
        return []
    if isinstance(content, str):
        return [{"type": "text", "text": content}] if content.strip() else []
    if not isinstance(content, list):
        raise InvalidRequest(f"{path}: expected a string or an array of content parts")
    blocks = [_block(part, f"{path}[{position}]") for position, part in enumerate(content)]
    return [block for block in blocks if block is not None]


def result_content(output: Any, path: str) -> str | list[dict[str, Any]]:
    """Return the content of a tool_result: a string stays one."""
    return output if isinstance(output, str) else content_blocks(output, path)


def _block(part: Any, path: str) -> dict[str, Any] | None:
    if not isinstance(part, dict):
        raise InvalidRequest(f"{path}: expected an object")
    block: dict[str, Any] | None
    match part.get("type"):
        case "input_text" | "output_text" | "text" | "summary_text" | "reasoning_text":
            block = _text(part.get("text"), f"{path}.text")
        case "refusal":
            block = _text(part.get("refusal"), f"{path}.refusal")
        case "input_image":
            block = _image(part, path)
        case "input_file":
            block = _file(part, path)
        case "input_audio":
            raise InvalidRequest(f"{path}: audio is not supported; send its transcript as input_text")
        case str() as kind:
            raise InvalidRequest(f"{path}.type: content parts of type {kind[:50]!r} are not supported")
        case _:
            raise InvalidRequest(f"{path}.type: missing required parameter")
    mark = part.get("prompt_cache_breakpoint")
    if block is not None and isinstance(mark, dict):
        block["cache_control"] = {"type": "ephemeral", **({"ttl": "1h"} if mark.get("ttl") == "12h" else {})}
    return block


def _text(text: Any, path: str) -> dict[str, Any] | None:
    if not isinstance(text, str):
        raise InvalidRequest(f"{path}: expected a string")
    return {"type": "text", "text": text} if text.strip() else None


def _image(part: dict[str, Any], path: str) -> dict[str, Any]:
    url = part.get("image_url")
    if isinstance(url, dict):
        url = url.get("url")  # the form of Chat Completions, which some clients mix in
    if not isinstance(url, str) or not url:
        if part.get("file_id"):
            raise InvalidRequest(f"{path}.file_id: {_NO_FILES}")
        raise InvalidRequest(f"{path}.image_url: expected a URL or a data URL")
    return {"type": "image", "source": image_source(url, f"{path}.image_url")}


def _file(part: dict[str, Any], path: str) -> dict[str, Any]:
    name = next((name for name in ("file_data", "file_url") if part.get(name) is not None), "file_data")
    data = part.get(name)
    if not isinstance(data, str) or not data:
        if part.get("file_id"):
            raise InvalidRequest(f"{path}.file_id: {_NO_FILES}")
        raise InvalidRequest(f"{path}: expected file_data or file_url")
    block: dict[str, Any] = {"type": "document", "source": document_source(data, f"{path}.{name}")}
    if isinstance(part.get("filename"), str) and part["filename"]:
        block["title"] = part["filename"]
    return block
