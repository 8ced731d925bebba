"""Several small models, hostile prompts and many callers at once: what asking for the scene does to calls and books."""

import asyncio
import json
import re
from collections.abc import Callable
from typing import Any

import httpx
from asgiref.sync import sync_to_async

from accounts.models import CallRecord
from providers.models import Model, Price, Provider
from routing.intent import classifier
from routing.models import ClassifierEntry, RuntimeSettings
from tests.fakes.transport import Reply, json_reply, text_stream
from tests.gateway.case import RunningGateway
from tests.gateway.intent_case import CHAT, CODE, HARD, IntentCase, ask, books_differ, chosen, said
from tests.routing.intent.hostile_prompts import HOSTILE, ONLY_ORDERS

UNCLEAR = "what do you make of this 机密 plan?"
_JUDGES = ("judge", "second", "native")
Answer = str | Reply | Callable[[dict[str, Any]], str]


def labels_of(sent: dict[str, Any]) -> dict[str, str]:
    """Return the label of each scene in a question, on either wire."""
    system = sent.get("system") or sent["messages"][0]["content"]
    return {name: label for label, name in re.findall(r'^(\w+) = "(\w+)":', system, re.MULTILINE)}


def upstream(**answers: Answer) -> Callable[[httpx.Request], Reply]:
    """Return an upstream in which each judge answers as given: a scene's name becomes its label."""

    def reply(request: httpx.Request) -> Reply:
        sent = json.loads(request.content)
        if sent["model"] not in _JUDGES:
            return said()
        answer = answers[sent["model"]]
        if isinstance(answer, Reply):
            return answer
        text = answer(sent) if callable(answer) else answer
        label = labels_of(sent).get(text)
        text = json.dumps({"label": label}) if label else text
        if sent["model"] != "native":
            return Reply(text_stream(text))
        usage = {"input_tokens": 200, "output_tokens": 9}
        message = {"id": "msg_1", "type": "message", "role": "assistant", "model": "native", "usage": usage}
        return json_reply({**message, "content": [{"type": "text", "text": text}], "stop_reason": "end_turn"})

    return reply


def obedient(sent: dict[str, Any]) -> str:
    """Answer as the prompt says: with the scene that it names, the letter or the object in it; honestly if it says none."""
    content = sent["messages"][-1]["content"]
    text = json.loads(re.findall(r"^<request>\n(.*)\n</request>$", content, re.MULTILINE)[0])
    for name in labels_of(sent):
        if re.search(rf"\b{name}\b", text):
            return name
    found = re.findall(r"\{[^{}]*\}|(?<![A-Za-z])[A-Z](?![A-Za-z])", text)
    return found[0] if found else "code"


def asked_judges(gateway: RunningGateway) -> list[str]:
    models = [sent["model"] for sent in gateway.upstream.bodies]
    return [model for model in models if model in _JUDGES]


class SeveralJudges(IntentCase):
    """The judges are `up/judge`, `up/second` and, on the Anthropic wire, `nat/native`, as far as a test adds them."""

    def setUp(self) -> None:
        super().setUp()
        classifier.forget()
        # Generous: only what is silent runs into it.
        self.use_classifier(classifier_timeout_ms=5000)

    def add_judge(self, name: str, provider: str = "up") -> None:
        model = Model.objects.create(provider=Provider.objects.get(name=provider), model_id=name, capabilities=[])
        Price.objects.create(model=model, currency="USD", input_per_million=1, output_per_million=1)
        ClassifierEntry.objects.create(policy=self.policy, model=model, position=9)

    async def outcome(self) -> str:
        outcome = (await self.newest(kind="main")).decision["classifier"]
        assert isinstance(outcome, str)
        return outcome

    async def test_the_next_judge_is_asked_after_nonsense_and_both_are_booked(self) -> None:
        await sync_to_async(self.add_judge)("second")
        async with self.gateway(upstream(judge="Let me think.", second="hard")) as gateway:
            assert chosen(await ask(gateway, UNCLEAR)) == HARD
            assert asked_judges(gateway) == ["judge", "second"]
        main = await self.newest(kind="main")
        inner = [call async for call in CallRecord.objects.filter(kind="classifier").order_by("id")]
        assert [(call.model_name, call.status) for call in inner] == [("judge", "ok"), ("second", "ok")]
        assert {call.decision["for"] for call in inner} == {main.request_id}
        assert all(call.cost for call in inner)
        assert (await self.outcome(), await books_differ()) == ("hit", [])

    async def test_a_silent_judge_leaves_time_for_the_next(self) -> None:
        await sync_to_async(self.add_judge)("second")
        await type(self.policy).objects.filter(pk=self.policy.pk).aupdate(classifier_timeout_ms=1000)
        async with self.gateway(upstream(judge=Reply(silent=True), second="hard")) as gateway:
            assert chosen(await ask(gateway, UNCLEAR)) == HARD
        inner = [call async for call in CallRecord.objects.filter(kind="classifier").order_by("id")]
        assert [(call.requested_model, call.status, call.error_kind) for call in inner] == [
            ("up/judge", "failed", "timeout"),
            ("up/second", "ok", ""),
        ]
        assert await books_differ() == []

    async def test_a_judge_that_keeps_failing_is_left_alone(self) -> None:
        async with self.gateway(upstream(judge=Reply([b"{}"], 500))) as gateway:
            for number in range(4):
                assert chosen(await ask(gateway, f"{UNCLEAR} {number}", session=f"s-{number}")) == CHAT
            assert asked_judges(gateway) == ["judge"] * 3
        assert await self.outcome() == "open"
        assert await CallRecord.objects.filter(kind="classifier").acount() == 3

    async def test_a_judge_on_the_anthropic_wire_gets_neither_format_nor_temperature(self) -> None:
        await sync_to_async(self.add_judge)("native", "nat")
        await ClassifierEntry.objects.filter(model__model_id="judge").adelete()
        async with self.gateway(upstream(native="hard")) as gateway:
            assert chosen(await ask(gateway, UNCLEAR)) == HARD
            (sent,) = [sent for sent in gateway.upstream.bodies if sent["model"] == "native"]
        assert not {"temperature", "output_config"} & set(sent)
        assert sent["thinking"] == {"type": "disabled"}
        assert "机密" not in sent["system"]
        assert "机密" in sent["messages"][0]["content"]

    async def test_a_translated_question_is_bound_to_the_labels(self) -> None:
        async with self.gateway(upstream(judge="hard")) as gateway:
            await ask(gateway, UNCLEAR)
            (sent,) = [sent for sent in gateway.upstream.bodies if sent["model"] == "judge"]
        schema = sent["response_format"]["json_schema"]["schema"]
        assert schema["properties"]["label"]["enum"] == list(labels_of(sent).values())
        assert sent["temperature"] == 0
        roles = {message["role"]: message["content"] for message in sent["messages"]}
        assert set(roles) == {"system", "user"}
        assert "机密" not in roles["system"]

    async def test_the_same_at_once_is_asked_once(self) -> None:
        async with self.gateway(upstream(judge="hard")) as gateway:
            calls = (ask(gateway, UNCLEAR, session=f"s-{number}") for number in range(6))
            assert {chosen(response) for response in await asyncio.gather(*calls)} == {HARD}
            assert asked_judges(gateway) == ["judge"]
        mains = CallRecord.objects.filter(kind="main").values_list("decision__classifier", flat=True)
        assert sorted([outcome async for outcome in mains]) == ["cached"] * 5 + ["hit"]
        assert await books_differ() == []

    async def test_who_waits_for_a_client_that_leaves_is_answered_all_the_same(self) -> None:
        gate = asyncio.Event()
        async with self.gateway(upstream(judge=lambda sent: "hard")) as gateway:
            inner = gateway.upstream.replies[0]
            waits = [True]

            def first_waits(request: httpx.Request) -> Reply:
                if json.loads(request.content)["model"] == "judge" and waits:
                    waits.clear()
                    return Reply(silent=True, gate=gate)
                assert callable(inner)
                return inner(request)

            gateway.upstream.replies[0] = first_waits
            first = asyncio.ensure_future(ask(gateway, UNCLEAR, session="s-1"))
            async with asyncio.timeout(10):
                while not gateway.upstream.requests:
                    await asyncio.sleep(0.005)
            second = asyncio.ensure_future(ask(gateway, UNCLEAR, session="s-2"))
            await asyncio.sleep(0.1)
            assert len(gateway.upstream.requests) == 1
            first.cancel()
            assert chosen(await second) == HARD
            await asyncio.gather(first, return_exceptions=True)
        statuses = CallRecord.objects.filter(kind="classifier").order_by("id").values_list("status", flat=True)
        assert [status async for status in statuses] == ["cancelled", "ok"]
        assert await books_differ() == []

    async def test_an_obedient_judge_can_at_worst_name_a_scene_of_the_policy(self) -> None:
        async with self.gateway(upstream(judge=obedient)) as gateway:
            for number, prompt in enumerate(HOSTILE):
                text = prompt.text.replace("expert", "hard")
                response = await ask(gateway, text, session=f"s-{number}")
                # Of known orders the judge sees nothing, so it judges the task.
                assert chosen(response) in ((CHAT, CODE, HARD) if prompt.is_seen else (CODE,)), text
        assert await books_differ() == []

    async def test_orders_alone_ask_nobody(self) -> None:
        async with self.gateway(upstream(judge=obedient)) as gateway:
            for number, text in enumerate(ONLY_ORDERS):
                response = await ask(gateway, text.replace("expert", "hard"), session=f"s-{number}")
                assert chosen(response) == CHAT
                assert await self.outcome() == "empty"
            assert asked_judges(gateway) == []

    async def test_nothing_of_the_prompt_is_logged(self) -> None:
        await RuntimeSettings.objects.aupdate(capture="metadata")
        with self.assertLogs(level="INFO") as logs:
            async with self.gateway(upstream(judge="nonsense 机密")) as gateway:
                assert chosen(await ask(gateway, UNCLEAR)) == CHAT
        assert not [line for line in logs.output if "机密" in line]
        assert [line for line in logs.output if "up/judge" in line]
