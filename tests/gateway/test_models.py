"""The list of models: aliases first, under names that clients can pick and that mean what they say."""

from typing import Any

import pytest
from asgiref.sync import sync_to_async

from accounts.models import ApiKey, CallRecord
from gateway.model_list import pickable_name
from providers.models import Model, Provider
from routing.models import ModelAlias, Route, RouteEntry, Scene
from routing.snapshot import alias_matcher
from tests.fakes.transport import Reply, text_stream
from tests.gateway.case import GatewayCase, body

FAMILIES = ("claude-*haiku*", "claude-*opus*")
ANTHROPIC = {"anthropic-version": "2023-06-01"}


@pytest.mark.parametrize(
    ("pattern", "earlier", "name"),
    [
        ("claude-*haiku*", (), "claude-haiku"),
        ("claude-haiku-*", (), "claude-haiku-latest"),
        ("claude-3*haiku", (), "claude-3-haiku"),
        ("*claude*", (), "claude"),
        ("claude-*", FAMILIES, "claude-latest"),
        ("claude-*", ("claude-latest",), ""),
        ("claude-haiku", (), "claude-haiku"),
        ("claude-*haiku*", ("claude-haiku",), "claude-haiku-latest"),
        ("claude-opus-4-5*", (), "claude-opus-4-5"),
        ("claude-*haiku*", ("claude-*",), ""),
        ("claude-sonnet-5[1m]", (), "claude-sonnet-5[1m]"),
        ("gpt-*", (), ""),
        ("gpt-5", (), "gpt-5"),
    ],
)
def test_a_name_to_pick_means_its_pattern_and_none_before_it(pattern: str, earlier: tuple[str, ...], name: str) -> None:
    assert pickable_name(pattern, [alias_matcher(one) for one in earlier]) == name


def test_only_the_star_is_special_in_a_pattern() -> None:
    assert alias_matcher("claude-sonnet-5[1m]").match("claude-sonnet-5[1m]")
    assert not alias_matcher("claude-sonnet-5[1m]").match("claude-sonnet-51")
    assert not alias_matcher("gpt-?").match("gpt-5")
    assert not alias_matcher("claude-*").match("a-claude-5")
    assert alias_matcher("*-5").match("claude-\n-5")
    # Many stars do not make a long name slow.
    assert not alias_matcher("a*" * 20 + "b").match("a" * 20_000)


class ModelListTest(GatewayCase):
    def alias(self, pattern: str, target: str = "up/a", **fields: Any) -> None:
        if not fields:
            fields = {"model": Model.objects.get(provider__name=target[:2], model_id=target[3:])}
        ModelAlias.objects.create(pattern=pattern, **fields)

    async def listed(self, headers: dict[str, str] = ANTHROPIC) -> list[dict[str, Any]]:
        async with self.gateway() as gateway:
            entries: list[dict[str, Any]] = (await gateway.client.get("/v1/models", headers=headers)).json()["data"]
        return entries

    def setUp(self) -> None:
        super().setUp()
        self.everyday = Route.objects.get(name="everyday")

    async def test_aliases_come_first_and_say_what_they_mean(self) -> None:
        def make() -> None:
            scene = Scene.objects.create(name="闲聊", description="打招呼、闲聊和测试消息等。", route=self.everyday)
            self.alias("claude-*", route=self.everyday)
            self.alias("claude-*haiku*", "up/b")
            self.alias("claude-*sonnet*", scene=scene)
            self.alias("gpt-*")

        await sync_to_async(make)()
        entries = await self.listed()
        assert [(entry["id"], entry["display_name"]) for entry in entries] == [
            ("native", "native → nat/n"),
            ("claude-sonnet", "Sonnet → 闲聊"),
            ("claude-haiku", "Haiku → up/b"),
            ("claude-latest", "Claude → everyday"),
            ("up/a", "up/a"),
            ("up/b", "up/b"),
            ("nat/n", "nat/n"),
        ]
        assert entries[2]["max_input_tokens"] == 200_000
        openai = await self.listed({})
        assert [entry["id"] for entry in openai] == [entry["id"] for entry in entries]
        assert {(entry["object"], entry["owned_by"]) for entry in openai[:4]} == {("model", "wolfgate")}

    async def test_what_is_listed_is_answered_by_what_it_says(self) -> None:
        def make() -> None:
            self.alias("claude-*")
            self.alias("claude-*haiku*", "up/b")

        await sync_to_async(make)()
        async with self.gateway(Reply(text_stream()), Reply(text_stream())) as gateway:
            for name, target in (("claude-haiku", "b"), ("claude-latest", "a")):
                assert (await gateway.send({**body(), "model": name})).status_code == 200
                assert gateway.sent()["model"] == target

    async def test_one_entry_is_found_by_any_name_that_an_alias_takes(self) -> None:
        await sync_to_async(self.alias)("claude-*haiku*", "up/b")
        async with self.gateway() as gateway:
            for name in ("claude-haiku", "claude-haiku-5-5-20260901"):
                one = (await gateway.client.get(f"/v1/models/{name}", headers=ANTHROPIC)).json()
                assert (one["id"], one["display_name"].partition(" → ")[2]) == (name, "up/b")
                openai = (await gateway.client.get(f"/v1/models/{name}")).json()
                assert (openai["id"], openai["object"]) == (name, "model")
            missing = await gateway.client.get("/v1/models/claude-opus", headers=ANTHROPIC)
        assert missing.status_code == 404

    async def test_what_nothing_can_answer_is_left_out(self) -> None:
        def make() -> None:
            empty = Route.objects.create(name="empty")
            off = Route.objects.create(name="off")
            RouteEntry.objects.create(route=off, model=Model.objects.get(model_id="b"))
            Model.objects.filter(model_id="b").update(is_enabled=False)
            Provider.objects.filter(name="nat").update(is_enabled=False)
            self.alias("claude-empty", route=empty)
            self.alias("claude-off-*", route=off)
            self.alias("claude-everyday", route=self.everyday)

        await sync_to_async(make)()
        assert [entry["id"] for entry in await self.listed()] == ["claude-everyday", "up/a"]
        async with self.gateway() as gateway:
            assert (await gateway.client.get("/v1/models/claude-off-x")).status_code == 404

    async def test_a_key_sees_what_it_may_use(self) -> None:
        def make() -> None:
            self.alias("claude-*haiku*", "up/b")
            self.alias("claude-*opus*", "up/a")
            ApiKey.objects.update(allowed_models=["up/b", "nat*"])

        await sync_to_async(make)()
        # The key may use up/b, by whatever name.
        assert [entry["id"] for entry in await self.listed()] == ["native", "claude-haiku", "up/b", "nat/n"]
        async with self.gateway(Reply(text_stream())) as gateway:
            assert (await gateway.client.get("/v1/models/claude-opus")).status_code == 404
            assert (await gateway.send({**body(), "model": "claude-haiku"})).status_code == 200
            assert (await gateway.send({**body(), "model": "claude-opus"})).status_code == 403
        assert await CallRecord.objects.filter(status="ok").acount() == 1

    async def test_an_alias_of_a_targets_own_name_is_listed_once(self) -> None:
        await sync_to_async(self.alias)("up/a", "up/b")
        ids = [entry["id"] for entry in await self.listed()]
        assert sorted(ids) == sorted(set(ids)) == ["nat/n", "native", "up/a", "up/b"]

    async def test_a_pattern_is_not_hidden_by_a_more_general_one(self) -> None:
        def make() -> None:
            for position, (pattern, target) in enumerate(
                (("*", "up/a"), ("claude-*", "up/a"), ("claude-*haiku*", "up/b"), ("claude-haiku-4", "nat/n"))
            ):
                model = Model.objects.get(provider__name=target.split("/")[0], model_id=target.split("/")[1])
                self.alias(pattern, model=model, position=position)

        await sync_to_async(make)()
        async with self.gateway(*[Reply(text_stream())] * 2) as gateway:
            for name, target in (("claude-haiku-5", "b"), ("claude-opus-5", "a")):
                await gateway.send({**body(), "model": name})
                assert gateway.sent()["model"] == target
        names = [entry["display_name"] for entry in await self.listed()]
        assert names[:4] == ["claude-haiku-4 → nat/n", "native → nat/n", "Haiku → up/b", "Claude → up/a"]
