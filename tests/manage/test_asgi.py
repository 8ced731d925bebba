"""The management API behind the ASGI application: bounded bodies, Django's own handler, JSON all the way."""

import asyncio
import json
from collections.abc import Mapping
from typing import Any

from django.test import TestCase

from gateway.asgi import application
from gateway.manage import MAX_BODY_BYTES


async def ask(method: str, path: str, parts: list[bytes], headers: Mapping[bytes, bytes]) -> tuple[int, dict[str, Any]]:
    """Send a request in `parts`; return the status and the JSON."""
    waiting = [
        {"type": "http.request", "body": part, "more_body": index + 1 < len(parts)} for index, part in enumerate(parts)
    ]
    sent: list[Mapping[str, Any]] = []

    async def receive() -> Mapping[str, Any]:
        if not waiting:
            await asyncio.Event().wait()  # the client stays
        return waiting.pop(0)

    async def send(message: Mapping[str, Any]) -> None:
        sent.append(message)

    scope = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": method,
        "scheme": "http",
        "path": path,
        "raw_path": path.encode(),
        "query_string": b"",
        "root_path": "",
        "headers": [(b"host", b"localhost"), (b"content-type", b"application/json"), *headers.items()],
        "client": ("127.0.0.1", 5),
        "server": ("localhost", 80),
    }
    await application(scope, receive, send)
    body = b"".join(message.get("body", b"") for message in sent)
    return sent[0]["status"], json.loads(body)


class Bodies(TestCase):
    async def test_a_body_that_says_it_is_too_large_is_refused_before_it_is_read(self) -> None:
        size = str(MAX_BODY_BYTES + 1).encode()
        status, answer = await ask("POST", "/api/manage/users", [b"{}"], {b"content-length": size})
        self.assertEqual((status, answer["error"]["type"]), (413, "too_large"))

    async def test_a_body_that_turns_out_too_large_is_refused_too(self) -> None:
        parts = [b"x" * 2**20] * (MAX_BODY_BYTES // 2**20 + 1)
        status, answer = await ask("POST", "/api/manage/users", parts, {})
        self.assertEqual((status, answer["error"]["type"]), (413, "too_large"))

    async def test_unknown_paths_are_answered_in_the_shape_of_this_api(self) -> None:
        for path in ("/api/manage", "/api/manage/", "/api/manage/none"):
            with self.subTest(path=path):
                status, answer = await ask("GET", path, [b""], {})
                self.assertEqual((status, answer["error"]["type"]), (404, "not_found"))

    async def test_the_api_of_models_keeps_its_own_shape(self) -> None:
        status, answer = await ask("GET", "/api/none", [b""], {})
        self.assertEqual(status, 404)
        self.assertNotIn("fields", answer["error"])
