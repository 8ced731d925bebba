"""What goes before the intent: names, kinds and aliases, a quota that is used up; and what a shadow would have done."""

from decimal import Decimal

from accounts.models import CallRecord, Quota, QuotaWindow
from providers.models import Model
from routing.models import KindRule, ModelAlias, Policy, Route, RouteEntry, Scene, SceneRule, StickySession
from tests.fakes.transport import Reply, events, json_reply
from tests.gateway.case import body
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

# What each kind looks like, as far as its fixtures tell it apart (tests/routing/intent/test_kinds.py has the real ones).
PROBE = {"max_tokens": 1, "tools": []}


class Kinds(IntentCase):
    async def test_a_probe_goes_to_the_cheapest_target(self) -> None:
        async with self.gateway(said()) as gateway:
            assert chosen(await ask(gateway, REFACTOR, **PROBE)) == ("", "up/a")
        row = await self.newest()
        assert (row.kind, row.decision["by"], row.decision["rule"]) == ("probe", "kind", "cheapest")
        assert row.scene_name == ""
        assert not await StickySession.objects.aexists()

    async def test_or_to_the_cheap_route(self) -> None:
        await Policy.objects.aupdate(cheap_route=self.scenes["code"].route)
        async with self.gateway(said()) as gateway:
            assert chosen(await ask(gateway, HELLO, **PROBE)) == ("", "up/b")
        assert (await self.newest()).route_name == "for-code"

    async def test_a_rule_of_the_policy_sends_a_kind_to_a_scene(self) -> None:
        await KindRule.objects.acreate(policy=self.policy, kind="probe", action="scene", scene=self.scenes["hard"])
        async with self.gateway(said()) as gateway:
            assert chosen(await ask(gateway, HELLO, **PROBE)) == HARD
        # A probe is nothing that a session goes on with.
        assert not await StickySession.objects.aexists()

    async def test_a_rule_of_the_policy_sends_a_kind_to_a_route(self) -> None:
        await KindRule.objects.acreate(
            policy=self.policy, kind="subagent", action="route", route=self.scenes["hard"].route
        )
        async with self.gateway(said()) as gateway:
            assert chosen(await ask(gateway, REFACTOR, agent="a-1")) == ("", "up/c")
            assert chosen(await ask(gateway, REFACTOR)) == CODE

    async def test_a_rule_of_the_policy_lets_a_kind_be_chosen_by_intent(self) -> None:
        await KindRule.objects.acreate(policy=self.policy, kind="probe", action="classify")
        async with self.gateway(said()) as gateway:
            assert chosen(await ask(gateway, REFACTOR, **PROBE)) == CODE

    async def test_a_rule_of_the_policy_lets_a_kind_go_with_the_session(self) -> None:
        await KindRule.objects.acreate(policy=self.policy, kind="probe", action="same")
        async with self.gateway(said()) as gateway:
            await ask(gateway, REFACTOR)
            await self.let_idle(60)
            assert chosen(await ask(gateway, HELLO, **PROBE)) == CODE

    async def test_a_rule_for_a_scene_that_is_gone_leaves_it_to_the_intent(self) -> None:
        await KindRule.objects.acreate(policy=self.policy, kind="probe", action="scene", scene=self.scenes["hard"])
        await Scene.objects.filter(name="hard").aupdate(is_enabled=False)
        async with self.gateway(said()) as gateway:
            assert chosen(await ask(gateway, REFACTOR, **PROBE)) == CODE


class Names(IntentCase):
    async def test_an_alias_means_a_scene(self) -> None:
        await ModelAlias.objects.acreate(pattern="claude-opus-*", scene=self.scenes["hard"])
        async with self.gateway(said()) as gateway:
            assert chosen(await ask(gateway, REFACTOR)) == HARD
            row = await self.newest()
            assert (row.decision["by"], row.decision["rule"]) == ("alias", "claude-opus-*")
            # The session is in the scene: what comes under another name goes on there.
            assert chosen(await ask(gateway, turn("ok"), model="something-else")) == HARD

    async def test_an_alias_for_a_scene_that_is_switched_off_means_nothing(self) -> None:
        await ModelAlias.objects.acreate(pattern="claude-opus-*", scene=self.scenes["hard"])
        await Scene.objects.filter(name="hard").aupdate(is_enabled=False)
        async with self.gateway(said()) as gateway:
            assert chosen(await ask(gateway, REFACTOR)) == CODE
            offered = await gateway.client.get("/v1/models")
        assert "hard" not in offered.text

    async def test_an_alias_means_a_model_or_a_route(self) -> None:
        model = await Model.objects.aget(model_id="c")
        await ModelAlias.objects.acreate(pattern="claude-opus-*", model=model)
        await ModelAlias.objects.acreate(pattern="claude-haiku-*", route=self.scenes["code"].route)
        async with self.gateway(said()) as gateway:
            assert chosen(await ask(gateway, HELLO)) == ("", "up/c")
            assert chosen(await ask(gateway, turn("ok"))) == ("", "up/c")
            assert chosen(await ask(gateway, HELLO, model="claude-haiku-4-5")) == ("", "up/b")

    async def test_a_loop_stays_in_its_scene_when_an_alias_comes_up(self) -> None:
        async with self.gateway(said()) as gateway:
            assert chosen(await ask(gateway, turn())) == CODE
            await ModelAlias.objects.acreate(pattern="*", scene=self.scenes["hard"])
            assert chosen(await ask(gateway, turn("ok"))) == CODE
            assert chosen(await ask(gateway, REFACTOR)) == HARD
            assert chosen(await ask(gateway, turn("ok"))) == HARD

    async def test_after_a_model_of_the_users_own_choice_a_session_is_in_no_scene(self) -> None:
        await ModelAlias.objects.acreate(pattern="mine", model=await Model.objects.aget(model_id="c"))
        async with self.gateway(said()) as gateway:
            assert chosen(await ask(gateway, REFACTOR)) == CODE
            assert chosen(await ask(gateway, turn(first=HELLO), model="mine")) == ("", "up/c")
            assert chosen(await ask(gateway, turn("ok", first=HELLO), model="mine")) == ("", "up/c")
            assert chosen(await ask(gateway, HELLO)) == CHAT

    async def test_a_rule_for_the_kind_comes_before_an_alias_and_a_written_target_before_both(self) -> None:
        await ModelAlias.objects.acreate(pattern="*", scene=self.scenes["hard"])
        async with self.gateway(said()) as gateway:
            assert chosen(await ask(gateway, HELLO, **PROBE)) == ("", "up/a")
            assert chosen(await ask(gateway, HELLO, model="up/b", **PROBE)) == ("", "up/b")
            assert (await self.newest()).decision["by"] == "named"

    async def test_an_alias_of_a_scene_works_for_a_policy_without_scenes(self) -> None:
        await ModelAlias.objects.acreate(pattern="claude-opus-*", scene=self.scenes["hard"])
        await Policy.objects.aupdate(mode="direct", route=self.scenes["chat"].route)
        async with self.gateway(said()) as gateway:
            assert chosen(await ask(gateway, HELLO)) == ("", "up/c")


class Downgrading(IntentCase):
    def setUp(self) -> None:
        super().setUp()
        self.quota = Quota(user=self.user, unit="requests", window="total", limit=Decimal(1), action="downgrade")
        self.quota.full_clean()
        self.quota.save()

    async def test_a_full_quota_sends_to_the_cheapest_target_and_goes_on_counting(self) -> None:
        async with self.gateway(said()) as gateway:
            assert chosen(await ask(gateway, REFACTOR)) == CODE
            assert chosen(await ask(gateway, REFACTOR)) == ("", "up/a")
            row = await self.newest()
            assert row.decision["by"] == "quota"
            assert row.decision["downgraded_by"] == "user dev1: 1 requests / total"
            # Also what the client names, and what is in a loop.
            assert chosen(await ask(gateway, HELLO, model="up/c")) == ("", "up/a")
            assert chosen(await ask(gateway, turn("ok"))) == ("", "up/a")
            await Quota.objects.aupdate(limit=100)
            assert chosen(await ask(gateway, turn("ok", "ok"))) == CODE
        window = await QuotaWindow.objects.aget()
        assert (window.used, window.reserved) == (5, 0)
        assert await books_differ() == []

    async def test_a_full_quota_sends_to_the_cheap_route(self) -> None:
        cheap = await Route.objects.acreate(name="cheap")
        await RouteEntry.objects.acreate(route=cheap, model=await Model.objects.aget(model_id="b"))
        await Policy.objects.aupdate(cheap_route=cheap)
        async with self.gateway(said()) as gateway:
            await ask(gateway, HELLO)
            assert chosen(await ask(gateway, HELLO)) == ("", "up/b")
        assert (await self.newest()).route_name == "cheap"

    async def test_a_policy_of_one_list_is_downgraded_too(self) -> None:
        route = await Route.objects.acreate(name="two")
        for position, model_id in enumerate("ca"):
            model = await Model.objects.aget(model_id=model_id)
            await RouteEntry.objects.acreate(route=route, model=model, position=position)
        await Policy.objects.aupdate(mode="direct", route=route)
        async with self.gateway(said()) as gateway:
            assert chosen(await ask(gateway, HELLO)) == ("", "up/c")
            assert chosen(await ask(gateway, HELLO)) == ("", "up/a")

    async def test_a_policy_that_passes_calls_through_is_not(self) -> None:
        route = await Route.objects.acreate(name="native")
        await RouteEntry.objects.acreate(route=route, model=await Model.objects.aget(model_id="n"))
        await Policy.objects.aupdate(mode="passthrough", route=route)
        message = {"type": "message_start", "message": {"id": "m", "usage": {"input_tokens": 1, "output_tokens": 1}}}
        async with self.gateway(Reply(events(message, {"type": "message_stop"}))) as gateway:
            for _ in range(2):
                answer = await ask(gateway, HELLO, stream=True)
                assert answer.headers["x-gateway-model"] == "nat/n"
        row = await self.newest()
        assert row.decision["by"] == "policy"
        assert "downgraded_by" not in row.decision


class Shadows(IntentCase):
    async def shadow(self, **fields: object) -> Policy:
        other = await Policy.objects.acreate(name="tried-out", mode="smart", **{"min_confidence": 1, **fields})
        await Policy.objects.filter(pk=self.policy.pk).aupdate(shadow=other)
        return other

    async def test_what_the_shadow_would_have_chosen_is_recorded(self) -> None:
        other = await self.shadow()
        await other.scenes.aset([self.scenes["chat"], self.scenes["hard"]])
        await SceneRule.objects.acreate(scene=self.scenes["hard"], keywords=["parser"], position=9)
        async with self.gateway(said()) as gateway:
            assert chosen(await ask(gateway, REFACTOR)) == CODE
        shadow = (await self.newest()).decision["shadow"]
        assert (shadow["policy"], shadow["scene"], shadow["by"], shadow["target"]) == (
            "tried-out",
            "hard",
            "rule",
            "up/c",
        )
        assert "parser" in shadow["rule"]

    async def test_a_shadow_that_cannot_decide_leaves_the_call_alone(self) -> None:
        await self.shadow()
        nothing = await Policy.objects.aget(name="tried-out")
        await nothing.scenes.aset([self.scenes["hard"], self.scenes["code"]])  # none of them is the default one
        async with self.gateway(said()) as gateway:
            assert chosen(await ask(gateway, HELLO)) == CHAT
        shadow = (await self.newest()).decision["shadow"]
        assert shadow["policy"] == "tried-out"
        assert "no default scene" in shadow["error"]

    async def test_a_direct_policy_may_have_a_smart_shadow(self) -> None:
        await self.shadow()
        await Policy.objects.filter(pk=self.policy.pk).aupdate(mode="direct", route=self.scenes["chat"].route)
        async with self.gateway(said()) as gateway:
            assert chosen(await ask(gateway, REFACTOR)) == ("", "up/a")
        row = await self.newest()
        assert (row.decision["by"], row.decision["shadow"]["scene"]) == ("policy", "code")
        assert await CallRecord.objects.acount() == 1


class Counting(IntentCase):
    async def test_a_prompt_is_counted_for_the_scene_that_it_would_have(self) -> None:
        native = await Model.objects.aget(model_id="n")
        await Model.objects.filter(pk=native.pk).aupdate(context_window=200_000)
        await RouteEntry.objects.filter(route=self.scenes["code"].route).adelete()
        await RouteEntry.objects.acreate(route=self.scenes["code"].route, model=native)
        path = "/v1/messages/count_tokens"
        async with self.gateway(json_reply({"input_tokens": 4711})) as gateway:
            counted = await gateway.send(body(REFACTOR), path)
            assert counted.json() == {"input_tokens": 4711}
            assert (await gateway.send(body(HELLO), path)).json()["input_tokens"] < 100
            # What no window has room for is counted all the same.
            assert (await gateway.send(body("word " * 600_000), path)).json()["input_tokens"] > 500_000
        assert not await CallRecord.objects.aexists()
