"""What a Messages endpoint gets in place of content blocks that it does not take, inside tool results too.

Files go through the translator of the OpenAI wire: a model is told the same of what it does not see on both.
"""

from collections.abc import Sequence
from typing import Any

from providers.json_patch import DROP, Patch, Several
from providers.target import Target
from providers.translation.attachments import Attachments
from providers.translation.blocks import BlockTranslator
from providers.translation.openai_clients.media_sources import image_source

Block = dict[str, Any]
# None: the block stays as it is.
BlockChange = Patch | Several | Block | None


class BlockChanges:
    """Finds what must change of content blocks for one target, and notes what the target does not see of them."""

    def __init__(self, target: Target, attachments: Attachments) -> None:
        dialect = target.native
        self._dialect = dialect
        self._renditions = attachments.renditions
        self._takes_documents = target.takes_documents
        self._sees = dialect.is_anthropic or target.can("vision")
        self._translator = BlockTranslator(
            vision=self._sees,
            pdf=False,
            pdf_by_url=False,
            cache_control=False,
            image_urls=dialect.native_image_urls,
            attachments=attachments,
        )
        # Nothing of a block can be wrong for Anthropic's own API: its messages need not be looked through.
        self._is_idle = (
            dialect.native_cache_control
            and dialect.native_image_urls
            and dialect.native_tool_search
            and dialect.native_betas
            and self._takes_documents
            and self._sees
            and not self._renditions
        )

    @property
    def dropped(self) -> list[str]:
        """What the target does not see of the blocks so far, as a call's record names it."""
        return self._translator.dropped

    def of(self, blocks: Sequence[Any]) -> Patch:
        """Return the changes of a message's or tool result's list of blocks, by position."""
        patch = Patch()
        if not self._is_idle:
            for position, block in enumerate(blocks):
                if isinstance(block, dict) and (change := self._change(block)) is not None:
                    patch[position] = change
        return patch

    def _change(self, block: Block) -> BlockChange:
        kind, dialect = block.get("type"), self._dialect
        if kind == "tool_reference" and not dialect.native_tool_search:
            return {"type": "text", "text": f"Tool available: {block.get('tool_name', '')}"}
        if self._is_refused(kind, block):
            return self._replacement(block)
        change = Patch()
        if not dialect.native_cache_control and "cache_control" in block:
            change["cache_control"] = DROP
        if kind == "tool_result" and (blocks := self._inside(block)):
            change["content"] = blocks
        elif kind == "document" and (blocks := self._inside(_source(block))):
            change["source"] = Patch(content=blocks)
        return change or None

    def _inside(self, container: Block) -> Patch:
        inner = container.get("content")
        return self.of(inner) if isinstance(inner, list) else Patch()

    def _is_refused(self, kind: Any, block: Block) -> bool:
        """Say whether the target refuses a file as it is, or drops it without a word."""
        takes_ids = self._dialect.native_betas  # of the Files API, which is a beta
        if kind in ("document", "search_result"):
            return not self._takes_documents or (not takes_ids and _source(block).get("type") == "file")
        if kind == "image":
            if not self._sees:
                return True
            source = _source(block)
            match source.get("type"):
                case "base64":
                    # Mostly there are none: spares hashing megabytes.
                    return bool(self._renditions) and source.get("data") in self._renditions
                case "url":
                    return not self._dialect.native_image_urls
                case "file":
                    return not takes_ids
        return kind == "container_upload" and not takes_ids

    def _replacement(self, block: Block) -> Several:
        blocks = [_block(part) for part in self._translator.part_of(block)]
        if self._dialect.native_cache_control and "cache_control" in block:
            blocks[-1]["cache_control"] = block["cache_control"]
        return Several(blocks)


def _source(block: Block) -> Block:
    source = block.get("source")
    return source if isinstance(source, dict) else {}


def _block(part: dict[str, Any]) -> Block:
    """Return a content part of the OpenAI wire as a block."""
    if part["type"] == "image_url":
        return {"type": "image", "source": image_source(part["image_url"]["url"], "image")}
    return dict(part)
