"""Files that OpenAI's clients send inside a request -> sources of image and document blocks."""

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


def image_source(url: str, path: str) -> dict[str, Any]:
    """Return the source of an image at a URL or in a data URL. Raises `InvalidRequest`, naming the path."""
    if not url.startswith("data:"):
        return {"type": "url", "url": url}
    media_type, data = _data_url(url, path)
    return {"type": "base64", "media_type": media_type or "image/png", "data": data}


def document_source(data: str, path: str) -> dict[str, Any]:
    """Return the source of a document at a URL, in a data URL or in bare base64; text is taken as such.

    Raises as `image_source`.
    """
    if data.startswith(("http://", "https://")):
        return {"type": "url", "url": data}
    media_type, encoded = _data_url(data, path) if data.startswith("data:") else (_sniff(data), data)
    if media_type == "application/pdf":
        return {"type": "base64", "media_type": media_type, "data": encoded}
    try:
        content = base64.b64decode(encoded)
    except (binascii.Error, ValueError) as error:
        raise InvalidRequest(f"{path}: the data is not valid base64") from error
    is_text = media_type.startswith("text/")
    try:
        text = content.decode("utf-8", "replace" if is_text else "strict")
    except UnicodeDecodeError:
        text = "\0"
    if is_text or "\0" not in text:
        return {"type": "text", "media_type": "text/plain", "data": text}
    return {"type": "base64", "media_type": media_type or "application/pdf", "data": encoded}


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
