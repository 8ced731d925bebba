"""Reasoning through the whole gateway: from an answer, through the client's history, to whoever answers next."""

import json
from typing import Any

from providers.models import Model
from tests.fakes.transport import Reply, chunk, json_reply, sse
from tests.gateway.case import GatewayCase, body

DETAILS = [
    {"type": "reasoning.text", "text": "Look first.", "signature": "vendor-sig", "index": 0},
    {"type": "reasoning.encrypted", "data": "enc", "index": 1},
]
CALL = {"index": 0, "id": "t1", "type": "function", "function": {"name": "Read", "arguments": '{"path":"/a"}'}}
READ = {"name": "Read", "input_schema": {"type": "object", "properties": {"path": {"type": "string"}}}}


def asking(**fields: Any) -> dict[str, Any]:
    return body(tools=[READ], thinking={"type": "adaptive", "display": "omitted"}, **fields)


class ReasoningTests(GatewayCase):
    async def test_each_target_of_a_call_gets_what_it_can_use(self) -> None:
        await Model.objects.filter(model_id="a").aupdate(flags={"reasoning_replay": "reasoning_details"})
        await Model.objects.filter(model_id="b").aupdate(flags={"reasoning_replay": "reasoning_content"})
        answer = Reply(
            sse(chunk({"reasoning_details": DETAILS}), chunk({"tool_calls": [CALL]}), chunk(finish="tool_calls"))
        )
        broken = json_reply({"error": {"message": "broken", "type": "server_error"}}, 500)
        async with self.gateway(
            answer, broken, Reply(sse(chunk({"content": "Done."}), chunk(finish="stop")))
        ) as gateway:
            first = await gateway.send(asking())
            content = first.json()["content"]
            self.assertEqual([block["type"] for block in content], ["thinking", "tool_use"])
            self.assertEqual(content[0]["thinking"], "")
            result = {"type": "tool_result", "tool_use_id": content[1]["id"], "content": "text of a"}
            history = [
                *asking()["messages"],
                {"role": "assistant", "content": content},
                {"role": "user", "content": [result]},
            ]
            second = await gateway.send(asking() | {"messages": history})
        self.assertEqual(second.json()["content"], [{"type": "text", "text": "Done."}])
        self.assertEqual([sent["model"] for sent in gateway.upstream.bodies], ["a", "a", "b"])
        again, fallback = (sent["messages"][1] for sent in gateway.upstream.bodies[1:])
        self.assertEqual(again["reasoning_details"], DETAILS)
        self.assertNotIn("reasoning_content", again)
        self.assertEqual(fallback["reasoning_content"], "Look first.")
        self.assertNotIn("enc", json.dumps(fallback))
