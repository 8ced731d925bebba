"""What a platform's Messages endpoint takes of the Anthropic protocol: one frozen row per kind of platform.

Claude Code sends what Anthropic's own API takes, betas included; most "compatible" endpoints take less. A provider's
and a model's `flags` override single fields. Sources: the platforms' API references (DashScope, OpenRouter,
SiliconFlow, Ollama, LM Studio, llama.cpp, DeepSeek, MiniMax), read 2026-05 to 2026-11; of what a reference does not
mention, only what a strict server may refuse is left out.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from providers.platforms import ModelRule


@dataclass(frozen=True, slots=True)
class NativeDialect:
    """What one platform's, or model's, Messages endpoint takes. The names are those of the file's `flags`.

    The defaults are those of an endpoint that takes the documented API and no beta.
    """

    # as_sent; budget: "adaptive" becomes "enabled" with a budget; none: the field is not known
    native_thinking: Literal["as_sent", "budget", "none"] = "budget"
    # Messages of the role "system" in mid-conversation stay, or become <system-reminder> text of user messages.
    native_system: Literal["preserve", "fold"] = "fold"
    # The header anthropic-beta goes up, and with it the fields of the body that belong to betas.
    native_betas: bool = False
    native_effort: bool = False  # output_config.effort is understood
    native_metadata: bool = True
    native_cache_control: bool = False
    native_image_urls: bool = True
    # Blocks of documents and search results; elsewhere they are refused, or dropped without a word, and go as text.
    native_documents: bool = False
    native_tool_search: bool = False  # defer_loading, tool_reference, eager_input_streaming
    # Thinking blocks without a signature in the history: Anthropic's API answers 400, most others wrote them.
    native_unsigned_thinking: bool = True
    native_billing_header: bool = False  # Claude Code's x-anthropic-billing-header: only Anthropic's API removes it
    native_max_tokens: Literal["as_sent", "clamp"] = "clamp"  # to the model's output limit, where known
    native_count_tokens: bool = False  # /v1/messages/count_tokens exists
    # A trailing assistant message is continued. Of no weight for what a body must look like: `is_anthropic` ignores it.
    native_prefill: bool = field(default=False, compare=False)

    @property
    def is_anthropic(self) -> bool:
        """Say whether the body may go as it is, but for foreign thinking blocks."""
        return self is ANTHROPIC or self == ANTHROPIC


ANTHROPIC = NativeDialect(
    native_thinking="as_sent",
    native_system="preserve",
    native_betas=True,
    native_effort=True,
    native_cache_control=True,
    native_documents=True,
    native_tool_search=True,
    native_unsigned_thinking=False,
    native_billing_header=True,
    native_max_tokens="as_sent",
    native_count_tokens=True,
)

# By kind of provider.
ROWS: Mapping[str, NativeDialect] = {
    "anthropic_compatible": ANTHROPIC,
    # vLLM, SGLang and others whose OpenAI side is the known one.
    "openai_compatible": NativeDialect(),
    "dashscope": NativeDialect(native_cache_control=True),
    "openrouter": NativeDialect(
        native_thinking="as_sent",
        native_betas=True,
        native_effort=True,
        native_cache_control=True,
        native_documents=True,
    ),
    # Its reference names neither thinking nor metadata, and its validation is strict.
    "siliconflow": NativeDialect(native_thinking="none", native_metadata=False),
    # "adaptive" is the model's own default there; an image by URL is a 400.
    "ollama": NativeDialect(native_thinking="as_sent", native_effort=True, native_image_urls=False),
    "lmstudio": NativeDialect(native_image_urls=False),
    "llamacpp": NativeDialect(native_count_tokens=True),
    "deepseek": NativeDialect(native_effort=True),
    # Its models that see take images by base64 alone, on its other wire too.
    "kimi": NativeDialect(native_cache_control=True, native_image_urls=False),
    "zhipu": NativeDialect(native_cache_control=True),
    "minimax": NativeDialect(native_thinking="as_sent", native_cache_control=True),
}
# Claude up to 4.5: later models answer a prefill with 400.
_PREFILLED_CLAUDE = r"claude-(?:3|(?:opus|sonnet|haiku)-(?:3|4(?:[-.][015])?(?:-20\d{6})?$))"
_RULES: Mapping[str, tuple[ModelRule, ...]] = {
    "anthropic_compatible": (ModelRule(re.compile("^" + _PREFILLED_CLAUDE), {"native_prefill": True}),),
    # Anthropic's own models behind OpenRouter: Anthropic's rules, but for what OpenRouter keeps to itself.
    "openrouter": (
        ModelRule(
            re.compile(r"^~?anthropic/"),
            {"native_system": "preserve", "native_tool_search": True, "native_unsigned_thinking": False},
        ),
        ModelRule(re.compile("^~?anthropic/" + _PREFILLED_CLAUDE), {"native_prefill": True}),
    ),
}


def native_dialect_for(
    kind: str, provider_flags: Mapping[str, Any], model_flags: Mapping[str, Any], *, model_id: str = ""
) -> NativeDialect:
    """Return the dialect of a model: its kind's row, its family's rules, the provider's and the model's flags in turn.

    The flags are valid ones (see `providers.presets.valid_flags`); those of the other wire format are passed over.
    """
    merged: dict[str, Any] = {}
    for one in _RULES.get(kind, ()):
        if one.pattern.search(model_id.lower()):
            merged.update(one.flags)
    for flags in (provider_flags, model_flags):
        merged.update((name, value) for name, value in flags.items() if name.startswith("native_"))
    return replace(ROWS[kind], **merged) if merged else ROWS[kind]


def refined(kind: str, dialect: NativeDialect, model_id: str) -> NativeDialect:
    """Return the dialect of a row for any model, for one model: with its family's rules, where no flag decided."""
    row = ROWS[kind]
    changes = {
        name: value
        for one in _RULES.get(kind, ())
        if one.pattern.search(model_id.lower())
        for name, value in one.flags.items()
        if getattr(dialect, name) == getattr(row, name)
    }
    return replace(dialect, **changes) if changes else dialect
