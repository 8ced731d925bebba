"""Content parts -> the `content` of a Chat Completions message: a string wherever it can be one."""

from typing import Any

from providers.translation.blocks import BlockTranslator, Part, is_blank

OpenAIMessage = dict[str, Any]

# Claude Code's first system block: it changes with every conversation and only Anthropic's API removes it.
_BILLING_HEADER = "x-anthropic-billing-header"


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


def system_message(parts: list[Part]) -> OpenAIMessage:
    """Return the one system message: a string, or one part per block where blocks carry cache marks."""
    return openai_message("system", parts, "\n\n")


def openai_message(role: str, parts: list[Part], separator: str) -> OpenAIMessage:
    """Return a message of `parts`; plain texts are joined with `separator`."""
    return {"role": role, "content": content_of(parts, separator)}


def content_of(parts: list[Part], separator: str) -> str | list[Part]:
    """Return a string if the parts are plain text (many servers refuse lists), else the list."""
    if all(part["type"] == "text" and "cache_control" not in part for part in parts):
        return separator.join([part["text"] for part in parts])
    return [part for part in parts if part["type"] != "text" or not is_blank(part["text"])]


def append_texts(message: OpenAIMessage, parts: list[Part]) -> None:
    """Add paragraphs to the end of a message whose content is a string or a list."""
    content = message["content"]
    if isinstance(content, str):
        before = [{"type": "text", "text": content}] if content else []
        message["content"] = content_of([*before, *parts], "\n\n")
    else:
        content.extend(parts)


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
