"""The facts of a request, read in one go: what it is for, what the user said, and what it asks of a model."""

from collections.abc import Mapping, Sequence
from itertools import islice
from typing import Any

from providers.translation.needs import needs_of
from providers.translation.thinking import requested_thinking
from routing.intent.facts import Facts
from routing.intent.kinds import kind_of
from routing.intent.words import MAX_TEXT, own_words
from routing.models import Effort, RequestKind

__all__ = ["MAX_TEXT", "facts_of"]

# Work on a hostile or giant conversation ends here.
_MAX_MESSAGES = 4000
_MAX_BLOCKS = 2000  # of one message, the newest
_MAX_DEPTH = 4
_MAX_NOTE_CHARS = 1_000_000  # of the client's notes, the newest
_REMINDER = "<system-reminder>"
# The notes by which Claude Code (2.1.330) tells the model that plan mode began, goes on, or ended. Each is a paragraph
# of its own, in a message of the role "system" or, for older models, in a reminder.
_PLAN_NOTES = {
    "Plan mode is active. ": True,
    "Plan mode still active ": True,
    "## Re-entering Plan Mode": True,
    "## Exited Plan Mode": False,
}
_EFFORTS: dict[str, str] = {"minimal": Effort.LOW, **{value: value for value in Effort.values}}


def facts_of(
    body: dict[str, Any],
    headers: Mapping[str, str],
    *,
    prompt_tokens: int,
    pdf_tokens: int = 0,
    max_tokens: int | None = None,
    kind: str = "",
) -> Facts:
    """Return what routing goes by in a validated request in Messages form; `headers` by lower-cased name.

    `kind` is given where it is known already. Takes no more than a few milliseconds, whatever the size of the body.
    """
    kind = kind or kind_of(body, headers)
    needs = needs_of(body)
    messages = body["messages"]
    words = own_words(_without_instructions(messages) if kind == RequestKind.COMPACTION else messages)
    return Facts(
        requested_model=body["model"],
        kind=kind,
        text=words.text,
        is_approval=words.is_approval,
        in_tool_loop=words.in_tool_loop,
        has_history=words.has_history,
        prompt_tokens=prompt_tokens,
        max_tokens=max_tokens,
        pdf_tokens=pdf_tokens,
        needs=needs,
        effort=_effort(body),
        plan_mode=_is_plan_mode(body),
        has_image="vision" in needs,
        has_pdf=_has_pdf(messages),
        has_tools="tools" in needs,
    )


def _without_instructions(messages: Sequence[Mapping[str, Any]]) -> Sequence[Mapping[str, Any]]:
    """Return the messages without the client's instructions for a summary: the last text."""
    *earlier, last = messages
    content = last.get("content")
    return [*earlier, {**last, "content": content[:-1]}] if isinstance(content, list) else earlier


def _effort(body: dict[str, Any]) -> str:
    """Return the effort that a request names, or what its thinking budget amounts to; "" if it says nothing of it."""
    if "thinking" not in body and "output_config" not in body:
        return ""
    thinking = requested_thinking(body)
    if thinking.level == "off":
        return ""
    config = body.get("output_config")
    named = config.get("effort") if isinstance(config, Mapping) else None
    if isinstance(named, str) and named in _EFFORTS:
        return _EFFORTS[named]
    return _EFFORTS.get(thinking.level, "") if thinking.budget_tokens else ""


def _is_plan_mode(body: Mapping[str, Any]) -> bool:
    """Say whether the client is in plan mode, where the model must not change anything yet.

    In automatic mode each request names its mode. In others the newest note on it counts; what the user writes or a
    tool brings about plan mode does not.
    """
    safeguards = body.get("safeguards")
    for safeguard in islice(safeguards, 10) if isinstance(safeguards, list) else ():
        context = safeguard.get("classifier_context") if isinstance(safeguard, Mapping) else None
        mode = context.get("permission_mode") if isinstance(context, Mapping) else None
        if isinstance(mode, str):
            return mode == "plan"
    left = _MAX_NOTE_CHARS
    for message in islice(reversed(body["messages"]), _MAX_MESSAGES):
        for note in _notes(message):
            if (says := _says_plan_mode(note)) is not None:
                return says
            left -= len(note)
            if left <= 0:
                return False
    return False


def _notes(message: Mapping[str, Any]) -> list[str]:
    """Return the texts of a message that the client wrote, the newest first."""
    role, content = message.get("role"), message.get("content")
    if role == "assistant":
        return []
    if not isinstance(content, list):
        content = [{"type": "text", "text": content}]
    found = []
    for block in islice(reversed(content), _MAX_BLOCKS):
        text = block.get("text")
        if (
            block.get("type") == "text"
            and isinstance(text, str)
            and (role == "system" or text.startswith(_REMINDER, 0, len(_REMINDER)))
        ):
            found.append(text[-_MAX_NOTE_CHARS:])
    return found


def _says_plan_mode(note: str) -> bool | None:
    """Return what the last word on plan mode in a note is, None if there is none."""
    if "lan mode " not in note and "Plan Mode" not in note:
        return None
    lines = f"\n{note}"
    newest, says = max((lines.rfind(f"\n{words}"), is_on) for words, is_on in _PLAN_NOTES.items())
    return says if newest >= 0 else None


def _has_pdf(messages: Sequence[Mapping[str, Any]]) -> bool:
    """Say whether the last turn of the user holds a PDF file, those that a tool brought included."""
    has_begun = False
    for message in islice(reversed(messages), _MAX_MESSAGES):
        if message.get("role") == "assistant":
            if has_begun:
                return False
            continue
        has_begun = True
        if _holds_pdf(message.get("content"), 0):
            return True
    return False


def _holds_pdf(content: Any, depth: int) -> bool:
    if not isinstance(content, list) or depth > _MAX_DEPTH:
        return False
    for block in islice(reversed(content), _MAX_BLOCKS):
        if not isinstance(block, Mapping):
            continue
        if block.get("type") == "document" and _is_pdf(block.get("source")):
            return True
        if block.get("type") == "tool_result" and _holds_pdf(block.get("content"), depth + 1):
            return True
    return False


def _is_pdf(source: Any) -> bool:
    """Say whether the source of a document is a PDF file: documents are these, or plain text and content blocks."""
    if not isinstance(source, Mapping):
        return False
    return source.get("type") in ("base64", "url", "file") and source.get("media_type") in (None, "application/pdf")
