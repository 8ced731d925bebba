"""The body of a call to a Messages endpoint: the client's own bytes, but for what the target cannot take.

Nothing is decoded and encoded again unless a part must change, and then that part alone: fields newer than we are must
arrive, and prompt caches depend on the bytes (Claude Code LLM gateway protocol, read 2026-08). What must change is the
name of the model, thinking blocks that the upstream would refuse, and what the target's `NativeDialect` says.
"""

from dataclasses import dataclass
from typing import Any

from providers import wire_json
from providers.clients.base import UpstreamCall
from providers.clients.native_blocks import BlockChanges
from providers.clients.native_history import history_patch, loses_thinking
from providers.json_patch import DROP, KEEP, Patch, Several, apply
from providers.native_dialect import NativeDialect
from providers.target import Target
from providers.translation.attachments import UNPREPARED, Attachments
from providers.translation.native_request import NativeOptions, to_native
from providers.translation.request import InvalidRequest
from providers.translation.schemas import wish_for_schema
from providers.translation.validation import whole_number

# The documented Messages API without betas (API reference, read 2026-11). All else at the top of a body belongs to a
# beta, and is refused by a strict server that does not get the beta's header along.
_STABLE = frozenset(
    {
        "model",
        "messages",
        "system",
        "max_tokens",
        "metadata",
        "stop_sequences",
        "stream",
        "temperature",
        "top_p",
        "top_k",
        "tools",
        "tool_choice",
        "thinking",
        "output_config",
    }
)
_BETA_TOOL_FIELDS = ("defer_loading", "eager_input_streaming", "allowed_callers", "input_examples")
# Stands for tools that Claude Code's tool search has yet to find; never to be offered to a model.
_PLACEHOLDER_TOOL = "DeferredToolPlaceholder"
_BILLING_HEADER = "x-anthropic-billing-header"
# Tokens of a thinking budget that an effort stands for.
_BUDGETS = {"minimal": 1024, "low": 4096, "medium": 8192, "high": 16384, "xhigh": 31999, "max": 31999}
_MIN_BUDGET_TOKENS = 1024
_CLEAR_THINKING = "clear_thinking_"


@dataclass(frozen=True, slots=True)
class NativeBody:
    """What a target gets for a call, and what it does not get of it: fields at the top, and parts of blocks."""

    content: bytes
    dropped_fields: list[str]


def body_for(target: Target, call: UpstreamCall, attachments: Attachments = UNPREPARED) -> NativeBody:
    """Return what `target` gets for `call`. Raises `InvalidRequest` for a body nested too deeply."""
    body, raw = call.body, call.raw
    if call.new_encoder is not None:
        body = to_native(body, _native_options(target))
        raw = wire_json.encode(body)
    block_changes = BlockChanges(target, attachments)
    try:
        patch = _patch_for(target, body, block_changes)
    except RecursionError as error:
        raise InvalidRequest("The request body cannot be read: nested too deeply") from error
    if not patch:
        return NativeBody(raw, [])
    dropped = [name for name, change in patch.items() if change is DROP]
    try:
        return NativeBody(apply(raw, patch), dropped + block_changes.dropped)
    except ValueError as error:
        raise InvalidRequest(f"The request body cannot be read: {error}") from error


def _native_options(target: Target) -> NativeOptions:
    native = target.native
    return NativeOptions(
        model_id=target.model_id,
        max_output_tokens=target.max_output_tokens,
        capabilities=target.capabilities,
        takes_sampling=target.dialect.sampling,
        own_thinking="" if native.is_anthropic else native.native_thinking,
    )


def _patch_for(target: Target, body: dict[str, Any], block_changes: BlockChanges) -> Patch:
    """Return what must change of `body` for `target`; empty where the client's bytes go as they are."""
    patch, dialect = Patch(), target.native
    if body.get("model") != target.model_id:
        patch["model"] = target.model_id
    messages, strips_thinking = history_patch(body["messages"], dialect, block_changes)
    if messages:
        patch["messages"] = messages
    if not dialect.is_anthropic:
        if not dialect.native_betas:
            _drop_betas(body, dialect, patch)
        _limit_output(target, body, patch)
        _change_thinking(target, body, patch)
        if not dialect.native_betas:
            _drop_idle_effort(body, patch)
        _change_system(body, dialect, patch)
        _change_tools(body, dialect, patch)
    if strips_thinking and loses_thinking(body["messages"], messages):
        _switch_thinking_off(body, patch)
    return patch


def _drop_betas(body: dict[str, Any], dialect: NativeDialect, patch: Patch) -> None:
    """Take out what goes together with the header anthropic-beta: one without the other is a 400."""
    patch.update((name, DROP) for name in body if name not in _STABLE)
    if not dialect.native_metadata and "metadata" in body:
        patch["metadata"] = DROP
    config = body.get("output_config")
    if config is None:
        return
    if dialect.native_effort and isinstance(config, dict) and "effort" in config:
        if others := [name for name in config if name != "effort"]:
            patch["output_config"] = Patch.fromkeys(others, DROP)
    else:
        patch["output_config"] = DROP


def _limit_output(target: Target, body: dict[str, Any], patch: Patch) -> None:
    limit = target.max_output_tokens
    asked = whole_number(body.get("max_tokens"))
    if target.native.native_max_tokens == "clamp" and limit is not None and asked is not None and asked > limit:
        patch["max_tokens"] = limit


def _change_thinking(target: Target, body: dict[str, Any], patch: Patch) -> None:
    thinking = body.get("thinking")
    if not isinstance(thinking, dict) or thinking.get("type") == "disabled":
        if target.native.native_thinking == "none" and "thinking" in body:
            patch["thinking"] = DROP
        return
    if target.native.native_thinking == "none":
        patch["thinking"] = DROP
        return
    if target.capabilities is not None and "thinking" not in target.capabilities:
        patch["thinking"] = {"type": "disabled"}
        return
    room = patch.get("max_tokens", whole_number(body.get("max_tokens")))
    budget = whole_number(thinking.get("budget_tokens"))
    if thinking.get("type") == "enabled" and budget is not None:
        if room is not None and "max_tokens" in patch and budget >= room:
            patch["thinking"] = _thinking_within(budget, room)
        elif not target.native.native_betas and "display" in thinking:
            patch["thinking"] = Patch(display=DROP)
    elif target.native.native_thinking == "budget":
        config = body.get("output_config")
        effort = config.get("effort") if isinstance(config, dict) else None
        budget = _BUDGETS.get(effort, _BUDGETS["medium"]) if isinstance(effort, str) else _BUDGETS["medium"]
        patch["thinking"] = _thinking_within(budget, room)
    elif not target.native.native_betas and "display" in thinking:
        patch["thinking"] = Patch(display=DROP)


def _drop_idle_effort(body: dict[str, Any], patch: Patch) -> None:
    """Take out an effort beside thinking that is off: DeepSeek answers 400 to the two, and nobody heeds it."""
    thinking = patch.get("thinking", body.get("thinking"))
    if isinstance(thinking, dict) and thinking.get("type") == "disabled" and "output_config" in body:
        patch["output_config"] = DROP  # all else of it went with the betas


def _thinking_within(budget: int, room: int | None) -> dict[str, Any]:
    """Return thinking with a budget that leaves a fifth of `room` to the answer; off where that is too little."""
    if room is not None:
        budget = min(budget, room * 4 // 5)
    if budget < _MIN_BUDGET_TOKENS:
        return {"type": "disabled"}
    return {"type": "enabled", "budget_tokens": budget}


def _change_system(body: dict[str, Any], dialect: NativeDialect, patch: Patch) -> None:
    """Take out the billing header and marks that are not honoured; add the wish for JSON that has lost its field."""
    system = body.get("system")
    changes = Patch()
    if isinstance(system, str):
        if not dialect.native_billing_header and system.startswith(_BILLING_HEADER):
            patch["system"] = system.partition("\n")[2]
    elif isinstance(system, list):
        for position, block in enumerate(system):
            if not isinstance(block, dict):
                continue
            text = block.get("text")
            change = Patch()
            if not dialect.native_billing_header and isinstance(text, str) and text.startswith(_BILLING_HEADER):
                if not (rest := text.partition("\n")[2]).strip():
                    changes[position] = DROP
                    continue
                change["text"] = rest
            if not dialect.native_cache_control and "cache_control" in block:
                change["cache_control"] = DROP
            if change:
                changes[position] = change
    wish = "" if dialect.native_betas else _wish_for_json(body)
    if wish and isinstance(system, list):
        block = {"type": "text", "text": wish}
        if system:
            last = len(system) - 1
            kept = [changes[last]] if last in changes else [KEEP]
            changes[last] = Several([*(one for one in kept if one is not DROP), block])
        else:
            patch["system"] = [block]
    elif wish:
        before = patch.get("system", system)
        patch["system"] = f"{before}\n\n{wish}" if isinstance(before, str) and before else wish
    if changes:
        patch["system"] = changes
        if all(change is DROP for change in changes.values()) and len(changes) == len(system or ()):
            patch["system"] = DROP


def _wish_for_json(body: dict[str, Any]) -> str:
    """Return in words what output_config.format asks for, "" if nothing."""
    config = body.get("output_config")
    wanted = config.get("format") if isinstance(config, dict) else None
    wanted = wanted if wanted is not None else body.get("output_format")
    schema = wanted.get("schema") if isinstance(wanted, dict) and wanted.get("type") == "json_schema" else None
    if not isinstance(schema, dict):
        return ""
    return wish_for_schema(schema)


def _change_tools(body: dict[str, Any], dialect: NativeDialect, patch: Patch) -> None:
    tools = body.get("tools")
    if not isinstance(tools, list):
        return
    changes = Patch()
    for position, tool in enumerate(tools):
        if not isinstance(tool, dict):
            continue
        dropped: list[str] = []
        if not dialect.native_tool_search:
            if tool.get("name") == _PLACEHOLDER_TOOL:
                changes[position] = DROP
                continue
            dropped += [name for name in _BETA_TOOL_FIELDS if name in tool]
        if not dialect.native_cache_control and "cache_control" in tool:
            dropped.append("cache_control")
        if dropped:
            changes[position] = Patch.fromkeys(dropped, DROP)
    if changes:
        patch["tools"] = changes
    if not any(changes.get(position) is not DROP for position in range(len(tools))):
        # A list without tools is refused by some, and a choice among none by others.
        patch.update((name, DROP) for name in ("tools", "tool_choice") if name in body)


def _switch_thinking_off(body: dict[str, Any], patch: Patch) -> None:
    """Ask for no thinking in this call, and for no clearing of it, which is refused without.

    Left out rather than "disabled", which some models refuse as well (platform documentation, read 2026-11).
    """
    thinking = body.get("thinking")
    if not isinstance(thinking, dict) or thinking.get("type") == "disabled":
        return
    patch["thinking"] = DROP
    management = body.get("context_management")
    edits = management.get("edits") if isinstance(management, dict) else None
    if "context_management" in patch or not isinstance(edits, list):
        return
    clearing = [
        position
        for position, edit in enumerate(edits)
        if isinstance(edit, dict) and str(edit.get("type", "")).startswith(_CLEAR_THINKING)
    ]
    if len(clearing) == len(edits):
        patch["context_management"] = DROP
    elif clearing:
        patch["context_management"] = Patch(edits=Patch.fromkeys(clearing, DROP))
