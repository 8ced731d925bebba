"""The rows of the self-test: what each asks, and where its judge is. In their order on the card.

A request is small: a row costs a few hundred tokens, except those for long prompts.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from providers.errors import UpstreamError
from providers.selftest import judges, prompts
from providers.selftest.asking import Body, Reply
from providers.selftest.judges import Asked, Finding
from providers.target import Target

# Reasoning models need room for what they think before they answer.
_ROOM = 1024
_SHORT_PROMPT_TOKENS, _LONG_PROMPT_TOKENS, _LONGEST_PROMPT_TOKENS = 4_000, 32_000, 200_000
_WINDOW_SHARE = 0.6
# A window up to this size is overflowed without being asked to.
_SMALL_WINDOW_TOKENS, _LARGEST_WINDOW_TOKENS = 16_384, 300_000
_OVERFLOW_FACTOR = 1.5  # our estimate may be too low
_CACHED_PROMPT_TOKENS = 1200  # platforms cache from 1,024 tokens on
_PONG = "Reply with this one word and nothing else: pong"
_UNKNOWN_MODEL = "wolfgate-no-such-model"

WEATHER: Body = {
    "name": "get_weather",
    "description": "Return the weather of one city.",
    "input_schema": {
        "type": "object",
        "properties": {
            "city": {"type": "string", "description": "The name of the city"},
            "unit": {"type": "string", "enum": ["celsius", "fahrenheit"]},
        },
        "required": ["city"],
    },
}
_CLOCK: Body = {
    "name": "get_time",
    "description": "Return the time of day in one city.",
    "input_schema": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
}
_PERSON: Body = {
    "type": "object",
    "properties": {"name": {"type": "string"}, "age": {"type": "integer"}},
    "required": ["name", "age"],
    "additionalProperties": False,
}


@dataclass(frozen=True, slots=True)
class Case:
    """One row. `request` gets the target and whether long prompts are wanted.

    `alternative` is asked where the platform refuses the request, `follow_up` after the answer. `adapt` changes the
    target. Without `is_whole` only the beginning of the answer is waited for.
    """

    name: str
    request: Callable[[Target, bool], Body]
    judge: Callable[[Asked], Finding]
    judge_error: Callable[[UpstreamError], Finding] = judges.failed
    follow_up: Callable[[Body, Reply], Body | None] | None = None
    alternative: Callable[[Target], Body] | None = None
    adapt: Callable[[Target], Target] | None = None
    capability: str = ""  # what an ok or partial result proves, and a "no" disproves
    is_streamed: bool = True
    is_whole: bool = True


def _say(text: Any, **fields: Any) -> Body:
    return {"max_tokens": _ROOM, "messages": [{"role": "user", "content": text}], **fields}


def _text(_target: Target, _long: bool) -> Body:
    return _say(_PONG, max_tokens=512)


def _stream(_target: Target, _long: bool) -> Body:
    return _say("Count from 1 to 20 in figures, separated by commas. Write nothing else.")


def _usage(target: Target, _long: bool) -> Body:
    text = f"These are the notes of a lighthouse keeper.\n{prompts.filler(_CACHED_PROMPT_TOKENS, target.token_ratio)}"
    system = [{"type": "text", "text": text, "cache_control": {"type": "ephemeral"}}]
    return _say(_PONG, system=system, max_tokens=64)


def _tools(_target: Target, _long: bool) -> Body:
    return _say("Use get_weather to find out the weather in Paris. Do not answer before you know it.", tools=[WEATHER])


def _forced_tools(target: Target, _long: bool) -> Body:
    choice: Body = {"type": "tool", "name": "get_weather"}
    if target.wire_format == "openai":
        choice["disable_parallel_tool_use"] = True  # shows whether parallel_tool_calls is accepted
    return _say("Hello! Tell me about London.", tools=[WEATHER, _CLOCK], tool_choice=choice)


def _tool_result(_target: Target, _long: bool) -> Body:
    call = {"type": "tool_use", "id": "toolu_selftest0000000000001", "name": "get_weather", "input": {"city": "Paris"}}
    result = {"type": "tool_result", "tool_use_id": call["id"], "content": "Paris: 17 degrees, light rain"}
    messages = [
        {"role": "user", "content": "How many degrees has Paris? Answer with the number."},
        {"role": "assistant", "content": [{"type": "text", "text": "I look it up."}, call]},
        {"role": "user", "content": [result]},
    ]
    return {"max_tokens": _ROOM, "messages": messages, "tools": [WEATHER]}


def _parallel_tools(_target: Target, _long: bool) -> Body:
    text = "Use get_weather for Paris and get_weather for Tokyo, both calls at once in this one answer."
    return _say(text, tools=[WEATHER])


def _image(_target: Target, _long: bool) -> Body:
    source = {"type": "base64", "media_type": "image/png", "data": prompts.two_coloured_png()}
    text = "Which colour is the left half of this image and which the right half? Answer with the two colours."
    return _say([{"type": "image", "source": source}, {"type": "text", "text": text}])


def _pdf(_target: Target, _long: bool) -> Body:
    source = {"type": "base64", "media_type": "application/pdf", "data": prompts.one_page_pdf()}
    text = "Which bird does this page name? Answer with one word."
    return _say([{"type": "document", "source": source, "title": "page.pdf"}, {"type": "text", "text": text}])


_RIDDLE = (
    "How many of the numbers 91, 97, 119, 127, 133 and 143 are prime? Think it through, then answer with the number."
)


def _thinking(_target: Target, _long: bool) -> Body:
    return _say(_RIDDLE, max_tokens=4096, thinking={"type": "enabled", "budget_tokens": 1024})


def _adaptive_thinking(_target: Target) -> Body:
    return _say(_RIDDLE, max_tokens=4096, thinking={"type": "adaptive"}, output_config={"effort": "high"})


def _replay(body: Body, reply: Reply) -> Body | None:
    """Return the next turn, with the reasoning of the last one in its history; None where there was none."""
    if not judges.has_reasoning(reply):
        return None
    history = [
        {"role": "assistant", "content": reply.message["content"]},
        {"role": "user", "content": "Add one to it."},
    ]
    return {**body, "messages": [*body["messages"], *history]}


def _json_schema(_target: Target, _long: bool) -> Body:
    output_format = {"type": "json_schema", "schema": _PERSON}
    return _say("Ann is 34 years old. Return her name and age as JSON.", output_config={"format": output_format})


def _stop_sequences(_target: Target, _long: bool) -> Body:
    return _say("Count from 1 to 9 in figures, separated by commas. Write nothing else.", stop_sequences=["5"])


def _long_context(target: Target, long: bool) -> Body:
    window = target.context_window
    size = _SHORT_PROMPT_TOKENS
    if long:
        size = min(int(window * _WINDOW_SHARE), _LONGEST_PROMPT_TOKENS) if window else _LONG_PROMPT_TOKENS
    elif window:
        size = min(size, int(window * _WINDOW_SHARE))
    return _say(prompts.haystack(size, target.token_ratio))


def _overflow(target: Target, long: bool) -> Body:
    """Return a prompt beyond the window where that is small or long prompts are wanted, else an absurd output limit."""
    window = target.context_window
    if window and window <= (_LARGEST_WINDOW_TOKENS if long else _SMALL_WINDOW_TOKENS):
        return _say(prompts.haystack(int(window * _OVERFLOW_FACTOR), target.token_ratio), max_tokens=64)
    return _say(_PONG, max_tokens=judges.ABSURD_TOKENS)


def _replay_usage(body: Body, _reply: Reply) -> Body:
    return body


def _without_limits(target: Target) -> Target:
    """Return the target as if its limits were unknown, so that what exceeds them is sent."""
    return replace(target, context_window=None, max_output_tokens=None)


def _with_unknown_model(target: Target) -> Target:
    return replace(target, model_id=_UNKNOWN_MODEL)


CASES = (
    Case("text", _text, judges.text, is_streamed=False),
    Case("stream", _stream, judges.stream),
    Case("usage", _usage, judges.usage, follow_up=_replay_usage),
    Case("tools", _tools, judges.tools, judges.refused, capability="tools"),
    Case("forced_tools", _forced_tools, judges.forced_tools, judges.refused),
    Case("tool_result", _tool_result, judges.tool_result, judges.refused),
    Case("parallel_tools", _parallel_tools, judges.parallel_tools, judges.refused),
    Case("image", _image, judges.image, judges.refused, capability="vision"),
    Case("pdf", _pdf, judges.pdf, judges.refused, capability="pdf"),
    Case(
        "thinking",
        _thinking,
        judges.thinking,
        judges.refused,
        follow_up=_replay,
        alternative=_adaptive_thinking,
        capability="thinking",
    ),
    Case("json_schema", _json_schema, judges.json_schema, judges.refused),
    Case("stop_sequences", _stop_sequences, judges.stop_sequences, judges.refused),
    Case("overflow", _overflow, judges.overflow, judges.overflow_wording, adapt=_without_limits, is_whole=False),
    Case(
        "unknown_model",
        _text,
        judges.unknown_model,
        judges.unknown_model_wording,
        adapt=_with_unknown_model,
        is_whole=False,
    ),
    # Last: where time is short, this takes most of it.
    Case("long_context", _long_context, judges.long_context, judges.too_long),
)
