"""The signature of the thinking blocks we make: what a later request needs to replay the reasoning upstream.

Claude Code sends a thinking block back byte for byte, so its signature can carry what the block itself must not show
(OpenRouter's `reasoning_details`, the text of omitted thinking). It is authenticated: nobody can plant reasoning.
"""

import base64
import binascii
import hashlib
import hmac
import zlib
from typing import Any

from providers import wire_json

_PREFIX = "wg1."
_MAC_BYTES = 16
# An unpacked content larger than this is no signature of ours; it bounds what a forged one can make us allocate.
_MAX_CONTENT_BYTES = 64 * 1024 * 1024
# What a signature carries comes back with every further request of the conversation. No reasoning is this long.
_MAX_CARRIED_BYTES = 512 * 1024
_QUICK_BYTES = 64 * 1024  # above this, speed counts for more than size: the event loop waits


def seal(content: dict[str, Any], key: bytes) -> str:
    """Return `content` as a signature.

    Keys of `content`: "p" provider name, "m" model id, "t" the reasoning text where the block does not show it,
    "d" the `reasoning_details` list. Where they are too long, "d" and then "t" is left out: the reasoning is not
    replayed. Form: "wg1." + base64url(HMAC-SHA-256[:16] + zlib(JSON)), without padding.
    """
    encoded = wire_json.encode(content)
    for name in ("d", "t"):
        if len(encoded) > _MAX_CARRIED_BYTES:
            content = {key: value for key, value in content.items() if key != name}
            encoded = wire_json.encode(content)
    packed = zlib.compress(encoded, 1 if len(encoded) > _QUICK_BYTES else 6)
    return _PREFIX + base64.urlsafe_b64encode(_mac(packed, key) + packed).rstrip(b"=").decode("ascii")


def unseal(signature: str, key: bytes) -> dict[str, Any] | None:
    """Return the content of a signature, or None when it is not ours or was changed."""
    if not is_ours(signature):
        return None
    encoded = signature[len(_PREFIX) :]
    try:
        sealed = base64.b64decode(encoded + "=" * (-len(encoded) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        return None
    mac, packed = sealed[:_MAC_BYTES], sealed[_MAC_BYTES:]
    if not hmac.compare_digest(mac, _mac(packed, key)):
        return None
    try:
        unpacker = zlib.decompressobj()
        content = wire_json.decode(unpacker.decompress(packed, _MAX_CONTENT_BYTES))
    except (zlib.error, ValueError):
        return None
    return content if isinstance(content, dict) else None


def is_ours(signature: str) -> bool:
    """Say whether a signature has our form. Only `unseal` proves that it is genuine."""
    return signature.startswith(_PREFIX)


def _mac(packed: bytes, key: bytes) -> bytes:
    return hmac.new(key, packed, hashlib.sha256).digest()[:_MAC_BYTES]
