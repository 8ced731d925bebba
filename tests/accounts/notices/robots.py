"""A network of chat robots for the tests: takes what is posted, answers as it is told."""

import json
from collections.abc import Callable
from typing import Any

import httpx

from accounts.models import NotificationChannel, Team

URLS = {
    "feishu": "https://open.feishu.cn/open-apis/bot/v2/hook/0123456789abcdef",
    "dingtalk": "https://oapi.dingtalk.com/robot/send?access_token=0123456789abcdef",
    "wecom": "https://qyapi.weixin.qq.com/cgi-bin/webhook/send?key=0123456789abcdef",
    "slack": "https://hooks.slack.com/services/T0/B0/0123456789abcdef",
    "webhook": "https://ops.example/in/0123456789abcdef",
}
GOOD = {"feishu": '{"code":0}', "dingtalk": '{"errcode":0}', "wecom": '{"errcode":0}', "slack": "ok", "webhook": ""}


class Robots(httpx.AsyncBaseTransport):
    """Answers each request with `answer(request)`: (status, body), or an exception to raise."""

    def __init__(self, answer: Callable[[httpx.Request], Any] | None = None) -> None:
        self.answer = answer or (lambda request: (200, next(GOOD[k] for k in URLS if request.url.host in URLS[k])))
        self.requests: list[httpx.Request] = []

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        await request.aread()
        self.requests.append(request)
        answer = self.answer(request)
        if isinstance(answer, BaseException):
            raise answer
        status, body = answer
        return httpx.Response(status, content=body.encode())

    def bodies(self) -> list[Any]:
        return [json.loads(request.content) for request in self.requests]


def channel(kind: str = "slack", *, team: Team | None = None, secret: str = "", **fields: Any) -> NotificationChannel:
    """Return a stored channel of `kind`."""
    row = NotificationChannel(name=fields.pop("name", kind), kind=kind, team=team, **fields)
    if kind in URLS:
        row.set_url(URLS[kind], URLS[kind].split("/")[2])
    row.set_secret(secret)
    row.save()
    return row
