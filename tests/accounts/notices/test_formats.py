"""The wire formats of the chat platforms."""

import base64
import hashlib
import hmac
import json
from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qs, urlsplit
from zoneinfo import ZoneInfo

import pytest
from django.utils import translation

from accounts.notices import events, formats
from accounts.notices.events import Message

NOW = datetime(2026, 11, 23, 10, 11, 12, 345000, tzinfo=UTC)
MESSAGE = Message(
    "Quota of key dev1/laptop: 75 % used", (("Used", "760 of 1,000 tokens"), ("Resets", "never")), "warning"
)
HOSTILE = "<!channel> <at id=all></at> @all [win](http://evil.example) **x** `y` #z"
QUOTA = {
    "subject": "key",
    "name": "dev1/laptop",
    "percent": 75,
    "used": "7.6123456789",
    "limit": "10",
    "unit": "cost",
    "currency": "CNY",
    "window": "5h",
    "action": "block",
    "resets_at": "2026-11-23T16:30:00+00:00",
}


def body(kind: str, message: Message = MESSAGE, secret: str = "", document: dict[str, Any] | None = None) -> Any:
    request = formats.request_of(kind, "https://chat.example/hook", secret, message, document or {}, NOW)
    return json.loads(request.content)


def test_feishu_gets_a_card_of_plain_text() -> None:
    assert body("feishu") == {
        "msg_type": "interactive",
        "card": {
            "config": {"wide_screen_mode": True},
            "header": {"template": "orange", "title": {"tag": "plain_text", "content": MESSAGE.title}},
            "elements": [
                {"tag": "div", "text": {"tag": "plain_text", "content": "Used: 760 of 1,000 tokens"}},
                {"tag": "div", "text": {"tag": "plain_text", "content": "Resets: never"}},
            ],
        },
    }


def test_dingtalk_and_wecom_get_markdown() -> None:
    text = "**Quota of key dev1/laptop: 75 % used**\n\n> Used: 760 of 1,000 tokens\n\n> Resets: never"
    assert body("dingtalk") == {"msgtype": "markdown", "markdown": {"title": MESSAGE.title, "text": text}}
    colored = '<font color="warning">Quota of key dev1/laptop: 75 % used</font>'
    content = f"{colored}\n\n> Used: 760 of 1,000 tokens\n\n> Resets: never"
    assert body("wecom") == {"msgtype": "markdown", "markdown": {"content": content}}


def test_slack_gets_blocks_and_a_text_for_the_notification() -> None:
    sent = body("slack")
    assert sent["text"] == f"{MESSAGE.title}\n\nUsed: 760 of 1,000 tokens\nResets: never"
    assert [block["type"] for block in sent["blocks"]] == ["header", "section"]
    assert sent["blocks"][1]["text"] == {
        "type": "plain_text",
        "text": "Used: 760 of 1,000 tokens\nResets: never",
        "emoji": False,
    }


def test_a_program_gets_the_facts_and_the_texts_signed() -> None:
    document = {"id": "quota:1", "event": "quota_warning", "occurred_at": "2026-11-23", "facts": {"percent": 75}}
    request = formats.request_of("webhook", "https://x.example/in", "a-secret", MESSAGE, document, NOW)
    assert json.loads(request.content) == {
        **document,
        "level": "warning",
        "title": MESSAGE.title,
        "text": MESSAGE.as_text(),
    }
    assert request.headers["x-wolfgate-timestamp"] == "1795428672"
    signed = b"1795428672." + request.content
    digest = hmac.new(b"a-secret", signed, hashlib.sha256).hexdigest()
    assert request.headers["x-wolfgate-signature"] == f"sha256={digest}"
    unsigned = formats.request_of("webhook", "https://x.example/in", "", MESSAGE, document, NOW)
    assert "x-wolfgate-signature" not in unsigned.headers


def test_feishu_is_signed_as_its_documentation_shows() -> None:
    # By the algorithm of the Python example there, also from the shell: openssl dgst -sha256 -hmac KEY -binary | base64.
    expected = base64.b64encode(hmac.new(b"1795428672\ndemo", b"", hashlib.sha256).digest()).decode()
    sent = body("feishu", secret="demo")
    assert (sent["timestamp"], sent["sign"]) == ("1795428672", expected)
    assert formats.feishu_signature("demo", "1599360473") == "l1N0gAcBjdwBvGm1xMjOF0XSyaLRpR7tuO5dHfhAYc8="


def test_dingtalk_is_signed_in_the_query_in_milliseconds() -> None:
    request = formats.request_of("dingtalk", "https://d.example/send?access_token=t", "SECdemo", MESSAGE, {}, NOW)
    query = parse_qs(urlsplit(request.url).query)
    expected = hmac.new(b"SECdemo", b"1795428672345\nSECdemo", hashlib.sha256).digest()
    assert query == {
        "access_token": ["t"],
        "timestamp": ["1795428672345"],
        "sign": [base64.b64encode(expected).decode()],
    }
    plain = formats.request_of("dingtalk", "https://d.example/send?access_token=t", "", MESSAGE, {}, NOW)
    assert plain.url == "https://d.example/send?access_token=t"


@pytest.mark.parametrize("kind", ["feishu", "dingtalk", "wecom", "slack"])
def test_a_name_calls_nobody_and_forges_no_link(kind: str) -> None:
    sent = body(kind, Message(HOSTILE, (("Key", HOSTILE),), "critical"))
    if kind == "feishu":
        texts = [sent["card"]["header"]["title"], *(element["text"] for element in sent["card"]["elements"])]
        assert {text["tag"] for text in texts} == {"plain_text"}
    elif kind == "slack":
        assert {block["text"]["type"] for block in sent["blocks"]} == {"plain_text"}
        assert "&lt;!channel&gt;" in sent["text"]
        assert not set("<>") & set(sent["text"])
    else:
        text = next(value for name, value in sent["markdown"].items() if name in ("text", "content"))
        text = text.replace('<font color="warning">', "").replace("</font>", "").replace("\n\n> ", "")
        assert not set("<>[]`@#") & set(text)
        assert "://" not in text
        assert text.count("*") in (0, 4)


def test_what_would_be_too_long_is_left_out_line_by_line() -> None:
    long = Message("标题", tuple(("名称", "长" * 300) for _ in range(20)), "info")
    content = body("wecom", long)["markdown"]["content"]
    assert 3000 < len(content.encode()) <= 4096
    assert content.endswith("长")
    slack = body("slack", Message("t" * 500, (("n", "v" * 5000),), "info"))["blocks"]
    assert [len(block["text"]["text"]) for block in slack] == [150, 3000]


@pytest.mark.parametrize(
    ("kind", "status", "answer", "error", "wait_s"),
    [
        ("feishu", 200, '{"code":0,"msg":"success","data":{}}', "", 0),
        ("feishu", 200, '{"StatusCode":0,"StatusMessage":"success"}', "", 0),
        ("feishu", 200, '{"code":19021,"msg":"sign match fail"}', "19021: sign match fail", 0),
        ("feishu", 200, '{"code":11232,"msg":"frequency limited"}', "11232: frequency limited", 60),
        ("dingtalk", 200, '{"errcode":0,"errmsg":"ok"}', "", 0),
        ("dingtalk", 200, '{"errcode":310000,"errmsg":"sign not match"}', "310000: sign not match", 0),
        ("dingtalk", 200, '{"errcode":410100,"errmsg":"too fast"}', "410100: too fast", 600),
        ("dingtalk", 200, '{"errcode":130101,"errmsg":"send too fast"}', "130101: send too fast", 600),
        ("wecom", 200, '{"errcode":0,"errmsg":"ok"}', "", 0),
        ("wecom", 200, '{"errcode":93000,"errmsg":"invalid webhook url"}', "93000: invalid webhook url", 0),
        ("wecom", 200, '{"errcode":45009,"errmsg":"api freq out of limit"}', "45009: api freq out of limit", 60),
        ("wecom", 200, "<html>login</html>", "200: <html>login</html>", 0),
        ("wecom", 502, '{"errcode":0}', "0: ", 0),
        ("slack", 200, "ok", "", 0),
        ("slack", 404, "no_service", "404: no_service", 0),
        ("slack", 429, "rate_limited", "429: rate_limited", 60),
        ("webhook", 204, "", "", 0),
        ("webhook", 302, "", "302: ", 0),
        ("webhook", 500, "oops", "500: oops", 0),
    ],
)
def test_verdicts(kind: str, status: int, answer: str, error: str, wait_s: float) -> None:
    assert formats.verdict_of(kind, status, answer.encode()) == formats.Verdict(error, wait_s)


def test_a_quota_is_put_into_words_of_the_readers_language_and_zone() -> None:
    message = events.message_of(events.QUOTA_WARNING, QUOTA, ZoneInfo("Asia/Shanghai"))
    assert message == Message(
        "Quota of key dev1/laptop: 75 % used",
        (
            ("Used", "7.6123 of 10 CNY"),
            ("Window", "5 hours"),
            ("Resets", "2026-11-24 00:30 (Asia/Shanghai)"),
            ("At the limit", "calls are refused"),
        ),
        "warning",
    )
    with translation.override("zh-hans"):
        lines = dict(events.message_of(events.QUOTA_WARNING, QUOTA, ZoneInfo("UTC")).lines)
    assert "5 小时" in lines.values()


@pytest.mark.parametrize("kind", list(events.KINDS))
def test_each_kind_says_something_in_one_line_each(kind: str) -> None:
    facts = {
        **QUOTA,
        "name": "a\nb\u2028c\x00",
        "resets_at": None,
        "networks": 6,
        "hours": 24,
        "days": 7,
        "expires_at": "2026-12-01T00:00:00+00:00",
        "month": "2026-10",
        "files": ["a.csv", "b.xlsx"],
        "channel": "ops",
        "at": NOW.isoformat(),
    }
    message = events.message_of(kind, facts, ZoneInfo("UTC"))
    assert message.title.isprintable()
    assert all(value and value.isprintable() for _label, value in message.lines)
