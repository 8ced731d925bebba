"""A model call as it came, parsed as far as the gateway needs."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from django.conf import settings
from django.core.handlers.asgi import ASGIRequest

from accounts.networks import forwarded_for
from providers import wire_json
from providers.clients.anthropic_headers import holds_gateway_key
from providers.translation.validation import InvalidRequest, MessagesForm
from routing.intent.kinds import AGENT_HEADER, SESSION_HEADER


def credentials(headers: Mapping[str, str]) -> tuple[str, ...]:
    """Return the presented secrets: `x-gateway-key` alone if it is there, else the bearer token, then `x-api-key`.

    Both of the latter may come, with different values. Beside `x-gateway-key` they are the client's own credential.
    """
    if gateway_key := _bare(headers.get("x-gateway-key", "")):
        return (gateway_key,)
    found = []
    scheme, _, token = headers.get("authorization", "").strip().partition(" ")
    if scheme.lower() == "bearer" and token.strip():
        found.append(token.strip())
    key = headers.get("x-api-key", "").strip()
    if key and key not in found:
        found.append(key)
    return tuple(found)


def _bare(value: str) -> str:
    """Return a key without the word that a client may have put before it."""
    scheme, _, token = value.strip().partition(" ")
    return token.strip() if scheme.lower() == "bearer" else value.strip()


def own_credential(headers: Mapping[str, str]) -> dict[str, str]:
    """Return the headers of the client's own credential as sent; none unless `x-gateway-key` identifies the client.

    A header that holds the gateway's key, or another one of its kind, is none.
    """
    gateway_key = _bare(headers.get("x-gateway-key", ""))
    if not gateway_key:
        return {}
    return {
        name: value
        for name in ("authorization", "x-api-key")
        if (value := headers.get(name, "")).strip()
        and value.isascii()
        and gateway_key not in value
        and not holds_gateway_key(value)
    }


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
    client_address: str = ""

    @property
    def body(self) -> dict[str, Any]:
        """The request in Messages form."""
        return self.form.body

    @property
    def agent_id(self) -> str:
        """The subagent of the client's that asks, "" if none says so."""
        return self.headers.get(AGENT_HEADER, "")

    @property
    def names_session(self) -> bool:
        """Whether `session_id` is that of one conversation, and not of a prompt cache that several may share."""
        return bool(self.headers.get(SESSION_HEADER)) or not self.client_body.get("prompt_cache_key")

    def session_id(self) -> str:
        """Return the client's session, "" if it has none.

        Claude Code names it in a header or in `metadata.user_id`, a JSON string; OpenAI's clients name their cache.
        """
        for session in (self.headers.get(SESSION_HEADER), self.client_body.get("prompt_cache_key")):
            if isinstance(session, str) and session:
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


def client_address(request: ASGIRequest) -> str:
    """Return the address of the client, through trusted proxies; "" if it has none, as on a Unix socket."""
    peer, trusted = request.scope.get("client"), tuple(settings.TRUSTED_PROXIES)
    forwarded: list[str] = []
    if trusted:
        # All of them: a proxy may add a header of its own instead of extending the one that came.
        forwarded = [
            value.decode("latin-1") for name, value in request.scope["headers"] if name.lower() == b"x-forwarded-for"
        ]
    return forwarded_for(str(peer[0]) if peer else "", forwarded, trusted)


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
        client_address(request),
    )
