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
# Of the upstream's: rate limits are our account's, not the client's.
_RELAYED = ("request-id", "anthropic-organization-id", "retry-after", "retry-after-ms", "x-should-retry")


def request_headers(target: Target, secret: Secret | None, call: UpstreamCall) -> dict[str, str]:
    """Return the headers of a call: the client's that belong to the protocol, and our credential."""
    headers = {name: value for name, value in call.headers.items() if _FORWARDED.match(name)}
    headers.setdefault("anthropic-version", ANTHROPIC_VERSION)
    headers |= target.extra_headers
    headers["content-type"] = "application/json"
    headers["accept"] = "text/event-stream" if call.streamed else "application/json"
    if secret is None:
        return headers
    headers |= credential_headers(target.kind, target.base_url, "anthropic", secret.value)
    betas = headers.get("anthropic-beta", "")
    if secret.value.startswith("sk-ant-oat") and OAUTH_BETA not in betas:
        headers["anthropic-beta"] = f"{betas},{OAUTH_BETA}" if betas else OAUTH_BETA
    return headers


def relayed_headers(headers: Mapping[str, str]) -> list[tuple[str, str]]:
    """Return the headers of an upstream's answer that the client gets."""
    return [(name, headers[name]) for name in _RELAYED if name in headers]


def request_id(headers: Mapping[str, str]) -> str:
    """Return the id under which the upstream knows the call."""
    return (headers.get("request-id") or headers.get("x-request-id") or "")[:200]
