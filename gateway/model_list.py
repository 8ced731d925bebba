"""`GET /v1/models`: what a key may ask for, in the list shape of the client's own API."""

import re
from collections.abc import Sequence
from fnmatch import fnmatchcase
from typing import Any

from django.core.handlers.asgi import ASGIRequest
from django.http import HttpResponse

from accounts.ledger_items import Admitted
from gateway.errors import ApiError, id_headers
from gateway.front_ends import wire_format_of
from gateway.incoming import headers_of
from providers import wire_json
from providers.target import ANY_MODEL, Target
from routing.snapshot import AliasSnapshot, alias_matcher

# The list has no date of its own to give, and clients demand one.
_CREATED_AT = "2025-01-01T00:00:00Z"
_CREATED = 1735689600  # the same, in seconds
_DASHES = re.compile("-{2,}")


def _entries(caller: Admitted) -> list[dict[str, Any]]:
    """Return aliases first, under names that a person can pick, then every target."""
    snapshot = caller.snapshot
    entries: dict[str, dict[str, Any]] = {}
    for position, alias in enumerate(snapshot.aliases):
        name = pickable_name(alias.pattern, [earlier.matches for earlier in snapshot.aliases[:position]])
        if name and name not in entries and (entry := _alias_entry(caller, alias, name)):
            entries[name] = entry
    for name, target in snapshot.targets.items():
        # A row for any name has no name of its own to list.
        if target.model_id != ANY_MODEL and name not in entries and _is_allowed(caller, name):
            entries[name] = _entry(name, name, target)
    return list(entries.values())


def pickable_name(pattern: str, earlier: Sequence[re.Pattern[str]]) -> str:
    """Return a name that means the alias `pattern` and none of those asked before it; "" where there is none to offer.

    Of the patterns only those for a Claude have one: clients offer names with "claude" in their model picker.
    """
    if ANY_MODEL not in pattern:
        candidates = [pattern]
    elif "claude" in pattern:
        dashed, joined = (_DASHES.sub("-", pattern.replace("*", filling)).strip("-") for filling in ("-", ""))
        candidates = [dashed, joined, f"{dashed}-latest", pattern.replace("*", "latest")]
    else:
        candidates = []
    matches = alias_matcher(pattern)
    for name in candidates:
        if matches.match(name) and not any(other.match(name) for other in earlier):
            return name
    return ""


def _alias_entry(caller: Admitted, alias: AliasSnapshot, name: str) -> dict[str, Any] | None:
    """Return the entry of an alias under the name `name`; None where no target can answer, or none may for this key."""
    targets = [target for one in alias.route.target_names if (target := caller.snapshot.targets.get(one)) is not None]
    if not targets or not (_is_allowed(caller, name) or any(_is_allowed(caller, target.name) for target in targets)):
        return None
    meaning = alias.scene_name or alias.route.name or alias.route.target_names[0]
    return _entry(name, f"{_label(name)} → {meaning}", targets[0])


def _label(name: str) -> str:
    """Return the family of a Claude's name as people write it, "Haiku" for claude-haiku; other names as they are."""
    if not name.startswith("claude"):
        return name
    family = name.removeprefix("claude").removesuffix("-latest").strip("-")
    return family.capitalize() if family.isalpha() else name if family else "Claude"


def _is_allowed(caller: Admitted, name: str) -> bool:
    return not caller.allowed_models or any(fnmatchcase(name, pattern) for pattern in caller.allowed_models)


def _entry(name: str, display_name: str, target: Target) -> dict[str, Any]:
    entry: dict[str, Any] = {"type": "model", "id": name, "display_name": display_name, "created_at": _CREATED_AT}
    if target.context_window:
        entry["max_input_tokens"] = target.context_window
    if target.max_output_tokens:
        entry["max_tokens"] = target.max_output_tokens
    return entry


def _asked_for(caller: Admitted, name: str) -> dict[str, Any] | None:
    """Return the entry of a name that is listed, or that an alias takes."""
    for entry in _entries(caller):
        if entry["id"] == name:
            return entry
    alias = next((alias for alias in caller.snapshot.aliases if alias.matches.match(name)), None)
    return _alias_entry(caller, alias, name) if alias is not None else None


def _is_openai(request: ASGIRequest) -> bool:
    return wire_format_of(request.path, headers_of(request)) == "openai"


def _openai_entry(entry: dict[str, Any]) -> dict[str, Any]:
    owner = entry["id"].partition("/")[0] if "/" in entry["id"] else "wolfgate"
    return {"id": entry["id"], "object": "model", "created": _CREATED, "owned_by": owner}


def listing(request: ASGIRequest, caller: Admitted) -> HttpResponse:
    """Return the list: to OpenAI's clients as a whole, to Anthropic's a page of it.

    A page is set by `limit` (1 to 1000, default 1000), `after_id`, `before_id`.
    """
    entries = _entries(caller)
    if _is_openai(request):
        whole = {"object": "list", "data": [_openai_entry(entry) for entry in entries]}
        return _answer(request, caller, whole)
    ids = [entry["id"] for entry in entries]
    after, before = request.GET.get("after_id"), request.GET.get("before_id")
    if after in ids:
        entries = entries[ids.index(after) + 1 :]
    elif before in ids:
        entries = entries[: ids.index(before)]
    limit = request.GET.get("limit", "")
    size = min(max(int(limit), 1), 1000) if limit.isascii() and limit.isdigit() else 1000
    page = entries[:size]
    body = {
        "data": page,
        "has_more": len(entries) > size,
        "first_id": page[0]["id"] if page else None,
        "last_id": page[-1]["id"] if page else None,
    }
    return _answer(request, caller, body)


def one(request: ASGIRequest, caller: Admitted, model_id: str) -> HttpResponse:
    """Return one entry. Raises `ApiError` 404."""
    entry = _asked_for(caller, model_id)
    if entry is not None:
        return _answer(request, caller, _openai_entry(entry) if _is_openai(request) else entry)
    raise ApiError(404, "not_found_error", f"There is no model {model_id} for this key.", code="model_not_found")


def _answer(request: ASGIRequest, caller: Admitted, body: dict[str, Any]) -> HttpResponse:
    headers = id_headers(f"req_{caller.call_id.hex}", wire_format_of(request.path, headers_of(request)))
    return HttpResponse(wire_json.encode(body), content_type="application/json", headers=headers)
