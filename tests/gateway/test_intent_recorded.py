"""Where the requests of a real Claude Code go, each kind of them, in a session that is about code."""

from asgiref.sync import sync_to_async

from accounts.models import CallRecord
from routing.models import Scene, StickySession
from tests.fakes.recorded import recorded
from tests.gateway.intent_case import CHAT, CODE, REFACTOR, IntentCase, ask, books_differ, chosen, said

CHEAPEST = ("", "up/a")
GOES_TO = {
    "side_title": ("title", CHEAPEST, "kind"),
    "side_model_switch_probe": ("probe", CHEAPEST, "kind"),
    "side_classifier_stage1": ("permission", CHEAPEST, "kind"),
    "side_classifier_stage2": ("permission", CHEAPEST, "kind"),
    "side_compaction": ("compaction", CODE, "session"),
    "side_compact_manual": ("compaction", CODE, "session"),
    "side_websearch_inner": ("web_search", CODE, "session"),
    "main_headless_tool_result": ("tool_result", CODE, "session"),
    "main_parallel_tool_results": ("tool_result", CODE, "session"),
    "main_long_loop": ("tool_result", CODE, "session"),
    "main_headless_first": ("main", CODE, "session"),
    "subagent_general": ("subagent", CHAT, "default"),
}


class Recorded(IntentCase):
    async def test_each_kind_goes_where_kinds_of_its_sort_go(self) -> None:
        async with self.gateway(said()) as gateway:
            assert chosen(await ask(gateway, REFACTOR)) == CODE
            for name, (kind, expected, by) in GOES_TO.items():
                with self.subTest(name):
                    request = recorded()[name]
                    headers = {key.lower(): value for key, value in request.own_headers.items()}
                    answer = await gateway.send(
                        request.raw, request.url, headers={**headers, "x-claude-code-session-id": "s-1"}
                    )
                    assert chosen(answer) == expected
                    row = await self.newest()
                    assert (row.kind, row.decision["by"]) == (kind, by)
        # The session's own memory, and the agent's.
        assert await StickySession.objects.acount() == 2
        assert await CallRecord.objects.exclude(status="ok").acount() == 0
        assert await books_differ() == []

    async def test_the_name_of_a_scene_may_be_chinese(self) -> None:
        await sync_to_async(Scene.objects.filter(name="code").update)(name="写代码")
        async with self.gateway(said()) as gateway:
            answer = await ask(gateway, REFACTOR)
            assert answer.headers["x-gateway-scene"] == "%E5%86%99%E4%BB%A3%E7%A0%81"
        assert (await self.newest()).scene_name == "写代码"
