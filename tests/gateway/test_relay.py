"""The buffer between the upstream and the client."""

import asyncio

from gateway.relay import HIGH_WATER_BYTES, Outbox


async def collect(outbox: Outbox) -> list[bytes]:
    parts = []
    while (part := await outbox.get(1)) is not None:
        parts.append(part)
    return parts


def test_everything_arrives_in_order_and_then_the_end() -> None:
    async def run() -> list[bytes]:
        outbox = Outbox()
        reader = asyncio.ensure_future(collect(outbox))
        for number in range(100):
            await outbox.put(b"%d," % number)
            if number % 7 == 0:
                await asyncio.sleep(0)
        outbox.close()
        return await reader

    assert b"".join(asyncio.run(run())) == b"".join(b"%d," % number for number in range(100))


def test_what_gathered_leaves_in_one_piece() -> None:
    async def run() -> list[bytes]:
        outbox = Outbox()
        for part in (b"a", b"b", b"c"):
            await outbox.put(part)
        outbox.close()
        return await collect(outbox)

    assert asyncio.run(run()) == [b"abc"]


def test_silence_is_reported_and_does_not_end_the_stream() -> None:
    async def run() -> list[bytes | None]:
        outbox = Outbox()
        silent = await outbox.get(0.001)
        await outbox.put(b"late")
        late = await outbox.get(1)
        silent_again = await outbox.get(0.001)
        outbox.close()
        return [silent, late, silent_again, await outbox.get(1), await outbox.get(1)]

    assert asyncio.run(run()) == [b"", b"late", b"", None, None]


def test_a_slow_client_holds_the_upstream_back() -> None:
    async def run() -> int:
        outbox = Outbox()
        written = 0

        async def write() -> None:
            nonlocal written
            for _ in range(100):
                await outbox.put(b"x" * (HIGH_WATER_BYTES // 4))
                written += 1

        writer = asyncio.ensure_future(write())
        for _ in range(200):
            await asyncio.sleep(0)
        stopped_at = written
        while not writer.done():
            await outbox.get(1)
            await asyncio.sleep(0)
        assert written == 100
        return stopped_at

    assert asyncio.run(run()) <= 5
