"""`GET /v1/models`: what a key may ask for, in the list shape of the client's own API."""

from fnmatch import fnmatchcase
from typing import Any

from django.core.handlers.asgi import ASGIRequest
from django.http import HttpResponse

from accounts.ledger_items import Admitted
from gateway.errors import ApiError, id_headers
from gateway.front_ends import wire_format_of
from gateway.incoming import headers_of
from providers import wire_json
from providers.target import ANY_MODEL

# The list has no date of its own to give, and clients demand one.
_CREATED_AT = "2025-01-01T00:00:00Z"
_CREATED = 1735689600  # the same, in seconds


def _entries(caller: Admitted) -> list[dict[str, Any]]:
    """Return aliases first (those that are plain names), then every target."""
    names = [alias.pattern for alias in caller.snapshot.aliases if "*" not in alias.pattern]
    # A row for any name has no name of its own to list.
    names += [name for name, target in caller.snapshot.targets.items() if target.model_id != ANY_MODEL]
    allowed = caller.allowed_models
    entries = []
    for name in names:
        if allowed and not any(fnmatchcase(name, pattern) for pattern in allowed):
            continue
        entry: dict[str, Any] = {"type": "model", "id": name, "display_name": name, "created_at": _CREATED_AT}
        target = caller.snapshot.targets.get(name)
        if target is not None and target.context_window:
            entry["max_input_tokens"] = target.context_window
        if target is not None and target.max_output_tokens:
            entry["max_tokens"] = target.max_output_tokens
        entries.append(entry)
    return entries


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
    for entry in _entries(caller):
        if entry["id"] == model_id:
            return _answer(request, caller, _openai_entry(entry) if _is_openai(request) else entry)
    raise ApiError(404, "not_found_error", f"There is no model {model_id} for this key.", code="model_not_found")


def _answer(request: ASGIRequest, caller: Admitted, body: dict[str, Any]) -> HttpResponse:
    headers = id_headers(f"req_{caller.call_id.hex}", wire_format_of(request.path, headers_of(request)))
    return HttpResponse(wire_json.encode(body), content_type="application/json", headers=headers)
