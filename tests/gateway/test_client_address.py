"""A key with allowed networks at the gateway itself: behind a proxy, directly, and without an address."""

import json
from typing import Any

import httpx
from django.test import override_settings

from accounts.models import ApiKey, CallRecord
from gateway.asgi import application
from tests.fakes.transport import Reply, text_stream
from tests.gateway.case import MESSAGES, GatewayCase, body


class ClientAddress(GatewayCase):
    def setUp(self) -> None:
        super().setUp()
        ApiKey.objects.update(allowed_networks=["198.51.100.0/24"])

    async def ask(self, peer: Any, forwarded: str | None = None, path: str = MESSAGES) -> httpx.Response:
        headers = {"authorization": f"Bearer {self.secret}"} | ({"x-forwarded-for": forwarded} if forwarded else {})
        transport = httpx.ASGITransport(application, client=peer)  # type: ignore[arg-type]
        async with httpx.AsyncClient(transport=transport, base_url="http://gateway.test", headers=headers) as client:
            if path == "/v1/models":
                return await client.get(path)
            return await client.post(path, json=body())

    async def test_an_address_outside_gets_403_on_every_path_and_is_not_asked_to_try_again(self) -> None:
        async with self.gateway():
            for path in (MESSAGES, "/v1/chat/completions", "/v1/messages/count_tokens", "/v1/models"):
                response = await self.ask(("203.0.113.9", 1), path=path)
                assert response.status_code == 403, path
                assert response.headers["x-should-retry"] == "false"
                error = response.json()["error"]
                assert error["type"] == "permission_error"
                assert "203.0.113.9" in error["message"]
                assert "allowed networks" in error["message"]
        assert not await CallRecord.objects.aexists()

    async def test_a_header_of_the_clients_own_changes_nothing(self) -> None:
        async with self.gateway():
            response = await self.ask(("203.0.113.9", 1), "198.51.100.1")
        assert response.status_code == 403

    async def test_behind_a_trusted_proxy_the_client_counts(self) -> None:
        async with self.gateway(Reply(text_stream("hello"))):
            with override_settings(TRUSTED_PROXIES=["10.0.0.0/24"]):
                inside = await self.ask(("10.0.0.2", 1), "1.1.1.1, 198.51.100.1")
                outside = await self.ask(("10.0.0.2", 1), "198.51.100.1, 203.0.113.9")
        assert inside.status_code == 200
        assert outside.status_code == 403
        assert "203.0.113.9" in json.dumps(outside.json())

    async def test_without_an_address_the_text_says_so(self) -> None:
        async with self.gateway():
            for peer in (None, ("", 0), ("/run/gateway.sock", 0)):
                response = await self.ask(peer)
                assert response.status_code == 403
                assert "cannot see from which address" in response.json()["error"]["message"]

    async def test_a_key_without_networks_needs_no_address(self) -> None:
        await ApiKey.objects.aupdate(allowed_networks=[])
        async with self.gateway(Reply(text_stream("hello"))):
            assert (await self.ask(None)).status_code == 200
