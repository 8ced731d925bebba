"""Extended thinking: what the client asks for, how each platform is told, and how earlier reasoning is replayed."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from providers.translation import signature
from providers.translation.dialect import Dialect
from providers.translation.validation import whole_number

_EFFORTS = ("minimal", "low", "medium", "high", "xhigh", "max")
_BUDGET_MIN = 1024  # the least the Messages API and OpenRouter take


@dataclass(frozen=True, slots=True)
class Thinking:
    """What a request asks of the model's reasoning."""

    level: str  # "off", "default" (nothing was asked) or one of minimal, low, medium, high, xhigh, max
    budget_tokens: int | None = None
    is_shown: bool = False
    is_omitted: bool = False  # shown as blocks with empty text (display "omitted")

    @property
    def is_on(self) -> bool:
        return self.level not in ("off", "default")


def requested_thinking(body: dict[str, Any]) -> Thinking:
    """Return what `thinking` and `output_config.effort` ask for; wrong types count as absent."""
    output_config = body.get("output_config")
    effort = output_config.get("effort") if isinstance(output_config, dict) else None
    if not isinstance(effort, str) or effort not in _EFFORTS:
        effort = None
    thinking = body.get("thinking")
    kind = thinking.get("type") if isinstance(thinking, dict) else None
    if kind == "disabled":
        return Thinking("off")  # subagents of Claude Code send an effort beside it
    is_omitted = isinstance(thinking, dict) and thinking.get("display") == "omitted"
    if kind == "enabled" and isinstance(thinking, dict):
        budget = whole_number(thinking.get("budget_tokens"))
        if budget:
            return Thinking(_level_of(budget), budget, is_shown=True, is_omitted=is_omitted)
    if kind in ("enabled", "adaptive", "between_tools"):
        return Thinking(effort or "medium", is_shown=True, is_omitted=is_omitted)
    if effort is not None:
        return Thinking(effort, is_shown=True)
    return Thinking("default")


def thinking_parameters(
    thinking: Thinking, dialect: Dialect, *, model_id: str, max_tokens: int | None
) -> dict[str, Any]:
    """Return the body fields that tell a platform of this dialect; empty when nothing was asked.

    `max_tokens` is the limit that is sent: a reasoning budget must leave room for the answer.
    """
    if thinking.level == "default" or not dialect.thinking:
        return {}
    is_on, level, budget = thinking.is_on, thinking.level, thinking.budget_tokens
    match dialect.thinking_dialect:
        case "openai":
            return {"reasoning_effort": level if is_on else "none"}
        case "ollama":
            # Ollama's OpenAI route takes none, low, medium, high and max, and answers 400 to other words.
            named = {"off": "none", "minimal": "low", "xhigh": "high"}
            return {"reasoning_effort": named.get(level, level)}
        case "openrouter":
            return {"reasoning": _openrouter(thinking, max_tokens)}
        case "dashscope":
            return _switch(is_on, budget)
        case "siliconflow":
            return _switch(is_on, None if budget is None else min(max(budget, 128), 32_768))
        case "deepseek":
            if not is_on:
                return {"thinking": {"type": "disabled"}}  # an effort beside it is a 400
            efforts = {"minimal": "low", "low": "low", "xhigh": "max", "max": "max"}
            return {"thinking": {"type": "enabled"}, "reasoning_effort": efforts.get(level, "high")}
        case "template":
            return _template(thinking, model_id)
        case _:
            return {}


def _level_of(budget_tokens: int) -> str:
    """Return the effort nearest to a budget, by LiteLLM's thresholds."""
    if budget_tokens < 1024:
        return "minimal"
    if budget_tokens < 2048:
        return "low"
    return "medium" if budget_tokens < 4096 else "high"


def _switch(is_on: bool, budget_tokens: int | None) -> dict[str, Any]:
    parameters: dict[str, Any] = {"enable_thinking": is_on}
    if is_on and budget_tokens is not None:
        parameters["thinking_budget"] = min(budget_tokens, 2**31 - 1)
    return parameters


def _openrouter(thinking: Thinking, max_tokens: int | None) -> dict[str, Any]:
    """Return OpenRouter's `reasoning`: a budget or an effort, never both; the budget counts against max_tokens."""
    if not thinking.is_on:
        return {"enabled": False}
    budget = thinking.budget_tokens
    if budget is not None and max_tokens is not None:
        budget = min(budget, max_tokens * 4 // 5)
    if budget is not None and budget >= _BUDGET_MIN:
        return {"max_tokens": min(budget, 2**31 - 1)}
    return {"effort": thinking.level}


def _template(thinking: Thinking, model_id: str) -> dict[str, Any]:
    """Return the fields for servers that render a chat template: vLLM, SGLang, llama.cpp, LM Studio."""
    switches: dict[str, Any] = {"enable_thinking": thinking.is_on}
    name = model_id.lower()
    if "deepseek" in name or "glm" in name or "kimi" in name:
        switches["thinking"] = thinking.is_on  # the word their templates read
    parameters: dict[str, Any] = {"chat_template_kwargs": switches}
    if thinking.is_on:
        efforts = {"minimal": "low", "xhigh": "high", "max": "high"}  # vLLM refuses any but low, medium, high
        parameters["reasoning_effort"] = efforts.get(thinking.level, thinking.level)
        if thinking.budget_tokens is not None:
            parameters["thinking_budget_tokens"] = min(thinking.budget_tokens, 2**31 - 1)  # llama.cpp
    return parameters


@dataclass(frozen=True, slots=True)
class ReasoningReplay:
    """How the reasoning of earlier assistant turns goes back to one target."""

    style: str  # a dialect's `reasoning_replay`
    provider_name: str
    model_id: str
    signing_key: bytes

    def fields(self, blocks: Iterable[dict[str, Any]], *, has_calls: bool) -> dict[str, Any]:
        """Return the keys to add to an assistant message, from its thinking blocks.

        DeepSeek and its kind answer 400 to a message with tool calls but without `reasoning_content`, even in
        histories other models wrote, so the key is then sent empty. OpenRouter's `reasoning_details` must go back
        as they came and only to the model that wrote them; our signature carries them.
        """
        if self.style == "drop" or (self.style != "reasoning_details" and not has_calls):
            return {}
        texts: list[str] = []
        details: list[Any] = []
        for block in blocks:
            text = block.get("thinking")
            needs_sealed = not text or self.style == "reasoning_details"
            sealed = self._sealed(block.get("signature")) if needs_sealed else None
            if not text and sealed is not None:
                text = sealed.get("t")
            if isinstance(text, str):
                texts.append(text)
            if sealed is not None and self._wrote(sealed) and isinstance(sealed.get("d"), list):
                details.extend(sealed["d"])
        if self.style == "reasoning_details":
            return {"reasoning_details": details} if details else {}
        reasoning = "".join(texts)
        if self.style == "reasoning_content":
            return {"reasoning_content": reasoning}
        return {"reasoning": reasoning} if reasoning else {}

    def _sealed(self, value: Any) -> dict[str, Any] | None:
        if isinstance(value, str) and signature.is_ours(value):
            return signature.unseal(value, self.signing_key)
        return None

    def _wrote(self, sealed: dict[str, Any]) -> bool:
        return bool(sealed.get("p") == self.provider_name and sealed.get("m") == self.model_id)
