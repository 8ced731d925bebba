"""One cell of the fault matrix: a call whose first target fails, and everything that must be true afterwards."""

import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from decimal import Decimal

import httpx
from django.db.models import Sum

from accounts.models import CallRecord, Quota, QuotaWindow, UsageDaily
from providers.models import Credential, Model, Price, Provider
from routing import health
from routing.models import ModelAlias, Route, RouteEntry, RuntimeSettings, TargetHealth
from tests.fakes.transport import Reply, text_stream
from tests.gateway.case import UPSTREAM_SECRET, GatewayCase, RunningGateway, body
from tests.gateway.faults import CREDENTIAL, MODEL, PLATFORM, Fault
from tests.gateway.safety_case import books_differ
from tests.gateway.test_pipeline import events_of, streamed_text, text_of
from tests.translation.grammar import check

SLOW_S = 0.15
HEALTHY = (10, 2, 3)  # tokens: read, from the cache, written
HEALTHY_COST = (Decimal(12) * 3 + Decimal(3) * 15) / 10**6


@dataclass(slots=True)
class Cell:
    """A call that was made, and what it left."""

    name: str
    response: httpx.Response
    call: CallRecord
    attempts: list[tuple[str, str, int | None]]  # target, outcome, status
    streamed: bool


class FaultCase(GatewayCase):
    """Targets `openai/x`, `anthropic/x` and their impatient twins fail; `two/y` is healthy.

    The model name `<provider>:pair` means the failing one and then the healthy one, `<provider>:alone` the first only.
    """

    def setUp(self) -> None:
        super().setUp()
        RuntimeSettings.objects.update(cooldown_enabled=True)
        Quota.objects.create(key=self.key, unit="tokens", window="total", limit=10**9)
        healthy = self._target("two", "openai_compatible", "y")
        for name in ("openai", "openai-slow", "anthropic", "anthropic-slow"):
            failing = self._target(name, f"{name.removesuffix('-slow')}_compatible", "x")
            if name.endswith("slow"):
                Provider.objects.filter(name=name).update(first_event_timeout_s=SLOW_S, total_timeout_s=2 * SLOW_S)
            for kind, models in (("pair", (failing, healthy)), ("alone", (failing,))):
                route = Route.objects.create(name=f"{name}-{kind}")
                for position, model in enumerate(models):
                    RouteEntry.objects.create(route=route, model=model, position=position)
                ModelAlias.objects.create(pattern=f"{name}:{kind}", route=route)
        self.expected = {"calls": 0, "failed_calls": 0, "estimated_calls": 0}

    def _target(self, name: str, kind: str, model_id: str) -> Model:
        provider = Provider.objects.create(
            name=name, kind=kind, base_url=f"http://{name}.test/v1", allow_private_network=True
        )
        credential = Credential(provider=provider, name="main")
        credential.set_secret(UPSTREAM_SECRET)
        credential.save()
        model = Model.objects.create(provider=provider, model_id=model_id)
        Price.objects.create(model=model, currency="USD", input_per_million=3, output_per_million=15)
        return model

    @asynccontextmanager
    async def failing_gateway(self) -> AsyncIterator[RunningGateway]:
        """Run a gateway whose failing targets answer as `self.reply` says."""

        def reply(request: httpx.Request) -> Reply:
            if request.url.host == "two.test":
                return Reply(text_stream("from two"))
            return self.reply(json.loads(request.content).get("stream") is True)

        async with self.gateway(reply) as gateway:
            yield gateway

    reply: Callable[[bool], Reply]

    async def run_cell(
        self,
        gateway: RunningGateway,
        provider: str,
        reply: Callable[[bool], Reply],
        *,
        streamed: bool,
        alone: bool,
        forgets: bool = True,
    ) -> Cell:
        """Make one call, with nothing known of any target if it `forgets`; return what came of it."""
        if forgets:
            await TargetHealth.objects.all().adelete()
            self.health = health.start_anew()
        self.reply = reply
        model = f"{provider}:{'alone' if alone else 'pair'}"
        response = await gateway.send(body(model=model, stream=streamed))
        call = await CallRecord.objects.order_by("-started_at").afirst()
        assert call is not None
        attempts = [
            (f"{each.provider_name}/{each.model_name}", each.outcome, each.http_status)
            async for each in call.attempts.order_by("position")
        ]
        return Cell(f"{model} stream={streamed}", response, call, attempts, streamed)

    def check_healthy(self, cell: Cell) -> None:
        """Check that the client got the second target's answer, and the books have it."""
        self.expected["calls"] += 1
        response, call = cell.response, cell.call
        self.assertEqual(response.status_code, 200, response.text)
        self.assertEqual(response.headers["x-gateway-model"], "two/y")
        self.assertNotIn("x-should-retry", response.headers)
        if cell.streamed:
            check(events_of(response))
            self.assertEqual(streamed_text(response), "from two")
        else:
            self.assertEqual(text_of(response.json()), "from two")
        self.assertEqual((call.status, call.error_kind, call.http_status), ("ok", "", 200))
        self.assertEqual((call.provider_name, call.model_name), ("two", "y"))
        self.assertEqual((call.input_tokens, call.cache_read_tokens, call.output_tokens), HEALTHY)
        self.assertEqual((call.cost, call.currency, call.usage_is_estimated), (HEALTHY_COST, "USD", False))

    def check_owed(self, cell: Cell, fault: Fault) -> None:
        """Check that the client of an exhausted route got what the fault owes it, and the books have nothing else."""
        owed, response = fault.owed, cell.response
        self.check_failed(cell, fault.kind, owed.status, owed.words)
        self.assertEqual(response.json()["error"]["type"], owed.error_type)
        self.assertEqual(response.headers.get("retry-after"), owed.retry_after)
        self.assertEqual(response.headers.get("x-should-retry"), owed.should_retry)
        # What is quoted is quoted as it came: an id of ours in it would be another's words.
        self.assertEqual(response.json().get("request_id"), None if owed.is_verbatim else cell.call.request_id)

    def check_failed(self, cell: Cell, kind: str, status: int, words: str) -> None:
        """Check that the client got an error with `status` and `words`, and that nothing was paid for."""
        self.expected["calls"] += 1
        self.expected["failed_calls"] += 1
        response, call = cell.response, cell.call
        self.assertEqual(response.status_code, status, response.text)
        self.assertEqual(response.headers["content-type"], "application/json")
        self.assertEqual(response.json()["type"], "error")
        message = response.json()["error"]["message"]
        self.assertRegex(message, words)
        self.assertNotIn("<", message)
        self.assertNotIn(UPSTREAM_SECRET, response.text)
        self.assertEqual(response.headers["request-id"], call.request_id)
        self.assertEqual((call.status, call.error_kind, call.http_status), ("failed", kind, status))
        self.assertRegex(call.error_message, words)
        self.assertEqual((call.input_tokens, call.cache_read_tokens, call.output_tokens), (0, 0, 0))
        self.assertEqual((call.cost, call.currency), (None, ""))
        # The failure is that of the last target that was asked, also in the reports by provider.
        last = cell.attempts[-1][0] if cell.attempts else "/"
        self.assertEqual(f"{call.provider_name}/{call.model_name}", last)

    async def check_cooldown(self, provider: str, kind: str, cools: tuple[float, str]) -> None:
        """Check what rests after the call, in this process and in the row that the others read."""
        seconds, scope = cools
        key = {PLATFORM: (provider, "", ""), CREDENTIAL: (provider, "", "main"), MODEL: (provider, "x", "main")}[scope]
        found = self.health.cooling()
        self.assertEqual([(each.key, each.error_kind, each.failures) for each in found], [(key, kind, 1)])
        self.assertTrue(seconds - 3 < found[0].remaining_s <= seconds, found[0].remaining_s)
        rows = [
            ((row.provider_name, row.model_name, row.credential_name), row.error_kind)
            async for row in TargetHealth.objects.filter(failures__gt=0)
        ]
        self.assertEqual(rows, [(key, kind)])

    async def check_books(self) -> None:
        """Check that nothing is held any longer and that all books agree."""
        self.assertEqual((await QuotaWindow.objects.aget()).reserved, 0)
        totals = await UsageDaily.objects.aaggregate(**{name: Sum(name) for name in self.expected})
        self.assertEqual(totals, self.expected)
        self.assertFalse(await CallRecord.objects.filter(status="running").aexists())
        self.assertEqual(await books_differ(), [])
