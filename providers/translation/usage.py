"""Token usage: OpenAI's overlapping counters to Anthropic's disjoint ones (reference: Chat Completions `usage`)."""

from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from typing import Any

# More than any call can use: a larger number is a broken counter, and would not fit the books.
_MAX_TOKENS = 2**40


@dataclass(slots=True)
class Usage:
    """The four disjoint token classes of a call.

    `thinking_tokens` is part of `output_tokens`, `cache_write_1h_tokens` (kept for an hour, at a price of its own) of
    `cache_write_tokens`.
    `cost` is what the upstream itself reported, in USD, or None.
    """

    input_tokens: int = 0
    output_tokens: int = 0
    cache_read_tokens: int = 0
    cache_write_tokens: int = 0
    thinking_tokens: int = 0
    web_search_requests: int = 0
    cost: Decimal | None = None
    is_estimated: bool = False
    requests: int = 1  # to the model, that this is the sum of
    cache_write_1h_tokens: int = 0

    @property
    def prompt_tokens(self) -> int:
        """The whole prompt: what OpenAI calls `prompt_tokens`."""
        return self.input_tokens + self.cache_read_tokens + self.cache_write_tokens


def from_openai(usage: Any, *, reasoning_excluded: bool = False) -> Usage | None:
    """Return the usage of a Chat Completions answer, or None when it says nothing (no object, or only zeros).

    Cached tokens: `prompt_tokens_details.cached_tokens` (OpenAI), `prompt_cache_hit_tokens` (DeepSeek),
    `cached_tokens` (Kimi), `cache_read_input_tokens` (relays of Anthropic). `prompt_tokens` contains them, except
    where they exceed it: such an upstream already counts disjointly. With `reasoning_excluded`, `completion_tokens`
    lacks the reasoning tokens.
    """
    if not isinstance(usage, dict):
        return None
    prompt = _first(usage, ("prompt_tokens", "input_tokens"))
    output = _first(usage, ("completion_tokens", "output_tokens"))
    prompt_details = _details(usage, ("prompt_tokens_details", "input_tokens_details"))
    cached = _first(prompt_details, ("cached_tokens",)) or _first(
        usage, ("prompt_cache_hit_tokens", "cached_tokens", "cache_read_input_tokens")
    )
    write_names = (
        "cache_write_tokens",
        "cache_creation_tokens",
        "cached_creation_tokens",
        "cache_creation_input_tokens",
    )
    written = _first(prompt_details, write_names) or _first(usage, write_names)
    thinking = _first(
        _details(usage, ("completion_tokens_details", "output_tokens_details")), ("reasoning_tokens", "thinking_tokens")
    ) or _first(usage, ("reasoning_tokens",))
    if not output:
        output = max(_count(usage.get("total_tokens")) - prompt, 0) if prompt else 0
    if reasoning_excluded:
        output += thinking
    cost = _cost(usage.get("cost"))
    if not (prompt or output or cached or written):
        return None
    is_disjoint = cached + written > prompt
    return Usage(
        input_tokens=prompt if is_disjoint else prompt - cached - written,
        output_tokens=output,
        cache_read_tokens=cached,
        cache_write_tokens=written,
        cache_write_1h_tokens=min(_written_for_1h(usage), written),
        thinking_tokens=min(thinking, output),
        web_search_requests=_searches(usage),
        cost=cost,
    )


def combine(earlier: Usage | None, later: Usage) -> Usage:
    """Return `later`, with the sides that it leaves at zero taken from `earlier`.

    Upstreams report usage once, on every chunk with growing numbers (vLLM, xAI), or the prompt first and the output
    last.
    """
    if earlier is None:
        return later
    if not later.prompt_tokens:
        later.input_tokens = earlier.input_tokens
        later.cache_read_tokens = earlier.cache_read_tokens
        later.cache_write_tokens = earlier.cache_write_tokens
        later.cache_write_1h_tokens = earlier.cache_write_1h_tokens
    if not later.output_tokens:
        later.output_tokens = earlier.output_tokens
        later.thinking_tokens = earlier.thinking_tokens
    later.web_search_requests = max(later.web_search_requests, earlier.web_search_requests)
    if later.cost is None:
        later.cost = earlier.cost
    return later


def add(first: Usage, second: Usage) -> Usage:
    """Return the usage of two requests together; the cost is known only if it is known of both."""
    return Usage(
        input_tokens=first.input_tokens + second.input_tokens,
        output_tokens=first.output_tokens + second.output_tokens,
        cache_read_tokens=first.cache_read_tokens + second.cache_read_tokens,
        cache_write_tokens=first.cache_write_tokens + second.cache_write_tokens,
        cache_write_1h_tokens=first.cache_write_1h_tokens + second.cache_write_1h_tokens,
        thinking_tokens=first.thinking_tokens + second.thinking_tokens,
        web_search_requests=first.web_search_requests + second.web_search_requests,
        cost=first.cost + second.cost if first.cost is not None and second.cost is not None else None,
        is_estimated=first.is_estimated or second.is_estimated,
        requests=first.requests + second.requests,
    )


def to_anthropic(usage: Usage) -> dict[str, Any]:
    """Return the `usage` object of a message and of `message_delta`.

    `input_tokens` is at least 1: Claude Code keeps the estimate of `message_start` when it finds 0 (version 2.1.330),
    and a fully cached prompt has 0.
    """
    answer: dict[str, Any] = {
        "input_tokens": max(usage.input_tokens, 1),
        "cache_creation_input_tokens": usage.cache_write_tokens,
        "cache_read_input_tokens": usage.cache_read_tokens,
        "cache_creation": {
            "ephemeral_5m_input_tokens": usage.cache_write_tokens - usage.cache_write_1h_tokens,
            "ephemeral_1h_input_tokens": usage.cache_write_1h_tokens,
        },
        "output_tokens": usage.output_tokens,
        "service_tier": "standard",
    }
    if usage.thinking_tokens:
        answer["output_tokens_details"] = {"thinking_tokens": usage.thinking_tokens}
    if usage.web_search_requests:
        answer["server_tool_use"] = {"web_search_requests": usage.web_search_requests, "web_fetch_requests": 0}
    return answer


def from_anthropic(usage: Any) -> Usage:
    """Return the usage of an Anthropic message; what is missing or no number counts 0."""
    result = Usage()
    merge_anthropic(result, usage)
    return result


def merge_anthropic(into: Usage, usage: Any) -> None:
    """Take the larger of each counter: `message_delta` repeats, completes or leaves out those of `message_start`."""
    if not isinstance(usage, dict):
        return
    into.input_tokens = max(into.input_tokens, _count(usage.get("input_tokens")))
    into.output_tokens = max(into.output_tokens, _count(usage.get("output_tokens")))
    into.cache_read_tokens = max(into.cache_read_tokens, _count(usage.get("cache_read_input_tokens")))
    written, for_1h = _written(usage)
    into.cache_write_tokens = max(into.cache_write_tokens, written)
    into.cache_write_1h_tokens = min(max(into.cache_write_1h_tokens, for_1h), into.cache_write_tokens)
    details = _details(usage, ("output_tokens_details",))
    into.thinking_tokens = max(into.thinking_tokens, _count(details.get("thinking_tokens")))
    into.web_search_requests = max(into.web_search_requests, _searches(usage))
    cost = _cost(usage.get("cost"))
    if cost is not None:
        into.cost = cost


def update_anthropic(into: Usage, usage: Any) -> None:
    """Take each counter that is given: what `message_delta` says replaces the estimates of our own `message_start`."""
    new = from_anthropic(usage)
    into.input_tokens = new.input_tokens or into.input_tokens
    into.output_tokens = new.output_tokens or into.output_tokens
    into.cache_read_tokens = new.cache_read_tokens or into.cache_read_tokens
    if new.cache_write_tokens:
        into.cache_write_tokens, into.cache_write_1h_tokens = new.cache_write_tokens, new.cache_write_1h_tokens
    into.thinking_tokens = new.thinking_tokens or into.thinking_tokens


def _written(usage: dict[str, Any]) -> tuple[int, int]:
    """Return how many tokens an Anthropic usage says were written to the cache, and how many of them for an hour.

    `cache_creation` splits `cache_creation_input_tokens` by lifetime; it is all there is where that one is missing.
    """
    for_1h = _written_for_1h(usage)
    for_5m = _count(_details(usage, ("cache_creation",)).get("ephemeral_5m_input_tokens"))
    written = _count(usage.get("cache_creation_input_tokens")) or for_5m + for_1h
    return written, min(for_1h, written)


def _written_for_1h(usage: dict[str, Any]) -> int:
    """Return the tokens written to the cache for an hour (Anthropic; relays of it in either format)."""
    return _count(_details(usage, ("cache_creation",)).get("ephemeral_1h_input_tokens"))


def _searches(usage: dict[str, Any]) -> int:
    """Return how many web searches the platform ran (Anthropic and OpenRouter; 百炼 in `plugins`)."""
    plugins = _details(usage, ("plugins",))
    return _count(_details(usage, ("server_tool_use",)).get("web_search_requests")) or _count(
        _details(plugins, ("search",)).get("count")
    )


def _first(source: dict[str, Any], names: Iterable[str]) -> int:
    """Return the first positive count among the named members."""
    for name in names:
        count = _count(source.get(name))
        if count:
            return count
    return 0


def _details(usage: dict[str, Any], names: Iterable[str]) -> dict[str, Any]:
    for name in names:
        details = usage.get(name)
        if isinstance(details, dict):
            return details
    return {}


def _count(value: Any) -> int:
    """Return a token count; numbers in strings and whole floats occur, anything else is 0."""
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) < 14:
        value = int(value)
    if isinstance(value, float) and 0 <= value <= _MAX_TOKENS:
        value = int(value)
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= _MAX_TOKENS:
        return 0
    return value


def _cost(value: Any) -> Decimal | None:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        cost = Decimal(str(value))
    except (InvalidOperation, ValueError):
        return None
    # The upper bound keeps a broken number ("1e999") out of the books.
    return cost if cost.is_finite() and 0 <= cost < 1_000_000 else None
