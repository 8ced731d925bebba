"""The load generator: so many calls over so many connections, as cheap as Python allows, in a process of its own.

    python benchmarks/load.py URL BODY_FILE --key KEY --calls 500 --concurrency 16 --expect message_stop

Prints one JSON object: calls, failures, wall_s, and the percentiles of the whole latency and of the first byte in ms.
"""

import argparse
import asyncio
import json
import socket
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import cast
from urllib.parse import urlsplit

import uvloop


@dataclass(slots=True)
class Run:
    """What is to be done, and how it went."""

    request: bytes
    expect: bytes  # a body without it is a failure
    calls_left: int
    total_s: list[float] = field(default_factory=list)
    first_byte_s: list[float] = field(default_factory=list)
    failures: int = 0
    failed_answer: bytes = b""


class Connection(asyncio.Protocol):
    """Asks again as soon as an answer is complete, until no calls are left."""

    def __init__(self, run: Run) -> None:
        self._run = run
        self.done = asyncio.get_running_loop().create_future()
        self._answer = bytearray()
        self._started_at = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's is one in all but name
        transport.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._ask()

    def connection_lost(self, exc: Exception | None) -> None:
        if not self.done.done():
            self.done.set_exception(exc or ConnectionError(f"closed in mid-answer: {bytes(self._answer[-300:])!r}"))

    def _ask(self) -> None:
        if self._run.calls_left == 0:
            self.done.set_result(None)
            self._transport.close()
            return
        self._run.calls_left -= 1
        self._started_at = time.perf_counter()
        self._transport.write(self._run.request)

    def data_received(self, data: bytes) -> None:
        if not self._answer:
            self._run.first_byte_s.append(time.perf_counter() - self._started_at)
        self._answer += data
        if not self._is_complete():
            return
        self._run.total_s.append(time.perf_counter() - self._started_at)
        if not self._answer.startswith(b"HTTP/1.1 200") or self._run.expect not in self._answer:
            self._run.failures += 1
            self._run.failed_answer = bytes(self._answer[-1000:])
        self._answer.clear()
        self._ask()

    def _is_complete(self) -> bool:
        if self._answer.endswith(b"\r\n0\r\n\r\n"):
            return True
        head, separator, body = self._answer.partition(b"\r\n\r\n")
        at = head.lower().find(b"content-length:")
        return bool(separator) and at >= 0 and len(body) >= int(head[at + 15 :].split(b"\r\n", 1)[0])


async def load(host: str, port: int, run: Run, concurrency: int) -> float:
    """Do the calls of `run` and return the seconds they took."""
    loop = asyncio.get_running_loop()
    started_at = time.perf_counter()
    made = [await loop.create_connection(lambda: Connection(run), host, port) for _ in range(concurrency)]
    await asyncio.gather(*(connection.done for _, connection in made))
    return time.perf_counter() - started_at


def percentile(values: list[float], share: float) -> float:
    """Return the value below which `share` of `values` lie, in ms."""
    ordered = sorted(values)
    return round(ordered[min(int(len(ordered) * share), len(ordered) - 1)] * 1000, 2)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("url")
    parser.add_argument("body", type=Path)
    parser.add_argument("--key", default="")
    parser.add_argument("--calls", type=int, default=500)
    parser.add_argument("--concurrency", type=int, default=16)
    parser.add_argument("--expect", default="")
    arguments = parser.parse_args()
    url = urlsplit(arguments.url)
    assert url.hostname is not None
    assert url.port is not None
    body = arguments.body.read_bytes()
    head = (
        f"POST {url.path} HTTP/1.1\r\nhost: {url.netloc}\r\ncontent-type: application/json\r\n"
        f"anthropic-version: 2023-06-01\r\nx-api-key: {arguments.key}\r\ncontent-length: {len(body)}\r\n\r\n"
    )
    run = Run(head.encode() + body, arguments.expect.encode(), arguments.calls)
    wall_s = uvloop.run(load(url.hostname, url.port, run, arguments.concurrency))
    json.dump(
        {
            "calls": len(run.total_s),
            "failures": run.failures,
            "failed_answer": run.failed_answer.decode("utf-8", "replace"),
            "wall_s": round(wall_s, 3),
            "p50_ms": percentile(run.total_s, 0.50),
            "p95_ms": percentile(run.total_s, 0.95),
            "first_byte_p50_ms": percentile(run.first_byte_s, 0.50),
        },
        sys.stdout,
    )


if __name__ == "__main__":
    main()
