"""The checks a Messages API request must pass. All else is translated as well as it can be."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

_ROLES = ("user", "assistant", "system")


class InvalidRequest(ValueError):
    """The client's request cannot be served. `message` is one line that names the path."""

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message


@dataclass(slots=True)
class MessagesForm:
    """A client's request in the inside format, and what of it that format cannot say."""

    body: dict[str, Any]
    dropped_fields: list[str] = field(default_factory=list)
    # Not "": what only a target of the client's own wire format can do, as one line that names the path.
    only_relayed: str = ""

    def needs_relay(self, reason: str) -> None:
        """Note what the inside format cannot say; the first reason stands."""
        self.only_relayed = self.only_relayed or reason


def validate(body: Any, *, require_max_tokens: bool = True) -> dict[str, Any]:
    """Return `body` as the object it is. Raises `InvalidRequest`; count_tokens requests need no `max_tokens`."""
    if not isinstance(body, dict):
        raise InvalidRequest("The request body must be a JSON object.")
    model = body.get("model")
    if not isinstance(model, str) or not model:
        raise InvalidRequest("model: Field required" if model is None else "model: Input should be a non-empty string")
    max_tokens = body.get("max_tokens")
    if max_tokens is None:
        if require_max_tokens:
            raise InvalidRequest("max_tokens: Field required")
    elif whole_number(max_tokens) is None:
        raise InvalidRequest("max_tokens: Input should be an integer of at least 0")
    messages = body.get("messages")
    if messages is None:
        raise InvalidRequest("messages: Field required")
    if not isinstance(messages, list):
        raise InvalidRequest("messages: Input should be a list")
    if not messages:
        raise InvalidRequest("messages: at least one message is required")
    for position, message in enumerate(messages):
        _check_message(message, position)
    return body


def whole_number(value: Any) -> int | None:
    """Return a JSON number as an integer of at least 0 (1e3 counts as one); None for anything else."""
    if isinstance(value, bool):
        return None
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return value if isinstance(value, int) and value >= 0 else None


def add_sampling(body: dict[str, Any], document: Mapping[str, Any]) -> None:
    """Copy the sampling parameters of a request to one of OpenAI's APIs. Raises `InvalidRequest`."""
    for name, highest in (("temperature", 2), ("top_p", 1)):
        value = document.get(name)
        if value is None:
            continue
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= highest:
            raise InvalidRequest(f"{name}: expected a number from 0 to {highest}")
        body[name] = value


def _check_message(message: Any, position: int) -> None:
    path = f"messages.{position}"
    if not isinstance(message, dict):
        raise InvalidRequest(f"{path}: Input should be an object")
    role = message.get("role")
    if role not in _ROLES:
        raise InvalidRequest(f"{path}.role: Input should be 'user', 'assistant' or 'system'")
    if "content" not in message:
        raise InvalidRequest(f"{path}.content: Field required")
    content = message["content"]
    if content is None or isinstance(content, str):
        return
    if not isinstance(content, list):
        raise InvalidRequest(f"{path}.content: Input should be a string or a list of content blocks")
    for index, block in enumerate(content):
        if not isinstance(block, dict):
            raise InvalidRequest(f"{path}.content.{index}: Input should be an object")
        kind = block.get("type")
        if not isinstance(kind, str) or not kind:
            raise InvalidRequest(f"{path}.content.{index}.type: Field required")
        if kind == "tool_use":
            if not _is_text(block.get("id")) or not _is_text(block.get("name")):
                raise InvalidRequest(f"{path}.content.{index}: tool_use needs an id and a name")
        elif kind == "tool_result" and not _is_text(block.get("tool_use_id")):
            raise InvalidRequest(f"{path}.content.{index}: tool_result needs a tool_use_id")


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and bool(value)
