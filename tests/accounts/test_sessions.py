"""What the ledger remembers of sessions: read with admission, written with settlement, forgotten in time."""

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from django.db import connection
from django.test import TestCase, TransactionTestCase
from django.test.utils import CaptureQueriesContext

from accounts import reaper
from accounts.errors import QuotaExceeded
from accounts.ledger import admit_batch, settle_batch
from accounts.ledger_items import Admitted, Remembered
from accounts.models import QuotaWindow
from routing.intent.facts import SessionMemory
from routing.intent.sessions import session_key
from routing.models import StickySession
from routing.snapshot import PolicySnapshot, RouteSnapshot, SceneSnapshot, Snapshot
from tests.accounts.books import NOW, admission, admit, person, quota, settle, settlement, snapshot, target
from tests.accounts.test_ledger_thread import eventually, running_ledger

BIG = target("main/big")
SMALL = target("main/small", price=replace(BIG.price, input=Decimal("0.1"), output=Decimal("0.2")))  # type: ignore[type-var]


def smart(mode: str = "smart", **fields: Any) -> Snapshot:
    """Return a configuration with the scenes chat (the default one, on the small model) and code."""
    scenes = (
        SceneSnapshot("chat", "small talk", (), RouteSnapshot("small", (SMALL.name,)), is_default=True),
        SceneSnapshot("code", "programming", (), RouteSnapshot("big", (BIG.name,))),
    )
    route = RouteSnapshot("big", (BIG.name,)) if mode != "smart" else None
    policy = PolicySnapshot(1, "default", mode, route, "", None, scenes if mode == "smart" else (), **fields)
    return replace(snapshot(BIG, SMALL), policies={1: policy}, default_policy=policy)


def remembered(key: str, scene: str = "code", at: datetime = NOW, target_name: str = "main/big") -> Remembered:
    return Remembered((key,), SessionMemory(scene, target_name, "default", at))


class Remembering(TestCase):
    def test_a_session_is_read_with_admission_and_written_with_settlement(self) -> None:
        key, secret = person()
        first = admit(secret, view=smart(), sessions=("s-1",))
        assert (first.session_keys, first.memory) == ((session_key(key.user_id, "s-1"),), None)
        settle(first, smart(), remembered=remembered(*first.session_keys))
        again = admit(secret, view=smart(), sessions=("s-1",), now=NOW + timedelta(hours=1))
        assert again.memory == SessionMemory("code", "main/big", "default", NOW)
        for other in ({"sessions": ("s-2",)}, {"sessions": ("s-1",), "agent_id": "a"}, {}):
            assert admit(secret, view=smart(), **other).memory is None

    def test_the_closest_memory_counts_and_all_are_written(self) -> None:
        _key, secret = person()
        first = admit(secret, view=smart(), sessions=("loop-1", "cache"))
        near, far = first.session_keys
        settle(first, smart(), remembered=Remembered((near, far), remembered("").memory))
        other = admit(secret, view=smart(), sessions=("loop-2", "cache"))
        assert other.memory is not None
        settle(other, smart(), remembered=Remembered(other.session_keys, remembered("", "chat").memory))
        for sessions, scene in ((("loop-1", "cache"), "code"), (("loop-2", "cache"), "chat"), (("l", "cache"), "chat")):
            memory = admit(secret, view=smart(), sessions=sessions).memory
            assert memory is not None
            assert memory.scene_name == scene

    def test_the_last_turn_of_a_session_is_kept(self) -> None:
        _key, secret = person()
        calls = [admit(secret, view=smart(), sessions=("s-1",)) for _ in range(3)]
        (key,) = calls[0].session_keys
        later = NOW + timedelta(seconds=5)
        settle_batch(
            [
                settlement(calls[0].call_id, remembered=remembered(key)),
                settlement(calls[1].call_id, remembered=remembered(key, "chat")),
            ],
            smart(),
        )
        assert StickySession.objects.get().scene_name in ("chat", "code")
        settle(calls[2], smart(), remembered=remembered(key, "hard", later, "main/other"))
        row = StickySession.objects.get()
        assert (row.scene_name, row.target_name, row.used_at) == ("hard", "main/other", later)

    def test_a_call_that_was_settled_before_changes_nothing(self) -> None:
        _key, secret = person()
        call = admit(secret, view=smart(), sessions=("s-1",))
        settle(call, smart())
        assert settle(call, smart(), remembered=remembered(*call.session_keys)) == 0
        assert not StickySession.objects.exists()

    def test_nobody_else_finds_a_session(self) -> None:
        _one, first = person("a")
        _two, second = person("b")
        mine = admit(first, view=smart(), sessions=("s-1",))
        settle(mine, smart(), remembered=remembered(*mine.session_keys))
        assert admit(second, view=smart(), sessions=("s-1",)).memory is None

    def test_where_nothing_is_routed_by_intent_nothing_is_asked(self) -> None:
        _key, secret = person()
        for view, fields in (
            (smart("direct"), {"sessions": ("s-1",)}),
            (smart(), {}),
            (smart(), {"sessions": ("s-1",), "kind": "classifier"}),
            (smart(), {"sessions": ("s-1",), "books": False}),
        ):
            with CaptureQueriesContext(
                connection,
            ) as context:
                assert admit(secret, view=view, **fields).session_keys == ()
            assert not [query for query in context if "stickysession" in query["sql"]]

    def test_a_batch_asks_and_writes_once(self) -> None:
        secrets = [person(f"user{number}")[1] for number in range(12)]

        def queries(count: int, view: Snapshot) -> tuple[int, int]:
            items = [admission(secret, sessions=("s-1",)) for secret in secrets[:count]]
            with CaptureQueriesContext(connection) as admitting:
                results = admit_batch(items, view, NOW)
            calls = [result for result in results if isinstance(result, Admitted)]
            assert len(calls) == count
            items = [
                settlement(call.call_id, remembered=remembered(*call.session_keys) if call.session_keys else None)
                for call in calls
            ]
            with CaptureQueriesContext(connection) as settling:
                settle_batch(items, view)
            return len(admitting), len(settling)

        plain, one, many = queries(12, smart("direct")), queries(1, smart()), queries(12, smart())
        assert one == many == (plain[0] + 1, plain[1] + 1)
        assert StickySession.objects.count() == 12

    def test_what_no_call_goes_on_with_is_forgotten(self) -> None:
        for number, hours in enumerate((1, 23, 25, 600)):
            StickySession.objects.create(
                key=f"{number:064}",
                policy_name="p",
                scene_name="s",
                used_at=NOW - timedelta(hours=hours),
            )
        assert reaper.forget_sessions(NOW) == 2
        assert sorted(StickySession.objects.values_list("key", flat=True)) == [f"{number:064}" for number in (0, 1)]
        assert reaper.forget_sessions(NOW) == 0


class Reserving(TestCase):
    def reserved(self, **fields: Any) -> tuple[Decimal, str]:
        reservation = admit(self.secret, **fields).reservation
        return reservation.cost, reservation.currency

    def setUp(self) -> None:
        self.key, self.secret = person()

    def test_a_call_by_intent_counts_as_one_of_its_session_or_of_the_default_scene(self) -> None:
        small = (Decimal("0.1") * 100 + Decimal("0.2") * 50) / 10**6, "USD"
        big = (Decimal(3) * 100 + Decimal(15) * 50) / 10**6, "USD"
        assert self.reserved(view=smart(), sessions=("s-1",)) == small
        call = admit(self.secret, view=smart(), sessions=("s-1",))
        settle(call, smart(), remembered=remembered(*call.session_keys))
        assert self.reserved(view=smart(), sessions=("s-1",)) == big
        # A probe goes to the cheapest whatever the session is about.
        assert self.reserved(view=smart(), sessions=("s-1",), kind="probe") == small
        assert self.reserved(view=smart(), requested_model="main/big") == big

    def test_without_a_default_scene_nothing_can_be_expected(self) -> None:
        view = smart()
        assert view.default_policy is not None
        policy = replace(view.default_policy, scenes=())
        assert self.reserved(view=replace(view, policies={1: policy}, default_policy=policy)) == (Decimal(0), "")

    def test_a_full_quota_that_downgrades_lets_the_call_in(self) -> None:
        quota(self.key, "requests", "day", 1, action="downgrade")
        first = admit(self.secret, view=smart("direct", cheap_route=RouteSnapshot("cheap", (SMALL.name,))))
        assert first.downgraded_by == ""
        view = smart("direct", cheap_route=RouteSnapshot("cheap", (SMALL.name,)))
        call = admit(self.secret, view=view)
        assert call.downgraded_by == "key dev1/laptop: 1 requests / day"
        # It still reserves, as what it has become, and counts.
        assert call.reservation.cost == (Decimal("0.1") * 100 + Decimal("0.2") * 50) / 10**6
        assert QuotaWindow.objects.get().reserved == 2
        settle(call, view)
        window = QuotaWindow.objects.get()
        assert (window.used, window.reserved) == (1, 1)

    def test_a_call_of_the_gateway_itself_is_not_downgraded(self) -> None:
        quota(self.key, "requests", "day", 0, action="downgrade")
        assert admit(self.secret, view=smart(), kind="classifier", requested_model="main/big").downgraded_by == ""

    def test_what_is_downgraded_must_still_fit_into_a_quota_that_refuses(self) -> None:
        cheap = RouteSnapshot("cheap", (SMALL.name,))
        quota(self.key, "requests", "day", 0, action="downgrade")
        # Room for the small model's price, not for the big one's.
        limit = quota(self.key, "cost", "day", "0.0001", currency="USD")
        assert admit(self.secret, view=smart("direct", cheap_route=cheap)).downgraded_by
        limit.limit = Decimal("0.00001")
        limit.save()
        with pytest.raises(QuotaExceeded, match="USD"):
            admit(self.secret, view=smart("direct", cheap_route=cheap))


class AtOnce(TransactionTestCase):
    async def test_a_worker_forgets_idle_sessions(self) -> None:
        old = StickySession(key="0" * 64, policy_name="p", scene_name="s", used_at=NOW - timedelta(days=400))
        await old.asave()
        async with running_ledger():
            await eventually(lambda: not StickySession.objects.exists())

    async def test_workers_that_write_the_same_sessions_do_not_block_each_other(self) -> None:
        if connection.vendor == "sqlite":
            self.skipTest("two workers need PostgreSQL")
        _key, secret = await sync_to_async(person)()
        sessions = [session_key(1, f"s-{number}") for number in range(20)]

        async def calls(ledger: Any, order: Sequence[str]) -> None:
            admitted = await asyncio.gather(*[ledger.admit(admission(secret)) for _ in order])
            await asyncio.gather(
                *[
                    ledger.settle(settlement(call.call_id, remembered=remembered(key)))
                    for call, key in zip(admitted, order, strict=True)
                ]
            )
            await sync_to_async(reaper.forget_sessions)(NOW)

        async with running_ledger() as one, running_ledger() as two, asyncio.timeout(60):
            for _ in range(10):
                await asyncio.gather(calls(one, sessions), calls(two, sessions[::-1]))
        assert await StickySession.objects.acount() == 20
