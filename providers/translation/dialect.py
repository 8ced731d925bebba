"""What an OpenAI-compatible platform takes and gives that others do not: one frozen row per dialect.

A preset (providers/presets.py) names its differences from these conservative defaults; a provider's and a model's
`flags` override single fields.
"""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class Dialect:
    """The dialect of one platform or model. The names are those of the configuration file's `flags`."""

    max_tokens_field: Literal["max_tokens", "max_completion_tokens"] = "max_tokens"
    stream_options: bool = True
    stream_only: bool = False  # asked without a stream it refuses: the stream is put together for the client
    sampling: bool = True  # temperature and top_p are accepted
    top_k: bool = False
    stop: bool = True
    thinking_dialect: Literal[
        "none", "openai", "openrouter", "dashscope", "siliconflow", "template", "deepseek", "ollama"
    ] = "none"
    thinking: bool = True  # the dialect's reasoning parameters are accepted
    reasoning_replay: Literal["drop", "reasoning_content", "reasoning", "reasoning_details"] = "drop"
    think_tags: bool = False  # reasoning may come as <think>…</think> at the very start of the content
    forced_tools: bool = True  # tool_choice "required" or a named function works
    parallel_tool_calls: bool = True  # the parameter is accepted
    tool_images: Literal["inline", "hoist"] = "hoist"
    vision: bool = True
    pdf: bool = False
    # Images beyond these are converted or scaled before they go out; PNG and JPEG are taken everywhere.
    image_urls: bool = True  # the platform fetches images by URL
    image_gif: bool = True
    image_webp: bool = True
    image_max_bytes: int = 32 * 1024 * 1024  # of one data URI; no request that we take is larger
    image_max_edge: int = 65_535  # pixels of the longer side; a JPEG has no more
    images_max: int = 10_000  # per request
    system_mid: Literal["preserve", "fold"] = "fold"
    cache_control: bool = False  # cache marks on content parts are read
    cache_ttl: bool = True  # and so is the time to live in them
    prompt_cache_key: bool = False  # the parameter is accepted: calls with one key share a prompt cache
    tool_id: Literal["any", "openai40", "mistral9", "alnum64"] = "any"
    tool_name_max: int = 64
    schema_sanitizer: Literal["none", "gemini", "llama"] = "none"
    json_schema: bool = True  # response_format json_schema works; else the schema goes into the system prompt
    strict_json: bool = False  # "strict": true is understood
    buffer_tool_args: bool = False  # hold a call's arguments until complete and repair them
    tool_text_parser: bool = False  # calls leaked as <tool_call> text are parsed
    no_empty_tool: bool = False  # an empty tool result is rejected
    null_content: Literal["", None] = None  # content of an assistant message that holds only calls
    prefill: bool = False  # a trailing assistant message is continued; else a user message asks for that
    lenient_eof: bool = False  # the end of the body without finish_reason and [DONE] is a normal end
    reasoning_excluded: bool = False  # completion_tokens does not contain the reasoning tokens
    content_filter_as: Literal["refusal", "end_turn"] = "refusal"
    # Web search: left out, asked of the platform, or run by the gateway where its settings name a search backend.
    server_tools: Literal["drop", "native", "search"] = "search"
