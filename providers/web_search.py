"""Asks the search backend of the settings: SearXNG, or Tavily and what is compatible with it.

Sources: SearXNG "Search API", Tavily "Search" API reference; read 2026-11.
"""

from collections.abc import Iterable
from typing import Any
from urllib.parse import urlencode

from providers import wire_json
from providers.clients.http import fetch
from providers.errors import UpstreamError
from providers.target import SearchBackend
from providers.translation.web_search import MAX_RESULTS, MAX_TEXT, SearchResult, SearchTool

_MAX_BODY_BYTES = 2 * 1024 * 1024
_MAX_URL = 2000
_MAX_TITLE = 300
# More hints than this make a query that engines cut off or refuse.
_MAX_SITE_HINTS = 5


class SearchFailed(Exception):
    """The backend gave no results for a reason of its own. The message names neither the query nor the secret."""


async def search(backend: SearchBackend, query: str, tool: SearchTool, *, within_s: float) -> list[SearchResult]:
    """Return what the backend finds, at most ten pages, on the sites that `tool` wants. Raises `SearchFailed`.

    The backend's own address may be private: a SearXNG usually runs beside the gateway.
    """
    method, url, headers, content = _request(backend, query, tool)
    if backend.secret:
        headers["authorization"] = f"Bearer {backend.secret}"
    try:
        # The administrator named the address for this one purpose.
        status, body = await fetch(
            method, url, headers, content, within_s=within_s, max_bytes=_MAX_BODY_BYTES, guarded=False
        )
    except UpstreamError as error:
        raise SearchFailed(error.message) from error
    if status != 200:
        # SearXNG answers 403 where its settings do not list the format json.
        raise SearchFailed(f"the search backend answered with status {status}")
    try:
        found = wire_json.decode(body)
    except ValueError as error:
        raise SearchFailed("the search backend's answer is not JSON") from error
    items = found.get("results") if isinstance(found, dict) else None
    if not isinstance(items, list):
        raise SearchFailed("the search backend's answer has no list of results")
    return _results(items, tool)


def _request(backend: SearchBackend, query: str, tool: SearchTool) -> tuple[str, str, dict[str, str], bytes]:
    """Return method, URL, headers and body."""
    url = backend.url.strip().rstrip("/").removesuffix("/search") + "/search"
    headers = {"accept": "application/json"}
    if backend.kind == "tavily":
        body: dict[str, Any] = {"query": query, "max_results": MAX_RESULTS}
        if tool.allowed_domains:
            body["include_domains"] = list(tool.allowed_domains)
        if tool.blocked_domains:
            body["exclude_domains"] = list(tool.blocked_domains)
        return "POST", url, {**headers, "content-type": "application/json"}, wire_json.encode(body)
    hints = [f"site:{domain}" for domain in tool.allowed_domains]
    if 0 < len(hints) <= _MAX_SITE_HINTS:
        query = f"{query} {hints[0]}" if len(hints) == 1 else f"{query} ({' OR '.join(hints)})"
    return "GET", f"{url}?{urlencode({'q': query, 'format': 'json'})}", headers, b""


def _results(items: Iterable[Any], tool: SearchTool) -> list[SearchResult]:
    results: dict[str, SearchResult] = {}
    for item in items:
        url = item.get("url") if isinstance(item, dict) else None
        if not isinstance(url, str) or len(url) > _MAX_URL or not url.startswith(("http://", "https://")):
            continue
        if url in results or not tool.wants(url):
            continue
        age = _clean(item.get("publishedDate") or item.get("published_date"), 40)
        results[url] = SearchResult(
            _clean(item.get("title"), _MAX_TITLE) or url, _clean(url, _MAX_URL), _clean(item.get("content"), MAX_TEXT),
            age or None,
        )  # fmt: skip
        if len(results) == MAX_RESULTS:
            break
    return list(results.values())


def _clean(value: Any, limit: int) -> str:
    """Return a text on one line, without control characters and lone surrogates."""
    if not isinstance(value, str):
        return ""
    return " ".join("".join(c if c.isprintable() else " " for c in value[: limit * 4]).split())[:limit]
