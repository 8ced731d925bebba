"""Asking a small model for the scene: when, what becomes of its answer, and how it is booked."""

import asyncio
import json
import re
from collections.abc import Callable
from typing import Any

import httpx

from accounts.models import CallRecord, Quota, QuotaWindow, UsageDaily
from gateway import pipeline
from routing.intent import classifier
from routing.models import ClassifierEntry, Policy
from tests.fakes.transport import Reply, text_stream
from tests.gateway.intent_case import (
    CHAT,
    CODE,
    HARD,
    HELLO,
    REFACTOR,
    IntentCase,
    ask,
    books_differ,
    chosen,
    said,
    turn,
)

UNCLEAR = "what do you make of this?"


def answering(
    judged: Callable[[str], Reply] | Reply, answered: Reply | None = None
) -> Callable[[httpx.Request], Reply]:
    """Return an upstream whose judge answers `judged`, and every other model with words."""

    def reply(request: httpx.Request) -> Reply:
        if b'"model":"judge"' not in request.content.replace(b": ", b":"):
            return answered or said()
        return judged if isinstance(judged, Reply) else judged(request.content.decode())

    return reply


def naming(scene: str) -> Callable[[str], Reply]:
    """Return a judge that names a scene by the label that the question gives it."""

    def judge(sent: str) -> Reply:
        instructions = json.loads(sent)["messages"][0]["content"]
        (label,) = re.findall(rf"^(\S+) = \W*{scene}\W", instructions, re.MULTILINE)
        return Reply(text_stream(json.dumps({"label": label})))

    return judge


class Asking(IntentCase):
    def setUp(self) -> None:
        super().setUp()
        classifier.forget()
        self.use_classifier(classifier_timeout_ms=300)

    async def test_what_is_unclear_is_asked_once_and_booked_as_a_call_of_its_own(self) -> None:
        async with self.gateway(answering(naming("hard"))) as gateway:
            assert chosen(await ask(gateway, UNCLEAR)) == HARD
            assert chosen(await ask(gateway, UNCLEAR, session="s-2")) == HARD
        main, again = [call async for call in CallRecord.objects.filter(kind="main").order_by("id")]
        assert (main.decision["by"], main.decision["classifier"]) == ("classifier", "hit")
        assert again.decision["classifier"] == "cached"
        inner = await CallRecord.objects.aget(kind="classifier")
        assert (inner.status, inner.model_name, inner.session_id) == ("ok", "judge", "s-1")
        assert inner.decision["for"] == main.request_id
        assert (inner.cost, inner.reference_cost) != (None, None)
        assert sorted([day.kind async for day in UsageDaily.objects.all()]) == ["classifier", "main"]
        assert await books_differ() == []

    async def test_nothing_is_asked_where_something_else_decides(self) -> None:
        async with self.gateway(answering(naming("hard"))) as gateway:
            assert chosen(await ask(gateway, REFACTOR)) == CODE
            assert chosen(await ask(gateway, UNCLEAR)) == CODE  # the session has a scene
            assert chosen(await ask(gateway, turn("ok", first=UNCLEAR))) == CODE
            assert chosen(await ask(gateway, HELLO, max_tokens=1, tools=[], session="s-3")) == ("", "up/a")
        assert not await CallRecord.objects.filter(kind="classifier").aexists()

    async def test_an_answer_that_names_no_scene_leads_to_the_default_one(self) -> None:
        async with self.gateway(answering(Reply(text_stream("I cannot tell.")))) as gateway:
            assert chosen(await ask(gateway, UNCLEAR)) == CHAT
        assert (await self.newest(kind="main")).decision["classifier"] == "invalid"

    async def test_a_judge_that_fails_leads_to_the_default_scene(self) -> None:
        failing = said()
        failing.status = 500
        async with self.gateway(answering(failing)) as gateway:
            assert chosen(await ask(gateway, UNCLEAR)) == CHAT
        assert (await self.newest(kind="main")).decision["classifier"] == "failed"
        assert (await self.newest(kind="classifier")).status == "failed"
        assert await books_differ() == []

    async def test_a_judge_that_is_silent_costs_no_more_than_the_timeout(self) -> None:
        async with self.gateway(answering(Reply(silent=True))) as gateway:
            assert chosen(await ask(gateway, UNCLEAR)) == CHAT
        main = await self.newest(kind="main")
        assert main.decision["classifier"] == "timeout"
        assert 200 <= (main.duration_ms or 0) < 2000
        inner = await self.newest(kind="classifier")
        assert (inner.status, inner.error_kind) == ("failed", "timeout")

    async def test_a_quota_that_refuses_the_question_does_not_refuse_the_call(self) -> None:
        await Quota.objects.acreate(user=self.user, unit="requests", window="total", limit=1)
        async with self.gateway(answering(naming("hard"))) as gateway:
            assert chosen(await ask(gateway, UNCLEAR)) == CHAT
        assert (await self.newest()).decision["classifier"] == "refused"
        assert await CallRecord.objects.acount() == 1
        assert (await QuotaWindow.objects.aget()).used == 1

    async def test_a_client_that_leaves_meanwhile_is_settled_with_its_question(self) -> None:
        silent = Reply(silent=True)
        async with self.gateway(answering(silent)) as gateway:
            await self.leave_when_asked(gateway)
        calls = {call.kind: call.status async for call in CallRecord.objects.all()}
        assert calls == {"main": "cancelled", "classifier": "cancelled"}
        assert await books_differ() == []
        assert not pipeline._tasks

    async def leave_when_asked(self, gateway: Any) -> None:
        task = asyncio.ensure_future(ask(gateway, UNCLEAR))
        async with asyncio.timeout(10):
            while not gateway.upstream.requests:
                await asyncio.sleep(0.005)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    async def test_a_call_that_a_quota_downgrades_asks_nobody(self) -> None:
        await Quota.objects.acreate(user=self.user, unit="requests", window="total", limit=0, action="downgrade")
        async with self.gateway(answering(naming("hard"))) as gateway:
            assert chosen(await ask(gateway, UNCLEAR)) == ("", "up/a")
        assert await CallRecord.objects.acount() == 1

    async def test_a_shadow_asks_nobody(self) -> None:
        other = await Policy.objects.acreate(name="tried-out", mode="smart", min_confidence=1)
        async for entry in ClassifierEntry.objects.all():
            await ClassifierEntry.objects.acreate(policy=other, model_id=entry.model_id)
        await Policy.objects.filter(pk=self.policy.pk).aupdate(shadow=other)
        async with self.gateway(answering(naming("hard"))) as gateway:
            assert chosen(await ask(gateway, UNCLEAR)) == HARD
        assert await CallRecord.objects.filter(kind="classifier").acount() == 1
        shadow = (await self.newest(kind="main")).decision["shadow"]
        assert (shadow["scene"], shadow["by"]) == ("hard", "classifier")
