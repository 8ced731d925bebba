"""Caps hold and books agree: hundreds of calls at once, ten thousand with every kind of end."""

import asyncio
import random
from collections.abc import Callable
from datetime import timedelta
from decimal import Decimal
from zoneinfo import ZoneInfo

from asgiref.sync import sync_to_async
from django.db import connection, transaction
from django.test import TestCase, TransactionTestCase

from accounts import counters, reaper
from accounts.errors import QuotaExceeded
from accounts.ledger import run_batch, settle_batch
from accounts.ledger_items import Admission, Admitted, Settlement
from accounts.ledger_thread import LedgerThread
from accounts.models import CallRecord, Quota, QuotaRaise, QuotaWindow, Team, UsageDaily, User
from accounts.verification import differences
from providers.models import Model, Price, Provider
from providers.translation.usage import Usage
from routing.models import Policy, Route, RouteEntry, RuntimeSettings
from routing.snapshot import SettingsSnapshot
from tests.accounts.books import NOW, admission, person, quota, settlement, snapshot
from tests.accounts.test_ledger_thread import running_ledger

# 100 tokens in and 50 out of a model at 3 and 15 per million.
ESTIMATE = Decimal("0.00105")
CAP = 100 * ESTIMATE
CALLS = 300


class Run:
    """Calls of one key against one budget, and what they truly cost."""

    def __init__(self, secret: str, true_cost: Callable[[int], Decimal], *ledgers: LedgerThread) -> None:
        self.secret = secret
        self.true_cost = true_cost
        self.ledgers = ledgers
        self.granted = self.in_flight = self.most_in_flight = 0
        self.spent = self.worst_error = Decimal(0)

    async def admit(self, number: int) -> Admitted | None:
        ledger = self.ledgers[number % len(self.ledgers)]
        try:
            call = await ledger.admit(admission(self.secret))
        except QuotaExceeded:
            return None
        self.granted += 1
        self.in_flight += 1
        self.most_in_flight = max(self.most_in_flight, self.in_flight)
        return call

    async def settle(self, number: int, call: Admitted) -> None:
        cost = self.true_cost(number)
        self.spent += cost
        self.worst_error = max(self.worst_error, cost - ESTIMATE)
        self.in_flight -= 1
        # Settled by the other worker: the books are one.
        ledger = self.ledgers[(number + 1) % len(self.ledgers)]
        usage = Usage(input_tokens=100, output_tokens=50)
        await ledger.settle(settlement(call.call_id, cost=cost, usage=usage))

    async def wave(self) -> int:
        """Let `CALLS` come at once, and end together when all are in or refused; return how many got in."""
        calls = await asyncio.gather(*[self.admit(number) for number in range(CALLS)])
        granted = [(number, call) for number, call in enumerate(calls) if call is not None]
        await asyncio.gather(*[self.settle(number, call) for number, call in granted])
        return len(granted)

    async def keep_trying(self, number: int) -> None:
        """Call, and when refused call again, as impatient clients do."""
        for turn in range(4):
            if (call := await self.admit(number + turn)) is not None:
                await asyncio.sleep(0)
                await self.settle(number, call)


class Budgets(TransactionTestCase):
    def key(self) -> str:
        provider = Provider.objects.create(
            name="main", kind="openai_compatible", base_url="http://127.0.0.1:9/v1", allow_private_network=True
        )
        model = Model.objects.create(provider=provider, model_id="big")
        Price.objects.create(model=model, currency="USD", input_per_million=3, output_per_million=15)
        route = Route.objects.create(name="everyday")
        RouteEntry.objects.create(route=route, model=model)
        Policy.objects.create(name="default", is_default=True, route=route)
        key, secret = person(team=Team.objects.create(name="platform"))
        quota(key.user, "cost", "month", CAP)
        quota(key, "requests", "total", 10_000)
        quota(key.user.team, "tokens", "day", 10**9)
        return secret

    async def with_ledgers(self, true_cost: Callable[[int], Decimal], work: Callable[[Run], object]) -> Run:
        secret = await sync_to_async(self.key)()
        async with running_ledger() as one:
            if connection.vendor == "sqlite":  # one process only
                run = Run(secret, true_cost, one)
                await work(run)  # type: ignore[misc]
            else:
                async with running_ledger() as two:
                    run = Run(secret, true_cost, one, two)
                    await work(run)  # type: ignore[misc]
        window = await QuotaWindow.objects.aget(quota__unit="cost")
        assert window.reserved == 0
        assert abs(window.used - run.spent) < Decimal("0.000001")
        assert await sync_to_async(lambda: list(differences()))() == []
        return run

    async def test_a_budget_of_100_estimates_lets_100_of_300_in_and_no_second_wave(self) -> None:
        waves = []

        async def work(run: Run) -> None:
            for _ in range(3):
                waves.append(await run.wave())

        run = await self.with_ledgers(lambda number: ESTIMATE * Decimal("1.3"), work)
        assert waves == [100, 0, 0]
        # The error of those that were in flight when the cap was reached, and not a call more.
        assert run.spent - CAP == 100 * (ESTIMATE * Decimal("0.3"))

    async def test_what_was_reserved_too_high_is_there_for_the_next_wave(self) -> None:
        waves = []

        async def work(run: Run) -> None:
            for _ in range(12):
                waves.append(await run.wave())

        run = await self.with_ledgers(lambda number: ESTIMATE / 2, work)
        assert waves[:4] == [100, 50, 25, 12]
        assert waves[-1] == 0
        assert CAP - ESTIMATE < run.spent <= CAP

    async def test_one_window_opens_whoever_comes_first(self) -> None:
        granted = 0

        async def work(run: Run) -> None:
            nonlocal granted
            user = (await User.objects.aget()).pk
            await Quota.objects.acreate(user_id=user, unit="requests", window="5h", limit=10)
            granted = await run.wave()

        await self.with_ledgers(lambda number: ESTIMATE, work)
        assert granted == 10
        assert await QuotaWindow.objects.filter(quota__window="5h").acount() == 1

    async def test_clients_that_keep_trying_do_not_pass_the_cap_either(self) -> None:
        seed = random.Random(7)
        factors = [Decimal(seed.randrange(20, 160)) / 100 for _ in range(CALLS)]

        async def work(run: Run) -> None:
            await asyncio.gather(*[run.keep_trying(number) for number in range(CALLS)])

        run = await self.with_ledgers(lambda number: ESTIMATE * factors[number], work)
        assert run.granted >= 100
        assert run.spent - CAP <= run.most_in_flight * run.worst_error
        assert run.spent - CAP <= sum(sorted((ESTIMATE * (factor - 1) for factor in factors), reverse=True)[:100])


class Books(TestCase):
    def test_ten_thousand_calls_of_every_end_leave_nothing_behind(self) -> None:
        seed = random.Random(11)
        zones = ("Asia/Shanghai", "Europe/Berlin", "America/St_Johns")
        team = Team.objects.create(name="platform")
        secrets = []
        for number in range(8):
            key, secret = person(f"user{number}", team if number % 2 else None)
            secrets.append(secret)
            quota(key, "requests", "minute", 35)
            quota(key, "tokens", "5h", 10**6)
            quota(key.user, "cost", "day", 50)
            quota(key.user, "requests", "week", 10**6, action=Quota.Action.WARN)
        quota(team, "cost", "month", 1000)
        quota(team, "tokens", "total", 10**8, action=Quota.Action.DOWNGRADE)
        raised = quota(team, "requests", "day", 1000)
        QuotaRaise.objects.create(
            quota=raised, amount=5000, starts_at=NOW, ends_at=NOW + timedelta(hours=9), granted_by=None
        )
        RuntimeSettings.objects.create(pk=1)

        def ends(call: Admitted, now: object) -> list[Settlement]:
            """Return how the call ends; nothing when its worker dies, twice when a settlement is repeated."""
            tokens = seed.randrange(1, 400)
            usage, cost = Usage(input_tokens=90, output_tokens=tokens), Decimal(seed.randrange(1, 10**6)) / 10**8
            free = {"usage": Usage(), "cost": None, "currency": "", "cost_source": ""}
            found = {
                "ok": [settlement(call.call_id, ended_at=now, usage=usage, cost=cost)],
                "repeated": [settlement(call.call_id, ended_at=now, usage=usage, cost=cost)] * 2,
                "unpriced": [settlement(call.call_id, ended_at=now, **(free | {"usage": usage}))],
                "failed": [settlement(call.call_id, ended_at=now, status="failed", **free)],
                "broken": [settlement(call.call_id, ended_at=now, status="failed", usage=usage, cost=cost)],
                "hung up": [settlement(call.call_id, ended_at=now, status="cancelled", **free)],
                "cancelled": [settlement(call.call_id, ended_at=now, status="cancelled", usage=usage, cost=cost)],
                "lost": [],
            }
            return seed.choice(list(found.values()))

        admitted = refused = turn = 0
        waiting: list[Settlement] = []
        while admitted < 10_000:
            # By and by over midnight, and through three business time zones.
            now = NOW + timedelta(minutes=17 * turn)
            view = snapshot(settings=SettingsSnapshot(business_time_zone=ZoneInfo(zones[turn // 20 % len(zones)])))
            items: list[Admission] = [
                admission(seed.choice(secrets), input_tokens_estimate=seed.randrange(10, 300)) for _ in range(250)
            ]
            results = run_batch(items, waiting, view, now)
            calls = [result for result in results if isinstance(result, Admitted)]
            admitted, refused = admitted + len(calls), refused + len(results) - len(calls)
            # Some end at once, some with the next batch, in another window.
            now += timedelta(seconds=30)
            endings = [end for call in calls for end in ends(call, now)]
            seed.shuffle(endings)
            waiting = endings[len(endings) // 2 :]
            with transaction.atomic():
                settle_batch(endings[: len(endings) // 2], view)
            if turn % 9 == 4:
                counters.reset([raised.pk, *seed.sample(list(Quota.objects.values_list("pk", flat=True)), 3)], now)
            turn += 1
        settle_batch(waiting, view)
        assert refused > 0
        lost = CallRecord.objects.filter(status="running").count()
        assert lost > 500
        assert list(differences()) == []  # what the lost calls hold is what the windows say
        assert reaper.reap_calls(view, now) == lost
        assert not CallRecord.objects.filter(status="running").exists()
        assert set(QuotaWindow.objects.values_list("reserved", flat=True)) == {0}
        assert CallRecord.objects.count() == admitted == sum(UsageDaily.objects.values_list("calls", flat=True))
        assert list(differences()) == []
        reaper.forget_minutes(now + timedelta(days=3))
        assert not QuotaWindow.objects.filter(quota__window="minute").exists()
        assert list(differences()) == []
