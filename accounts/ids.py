"""Identifiers of calls and requests."""

import os
import random
import time
import uuid

# Ids are unique, not secret: nothing is granted to whoever guesses one. The system's source would be asked several
# times per call, and each time the event loop gives up the interpreter and waits until it gets it back. A generator
# of our own, so that nobody who seeds the common one makes ids repeat; a forked worker must not go on with the numbers
# of its parent.
_random = random.Random()
os.register_at_fork(after_in_child=_random.seed)
_ALPHABET = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"


def new_call_id() -> uuid.UUID:
    """Return a UUID of version 7 (RFC 9562): it grows with time, so an index on it is appended to, not scattered."""
    milliseconds = time.time_ns() // 1_000_000
    noise = _random.getrandbits(74)
    value = (milliseconds & (2**48 - 1)) << 80 | 7 << 76 | (noise >> 62) << 64 | 0b10 << 62 | (noise & (2**62 - 1))
    return uuid.UUID(int=value)


def new_request_id() -> str:
    """Return the id by which a client and our log name a request that is no call."""
    return f"req_{new_call_id().hex}"


def new_message_id() -> str:
    """Return the id of an answer, in the form that the Messages API gives it."""
    value, characters = _random.getrandbits(143), []
    for _ in range(24):
        value, digit = divmod(value, 62)
        characters.append(_ALPHABET[digit])
    return "msg_" + "".join(characters)
