"""Long files: the first bytes leave before the last are made, and nothing stays open behind them."""

import asyncio
import threading
from collections.abc import Iterator

from django.core.handlers.asgi import ASGIRequest
from django.db import connection, connections
from django.test import RequestFactory, SimpleTestCase, TransactionTestCase
from django.utils import translation
from django.utils.translation import gettext

from gateway.streamed import aparts, download


class Parts:
    """Three parts that note when they are made, where, and whether they were closed."""

    def __init__(self) -> None:
        self.made: list[int] = []
        self.threads: set[int] = set()
        self.closed = threading.Event()

    def __iter__(self) -> Iterator[bytes]:
        try:
            for number in range(3):
                self.made.append(number)
                self.threads.add(threading.get_ident())
                yield f"{number}".encode()
        finally:
            self.closed.set()


class Streamed(SimpleTestCase):
    async def test_each_part_is_made_when_it_is_wanted_in_one_other_thread(self) -> None:
        parts = Parts()
        stream = aparts(iter(parts))
        self.assertEqual(await anext(stream), b"0")
        self.assertEqual(parts.made, [0])
        self.assertEqual([part async for part in stream], [b"1", b"2"])
        self.assertEqual(len(parts.threads), 1)
        self.assertNotIn(threading.get_ident(), parts.threads)

    async def test_a_client_that_hangs_up_ends_the_making(self) -> None:
        parts = Parts()
        stream = aparts(iter(parts))
        await anext(stream)
        await stream.aclose()  # type: ignore[attr-defined]
        self.assertTrue(await asyncio.to_thread(parts.closed.wait, 5))
        self.assertEqual(parts.made, [0])

    async def test_a_cancelled_download_ends_while_a_part_is_in_the_making(self) -> None:
        going_on, closed = threading.Event(), threading.Event()

        def slow() -> Iterator[bytes]:
            try:
                yield b"0"
                going_on.wait(5)
                yield b"1"
            finally:
                closed.set()

        async def read() -> None:
            async for _part in aparts(slow()):
                started.set()

        started = asyncio.Event()
        task = asyncio.ensure_future(read())
        await started.wait()
        task.cancel()
        with self.assertRaises(asyncio.CancelledError):
            await task
        going_on.set()
        self.assertTrue(await asyncio.to_thread(closed.wait, 5))

    async def test_parts_speak_the_language_that_the_request_had(self) -> None:
        def words() -> Iterator[bytes]:
            yield gettext("cost").encode()

        with translation.override("zh-hans"):
            stream = aparts(words())
        self.assertNotEqual([part async for part in stream], [b"cost"])

    def test_without_asgi_the_plain_iterator_is_sent(self) -> None:
        response = download(RequestFactory().get("/"), iter([b"1", b"2"]), "calls.csv", "text/csv")
        self.assertEqual(b"".join(response), b"12")  # type: ignore[arg-type]
        self.assertEqual(response["Content-Disposition"], 'attachment; filename="calls.csv"')

    def test_under_asgi_it_is_sent_as_it_is_made(self) -> None:
        scope = {"type": "http", "method": "GET", "path": "/", "headers": [], "query_string": b""}
        request = ASGIRequest(scope, None)  # type: ignore[arg-type]
        self.assertTrue(download(request, iter([b"1"]), "报表.csv", "text/csv").is_async)


class Connections(TransactionTestCase):
    async def test_the_connection_of_the_thread_is_closed_with_the_last_part(self) -> None:
        opened: list[object] = []

        def rows() -> Iterator[bytes]:
            with connection.cursor() as cursor:
                cursor.execute("SELECT 1")
            opened.append(connections["default"])
            yield b"1"

        stream = aparts(rows())
        self.assertEqual([part async for part in stream], [b"1"])
        for _ in range(100):
            if opened[0].connection is None:  # type: ignore[attr-defined]
                break
            await asyncio.sleep(0.01)
        self.assertIsNone(opened[0].connection)  # type: ignore[attr-defined]
