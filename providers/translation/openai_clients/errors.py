"""Errors as OpenAI's APIs write them."""

import re
from typing import Any

# Type of the Messages API -> type and code of OpenAI's APIs. What is not here is a fault of the server.
_NAMES: dict[str, tuple[str, str | None]] = {
    "authentication_error": ("authentication_error", "invalid_api_key"),
    "permission_error": ("permission_error", "permission_denied"),
    "billing_error": ("insufficient_quota", "insufficient_quota"),
    "rate_limit_error": ("rate_limit_error", "rate_limit_exceeded"),
    "invalid_request_error": ("invalid_request_error", None),
    "request_too_large": ("invalid_request_error", "request_too_large"),
    "not_found_error": ("invalid_request_error", "not_found"),
}
# Agents compact a conversation when they find this code.
_TOO_LONG = re.compile(r"prompt is too long|exceed context limit", re.IGNORECASE)
# `messages[0].content: …`, as our own checks word it.
_PARAM = re.compile(r"([a-z_]+(?:\[\d+\]|\.[a-z_]+)*): ")


def error_object(error_type: str, message: str, *, code: str | None = None) -> dict[str, Any]:
    """Return `{"error": {"message", "type", "param", "code"}}` for an error of the Messages API.

    `code` replaces the one that goes with the type.
    """
    kind, usual_code = _NAMES.get(error_type, ("server_error", error_type))
    code = code or usual_code
    param = None
    if error_type == "invalid_request_error":
        if _TOO_LONG.search(message):
            code = "context_length_exceeded"
        elif match := _PARAM.match(message):
            param = match[1]
    return {"error": {"message": message, "type": kind, "param": param, "code": code}}
