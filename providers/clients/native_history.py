"""What must change of the messages before a Messages endpoint takes them.

Thinking blocks that our translator signed, or that have no signature, are a 400 at Anthropic's API; mid-conversation
system messages are one at others (see `NativeDialect`).
"""

from collections.abc import Callable
from typing import Any

from providers.clients.native_blocks import BlockChanges
from providers.json_patch import DROP, KEEP, Patch, Several
from providers.native_dialect import NativeDialect
from providers.translation import server_blocks
from providers.translation.signature import is_ours

Message = dict[str, Any]


def history_patch(messages: list[Message], dialect: NativeDialect, block_changes: BlockChanges) -> tuple[Patch, bool]:
    """Return the changes of the list of messages, and whether thinking blocks are taken out."""
    patch = Patch()
    strips_thinking = False
    for position, message in enumerate(messages):
        change = Patch()
        content = message.get("content")
        if isinstance(content, list):
            blocks = block_changes.of(content)
            if message.get("role") == "assistant":
                foreign = [at for at, block in enumerate(content) if _is_foreign_thinking(block, dialect)]
                blocks.update((at, DROP) for at in foreign)
                strips_thinking = strips_thinking or bool(foreign)
                # Results of the gateway's own searches are a 400 there: their contents are not Anthropic's.
                blocks.update((at, _text_block(text)) for at, text in server_blocks.own_searches(content).items())
                if foreign and all(blocks.get(at) is DROP for at in range(len(content))):
                    patch[position] = DROP  # a message without content is refused
                    continue
            if blocks:
                change["content"] = blocks
        if not dialect.native_betas:
            change.update((name, DROP) for name in message if name not in ("role", "content"))
        if change:
            patch[position] = change
    if dialect.native_system == "fold" and any(message.get("role") == "system" for message in messages):
        _fold_system(messages, patch)
    return patch, strips_thinking


def loses_thinking(messages: list[Message], patch: Patch) -> bool:
    """Say whether the last assistant turn, in the middle of a tool loop, does not begin with thinking once patched.

    With thinking on that is refused (Messages API, extended thinking with tool use).
    """
    for position in range(len(messages) - 1, -1, -1):
        message = messages[position]
        if message.get("role") != "assistant":
            continue
        content = message.get("content")
        if not isinstance(content, list) or not any(
            isinstance(block, dict) and block.get("type") == "tool_use" for block in content
        ):
            return False
        change = patch.get(position)
        blocks = change.get("content", Patch()) if isinstance(change, Patch) else Patch()
        kept = [block for at, block in enumerate(content) if blocks.get(at) is not DROP]
        first = kept[0] if kept and isinstance(kept[0], dict) else {}
        return first.get("type") not in ("thinking", "redacted_thinking")
    return False


def _is_foreign_thinking(block: Any, dialect: NativeDialect) -> bool:
    """Say whether the upstream cannot have written this thinking block."""
    if not isinstance(block, dict) or block.get("type") != "thinking":
        return False
    signature = block.get("signature")
    if not isinstance(signature, str) or not signature:
        return not dialect.native_unsigned_thinking
    return is_ours(signature)


def _fold_system(messages: list[Message], patch: Patch) -> None:
    """Make text of user messages of the system messages: of the one before, else of the next one.

    Only the end of a growing conversation is ever touched, so its beginning stays in the prompt cache.
    """
    before: dict[int, list[str]] = {}  # position of a user message -> reminders that go to its beginning
    behind: dict[int, list[str]] = {}  # … to its end
    last_other: int | None = None
    for position, message in enumerate(messages):
        if message.get("role") != "system":
            last_other = position
            continue
        text = _reminder(message.get("content"))
        following = next(
            (at for at in range(position + 1, len(messages)) if messages[at].get("role") != "system"), None
        )
        if last_other is not None and messages[last_other].get("role") == "user":
            behind.setdefault(last_other, []).append(text)
        elif following is not None and messages[following].get("role") == "user":
            before.setdefault(following, []).append(text)
        else:
            patch[position] = {"role": "user", "content": text or "<system-reminder>\n</system-reminder>"}
            continue
        patch[position] = DROP
    for position in before.keys() | behind.keys():
        first = [_text_block(text) for text in before.get(position, ()) if text]
        last = [_text_block(text) for text in behind.get(position, ()) if text]
        if first or last:
            _surround(messages[position].get("content"), position, first, last, patch)


def _surround(content: Any, position: int, first: list[Message], last: list[Message], patch: Patch) -> None:
    """Put blocks at the beginning (behind tool results, which must come first) and at the end of a user message."""
    change = patch.get(position)
    change = patch[position] = change if isinstance(change, Patch) else Patch()
    if not isinstance(content, list) or not content:
        own = [_text_block(content)] if isinstance(content, str) and content else []
        change["content"] = [*first, *own, *last]
        return
    blocks = change.setdefault("content", Patch())

    def place(at: int, put: Callable[[list[Any]], list[Any]]) -> None:
        current = blocks.get(at, KEEP)
        blocks[at] = Several(put(list(current.values) if isinstance(current, Several) else [current]))

    if last:
        place(len(content) - 1, lambda present: [*present, *last])
    if first:
        results = [
            at for at, block in enumerate(content) if isinstance(block, dict) and block.get("type") == "tool_result"
        ]
        if results:
            place(results[-1], lambda present: [present[0], *first, *present[1:]])
        else:
            place(0, lambda present: [*first, *present])


def _text_block(text: str) -> Message:
    return {"type": "text", "text": text}


def _reminder(content: Any) -> str:
    """Return system text as Claude Code itself writes it into user messages."""
    if isinstance(content, str):
        text = content
    else:
        blocks = content if isinstance(content, list) else []
        texts = [block.get("text") for block in blocks if isinstance(block, dict) and block.get("type") == "text"]
        text = "\n\n".join(part for part in texts if isinstance(part, str) and part)
    return f"<system-reminder>\n{text}\n</system-reminder>" if text.strip() else ""
