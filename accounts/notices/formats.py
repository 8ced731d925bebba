"""The wire formats of the chat platforms, as pure functions: a message becomes a request, an answer a verdict.

Sources, read 2026-11-26:
    Feishu and Lark   https://open.feishu.cn/document/client-docs/bot-v3/add-custom-bot
    DingTalk          https://open.dingtalk.com/document/orgapp/custom-robots-send-group-messages
    WeCom             https://developer.work.weixin.qq.com/document/path/91770
    Slack             https://docs.slack.dev/messaging/sending-messages-using-incoming-webhooks

Names that people chose stand in the messages. They must not call the whole group, nor forge links: where a platform
has plain text it is used (Feishu's cards, Slack's blocks); where it has only markdown, what could mark up anything is
replaced by its full-width twin, because neither DingTalk nor WeCom documents an escape.
"""

import base64
import hashlib
import hmac
import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from urllib.parse import quote_plus

from accounts.models import NotificationChannel
from accounts.notices.events import CRITICAL, INFO, WARNING, Message, said

_Kind = NotificationChannel.Kind

_FULL_WIDTH = str.maketrans({character: chr(ord(character) + 0xFEE0) for character in "<>[]*`@~#|\\"})
# WeCom counts bytes of the whole text; the others allow more.
_MAX_MARKDOWN_BYTES = 4096
_MAX_SLACK_TITLE, _MAX_SLACK_TEXT = 150, 3000
_FEISHU_COLORS = {INFO: "blue", WARNING: "orange", CRITICAL: "red"}
_WECOM_COLORS = {INFO: "info", WARNING: "warning", CRITICAL: "warning"}


@dataclass(frozen=True, slots=True)
class Request:
    """A POST to a platform. The URL is a secret."""

    url: str
    headers: Mapping[str, str]
    content: bytes


@dataclass(frozen=True, slots=True)
class Verdict:
    """How a platform took a message. `error` is empty when it was delivered."""

    error: str = ""
    wait_s: float = 0.0  # it asked for so long a pause


def request_of(kind: str, url: str, secret: str, message: Message, document: dict[str, Any], now: datetime) -> Request:
    """Return the request that delivers `message` to a channel of `kind`, signed if there is a `secret`.

    `document` is what a plain webhook gets beside the texts: it wants the facts.
    """
    headers = {"content-type": "application/json; charset=utf-8"}
    body: dict[str, Any]
    if kind == _Kind.FEISHU:
        body = feishu(message)
        if secret:
            timestamp = str(int(now.timestamp()))
            body = {"timestamp": timestamp, "sign": feishu_signature(secret, timestamp), **body}
    elif kind == _Kind.DINGTALK:
        body = dingtalk(message)
        if secret:
            timestamp = str(int(now.timestamp() * 1000))
            url += f"{'&' if '?' in url else '?'}timestamp={timestamp}&sign={dingtalk_signature(secret, timestamp)}"
    elif kind == _Kind.WECOM:
        body = wecom(message)
    elif kind == _Kind.SLACK:
        body = slack(message)
    else:
        body = {**document, "level": message.level, "title": message.title, "text": message.as_text()}
    content = json.dumps(body, ensure_ascii=False).encode()
    if kind == _Kind.WEBHOOK:
        timestamp = str(int(now.timestamp()))
        headers["x-wolfgate-timestamp"] = timestamp
        if secret:
            headers["x-wolfgate-signature"] = webhook_signature(secret, timestamp, content)
    return Request(url, headers, content)


def feishu(message: Message) -> dict[str, Any]:
    """Return a card. Its texts are plain, so that `<at id=all>` in a name stays what it is."""
    return {
        "msg_type": "interactive",
        "card": {
            "config": {"wide_screen_mode": True},
            "header": {
                "template": _FEISHU_COLORS[message.level],
                "title": {"tag": "plain_text", "content": message.title},
            },
            "elements": [
                {"tag": "div", "text": {"tag": "plain_text", "content": said(label, value)}}
                for label, value in message.lines
            ],
        },
    }


def feishu_signature(secret: str, timestamp: str) -> str:
    """Return `sign`: HMAC-SHA256 of nothing under the key `timestamp`, line feed, secret. The time is in seconds."""
    key = f"{timestamp}\n{secret}".encode()
    return base64.b64encode(hmac.new(key, b"", hashlib.sha256).digest()).decode()


def dingtalk(message: Message) -> dict[str, Any]:
    """Return a markdown message. Nobody is called: that takes an `at`, which there is not."""
    return {"msgtype": "markdown", "markdown": {"title": _unmarked(message.title), "text": _markdown(message)}}


def dingtalk_signature(secret: str, timestamp: str) -> str:
    """Return `sign` for the query: HMAC-SHA256 of `timestamp`, line feed, secret. The time is in milliseconds."""
    text = f"{timestamp}\n{secret}".encode()
    return quote_plus(base64.b64encode(hmac.new(secret.encode(), text, hashlib.sha256).digest()))


def wecom(message: Message) -> dict[str, Any]:
    """Return a markdown message of at most 4,096 bytes. WeCom has no signature: its URL holds the key."""
    title = f'<font color="{_WECOM_COLORS[message.level]}">{_unmarked(message.title)}</font>'
    return {"msgtype": "markdown", "markdown": {"content": _markdown(message, title)}}


def slack(message: Message) -> dict[str, Any]:
    """Return blocks of plain text, and the same as `text` for the notification, where `<!channel>` must be escaped."""
    lines = "\n".join(said(label, value) for label, value in message.lines)
    blocks: list[dict[str, Any]] = [
        {"type": "header", "text": {"type": "plain_text", "text": message.title[:_MAX_SLACK_TITLE], "emoji": False}}
    ]
    if lines:
        text = {"type": "plain_text", "text": lines[:_MAX_SLACK_TEXT], "emoji": False}
        blocks.append({"type": "section", "text": text})
    escaped = message.as_text().replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return {"text": escaped, "blocks": blocks}


def webhook_signature(secret: str, timestamp: str, content: bytes) -> str:
    """Return the header of a plain webhook: `sha256=` and the hex HMAC-SHA256 of `timestamp`, a full stop, the body."""
    signed = timestamp.encode() + b"." + content
    return "sha256=" + hmac.new(secret.encode(), signed, hashlib.sha256).hexdigest()


def _unmarked(text: str) -> str:
    return text.translate(_FULL_WIDTH).replace("://", ":／／")


def _markdown(message: Message, title: str = "") -> str:
    text = title or f"**{_unmarked(message.title)}**"
    for label, value in message.lines:
        line = f"\n\n> {_unmarked(said(label, value))}"
        if len((text + line).encode()) > _MAX_MARKDOWN_BYTES:
            break
        text += line
    return text


# Codes of "too many messages", and how long the platform then wants to be left alone.
_RATE_LIMITS: dict[str, tuple[frozenset[int], float]] = {
    _Kind.FEISHU: (frozenset({11232, 9499}), 60.0),
    _Kind.DINGTALK: (frozenset({410100, 130101}), 600.0),
    _Kind.WECOM: (frozenset({45009, 45033}), 60.0),
}


def verdict_of(kind: str, status: int, body: bytes) -> Verdict:
    """Return what an answer means. Feishu, DingTalk and WeCom report failures with the status 200."""
    shown = body[:300].decode("utf-8", "replace").strip()
    if status == 429:
        return Verdict(f"429: {shown}", 60.0)
    if kind not in _RATE_LIMITS:
        # Slack says "ok", or why not with another status. Of a program the status is all that is asked.
        return Verdict() if 200 <= status < 300 else Verdict(f"{status}: {shown}")
    try:
        answer = json.loads(body)
    except ValueError:
        answer = None
    if not isinstance(answer, dict):
        return Verdict(f"{status}: {shown}")
    code = answer.get("errcode", answer.get("code", answer.get("StatusCode")))
    if code == 0 and 200 <= status < 300:
        return Verdict()
    words = answer.get("errmsg", answer.get("msg", answer.get("StatusMessage", "")))
    codes, wait_s = _RATE_LIMITS[kind]
    return Verdict(f"{status if code is None else code}: {str(words)[:300]}", wait_s if code in codes else 0.0)
