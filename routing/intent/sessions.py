"""Which calls belong together: the key under which a session's scene is remembered."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any

# Of the loop's messages so many are looked at, and so much of each text: enough to tell conversations apart, and an
# upper bound on the work, whatever a client sends.
_MAX_MESSAGES = 200
_MAX_CHARACTERS = 4000
# No header and no id of a real client begins with it.
_LOOP = "loop\x00"


def session_key(user_id: int, session_id: str, agent_id: str = "") -> str:
    """Return the key of a session of one user: 64 hexadecimal digits. Two users never share one, whatever they send."""
    parts = json.dumps([user_id, session_id, agent_id])
    return hashlib.blake2b(parts.encode(), digest_size=32).hexdigest()


def loop_id(messages: Sequence[Any]) -> str:
    """Return what stands for the session of a client that names none: it is the same in all turns of one tool loop.

    Made of the messages up to the user's last request, which the turns of the loop share. Where clients move their
    cache marks, or write a text first as a list of blocks and later as a string, the words stay the same.
    """
    end = len(messages)
    while end and not _is_request(messages[end - 1]):
        end -= 1
    digest = hashlib.blake2b(str(end).encode(), digest_size=16)
    for message in messages[max(0, end - _MAX_MESSAGES) : end]:
        if isinstance(message, Mapping):
            digest.update(f"\x00{message.get('role')}".encode("utf-8", "replace"))
            for text in _texts(message.get("content")):
                digest.update(f"\x01{len(text)}\x02{text[:_MAX_CHARACTERS]}".encode("utf-8", "replace"))
    return _LOOP + digest.hexdigest()


def _is_request(message: Any) -> bool:
    """Say whether the user speaks in `message`; one that only brings tool results goes on with an older request."""
    if not isinstance(message, Mapping) or message.get("role") != "user":
        return False
    content = message.get("content")
    return not isinstance(content, list) or not any(
        isinstance(block, Mapping) and block.get("type") == "tool_result" for block in content
    )


def _texts(content: Any) -> list[str]:
    if isinstance(content, str):
        return [content]
    found = []
    for block in content if isinstance(content, list) else ():
        if isinstance(block, Mapping):
            # A call and its result are told apart by their id; what they hold may be long.
            text = block.get("text") or block.get("id") or block.get("tool_use_id")
            if isinstance(text, str):
                found.append(text)
    return found
