"""One request of a Responses client -> Messages API, the inside format.

This gateway stores no responses: what refers to something stored is refused with a text that says what to send instead.
Source: OpenAI Responses API reference, and what Codex CLI 0.169 sends.
"""

from typing import Any

from providers.translation.openai_clients.responses_input import Conversation, conversation
from providers.translation.openai_clients.responses_tools import ToolTable
from providers.translation.schemas import WISH_FOR_JSON
from providers.translation.validation import InvalidRequest, MessagesForm, add_sampling, whole_number

_TRANSLATED = frozenset(
    (
        *("model", "input", "instructions", "tools", "tool_choice", "parallel_tool_calls", "max_output_tokens"),
        *("temperature", "top_p", "reasoning", "text", "user", "safety_identifier", "service_tier", "stream"),
        # These need nothing done here, or are done on the way back.
        *("store", "include", "metadata", "truncation", "prompt_cache_key", "stream_options", "client_metadata"),
        *("background", "previous_response_id", "conversation", "prompt", "max_tool_calls"),
    )
)
_STORED = {
    "previous_response_id": "no responses are stored here; send the whole conversation in input",
    "conversation": "no conversations are stored here; send the whole conversation in input",
    "prompt": "no prompts are stored here; send the prompt's text in instructions and input",
}
_EFFORTS = {"minimal": "low", "low": "low", "medium": "medium", "high": "high", "xhigh": "xhigh", "max": "max"}
_CACHE_MARKS_MAX = 4  # the Messages API refuses more


def from_responses(document: Any) -> MessagesForm:
    """Return the request as a Messages body, without `max_tokens` where the client set no limit.

    Raises `InvalidRequest`, whose message begins with the path of the fault.
    """
    if not isinstance(document, dict):
        raise InvalidRequest("The request body must be a JSON object.")
    model = document.get("model")
    if not isinstance(model, str) or not model:
        raise InvalidRequest("model: you must provide a model parameter")
    for name, reason in _STORED.items():
        if document.get(name) is not None:
            raise InvalidRequest(f"{name}: {reason}")
    if document.get("background") is not None and document["background"] is not False:
        raise InvalidRequest("background: responses are not stored here, so they cannot be made in the background")
    body: dict[str, Any] = {"model": model}
    talk = conversation(document.get("input"))
    dropped = [name for name in document if name not in _TRANSLATED] + talk.dropped
    _add_system(talk, document)
    body["messages"] = talk.messages
    if not isinstance(document.get("tools"), list | None):
        raise InvalidRequest("tools: expected an array")
    tools = ToolTable(document)
    choice = tools.choose(document)
    _add_tools(body, tools, choice, document)
    dropped += tools.dropped
    _add_thinking(body, document.get("reasoning"))
    _add_text_format(body, talk, document.get("text"))
    _add_limits(body, document)
    _add_identity(body, document)
    _mark_for_cache(talk, document)
    if talk.system:
        body["system"] = talk.system
    stream = document.get("stream")
    if stream is not None:
        if not isinstance(stream, bool):
            raise InvalidRequest("stream: expected a boolean")
        body["stream"] = stream
    return MessagesForm(body, dropped)


def _add_system(talk: Conversation, document: dict[str, Any]) -> None:
    instructions = document.get("instructions")
    if instructions is None:
        return
    if not isinstance(instructions, str):
        raise InvalidRequest("instructions: expected a string")
    if instructions.strip():
        talk.system.insert(0, {"type": "text", "text": instructions})


def _add_tools(body: dict[str, Any], tools: ToolTable, choice: dict[str, Any] | None, document: dict[str, Any]) -> None:
    definitions = tools.definitions
    if not definitions:
        # The Messages API refuses calls of tools that are not defined.
        called = [
            block["name"] for message in body["messages"] for block in message["content"] if block["type"] == "tool_use"
        ]
        schema = {"type": "object", "properties": {}}
        definitions = [{"name": name, "input_schema": schema} for name in dict.fromkeys(called)]
        choice = {"type": "none"} if definitions else None
    if not definitions:
        return
    limit = whole_number(document.get("max_tool_calls"))
    body["tools"] = [
        {**tool, "max_uses": limit} if limit and str(tool.get("type")).startswith("web_search") else tool
        for tool in definitions
    ]
    if choice is not None:
        body["tool_choice"] = choice


def _add_thinking(body: dict[str, Any], reasoning: Any) -> None:
    """Write `thinking` and the effort. Who asks for a summary asks a reasoning model, which would reason unasked."""
    if reasoning is None:
        return
    if not isinstance(reasoning, dict):
        raise InvalidRequest("reasoning: expected an object")
    effort = reasoning.get("effort")
    if effort == "none":
        body["thinking"] = {"type": "disabled"}
        return
    if effort is not None and not (isinstance(effort, str) and effort in _EFFORTS):
        raise InvalidRequest(f"reasoning.effort: expected none or one of {', '.join(_EFFORTS)}")
    shows = shows_summary(reasoning)
    if effort is None and not shows:
        return
    if effort is not None:
        body["output_config"] = {"effort": _EFFORTS[effort]}
    body["thinking"] = {"type": "adaptive", "display": "summarized" if shows else "omitted"}


def shows_summary(reasoning: Any) -> bool:
    """Say whether the client wants to see reasoning."""
    wanted = reasoning if isinstance(reasoning, dict) else {}
    return bool(wanted.get("summary") or wanted.get("generate_summary"))


def _add_text_format(body: dict[str, Any], talk: Conversation, text: Any) -> None:
    wanted = text.get("format") if isinstance(text, dict) else None
    if wanted is None:
        return
    kind = wanted.get("type") if isinstance(wanted, dict) else None
    if kind == "json_schema":
        schema = wanted.get("schema")
        if not isinstance(schema, dict):
            raise InvalidRequest("text.format.schema: expected an object")
        body.setdefault("output_config", {})["format"] = {"type": "json_schema", "schema": schema}
    elif kind == "json_object":
        talk.system.append({"type": "text", "text": WISH_FOR_JSON})
    elif kind != "text":
        raise InvalidRequest("text.format.type: expected text, json_object or json_schema")


def _add_limits(body: dict[str, Any], document: dict[str, Any]) -> None:
    limit = document.get("max_output_tokens")
    if limit is not None:
        number = whole_number(limit)
        if not number:
            raise InvalidRequest("max_output_tokens: expected an integer of at least 1")
        body["max_tokens"] = number
    add_sampling(body, document)


def _add_identity(body: dict[str, Any], document: dict[str, Any]) -> None:
    user = document.get("safety_identifier") or document.get("user")
    if isinstance(user, str) and user:
        body["metadata"] = {"user_id": user}
    tier = document.get("service_tier")
    if tier is not None:
        body["service_tier"] = "auto" if tier in ("auto", "priority", "fast") else "standard_only"


def _mark_for_cache(talk: Conversation, document: dict[str, Any]) -> None:
    """Mark what is to be cached: the client's own marks, or, where it names a cache, all that it sent.

    OpenAI caches prompts unasked and Anthropic only up to a mark. An agent sends the same beginning again and again.
    """
    blocks = [block for group in (talk.system, *(m["content"] for m in talk.messages)) for block in group]
    marked = [block for block in blocks if "cache_control" in block]
    for block in marked[:-_CACHE_MARKS_MAX]:  # the later a mark, the more it caches
        del block["cache_control"]
    if marked or not document.get("prompt_cache_key"):
        return
    last = talk.messages[-1]["content"][-1]
    for block in (*talk.system[-1:], last):
        if block["type"] in ("text", "image", "document", "tool_result", "tool_use"):
            block["cache_control"] = {"type": "ephemeral"}
