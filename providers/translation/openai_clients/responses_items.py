"""The output items of a Responses stream, each written as it comes about and returned whole when it is done."""

import json
from collections.abc import Callable
from typing import Any

from providers.translation.arguments import RAW_KEY
from providers.translation.openai_clients import typed_client_tools
from providers.translation.openai_clients.chat_answer import CUSTOM_INPUT
from providers.translation.openai_clients.responses_reasoning import encrypted_content
from providers.translation.openai_clients.responses_tools import ClientTool

Item = dict[str, Any]
# Writes one event: its type, and its members besides `type` and `sequence_number`.
Emit = Callable[[str, dict[str, Any]], None]


class MessageItem:
    """The text of an answer. Blocks of text that follow each other are one part: citations cut text into many."""

    def __init__(self, emit: Emit, index: int, item_id: str) -> None:
        self.index = index
        self.item_id = item_id
        self._emit = emit
        self._where = {"item_id": item_id, "output_index": index, "content_index": 0}
        self._pieces: list[str] = []
        self._length = 0
        self._annotations: list[dict[str, Any]] = []
        self._refusal = ""
        self._block_begin = 0
        self._citations: list[dict[str, Any]] = []  # of the open block
        item = {"id": item_id, "type": "message", "role": "assistant", "status": "in_progress", "content": []}
        emit("response.output_item.added", {"output_index": index, "item": item})
        emit("response.content_part.added", {**self._where, "part": _text_part("", [])})

    @property
    def text(self) -> str:
        return "".join(self._pieces)

    def begin_block(self) -> None:
        self._block_begin = self._length
        self._citations = []

    def add(self, text: str) -> None:
        """Note text whose event the caller writes."""
        self._pieces.append(text)
        self._length += len(text)

    def cite(self, citation: Any) -> None:
        """Note a citation of the open block."""
        if isinstance(citation, dict) and isinstance(citation.get("url"), str):
            self._citations.append(citation)

    def end_block(self) -> None:
        """Write the citations of the block, which say where in the text they belong."""
        for citation in self._citations:
            title = citation.get("title")
            annotation = {
                "type": "url_citation",
                "start_index": self._block_begin,
                "end_index": self._length,
                "url": citation["url"],
                "title": title if isinstance(title, str) else "",
            }
            members = {**self._where, "annotation_index": len(self._annotations), "annotation": annotation}
            self._emit("response.output_text.annotation.added", members)
            self._annotations.append(annotation)
        self._citations = []

    def refuse(self, explanation: str) -> None:
        """Add why the model went no further."""
        where = {**self._where, "content_index": 1}
        self._refusal = explanation
        self._emit("response.content_part.added", {**where, "part": {"type": "refusal", "refusal": ""}})
        self._emit("response.refusal.delta", {**where, "delta": explanation})
        self._emit("response.refusal.done", {**where, "refusal": explanation})
        self._emit("response.content_part.done", {**where, "part": {"type": "refusal", "refusal": explanation}})

    def close(self, *, is_cut: bool) -> Item:
        """End the item; `is_cut`: the answer stopped before its end."""
        part = _text_part(self.text, self._annotations)
        self._emit("response.output_text.done", {**self._where, "text": self.text, "logprobs": []})
        self._emit("response.content_part.done", {**self._where, "part": part})
        content = [part, {"type": "refusal", "refusal": self._refusal}] if self._refusal else [part]
        status = "incomplete" if is_cut else "completed"
        item = {"id": self.item_id, "type": "message", "role": "assistant", "status": status, "content": content}
        self._emit("response.output_item.done", {"output_index": self.index, "item": item})
        return item


class ReasoningItem:
    """A thinking block. Its text goes out as a summary if the client asked for one."""

    def __init__(
        self, emit: Emit, index: int, item_id: str, block: dict[str, Any], *, is_shown: bool, is_encrypted: bool
    ) -> None:
        self.index = index
        self._emit = emit
        self._item_id = item_id
        self._block = {**block, "thinking": ""}
        self._is_shown = is_shown
        self._is_encrypted = is_encrypted
        self._pieces: list[str] = []
        self._where = {"item_id": item_id, "output_index": index, "summary_index": 0}
        item = {"id": item_id, "type": "reasoning", "summary": [], "status": "in_progress"}
        emit("response.output_item.added", {"output_index": index, "item": item})

    def add(self, text: str) -> None:
        if not text:
            return
        if self._is_shown:
            if not self._pieces:
                part = {"type": "summary_text", "text": ""}
                self._emit("response.reasoning_summary_part.added", {**self._where, "part": part})
            self._emit("response.reasoning_summary_text.delta", {**self._where, "delta": text})
        self._pieces.append(text)

    def sign(self, signature: Any) -> None:
        if isinstance(signature, str):
            self._block["signature"] = signature

    def close(self) -> Item:
        text = "".join(self._pieces)
        summary = []
        if text and self._is_shown:
            part = {"type": "summary_text", "text": text}
            self._emit("response.reasoning_summary_text.done", {**self._where, "text": text})
            self._emit("response.reasoning_summary_part.done", {**self._where, "part": part})
            summary.append(part)
        item: Item = {"id": self._item_id, "type": "reasoning", "summary": summary, "status": "completed"}
        if self._is_encrypted:
            item["encrypted_content"] = encrypted_content({**self._block, "thinking": text}, is_shown=self._is_shown)
        self._emit("response.output_item.done", {"output_index": self.index, "item": item})
        return item


class CallItem:
    """A call of one of the client's tools. It is done once its input is whole, so that no half call is ever run."""

    def __init__(self, emit: Emit, index: int, item_id: str, call_id: str, tool: ClientTool) -> None:
        self.index = index
        self._emit = emit
        self._call_id = call_id
        self._tool = tool
        self._pieces: list[str] = []
        self._where = {"item_id": item_id, "output_index": index}
        if tool.kind in ("function", "custom"):
            self._added(self._item("", "in_progress"))

    def add(self, text: str) -> None:
        if not text:
            return
        self._pieces.append(text)
        if self._tool.kind == "function":
            self._emit("response.function_call_arguments.delta", {**self._where, "delta": text})

    @property
    def is_whole(self) -> bool:
        return _object(self._arguments) is not None

    def close(self) -> Item:
        """End the item. Input that is no JSON goes to the client as it is, for it to tell the model."""
        arguments = self._arguments
        tool_input = _object(arguments)
        if tool_input is not None and isinstance(tool_input.get(RAW_KEY), str):
            arguments, tool_input = tool_input[RAW_KEY], None
        if self._tool.kind == "function":
            if not self._pieces:
                self._emit("response.function_call_arguments.delta", {**self._where, "delta": arguments})
            self._emit("response.function_call_arguments.done", {**self._where, "arguments": arguments})
            item = self._item(arguments, "completed")
        elif self._tool.kind == "custom":
            # The text is inside a JSON string that may be cut anywhere: it is sent when it is whole.
            text = tool_input.get(CUSTOM_INPUT) if tool_input is not None else None
            text = text if isinstance(text, str) else arguments
            self._emit("response.custom_tool_call_input.delta", {**self._where, "delta": text})
            self._emit("response.custom_tool_call_input.done", {**self._where, "input": text})
            item = self._item(text, "completed")
        else:
            ids = {"id": self._where["item_id"], "call_id": self._call_id}
            members = typed_client_tools.call_item(self._tool.kind, tool_input or {})
            # What is no such call goes out as one of a function, for the client to refuse.
            item = {**members, **ids, "status": "completed"} if members else self._item(arguments, "completed")
            self._added({**item, "status": "in_progress"})
        self._emit("response.output_item.done", {"output_index": self.index, "item": item})
        return item

    @property
    def _arguments(self) -> str:
        return "".join(self._pieces) or "{}"

    def _added(self, item: Item) -> None:
        self._emit("response.output_item.added", {"output_index": self.index, "item": item})

    def _item(self, value: str, status: str) -> Item:
        item: Item = {"id": self._where["item_id"], "call_id": self._call_id, "name": self._tool.name}
        if self._tool.namespace is not None:
            item["namespace"] = self._tool.namespace
        if self._tool.kind == "custom":
            return {**item, "type": "custom_tool_call", "input": value, "status": status}
        return {**item, "type": "function_call", "arguments": value, "status": status}


class SearchItem:
    """A search or a fetch that the upstream's servers make; several may run before the first result comes."""

    def __init__(
        self, emit: Emit, index: int, item_id: str, tool_use_id: str, *, is_fetch: bool, shows_sources: bool
    ) -> None:
        self.index = index
        self.tool_use_id = tool_use_id
        self._emit = emit
        self._is_fetch = is_fetch
        self._shows_sources = shows_sources
        self._pieces: list[str] = []
        self._sources: list[dict[str, Any]] = []
        self._where = {"item_id": item_id, "output_index": index}
        emit("response.output_item.added", {"output_index": index, "item": self._item("in_progress")})
        emit("response.web_search_call.in_progress", dict(self._where))
        emit("response.web_search_call.searching", dict(self._where))

    def add(self, text: str) -> None:
        self._pieces.append(text)

    def close(self, content: Any = None) -> Item:
        """End the item with what was found: a list of results, an object that says why there are none, or None."""
        results = content if isinstance(content, list) else []
        urls = [result["url"] for result in results if isinstance(result, dict) and isinstance(result.get("url"), str)]
        self._sources = [{"type": "url", "url": url} for url in urls]
        is_failed = content is None or (isinstance(content, dict) and "error_code" in content)
        item = self._item("failed" if is_failed else "completed")
        self._emit("response.web_search_call.completed", dict(self._where))
        self._emit("response.output_item.done", {"output_index": self.index, "item": item})
        return item

    def _item(self, status: str) -> Item:
        asked = _object("".join(self._pieces)) or {}
        if self._is_fetch:
            url = asked.get("url")
            action: dict[str, Any] = {"type": "open_page", "url": url if isinstance(url, str) else None}
        else:
            query = asked.get("query")
            query = query if isinstance(query, str) else ""
            action = {"type": "search", "query": query, "queries": [query] if query else []}
            if self._shows_sources:
                action["sources"] = self._sources
        return {"id": self._where["item_id"], "type": "web_search_call", "status": status, "action": action}


def arguments_of(tool_input: Any) -> str:
    """Return the text of a call's input; of one that was no JSON, the text that it was."""
    if isinstance(tool_input, dict) and tool_input.keys() == {RAW_KEY} and isinstance(tool_input[RAW_KEY], str):
        return str(tool_input[RAW_KEY])
    # Not orjson: integers beyond 64 bits must stay what they are.
    return json.dumps(tool_input, ensure_ascii=False) if tool_input else ""


def _text_part(text: str, annotations: list[dict[str, Any]]) -> dict[str, Any]:
    return {"type": "output_text", "text": text, "annotations": annotations, "logprobs": []}


def _object(text: str) -> dict[str, Any] | None:
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None
