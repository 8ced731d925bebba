"""Reads an upstream's error body, whatever its shape.

OpenAI        {"error": {"message", "type", "param", "code"}}
OpenRouter    {"error": {"code": 502, "message", "metadata": {"raw": "…the vendor's own body…", "error_type"}}}
百炼           {"error": {…}, "request_id"} in OpenAI mode, {"code", "message", "request_id"} natively
SiliconFlow   {"code": 20012, "message", "data": null}, or a bare JSON string
Ollama, LM Studio   {"error": "text"}
llama.cpp     {"error": {"code": 400, "message", "type", "n_prompt_tokens", "n_ctx"}}
vLLM          {"object": "error", "message", "type", "param", "code"}
FastAPI       {"detail": …}
MiniMax       {"base_resp": {"status_code", "status_msg"}}
proxies       HTML or plain text
"""

import html
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from math import isfinite
from typing import Any

from providers import error_table as table
from providers import wire_json

_MAX_MESSAGE = 500


@dataclass(slots=True)
class Facts:
    """What an error body says, whatever its shape."""

    message: str = ""
    codes: set[str] = field(default_factory=set)  # lower-cased codes and types
    param: str = ""
    status: int | None = None  # an HTTP status inside the body
    request_id: str = ""
    retry_after_s: float | None = None
    prompt_tokens: int | None = None
    context_window: int | None = None


_SECRETS = re.compile(
    r"\b(?:sk|rk|pk|gsk|wg|hf|xai|tvly|nvapi|AIza)[-_][\w*.\-]{4,}|\bAIza[\w-]{20,}|(?<=bearer )[\w.~+/=-]{8,}",
    re.IGNORECASE,
)


def one_line(text: str, *, secret: str = "", limit: int = _MAX_MESSAGE) -> str:
    """Return `text` on one line, at most `limit` characters, without `secret` and anything that looks like a key."""
    if len(secret) >= 6:
        text = text.replace(secret, "[secret]")
    text = _SECRETS.sub("[secret]", text[: limit * 8])
    text = " ".join("".join(c if c.isprintable() else " " for c in text).split())
    return text if len(text) <= limit else text[: limit - 1] + "…"


def facts_of_body(body: bytes, status: int) -> Facts:
    """Return what the body of an answer with `status` says."""
    if not body.strip():
        return Facts()
    try:
        return facts_of(wire_json.decode(body))
    except ValueError:
        pass
    text = body[:100_000].decode("utf-8", "replace")
    if data := re.search(r"^data:\s*(\{.*)$", text, re.MULTILINE):  # an error status with an event stream as its body
        try:
            return facts_of(wire_json.decode(data[1].encode()))
        except ValueError:
            pass
    if re.search(r"<(?:!doctype|html|head|title|body)\b", text, re.IGNORECASE):
        title = re.search(r"<title[^>]*>(.*?)</title>", text, re.IGNORECASE | re.DOTALL)
        words = one_line(html.unescape(re.sub(r"<[^>]*>", " ", title[1])), limit=200) if title else ""
        return Facts(message=words or f"HTTP {status} with an HTML page instead of an answer")
    return Facts(message=one_line(text, limit=200))


def facts_of(payload: Any) -> Facts:
    """Read an error body of any known shape."""
    facts = Facts()
    if isinstance(payload, Mapping) and isinstance(resp := payload.get("base_resp"), Mapping):  # MiniMax
        code = resp.get("status_code")
        facts.message = str(resp.get("status_msg") or "")
        facts.status = table.MINIMAX_STATUS.get(code, 500) if isinstance(code, int) and code else None
        if "error" not in payload:
            return facts
    messages: list[str] = []
    _read(payload, facts, messages, depth=0)
    facts.message = ": ".join(dict.fromkeys(filter(None, messages))) or facts.message
    return facts


def _read(node: Any, facts: Facts, messages: list[str], depth: int) -> None:
    """Collect from `node`: an error object, the text or list that stands for one, or what holds one as `error`."""
    if depth > 4:
        return
    if isinstance(node, str):
        messages.append(node)
        return
    if isinstance(node, list):
        for item in node[:3]:
            _read(item, facts, messages, depth + 1)
        return
    if not isinstance(node, Mapping):
        return
    facts.request_id = facts.request_id or _text(node.get("request_id"))
    for name in ("code", "type", "error_type", "status"):
        value = node.get(name)
        if isinstance(value, bool) or not isinstance(value, str | int):
            continue
        facts.codes.add(str(value).lower())
        if name in ("code", "status") and facts.status is None and str(value).isdecimal() and 400 <= int(value) <= 599:
            facts.status = int(value)
    if isinstance(param := node.get("param"), str):
        facts.param = facts.param or param
    for name in ("message", "msg", "detail"):
        value = node.get(name)
        if isinstance(value, str):
            messages.append(value)
            if value[:1] in "{[" and value[:1]:  # a JSON document as text: LiteLLM and other gateways nest them
                _read_text(value, facts, [], depth)
        elif value is not None and name == "detail":
            _read_detail(value, facts, messages, depth)
    if "message" not in node and isinstance(location := node.get("loc"), list):
        messages.append(".".join(map(str, location)))
    facts.prompt_tokens = facts.prompt_tokens or _whole(node.get("n_prompt_tokens"))
    facts.context_window = facts.context_window or _whole(node.get("n_ctx"))
    if "error" in node:
        _read(node["error"], facts, messages, depth + 1)
    if isinstance(metadata := node.get("metadata"), Mapping):  # OpenRouter
        _read({name: metadata.get(name) for name in ("error_type",)}, facts, [], depth + 1)
        if metadata.get("reasons") or metadata.get("flagged_input"):
            facts.codes.add("moderation")
        raw = metadata.get("raw")
        if isinstance(raw, str):
            _read_text(raw, facts, messages, depth)
        else:
            _read(raw, facts, messages, depth + 1)
    if isinstance(availability := node.get("availability"), Mapping):
        facts.codes.add(_text(availability.get("code")).lower())
        wait = availability.get("retry_after")
        if isinstance(wait, int | float) and not isinstance(wait, bool) and isfinite(wait) and wait >= 0:
            facts.retry_after_s = float(wait)


def _read_text(text: str, facts: Facts, messages: list[str], depth: int) -> None:
    """Collect from `text`, which may be a JSON document."""
    try:
        document = wire_json.decode(text.encode("utf-8", "replace"))
    except ValueError:
        messages.append(text)
        return
    inner = Facts()
    _read(document, inner, messages, depth + 1)
    facts.codes |= inner.codes
    facts.param = facts.param or inner.param


def _read_detail(detail: Any, facts: Facts, messages: list[str], depth: int) -> None:
    """Collect from FastAPI's `detail`: an object, or a list of {loc, msg}."""
    for item in detail[:3] if isinstance(detail, list) else [detail]:
        if isinstance(item, Mapping) and isinstance(item.get("loc"), list) and isinstance(item.get("msg"), str):
            location = [str(part) for part in item["loc"] if part != "body"]
            facts.param = facts.param or (location[0] if len(location) == 1 else "")
            messages.append(f"{'.'.join(location)}: {item['msg']}")
        else:
            _read(item, facts, messages, depth + 1)


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""


def _whole(value: Any) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and value > 0 else None
