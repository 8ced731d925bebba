"""Which calls belong together: the key under which a session's scene is remembered."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any

from routing.intent.words import own_words

# Of the loop's messages so many are looked at, and so much of each text: enough to tell conversations apart, and an
# upper bound on the work, whatever a client sends.
_MAX_MESSAGES = 200
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
    end = _last_request(messages, len(messages)) or 1
    for _ in range(_MAX_APPROVALS):
        if not own_words(messages[:end]).is_approval or not (before := _last_request(messages, end - 1)):
            break
        end = before
    digest = hashlib.blake2b(str(end).encode(), digest_size=16)
    for message in messages[max(0, end - _MAX_MESSAGES) : end]:
        digest.update(f"\x00{message['role']}".encode())
        for text in _texts(message["content"]):
            digest.update(f"\x01{len(text)}\x02{text[:_MAX_CHARACTERS]}".encode("utf-8", "replace"))
    return _LOOP + digest.hexdigest()


def _last_request(messages: Sequence[Mapping[str, Any]], end: int) -> int:
    """Return the number of messages up to the last request of the user among the first `end`; 0 if there is none."""
    while end > 0 and not _is_request(messages[end - 1]):
        end -= 1
    return max(end, 0)


def _is_request(message: Mapping[str, Any]) -> bool:
    """Say whether the user speaks in `message`, rather than his tools or his client."""
    return message["role"] == "user" and bool(own_words([message]).text)


def _texts(content: Any) -> list[str]:
    if isinstance(content, str):
        return [content]
    # A call and its result are told apart by their id; what they hold may be long.
    texts = [_text(block) for block in content or ()]
    return [text for text in texts if isinstance(text, str)]


def _text(block: Mapping[str, Any]) -> Any:
    source = block.get("source")
    if isinstance(source, Mapping):
        return source.get("data") or source.get("url") or source.get("file_id")
    return block.get("text") or block.get("id") or block.get("tool_use_id")
