"""Auto mode where the gateway says nothing of its own: native upstreams, and clients that do not ask."""

import json
from typing import Any

import httpx

from accounts.models import CallRecord
from providers.models import Model
from routing.models import RuntimeSettings
from tests.fakes.transport import Piece, Reply, events
from tests.gateway.safety_case import SAFEGUARDS, SafetyCase, asking, calling, events_of, results_of


class NotJudgedTests(SafetyCase):
    async def assert_silent(self, **fields: Any) -> None:
        for streamed in (True, False):
            async with self.gateway(calling("ls")) as gateway:
                response = await gateway.send(asking(stream=streamed, **fields))
            assert results_of(response) is None
            assert len(gateway.upstream.requests) == 1
        assert not await CallRecord.objects.filter(kind="safety").aexists()

    async def test_a_client_that_does_not_ask_gets_no_verdicts(self) -> None:
        for safeguards in ([], [{"type": "other"}], None, "dangerous_tool_use"):
            await self.assert_silent(safeguards=safeguards)

    async def test_without_a_safety_model_nothing_is_said(self) -> None:
        await RuntimeSettings.objects.aupdate(safety_model=None)
        await self.assert_silent()

    async def test_a_disabled_safety_model_is_none(self) -> None:
        await Model.objects.filter(pk=self.judge.pk).aupdate(is_enabled=False)
        await self.assert_silent()

    async def test_a_stream_that_breaks_is_not_judged(self) -> None:
        pieces = calling("ls").pieces[:2]
        async with self.gateway(Reply([*pieces, httpx.ReadError("reset")])) as gateway:
            response = await gateway.send(asking(stream=True))
        assert events_of(response)[-1]["type"] == "error"
        assert b"safeguard_results" not in response.content
        assert len(gateway.upstream.requests) == 1


class NativeTests(SafetyCase):
    """The upstream judges itself; a safety model of ours has no say."""

    BETA = "claude-code-20250219,dangerous-tool-use-2026-09-03"
    RESULTS = (
        '[{"type":"dangerous_tool_use",  "status":{"type":"available","tool_uses":'
        '{"toolu_9":{"type":"evaluated","outcome":"flagged","explanation":"no \\u00e9"}}}}]'
    )

    async def send(self, reply: Reply, *, streamed: bool) -> tuple[httpx.Response, bytes]:
        sent = json.dumps(asking(model="native", stream=streamed)).encode()
        async with self.gateway(reply) as gateway:
            response = await gateway.send(sent, headers={"anthropic-beta": self.BETA})
            (request,) = gateway.upstream.requests
        assert request.headers["anthropic-beta"] == self.BETA
        assert request.content == sent.replace(b'"native"', b'"n"')
        assert json.loads(request.content)["safeguards"] == SAFEGUARDS
        assert await CallRecord.objects.filter(kind="safety").acount() == 0
        return response, sent

    async def test_a_stream_goes_up_and_comes_back_untouched(self) -> None:
        tool = {"type": "tool_use", "id": "toolu_9", "name": "Bash", "input": {}}
        pieces: list[Piece] = [
            *events(
                {"type": "message_start", "message": {"usage": {"input_tokens": 7, "output_tokens": 1}}},
                {"type": "content_block_start", "index": 0, "content_block": tool},
                {
                    "type": "content_block_delta",
                    "index": 0,
                    "delta": {"type": "input_json_delta", "partial_json": "{}"},
                },
                {"type": "content_block_stop", "index": 0},
            ),
            b'event: message_delta\ndata: {"type":"message_delta","delta":{"stop_reason":"tool_use",'
            b'"safeguard_results":' + self.RESULTS.encode() + b'},"usage":{"output_tokens":5}}\n\n',
            *events({"type": "message_stop"}),
        ]
        response, _sent = await self.send(Reply(pieces), streamed=True)
        assert response.content == b"".join(piece for piece in pieces if isinstance(piece, bytes))

    async def test_a_message_goes_up_and_comes_back_untouched(self) -> None:
        answer = (
            b'{"type":"message",  "content":[{"type":"tool_use","id":"toolu_9","name":"Bash","input":{}}],'
            b'"stop_reason":"tool_use","usage":{"input_tokens":7,"output_tokens":5},"safeguard_results":'
            + self.RESULTS.encode()
            + b"}"
        )
        reply = Reply([answer], headers={"content-type": "application/json"})
        response, _sent = await self.send(reply, streamed=False)
        assert response.content == answer
