"""One request: Messages API -> Chat Completions."""

import hashlib
import hmac
import math
from dataclasses import dataclass, field
from typing import Any

from providers.translation.attachments import UNPREPARED, Attachments, keep_newest_images
from providers.translation.blocks import BlockTranslator
from providers.translation.contents import limit_marks, system_message, system_parts
from providers.translation.dialect import Dialect
from providers.translation.messages import Conversation
from providers.translation.schemas import output_schema, qualifies_for_strict, wish_for_schema
from providers.translation.thinking import ReasoningReplay, Thinking, requested_thinking, thinking_parameters
from providers.translation.tool_ids import id_mapper
from providers.translation.tools import (
    ToolChoice,
    ToolNames,
    ToolSet,
    forced_tool,
    translate_choice,
    translate_tools,
)
from providers.translation.typed_tools import unavailable_text
from providers.translation.validation import InvalidRequest, validate, whole_number
from providers.translation.web_search import SearchTool, native_parameters, searches_natively

__all__ = ["ChatRequest", "InvalidRequest", "RequestOptions", "to_chat_request", "validate"]

_TRANSLATED = frozenset(
    (
        *("model", "messages", "system", "max_tokens", "stop_sequences", "temperature", "top_p", "top_k", "stream"),
        *("tools", "tool_choice", "thinking", "output_config", "output_format", "metadata", "service_tier"),
    )
)
_STOP_MAX = 4  # OpenAI and SiliconFlow refuse more
_INT_MAX = 2**31 - 1
_ROOM_MIN = 1024  # tokens of output that are tried as long as the estimate leaves them


@dataclass(frozen=True, slots=True)
class RequestOptions:
    """The target of a request, as far as translation depends on it."""

    model_id: str
    provider_name: str
    dialect: Dialect
    input_tokens_estimate: int
    signing_key: bytes
    session_id: str = ""  # the client's, where it has one
    context_window: int | None = None
    max_output_tokens: int | None = None
    capabilities: frozenset[str] | None = None  # None: unknown, nothing is withheld
    has_search: bool = False  # the gateway can run web searches
    attachments: Attachments = UNPREPARED

    def can(self, capability: str) -> bool:
        return self.capabilities is None or capability in self.capabilities


@dataclass(slots=True)
class ChatRequest:
    """A Chat Completions request and what the way back needs to know."""

    body: dict[str, Any]
    dropped_fields: list[str] = field(default_factory=list)
    tool_names: dict[str, str] = field(default_factory=dict)  # name sent upstream -> client's, where they differ
    tool_schemas: dict[str, dict[str, Any]] = field(default_factory=dict)  # client's name -> input schema
    known_tool_ids: frozenset[str] = frozenset()  # ids in the history, as the client knows them
    wants_json: bool = False  # the client gave a schema for the answer
    shows_thinking: bool = False
    omits_thinking: bool = False
    stop_sequences: list[str] = field(default_factory=list)
    single_tool_call: bool = False
    search: SearchTool | None = None  # the model may call it, and the gateway runs it
    cites_sources: bool = False  # the platform searches, and says in annotations what it found
    local_text: str | None = None  # not None: answer with this text and ask nobody
    local_stop_reason: str = "end_turn"


def to_chat_request(body: dict[str, Any], options: RequestOptions) -> ChatRequest:
    """Return the request for one target; `body` has passed `validate` and is not changed.

    Raises `InvalidRequest` where the request contradicts itself (tool_choice names no tool), has no content, or is
    nested deeper than encoders go. All else that cannot be expressed is left out and named in `dropped_fields`.
    """
    dialect = options.dialect
    dropped = [key for key in body if key not in _TRANSLATED]
    tools, choice, names, conversation, blocks = _translate_conversation(body, options)
    openai_messages = conversation.openai_messages()
    if keep_newest_images(openai_messages, dialect.images_max):
        blocks.note("block:image")
    response_format, schema_text = _response_format(body, dialect, dropped)
    thinking = requested_thinking(body)
    asked_thinking = thinking
    if not options.can("thinking"):
        thinking = Thinking("default")
    elif conversation.is_prefilled and dialect.thinking_dialect == "template":
        thinking = Thinking("off")  # llama.cpp: "Assistant response prefill is incompatible with enable_thinking"
    elif conversation.is_prefilled:
        thinking = Thinking("default")  # Claude's reasoning comes before all text, or not at all
    elif response_format is not None and dialect.thinking_dialect == "dashscope":
        thinking = Thinking("off")  # "Json mode response is not supported when enable_thinking is true"

    chat: dict[str, Any] = {"model": options.model_id}
    system = system_parts(body.get("system"), blocks) + conversation.system
    system.extend({"type": "text", "text": line} for line in (choice.instruction, schema_text) if line)
    if system:
        openai_messages.insert(0, system_message(system, keeps_parts=dialect.cache_control))
    if dialect.cache_control:
        limit_marks(openai_messages, keeps_ttl=dialect.cache_ttl)
    chat["messages"] = openai_messages
    if tools.functions:
        _add_tools(chat, tools, choice, dialect)
    if tools.native_search is not None and not choice.is_none:
        is_only = not tools.has_own_tools or forced_tool(body) == tools.native_search.name
        chat.update(native_parameters(dialect, tools.native_search, is_only=is_only))
    max_tokens = _max_tokens(body, options)
    if max_tokens is not None:
        chat[dialect.max_tokens_field] = max_tokens
    stop_sequences = _add_stop(chat, body, dialect, dropped)
    _add_sampling(chat, body, dialect, thinking, dropped)
    chat.update(thinking_parameters(thinking, dialect, model_id=options.model_id, max_tokens=max_tokens))
    if conversation.is_prefilled and dialect.thinking_dialect == "template":
        chat.update(continue_final_message=True, add_generation_prompt=False)  # vLLM, SGLang
    if response_format is not None:
        chat["response_format"] = response_format
    _add_identity(chat, body, options, dropped)
    chat["stream"] = True
    if dialect.stream_options:
        chat["stream_options"] = {"include_usage": True}

    request = ChatRequest(
        body=chat,
        dropped_fields=list(dict.fromkeys(dropped + tools.dropped + blocks.dropped)),
        tool_names=names.changed(),
        tool_schemas=tools.schemas,
        known_tool_ids=frozenset(conversation.tool_ids),
        wants_json=response_format is not None or schema_text is not None,
        shows_thinking=asked_thinking.is_shown,
        omits_thinking=asked_thinking.is_omitted,
        stop_sequences=stop_sequences,
        single_tool_call=choice.is_single,
        search=tools.search,
        # A list behind it would break an answer that must be JSON.
        cites_sources=tools.native_search is not None and response_format is None and schema_text is None,
    )
    _decide_local_answer(request, body, tools, choice)
    return request


def _translate_conversation(
    body: dict[str, Any], options: RequestOptions
) -> tuple[ToolSet, ToolChoice, ToolNames, Conversation, BlockTranslator]:
    dialect = options.dialect
    names = ToolNames(dialect)
    definitions = body.get("tools")
    if isinstance(definitions, list):
        for tool in definitions:
            if isinstance(tool, dict) and isinstance(tool.get("name"), str) and tool["name"]:
                names.upstream(tool["name"])
    blocks = BlockTranslator(
        vision=dialect.vision and options.can("vision"),
        pdf=dialect.pdf,
        pdf_by_url=dialect.thinking_dialect == "openrouter",
        cache_control=dialect.cache_control,
        image_urls=dialect.image_urls,
        attachments=options.attachments,
    )
    conversation = Conversation(
        dialect=dialect,
        blocks=blocks,
        names=names,
        map_id=id_mapper(dialect.tool_id),
        replay=ReasoningReplay(dialect.reasoning_replay, options.provider_name, options.model_id, options.signing_key),
    )
    for position, message in enumerate(body["messages"]):
        conversation.add(message, position)
    if blocks.definitions and (definitions is None or isinstance(definitions, list)):
        definitions = [*(definitions or ()), *blocks.definitions]
    forced_name = forced_tool(body)
    can_search = {
        "drop": False,
        "native": searches_natively(dialect, options.model_id),
        "search": options.has_search and options.can("tools"),
    }
    tools = translate_tools(
        definitions,
        names=names,
        dialect=dialect,
        revealed=blocks.revealed,
        forced_name=forced_name,
        server_tools=dialect.server_tools if can_search[dialect.server_tools] else "drop",
    )
    native_name = tools.native_search.name if tools.native_search is not None else None
    if forced_name is not None and (forced_name in tools.server_tools or forced_name == native_name):
        choice = ToolChoice()
    else:
        choice = translate_choice(body, tools, names, dialect)
    if tools.functions and not options.can("tools"):
        tools.functions = []
        tools.dropped.append("tools")
    if choice.is_none and dialect.thinking_dialect == "ollama":
        tools.functions = []  # Ollama ignores tool_choice
    if not tools.functions:
        choice = ToolChoice(is_none=choice.is_none)
        tools.search = None
    return tools, choice, names, conversation, blocks


def _add_tools(chat: dict[str, Any], tools: ToolSet, choice: ToolChoice, dialect: Dialect) -> None:
    chat["tools"] = tools.functions
    if choice.value is not None:
        chat["tool_choice"] = choice.value
    if not dialect.parallel_tool_calls:
        return
    if choice.is_single:
        chat["parallel_tool_calls"] = False
    elif dialect.thinking_dialect == "dashscope":
        chat["parallel_tool_calls"] = True  # off by default there


def _max_tokens(body: dict[str, Any], options: RequestOptions) -> int | None:
    """Return the limit to send: the client's, at most the model's and what the context leaves.

    Claude Code asks for 128,000 by default, far above most models. The estimate may be some percent low, hence the
    margin; where it leaves under 1,024 tokens those are tried anyway.
    """
    wanted = whole_number(body.get("max_tokens"))
    limits = [limit for limit in (wanted, options.max_output_tokens) if limit is not None]
    if not limits:
        return None
    limit = min(limits)
    if options.context_window is not None:
        left = options.context_window - options.input_tokens_estimate
        margin = 256 + options.input_tokens_estimate // 20
        limit = min(limit, max(left - margin, min(left, _ROOM_MIN)))
    return max(1, min(limit, _INT_MAX))


def _add_stop(chat: dict[str, Any], body: dict[str, Any], dialect: Dialect, dropped: list[str]) -> list[str]:
    """Write `stop` and return all usable stop sequences of the client."""
    sequences = body.get("stop_sequences")
    if isinstance(sequences, str):
        sequences = [sequences]
    if not isinstance(sequences, list):
        if sequences is not None:
            dropped.append("stop_sequences")
        return []
    usable = [text for text in dict.fromkeys(s for s in sequences if isinstance(s, str)) if text and not text.isspace()]
    if len(usable) > _STOP_MAX or (usable and not dialect.stop):
        dropped.append("stop_sequences")
    if usable and dialect.stop:
        chat["stop"] = usable[:_STOP_MAX]
    return usable


def _add_sampling(
    chat: dict[str, Any], body: dict[str, Any], dialect: Dialect, thinking: Thinking, dropped: list[str]
) -> None:
    # With thinking on, the Messages API only allowed temperature 1, and reasoning models refuse the parameter.
    thinks = thinking.is_on and dialect.thinking and dialect.thinking_dialect != "none"
    takes_temperature = dialect.sampling and not thinks
    for key, is_taken, highest in (("temperature", takes_temperature, 2), ("top_p", dialect.sampling, 1)):
        value = body.get(key)
        if value is None:
            continue
        is_usable = isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= highest
        if is_taken and is_usable and math.isfinite(value):
            chat[key] = value
        else:
            dropped.append(key)
    top_k = body.get("top_k")
    if top_k is None:
        return
    number = whole_number(top_k)
    if dialect.top_k and number and number <= _INT_MAX:
        chat["top_k"] = number
    else:
        dropped.append("top_k")


def _response_format(
    body: dict[str, Any], dialect: Dialect, dropped: list[str]
) -> tuple[dict[str, Any] | None, str | None]:
    """Return `response_format`, or the line for the system prompt of a platform that has none."""
    output_config = body.get("output_config")
    wanted: Any = None
    if isinstance(output_config, dict):
        wanted = output_config.get("format")
        dropped.extend(f"output_config.{key}" for key in output_config if key not in ("format", "effort"))
    elif output_config is not None:
        dropped.append("output_config")
    if wanted is None:
        wanted = body.get("output_format")  # its name before it moved into output_config
    if wanted is None:
        return None, None
    schema = wanted.get("schema") if isinstance(wanted, dict) and wanted.get("type") == "json_schema" else None
    if not isinstance(schema, dict):
        dropped.append("output_config.format")
        return None, None
    schema = output_schema(schema, dialect.schema_sanitizer, "output_config.format.schema")
    if not dialect.json_schema:
        return None, wish_for_schema(schema)
    named: dict[str, Any] = {"name": "output", "schema": schema}
    if dialect.strict_json and qualifies_for_strict(schema):
        named["strict"] = True
    return {"type": "json_schema", "json_schema": named}, None


def _add_identity(chat: dict[str, Any], body: dict[str, Any], options: RequestOptions, dropped: list[str]) -> None:
    """Write what few platforms take: a user id and the service tier (OpenAI), a key for the prompt cache.

    Claude Code's user id names device, account and session. None of them goes out but as a keyed hash.
    """
    if options.dialect.prompt_cache_key and options.session_id:
        chat["prompt_cache_key"] = _keyed_hash("session", options.session_id, options.signing_key)
    is_openai = options.dialect.thinking_dialect == "openai"
    metadata = body.get("metadata")
    if metadata is not None:
        user_id = metadata.get("user_id") if isinstance(metadata, dict) else None
        if is_openai and isinstance(user_id, str) and user_id:
            chat["user"] = _keyed_hash("user", user_id, options.signing_key)
        else:
            dropped.append("metadata")
    tier = body.get("service_tier")
    if tier is not None:
        if is_openai and tier in ("auto", "standard_only"):
            chat["service_tier"] = "auto" if tier == "auto" else "default"
        else:
            dropped.append("service_tier")


def _keyed_hash(kind: str, value: str, key: bytes) -> str:
    """Return 32 characters that stand for `value` and nothing else of its kind; OpenAI takes up to 64."""
    raw = f"{kind}:{value}".encode("utf-8", "surrogatepass")
    return hmac.new(key, raw, hashlib.sha256).hexdigest()[:32]


def _decide_local_answer(request: ChatRequest, body: dict[str, Any], tools: ToolSet, choice: ToolChoice) -> None:
    """Answer without an upstream what no upstream can do.

    max_tokens 0 only warms Anthropic's prompt cache. Claude Code's WebSearch asks, in a request of its own, for
    nothing but a web search: a model without it would make results up.
    """
    if whole_number(body.get("max_tokens")) == 0:
        request.local_text = ""
        request.local_stop_reason = "max_tokens"
        return
    forced_name = forced_tool(body)
    if forced_name in tools.server_tools:
        kind = tools.server_tools[forced_name]
        request.local_text = unavailable_text(kind) or f"The tool {forced_name[:128]} is not available here."
    elif tools.search is not None or tools.native_search is not None:
        return
    elif tools.server_tools and not tools.has_own_tools and not choice.is_none:
        texts = (unavailable_text(kind) for kind in tools.server_tools.values())
        request.local_text = next((text for text in texts if text), None)
