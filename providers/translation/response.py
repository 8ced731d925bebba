"""Reading Chat Completions answers: the parts of a chunk, and other shapes of an answer as chunks.

One translator serves streams and whole answers, so a `chat.completion` is turned into the chunk it could have been.
"""

from typing import Any

# The members that may hold reasoning, in the order in which they count. OpenRouter sends the same text in two of them.
_REASONING_MEMBERS = ("reasoning_content", "reasoning", "reasoning_details", "thinking")
_DETAIL_TEXTS = {"reasoning.text": "text", "reasoning.summary": "summary"}


def to_chunks(completion: dict[str, Any]) -> list[dict[str, Any]]:
    """Return a `chat.completion` as chunks; none if it has no choice."""
    choice = choice_of(completion)
    if choice is None:
        return []
    message = choice.get("message")
    delta = dict(message) if isinstance(message, dict) else {}
    calls = delta.get("tool_calls")
    if isinstance(calls, list):
        # Every call of a whole answer is one of its own, whatever its index says (Ollama: always 0).
        delta["tool_calls"] = [{**call, "index": at} for at, call in enumerate(calls) if isinstance(call, dict)]
    if isinstance(choice.get("text"), str) and not delta:
        delta = {"content": choice["text"]}
    chunk = {name: value for name, value in completion.items() if name != "choices"}
    chunk["choices"] = [{**choice, "index": 0, "message": None, "delta": delta}]
    return [chunk]


def from_ollama(answer: dict[str, Any]) -> dict[str, Any]:
    """Return a line of Ollama's own `/api/chat` (what a proxy of it may relay) as a chunk."""
    chunk: dict[str, Any] = {"choices": [{"index": 0, "delta": answer["message"], "finish_reason": None}]}
    if answer.get("done") is True:
        reason = answer.get("done_reason")
        chunk["choices"][0]["finish_reason"] = reason if isinstance(reason, str) and reason else "stop"
        chunk["usage"] = {
            "prompt_tokens": answer.get("prompt_eval_count"),
            "completion_tokens": answer.get("eval_count"),
        }
    return chunk


def is_ollama(answer: dict[str, Any]) -> bool:
    return "done" in answer and "choices" not in answer and isinstance(answer.get("message"), dict)


def choice_of(chunk: dict[str, Any]) -> dict[str, Any] | None:
    """Return choice 0; others are ignored. A choice without an index is choice 0 if it is the first."""
    choices = chunk.get("choices")
    if not isinstance(choices, list):
        return None
    for position, choice in enumerate(choices):
        if not isinstance(choice, dict):
            continue
        index = choice.get("index")
        if index in (0, "0") or (position == 0 and (isinstance(index, bool) or not isinstance(index, int | str))):
            return choice
    return None


def error_of(chunk: dict[str, Any]) -> Any:
    """Return the error that a chunk holds, as `{"error": …}`, or None.

    Besides OpenAI's `error`: OpenRouter's in the choice, vLLM's `{"object": "error"}`, SiliconFlow's and DashScope's
    `{"code", "message"}`, FastAPI's `{"detail"}`, MiniMax's `base_resp`.
    """
    error = chunk.get("error")
    if error and not isinstance(error, bool | int | float):
        return {name: chunk[name] for name in ("error", "code", "request_id", "user_id") if name in chunk}
    choices = chunk.get("choices")
    if choices:
        choice = choice_of(chunk)
        inner = choice.get("error") if choice else None
        return {"error": inner} if isinstance(inner, dict | str) and inner else None
    if isinstance(chunk.get("message"), str) and (
        chunk.get("object") == "error" or chunk.get("type") == "error" or _is_error_code(chunk.get("code"))
    ):
        return {"error": chunk}
    if chunk.get("detail") and "choices" not in chunk and "usage" not in chunk:
        return {"error": {"message": chunk["detail"] if isinstance(chunk["detail"], str) else str(chunk["detail"])}}
    status = chunk.get("base_resp")
    if isinstance(status, dict) and _is_error_code(status.get("status_code")):
        return {"error": {"code": status["status_code"], "message": str(status.get("status_msg") or "")}}
    return None


def text_of(content: Any) -> str:
    """Return the text of a `content`: a string, or a list of parts (Mistral) whose other kinds are ignored."""
    if isinstance(content, str):
        return content
    if not isinstance(content, list):
        return ""
    texts = []
    for part in content:
        if isinstance(part, str):
            texts.append(part)
        elif isinstance(part, dict) and part.get("type", "text") in ("text", "output_text"):
            text = part.get("text")
            if isinstance(text, str):
                texts.append(text)
    return "".join(texts)


def reasoning_of(delta: dict[str, Any], member: str | None) -> tuple[str, str | None]:
    """Return the reasoning text of a delta and the member it was in.

    `member` is the one that earlier deltas used: then only that one is read, for a text that comes in two of them (or
    again as a whole, at the end) must not be shown twice.
    """
    for name in (member,) if member else _REASONING_MEMBERS:
        value = delta.get(name)
        text = _details_text(value) if name == "reasoning_details" else value
        if isinstance(text, str) and text:
            return text, name
    return "", member


def details_of(delta: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the `reasoning_details` (OpenRouter) of a delta."""
    details = delta.get("reasoning_details")
    return [detail for detail in details if isinstance(detail, dict)] if isinstance(details, list) else []


class ReasoningDetails:
    """Streamed `reasoning_details`, as a non-streamed answer would have had them: OpenRouter wants them back like that.

    Pieces of one text or summary are joined, the rest is kept in order. A text has a piece per token.
    """

    def __init__(self) -> None:
        self._items: list[dict[str, Any]] = []
        self._pieces: list[list[str]] = []  # of the text or summary of each item

    def add(self, details: list[dict[str, Any]]) -> None:
        """Take the details of one chunk."""
        for detail in details:
            member = _DETAIL_TEXTS.get(str(detail.get("type")))
            piece = _string(detail.get(member)) if member else ""
            if member and self._items and _continues(self._items[-1], detail):
                self._items[-1].update({name: value for name, value in detail.items() if value is not None})
                self._pieces[-1].append(piece)
            else:
                self._items.append(dict(detail))
                self._pieces.append([piece])

    def whole(self) -> list[dict[str, Any]]:
        """Return what came so far."""
        whole = []
        for item, pieces in zip(self._items, self._pieces, strict=True):
            member = _DETAIL_TEXTS.get(str(item.get("type")))
            whole.append({**item, member: "".join(pieces)} if member else item)
        return whole


def _continues(last: dict[str, Any], detail: dict[str, Any]) -> bool:
    if last.get("type") != detail.get("type") or last.get("index") != detail.get("index"):
        return False
    return not (last.get("id") and detail.get("id") and last["id"] != detail["id"])


def _details_text(details: Any) -> str:
    if not isinstance(details, list):
        return ""
    return "".join(
        _string(detail.get("text")) or _string(detail.get("summary")) for detail in details if isinstance(detail, dict)
    )


def _string(value: Any) -> str:
    return value if isinstance(value, str) else ""


def _is_error_code(code: Any) -> bool:
    return isinstance(code, int | str) and not isinstance(code, bool) and code not in (0, "0", 200, "200", "")
