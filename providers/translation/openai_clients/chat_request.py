"""One request of a Chat Completions client -> Messages API, the inside format."""

from typing import Any

from providers.translation.openai_clients.chat_contents import content_blocks, tool_result_content
from providers.translation.openai_clients.chat_tools import add_tools, call_blocks
from providers.translation.schemas import WISH_FOR_JSON
from providers.translation.tool_ids import plain_id
from providers.translation.validation import InvalidRequest, MessagesForm, add_sampling, whole_number

_TRANSLATED = frozenset(
    (
        *("model", "messages", "max_tokens", "max_completion_tokens", "stop", "temperature", "top_p", "top_k", "n"),
        *("tools", "tool_choice", "parallel_tool_calls", "functions", "function_call", "response_format"),
        *("reasoning_effort", "user", "safety_identifier", "service_tier", "stream", "stream_options"),
    )
)
_ROLES = ("system", "developer", "user", "assistant", "tool", "function")
_EFFORTS = {"minimal": "low", "low": "low", "medium": "medium", "high": "high", "xhigh": "xhigh", "max": "max"}
_CACHE_MARKS_MAX = 4  # the Messages API refuses more


def from_chat(document: Any) -> MessagesForm:
    """Return the request as a Messages body without `max_tokens` where the client set none.

    Raises `InvalidRequest`, whose message begins with the path of the fault. What no other wire format can express
    but a relay can (several choices, audio) is named in `only_relayed`.
    """
    if not isinstance(document, dict):
        raise InvalidRequest("The request body must be a JSON object.")
    model = document.get("model")
    if not isinstance(model, str) or not model:
        raise InvalidRequest("model: you must provide a model parameter")
    form = MessagesForm({"model": model}, [name for name in document if name not in _TRANSLATED])
    _add_messages(form, document.get("messages"))
    _add_limits(form, document)
    add_tools(form, document)
    _add_format(form, document)
    _add_thinking(form, document)
    _add_identity(form, document)
    if document.get("stream") is not None:
        if not isinstance(document["stream"], bool):
            raise InvalidRequest("stream: expected a boolean")
        form.body["stream"] = document["stream"]
    return form


def _add_messages(form: MessagesForm, messages: Any) -> None:
    if not isinstance(messages, list):
        raise InvalidRequest("messages: expected an array of messages")
    if not messages:
        raise InvalidRequest("messages: expected at least one message")
    system: list[dict[str, Any]] = []
    turns: list[dict[str, Any]] = []
    legacy_id = ""  # of the last `function_call`; its result names the function only
    for position, message in enumerate(messages):
        path = f"messages[{position}]"
        if not isinstance(message, dict):
            raise InvalidRequest(f"{path}: expected an object")
        match message.get("role"):
            case "system" | "developer" | "user" if message.get("content") is None:
                raise InvalidRequest(f"{path}.content: missing required parameter")
            case "system" | "developer":
                blocks = content_blocks(message.get("content"), path, form)
                texts = [block for block in blocks if block["type"] == "text"]
                if turns:
                    _append(turns, "system", texts)
                else:
                    system += texts
            case "user":
                _append(turns, "user", content_blocks(message.get("content"), path, form))
            case "assistant":
                legacy_id = f"function_{position}"
                _append(turns, "assistant", _assistant_blocks(message, path, form, legacy_id))
            case "tool":
                call_id = message.get("tool_call_id")
                if not isinstance(call_id, str) or not call_id:
                    raise InvalidRequest(f"{path}.tool_call_id: missing required parameter")
                _append_result(turns, plain_id(call_id), tool_result_content(message.get("content"), path, form))
            case "function":
                content = tool_result_content(message.get("content"), path, form)
                _append_result(turns, legacy_id or f"function_{position}", content)
            case role:
                raise InvalidRequest(f"{path}.role: {str(role)[:50]!r} is not one of {', '.join(_ROLES)}")
    if system:
        form.body["system"] = system
    form.body["messages"] = turns or [{"role": "user", "content": [{"type": "text", "text": "."}]}]
    marked = [block for blocks in (system, *(turn["content"] for turn in turns)) for block in blocks]
    for block in [block for block in marked if "cache_control" in block][:-_CACHE_MARKS_MAX]:
        # The later a mark, the more it caches.
        del block["cache_control"]


def _assistant_blocks(message: dict[str, Any], path: str, form: MessagesForm, legacy_id: str) -> list[dict[str, Any]]:
    blocks = _thinking_blocks(message.get("reasoning_details"))
    blocks += content_blocks(message.get("content"), path, form)
    refusal = message.get("refusal")
    if isinstance(refusal, str) and refusal.strip():
        blocks.append({"type": "text", "text": refusal})
    return blocks + call_blocks(message, path, legacy_id)


def _thinking_blocks(details: Any) -> list[dict[str, Any]]:
    """Return the reasoning that carries a signature, as its pieces came: without one it is worth nothing upstream."""
    blocks: list[dict[str, Any]] = []
    text = ""
    for detail in details if isinstance(details, list) else ():
        if not isinstance(detail, dict) or detail.get("type") != "reasoning.text":
            continue
        text += detail["text"] if isinstance(detail.get("text"), str) else ""
        signature = detail.get("signature")
        if isinstance(signature, str) and signature:
            blocks.append({"type": "thinking", "thinking": text, "signature": signature})
            text = ""
    return blocks


def _append(turns: list[dict[str, Any]], role: str, blocks: list[dict[str, Any]]) -> None:
    """Add a turn; one of the same role as the last continues it."""
    if not blocks:
        return
    if turns and turns[-1]["role"] == role:
        turns[-1]["content"] += blocks
    else:
        turns.append({"role": role, "content": blocks})


def _append_result(turns: list[dict[str, Any]], tool_use_id: str, content: Any) -> None:
    _append(turns, "user", [{"type": "tool_result", "tool_use_id": tool_use_id, "content": content}])


def _add_limits(form: MessagesForm, document: dict[str, Any]) -> None:
    body = form.body
    for name in ("max_completion_tokens", "max_tokens"):
        value = document.get(name)
        if value is None:
            continue
        number = whole_number(value)
        if not number:
            raise InvalidRequest(f"{name}: expected an integer of at least 1")
        body.setdefault("max_tokens", number)
    choices = document.get("n")
    if choices is not None and choices != 1:
        if not whole_number(choices):
            raise InvalidRequest("n: expected an integer of at least 1")
        form.needs_relay("n: this model gives one choice only")
    stop = document.get("stop")
    sequences = [stop] if isinstance(stop, str) else stop
    if sequences is not None:
        if not isinstance(sequences, list) or not all(isinstance(text, str) for text in sequences):
            raise InvalidRequest("stop: expected a string or an array of strings")
        if usable := [text for text in sequences if text.strip()]:
            body["stop_sequences"] = usable
    add_sampling(body, document)
    if document.get("top_k") is not None:
        body["top_k"] = document["top_k"]


def _add_format(form: MessagesForm, document: dict[str, Any]) -> None:
    wanted = document.get("response_format")
    if wanted is None:
        return
    kind = wanted.get("type") if isinstance(wanted, dict) else None
    if kind == "json_schema":
        named = wanted.get("json_schema")
        schema = named.get("schema") if isinstance(named, dict) else None
        if schema is not None and not isinstance(schema, dict):
            raise InvalidRequest("response_format.json_schema.schema: expected an object")
        if schema:
            form.body["output_config"] = {"format": {"type": "json_schema", "schema": schema}}
            return
    if kind in ("json_object", "json_schema"):
        form.body.setdefault("system", []).append({"type": "text", "text": WISH_FOR_JSON})
    elif kind != "text":
        form.needs_relay("response_format.type: expected text, json_object or json_schema")


def _add_thinking(form: MessagesForm, document: dict[str, Any]) -> None:
    effort = document.get("reasoning_effort")
    if effort is None:
        return
    if effort == "none":
        form.body["thinking"] = {"type": "disabled"}
        return
    if not isinstance(effort, str) or effort not in _EFFORTS:
        form.needs_relay(f"reasoning_effort: expected none or one of {', '.join(_EFFORTS)}")
        return
    # Whether a model shows its thinking unasked depends on the model (Messages API reference, read 2026-08).
    form.body["thinking"] = {"type": "adaptive", "display": "summarized"}
    form.body.setdefault("output_config", {})["effort"] = _EFFORTS[effort]


def _add_identity(form: MessagesForm, document: dict[str, Any]) -> None:
    user = document.get("safety_identifier") or document.get("user")
    if isinstance(user, str) and user:
        form.body["metadata"] = {"user_id": user}
    tier = document.get("service_tier")
    if tier is not None:
        form.body["service_tier"] = "auto" if tier in ("auto", "priority") else "standard_only"
