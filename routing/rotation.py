"""Which of a provider's credentials is asked first: they share the calls, and a session stays with one of them.

Platforms cache prompts per account, so a session that moved would pay for its prompt again.
"""

from hashlib import blake2b
from itertools import count

from providers.target import Secret, Target

_turns = count()


def in_turn(target: Target, session_id: str) -> tuple[Secret, ...]:
    """Return the credentials of `target` in the order in which a call of this session asks them.

    The order of a session is made of a digest per credential, so one more or less moves no session but those that it
    takes over or leaves behind. Calls of no session take turns.
    """
    secrets = target.secrets
    if len(secrets) < 2:
        return secrets
    if not session_id:
        start = next(_turns) % len(secrets)
        return secrets[start:] + secrets[:start]
    return tuple(sorted(secrets, key=lambda secret: _digest(session_id, secret.name)))


def _digest(session_id: str, name: str) -> bytes:
    # A client's id may hold lone surrogates.
    return blake2b(f"{session_id}\0{name}".encode("utf-8", "replace"), digest_size=8).digest()
