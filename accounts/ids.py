"""Identifiers of calls and requests."""

import secrets
import time
import uuid

_ALPHABET = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"


def new_call_id() -> uuid.UUID:
    """Return a UUID of version 7 (RFC 9562): it grows with time, so an index on it is appended to, not scattered."""
    milliseconds = time.time_ns() // 1_000_000
    random = secrets.randbits(74)
    value = (milliseconds & (2**48 - 1)) << 80 | 7 << 76 | (random >> 62) << 64 | 0b10 << 62 | (random & (2**62 - 1))
    return uuid.UUID(int=value)


def new_request_id() -> str:
    """Return the id by which a client and our log name a request that is no call."""
    return f"req_{new_call_id().hex}"


def new_message_id() -> str:
    """Return the id of an answer, in the form that the Messages API gives it."""
    value, characters = secrets.randbits(143), []
    for _ in range(24):
        value, digit = divmod(value, 62)
        characters.append(_ALPHABET[digit])
    return "msg_" + "".join(characters)
