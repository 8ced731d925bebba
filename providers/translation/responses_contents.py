"""Content parts of Responses items -> content blocks."""

import base64
import binascii
import re
from typing import Any

from providers.translation.validation import InvalidRequest

_DATA_URL = re.compile(r"data:(?P<type>[\w.+-]+/[\w.+-]+)?(?:;[\w=.+-]+)*;base64,", re.IGNORECASE)
_MAGIC = (
    (b"\x89PNG", "image/png"),
    (b"\xff\xd8\xff", "image/jpeg"),
    (b"GIF8", "image/gif"),
    (b"RIFF", "image/webp"),
    (b"%PDF", "application/pdf"),
)
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
    if not url.startswith("data:"):
        return {"type": "image", "source": {"type": "url", "url": url}}
    media_type, data = _data_url(url, f"{path}.image_url")
    return {"type": "image", "source": {"type": "base64", "media_type": media_type or "image/png", "data": data}}


def _file(part: dict[str, Any], path: str) -> dict[str, Any]:
    data, url = part.get("file_data"), part.get("file_url")
    block: dict[str, Any] = {"type": "document"}
    if isinstance(data, str) and data:
        if data.startswith("data:"):
            media_type, data = _data_url(data, f"{path}.file_data")
        else:
            media_type = _sniff(data)
        block["source"] = _document_source(media_type or "application/pdf", data, f"{path}.file_data")
    elif isinstance(url, str) and url:
        block["source"] = {"type": "url", "url": url}
    elif part.get("file_id"):
        raise InvalidRequest(f"{path}.file_id: {_NO_FILES}")
    else:
        raise InvalidRequest(f"{path}: expected file_data or file_url")
    if isinstance(part.get("filename"), str) and part["filename"]:
        block["title"] = part["filename"]
    return block


def _document_source(media_type: str, encoded: str, path: str) -> dict[str, Any]:
    if media_type == "application/pdf":
        return {"type": "base64", "media_type": media_type, "data": encoded}
    try:
        text = base64.b64decode(encoded).decode("utf-8")
    except (binascii.Error, ValueError) as error:
        raise InvalidRequest(f"{path}: only PDF files and text files in UTF-8 are supported") from error
    return {"type": "text", "media_type": "text/plain", "data": text}


def _data_url(url: str, path: str) -> tuple[str, str]:
    match = _DATA_URL.match(url)
    if match is None:
        raise InvalidRequest(f"{path}: expected a data URL of base64")
    data = url[match.end() :]
    # What the bytes are counts more than what the client calls them: Anthropic refuses a mismatch.
    return _sniff(data) or (match["type"] or "").lower(), data


def _sniff(encoded: str) -> str:
    try:
        head = base64.b64decode(encoded[:16])
    except (binascii.Error, ValueError):
        return ""
    return next((media_type for magic, media_type in _MAGIC if head.startswith(magic)), "")
