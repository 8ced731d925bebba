"""Tool call ids in the form an upstream accepts. Stateless: a call and its result map alike in every request."""

import hashlib
import re
from collections.abc import Callable

_ALPHABET = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_PLAIN = re.compile(r"[a-zA-Z0-9_-]{1,200}")


def id_mapper(style: str) -> Callable[[str], str]:
    """Return the function from a client's id to the upstream's for a dialect's `tool_id`.

    any: unchanged. openai40: OpenAI refuses ids over 40 characters. mistral9: Mistral takes exactly nine letters
    and digits. alnum64: letters and digits, at most 64.
    """
    if style == "openai40":
        return lambda tool_id: tool_id if len(tool_id) <= 40 else "call_" + _digest(tool_id)[:35]
    if style == "mistral9":
        return lambda tool_id: tool_id if len(tool_id) == 9 and _is_plain(tool_id) else _digest(tool_id)[:9]
    if style == "alnum64":
        return lambda tool_id: tool_id if len(tool_id) <= 64 and _is_plain(tool_id) else _digest(tool_id)[:40]
    return lambda tool_id: tool_id


def plain_id(tool_id: str) -> str:
    """Return the id that the Messages API takes for a Chat Completions client's: letters, digits, `_` and `-`."""
    return tool_id if _PLAIN.fullmatch(tool_id) else "call_" + _digest(tool_id)


def _is_plain(tool_id: str) -> bool:
    return tool_id.isascii() and tool_id.isalnum()


def _digest(tool_id: str) -> str:
    """Return 43 characters of base62, the SHA-256 of the id."""
    number = int.from_bytes(hashlib.sha256(tool_id.encode("utf-8", "surrogatepass")).digest(), "big")
    digits = []
    for _ in range(43):
        number, remainder = divmod(number, 62)
        digits.append(_ALPHABET[remainder])
    return "".join(digits)
