"""Where the requests of real clients go: each kind of Claude Code's in a session about code, and tool loops of others."""

from typing import Any

from asgiref.sync import sync_to_async

from accounts.models import CallRecord
from routing.models import Scene, SceneRule, StickySession
from tests.fakes.recorded import recorded
from tests.gateway.intent_case import CHAT, CODE, HARD, REFACTOR, IntentCase, ask, books_differ, chosen, said

CHAT_PATH = "/v1/chat/completions"
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


class OpenAIClients(IntentCase):
    """Clients of OpenAI's APIs, which name no session."""

    async def test_a_loop_of_chat_completions_stays(self) -> None:
        call = {"id": "call_1", "type": "function", "function": {"name": "ls", "arguments": "{}"}}
        tools = [{"type": "function", "function": {"name": "ls", "parameters": {"type": "object"}}}]
        messages: list[dict[str, Any]] = [
            {"role": "system", "content": "You refactor nothing."},
            {"role": "user", "content": "list the files"},
        ]
        async with self.gateway(said()) as gateway:

            async def send() -> tuple[str, str]:
                return chosen(await gateway.send({"model": "m", "messages": messages, "tools": tools}, CHAT_PATH))

            assert await send() == CHAT
            await SceneRule.objects.acreate(scene=self.scenes["hard"], min_prompt_tokens=1)
            messages += [
                {"role": "assistant", "tool_calls": [call]},
                {"role": "tool", "tool_call_id": "call_1", "content": "refactor.py"},
            ]
            assert await send() == CHAT
            row = await self.newest()
            assert (row.kind, row.session_id, row.decision["by"]) == ("tool_result", "", "session")
            messages += [{"role": "assistant", "content": "There."}, {"role": "user", "content": "and the next?"}]
            assert await send() == HARD

    async def test_a_loop_of_responses_stays(self) -> None:
        items: list[dict[str, Any]] = [{"role": "user", "content": "list the files"}]
        async with self.gateway(said()) as gateway:

            async def send() -> tuple[str, str]:
                return chosen(await gateway.send({"model": "m", "input": items}, "/v1/responses"))

            assert await send() == CHAT
            await SceneRule.objects.acreate(scene=self.scenes["hard"], min_prompt_tokens=1)
            items += [
                {"type": "function_call", "call_id": "call_1", "name": "ls", "arguments": "{}"},
                {"type": "function_call_output", "call_id": "call_1", "output": "a b"},
            ]
            assert await send() == CHAT
