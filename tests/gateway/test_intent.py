"""Which scene a call gets, and how long a session stays in it."""

import asyncio

from asgiref.sync import sync_to_async

from accounts import keys
from accounts.models import CallRecord, User
from routing.models import Policy, RouteEntry, Scene, SceneRule, StickySession
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


class Choosing(IntentCase):
    async def test_words_go_to_the_model_of_their_scene(self) -> None:
        async with self.gateway(said()) as gateway:
            assert chosen(await ask(gateway, HELLO)) == CHAT
            assert chosen(await ask(gateway, REFACTOR, session="s-2")) == CODE
        row = await self.newest()
        assert (row.scene_name, row.route_name, row.kind) == ("code", "for-code", "main")
        record = row.decision
        assert (record["kind"], record["by"], record["scene"]) == ("main", "rule", "code")
        assert "refactor" in record["rule"]
        assert record["candidates"] == ["up/b"]
        assert record["facts"]["prompt_tokens"] > 0
        assert (record["facts"]["max_tokens"], record["facts"]["has_tools"]) == (100, True)
        assert len(record["facts"]["text_sha"]) == 16
        assert REFACTOR not in str(record)
        assert await books_differ() == []

    async def test_a_session_stays_with_its_scene(self) -> None:
        async with self.gateway(said()) as gateway:
            assert chosen(await ask(gateway, REFACTOR)) == CODE
            assert chosen(await ask(gateway, "and the lexer?")) == CODE
            assert (await self.newest()).decision["by"] == "session"
            assert chosen(await ask(gateway, "and the lexer?", session="s-2")) == CHAT

    async def test_a_session_that_was_idle_chooses_anew(self) -> None:
        async with self.gateway(said()) as gateway:
            await ask(gateway, REFACTOR)
            await self.let_idle(29)
            assert chosen(await ask(gateway, HELLO)) == CODE
            await self.let_idle(31)
            assert chosen(await ask(gateway, HELLO)) == CHAT

    async def test_an_approval_keeps_the_scene_of_the_plan(self) -> None:
        async with self.gateway(said()) as gateway:
            await ask(gateway, REFACTOR)
            for text in ("yes", "继续"):
                assert chosen(await ask(gateway, text)) == CODE
                assert (await self.newest()).decision["by"] == "approval"

    async def test_a_rule_overrides_the_session_of_a_new_request(self) -> None:
        async with self.gateway(said()) as gateway:
            assert chosen(await ask(gateway, HELLO)) == CHAT
            assert chosen(await ask(gateway, REFACTOR)) == CODE

    async def test_a_session_of_another_policy_is_none(self) -> None:
        async with self.gateway(said()) as gateway:
            await ask(gateway, REFACTOR)
            await StickySession.objects.aupdate(policy_name="of-yesterday")
            assert chosen(await ask(gateway, HELLO)) == CHAT

    async def test_two_users_never_share_a_session(self) -> None:
        other = await User.objects.acreate(username="dev2")
        _key, secret = await sync_to_async(keys.issue)(other, "laptop")
        async with self.gateway(said()) as gateway:
            assert chosen(await ask(gateway, REFACTOR, session="shared")) == CODE
            theirs = await ask(gateway, HELLO, session="shared", headers={"authorization": f"Bearer {secret}"})
            assert chosen(theirs) == CHAT
            assert chosen(await ask(gateway, "go on with it", session="shared")) == CODE
        assert await StickySession.objects.acount() == 2

    async def test_an_agent_has_a_memory_of_its_own(self) -> None:
        async with self.gateway(said()) as gateway:
            assert chosen(await ask(gateway, HELLO)) == CHAT
            assert chosen(await ask(gateway, REFACTOR, agent="a-1")) == CODE
            assert chosen(await ask(gateway, turn("ok"), agent="a-1")) == CODE
            assert chosen(await ask(gateway, "look at the weather", agent="a-2")) == CHAT
            assert chosen(await ask(gateway, "thanks a lot")) == CHAT

    async def test_only_calls_that_were_answered_are_remembered(self) -> None:
        failing = said()
        failing.status = 500
        async with self.gateway(failing) as gateway:
            assert (await ask(gateway, REFACTOR)).status_code >= 500
        assert (await self.newest()).scene_name == "code"
        assert not await StickySession.objects.aexists()

    async def test_what_is_remembered_is_in_the_row(self) -> None:
        async with self.gateway(said()) as gateway:
            await ask(gateway, REFACTOR)
        row = await StickySession.objects.aget()
        assert (row.policy_name, row.scene_name, row.target_name) == ("default", "code", "up/b")
        assert len(row.key) == 64

    async def test_a_policy_without_intent_remembers_nothing(self) -> None:
        route = await Policy.objects.values_list("cheap_route", flat=True).afirst()
        assert route is None
        await Policy.objects.aupdate(mode="direct", route=self.scenes["chat"].route_id)
        async with self.gateway(said()) as gateway:
            assert chosen(await ask(gateway, REFACTOR)) == ("", "up/a")
        row = await self.newest()
        assert (row.kind, row.scene_name, row.decision["by"]) == ("main", "", "policy")
        assert not await StickySession.objects.aexists()

    async def test_the_first_call_after_a_change_to_intent_is_remembered(self) -> None:
        await Policy.objects.aupdate(mode="direct", route=self.scenes["chat"].route_id)
        async with self.gateway(said()) as gateway:
            await ask(gateway, HELLO)
            self.policy.mode = Policy.Mode.SMART
            await self.policy.asave()
            assert chosen(await ask(gateway, REFACTOR)) == CODE
            assert chosen(await ask(gateway, turn("done", first=HELLO))) == CODE

    async def test_without_scenes_the_refusal_says_what_to_do(self) -> None:
        await Scene.objects.all().aupdate(is_default=False)
        async with self.gateway(said()) as gateway:
            answer = await ask(gateway, HELLO)
            assert answer.status_code == 503
            assert "has no default scene" in answer.json()["error"]["message"]
            await SceneRule.objects.all().adelete()
            await Scene.objects.all().adelete()
            answer = await ask(gateway, HELLO)
            assert "has no scenes" in answer.json()["error"]["message"]
        assert await CallRecord.objects.filter(status="failed").acount() == 2


class ToolLoops(IntentCase):
    async def test_a_loop_stays_whatever_rules_and_clock_say_by_then(self) -> None:
        async with self.gateway(said()) as gateway:
            assert chosen(await ask(gateway, turn(first=HELLO))) == CHAT
            assert chosen(await ask(gateway, turn("ok", first=HELLO))) == CHAT
            # Made in mid-loop: a rule that matches everything, and one by the size of the prompt.
            await SceneRule.objects.acreate(scene=self.scenes["hard"], min_prompt_tokens=1)
            assert chosen(await ask(gateway, turn("ok", "word " * 3000, first=HELLO))) == CHAT
            assert (await self.newest()).decision["by"] == "session"
            await self.let_idle(60)
            assert chosen(await ask(gateway, turn("ok", "ok", "ok", first=HELLO))) == CHAT
            # A new request of the user's is no part of the loop.
            assert chosen(await ask(gateway, "something new")) == HARD

    async def test_a_loop_stays_when_the_configuration_changes(self) -> None:
        async with self.gateway(said()) as gateway:
            await ask(gateway, turn())
            await SceneRule.objects.all().adelete()
            other = await Policy.objects.acreate(name="other", mode="smart")
            await other.scenes.aset([self.scenes["chat"], self.scenes["code"]])
            await User.objects.aupdate(policy=other)
            assert chosen(await ask(gateway, turn("ok"))) == CODE
            assert (await StickySession.objects.aget()).policy_name == "other"

    async def test_a_scene_that_is_gone_is_chosen_anew(self) -> None:
        async with self.gateway(said()) as gateway:
            await ask(gateway, turn())
            await Scene.objects.filter(name="code").aupdate(is_enabled=False)
            await SceneRule.objects.acreate(scene=self.scenes["hard"], min_prompt_tokens=1)
            assert chosen(await ask(gateway, turn("ok"))) == HARD
            assert chosen(await ask(gateway, turn("ok", "ok"))) == HARD

    async def test_a_scene_without_targets_is_chosen_anew(self) -> None:
        async with self.gateway(said()) as gateway:
            await ask(gateway, turn())
            await RouteEntry.objects.filter(route=self.scenes["code"].route).adelete()
            await self.newest()
            assert chosen(await ask(gateway, turn("ok"))) == CHAT

    async def test_a_client_without_a_session_is_known_by_its_messages(self) -> None:
        async with self.gateway(said()) as gateway:
            assert chosen(await ask(gateway, turn(first=HELLO), session="")) == CHAT
            await SceneRule.objects.acreate(scene=self.scenes["hard"], min_prompt_tokens=1)
            for results in (("ok",), ("ok", "ok")):
                assert chosen(await ask(gateway, turn(*results, first=HELLO), session="")) == CHAT
            # Other words are another loop, the same ones of somebody else too.
            assert chosen(await ask(gateway, turn("ok", first="hi there"), session="")) == HARD
        assert await StickySession.objects.acount() == 2

    async def test_a_request_sent_again_without_a_session_chooses_anew(self) -> None:
        async with self.gateway(said()) as gateway:
            assert chosen(await ask(gateway, HELLO, session="")) == CHAT
            await SceneRule.objects.acreate(scene=self.scenes["hard"], min_prompt_tokens=1)
            assert chosen(await ask(gateway, HELLO, session="")) == HARD

    async def test_two_identical_calls_at_once_leave_one_memory(self) -> None:
        async with self.gateway(said()) as gateway:
            answers = await asyncio.gather(*[ask(gateway, REFACTOR) for _ in range(12)])
        assert {chosen(answer) for answer in answers} == {CODE}
        assert await StickySession.objects.acount() == 1
        assert await books_differ() == []

    async def test_conversations_that_share_a_cache_are_told_apart(self) -> None:
        async with self.gateway(said()) as gateway:

            async def say(*results: str, first: str) -> tuple[str, str]:
                return chosen(await ask(gateway, turn(*results, first=first), session="", prompt_cache_key="all"))

            assert await say(first=HELLO) == CHAT
            assert await say(first=REFACTOR) == CODE
            assert await say("ok", first=HELLO) == CHAT
            assert await say("ok", first=REFACTOR) == CODE
            # New words go on with what was last.
            assert await say(first="and then?") == CODE

    async def test_agents_without_a_name_are_told_apart(self) -> None:
        system = [{"type": "text", "text": "x-anthropic-billing-header: cc_version=2; cc_is_subagent=true;"}]
        async with self.gateway(said()) as gateway:
            assert chosen(await ask(gateway, turn(first=HELLO))) == CHAT
            assert chosen(await ask(gateway, turn(), system=system)) == CODE
            assert chosen(await ask(gateway, turn("ok"), system=system)) == CODE
            assert chosen(await ask(gateway, turn(first="look around"), system=system)) == CHAT
            assert chosen(await ask(gateway, turn("ok", first=HELLO))) == CHAT
        assert (await self.newest(kind="subagent")).decision["by"] == "default"
