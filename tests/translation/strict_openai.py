"""A Chat Completions server that takes nothing on trust: the rules on which OpenAI and strict servers answer 400."""

import json
import re
from typing import Any

_NAME = re.compile(r"[a-zA-Z0-9_-]{1,64}")
_PARTS = {"user": {"text", "image_url", "input_audio", "file"}, "assistant": {"text", "refusal"}}
_KNOWN = {
    *("model", "messages", "stream", "stream_options", "max_tokens", "max_completion_tokens", "temperature", "top_p"),
    *("stop", "tools", "tool_choice", "parallel_tool_calls", "response_format", "reasoning_effort", "user"),
    "service_tier",
}


def complaints(body: dict[str, Any], *, extensions: frozenset[str] = frozenset()) -> list[str]:
    """Return what such a server would refuse; `extensions` are fields the platform adds to OpenAI's."""
    found = [f"unknown field {key}" for key in body if key not in _KNOWN and key not in extensions]
    found += [f"{key} is null" for key, value in body.items() if value is None]
    found += _messages(body.get("messages"))
    found += _tools(body)
    for key in ("max_tokens", "max_completion_tokens"):
        if key in body and (type(body[key]) is not int or body[key] < 1):
            found.append(f"{key}: {body[key]!r}")
    for key, highest in (("temperature", 2), ("top_p", 1)):
        if key in body and (isinstance(body[key], bool) or not 0 <= body[key] <= highest):
            found.append(f"{key}: {body[key]!r}")
    stop = body.get("stop", [""])
    if "stop" in body and (not 1 <= len(stop) <= 4 or not all(isinstance(s, str) and s.strip() for s in stop)):
        found.append(f"stop: {stop!r}")
    return found


def _messages(messages: Any) -> list[str]:
    if not isinstance(messages, list) or not messages:
        return ["no messages"]
    found: list[str] = []
    unanswered: list[str] = []
    for position, message in enumerate(messages):
        role = message["role"]
        if role not in ("system", "user", "assistant", "tool"):
            found.append(f"{position}: role {role!r}")
        if role == "tool":
            if message["tool_call_id"] not in unanswered:
                found.append(f"{position}: result of no call")
            else:
                unanswered.remove(message["tool_call_id"])
        elif unanswered:
            found.append(f"{position}: {role} while {unanswered} have no result")
        found += [f"{position}: {text}" for text in _content(role, message)]
        if role == "assistant":
            unanswered = [call["id"] for call in message.get("tool_calls", [])]
            found += [f"{position}: {text}" for text in _calls(message)]
        before = messages[position - 1]["role"] if position else None
        if role == before and role in ("user", "assistant"):
            found.append(f"{position}: two {role} messages in a row")
    return found + ([f"no result for {unanswered}"] if unanswered else [])


def _content(role: str, message: dict[str, Any]) -> list[str]:
    content = message.get("content")
    if content is None:
        return [] if role == "assistant" and message.get("tool_calls") else ["content is null"]
    if isinstance(content, str):
        return [] if content or role == "tool" or message.get("tool_calls") else ["content is empty"]
    if not isinstance(content, list) or not content:
        return [f"content is {content!r}"]
    found = []
    for part in content:
        kind = part.get("type")
        if kind not in _PARTS.get(role, {"text"}):
            found.append(f"{role} part {kind!r}")
        elif kind == "text" and not (isinstance(part.get("text"), str) and part["text"]):
            found.append("text part without text")
        elif kind == "image_url" and not isinstance(part["image_url"]["url"], str):
            found.append("image without URL")
        elif kind == "file" and not isinstance(part["file"]["file_data"], str):
            found.append("file without data")
    return found


def _calls(message: dict[str, Any]) -> list[str]:
    calls = message.get("tool_calls")
    if calls is None:
        return []
    found = [] if isinstance(calls, list) and calls else [f"tool_calls is {calls!r}"]
    if len({call["id"] for call in calls}) < len(calls):
        found.append("two calls with one id")
    for call in calls:
        if call["type"] != "function" or not isinstance(call["id"], str) or not call["id"]:
            found.append(f"call {call!r}")
        if not _NAME.fullmatch(call["function"]["name"]):
            found.append(f"function name {call['function']['name']!r}")
        if not isinstance(json.loads(call["function"]["arguments"], parse_constant=lambda name: name), dict):
            found.append("arguments are no object")
    return found


def _tools(body: dict[str, Any]) -> list[str]:
    found: list[str] = []
    choice = body.get("tool_choice")
    if "tools" not in body:
        return [f"{key} without tools" for key in ("tool_choice", "parallel_tool_calls") if key in body]
    if not isinstance(body["tools"], list) or not body["tools"]:
        found.append(f"tools: {body['tools']!r}")
    names = set()
    for tool in body["tools"]:
        function = tool["function"]
        names.add(function["name"])
        if tool["type"] != "function" or set(tool) != {"type", "function"}:
            found.append(f"tool {tool!r}")
        if set(function) - {"name", "description", "parameters", "strict"}:
            found.append(f"function keys {sorted(function)}")
        if not _NAME.fullmatch(function["name"]):
            found.append(f"function name {function['name']!r}")
        parameters = function.get("parameters")
        if not isinstance(parameters, dict) or parameters.get("type") != "object":
            found.append(f"parameters of {function['name']}")
        elif not isinstance(parameters.get("properties"), dict):
            found.append(f"properties of {function['name']}")
        if not isinstance(function.get("description", ""), str):
            found.append(f"description of {function['name']}")
    if len(names) < len(body["tools"]):
        found.append("two functions with one name")
    if isinstance(choice, dict):
        if choice.get("type") != "function" or choice["function"]["name"] not in names:
            found.append(f"tool_choice {choice!r}")
    elif choice not in (None, "none", "auto", "required"):
        found.append(f"tool_choice {choice!r}")
    return found
