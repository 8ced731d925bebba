"""Blocks of tools that Anthropic's servers ran, as text: another model cannot run them but should know the outcome."""

from typing import Any

import orjson

from providers import wire_json
from providers.translation.web_search import unseal

_MAX_TEXT = 2000  # characters of one result
_MAX_SEARCH_TEXT = 8000  # of one search of ours, with its excerpts
_MAX_EXCERPT = 600
_MAX_ITEMS = 20
_CALLS = ("server_tool_use", "mcp_tool_use")


def is_server_block(kind: str) -> bool:
    """Say whether a block records a call or result of a tool run by a server."""
    return kind in _CALLS or kind.endswith("_tool_result")


def summary(block: dict[str, Any]) -> str:
    """Return `[web_search: query]` for a call and `[web_search result] title (url)` lines for a result.

    The results of the gateway's own searches come with their excerpts.
    """
    kind = str(block.get("type"))
    if kind in _CALLS:
        name = block.get("name")
        return f"[{name if isinstance(name, str) else 'tool'}: {_call_text(block.get('input'))}]"
    return f"[{kind.removesuffix('_tool_result')} result] {_result_text(block.get('content'))}"


def own_searches(content: list[Any]) -> dict[int, str]:
    """Return position -> text of the blocks of searches that the gateway ran, for whom they cannot be shown as such."""
    ours = {
        block.get("tool_use_id")
        for block in content
        if isinstance(block, dict) and block.get("type") == "web_search_tool_result" and _is_own(block.get("content"))
    }
    return {
        at: summary(block)
        for at, block in enumerate(content)
        if ours
        and isinstance(block, dict)
        and is_server_block(str(block.get("type")))
        and (block.get("id") in ours or block.get("tool_use_id") in ours)
    }


def _is_own(results: Any) -> bool:
    return isinstance(results, list) and any(
        isinstance(item, dict) and unseal(item.get("encrypted_content")) is not None for item in results
    )


def _call_text(value: Any) -> str:
    if isinstance(value, dict):
        for key in ("query", "url", "command", "code"):
            if isinstance(value.get(key), str):
                return _cut(value[key])
    return _json(value)


def _result_text(content: Any) -> str:
    if isinstance(content, str):
        return _cut(content)
    if isinstance(content, list):
        lines = [_item_text(item) for item in content[:_MAX_ITEMS] if isinstance(item, dict)]
        has_excerpts = any(isinstance(item, dict) and unseal(item.get("encrypted_content")) for item in content)
        limit = _MAX_SEARCH_TEXT if has_excerpts else _MAX_TEXT
        return _cut("\n".join(line for line in lines if line), limit) or "nothing found"
    return _item_text(content) if isinstance(content, dict) else "nothing found"


def _item_text(item: dict[str, Any]) -> str:
    if isinstance(item.get("error_code"), str):
        return f"error: {item['error_code'][:200]}"
    if isinstance(item.get("text"), str):
        return _cut(item["text"])
    references = item.get("tool_references")
    if isinstance(references, list):
        names = [one.get("tool_name") for one in references[:_MAX_ITEMS] if isinstance(one, dict)]
        return f"tools available: {', '.join(str(name)[:200] for name in names) or 'none'}"
    title, url = item.get("title"), item.get("url")
    if isinstance(title, str) or isinstance(url, str):
        line = f"{title[:200] if isinstance(title, str) else ''} ({url[:500] if isinstance(url, str) else ''})"
        excerpt = unseal(item.get("encrypted_content"))
        return f"{line}\n{_cut(excerpt, _MAX_EXCERPT)}" if excerpt else line
    output = [item[key] for key in ("stdout", "stderr") if isinstance(item.get(key), str) and item[key]]
    if output or "return_code" in item:
        return _cut("\n".join(output)) or "no output"
    # What Anthropic's search found comes with an encrypted text that only Anthropic can read.
    return _json({key: value for key, value in item.items() if not str(key).startswith("encrypted_")})


def _json(value: Any) -> str:
    try:
        text = orjson.dumps(value).decode()
    except TypeError:  # over 254 levels, lone surrogates, integers over 64 bits
        try:
            text = wire_json.encode(value).decode()
        except RecursionError:
            text = "…"
    return _cut(text)


def _cut(text: str, limit: int = _MAX_TEXT) -> str:
    return text if len(text) <= limit else text[:limit] + " …"
