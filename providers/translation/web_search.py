"""Web search for models that have none: what the model is offered, and the blocks that the client gets for it.

Shapes after the Messages API's web search tool (platform.claude.com/docs, "Web search tool") and the types of
Anthropic's Python SDK.
"""

import base64
import binascii
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal
from urllib.parse import urlsplit

from providers.translation.dialect import Dialect
from providers.translation.validation import whole_number

ErrorCode = Literal["unavailable", "max_uses_exceeded", "query_too_long", "invalid_tool_input"]

MAX_QUERY = 400  # characters; Tavily takes no more
MAX_RESULTS = 10
MAX_TEXT = 1000  # characters of one result's excerpt
_DEFAULT_USES = 5
_MOST_USES = 20
_MAX_DOMAINS = 100
# Marks excerpts of ours among the encrypted contents that only Anthropic can read.
_SEAL = "wgws1."
_SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {"query": {"type": "string", "description": "What to search for, in a few words."}},
    "required": ["query"],
}
_DESCRIPTION = (
    "Search the web. Returns titles, addresses and excerpts of pages. Use it for what you do not know or what may have "
    "changed, and name the addresses that you rely on."
)
_ERRORS: dict[ErrorCode, str] = {
    "unavailable": "The search failed: no search engine answers. Answer from what you know, and say that you could "
    "not search.",
    "max_uses_exceeded": "The searches for this answer are used up. Answer from what was found.",
    "query_too_long": f"The query is longer than {MAX_QUERY} characters.",
    "invalid_tool_input": 'The input must be an object with a text "query" that is not empty.',
}


@dataclass(frozen=True, slots=True)
class SearchTool:
    """A request's web search tool."""

    name: str  # in the client's blocks
    function_name: str  # among the names of the client's own tools, one of which may be called the same
    max_uses: int = _DEFAULT_USES
    allowed_domains: tuple[str, ...] = ()
    blocked_domains: tuple[str, ...] = ()

    def wants(self, url: str) -> bool:
        """Say whether a page may be among the results."""
        if self.allowed_domains and not _is_within(url, self.allowed_domains):
            return False
        return not _is_within(url, self.blocked_domains)


@dataclass(frozen=True, slots=True)
class SearchResult:
    """One page that was found; `text` is an excerpt of it."""

    title: str
    url: str
    text: str
    page_age: str | None = None


def is_web_search(kind: Any) -> bool:
    """Say whether a tool's type is one of Anthropic's web search tools."""
    return isinstance(kind, str) and kind.startswith("web_search_")


def search_tool(tool: dict[str, Any], taken: Iterable[str]) -> SearchTool:
    """Return the search that a tool definition asks for; `taken` are the names of the client's own tools."""
    name = tool.get("name")
    name = name if isinstance(name, str) and name else "web_search"
    uses = whole_number(tool.get("max_uses"))
    return SearchTool(
        name=name,
        function_name=f"server:{name}" if name in taken else name,
        max_uses=_DEFAULT_USES if uses is None else max(0, min(uses, _MOST_USES)),
        allowed_domains=_domains(tool.get("allowed_domains")),
        blocked_domains=_domains(tool.get("blocked_domains")),
    )


def function_of(tool: SearchTool) -> tuple[str, dict[str, Any]]:
    """Return description and input schema of the function that the model is offered."""
    if not tool.allowed_domains:
        return _DESCRIPTION, _SCHEMA
    return f"{_DESCRIPTION} Only these sites are searched: {', '.join(tool.allowed_domains)[:500]}.", _SCHEMA


def query_of(value: Any) -> tuple[str, ErrorCode | None]:
    """Return the query in a call's input, or why there is none."""
    query = value.get("query") if isinstance(value, dict) else None
    if not isinstance(query, str) or not query.strip():
        return "", "invalid_tool_input"
    query = " ".join("".join(character if character.isprintable() else " " for character in query).split())
    if not query:
        return "", "invalid_tool_input"
    return (query, None) if len(query) <= MAX_QUERY else ("", "query_too_long")


def result_block(tool_use_id: str, outcome: Sequence[SearchResult] | ErrorCode) -> dict[str, Any]:
    """Return the `web_search_tool_result` of a search."""
    content: Any
    if isinstance(outcome, str):
        content = {"type": "web_search_tool_result_error", "error_code": outcome}
    else:
        content = [
            {
                "type": "web_search_result",
                "title": result.title,
                "url": result.url,
                "encrypted_content": _seal(result.text),
                "page_age": result.page_age,
            }
            for result in outcome
        ]
    return {"type": "web_search_tool_result", "tool_use_id": tool_use_id, "content": content}


def result_text(outcome: Sequence[SearchResult] | ErrorCode) -> str:
    """Return what the model is told of a search."""
    if isinstance(outcome, str):
        return f"Error: {_ERRORS[outcome]}"
    if not outcome:
        return "Nothing was found."
    return "\n\n".join(
        "\n".join(line for line in (f"{number}. {result.title}", result.url, result.page_age, result.text) if line)
        for number, result in enumerate(outcome, 1)
    )


def unseal(content: Any) -> str | None:
    """Return the excerpt in an `encrypted_content` of ours, None for another's."""
    if not isinstance(content, str) or not content.startswith(_SEAL):
        return None
    try:
        return base64.urlsafe_b64decode(content[len(_SEAL) : len(_SEAL) + 8 * MAX_TEXT]).decode("utf-8", "replace")
    except (binascii.Error, ValueError):
        return None


def searches_natively(dialect: Dialect, model_id: str) -> bool:
    """Say whether the platform, or the model, can be asked to search itself.

    Of an unknown platform ("none") the administrator's flag says so.
    """
    if dialect.thinking_dialect == "openai":
        return "search" in model_id.lower()  # OpenAI's other models refuse the parameter
    return dialect.thinking_dialect in ("openrouter", "dashscope", "none")


def native_parameters(dialect: Dialect, tool: SearchTool, *, is_only: bool) -> dict[str, Any]:
    """Return the body fields with which a platform searches itself. `is_only`: the request is for nothing else.

    Sources: OpenRouter "Web search" plugin, 百炼 "联网搜索", OpenAI "Web search" for Chat Completions; read 2026-11.
    """
    match dialect.thinking_dialect:
        case "openrouter":
            plugin: dict[str, Any] = {"id": "web"}
            if tool.allowed_domains:
                plugin["include_domains"] = list(tool.allowed_domains)
            if tool.blocked_domains:
                plugin["exclude_domains"] = list(tool.blocked_domains)
            return {"plugins": [plugin]}
        case "dashscope":
            return {"enable_search": True, **({"search_options": {"forced_search": True}} if is_only else {})}
    return {"web_search_options": {}}


def citations_of(delta: dict[str, Any]) -> list[tuple[str, str]]:
    """Return (url, title) of the `url_citation` annotations of a delta (OpenAI, OpenRouter)."""
    found = []
    annotations = delta.get("annotations")
    for annotation in annotations if isinstance(annotations, list) else ():
        citation = annotation.get("url_citation") if isinstance(annotation, dict) else None
        if not isinstance(citation, dict):
            continue
        url, title = citation.get("url"), citation.get("title")
        if isinstance(url, str) and url.startswith(("http://", "https://")):
            found.append((url[:2000], " ".join(title.split())[:200] if isinstance(title, str) else ""))
    return found


def sources_text(citations: Iterable[tuple[str, str]]) -> str:
    """Return the pages that an answer cites, each once, as its last text."""
    titles: dict[str, str] = {}
    for url, title in citations:
        titles[url] = titles.get(url) or title
    lines = [
        f"- [{title.replace('[', '(').replace(']', ')')}]({url})" if title else f"- {url}"
        for url, title in titles.items()
    ]
    return "\n\nSources:\n" + "\n".join(lines)


def _seal(text: str) -> str:
    return _SEAL + base64.urlsafe_b64encode(text.encode("utf-8", "replace")).decode()


def _domains(value: Any) -> tuple[str, ...]:
    """Return host names, each perhaps with a path. Sub-domains are included, and a scheme does not belong to them."""
    if not isinstance(value, list):
        return ()
    cleaned = (item.strip().lower().split("://", 1)[-1].strip("/") for item in value if isinstance(item, str))
    return tuple(dict.fromkeys(domain.removeprefix("*.") for domain in cleaned if domain))[:_MAX_DOMAINS]


def _is_within(url: str, domains: Iterable[str]) -> bool:
    try:
        parts = urlsplit(url)
        host = (parts.hostname or "").rstrip(".")
    except ValueError:
        return False
    for domain in domains:
        name, _slash, path = domain.partition("/")
        if (host == name or host.endswith(f".{name}")) and parts.path.lower().lstrip("/").startswith(path.rstrip("*")):
            return True
    return False
