"""A test case with the whole gateway in process: real application, ledger and captures, a scripted upstream."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
from django.test import TransactionTestCase

from accounts import keys, ledger_thread
from accounts.models import User
from gateway import capture
from gateway.asgi import application
from providers.clients import http
from providers.models import Credential, Model, Price, Provider
from routing import health, slots
from routing.models import ModelAlias, Policy, Route, RouteEntry, RuntimeSettings
from tests.fakes.transport import ScriptedTransport

UPSTREAM_SECRET = "sk-vendor-0123456789"
MESSAGES = "/api/v1/claude-code/v1/messages?beta=true"


def body(text: str = "hi", **fields: Any) -> dict[str, Any]:
    """Return a request of the Messages API."""
    return {
        "model": "claude-opus-5-5",
        "max_tokens": 100,
        "messages": [{"role": "user", "content": text}],
        **fields,
    }


class GatewayCase(TransactionTestCase):
    """Two targets `up/a` and `up/b` behind the default policy, a native one `nat/n`, the key `self.secret`."""

    def setUp(self) -> None:
        health.start_anew()
        slots.start_anew()
        up = Provider.objects.create(
            name="up", kind="openai_compatible", base_url="http://up.test/v1", allow_private_network=True
        )
        nat = Provider.objects.create(
            name="nat", kind="anthropic_compatible", base_url="http://nat.test", allow_private_network=True
        )
        for provider in (up, nat):
            credential = Credential(provider=provider)
            credential.set_secret(UPSTREAM_SECRET)
            credential.save()
        route = Route.objects.create(name="everyday")
        for position, name in enumerate("ab"):
            model = Model.objects.create(
                provider=up, model_id=name, context_window=200_000, capabilities=["tools", "vision", "thinking"]
            )
            Price.objects.create(model=model, currency="USD", input_per_million=3, output_per_million=15)
            RouteEntry.objects.create(route=route, model=model, position=position)
        native = Model.objects.create(provider=nat, model_id="n")
        ModelAlias.objects.create(pattern="native", model=native)
        Policy.objects.create(name="default", is_default=True, route=route)
        RuntimeSettings.objects.create(pk=1, cooldown_enabled=False)
        self.user = User.objects.create(username="dev1")
        self.key, self.secret = keys.issue(self.user, "laptop")

    @asynccontextmanager
    async def gateway(self, *replies: Any) -> AsyncIterator["RunningGateway"]:
        """Run the gateway against an upstream that gives `replies` in order."""
        upstream = ScriptedTransport(*replies)
        await http.open_shared_client(upstream)
        ledger_thread.start()
        capture.start()
        client = httpx.AsyncClient(
            transport=httpx.ASGITransport(application),  # type: ignore[arg-type]
            base_url="http://gateway.test",
            headers={"authorization": f"Bearer {self.secret}"},
        )
        try:
            while ledger_thread.current().snapshot is None:
                await asyncio.sleep(0.005)
            yield RunningGateway(client, upstream)
        finally:
            await client.aclose()
            await http.close_shared_client()
            await asyncio.to_thread(ledger_thread.stop)
            await asyncio.to_thread(capture.stop)


class RunningGateway:
    """A client of the gateway, and the upstream behind it."""

    def __init__(self, client: httpx.AsyncClient, upstream: ScriptedTransport) -> None:
        self.client = client
        self.upstream = upstream

    async def send(self, content: Any = None, path: str = MESSAGES, **options: Any) -> httpx.Response:
        """Send a call; bytes go as they are."""
        raw = content if isinstance(content, bytes) else json.dumps(content if content is not None else body()).encode()
        headers = {"content-type": "application/json", **options.pop("headers", {})}
        return await self.client.post(path, content=raw, headers=headers, **options)

    def sent(self, number: int = -1) -> dict[str, Any]:
        """Return the body that the upstream received."""
        document: dict[str, Any] = json.loads(self.upstream.requests[number].content)
        return document
