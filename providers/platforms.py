"""What single vendors and model families take that their wire format leaves open, as rows of dialect flags.

Sources: the vendors' API references, read 2026-05 to 2026-11. A row says only what differs from
`providers.translation.dialect.Dialect`; a provider's or model's own `flags` override it.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

Flags = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class ModelRule:
    """Flags of the models whose lower-cased id matches `pattern` (searched); a later rule overrides an earlier one."""

    pattern: re.Pattern[str]
    flags: Flags


@dataclass(frozen=True, slots=True)
class Vendor:
    """A vendor behind an OpenAI-compatible address, known by the end of its host name."""

    hosts: tuple[str, ...]
    flags: Flags = field(default_factory=dict)
    model_rules: tuple[ModelRule, ...] = ()
    auth_style: str = "bearer"
    balance_path: str = ""  # an authenticated, free GET of the host that tells what is left to spend


def _rule(pattern: str, **flags: Any) -> ModelRule:
    return ModelRule(re.compile(pattern), flags)


_OPENAI_RULES = (
    # Before the reasoning families: no reasoning_effort.
    _rule(r"^(ft:)?(gpt-4|gpt-3|chatgpt-4o)", thinking=False),
    # Reasoning models refuse temperature, top_p and stop.
    _rule(r"^(ft:)?(gpt-[5-9]|o\d)", sampling=False, stop=False),
    _rule(r"^(ft:)?o\d", parallel_tool_calls=False),
)
_OPENAI_FLAGS: Flags = {
    "max_tokens_field": "max_completion_tokens",
    "thinking_dialect": "openai",
    "system_mid": "preserve",
    "tool_id": "openai40",
    "pdf": True,
    "strict_json": True,
    "prompt_cache_key": True,
}

VENDORS = (
    Vendor(("api.openai.com",), _OPENAI_FLAGS, _OPENAI_RULES),
    Vendor(
        # The model is a deployment's name, which tells nothing of the family: flags of the row must.
        (".openai.azure.com", ".services.ai.azure.com", ".cognitiveservices.azure.com"),
        _OPENAI_FLAGS,
        _OPENAI_RULES,
        auth_style="api-key",
    ),
    Vendor(
        ("api.deepseek.com",),
        # Thinking mode refuses a forced tool, and a tool call in the history without its reasoning_content.
        {
            "thinking_dialect": "deepseek",
            "reasoning_replay": "reasoning_content",
            "forced_tools": False,
            "vision": False,
            "json_schema": False,
        },
        balance_path="/user/balance",
    ),
    Vendor(
        (".moonshot.cn", ".moonshot.ai"),
        {
            "reasoning_replay": "reasoning_content",
            "forced_tools": False,
            "prompt_cache_key": True,
            "image_urls": False,
        },
        (
            _rule(r"k2\.[56]", thinking_dialect="deepseek", sampling=False),
            _rule(r"k2\.7|k3", sampling=False),
        ),
        balance_path="/v1/users/me/balance",
    ),
    Vendor(
        (".bigmodel.cn", "api.z.ai"),
        {
            "thinking_dialect": "deepseek",
            "reasoning_replay": "reasoning_content",
            "forced_tools": False,
            "json_schema": False,  # response_format knows text and json_object
            "null_content": "",
            "image_gif": False,
            "image_webp": False,
            "image_max_bytes": 5 * 1024 * 1024,
            "image_max_edge": 6000,
        },
        (_rule(r"glm-[0-9.]+(?!v)(?:-|$)", vision=False), _rule(r"glm-[0-9.]+v", vision=True)),
    ),
    Vendor((".minimax.io", ".minimaxi.com"), {"think_tags": True}),
    Vendor(
        ("api.groq.com",),
        # A request with images in it has 4 MB, an image 33 megapixels.
        {"think_tags": True, "image_max_bytes": 3_500_000, "image_max_edge": 5760, "images_max": 5},
    ),
    Vendor(("api.together.ai", "api.together.xyz"), {"think_tags": True, "top_k": True}),
)

# 百炼 in OpenAI mode. Hybrid models switch by enable_thinking; the others answer 400 to the field.
DASHSCOPE_RULES = (
    _rule(r"qwen|qwq|qvq|deepseek|kimi", reasoning_replay="reasoning_content"),
    _rule(r"coder|instruct|tongyi|qwen2|qwen-turbo-0|-mt-", thinking=False, reasoning_replay="drop"),
    # These think always, and refuse enable_thinking: false.
    # A format for the answer is refused while a model thinks.
    _rule(r"qwq|qvq|-thinking|deepseek-r1|kimi-k2\.7", thinking=False, json_schema=False),
    _rule(r"coder|deepseek|glm|tongyi|qwq|qwen3\.7-max", vision=False),
    # Without a stream these refuse or answer nothing ("Qwen-Omni", "Text generation FAQ", read 2026-11); of the open
    # Qwen3 models those that think unless they are told not to.
    _rule(r"qwq|qvq|omni|^qwen3-\d+(\.\d+)?b(?!.*instruct)", stream_only=True),
    # The models for which explicit caching is documented ("Context cache", read 2026-10). Snapshots of them are not.
    _rule(
        r"^(qwen3(\.\d+)?-(max|plus|flash)|qwen-(plus|flash)|qwen3-(coder|vl)-(plus|flash)|deepseek-v3\.2"
        r"|kimi-k2\.[56]|glm-5\.1)(-preview)?$",
        cache_control=True,
        cache_ttl=False,
    ),
)

# Marks in content blocks are honoured for these; elsewhere they are ignored or refused.
OPENROUTER_RULES = (
    _rule(r"^~?(anthropic/|google/gemini|qwen/|minimax/|z-ai/)", cache_control=True),
    _rule(r"^~?anthropic/", cache_ttl=True),
    _rule(r"^~?openai/(gpt-[5-9]|o\d)", sampling=False, stop=False),
    # "Prefilling assistant messages is not supported for this model." OpenAI's take it for a turn that is over.
    _rule(r"^~?(openai/|anthropic/claude-[a-z]+-([5-9]|4\.[6-9]))", prefill=False),
    _rule(r"^~?anthropic/", image_max_bytes=5 * 1024 * 1024, image_max_edge=8000),
)

# enable_thinking is refused by every model that is not a hybrid.
SILICONFLOW_RULES = (
    _rule(r"instruct|coder|-thinking|qwq|qwen2|deepseek-(r1|v3$|v2)|glm-4-|internlm|ernie", thinking=False),
)


def vendor_of(host: str) -> Vendor | None:
    """Return the vendor that answers at `host`, or None."""
    host = host.lower()
    for vendor in VENDORS:
        if any(host == end.lstrip(".") or host.endswith(end if end[0] == "." else f".{end}") for end in vendor.hosts):
            return vendor
    return None
