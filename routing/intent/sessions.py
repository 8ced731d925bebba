"""Which calls belong together: the key under which a session's scene is remembered."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from itertools import islice
from typing import Any

from routing.intent.words import last_request, own_words
from routing.models import RequestKind

# What goes on with a session; all else leaves its memory alone.
REMEMBERED_KINDS = frozenset({RequestKind.MAIN, RequestKind.SUBAGENT, RequestKind.TOOL_RESULT})

# Of the loop's messages so many are looked at, so many of their blocks, and so much of each text: enough to tell
# conversations apart, and an upper bound on the work, whatever a client sends.
_MAX_MESSAGES = 200
_MAX_BLOCKS = 2000
_MAX_CHARACTERS = 4000
_MAX_APPROVALS = 10  # in a row
# No header and no id of a real client begins with it.
_LOOP = "loop\x00"


def session_key(user_id: int, session_id: str, agent_id: str = "") -> str:
    """Return the key of a session of one user: 64 hexadecimal digits. Two users never share one, whatever they send."""
    parts = json.dumps([user_id, session_id, agent_id])
    return hashlib.blake2b(parts.encode(), digest_size=32).hexdigest()


def loop_id(messages: Sequence[Mapping[str, Any]]) -> str:
    """Return what stands for the session of a client that names none: it is the same in all turns of one tool loop.

    Made of the messages (of a validated request) up to the user's last request, which the turns of the loop share; of
    an approval, those up to what it approves of. Where clients move their cache marks, or write a text first as a list
    of blocks and later as a string, the words stay the same.
    """
    # Where nobody has said a word, the first message has to do.
    end = last_request(messages, len(messages)) or 1
    for _ in range(_MAX_APPROVALS):
        if not own_words(messages[end - 1 : end]).is_approval or not (before := last_request(messages, end - 1)):
            break
        end = before
    digest = hashlib.blake2b(str(end).encode(), digest_size=16)
    left = _MAX_BLOCKS
    for message in messages[max(0, end - _MAX_MESSAGES) : end]:
        digest.update(f"\x00{message['role']}".encode())
        texts = _texts(message["content"], left)
        left -= len(texts)
        for text in texts:
            if isinstance(text, str):
                digest.update(f"\x01{len(text)}\x02{text[:_MAX_CHARACTERS]}".encode("utf-8", "replace"))
    return _LOOP + digest.hexdigest()


def _texts(content: Any, limit: int) -> list[Any]:
    """Return what tells the blocks of a message from others, of `limit` blocks at most; None for one without that."""
    if isinstance(content, str):
        return [content][:limit]
    # A call and its result are told apart by their id; what they hold may be long.
    return [_text(block) for block in islice(content or (), limit)]


def _text(block: Mapping[str, Any]) -> Any:
    source = block.get("source")
    if isinstance(source, Mapping):
        return source.get("data") or source.get("url") or source.get("file_id")
    return block.get("text") or block.get("id") or block.get("tool_use_id")
