"""Why an answer ended: `finish_reason` and its many dialects to Anthropic's `stop_reason`."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

Meaning = Literal["end", "length", "filtered", "error"]

_MEANINGS: dict[str, Meaning] = {
    "length": "length",
    "max_tokens": "length",
    "max_output_tokens": "length",
    "max_completion_tokens": "length",
    "model_length": "length",  # Mistral
    "content_filter": "filtered",
    "safety": "filtered",  # Gemini
    "sensitive": "filtered",  # GLM
    "refusal": "filtered",
    "error": "error",  # OpenRouter
    "insufficient_system_resource": "error",  # DeepSeek
    "abort": "error",  # SGLang, vLLM
    "network_error": "error",  # GLM
}
_NORMAL = frozenset(
    {"stop", "eos", "end", "complete", "completed", "end_turn", "stop_sequence", "tool_calls", "tool_use"}
    | {"function_call", "eos_token", "done"}
)
FILTER_EXPLANATION = "The platform's content filter ended the answer."


@dataclass(frozen=True, slots=True)
class Stop:
    """The `delta` of a `message_delta`."""

    reason: str
    sequence: str | None = None
    explanation: str | None = None  # of a refusal

    def as_delta(self) -> dict[str, Any]:
        details = None
        if self.reason == "refusal":
            details = {"type": "refusal", "category": None, "explanation": self.explanation}
        return {"stop_reason": self.reason, "stop_sequence": self.sequence, "stop_details": details}


def meaning_of(finish: str) -> Meaning:
    """Return what a `finish_reason` means; an unknown one is a normal end ("eos" and other inventions)."""
    return _MEANINGS.get(finish.lower(), "end")


def is_known(finish: str) -> bool:
    return finish.lower() in _MEANINGS or finish.lower() in _NORMAL


def error_for(finish: str) -> dict[str, Any]:
    """Return an error payload for a `finish_reason` that is no end of an answer."""
    message = f"the upstream broke the answer off: {finish}"
    if finish.lower() == "error":
        return {"error": {"type": "api_error", "code": 502, "message": message}}
    return {"error": {"type": "overloaded_error", "code": 503, "message": message}}


def matched_sequence(chunk: dict[str, Any], choice: dict[str, Any], stop_sequences: Sequence[str]) -> str | None:
    """Return which of our stop sequences ended the answer, where the upstream tells.

    vLLM writes it in the choice's `stop_reason`, SGLang in `matched_stop`, llama.cpp in `stopping_word`.
    """
    if not stop_sequences:
        return None
    verbose = chunk.get("__verbose")
    for value in (
        choice.get("stop_reason"),
        choice.get("matched_stop"),
        choice.get("stopping_word"),
        chunk.get("stopping_word"),
        verbose.get("stopping_word") if isinstance(verbose, dict) else None,
    ):
        if isinstance(value, str) and value in stop_sequences:
            return value
    return None
