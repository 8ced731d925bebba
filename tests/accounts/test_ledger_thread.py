"""The ledger thread: group commit, a database that goes away, callers that do not wait."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest
from asgiref.sync import sync_to_async
from django.db import connection
from django.test import TransactionTestCase

from accounts import reaper
from accounts.errors import KeyInvalid, LedgerUnavailable, QuotaExceeded
from accounts.ids import new_call_id
from accounts.ledger_thread import LedgerThread
from accounts.models import CallRecord, QuotaWindow, Team, UsageDaily, Worker
from accounts.verification import differences
from providers.models import Provider
from routing import snapshot
from tests.accounts.books import admission, person, quota, settlement


@asynccontextmanager
async def running_ledger() -> AsyncIterator[LedgerThread]:
    ledger = LedgerThread()
    ledger.start()
    try:
        await eventually(lambda: ledger.snapshot is not None)
        yield ledger
    finally:
        await asyncio.to_thread(ledger.stop)


async def eventually(condition: Callable[[], bool], timeout_s: float = 10) -> None:
    end = time.monotonic() + timeout_s
    while not await sync_to_async(condition)():
        assert time.monotonic() < end, "did not come true in time"
        await asyncio.sleep(0.01)


def from_outside(*statements: str) -> None:
    """Run statements on the PostgreSQL server without a connection to the test database."""
    import psycopg

    connection.close()
    where = connection.settings_dict
    with psycopg.connect(
        dbname="postgres",
        host=where["HOST"] or None,
        port=where["PORT"] or None,
        user=where["USER"] or None,
        password=where["PASSWORD"] or None,
        autocommit=True,
    ) as server:
        for statement in statements:
            server.execute(statement)


def take_away() -> None:
    """Make the database fail."""
    if connection.vendor == "sqlite":
        with connection.cursor() as cursor:
            cursor.execute("ALTER TABLE accounts_callrecord RENAME TO away")
        return
    name = connection.settings_dict["NAME"]
    from_outside(
        f'ALTER DATABASE "{name}" ALLOW_CONNECTIONS false',
        f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}'",
    )


def give_back() -> None:
    """Undo `take_away`."""
    if connection.vendor == "sqlite":
        with connection.cursor() as cursor:
            cursor.execute("ALTER TABLE away RENAME TO accounts_callrecord")
    else:
        from_outside(f'ALTER DATABASE "{connection.settings_dict["NAME"]}" ALLOW_CONNECTIONS true')


class LedgerThreadTests(TransactionTestCase):
    async def test_calls_are_admitted_and_settled(self) -> None:
        key, secret = await sync_to_async(person)()
        await sync_to_async(quota)(key, "requests", "total", 40)
        async with running_ledger() as ledger:
            results = await asyncio.gather(
                *[ledger.admit(admission(secret)) for _ in range(50)], return_exceptions=True
            )
            admitted = [result.call_id for result in results if not isinstance(result, BaseException)]
            assert len(admitted) == 40
            await asyncio.gather(*[ledger.settle(settlement(call_id)) for call_id in admitted])
            assert await CallRecord.objects.filter(status="ok").acount() == 40
            assert (await UsageDaily.objects.aget()).calls == 40
            assert (await QuotaWindow.objects.aget()).reserved == 0
            await ledger.probe()

    async def test_a_changed_configuration_is_in_force_on_the_next_call(self) -> None:
        _key, secret = await sync_to_async(person)()
        async with running_ledger() as ledger:
            before = (await ledger.admit(admission(secret))).snapshot.version
            await Provider.objects.acreate(name="new", kind="openai_compatible", base_url="https://example.com")
            assert (await ledger.admit(admission(secret))).snapshot.version > before

    async def test_a_worker_signs_on_and_off(self) -> None:
        async with running_ledger() as ledger:
            assert [worker.pk async for worker in Worker.objects.all()] == [ledger.worker_id]
        assert await Worker.objects.acount() == 0

    async def test_a_database_that_is_away_refuses_calls_and_keeps_settlements(self) -> None:
        _key, secret = await sync_to_async(person)()
        async with running_ledger() as ledger:
            call = await ledger.admit(admission(secret))
            await sync_to_async(take_away)()
            with pytest.raises(LedgerUnavailable):
                await ledger.admit(admission(secret))
            begin = time.monotonic()
            with pytest.raises(LedgerUnavailable):
                await ledger.admit(admission(secret))
            with pytest.raises(LedgerUnavailable):
                await ledger.probe()
            assert time.monotonic() - begin < 0.5
            waiting = asyncio.ensure_future(ledger.settle(settlement(call.call_id)))
            await sync_to_async(give_back)()
            async with asyncio.timeout(20):
                await waiting
            assert (await CallRecord.objects.aget()).status == "ok"
            await ledger.admit(admission(secret))

    async def test_a_caller_that_leaves_while_it_is_admitted_is_settled_as_cancelled(self) -> None:
        _key, secret = await sync_to_async(person)()
        async with running_ledger() as ledger:
            waiting = asyncio.ensure_future(ledger.admit(admission(secret)))
            await asyncio.sleep(0)
            waiting.cancel()
            with pytest.raises(asyncio.CancelledError):
                await waiting
            await eventually(lambda: CallRecord.objects.filter(status="cancelled").exists())

    async def test_one_item_at_fault_does_not_fail_the_others(self) -> None:
        _key, secret = await sync_to_async(person)()
        async with running_ledger() as ledger:
            good, bad = await ledger.admit(admission(secret)), await ledger.admit(admission(secret))
            results = await asyncio.gather(
                ledger.settle(settlement(bad.call_id, dropped_fields=[object()])),
                ledger.settle(settlement(good.call_id)),
                ledger.admit(admission("wg_unknown")),
                return_exceptions=True,
            )
            assert [type(result) for result in results] == [TypeError, type(None), KeyInvalid]
            assert (await CallRecord.objects.aget(pk=good.call_id)).status == "ok"

    async def test_what_is_queued_at_the_end_is_written(self) -> None:
        _key, secret = await sync_to_async(person)()
        async with running_ledger() as ledger:
            calls = [await ledger.admit(admission(secret)) for _ in range(20)]
            for call in calls:
                ledger.settle_soon(settlement(call.call_id))
        assert await CallRecord.objects.filter(status="ok").acount() == 20


class TwoWorkersTests(TransactionTestCase):
    async def test_workers_that_share_quotas_neither_block_each_other_nor_pass_a_cap(self) -> None:
        if connection.vendor == "sqlite":
            self.skipTest("two workers need PostgreSQL")
        team = await Team.objects.acreate(name="platform")
        secrets = []
        for number in range(6):
            key, secret = await sync_to_async(person)(f"user{number}", team)
            secrets.append(secret)
            await sync_to_async(quota)(key, "requests", "minute", 1000)
            await sync_to_async(quota)(key.user, "tokens", "day", 10**9)
        await sync_to_async(quota)(team, "requests", "total", 150)

        async def calls(ledger: LedgerThread, turn: int) -> int:
            done = 0
            for number in range(40):
                try:
                    call = await ledger.admit(admission(secrets[(turn + number * 5) % len(secrets)]))
                except QuotaExceeded:
                    continue
                await ledger.settle(settlement(call.call_id))
                done += 1
            return done

        async with running_ledger() as one, running_ledger() as two:
            done = await asyncio.gather(*[calls(ledger, turn) for turn in range(6) for ledger in (one, two)])
        assert sum(done) == 150
        assert await sync_to_async(lambda: list(differences()))() == []


class ReaperTests(TransactionTestCase):
    def test_calls_of_dead_workers_are_closed_with_an_estimate(self) -> None:
        key, secret = person()
        quota(key, "tokens", "total", 10_000)
        quota(key, "requests", "total", 10)

        async def leave_calls_behind() -> None:
            async with running_ledger() as ledger:
                for _ in range(3):
                    await ledger.admit(admission(secret))

        asyncio.run(leave_calls_behind())
        assert reaper.reap_calls(snapshot.load()) == 3
        assert set(CallRecord.objects.values_list("status", "usage_is_estimated", "input_tokens")) == {
            ("lost", True, 100)
        }
        windows = {window.quota.unit: (window.used, window.reserved) for window in QuotaWindow.objects.all()}
        assert windows == {"tokens": (450, 0), "requests": (3, 0)}
        assert reaper.reap_calls(snapshot.load()) == 0

    def test_calls_of_living_workers_are_left_alone(self) -> None:
        _key, secret = person()

        async def reap_beside_a_running_call() -> int:
            async with running_ledger() as ledger:
                await ledger.admit(admission(secret))
                return await sync_to_async(lambda: reaper.reap_calls(snapshot.load()))()

        assert asyncio.run(reap_beside_a_running_call()) == 0
        assert CallRecord.objects.get().status == "running"


def test_call_ids_grow_with_time() -> None:
    ids = [new_call_id() for _ in range(3)]
    assert all(each.version == 7 for each in ids)
    assert len(set(ids)) == 3
    assert ids[0].int >> 80 <= ids[-1].int >> 80
