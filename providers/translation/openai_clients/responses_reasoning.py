"""Reasoning between Responses items and thinking blocks: `encrypted_content` carries what the model needs back.

A Responses client that keeps nothing on the server (`store: false`) sends each reasoning item back with the
`encrypted_content` it was given. Our own signatures travel as they are; a vendor's signature and its redacted thinking
in an envelope, so that they can be told from what another service encrypted, which no model here could read.
"""

import base64
import binascii
from typing import Any

from providers import wire_json
from providers.translation import signature

_PREFIX = "wgr1."


def encrypted_content(block: dict[str, Any], *, is_shown: bool) -> str | None:
    """Return what a thinking block needs besides its text; `is_shown`: the client gets the text as a summary."""
    if block.get("type") == "redacted_thinking":
        return _wrap({"data": block.get("data")})
    sealed = block.get("signature")
    if not isinstance(sealed, str) or not sealed:
        return None
    text = block.get("thinking")
    if is_shown or not text:
        return sealed if signature.is_ours(sealed) else _wrap({"signature": sealed})
    return _wrap({"signature": sealed, "thinking": text})


def thinking_block(item: dict[str, Any]) -> dict[str, Any] | None:
    """Return the block that a reasoning item was, or None for one that is not ours."""
    encrypted = item.get("encrypted_content")
    if not isinstance(encrypted, str):
        return None
    if signature.is_ours(encrypted):
        return {"type": "thinking", "thinking": _summary(item), "signature": encrypted}
    content = _unwrap(encrypted)
    data, sealed, text = content.get("data"), content.get("signature"), content.get("thinking")
    if isinstance(data, str) and data:
        return {"type": "redacted_thinking", "data": data}
    if not isinstance(sealed, str) or not sealed:
        return None
    return {"type": "thinking", "thinking": text if isinstance(text, str) else _summary(item), "signature": sealed}


def _summary(item: dict[str, Any]) -> str:
    summary = item.get("summary")
    parts = [part for part in summary if isinstance(part, dict)] if isinstance(summary, list) else []
    return "".join([part["text"] for part in parts if isinstance(part.get("text"), str)])


def _wrap(content: dict[str, Any]) -> str:
    return _PREFIX + base64.urlsafe_b64encode(wire_json.encode(content)).rstrip(b"=").decode("ascii")


def _unwrap(encrypted: str) -> dict[str, Any]:
    if not encrypted.startswith(_PREFIX):
        return {}
    encoded = encrypted[len(_PREFIX) :]
    try:
        content = wire_json.decode(base64.b64decode(encoded + "=" * (-len(encoded) % 4), altchars=b"-_", validate=True))
    except (binascii.Error, ValueError):
        return {}
    return content if isinstance(content, dict) else {}
