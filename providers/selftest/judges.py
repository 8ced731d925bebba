"""What the answers of the self-test mean: from replies and errors to a finding, a code with its values.

No finding is prose: the pages and the command put its code into words of the reader's language
(gateway/selftest_texts.py).
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from providers.errors import ErrorKind, UpstreamError
from providers.selftest import prompts
from providers.selftest.asking import Body, Reply
from providers.target import Target
from providers.translation.arguments import RAW_KEY

Status = Literal["ok", "partial", "no", "error", "skipped"]

ABSURD_TOKENS = 10_000_000
_MAX_MESSAGE = 200
# The request as such is refused; every other kind says nothing of what it asked for.
_REFUSALS = frozenset({ErrorKind.UNSUPPORTED_FEATURE, ErrorKind.INVALID_REQUEST, ErrorKind.NOT_FOUND})
# llama.cpp and some relays answer 500 to a picture that their model cannot take.
_INPUT_WORDS = re.compile(r"image|vision|multi-?modal|mmproj|\bpdf\b|\bfiles?\b|document", re.IGNORECASE)
_LEAKED_CALL = re.compile(r"<tool_call>|<\|tool_call\|>|<function=")
_FENCE = re.compile(r"^```\w*\s*|\s*```$")
# A count of the prompt outside of these shares of our estimate is not believable; estimates are off by less.
_PLAUSIBLE = (0.5, 2.0)
_CACHED_TOKENS = 64  # the tokens that begin every prompt of a template are no sign of a cache


@dataclass(frozen=True, slots=True)
class Finding:
    """What a row found. `hints` are dialect flags that it suggests."""

    status: Status
    code: str
    params: Mapping[str, Any] = field(default_factory=dict)
    hints: Mapping[str, Any] = field(default_factory=dict)


@dataclass(slots=True)
class Asked:
    """The exchange of a row: its replies in order, and the error of its follow-up."""

    target: Target
    body: Body
    replies: list[Reply]
    follow_up_error: UpstreamError | None = None

    @property
    def reply(self) -> Reply:
        return self.replies[0]

    def gave_up(self, feature: str) -> bool:
        """Say whether the platform refused `feature` and answered without it."""
        return any(feature in reply.dropped_fields for reply in self.replies)


def failed(error: UpstreamError) -> Finding:
    """Return what an error means that says nothing of the row's subject."""
    return Finding("error", "failed", _facts(error))


def refused(error: UpstreamError) -> Finding:
    """Return what an error means where the platform may refuse the row's subject."""
    is_refusal = error.kind in _REFUSALS or (
        error.kind is ErrorKind.SERVER_ERROR and _INPUT_WORDS.search(error.message) is not None
    )
    return Finding("no", "refused", _facts(error)) if is_refusal else failed(error)


def _facts(error: UpstreamError) -> dict[str, Any]:
    return {"kind": str(error.kind), "message": error.message[:_MAX_MESSAGE]}


def _silence(reply: Reply) -> Finding:
    """Return what an answer without text means: nothing for the row's subject."""
    if reply.stop_reason == "max_tokens":
        return Finding("error", "cut_off", {"tokens": reply.usage.output_tokens})
    return Finding("error", "no_text")


def text(asked: Asked) -> Finding:
    reply = asked.reply
    words = reply.text
    if not words:
        # A model that thinks unasked does not come to its answer, but works.
        return Finding("no", "no_text") if reply.stop_reason != "max_tokens" else Finding("partial", "thought_only")
    if re.sub(r"\W", "", words).lower() == "pong":
        return Finding("ok", "answered")
    return Finding("partial", "answered_otherwise")


def stream(asked: Asked) -> Finding:
    reply = asked.reply
    values = {"pieces": reply.deltas, "first_ms": reply.first_ms}
    if reply.fault:
        return Finding("no", "stream_fault", {"fault": reply.fault})
    if not reply.deltas:
        return Finding("no", "no_text")
    return Finding("ok", "streamed", values) if reply.deltas > 1 else Finding("partial", "one_piece", values)


def usage(asked: Asked) -> Finding:
    first = asked.reply
    if first.usage.is_estimated:
        return Finding("no", "usage_missing")
    expected = round(first.estimated_tokens * asked.target.token_ratio)
    reported = first.usage.prompt_tokens
    values = {"reported": reported, "estimated": expected}
    low, high = _PLAUSIBLE
    if not low * expected <= reported <= high * expected:
        return Finding("partial", "usage_implausible", values)
    cached = asked.replies[-1].usage.cache_read_tokens
    if cached >= _CACHED_TOKENS:
        return Finding("ok", "usage_cached", {**values, "cached": cached})
    return Finding("ok", "usage_reported", values)


def is_valid_call(call: Mapping[str, Any]) -> bool:
    """Say whether a call of get_weather has arguments that its schema allows."""
    arguments = call.get("input")
    if not isinstance(arguments, Mapping) or RAW_KEY in arguments:
        return False
    city, unit = arguments.get("city"), arguments.get("unit", "celsius")
    return isinstance(city, str) and bool(city.strip()) and unit in ("celsius", "fahrenheit")


def tools(asked: Asked) -> Finding:
    reply = asked.reply
    if not reply.calls:
        if _LEAKED_CALL.search(reply.text):
            return Finding("no", "call_as_text", hints={"tool_text_parser": True})
        return Finding("no", "not_called") if reply.text else _silence(reply)
    if all(call.get("name") == "get_weather" and is_valid_call(call) for call in reply.calls):
        return Finding("ok", "called")
    return Finding("partial", "bad_arguments")


def forced_tools(asked: Asked) -> Finding:
    is_called = any(call.get("name") == "get_weather" for call in asked.reply.calls)
    if asked.gave_up("tool_choice"):
        # The repair has told nothing to the model; with the flag its prompt will.
        return Finding("no", "force_refused")
    if asked.target.wire_format == "openai" and not asked.target.dialect.forced_tools:
        return Finding("ok", "forced_by_prompt") if is_called else Finding("partial", "prompt_ignored")
    if is_called:
        return Finding("ok", "forced")
    return Finding("no", "force_ignored", hints={"forced_tools": False})


def tool_result(asked: Asked) -> Finding:
    reply = asked.reply
    if "17" in reply.text:
        return Finding("ok", "result_used")
    if reply.calls:
        return Finding("partial", "called_again")
    return Finding("partial", "result_accepted") if reply.text else _silence(reply)


def parallel_tools(asked: Asked) -> Finding:
    calls = [call for call in asked.reply.calls if is_valid_call(call)]
    if len({str(call.get("id")) for call in calls}) > 1:
        return Finding("ok", "parallel", {"count": len(calls)})
    if calls:
        return Finding("partial", "one_at_a_time")
    return Finding("no", "not_called") if asked.reply.text or asked.reply.calls else _silence(asked.reply)


def image(asked: Asked) -> Finding:
    words = asked.reply.text.lower()
    left = max(words.find(prompts.LEFT_COLOUR), words.find("黄"))
    right = max(words.find(prompts.RIGHT_COLOUR), words.find("蓝"))
    if 0 <= left < right:
        return Finding("ok", "image_seen")
    return Finding("no", "image_not_seen") if words else _silence(asked.reply)


def pdf(asked: Asked) -> Finding:
    words = asked.reply.text.lower()
    if prompts.PDF_WORD.lower() in words or "鹈鹕" in words:
        return Finding("ok", "pdf_read")
    return Finding("no", "pdf_not_read") if words else _silence(asked.reply)


def has_reasoning(reply: Reply) -> bool:
    """Say whether the answer holds reasoning, shown or sealed."""
    return bool(reply.blocks("redacted_thinking")) or any(
        block.get("thinking") or block.get("signature") for block in reply.blocks("thinking")
    )


def thinking(asked: Asked) -> Finding:
    reply = asked.reply
    if not has_reasoning(reply):
        if reply.usage.thinking_tokens:
            return Finding("ok", "thinks_hidden", {"tokens": reply.usage.thinking_tokens})
        is_asked = asked.target.wire_format == "anthropic" or asked.target.dialect.thinking_dialect != "none"
        if asked.gave_up("thinking"):
            return Finding("no", "thinking_refused")
        return Finding("no", "no_thinking") if is_asked else Finding("skipped", "thinking_not_asked")
    error = asked.follow_up_error
    if error is None:
        return Finding("ok", "thinks")
    if refused(error).status == "no":
        return Finding("partial", "replay_refused", _facts(error))
    return Finding("partial", "replay_failed", _facts(error))


def json_schema(asked: Asked) -> Finding:
    words = asked.reply.text
    if not words:
        return _silence(asked.reply)
    is_fenced = words.startswith("```")
    try:
        document = json.loads(_FENCE.sub("", words))
    except ValueError:
        document = None
    age = document.get("age") if isinstance(document, dict) else None
    is_valid = isinstance(document, dict) and set(document) == {"name", "age"} and isinstance(document["name"], str)
    is_valid = is_valid and isinstance(age, int) and not isinstance(age, bool)
    by_prompt = asked.gave_up("response_format") or (
        asked.target.wire_format == "openai" and not asked.target.dialect.json_schema
    )
    if not is_valid:
        return Finding("no", "schema_ignored", hints={} if by_prompt else {"json_schema": False})
    if is_fenced:
        return Finding("partial", "json_fenced")
    return Finding("ok", "schema_by_prompt" if by_prompt else "schema_obeyed")


def stop_sequences(asked: Asked) -> Finding:
    reply = asked.reply
    if asked.gave_up("stop"):
        return Finding("no", "stop_refused")
    if "5" in reply.text:
        return Finding("no", "stop_ignored")
    if reply.stop_reason == "stop_sequence":
        return Finding("ok", "stopped")
    if "4" in reply.text:
        return Finding("ok", "stopped_unsaid")  # the form of Chat Completions does not tell why it stopped
    return Finding("partial", "stop_unclear") if reply.text else _silence(reply)


def long_context(asked: Asked) -> Finding:
    reply = asked.reply
    expected = round(reply.estimated_tokens * asked.target.token_ratio)
    reported = 0 if reply.usage.is_estimated else reply.usage.prompt_tokens
    if prompts.NEEDLE.lower() in reply.text.lower():
        return Finding("ok", "recalled", {"tokens": reported or expected})
    if reported and reported < _PLAUSIBLE[0] * expected:
        # Ollama drops what does not fit, and says nothing (its documentation, read 2026-08).
        return Finding("no", "silently_cut", {"reported": reported, "estimated": expected})
    return Finding("partial", "not_recalled", {"tokens": reported or expected}) if reply.text else _silence(reply)


def too_long(error: UpstreamError) -> Finding:
    """Return what an error means to a prompt that should have fitted."""
    if error.kind is not ErrorKind.CONTEXT_TOO_LONG:
        return failed(error)
    return Finding("no", "window_smaller", {"window": error.context_window, "message": error.message[:_MAX_MESSAGE]})


def overflow(asked: Asked) -> Finding:
    if asked.body["max_tokens"] < ABSURD_TOKENS:
        return Finding("no", "overflow_silent")
    return Finding("ok", "limit_repaired" if asked.gave_up("max_tokens") else "limit_ignored")


def overflow_wording(error: UpstreamError) -> Finding:
    """Return whether an overflow, or an absurd output limit, is told in words that we understand."""
    if error.kind is ErrorKind.CONTEXT_TOO_LONG:
        return Finding("ok", "overflow_understood", {"message": error.message[:_MAX_MESSAGE]})
    if error.kind is ErrorKind.UNSUPPORTED_FEATURE and error.feature == "max_tokens":
        return Finding("ok", "limit_understood", {"message": error.message[:_MAX_MESSAGE]})
    if error.kind in _REFUSALS:
        return Finding("no", "overflow_not_understood", _facts(error))
    return failed(error)


def unknown_model(_asked: Asked) -> Finding:
    return Finding("partial", "unknown_model_answers")


def unknown_model_wording(error: UpstreamError) -> Finding:
    """Return whether a wrong model name is told in words that we understand."""
    if error.kind is ErrorKind.NOT_FOUND:
        return Finding("ok", "unknown_model_understood", {"message": error.message[:_MAX_MESSAGE]})
    if error.kind in (*_REFUSALS, ErrorKind.PERMISSION):
        return Finding("partial", "unknown_model_not_understood", _facts(error))
    return failed(error)
