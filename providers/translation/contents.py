"""Content parts -> the `content` of a Chat Completions message: a string wherever it can be one."""

from typing import Any

from providers.translation.blocks import BlockTranslator, Part, is_blank

OpenAIMessage = dict[str, Any]

# Claude Code's first system block: it changes with every conversation and only Anthropic's API removes it.
_BILLING_HEADER = "x-anthropic-billing-header"
_MARKS_MAX = 4


def system_parts(system: Any, blocks: BlockTranslator) -> list[Part]:
    """Return the parts of the top-level `system`, without Claude Code's billing header and blank blocks."""
    parts = []
    for part in texts_only(blocks.parts(system)):
        text = part["text"]
        if text.startswith(_BILLING_HEADER):
            _, _, rest = text.partition("\n")
            if is_blank(rest):
                continue
            part["text"] = rest
        parts.append(part)
    return parts


def system_message(parts: list[Part], *, keeps_parts: bool) -> OpenAIMessage:
    """Return the one system message: a string, or one part per block where cache marks are read."""
    return openai_message("system", parts, "\n\n", keeps_parts=keeps_parts)


def openai_message(role: str, parts: list[Part], separator: str, *, keeps_parts: bool) -> OpenAIMessage:
    """Return a message of `parts`; plain texts are joined with `separator`, unless `keeps_parts`."""
    return {"role": role, "content": content_of(parts, separator, keeps_parts=keeps_parts)}


def content_of(parts: list[Part], separator: str, *, keeps_parts: bool) -> str | list[Part]:
    """Return a string if the parts are plain text (many servers refuse lists), else the list.

    `keeps_parts` is for platforms that read cache marks. The marks are on other blocks in each request, so the form of
    a message must not depend on them: the prompt cache ends where a message differs from what it was.
    """
    is_plain = all(part["type"] == "text" and "cache_control" not in part for part in parts)
    if is_plain and not (keeps_parts and len(parts) > 1):
        return separator.join([part["text"] for part in parts])
    return [part for part in parts if part["type"] != "text" or not is_blank(part["text"])]


def append_texts(message: OpenAIMessage, parts: list[Part], *, keeps_parts: bool) -> None:
    """Add paragraphs to the end of a message whose content is a string or a list."""
    content = message["content"]
    if isinstance(content, str):
        before = [{"type": "text", "text": content}] if content else []
        message["content"] = content_of([*before, *parts], "\n\n", keeps_parts=keeps_parts)
    else:
        content.extend(parts)


def limit_marks(messages: list[OpenAIMessage], *, keeps_ttl: bool) -> None:
    """Leave at most four cache marks: the first, behind the system prompt, and the last ones.

    Platforms refuse a fifth; a client may mark as many as Anthropic takes, some of them on tools.
    """
    marked = [
        part
        for message in messages
        if isinstance(message["content"], list)
        for part in message["content"]
        if "cache_control" in part
    ]
    for part in marked[1 : 1 - _MARKS_MAX]:
        del part["cache_control"]
    if not keeps_ttl:
        for part in marked:
            part.get("cache_control", {}).pop("ttl", None)


def texts_only(parts: list[Part]) -> list[Part]:
    return [part for part in parts if part["type"] == "text"]


def reminder(parts: list[Part]) -> Part:
    """Return system text as Claude Code itself writes it into user messages."""
    text = "\n\n".join(part["text"] for part in parts)
    note = dict(parts[-1])
    note["text"] = text if text.startswith("<system-reminder>") else f"<system-reminder>\n{text}\n</system-reminder>"
    return note


def as_lines(parts: list[Part]) -> list[Part]:
    """Return what an assistant message cannot hold as text, each on lines of its own."""
    lines = []
    for part in parts:
        if part["type"] == "text":
            lines.append({**part, "text": f"\n{part['text']}\n"})
        else:
            lines.append({"type": "text", "text": f"\n[{kind_of(part)} omitted]\n"})
    return lines


def kind_of(part: Part) -> str:
    return "image" if part["type"] == "image_url" else "document"
