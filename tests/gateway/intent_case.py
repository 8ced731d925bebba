"""A gateway that routes by intent: three scenes, a model for each, and what a client says within a session."""

from datetime import timedelta
from typing import Any

import httpx
from asgiref.sync import sync_to_async
from django.db.models import F

from accounts.models import CallRecord
from accounts.verification import differences
from providers.models import Model, Price, Provider
from routing.models import ClassifierEntry, Policy, Route, RouteEntry, Scene, SceneRule, StickySession
from tests.fakes.transport import Reply, text_stream
from tests.gateway.case import GatewayCase, RunningGateway, body

TOOL = {"name": "Bash", "input_schema": {"type": "object", "properties": {"command": {"type": "string"}}}}
HELLO = "hello there"
REFACTOR = "please refactor the parser"  # the rule of the scene code says so


def said(text: str = "Fine.") -> Reply:
    return Reply(text_stream(text))


def turn(*results: str, first: str = REFACTOR) -> list[dict[str, Any]]:
    """Return the messages of a tool loop that began with the words `first`, after so many results of tools."""
    messages: list[dict[str, Any]] = [{"role": "user", "content": first}]
    for number, result in enumerate(results):
        call = {"type": "tool_use", "id": f"toolu_{number}", "name": "Bash", "input": {"command": "ls"}}
        messages += [
            {"role": "assistant", "content": [call]},
            {"role": "user", "content": [{"type": "tool_result", "tool_use_id": call["id"], "content": result}]},
        ]
    return messages


class IntentCase(GatewayCase):
    """Scenes chat (the default one, `up/a`), code (`up/b`) and hard (`up/c`); a rule sends "refactor" to code.

    Prices per million in and out: a 1 and 2, b 3 and 15, c 10 and 50.
    """

    def setUp(self) -> None:
        super().setUp()
        up = Provider.objects.get(name="up")
        Model.objects.create(provider=up, model_id="c", context_window=200_000, capabilities=["tools", "vision"])
        self.scenes: dict[str, Scene] = {}
        for position, (name, model_id, prices) in enumerate(
            (("chat", "a", (1, 2)), ("code", "b", (3, 15)), ("hard", "c", (10, 50)))
        ):
            model = Model.objects.get(provider=up, model_id=model_id)
            Price.objects.filter(model=model).delete()
            Price.objects.create(model=model, currency="USD", input_per_million=prices[0], output_per_million=prices[1])
            route = Route.objects.create(name=f"for-{name}")
            RouteEntry.objects.create(route=route, model=model)
            self.scenes[name] = Scene.objects.create(
                name=name,
                description=f"What belongs to {name}.",
                route=route,
                is_default=name == "chat",
                position=position,
            )
        SceneRule.objects.create(scene=self.scenes["code"], keywords=["refactor"])
        self.policy = Policy.objects.get(is_default=True)
        self.policy.mode, self.policy.route = Policy.Mode.SMART, None
        # What a scorer learns from three descriptions is no matter of these tests: it is never sure enough.
        self.policy.min_confidence = 1
        self.policy.full_clean()
        self.policy.save()

    def use_classifier(self, **fields: Any) -> Model:
        """Let the model `up/judge` be asked where nothing else decides; `fields` are of the policy."""
        judge = Model.objects.create(
            provider=Provider.objects.get(name="up"), model_id="judge", context_window=50_000, capabilities=[]
        )
        Price.objects.create(model=judge, currency="USD", input_per_million=1, output_per_million=1)
        ClassifierEntry.objects.create(policy=self.policy, model=judge)
        Policy.objects.filter(pk=self.policy.pk).update(**fields)
        return judge

    async def let_idle(self, minutes: float) -> None:
        """Let every session be unused for so long."""
        await StickySession.objects.aupdate(used_at=F("used_at") - timedelta(minutes=minutes))

    async def newest(self, **filters: Any) -> CallRecord:
        return await CallRecord.objects.filter(**filters).order_by("-id").afirst()  # type: ignore[return-value]


async def ask(
    gateway: RunningGateway,
    content: str | list[dict[str, Any]] = HELLO,
    *,
    session: str = "s-1",
    agent: str = "",
    headers: dict[str, str] | None = None,
    **fields: Any,
) -> httpx.Response:
    """Send words, or the messages of a loop, within a session."""
    messages = [{"role": "user", "content": content}] if isinstance(content, str) else content
    names = {"x-claude-code-session-id": session, "x-claude-code-agent-id": agent}
    given = {name: value for name, value in names.items() if value}
    return await gateway.send(
        body(messages=messages, **{"tools": [TOOL], **fields}), headers={**given, **(headers or {})}
    )


def chosen(response: httpx.Response) -> tuple[str, str]:
    """Return scene and model of an answer."""
    assert response.status_code == 200, response.text
    return response.headers.get("x-gateway-scene", ""), response.headers["x-gateway-model"]


CHAT, CODE, HARD = ("chat", "up/a"), ("code", "up/b"), ("hard", "up/c")


async def books_differ() -> list[Any]:
    return await sync_to_async(lambda: list(differences()))()
