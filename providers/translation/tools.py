"""Tool definitions and tool_choice: Messages API -> Chat Completions."""

import hashlib
import re
from dataclasses import dataclass, field
from typing import Any, Literal

from providers.translation import typed_tools
from providers.translation.dialect import Dialect
from providers.translation.schemas import object_schema, qualifies_for_strict
from providers.translation.validation import InvalidRequest
from providers.translation.web_search import SearchTool, function_of, is_web_search, search_tool

_VALID_NAME = re.compile(r"[a-zA-Z0-9_-]+")
_INVALID_CHARACTER = re.compile(r"[^a-zA-Z0-9_-]")
# Claude Code lists it to mark where deferred tools would stand; no model may call it.
_PLACEHOLDER = "DeferredToolPlaceholder"


class ToolNames:
    """The client's tool names in a form upstreams accept, and back.

    A name depends on the client's name alone, so requests of one conversation agree; only names that would collide
    depend on which comes first, which is why the names of `tools` are asked for before those of the history.
    """

    def __init__(self, dialect: Dialect) -> None:
        self._max_length = max(dialect.tool_name_max, 16)
        # DashScope answers 400 to a function called "search".
        self._reserved = ("search",) if dialect.thinking_dialect == "dashscope" else ()
        self._upstream: dict[str, str] = {}
        self._client: dict[str, str] = {}

    def upstream(self, name: str) -> str:
        """Return the name to send for a client's tool name."""
        known = self._upstream.get(name)
        if known is not None:
            return known
        mapped = name
        if len(name) > self._max_length or name in self._reserved or not _VALID_NAME.fullmatch(name):
            mapped = _INVALID_CHARACTER.sub("_", name)
            if len(mapped) > self._max_length or mapped in self._reserved:
                mapped = self._shortened(name, mapped)
        if mapped in self._client:
            mapped = self._shortened(name, mapped)
        self._upstream[name] = mapped
        self._client[mapped] = name
        return mapped

    def changed(self) -> dict[str, str]:
        """Return upstream name -> client's name where they differ."""
        return {upstream: name for upstream, name in self._client.items() if upstream != name}

    def _shortened(self, name: str, mapped: str) -> str:
        digest = hashlib.sha256(name.encode("utf-8", "surrogatepass")).hexdigest()[:8]
        return f"{mapped[: self._max_length - 9]}_{digest}"


@dataclass(slots=True)
class ToolSet:
    """The tools of one request."""

    functions: list[dict[str, Any]] = field(default_factory=list)  # Chat Completions form
    schemas: dict[str, dict[str, Any]] = field(default_factory=dict)  # client's name -> the client's input schema
    server_tools: dict[str, str] = field(default_factory=dict)  # name -> type, of those nobody upstream can run
    search: SearchTool | None = None  # a web search that the gateway runs; the function stands for it
    native_search: SearchTool | None = None  # one that the platform runs
    has_own_tools: bool = False  # any tool the client runs, offered or not
    dropped: list[str] = field(default_factory=list)


def translate_tools(
    tools: Any,
    *,
    names: ToolNames,
    dialect: Dialect,
    revealed: set[str],
    forced_name: str | None,
    server_tools: Literal["drop", "native", "search"] = "drop",
) -> ToolSet:
    """Return the functions to offer.

    `revealed` are the names the history calls or refers to: a tool with `defer_loading` is offered only then, or when
    tool_choice forces it, or when the client relies on a tool search that no upstream has. `server_tools` says what
    becomes of a web search: left out, run by the platform, or offered as a function that the gateway runs.
    """
    result = ToolSet()
    if not isinstance(tools, list):
        if tools is not None:
            result.dropped.append("tools")
        return result
    offers_deferred = any(
        isinstance(tool, dict) and isinstance(tool.get("type"), str) and typed_tools.is_tool_search(tool["type"])
        for tool in tools
    )
    searches = []
    for position, tool in enumerate(tools):
        if server_tools != "drop" and isinstance(tool, dict) and is_web_search(tool.get("type")):
            searches.append(tool)
            continue
        definition = _definition(tool, position, result)
        if definition is None:
            continue
        name, description, schema = definition
        if name == _PLACEHOLDER and tool.get("defer_loading") is True:
            continue
        result.has_own_tools = True
        if name in result.schemas:
            continue
        if tool.get("defer_loading") is True and not (offers_deferred or name in revealed or name == forced_name):
            continue
        parameters = object_schema(schema, dialect.schema_sanitizer, f"tools.{position}.input_schema")
        function: dict[str, Any] = {"name": names.upstream(name), "description": description, "parameters": parameters}
        if tool.get("strict") is True and dialect.strict_json and qualifies_for_strict(parameters):
            function["strict"] = True
        result.schemas[name] = schema if isinstance(schema, dict) else parameters
        result.functions.append({"type": "function", "function": function})
    if searches and server_tools == "search":
        result.search = search_tool(searches[0], result.schemas)
        _offer_search(result, result.search, names)
    elif searches:
        result.native_search = search_tool(searches[0], ())
    return result


def _offer_search(result: ToolSet, search: SearchTool, names: ToolNames) -> None:
    description, schema = function_of(search)
    function = {"name": names.upstream(search.function_name), "description": description, "parameters": schema}
    result.schemas[search.function_name] = schema
    result.functions.append({"type": "function", "function": function})


def _definition(tool: Any, position: int, result: ToolSet) -> tuple[str, str, Any] | None:
    """Return name, description and schema of a tool the client runs; else note what became of it."""
    if not isinstance(tool, dict):
        result.dropped.append(f"tools.{position}")
        return None
    kind = tool.get("type")
    name = tool.get("name")
    if isinstance(kind, str) and kind not in ("custom", "function"):
        if typed_tools.is_server_tool(kind):
            result.server_tools[name if isinstance(name, str) and name else kind] = kind
            result.dropped.append(f"tools.{kind}")
            return None
        typed = typed_tools.client_tool(kind, name)
        if typed is not None:
            return typed
        if not isinstance(tool.get("input_schema"), dict):
            result.dropped.append(f"tools.{kind}")  # computer use, toolsets: their schema is the model's own
            return None
    if not isinstance(name, str) or not name:
        result.dropped.append(f"tools.{position}")
        return None
    description = tool.get("description")
    return name, description if isinstance(description, str) else "", tool.get("input_schema")


@dataclass(frozen=True, slots=True)
class ToolChoice:
    """How the model may use its tools."""

    value: Any = None  # Chat Completions `tool_choice`; None: leave it out
    instruction: str | None = None  # a line for the system prompt where the platform cannot force a call
    is_none: bool = False
    is_single: bool = False  # at most one call per answer


def forced_tool(body: dict[str, Any]) -> str | None:
    """Return the name in a tool_choice of type "tool"; raises `InvalidRequest` when it has none."""
    choice = body.get("tool_choice")
    if not isinstance(choice, dict) or choice.get("type") != "tool":
        return None
    name = choice.get("name")
    if not isinstance(name, str) or not name:
        raise InvalidRequest("tool_choice.name: Field required")
    return name


def translate_choice(body: dict[str, Any], tools: ToolSet, names: ToolNames, dialect: Dialect) -> ToolChoice:
    """Return the choice for the tools that are offered. Raises `InvalidRequest` for a name that is not among them."""
    choice = body.get("tool_choice")
    kind = choice.get("type") if isinstance(choice, dict) else None
    is_single = isinstance(choice, dict) and choice.get("disable_parallel_tool_use") is True
    name = forced_tool(body)
    if name is not None and name not in tools.schemas:
        raise InvalidRequest(f"tool_choice.name: Tool '{name[:128]}' not found in the tools offered to this model")
    if kind == "none":
        return ToolChoice("none", is_none=True)
    if kind == "auto":
        return ToolChoice("auto", is_single=is_single)
    if name is not None:
        upstream_name = names.upstream(name)
        if dialect.forced_tools:
            return ToolChoice({"type": "function", "function": {"name": upstream_name}}, is_single=is_single)
        return ToolChoice("auto", f"Answer by calling the tool {upstream_name}.", is_single=is_single)
    if kind == "any":
        if dialect.forced_tools:
            return ToolChoice("required", is_single=is_single)
        return ToolChoice("auto", "Answer by calling one of the tools.", is_single=is_single)
    return ToolChoice(is_single=is_single)
