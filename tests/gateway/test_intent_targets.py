"""Which target of its scene a session stays with, and when it moves."""

import httpx

from providers.models import Model
from routing import health
from routing.models import Route, RouteEntry, RuntimeSettings, StickySession
from tests.fakes.transport import Reply, json_reply
from tests.gateway.intent_case import REFACTOR, IntentCase, ask, chosen, said, turn


class Staying(IntentCase):
    """The scene code has two targets, `up/b` and `up/c`; those in `self.down` fail."""

    def setUp(self) -> None:
        super().setUp()
        RouteEntry.objects.create(
            route=self.scenes["code"].route, model=Model.objects.get(model_id="c"), position=1, weight=10**6
        )
        RuntimeSettings.objects.update(cooldown_enabled=True)
        health.start_anew()
        self.addCleanup(health.start_anew)
        self.down: set[str] = set()

    def reply(self, request: httpx.Request) -> Reply:
        if any(f'"model":"{name}"'.encode() in request.content.replace(b": ", b":") for name in self.down):
            return json_reply({"error": {"message": "busy"}}, 503)
        return said()

    async def order(self, value: str) -> None:
        await Route.objects.filter(pk=self.scenes["code"].route_id).aupdate(order=value)

    async def test_a_loop_moves_from_a_target_that_fails_and_stays_where_it_went(self) -> None:
        async with self.gateway(self.reply) as gateway:
            assert chosen(await ask(gateway, turn())) == ("code", "up/b")
            self.down = {"b"}
            assert chosen(await ask(gateway, turn("ok"))) == ("code", "up/c")
            assert (await StickySession.objects.aget()).target_name == "up/c"
            # The first target is well again, and would be asked first.
            self.down = set()
            health.start_anew()
            assert chosen(await ask(gateway, turn("ok", "ok"))) == ("code", "up/c")
            assert (await self.newest()).decision["stays_with"] == "up/c"
            assert chosen(await ask(gateway, REFACTOR)) == ("code", "up/b")

    async def test_a_loop_does_not_wait_for_a_target_that_rests(self) -> None:
        async with self.gateway(self.reply) as gateway:
            await ask(gateway, turn())
            self.down = {"b"}
            for _ in range(3):
                await ask(gateway, REFACTOR, session="of somebody else")
            sent = len(gateway.upstream.requests)
            assert chosen(await ask(gateway, turn("ok"))) == ("code", "up/c")
            assert len(gateway.upstream.requests) == sent + 1
            row = await self.newest()
            assert [entry["target"] for entry in row.decision["cooling"]] == ["up/b"]

    async def test_a_session_stays_with_the_target_that_was_drawn(self) -> None:
        await self.order("weighted")
        async with self.gateway(self.reply) as gateway:
            # Of weights 1 and a million the second is drawn; the session was with the first.
            await ask(gateway, REFACTOR)
            await StickySession.objects.aupdate(target_name="up/b")
            assert chosen(await ask(gateway, REFACTOR)) == ("code", "up/b")
            assert chosen(await ask(gateway, turn("ok"))) == ("code", "up/b")
            # One that was idle for too long is drawn anew.
            await self.let_idle(60)
            assert chosen(await ask(gateway, REFACTOR)) == ("code", "up/c")

    async def test_a_target_that_left_the_route_is_not_asked(self) -> None:
        async with self.gateway(self.reply) as gateway:
            await ask(gateway, turn())
            await StickySession.objects.aupdate(target_name="up/a")
            assert chosen(await ask(gateway, turn("ok"))) == ("code", "up/b")
