"""Token usage: OpenAI's overlapping counters to Anthropic's disjoint ones (reference: Chat Completions `usage`)."""

from dataclasses import dataclass
from decimal import Decimal


@dataclass(slots=True)
class Usage:
    """The four disjoint token classes of a call; `thinking_tokens` is part of `output_tokens`.

    `cost` is what the upstream itself reported, in USD, or None.
    """

    input_tokens: int = 0
    output_tokens: int = 0
    cache_read_tokens: int = 0
    cache_write_tokens: int = 0
    thinking_tokens: int = 0
    cost: Decimal | None = None
    is_estimated: bool = False
