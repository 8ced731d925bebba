"""The input items of a Responses request -> system blocks and messages.

Items are a flat list: messages, calls and their outputs one after another, outputs wherever the client put them. The
Messages API wants a turn's calls in one assistant message and all their results at the head of the user message after
it, so calls and outputs are paired before the messages are written.
"""

from dataclasses import dataclass, field
from typing import Any

from providers.translation.arguments import tool_input_of
from providers.translation.openai_clients import typed_client_tools
from providers.translation.openai_clients.chat_answer import CUSTOM_INPUT
from providers.translation.openai_clients.responses_contents import content_blocks, result_content
from providers.translation.openai_clients.responses_reasoning import thinking_block
from providers.translation.openai_clients.responses_tools import inner_name, inner_names
from providers.translation.tool_ids import plain_id
from providers.translation.validation import InvalidRequest

_CALLS = ("function_call", "custom_tool_call", *typed_client_tools.CALLS)
_OUTPUTS = ("function_call_output", "custom_tool_call_output", "tool_search_output", *typed_client_tools.OUTPUTS)
_ROLES = ("user", "assistant", "system", "developer")
# What OpenAI's servers did in an earlier answer, as the model itself would tell it.
_HOSTED = {
    "web_search_call": "web search",
    "file_search_call": "file search",
    "code_interpreter_call": "code interpreter",
    "image_generation_call": "image generation",
    "computer_call": "computer use",
    "mcp_call": "MCP call",
}
_NO_RESULT = "[no result: interrupted]"
_TEXT_MAX = 2000  # characters of what a hosted tool was asked or found
_THINKING = ("thinking", "redacted_thinking")


@dataclass(slots=True)
class Conversation:
    """The translated input."""

    system: list[dict[str, Any]] = field(default_factory=list)
    messages: list[dict[str, Any]] = field(default_factory=list)
    dropped: list[str] = field(default_factory=list)  # types of items no model here can be told of


def conversation(value: Any) -> Conversation:
    """Return the conversation that `input` is. Raises `InvalidRequest`, naming the path of the fault."""
    if value is None:
        raise InvalidRequest("input: missing required parameter")
    if isinstance(value, str):
        value = [{"role": "user", "content": value}]
    if not isinstance(value, list):
        raise InvalidRequest("input: expected a string or an array of items")
    if not value:
        raise InvalidRequest("input: expected at least one item")
    for position, item in enumerate(value):
        if not isinstance(item, dict):
            raise InvalidRequest(f"input[{position}]: expected an object")
        kind = item.get("type")
        if kind is not None and (not isinstance(kind, str) or not kind):
            raise InvalidRequest(f"input[{position}].type: expected the type of an item")
    writer = _Writer(value)
    for position, item in enumerate(value):
        writer.add(item, position)
    return writer.finish()


class _Writer:
    def __init__(self, items: list[dict[str, Any]]) -> None:
        self._result = Conversation()
        self._messages = self._result.messages
        self._open_calls: list[tuple[int, str]] = []  # position and id of the calls in the last assistant message
        self._ids: set[str] = set()
        # Clients may use an id again in a later turn: an output belongs to the last call before it.
        self._outputs: dict[int, list[tuple[int, dict[str, Any]]]] = {}
        self._orphans: set[int] = set()
        last_call: dict[str, int] = {}
        for position, item in enumerate(items):
            if _kind(item) in _CALLS:
                last_call[_call_id(item, position)] = position
                if item["type"] == "local_shell_call" and isinstance(item.get("id"), str):
                    last_call[item["id"]] = position  # its output refers to this one
            elif _kind(item) in _OUTPUTS:
                call = last_call.get(_call_id(item, position))
                if call is None:
                    self._orphans.add(position)
                else:
                    self._outputs.setdefault(call, []).append((position, item))

    def add(self, item: dict[str, Any], position: int) -> None:
        path = f"input[{position}]"
        kind = _kind(item)
        if kind == "message":
            self._add_message(item, path)
        elif kind in _CALLS:
            self._add_call(item, position)
        elif kind in _OUTPUTS:
            self._add_output(item, position)
        elif kind == "reasoning":
            block = thinking_block(item)
            if block is not None:
                self._append("assistant", [block])
            elif item.get("encrypted_content"):
                self._drop("reasoning")
        elif kind == "item_reference":
            raise InvalidRequest(f"{path}: items are not stored here and cannot be referred to; send the item itself")
        elif kind == "compaction_trigger":
            raise InvalidRequest(f"{path}: compaction is not offered here; let the client summarise the conversation")
        elif kind in _HOSTED:
            self._append("assistant", [{"type": "text", "text": _hosted_text(item, kind)}])
        elif kind != "additional_tools":
            self._drop(kind)

    def finish(self) -> Conversation:
        self._answer_calls()
        self._strip_thinking()
        messages = self._messages
        if messages and messages[-1]["role"] == "assistant":
            last = messages[-1]["content"][-1]
            if last["type"] == "text":
                last["text"] = last["text"].rstrip()  # the Messages API refuses white space at the very end
        if not messages or messages[0]["role"] == "assistant":
            messages.insert(0, {"role": "user", "content": [{"type": "text", "text": "."}]})
        return self._result

    def _add_message(self, item: dict[str, Any], path: str) -> None:
        role = item.get("role")
        if role not in _ROLES:
            raise InvalidRequest(f"{path}.role: expected one of {', '.join(_ROLES)}")
        blocks = content_blocks(item.get("content"), f"{path}.content")
        if role in ("system", "developer"):
            blocks = [block for block in blocks if block["type"] == "text"]
            if not self._messages:
                self._result.system += blocks
                return
            role = "system"
        elif role == "assistant":
            blocks = [block for block in blocks if block["type"] == "text"]
        self._append(role, blocks)

    def _add_call(self, item: dict[str, Any], position: int) -> None:
        kind = _kind(item)
        if kind in typed_client_tools.CALLS:
            name, value = typed_client_tools.tool_input(item)
        else:
            called = item.get("name")
            if not isinstance(called, str) or not called:
                raise InvalidRequest(f"input[{position}].name: missing required parameter")
            name = inner_name(called, item.get("namespace"))
            value = item.get("arguments")
        tool_input = {CUSTOM_INPUT: item.get("input")} if kind == "custom_tool_call" else tool_input_of(value)
        call_id = self._unused(plain_id(_call_id(item, position)))
        self._append("assistant", [{"type": "tool_use", "id": call_id, "name": name, "input": tool_input}])
        self._open_calls.append((position, call_id))

    def _add_output(self, item: dict[str, Any], position: int) -> None:
        """Close the turn of the calls; the output itself stands there, unless there was no such call."""
        if position in self._orphans:
            label = {"type": "text", "text": f"Tool result ({_call_id(item, position)[:128]}):"}
            self._append("user", [label, *_result_blocks(_output(item, position))])
        else:
            self._answer_calls()

    def _append(self, role: str, blocks: list[dict[str, Any]]) -> None:
        """Add blocks to the last message, or begin one for another role."""
        if not blocks:
            return
        if role != "assistant":
            self._answer_calls()
        if self._messages and self._messages[-1]["role"] == role:
            self._messages[-1]["content"] += blocks
        else:
            self._messages.append({"role": role, "content": blocks})

    def _answer_calls(self) -> None:
        """Write the results of the last assistant message's calls, at once and in their order."""
        calls, self._open_calls = self._open_calls, []
        results = []
        for position, call_id in calls:
            contents = [_output(item, at) for at, item in self._outputs.get(position, ())]
            content = _joined(contents) if contents else _NO_RESULT
            results.append({"type": "tool_result", "tool_use_id": call_id, "content": content})
        if results:
            self._messages.append({"role": "user", "content": results})

    def _strip_thinking(self) -> None:
        """Remove thinking that nothing follows: the answer it belonged to was cut off, and may not end with it."""
        for message in self._messages:
            if message["role"] == "assistant":
                while message["content"] and message["content"][-1]["type"] in _THINKING:
                    message["content"].pop()
        self._messages[:] = [message for message in self._messages if message["content"]]

    def _unused(self, call_id: str) -> str:
        number, found = 1, call_id
        while found in self._ids:
            number += 1
            found = f"{call_id}_{number}"
        self._ids.add(found)
        return found

    def _drop(self, kind: str) -> None:
        if (name := f"input.{kind[:50]}") not in self._result.dropped:
            self._result.dropped.append(name)


def _kind(item: dict[str, Any]) -> str:
    kind = item.get("type")
    if isinstance(kind, str):
        return kind
    # The short forms of a message and of a reference have no type.
    return "message" if "role" in item or "id" not in item else "item_reference"


def _call_id(item: dict[str, Any], position: int) -> str:
    found = item.get("call_id")
    if found is None and _kind(item).startswith(("local_shell", "tool_search")):
        found = item.get("id")
    if not isinstance(found, str) or not found:
        raise InvalidRequest(f"input[{position}].call_id: missing required parameter")
    return found


def _output(item: dict[str, Any], position: int) -> str | list[dict[str, Any]]:
    kind = _kind(item)
    if kind == "tool_search_output":
        found = inner_names(item.get("tools"))
        return "\n".join(["Tools found:", *found]) if found else "No tools found."
    if kind in typed_client_tools.OUTPUTS:
        return typed_client_tools.output_text(item)
    return result_content(item.get("output"), f"input[{position}].output")


def _result_blocks(result: str | list[dict[str, Any]]) -> list[dict[str, Any]]:
    if isinstance(result, str):
        return [{"type": "text", "text": result}] if result.strip() else []
    return result


def _joined(contents: list[str | list[dict[str, Any]]]) -> str | list[dict[str, Any]]:
    """Return several outputs of one call as one."""
    if len(contents) == 1:
        return contents[0]
    return [block for content in contents for block in _result_blocks(content)]


def _hosted_text(item: dict[str, Any], kind: str) -> str:
    """Return `[web search: query]`, with the result where the item has one."""
    asked: Any = item.get("queries") or item.get("arguments") or item.get("code") or item.get("revised_prompt")
    action = item.get("action")
    if asked is None and isinstance(action, dict):
        asked = action.get("query") or action.get("queries") or action.get("url") or action.get("type")
    if isinstance(asked, list):
        asked = ", ".join(str(part) for part in asked)
    text = f"[{_HOSTED[kind]}: {str(asked or '')[:_TEXT_MAX]}]"
    found = item.get("output")
    return f"{text}\n{found[:_TEXT_MAX]}" if isinstance(found, str) and found else text
