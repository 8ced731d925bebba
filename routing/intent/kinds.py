"""What a request is for, recognised from its structure: which fields it has, not what its prose says.

Shapes of Claude Code 2.1.330, read off recorded requests (tests/fixtures/claude_code). What has no known shape is an
ordinary request of the user: to take one for less than it is would send it to a model that cannot do it.
"""

from collections.abc import Mapping
from itertools import islice
from typing import Any

from providers.translation.validation import whole_number
from routing.intent.words import brings_results
from routing.models import RequestKind

AGENT_HEADER = "x-claude-code-agent-id"
SESSION_HEADER = "x-claude-code-session-id"
_BILLING = "x-anthropic-billing-header:"
_SUBAGENT = "cc_is_subagent=true"
# A probe says "Hi". A question with one token of answer ("is this spam: …?") is real work.
_PROBE_CHARS = 100
# The rules of the permission check are about 141,000 characters, its answers 64 to 10,240 tokens.
_PERMISSION_SYSTEM_CHARS = 40_000
_PERMISSION_MAX_TOKENS = 10_240
# The instructions of a compaction are 6,300 characters and more; other questions that the client adds to a
# conversation (suggestions for the next prompt, side questions) are shorter, and ask for no summary.
_COMPACTION_CHARS = 2000
_COMPACTION_TAG = "<summary>"
_COMPACTION_BEGIN = "CRITICAL: Respond with TEXT ONLY. Do NOT call any tools."
_MAX_BLOCKS = 2000


def kind_of(body: Mapping[str, Any], headers: Mapping[str, str]) -> str:
    """Return the `RequestKind` of a validated request in Messages form; `headers` by lower-cased name.

    Side requests that a subagent makes (searches, compactions) are of their own kind; all else it asks, the results
    of its tools included, is `subagent`.
    """
    return _kind(body, headers).value


def is_claude_code(body: Mapping[str, Any], headers: Mapping[str, str]) -> bool:
    """Say whether Claude Code sent this: by header, billing line or the form of the user id; each can be off."""
    if headers.get(SESSION_HEADER) or _billing_line(body):
        return True
    metadata = body.get("metadata")
    user_id = metadata.get("user_id") if isinstance(metadata, Mapping) else None
    return isinstance(user_id, str) and '"device_id"' in user_id[:2000] and '"session_id"' in user_id[:2000]


def _kind(body: Mapping[str, Any], headers: Mapping[str, str]) -> RequestKind:
    messages = body["messages"]
    if len(messages) == 1 and messages[0].get("role") == "user":
        if side := _side_kind(body, headers):
            return side
    elif _is_compaction(body, headers):
        return RequestKind.COMPACTION
    if headers.get(AGENT_HEADER) or _SUBAGENT in _billing_line(body):
        return RequestKind.SUBAGENT
    return RequestKind.TOOL_RESULT if brings_results(messages) else RequestKind.MAIN


def _side_kind(body: Mapping[str, Any], headers: Mapping[str, str]) -> RequestKind | None:
    """Return what a request of one message is, None if nothing special."""
    tools = body.get("tools")
    if tools:
        return RequestKind.WEB_SEARCH if _is_web_search_alone(tools) else None
    if _asks_for_title(body):
        return RequestKind.TITLE
    max_tokens = whole_number(body.get("max_tokens"))
    if max_tokens == 1 and _length(body["messages"][0].get("content"), of_others=_PROBE_CHARS + 1) <= _PROBE_CHARS:
        return RequestKind.PROBE
    if (
        max_tokens is not None
        and max_tokens <= _PERMISSION_MAX_TOKENS
        and body.get("stream") is not True
        # A main request that is repeated without streaming has these, even where the user switched all tools off.
        and not body.get("context_management")
        and not body.get("output_config")
        and is_claude_code(body, headers)
        and _length(body.get("system")) >= _PERMISSION_SYSTEM_CHARS
    ):
        return RequestKind.PERMISSION
    return None


def _is_web_search_alone(tools: Any) -> bool:
    if not isinstance(tools, list) or len(tools) != 1 or not isinstance(tools[0], dict):
        return False
    kind = tools[0].get("type")
    return isinstance(kind, str) and kind.startswith("web_search_")


def _asks_for_title(body: Mapping[str, Any]) -> bool:
    """Say whether the answer is to be an object that holds a title alone (older clients: and a branch for it)."""
    found: Any = body
    for name in ("output_config", "format", "schema", "properties"):
        found = found.get(name) if isinstance(found, Mapping) else None
    return isinstance(found, Mapping) and "title" in found and found.keys() <= {"title", "branch"}


def _is_compaction(body: Mapping[str, Any], headers: Mapping[str, str]) -> bool:
    """Say whether the last text asks for a summary of the conversation, by /compact or because it grew too long.

    The client puts its cache mark at the end of what it will send again. Its own instructions come behind that mark,
    where those of a user always carry it. Where caching is switched off no mark tells, and the fixed beginning of
    the instructions does.
    """
    last = body["messages"][-1]
    content = last.get("content")
    if last.get("role") != "user" or not is_claude_code(body, headers):
        return False
    if isinstance(content, list):
        if any(_is_marked(block) for block in islice(reversed(content), _MAX_BLOCKS)):
            return False
        block = content[-1] if content else {}
        content = block.get("text") if block.get("type") == "text" else None
    if not isinstance(content, str) or len(content) < _COMPACTION_CHARS or _COMPACTION_TAG not in content:
        return False
    return content.startswith(_COMPACTION_BEGIN) or _ends_with_mark(body["messages"][-2].get("content"))


def _ends_with_mark(content: Any) -> bool:
    return isinstance(content, list) and bool(content) and _is_marked(content[-1])


def _is_marked(block: Mapping[str, Any]) -> bool:
    return bool(block.get("cache_control"))


def _billing_line(body: Mapping[str, Any]) -> str:
    system = body.get("system")
    first = system[0] if isinstance(system, list) and system else system
    text = first.get("text") if isinstance(first, Mapping) else first
    if not isinstance(text, str) or not text.startswith(_BILLING):
        return ""
    return text[:500].partition("\n")[0]


def _length(content: Any, *, of_others: int = 0) -> int:
    """Return the characters of a text or of a list of text blocks; a block of another kind counts `of_others`."""
    if isinstance(content, str):
        return len(content)
    if not isinstance(content, list):
        return 0
    length = 0
    for block in islice(content, _MAX_BLOCKS):
        text = block.get("text") if isinstance(block, Mapping) else None
        length += len(text) if isinstance(text, str) else of_others
    return length
