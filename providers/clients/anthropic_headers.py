"""The headers of Anthropic-wire calls: which of the client's go upstream, which of the upstream's come back."""

import re
from collections.abc import Mapping

from providers.clients.base import UpstreamCall
from providers.presets import credential_headers
from providers.target import Secret, Target

ANTHROPIC_VERSION = "2023-06-01"
# Without it an OAuth token is answered with 401.
OAUTH_BETA = "oauth-2025-04-20"
# Of the client's headers: what belongs to the protocol, and what some relays know Claude Code by.
_FORWARDED = re.compile(r"^(?:anthropic-.*|user-agent|x-app|x-stainless-.*|x-claude-code-.*)$")
_GATEWAY_KEY = re.compile(r"(?<![A-Za-z0-9])wg_")
_MIN_SECRET = 8
# Of the upstream's: rate limits are our account's, not the client's.
_RELAYED = ("request-id", "anthropic-organization-id", "retry-after", "retry-after-ms", "x-should-retry")


def sends_own_credential(target: Target, call: UpstreamCall) -> bool:
    """Say whether `target` gets the client's own credential instead of a stored one."""
    return target.forwards_client_credential and bool(call.client_credential)


def request_headers(target: Target, secret: Secret | None, call: UpstreamCall) -> dict[str, str]:
    """Return the headers of a call: the client's that belong to the protocol, and a credential."""
    hidden = _hidden(call)
    headers = {
        name: value
        for name, value in call.headers.items()
        # httpx can send no other than ASCII, which is all that HTTP allows for.
        if _FORWARDED.match(name) and value.isascii() and not _holds(value, hidden)
    }
    if not target.native.native_betas:
        headers.pop("anthropic-beta", None)
    headers.setdefault("anthropic-version", ANTHROPIC_VERSION)
    headers |= target.extra_headers
    headers["content-type"] = "application/json"
    headers["accept"] = "text/event-stream" if call.streamed else "application/json"
    if sends_own_credential(target, call):
        headers |= call.client_credential
    elif secret is not None:
        headers |= credential_headers(target.kind, target.base_url, "anthropic", secret.value)
    betas = headers.get("anthropic-beta", "")
    if "sk-ant-oat" in headers.get("authorization", "") and OAUTH_BETA not in betas:
        headers["anthropic-beta"] = f"{betas},{OAUTH_BETA}" if betas else OAUTH_BETA
    return headers


def forwarded_query(call: UpstreamCall) -> str:
    """Return the client's query string, without parts that hold a credential."""
    hidden = _hidden(call)
    if not call.query or not _holds(call.query, hidden):
        return call.query
    return "&".join(part for part in call.query.split("&") if not _holds(part, hidden))


def _hidden(call: UpstreamCall) -> tuple[str, ...]:
    """Return what no forwarded header may hold: the gateway's keys, and the client's own credential, whole and bare."""
    own = (value.strip() for value in call.client_credential.values())
    bare = (value.rpartition(" ")[2] for value in call.client_credential.values())
    # What is shorter is no credential, and stands in many a harmless value.
    return tuple(value for value in (*call.gateway_secrets, *own, *bare) if len(value) >= _MIN_SECRET)


def holds_gateway_key(value: str) -> bool:
    """Say whether `value` holds something of the form of a gateway key."""
    return _GATEWAY_KEY.search(value) is not None


def _holds(value: str, hidden: tuple[str, ...]) -> bool:
    return holds_gateway_key(value) or any(secret in value for secret in hidden)


def relayed_headers(headers: Mapping[str, str]) -> list[tuple[str, str]]:
    """Return the headers of an upstream's answer that the client gets."""
    return [(name, headers[name]) for name in _RELAYED if name in headers]


def request_id(headers: Mapping[str, str]) -> str:
    """Return the id under which the upstream knows the call."""
    return (headers.get("request-id") or headers.get("x-request-id") or "")[:200]
