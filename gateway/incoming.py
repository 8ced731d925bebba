"""A model call as it came, parsed as far as the gateway needs."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from django.core.handlers.asgi import ASGIRequest

from providers import wire_json
from providers.translation.validation import InvalidRequest, MessagesForm


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
    form: MessagesForm
    client_body: dict[str, Any]  # as the client sent it; the same object as `body` for Messages
    secrets: tuple[str, ...] = field(repr=False)
    query: str = ""
    path: str = ""

    @property
    def body(self) -> dict[str, Any]:
        """The request in Messages form."""
        return self.form.body

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


def header_map(headers: Iterable[tuple[bytes, bytes]]) -> dict[str, str]:
    """Return the headers of an ASGI scope by lower-cased name."""
    return {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in headers}


def headers_of(request: ASGIRequest) -> dict[str, str]:
    return header_map(request.scope["headers"])


def read(request: ASGIRequest, to_form: Callable[[Any], MessagesForm]) -> Received:
    """Return the request, brought into Messages form by `to_form`. Raises `InvalidRequest`."""
    try:
        document = wire_json.decode(request.body)
    except ValueError as error:
        raise InvalidRequest(f"The request body is not valid JSON: {error}") from error
    headers = headers_of(request)
    return Received(
        headers,
        request.body,
        to_form(document),
        document,
        credentials(headers),
        request.scope.get("query_string", b"").decode("latin-1"),
        request.path,
    )
