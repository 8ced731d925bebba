"""The benchmark's upstream: constant answers from memory, so that what is measured is the gateway.

    python benchmarks/upstream.py PORT

A request that mentions `bench-long` gets 300 events, one each 2 ms as a model would write them; every other one gets
5 events at once. Each event is a write, and an HTTP chunk, of its own.
"""

import asyncio
import json
import socket
import sys
from typing import cast

import uvloop

GAP_S = 0.002
HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
END = b"0\r\n\r\n"


def _events(count: int) -> list[bytes]:
    """Return an answer of `count` pieces of text as HTTP chunks."""
    usage = {"prompt_tokens": 1000, "completion_tokens": count, "total_tokens": 1000 + count}
    base = {"id": "chatcmpl-b", "object": "chat.completion.chunk", "created": 1, "model": "bench"}
    pieces = [{"role": "assistant", "content": ""}, *({"content": f" word{n}"} for n in range(count - 1))]
    payloads = [{**base, "choices": [{"index": 0, "delta": piece, "finish_reason": None}]} for piece in pieces]
    payloads.append({**base, "choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]})
    payloads.append({**base, "choices": [], "usage": usage})
    events = [b"data: " + json.dumps(payload).encode() + b"\n\n" for payload in payloads]
    events.append(b"data: [DONE]\n\n")
    return [b"%x\r\n%s\r\n" % (len(event), event) for event in events]


SHORT, LONG = _events(5), _events(300)


class Connection(asyncio.Protocol):
    """Reads a request, writes the constant answer, and again."""

    def __init__(self) -> None:
        self._received = bytearray()
        self._missing = -1  # bytes of the body that have not come yet; -1: the head is incomplete
        self._is_open = True

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's is one in all but name
        transport.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def connection_lost(self, exc: Exception | None) -> None:
        self._is_open = False

    def data_received(self, data: bytes) -> None:
        self._received += data
        if self._missing < 0:
            end = self._received.find(b"\r\n\r\n")
            if end < 0:
                return
            head = self._received[:end].lower()
            at = head.find(b"content-length:")
            length = int(head[at + 15 :].split(b"\r\n", 1)[0]) if at >= 0 else 0
            self._missing = end + 4 + length
        if len(self._received) < self._missing:
            return
        is_long = b"bench-long" in self._received
        self._received.clear()
        self._missing = -1
        self._transport.write(HEAD)
        self._send(LONG if is_long else SHORT, 0, GAP_S if is_long else 0.0)

    def _send(self, events: list[bytes], position: int, gap_s: float) -> None:
        if not self._is_open:
            return
        if position == len(events):
            self._transport.write(END)
            return
        self._transport.write(events[position])
        loop = asyncio.get_running_loop()
        if gap_s:
            loop.call_later(gap_s, self._send, events, position + 1, gap_s)
        else:
            loop.call_soon(self._send, events, position + 1, gap_s)


async def serve(port: int) -> None:
    server = await asyncio.get_running_loop().create_server(Connection, "127.0.0.1", port, backlog=512)
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(serve(int(sys.argv[1])))
