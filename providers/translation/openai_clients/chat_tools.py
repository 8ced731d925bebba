"""Tools of a Chat Completions request -> tools, tool choice and calls of the Messages API."""

from typing import Any

from providers.translation.arguments import tool_input_of
from providers.translation.openai_clients.chat_answer import CUSTOM_INPUT
from providers.translation.tool_ids import plain_id
from providers.translation.validation import InvalidRequest, MessagesForm

_NO_PARAMETERS = {"type": "object", "properties": {}}
_CUSTOM_SCHEMA = {
    "type": "object",
    "properties": {CUSTOM_INPUT: {"type": "string"}},
    "required": [CUSTOM_INPUT],
    "additionalProperties": False,
}


def add_tools(form: MessagesForm, document: dict[str, Any]) -> None:
    """Write `tools` and `tool_choice`; the messages are there already. Raises `InvalidRequest`."""
    tools = _tools(form, document)
    choice, allowed = _choice(form, document)
    if choice is not None and choice["type"] == "tool" and all(tool["name"] != choice["name"] for tool in tools):
        raise InvalidRequest(f"tool_choice: there is no tool {choice['name'][:64]!r} in tools")
    if allowed is not None:
        tools = [tool for tool in tools if tool["name"] in allowed]
    if not tools:
        # The Messages API refuses calls of tools that are not defined.
        tools = [{"name": name, "input_schema": dict(_NO_PARAMETERS)} for name in _called(form.body["messages"])]
        choice = {"type": "none"} if tools else None
    if not tools:
        return
    form.body["tools"] = tools
    if document.get("parallel_tool_calls") is False and (choice is None or choice["type"] != "none"):
        choice = {**(choice or {"type": "auto"}), "disable_parallel_tool_use": True}
    if choice is not None:
        form.body["tool_choice"] = choice


def call_blocks(message: dict[str, Any], path: str, legacy_id: str) -> list[dict[str, Any]]:
    """Return the calls of an assistant message as tool_use blocks. Raises `InvalidRequest`.

    A `function_call`, the form before `tool_calls`, has no id of its own and gets `legacy_id`.
    """
    blocks = []
    calls = message.get("tool_calls")
    if calls is not None and not isinstance(calls, list):
        raise InvalidRequest(f"{path}.tool_calls: expected an array")
    for position, call in enumerate(calls or ()):
        call_path = f"{path}.tool_calls[{position}]"
        if not isinstance(call, dict):
            raise InvalidRequest(f"{call_path}: expected an object")
        call_id = call.get("id")
        if not isinstance(call_id, str) or not call_id:
            raise InvalidRequest(f"{call_path}.id: missing required parameter")
        if call.get("type") == "custom":
            custom = _named(call.get("custom"), f"{call_path}.custom")
            name = custom["name"]
            tool_input = {CUSTOM_INPUT: custom.get("input") if isinstance(custom.get("input"), str) else ""}
        else:
            function = _named(call.get("function"), f"{call_path}.function")
            name = function["name"]
            tool_input = tool_input_of(function.get("arguments"))
        blocks.append({"type": "tool_use", "id": plain_id(call_id), "name": name, "input": tool_input})
    if not blocks and message.get("function_call") is not None:
        function = _named(message["function_call"], f"{path}.function_call")
        tool_input = tool_input_of(function.get("arguments"))
        blocks.append({"type": "tool_use", "id": legacy_id, "name": function["name"], "input": tool_input})
    return blocks


def _tools(form: MessagesForm, document: dict[str, Any]) -> list[dict[str, Any]]:
    for name, read in (("tools", _tool), ("functions", _function)):
        definitions = document.get(name)
        if definitions is None:
            continue
        if not isinstance(definitions, list):
            raise InvalidRequest(f"{name}: expected an array")
        if definitions:
            tools = [read(tool, f"{name}[{position}]", form) for position, tool in enumerate(definitions)]
            return [tool for tool in tools if tool is not None]
    return []


def _tool(tool: Any, path: str, form: MessagesForm) -> dict[str, Any] | None:
    if not isinstance(tool, dict):
        raise InvalidRequest(f"{path}: expected an object")
    match tool.get("type", "function"):
        case "function":
            return _function(tool.get("function"), f"{path}.function", form)
        case "custom":
            custom = _named(tool.get("custom"), f"{path}.custom")
            return _described({"name": custom["name"], "input_schema": _CUSTOM_SCHEMA}, _custom_description(custom))
        case str() as kind:
            form.needs_relay(f"{path}.type: this model has no tool of the type {kind[:50]!r}")
            return None
    raise InvalidRequest(f"{path}.type: expected a string")


def _function(function: Any, path: str, _form: MessagesForm) -> dict[str, Any]:
    function = _named(function, path)
    parameters = function.get("parameters")
    if parameters is not None and not isinstance(parameters, dict):
        raise InvalidRequest(f"{path}.parameters: expected an object")
    tool = _described(
        {"name": function["name"], "input_schema": parameters or dict(_NO_PARAMETERS)}, function.get("description")
    )
    if function.get("strict") is True:
        tool["strict"] = True
    return tool


def _described(tool: dict[str, Any], description: Any) -> dict[str, Any]:
    return {**tool, "description": description} if isinstance(description, str) and description else tool


def _custom_description(custom: dict[str, Any]) -> str:
    """Return what the model is told of a custom tool; a grammar can only be put into words."""
    lines = [custom["description"]] if isinstance(custom.get("description"), str) else []
    wanted = custom.get("format")
    grammar = wanted.get("grammar") if isinstance(wanted, dict) and wanted.get("type") == "grammar" else None
    if isinstance(grammar, dict) and isinstance(grammar.get("definition"), str):
        lines.append(f"The input must match this {grammar.get('syntax', '')} grammar:\n{grammar['definition']}")
    return "\n\n".join(lines)


def _choice(form: MessagesForm, document: dict[str, Any]) -> tuple[dict[str, Any] | None, set[str] | None]:
    """Return the tool choice, and the names that are allowed if the request narrows them."""
    choice, name = document.get("tool_choice"), "tool_choice"
    if choice is None:
        choice, name = document.get("function_call"), "function_call"
    match choice:
        case None:
            return None, None
        case "auto" | "none":
            return {"type": choice}, None
        case "required":
            return {"type": "any"}, None
        case {"type": "allowed_tools", "allowed_tools": {"tools": list() as tools, **rest}}:
            allowed = {_allowed_name(tool) for tool in tools}
            return {"type": "any" if rest.get("mode") == "required" else "auto"}, allowed
        case {"type": "function", "function": {"name": str() as wanted}}:
            return {"type": "tool", "name": wanted}, None
        case {"type": "custom", "custom": {"name": str() as wanted}}:
            return {"type": "tool", "name": wanted}, None
        case {"name": str() as wanted} if name == "function_call":
            return {"type": "tool", "name": wanted}, None
    form.needs_relay(f"{name}: expected none, auto, required or an object that names a tool")
    return None, None


def _allowed_name(tool: Any) -> str:
    for kind in ("function", "custom"):
        inner = tool.get(kind) if isinstance(tool, dict) else None
        if isinstance(inner, dict) and isinstance(inner.get("name"), str):
            return str(inner["name"])
    return ""


def _named(holder: Any, path: str) -> dict[str, Any]:
    """Return `holder` if it is an object with a name."""
    if not isinstance(holder, dict):
        raise InvalidRequest(f"{path}: expected an object")
    if not isinstance(holder.get("name"), str) or not holder["name"]:
        raise InvalidRequest(f"{path}.name: missing required parameter")
    return holder


def _called(messages: list[dict[str, Any]]) -> list[str]:
    """Return the names of the tools that the conversation has used."""
    blocks = [block for message in messages for block in message["content"]]
    names = [block["name"] for block in blocks if block["type"] == "tool_use"]
    return list(dict.fromkeys(names))
