"""The tools of a Responses request: as Messages tools, and how a call of one is written for its client.

A Messages tool has a name and takes an object. Responses knows tools in namespaces, custom tools that take free text,
and typed tools the client runs (shell, apply_patch, …), whose calls are items of a type of their own. `ToolTable` is
made from the client's own request, so the way there and the way back agree without anything being kept.
Source: OpenAI Responses API reference, and the types of its Python SDK 3.54.
"""

import hashlib
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from providers.translation.openai_clients import typed_client_tools
from providers.translation.openai_clients.chat_answer import CUSTOM_INPUT
from providers.translation.validation import InvalidRequest

Kind = Literal["function", "custom", "tool_search", "local_shell", "shell", "apply_patch"]

_NAME_MAX = 128
_INVALID_CHARACTER = re.compile(r"[^a-zA-Z0-9_-]")
_TYPED = ("local_shell", "shell", "apply_patch", "tool_search")
_WEB_SEARCH = "web_search"
_ID_PREFIXES: dict[Kind, str] = {
    "function": "fc",
    "custom": "ctc",
    "tool_search": "tsc",
    "local_shell": "lsh",
    "shell": "sh",
    "apply_patch": "apc",
}


@dataclass(frozen=True, slots=True)
class ClientTool:
    """A tool as the client knows it."""

    kind: Kind
    name: str
    namespace: str | None = None

    @property
    def id_prefix(self) -> str:
        """Return what the ids of its calls begin with."""
        return _ID_PREFIXES[self.kind]


class ToolTable:
    """All tools of a request, by the name the model knows them under."""

    def __init__(self, document: Mapping[str, Any]) -> None:
        self.definitions: list[dict[str, Any]] = []
        self.dropped: list[str] = []  # tools that only OpenAI's servers could run
        self._tools: dict[str, ClientTool] = {}
        self._has_web_search = False
        for tool in _declared(document):
            self._add(tool, None)

    def client_tool(self, name: str) -> ClientTool:
        """Return the tool the model calls `name`; one the client did not declare is a function for it to refuse."""
        return self._tools.get(name) or ClientTool("function", name)

    def choose(self, document: Mapping[str, Any]) -> dict[str, Any] | None:
        """Return the Messages `tool_choice`, None to leave it out; `definitions` shrinks to the allowed tools.

        Raises `InvalidRequest` for a tool that is not there.
        """
        choice = document.get("tool_choice")
        if not self.definitions:
            if self._must_call(choice):
                raise InvalidRequest("tool_choice: it demands a call, but there is no tool that could be called here")
            return None
        result = self._choice(choice)
        if document.get("parallel_tool_calls") is False:
            result = result or {"type": "auto"}
            if result["type"] != "none":
                result = {**result, "disable_parallel_tool_use": True}
        return result

    def _choice(self, choice: Any) -> dict[str, Any] | None:
        if choice is None or choice == "auto":
            return None
        if choice == "none":
            return {"type": "none"}
        if choice == "required":
            return {"type": "any"}
        if not isinstance(choice, dict):
            raise InvalidRequest("tool_choice: must be auto, none, required or an object")
        if choice.get("type") == "allowed_tools":
            return self._allow(choice)
        return {"type": "tool", "name": self._named(choice, "tool_choice")}

    def _allow(self, choice: dict[str, Any]) -> dict[str, Any] | None:
        tools = choice.get("tools")
        if not isinstance(tools, list):
            raise InvalidRequest("tool_choice.tools: must be a list of tools")
        names = set()
        for position, tool in enumerate(tools):
            if not isinstance(tool, dict):
                raise InvalidRequest(f"tool_choice.tools[{position}]: must be an object")
            if tool.get("type") == "mcp":
                continue
            names.add(self._named(tool, f"tool_choice.tools[{position}]"))
        self.definitions = [tool for tool in self.definitions if tool["name"] in names]
        if choice.get("mode") == "required" and self.definitions:
            return {"type": "any"}
        return None

    def _named(self, choice: dict[str, Any], path: str) -> str:
        kind = choice.get("type")
        if kind in ("function", "custom"):
            name = choice.get("name")
            if not isinstance(name, str) or not name:
                raise InvalidRequest(f"{path}.name: must be the name of a tool")
            found = inner_name(name, choice.get("namespace"))
        elif isinstance(kind, str) and kind.startswith(_WEB_SEARCH):
            found = _WEB_SEARCH
        else:
            found = str(kind)
        if not any(tool["name"] == found for tool in self.definitions):
            raise InvalidRequest(f"{path}: the tool {found[:_NAME_MAX]} is not among the tools that can be called here")
        return found

    @staticmethod
    def _must_call(choice: Any) -> bool:
        if isinstance(choice, dict):
            return choice.get("type") != "allowed_tools" or choice.get("mode") == "required"
        return bool(choice == "required")

    def _add(self, tool: Any, namespace: str | None) -> None:
        """Take one declared tool."""
        if not isinstance(tool, dict):
            return
        kind, name = tool.get("type"), tool.get("name")
        if kind == "namespace":
            inner = tool.get("tools")
            for item in inner if isinstance(inner, list) and isinstance(name, str) and namespace is None else ():
                self._add(item, name)
        elif kind in ("function", "custom"):
            if isinstance(name, str) and name:
                client_tool = ClientTool(kind, name, namespace)
                self._define(client_tool, _function(tool) if kind == "function" else _custom(tool))
        elif kind in _TYPED:
            definition = typed_client_tools.definition(kind, tool)
            if definition is None:
                self.dropped.append(f"tools.{kind}")
            else:
                self._define(ClientTool(kind, kind), definition)
        elif isinstance(kind, str) and kind.startswith(_WEB_SEARCH) and not self._has_web_search:
            self._has_web_search = _WEB_SEARCH not in self._tools
            if self._has_web_search:
                self.definitions.append(_web_search(tool))
        elif isinstance(kind, str) and not kind.startswith(_WEB_SEARCH):
            self.dropped.append(f"tools.{kind[:50]}")

    def _define(self, client_tool: ClientTool, definition: dict[str, Any]) -> None:
        name = inner_name(client_tool.name, client_tool.namespace)
        if name in self._tools or (name == _WEB_SEARCH and self._has_web_search):
            return
        self._tools[name] = client_tool
        self.definitions.append({"name": name, **definition})


def inner_name(name: str, namespace: Any = None) -> str:
    """Return the name the model knows a tool under, in the form the Messages API takes."""
    if isinstance(namespace, str) and namespace:
        name = namespace + name if namespace.endswith("__") else f"{namespace}__{name}"
    valid = _INVALID_CHARACTER.sub("_", name)
    if len(valid) <= _NAME_MAX:
        return valid
    digest = hashlib.sha256(name.encode("utf-8", "surrogatepass")).hexdigest()[:8]
    return f"{valid[: _NAME_MAX - 9]}_{digest}"


def inner_names(tools: Any, namespace: str | None = None) -> list[str]:
    """Return the names the model knows declared tools under."""
    names: list[str] = []
    for tool in tools if isinstance(tools, list) else ():
        name = tool.get("name") if isinstance(tool, dict) else None
        if not isinstance(name, str) or not name:
            continue
        is_namespace = tool.get("type") == "namespace"
        names += inner_names(tool.get("tools"), name) if is_namespace else [inner_name(name, namespace)]
    return names


def _declared(document: Mapping[str, Any]) -> Iterator[Any]:
    """Yield the tools of the request, and those that its input adds or that a tool search found."""
    tools = document.get("tools")
    yield from tools if isinstance(tools, list) else ()
    items = document.get("input")
    for item in items if isinstance(items, list) else ():
        if isinstance(item, dict) and item.get("type") in ("additional_tools", "tool_search_output"):
            tools = item.get("tools")
            yield from tools if isinstance(tools, list) else ()


def _function(tool: dict[str, Any]) -> dict[str, Any]:
    parameters = tool.get("parameters")
    if not isinstance(parameters, dict) or not parameters:
        parameters = {"type": "object", "properties": {}}
    definition: dict[str, Any] = {"description": _text(tool.get("description")), "input_schema": parameters}
    if tool.get("strict") is True:
        definition["strict"] = True
    return definition


def _custom(tool: dict[str, Any]) -> dict[str, Any]:
    """Return the wrapper of a tool that takes free text; a grammar, which nobody enforces here, goes into words."""
    description = _text(tool.get("description"))
    wanted = tool.get("format")
    if isinstance(wanted, dict) and wanted.get("type") == "grammar":
        syntax = "regular expression" if wanted.get("syntax") == "regex" else "Lark grammar"
        description += f"\n\nThe input must match this {syntax}:\n{_text(wanted.get('definition'))}"
    member = {"type": "string", "description": "The whole input of the tool, as plain text."}
    return {
        "description": description,
        "input_schema": {
            "type": "object",
            "properties": {CUSTOM_INPUT: member},
            "required": [CUSTOM_INPUT],
            "additionalProperties": False,
        },
    }


def _web_search(tool: dict[str, Any]) -> dict[str, Any]:
    """Return Anthropic's web search tool with the client's limits on where to search."""
    definition: dict[str, Any] = {"type": "web_search_20250305", "name": _WEB_SEARCH}
    filters = tool.get("filters")
    domains = filters.get("allowed_domains") if isinstance(filters, dict) else None
    if isinstance(domains, list) and domains:
        definition["allowed_domains"] = [domain for domain in domains if isinstance(domain, str)]
    location = tool.get("user_location")
    if isinstance(location, dict):
        known = {key: location[key] for key in ("city", "region", "country", "timezone") if location.get(key)}
        if known:
            definition["user_location"] = {"type": "approximate", **known}
    return definition


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""
