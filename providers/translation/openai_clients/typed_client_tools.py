"""Responses tools known by type that the client runs: their schema, and their calls and results as items.

OpenAI's models were trained on these tools, so its API needs no schema; any other model gets one here.
"""

from typing import Any

_STRING = {"type": "string"}
_INTEGER = {"type": "integer"}
_COMMANDS = {"type": "array", "items": {"type": "string"}}

_LOCAL_SHELL: dict[str, Any] = {
    "description": "Run one program on the user's machine and return its output.",
    "input_schema": {
        "type": "object",
        "properties": {
            "command": {**_COMMANDS, "description": 'The program and its arguments, e.g. ["bash", "-lc", "ls"].'},
            "working_directory": _STRING,
            "timeout_ms": _INTEGER,
        },
        "required": ["command"],
    },
}
_SHELL: dict[str, Any] = {
    "description": "Run shell commands on the user's machine and return the output of each.",
    "input_schema": {
        "type": "object",
        "properties": {
            "commands": {**_COMMANDS, "description": "Command lines; they run independently of each other."},
            "timeout_ms": _INTEGER,
            "max_output_length": {**_INTEGER, "description": "Characters of output to return at most."},
        },
        "required": ["commands"],
    },
}
_CHANGES = ("create_file", "update_file", "delete_file")
_APPLY_PATCH: dict[str, Any] = {
    "description": (
        "Create, change or delete one file. `diff` is a V4A diff: for create_file every line of the new file, each "
        "with a leading '+'; for update_file one or more hunks, each a line '@@' (optionally followed by the class or "
        "function it is in) and then its lines, unchanged ones with a leading space, removed ones with '-', added "
        "ones with '+', with three unchanged lines before and after; no line numbers. delete_file has no diff."
    ),
    "input_schema": {
        "type": "object",
        "properties": {
            "type": {"type": "string", "enum": list(_CHANGES)},
            "path": _STRING,
            "diff": _STRING,
        },
        "required": ["type", "path"],
    },
}
_TOOL_SEARCH_SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {"query": {"type": "string", "description": "What the tool that is looked for should do."}},
    "required": ["query"],
}
CALLS = ("local_shell_call", "shell_call", "apply_patch_call", "tool_search_call")
OUTPUTS = ("local_shell_call_output", "shell_call_output", "apply_patch_call_output")


def definition(kind: str, tool: dict[str, Any]) -> dict[str, Any] | None:
    """Return description and schema of a declared tool; None for one that OpenAI's servers would run."""
    if kind == "local_shell":
        return _LOCAL_SHELL
    if kind == "apply_patch":
        return _APPLY_PATCH
    if kind == "shell":
        environment = tool.get("environment")
        is_hosted = isinstance(environment, dict) and environment.get("type") != "local"
        return None if is_hosted else _SHELL
    if tool.get("execution") != "client":
        return None  # all tools of the request are offered at once, so there is nothing to search
    description, parameters = tool.get("description"), tool.get("parameters")
    return {
        "description": description if isinstance(description, str) else "Search for tools that are not listed.",
        "input_schema": parameters if isinstance(parameters, dict) and parameters else _TOOL_SEARCH_SCHEMA,
    }


def call_item(kind: str, tool_input: dict[str, Any]) -> dict[str, Any] | None:
    """Return the members of the item that is a call, without its ids and status; None where the input fits no call."""
    if kind == "local_shell":
        command = _strings(tool_input.get("command"))
        if not command:
            return None
        action: dict[str, Any] = {
            "type": "exec",
            "command": command,
            "env": {},
            "timeout_ms": _integer(tool_input.get("timeout_ms")),
            "working_directory": _string_or_none(tool_input.get("working_directory")),
        }
        return {"type": "local_shell_call", "action": action}
    if kind == "shell":
        commands = _strings(tool_input.get("commands"))
        if not commands:
            return None
        action = {
            "commands": commands,
            "timeout_ms": _integer(tool_input.get("timeout_ms")),
            "max_output_length": _integer(tool_input.get("max_output_length")),
        }
        return {"type": "shell_call", "action": action, "environment": None}
    if kind == "apply_patch":
        kind_of_change, path, diff = tool_input.get("type"), tool_input.get("path"), tool_input.get("diff")
        if kind_of_change not in _CHANGES or not isinstance(path, str):
            return None
        operation = {"type": kind_of_change, "path": path}
        if kind_of_change != "delete_file":
            operation["diff"] = diff if isinstance(diff, str) else ""
        return {"type": "apply_patch_call", "operation": operation}
    return {"type": "tool_search_call", "arguments": tool_input, "execution": "client"}


def tool_input(item: dict[str, Any]) -> tuple[str, Any]:
    """Return tool and input of a call in the history; see `call_item`."""
    kind = item["type"]
    if kind == "tool_search_call":
        return "tool_search", item.get("arguments")
    if kind == "apply_patch_call":
        return "apply_patch", item.get("operation")
    action = item.get("action")
    members = action.items() if isinstance(action, dict) else ()
    used = {key: value for key, value in members if value not in (None, {}) and key != "type"}
    return kind.removesuffix("_call"), used


def output_text(item: dict[str, Any]) -> str:
    """Return the result of a call as text."""
    kind, output = item["type"], item.get("output")
    if kind == "apply_patch_call_output":
        return output if isinstance(output, str) and output else str(item.get("status") or "completed")
    if not isinstance(output, list):
        return output if isinstance(output, str) else ""
    texts = [_command_output(part) for part in output if isinstance(part, dict)]
    return "\n".join(text for text in texts if text)


def _command_output(part: dict[str, Any]) -> str:
    outcome = part.get("outcome")
    outcome = outcome if isinstance(outcome, dict) else {}
    texts = [text for key in ("stdout", "stderr") if isinstance(text := part.get(key), str) and text]
    if outcome.get("type") == "timeout":
        texts.append("[timed out]")
    elif outcome.get("exit_code"):
        texts.append(f"[exit code {outcome['exit_code']}]")
    return "\n".join(texts)


def _strings(value: Any) -> list[str]:
    if isinstance(value, str):
        return [value]
    return [item for item in value if isinstance(item, str)] if isinstance(value, list) else []


def _integer(value: Any) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def _string_or_none(value: Any) -> str | None:
    return value if isinstance(value, str) and value else None
