"""Repairs a Chat Completions request that a target refused, and remembers what the target refuses.

Most "compatible" servers refuse one parameter or another, and say so. The call is sent again without it, once; later
calls of this process to the same model leave it out from the start.
"""

from collections import OrderedDict
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, TypeVar

from providers.errors import ErrorKind, UpstreamError
from providers.translation.schemas import wish_for_schema

# What was refused is repaired at most this often in one call, each time in another way.
_MAX_REPAIRS = 2
_MIN_OUTPUT_TOKENS = 1024
# What a tokenizer's count may be off by between two calls, as the upstream counts it.
_OVERFLOW_MARGIN_TOKENS = 1000
_DEFAULT_MAX_TOKENS = 4096  # when an upstream refuses max_tokens without saying how many it takes
_THINKING_PARAMETERS = (
    "enable_thinking",
    "thinking_budget",
    "thinking_budget_tokens",
    "preserve_thinking",
    "reasoning_effort",
    "reasoning",
    "thinking",
    "chat_template_kwargs",
)

Body = dict[str, Any]
_Answer = TypeVar("_Answer")
Repair = Callable[[Body, int | None], bool]


class Refusals:
    """What models refuse, by (provider, model): feature -> limit. Bounded; the oldest is forgotten first."""

    def __init__(self, size: int = 1000) -> None:
        self._size = size
        self._known: OrderedDict[tuple[str, str], dict[str, int | None]] = OrderedDict()

    def of(self, provider_name: str, model_id: str) -> Mapping[str, int | None]:
        """Return what this model is known to refuse."""
        return self._known.get((provider_name, model_id), {})

    def add(self, provider_name: str, model_id: str, feature: str, limit: int | None) -> None:
        """Remember one refusal."""
        self._known.setdefault((provider_name, model_id), {})[feature] = limit
        self._known.move_to_end((provider_name, model_id))
        if len(self._known) > self._size:
            self._known.popitem(last=False)


def leave_out(body: Body, refusals: Mapping[str, int | None]) -> list[str]:
    """Change `body` so that it asks for none of `refusals`; return the features that it had asked for."""
    return [feature for feature, limit in refusals.items() if _apply(body, feature, limit)]


async def ask_repairing(
    ask: Callable[[], Awaitable[_Answer]], body: Body, refusals: Refusals, provider_name: str, model_id: str
) -> tuple[_Answer, list[str]]:
    """Return the answer that `ask` gets for `body`, which is changed by what is refused, and the features given up.

    Raises the `UpstreamError` that nothing can be done about.
    """
    repaired: list[tuple[str, int | None]] = []
    while True:
        try:
            answer = await ask()
            break
        except UpstreamError as error:
            feature = repair(body, error) if len(repaired) < _MAX_REPAIRS else ""
            if not feature:
                raise
            repaired.append((feature, error.feature_limit))
    for feature, limit in repaired:
        if feature != "room":
            refusals.add(provider_name, model_id, feature, limit)
    return answer, [feature for feature, _limit in repaired]


def repair(body: Body, error: UpstreamError) -> str:
    """Change `body` so that `error` does not come again; return the feature given up, "" when nothing can be done.

    An output limit that does not fit beside the prompt is "room": it belongs to the call, not to the model.
    """
    if error.kind is ErrorKind.CONTEXT_TOO_LONG:
        return "room" if _make_room(body, error.prompt_tokens, error.context_window) else ""
    if error.kind is ErrorKind.UNSUPPORTED_FEATURE and _apply(body, error.feature, error.feature_limit):
        return error.feature
    return ""


def _apply(body: Body, feature: str, limit: int | None) -> bool:
    change = _REPAIRS.get(feature)
    return change is not None and change(body, limit)


def _make_room(body: Body, prompt_tokens: int | None, context_window: int | None) -> bool:
    if prompt_tokens is None or context_window is None:
        return False
    room = context_window - prompt_tokens - _OVERFLOW_MARGIN_TOKENS
    if room < _MIN_OUTPUT_TOKENS:
        return False
    return _clamp_max_tokens(body, room)


def _drop(*names: str) -> Repair:
    def change(body: Body, _limit: int | None) -> bool:
        present = [name for name in names if body.pop(name, None) is not None]
        return bool(present)

    return change


def _rename(old: str, new: str) -> Repair:
    def change(body: Body, _limit: int | None) -> bool:
        if old not in body:
            return False
        body[new] = body.pop(old)
        return True

    return change


def _stream(body: Body, _limit: int | None) -> bool:
    is_changed = body.get("stream") is not True
    body["stream"] = True
    return is_changed


def _clamp_max_tokens(body: Body, limit: int | None) -> bool:
    limit = limit or _DEFAULT_MAX_TOKENS
    changed = False
    for name in ("max_tokens", "max_completion_tokens"):
        if isinstance(body.get(name), int) and body[name] > limit:
            body[name] = limit
            changed = True
    return changed


def _weaken_tool_choice(body: Body, _limit: int | None) -> bool:
    choice = body.pop("tool_choice", None)
    if choice is None:
        return False
    if choice not in ("auto", "none"):
        body["tool_choice"] = "auto"
    return True


def _schema_to_prompt(body: Body, _limit: int | None) -> bool:
    wanted = body.pop("response_format", None)
    if wanted is None:
        return False
    named = wanted.get("json_schema") if isinstance(wanted, dict) else None
    schema = named.get("schema") if isinstance(named, dict) else None  # a relayed client's own: of any form
    if schema is not None:
        line = wish_for_schema(schema)
        messages = body["messages"]
        if messages and messages[0]["role"] == "system":
            body["messages"] = [{**messages[0], "content": _joined(messages[0]["content"], line)}, *messages[1:]]
        else:
            body["messages"] = [{"role": "system", "content": line}, *messages]
    return True


def _fold_system(body: Body, _limit: int | None) -> bool:
    """Make user messages of the system messages behind the first place; if there are none, of the first one too."""
    messages = body["messages"]
    late = any(message["role"] == "system" for message in messages[1:])
    folded: list[Body] = []
    for position, message in enumerate(messages):
        if message["role"] == "system" and (position > 0 or not late):
            message = {"role": "user", "content": message["content"]}
            if folded and folded[-1]["role"] == "user":
                folded[-1] = {**folded[-1], "content": _joined(folded[-1]["content"], message["content"])}
                continue
        elif folded and position == 1 and not late and message["role"] == "user" and messages[0]["role"] == "system":
            # A server without a system role often wants the roles to alternate as well.
            folded[-1] = {**message, "content": _joined(folded[-1]["content"], message["content"])}
            continue
        folded.append(message)
    body["messages"] = folded
    return bool(folded != messages)


def _joined(first: Any, second: Any) -> Any:
    """Return two message contents as one: text where both are text, else a list of parts."""
    if isinstance(first, str) and isinstance(second, str):
        return f"{first}\n\n{second}"
    return [*_parts(first), *_parts(second)]


def _parts(content: Any) -> list[Any]:
    return content if isinstance(content, list) else [{"type": "text", "text": content}]


def _each_assistant(change: Callable[[Body], Body | None]) -> Repair:
    """Return a repair that replaces assistant messages by what `change` returns, where that is not None."""

    def repair_messages(body: Body, _limit: int | None) -> bool:
        changed = False
        messages = []
        for message in body["messages"]:
            new = change(message) if message["role"] == "assistant" else None
            messages.append(message if new is None else new)
            changed = changed or new is not None
        body["messages"] = messages
        return changed

    return repair_messages


def _without_null(message: Body) -> Body | None:
    return {**message, "content": ""} if message.get("content", "") is None or "content" not in message else None


def _with_reasoning(message: Body) -> Body | None:
    lacks = message.get("tool_calls") and "reasoning_content" not in message
    return {**message, "reasoning_content": ""} if lacks else None


def _without_reasoning(message: Body) -> Body | None:
    names = ("reasoning_content", "reasoning", "reasoning_details")
    if not any(name in message for name in names):
        return None
    return {name: value for name, value in message.items() if name not in names}


# By the names of error_table.FEATURES. "tools" and "vision" have no repair: an agent without tools is no use.
_REPAIRS: dict[str, Repair] = {
    "stream_options": _drop("stream_options"),
    "stream_only": _stream,
    "max_tokens_field": _rename("max_tokens", "max_completion_tokens"),
    "max_completion_tokens_field": _rename("max_completion_tokens", "max_tokens"),
    "max_tokens": _clamp_max_tokens,
    "parallel_tool_calls": _drop("parallel_tool_calls"),
    "tool_choice": _weaken_tool_choice,
    "thinking": _drop(*_THINKING_PARAMETERS),
    "response_format": _schema_to_prompt,
    "top_k": _drop("top_k"),
    "sampling": _drop("temperature", "top_p"),
    "stop": _drop("stop"),
    "user": _drop("user", "prompt_cache_key", "service_tier"),
    "system": _fold_system,
    "null_content": _each_assistant(_without_null),
    "reasoning_missing": _each_assistant(_with_reasoning),
    "reasoning_refused": _each_assistant(_without_reasoning),
}
