"""The fault matrix where an answer breaks off after it has begun, and where it ends without having said anything."""

import itertools

import httpx

from tests.fakes.transport import Reply, chunk, events, sse
from tests.gateway.fault_case import UPSTREAM_SECRET, Cell, FaultCase
from tests.gateway.faults import CUTS, JSON, MODEL, SSE, START, Cut
from tests.gateway.test_pipeline import events_of, streamed_text
from tests.translation.grammar import check

COOLS = (10.0, MODEL)
END = {
    "type": "message_delta",
    "delta": {"stop_reason": "end_turn", "stop_sequence": None, "stop_details": None},
    "usage": {
        "input_tokens": 10,
        "output_tokens": 1,
        "cache_read_input_tokens": 0,
        "cache_creation_input_tokens": 0,
    },
}


def breaking(cut: Cut, wire: str, *, streamed: bool) -> Reply:
    """Return the cut answer in the form in which the target is asked for it."""
    if wire == "openai":
        return Reply(list(cut.openai), 200, SSE)
    if streamed:
        return Reply(list(cut.anthropic), 200, SSE)
    return Reply([b'{"type": "message", "content": [{"type": "te', httpx.ReadError("reset")], 200, JSON)


class CutMatrix(FaultCase):
    def check_broken(self, cell: Cell, wire: str, cut: Cut) -> None:
        """Check that the client got what came and then an error event, and that it is paid for."""
        self.expected["calls"] += 1
        self.expected["failed_calls"] += 1
        self.expected["estimated_calls"] += 1
        response, call = cell.response, cell.call
        self.assertEqual(response.status_code, 200)
        self.assertEqual(response.headers["x-gateway-model"], f"{wire}/x")
        found = events_of(response)
        # Events are relayed whole and as they came: an error follows whichever was last, as Anthropic's own do.
        check(found if wire == "openai" else found[:-1], complete=False)
        self.assertEqual(found[-1]["type"], "error")
        started = [event["content_block"]["type"] for event in found if event["type"] == "content_block_start"]
        self.assertEqual(tuple(started), cut.blocks)
        self.assertEqual(streamed_text(response), "half a word")
        self.assertFalse({"message_delta", "message_stop"} & {event["type"] for event in found})
        self.assertEqual(found[-1]["error"]["type"], "api_error")
        self.assertIn("cut off", found[-1]["error"]["message"])
        self.assertEqual(found[-1]["request_id"], call.request_id)
        self.assertNotIn(UPSTREAM_SECRET, response.text)
        self.assertEqual(cell.attempts, [(f"{wire}/x", "ok", 200)])
        self.assertEqual((call.status, call.error_kind, call.http_status), ("failed", "bad_response", 502))
        self.assertEqual((call.provider_name, call.model_name), (wire, "x"))
        # What was said is paid for, by an estimate where the platform did not get to count it.
        self.assertTrue(call.usage_is_estimated)
        self.assertGreater(call.input_tokens, 0)
        self.assertGreater(call.output_tokens, 0)
        self.assertEqual(call.cost * 10**6, call.input_tokens * 3 + call.output_tokens * 15)
        self.assertEqual(call.currency, "USD")

    async def test_answers_that_break_off(self) -> None:
        async with self.failing_gateway() as gateway:
            for cut, wire, streamed, alone in itertools.product(
                CUTS, ("openai", "anthropic"), (True, False), (True, False)
            ):
                with self.subTest(cut=cut.name, wire=wire, streamed=streamed, alone=alone):
                    cell = await self.run_cell(
                        gateway,
                        wire,
                        lambda is_stream, cut=cut, wire=wire: breaking(cut, wire, streamed=is_stream),
                        streamed=streamed,
                        alone=alone,
                    )
                    tried = (f"{wire}/x", "bad_response", 200)
                    if streamed:
                        self.check_broken(cell, wire, cut)
                    elif alone:
                        self.check_failed(cell, "bad_response", 502, "cut off")
                        self.assertEqual(cell.attempts, [tried])
                    else:
                        self.check_healthy(cell)
                        self.assertEqual(cell.attempts, [tried, ("two/y", "ok", 200)])
                    await self.check_cooldown(wire, "bad_response", COOLS)
                    await self.check_books()

    async def test_a_client_that_asks_again_after_a_cut_meets_the_next_target(self) -> None:
        async with self.failing_gateway() as gateway:
            cell = await self.run_cell(
                gateway, "openai", lambda _streamed: Reply(list(CUTS[0].openai), 200, SSE), streamed=True, alone=False
            )
            self.check_broken(cell, "openai", CUTS[0])
            again = await self.run_cell(
                gateway, "openai", lambda _streamed: Reply([]), streamed=True, alone=False, forgets=False
            )
            self.check_healthy(again)
            self.assertEqual(again.attempts, [("two/y", "ok", 200)])

    async def test_answers_that_end_without_a_word(self) -> None:
        """They are successes: nothing rests, another target may have more to say, and the last one's counts."""
        native = events(START, END, {"type": "message_stop"})
        whole = (
            b'{"id": "msg_1", "type": "message", "role": "assistant", "model": "x", "content": [],'
            b' "stop_reason": "end_turn", "stop_sequence": null, "usage": {"input_tokens": 10, "output_tokens": 1}}'
        )
        openai = sse(chunk({"role": "assistant", "content": ""}), chunk(finish="stop"))
        replies = {
            "openai": lambda _streamed: Reply(list(openai), 200, SSE),
            "anthropic": lambda streamed: Reply(list(native), 200, SSE) if streamed else Reply([whole], 200, JSON),
        }
        async with self.failing_gateway() as gateway:
            for wire, streamed, alone in itertools.product(replies, (True, False), (True, False)):
                with self.subTest(wire=wire, streamed=streamed, alone=alone):
                    cell = await self.run_cell(gateway, wire, replies[wire], streamed=streamed, alone=alone)
                    if alone:
                        self.expected["calls"] += 1
                        self.expected["estimated_calls"] += cell.call.usage_is_estimated
                        self.assertEqual(cell.response.status_code, 200, cell.response.text)
                        if streamed:
                            check(events_of(cell.response))
                        else:
                            self.assertEqual(cell.response.json()["stop_reason"], "end_turn")
                        self.assertEqual(cell.attempts, [(f"{wire}/x", "ok", 200)])
                        self.assertEqual(cell.call.status, "ok")
                    else:
                        self.check_healthy(cell)
                        self.assertEqual(cell.attempts, [(f"{wire}/x", "empty", 200), ("two/y", "ok", 200)])
                    self.assertEqual(self.health.cooling(), [])
                    await self.check_books()

    async def test_an_answer_that_says_something_is_not_empty_however_its_bytes_are_cut(self) -> None:
        text = [
            {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
            {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "said"}},
            {"type": "content_block_stop", "index": 0},
        ]
        pieces = [piece for piece in events(START, *text, END, {"type": "message_stop"}) if isinstance(piece, bytes)]
        async with self.failing_gateway() as gateway:
            for cut in range(len(pieces) + 1):
                reads = [b"".join(pieces[:cut]), b"".join(pieces[cut:])]
                cell = await self.run_cell(
                    gateway,
                    "anthropic",
                    lambda _streamed, reads=reads: Reply([read for read in reads if read], 200, SSE),
                    streamed=True,
                    alone=False,
                )
                check(events_of(cell.response))
                self.assertEqual(streamed_text(cell.response), "said")
                self.assertEqual(cell.attempts, [("anthropic/x", "ok", 200)])
