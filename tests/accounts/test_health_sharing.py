"""What workers tell each other of failing targets: through real rows, written and read by real ledger threads."""

import asyncio
from dataclasses import replace
from datetime import timedelta
from unittest.mock import patch

import pytest
from asgiref.sync import sync_to_async
from django.db import OperationalError, connection
from django.test import TestCase, TransactionTestCase
from django.utils import timezone

from accounts import ledger_thread, reaper
from accounts.ids import new_call_id
from accounts.models import Worker
from providers.errors import ErrorKind, UpstreamError
from providers.target import Secret
from routing import health, health_rows, slots
from routing.health import Health
from routing.models import TargetHealth
from tests.accounts.books import admission, person, target
from tests.accounts.test_ledger_thread import eventually, give_back, running_ledger, take_away

A = replace(target("up/a/b:free"), secrets=(Secret("one", "sk-1"),), model_pk=1)
BUSY = UpstreamError(ErrorKind.OVERLOADED, "忙\x00\ud800" + "x" * 600, status=503, provider="up")


class RowTests(TestCase):
    def exchange(self, *workers: Health) -> None:
        for worker in workers:
            health_rows.write(worker)
        for worker in workers:
            health_rows.read(worker)

    def test_what_one_worker_learns_another_knows_and_a_later_one_too(self) -> None:
        one, two = Health(), Health()
        one.failed(A, "one", BUSY)
        one.began_to_answer(A, 800)
        self.exchange(one, two)
        assert two.is_cooling("up/a/b:free", "one")
        assert two.ttft_ms("up/a/b:free") == 800
        row = TargetHealth.objects.get(credential_name="one")
        assert (row.provider_name, row.model_name, row.failures, row.error_kind, row.http_status) == (
            "up",
            "a/b:free",
            1,
            "overloaded",
            503,
        )
        assert (row.message[:2], len(row.message)) == ("忙?", 500)
        assert row.failed_at is not None
        assert row.cooling_until is not None
        assert (row.cooling_until - row.failed_at).total_seconds() == 30
        late = Health()
        health_rows.read(late)
        assert late.is_cooling("up/a/b:free", "one")

    def test_nothing_that_is_unchanged_is_written_or_taken_over_again(self) -> None:
        one = Health()
        one.failed(A, "one", BUSY)
        self.exchange(one)
        before = one.cooling()[0].remaining_s
        with self.assertNumQueries(0):
            health_rows.write(one)
        with self.assertNumQueries(1 if connection.vendor == "sqlite" else 2):
            health_rows.read(one)
        assert one.cooling()[0].remaining_s <= before

    def test_many_changes_are_one_statement_in_the_order_of_their_keys(self) -> None:
        one = Health()
        for model in "zxy":
            one.failed(replace(A, model_id=model), "one", BUSY)
        with self.assertNumQueries(1):
            health_rows.write(one)
        assert list(TargetHealth.objects.order_by("pk").values_list("model_name", flat=True)) == ["x", "y", "z"]

    def test_the_end_of_a_cooldown_and_its_reset_by_a_row_reach_the_others(self) -> None:
        one, two = Health(), Health()
        for end in (
            lambda: two.succeeded(A, "one"),
            lambda: TargetHealth.objects.all().delete(),
            lambda: TargetHealth.objects.update(failures=0, cooling_until=None),
        ):
            one.failed(A, "one", BUSY)
            self.exchange(one, two)
            assert two.rests(A)
            end()
            self.exchange(two, one)
            assert (one.rests(A), two.rests(A)) == (False, False)
            assert (one.cooling(), two.cooling()) == ([], [])

    def test_two_workers_write_the_speed_and_the_cooldown_of_one_row_without_harm(self) -> None:
        free = replace(A, secrets=())  # its cooldown and its speed are in one row
        one, two = Health(), Health()
        one.failed(free, "", BUSY)
        two.began_to_answer(free, 500)
        self.exchange(two, one)
        row = TargetHealth.objects.get()
        assert (row.failures, row.ttft_ms) == (1, 500)

    def test_a_speed_is_written_now_and_then_only(self) -> None:
        one = Health()
        for _ in range(5):
            one.began_to_answer(A, 500)
            health_rows.write(one)
        one.began_to_answer(A, 1500)
        with self.assertNumQueries(0):
            health_rows.write(one)
        assert TargetHealth.objects.get().ttft_ms == 500
        assert one.ttft_ms(A.name) == 700
        health_rows.read(one)
        assert one.ttft_ms(A.name) == 700  # not set back by what it wrote before

    def test_what_a_database_that_is_away_cannot_take_waits(self) -> None:
        one = Health()
        one.failed(A, "one", BUSY)
        one.began_to_answer(A, 800)
        with patch.object(health_rows, "_upsert", side_effect=OperationalError), pytest.raises(OperationalError):
            health_rows.write(one)
        health_rows.write(one)
        assert TargetHealth.objects.count() == 2

    def test_rows_of_which_nothing_was_heard_for_long_are_deleted(self) -> None:
        now = timezone.now()
        for name, heard, until in (
            ("stale", now - timedelta(days=3), now - timedelta(days=3)),
            ("never", now - timedelta(days=3), None),
            ("cooling", now - timedelta(days=3), now + timedelta(hours=1)),
            ("fresh", now, None),
        ):
            TargetHealth.objects.create(provider_name=name, updated_at=heard, cooling_until=until)
        assert health_rows.purge() == 2
        assert set(TargetHealth.objects.values_list("provider_name", flat=True)) == {"cooling", "fresh"}


class ThreadTests(TransactionTestCase):
    def setUp(self) -> None:
        self.health = health.start_anew()
        slots.start_anew()

    async def test_a_failure_is_written_at_once_and_not_at_the_end_of_its_call(self) -> None:
        async with running_ledger():
            self.health.failed(A, "one", BUSY)
            async with asyncio.timeout(1):
                await eventually(TargetHealth.objects.filter(failures=1).exists)

    async def test_a_call_that_comes_later_knows_what_another_worker_learnt(self) -> None:
        _key, secret = await sync_to_async(person)()
        other = Health()
        other.failed(A, "one", BUSY)
        with patch.object(ledger_thread, "HEALTH_S", 0.0):
            async with running_ledger() as ledger:
                await ledger.admit(admission(secret))
                await sync_to_async(health_rows.write)(other)
                assert not self.health.rests(A)  # nobody asked
                await ledger.admit(admission(secret))
                assert self.health.rests(A)
                await TargetHealth.objects.all().adelete()
                await ledger.admit(admission(secret))
                assert not self.health.rests(A)

    async def test_without_a_database_cooldowns_go_on_in_memory_and_are_written_when_it_is_back(self) -> None:
        _key, secret = await sync_to_async(person)()
        async with running_ledger() as ledger:
            await sync_to_async(take_away)()
            try:
                with pytest.raises(ledger_thread.LedgerUnavailable):
                    await ledger.admit(admission(secret))
                self.health.failed(A, "one", BUSY)
                assert self.health.rests(A)
            finally:
                await sync_to_async(give_back)()
            await eventually(TargetHealth.objects.filter(failures=1).exists)
        assert self.health.rests(A)

    async def test_a_row_that_cannot_be_written_stops_no_call(self) -> None:
        _key, secret = await sync_to_async(person)()
        async with running_ledger() as ledger:
            with (
                patch.object(health_rows, "_upsert", side_effect=ValueError),
                self.assertLogs("accounts.ledger_thread", "ERROR"),
            ):
                self.health.failed(A, "one", BUSY)
                assert (await ledger.admit(admission(secret))).key_id

    async def test_the_workers_that_live_share_the_slots(self) -> None:
        now = timezone.now()
        for age_s in (1, 5, 500):
            await Worker.objects.acreate(
                id=new_call_id(), host="elsewhere", pid=age_s, heartbeat_at=now - timedelta(seconds=age_s)
            )
        assert await sync_to_async(reaper.count_living)() == 2
        async with running_ledger():
            await eventually(lambda: slots.current().workers == 3)
