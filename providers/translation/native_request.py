"""The last step to a native target for a request that no Anthropic client wrote: what that API insists on.

A request of an Anthropic client goes upstream as it came; one that was translated into Messages form is only as right
as the client's own API demands. Here it gets a `max_tokens`, paired calls and results, and thinking and sampling as
the model takes them.
"""

import re
from dataclasses import dataclass
from typing import Any

from providers.translation.schemas import wish_for_schema
from providers.translation.signature import is_ours

Block = dict[str, Any]

DEFAULT_MAX_TOKENS = 8192
NO_RESULT = "[no result: interrupted]"

_CLAUDE = re.compile(r"claude-(?:[a-z]+-)?(\d{1,2})(?:[-.](\d{1,2}))?(?!\d)")
_BUDGETS = {"low": 1024, "medium": 2048, "high": 4096, "xhigh": 8192, "max": 16384}
_BUDGET_MIN = 1024  # the API refuses less
_ADAPTIVE_SINCE = (4, 6)
_NO_SAMPLING_SINCE = (4, 7)
_OUTPUT_FORMAT_SINCE = (4, 5)


@dataclass(frozen=True, slots=True)
class NativeOptions:
    """The target, as far as the request depends on it."""

    model_id: str
    max_output_tokens: int | None = None
    capabilities: frozenset[str] | None = None  # None: unknown, nothing is withheld
    takes_sampling: bool = True
    # How a platform with rules of its own is told to think (`NativeDialect.native_thinking`); "": by Anthropic's rules.
    own_thinking: str = ""


def to_native(body: dict[str, Any], options: NativeOptions) -> dict[str, Any]:
    """Return `body`, a request in Messages form, as the target takes it; `body` is not changed."""
    version = _claude_version(options.model_id)
    native = {**body, "model": options.model_id, "messages": _messages(body["messages"])}
    wanted, limit = body.get("max_tokens"), options.max_output_tokens
    native["max_tokens"] = min(wanted or limit or DEFAULT_MAX_TOKENS, limit or wanted or DEFAULT_MAX_TOKENS)
    thinks = _set_thinking(native, options, version)
    if thinks:
        _free_choice(native)
    _set_sampling(native, options, version, thinks=thinks)
    _set_format(native, version)
    if version is not None:
        _set_cache_mark(native)
    else:
        # Relays of other models know neither.
        native.pop("service_tier", None)
        if isinstance(tools := native.get("tools"), list):
            native["tools"] = [{key: value for key, value in tool.items() if key != "strict"} for tool in tools]
    return native


def _claude_version(model_id: str) -> tuple[int, int] | None:
    match = _CLAUDE.search(model_id.lower())
    return (int(match[1]), int(match[2] or 0)) if match else None


def _set_thinking(native: dict[str, Any], options: NativeOptions, version: tuple[int, int] | None) -> bool:
    """Say whether the model will think; ask for it as Anthropic's models take it."""
    thinking = native.get("thinking")
    if not isinstance(thinking, dict):
        return False
    can_think = options.capabilities is None or "thinking" in options.capabilities
    if options.own_thinking and version is None:
        # The client's wish stays, "disabled" too, for models that think unless told not to: the dialect words it.
        return can_think and options.own_thinking != "none" and thinking.get("type") != "disabled"
    config = dict(native.pop("output_config", None) or {})
    if thinking.get("type") != "adaptive" or not can_think:
        config.pop("effort", None)
        if not can_think or thinking.get("type") == "disabled":
            native.pop("thinking")
    elif version is None or version < _ADAPTIVE_SINCE:
        budget = min(_BUDGETS.get(config.pop("effort", "medium"), 2048), native["max_tokens"] - 1)
        if budget >= _BUDGET_MIN and not _lacks_thinking(native["messages"]):
            native["thinking"] = {"type": "enabled", "budget_tokens": budget}
        else:
            native.pop("thinking")
    if config:
        native["output_config"] = config
    return "thinking" in native


def _free_choice(native: dict[str, Any]) -> None:
    """Let the model choose: with thinking on a call cannot be forced."""
    choice = native.get("tool_choice")
    if isinstance(choice, dict) and choice.get("type") in ("any", "tool"):
        native["tool_choice"] = {key: value for key, value in choice.items() if key != "name"} | {"type": "auto"}


def _lacks_thinking(messages: list[dict[str, Any]]) -> bool:
    """Say whether a tool loop is under way that began without thinking: with a budget, it must go on without."""
    if len(messages) < 2 or messages[-1]["content"][0]["type"] != "tool_result":
        return False
    return bool(messages[-2]["content"][0]["type"] != "thinking")


def _set_cache_mark(native: dict[str, Any]) -> None:
    """Mark the end of a conversation under way for the prompt cache, which other APIs use without being asked."""
    turns = native["messages"]
    blocks = [*_blocks(native.get("system")), *(block for turn in turns for block in turn["content"])]
    if len(turns) > 1 and turns[-1]["role"] == "user" and not any("cache_control" in block for block in blocks):
        last = turns[-1]["content"]
        last[-1] = {**last[-1], "cache_control": {"type": "ephemeral"}}


def _set_sampling(
    native: dict[str, Any], options: NativeOptions, version: tuple[int, int] | None, *, thinks: bool
) -> None:
    refuses = not options.takes_sampling or (version is not None and version >= _NO_SAMPLING_SINCE)
    if refuses or thinks:
        for name in ("temperature", "top_p", "top_k"):
            native.pop(name, None)
    elif native.get("temperature") is not None:
        native["temperature"] = min(native["temperature"], 1)
        native.pop("top_p", None)  # not both


def _set_format(native: dict[str, Any], version: tuple[int, int] | None) -> None:
    """Constrain the output where the model can be; elsewhere ask for it in the system prompt."""
    config = native.get("output_config")
    wanted = config.get("format") if isinstance(config, dict) else None
    schema = wanted.get("schema") if isinstance(wanted, dict) else None
    if config is None or not isinstance(schema, dict):
        return
    if version is not None and version >= _OUTPUT_FORMAT_SINCE:
        native["output_config"] = {**config, "format": {"type": "json_schema", "schema": _closed(schema)}}
        return
    rest = {key: value for key, value in config.items() if key != "format"}
    native.pop("output_config")
    if rest:
        native["output_config"] = rest
    native["system"] = [*_blocks(native.get("system")), {"type": "text", "text": wish_for_schema(schema)}]


def _closed(schema: Any) -> Any:
    """Return a copy whose objects take no further members: the API insists on that being said."""
    if isinstance(schema, list):
        return [_closed(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    closed = {key: _closed(value) for key, value in schema.items()}
    if schema.get("type") == "object" and isinstance(schema.get("properties", {}), dict):
        closed.setdefault("additionalProperties", False)
    return closed


def _messages(messages: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return turns that begin with the user's and alternate, every call followed by its result."""
    turns: list[tuple[str, list[Block]]] = [("user", [])]
    for message in messages:
        blocks = [block for block in _blocks(message.get("content")) if not _is_foreign(block)]
        role = message["role"]
        if role == "system":
            role, blocks = "user", [_reminder(block) for block in blocks]
        if turns[-1][0] == role:
            turns[-1][1].extend(blocks)
        elif blocks:
            turns.append((role, list(blocks)))
    calls: dict[str, str] = {}  # of the last turn: the client's id -> the one that goes upstream
    used: set[str] = set()
    for role, blocks in turns:
        if role == "assistant":
            calls, blocks[:] = _with_own_ids(blocks, used)
        else:
            blocks[:] = _answered(blocks, calls)
            calls = {}
    if calls:
        turns.append(("user", _answered([], calls)))
    if not turns[0][1]:
        turns[0][1].append({"type": "text", "text": "."})  # the user has the first word
    role, blocks = turns[-1]
    if role == "assistant" and blocks[-1]["type"] == "text":
        text = blocks[-1]["text"].rstrip()
        blocks[-1:] = [{**blocks[-1], "text": text}] if text else []
    return [{"role": role, "content": blocks} for role, blocks in turns if blocks]


def _with_own_ids(blocks: list[Block], used: set[str]) -> tuple[dict[str, str], list[Block]]:
    """Return the calls of an assistant turn by id, and its blocks with ids that no earlier turn has.

    Some servers number the calls of each answer anew; the API wants ids to be unique in the conversation.
    """
    calls: dict[str, str] = {}
    kept = []
    for block in blocks:
        if block["type"] == "tool_use":
            if block["id"] in calls:
                continue  # its result could not be told from the other's
            own = block["id"]
            while own in used:
                own = f"{own}_{len(used)}"
            used.add(own)
            calls[block["id"]] = own
            block = {**block, "id": own}
        kept.append(block)
    return calls, kept


def _answered(blocks: list[Block], calls: dict[str, str]) -> list[Block]:
    """Return the blocks of a user turn: the results of `calls` first, one each, then everything else."""
    results: dict[str, Block] = {}
    others: list[Block] = []
    for block in blocks:
        if block["type"] != "tool_result":
            others.append(block)
        elif block["tool_use_id"] in calls and block["tool_use_id"] not in results:
            results[block["tool_use_id"]] = {**block, "tool_use_id": calls[block["tool_use_id"]]}
        else:
            others.append({"type": "text", "text": f"Tool result ({block['tool_use_id']}): {_text_of(block)}"})
            others += [part for part in _blocks(block.get("content")) if part.get("type") != "text"]
    made_up = {"type": "tool_result", "content": NO_RESULT}
    return [*(results.get(call) or {**made_up, "tool_use_id": own} for call, own in calls.items()), *others]


def _blocks(content: Any) -> list[Block]:
    if isinstance(content, str):
        return [{"type": "text", "text": content}] if content.strip() else []
    return [dict(block) for block in content] if isinstance(content, list) else []


def _is_foreign(block: Block) -> bool:
    """Say whether a block is thinking that another platform's model did: its signature would be refused."""
    return block["type"] == "thinking" and (not block.get("signature") or is_ours(str(block["signature"])))


def _reminder(block: Block) -> Block:
    return {"type": "text", "text": f"<system-reminder>\n{block.get('text', '')}\n</system-reminder>"}


def _text_of(block: Block) -> str:
    return "\n".join(part["text"] for part in _blocks(block.get("content")) if part.get("type") == "text")
