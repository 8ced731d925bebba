"""A request of the Messages API as it came, parsed as far as the gateway needs."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from django.core.handlers.asgi import ASGIRequest

from providers import wire_json
from providers.translation.request import InvalidRequest, validate


def credentials(headers: Mapping[str, str]) -> tuple[str, ...]:
    """Return the presented secrets: the bearer token first, then `x-api-key`. Both may come, with different values."""
    found = []
    scheme, _, token = headers.get("authorization", "").strip().partition(" ")
    if scheme.lower() == "bearer" and token.strip():
        found.append(token.strip())
    key = headers.get("x-api-key", "").strip()
    if key and key not in found:
        found.append(key)
    return tuple(found)


@dataclass(slots=True)
class Received:
    """A request as it came, parsed as far as the gateway needs."""

    headers: dict[str, str]  # lower-cased names
    raw: bytes
    body: dict[str, Any]
    secrets: tuple[str, ...] = field(repr=False)
    query: str = ""
    path: str = ""

    def session_id(self) -> str:
        """Return the client's session, from its header or from `metadata.user_id`, a JSON string; "" if it has none."""
        session = self.headers.get("x-claude-code-session-id", "")
        if session:
            return session
        metadata = self.body.get("metadata")
        user_id = metadata.get("user_id") if isinstance(metadata, dict) else None
        if not isinstance(user_id, str) or "session_id" not in user_id:
            return ""
        try:
            parsed = wire_json.decode(user_id.encode("utf-8", "replace"))
        except ValueError:
            return ""
        found = parsed.get("session_id") if isinstance(parsed, dict) else None
        return found if isinstance(found, str) else ""


def headers_of(request: ASGIRequest) -> dict[str, str]:
    return {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in request.scope["headers"]}


def read(request: ASGIRequest, *, require_max_tokens: bool) -> Received:
    """Return the request. Raises `InvalidRequest`."""
    try:
        document = wire_json.decode(request.body)
    except ValueError as error:
        raise InvalidRequest(f"The request body is not valid JSON: {error}") from error
    headers = headers_of(request)
    return Received(
        headers,
        request.body,
        validate(document, require_max_tokens=require_max_tokens),
        credentials(headers),
        request.scope.get("query_string", b"").decode("latin-1"),
        request.path,
    )
