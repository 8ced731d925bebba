"""Tools known to the Messages API by type: the client runs some, Anthropic's servers run others.

Schemas after platform.claude.com/docs, "Tool use" (bash, text editor and memory tool pages).
"""

from typing import Any

_STRING = {"type": "string"}
_INTEGER = {"type": "integer"}
_VIEW_RANGE = {
    "type": "array",
    "items": {"type": "integer"},
    "minItems": 2,
    "maxItems": 2,
    "description": "First and last line to view; -1 as the last means the end of the file.",
}
_FILE_PATH = {"type": "string", "description": "Path of the file or directory."}
_SERVER_TOOLS = ("web_search_", "web_fetch_", "code_execution_", "tool_search_", "advisor_", "mcp_toolset")
# What a person is told when such a tool is all a request is for.
_ABILITIES = (
    ("web_search", "search the web"),
    ("web_fetch", "fetch web pages"),
    ("code_execution", "run code on a server"),
    ("mcp_toolset", "call MCP servers itself"),
    ("advisor", "consult an advisor model"),
)


def is_server_tool(kind: str) -> bool:
    """Say whether Anthropic's own servers would run a tool of this type."""
    return kind.startswith(_SERVER_TOOLS)


def is_tool_search(kind: str) -> bool:
    return kind.startswith("tool_search_")


def unavailable_text(kind: str) -> str | None:
    """Return the honest answer to a request that is only for this server tool; None where it is no purpose."""
    for prefix, ability in _ABILITIES:
        if kind.startswith(prefix):
            return (
                f"The tool {prefix} is not available: the model behind this gateway cannot {ability}. "
                "No results were retrieved. Answer from what is already known, or use another tool."
            )
    return None


def client_tool(kind: str, name: Any) -> tuple[str, str, dict[str, Any]] | None:
    """Return name, description and input schema of a typed tool the client runs; None for an unknown type."""
    if kind.startswith("bash_"):
        return _named(name, "bash"), _BASH_DESCRIPTION, _BASH_SCHEMA
    if kind.startswith("text_editor_"):
        is_old = kind <= "text_editor_20250124"
        default = "str_replace_editor" if is_old else "str_replace_based_edit_tool"
        return _named(name, default), _EDITOR_DESCRIPTION, _editor_schema(kind, with_undo=is_old)
    if kind.startswith("memory_"):
        return _named(name, "memory"), _MEMORY_DESCRIPTION, _MEMORY_SCHEMA
    return None


def _named(name: Any, default: str) -> str:
    return name if isinstance(name, str) and name else default


def _editor_schema(kind: str, *, with_undo: bool) -> dict[str, Any]:
    commands = ["view", "create", "str_replace", "insert"]
    properties: dict[str, Any] = {
        "command": {"type": "string", "enum": [*commands, "undo_edit"] if with_undo else commands},
        "path": _FILE_PATH,
        "file_text": {"type": "string", "description": "Content of the file, for create."},
        "old_str": {"type": "string", "description": "Text to replace, for str_replace; it must occur exactly once."},
        "new_str": {"type": "string", "description": "Replacement for str_replace."},
        "insert_line": {"type": "integer", "description": "Line to insert after, for insert; 0 is the beginning."},
        "view_range": _VIEW_RANGE,
    }
    if kind >= "text_editor_20250728":
        properties["insert_text"] = {"type": "string", "description": "Text to insert, for insert."}
    else:
        properties["new_str"] = {"type": "string", "description": "Replacement for str_replace, text for insert."}
    return {"type": "object", "properties": properties, "required": ["command", "path"]}


_BASH_DESCRIPTION = "Run a command in a bash session that keeps its state between calls."
_BASH_SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {
        "command": {"type": "string", "description": "The command to run. Required unless restart is true."},
        "restart": {"type": "boolean", "description": "Restart the session."},
    },
}
_EDITOR_DESCRIPTION = "View, create and edit text files."
_MEMORY_DESCRIPTION = "Store and read files under /memories that last between conversations."
_MEMORY_SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {
        "command": {"type": "string", "enum": ["view", "create", "str_replace", "insert", "delete", "rename"]},
        "path": _FILE_PATH,
        "view_range": _VIEW_RANGE,
        "file_text": _STRING,
        "old_str": _STRING,
        "new_str": _STRING,
        "insert_line": _INTEGER,
        "insert_text": _STRING,
        "old_path": _STRING,
        "new_path": _STRING,
    },
    "required": ["command"],
}
