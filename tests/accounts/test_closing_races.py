"""Booking, closing and rebuilding at the same moment: each booking is counted once, in one month."""

import threading
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from unittest import skipUnless

from django.db import connection, transaction
from django.test import TransactionTestCase

from accounts import ledger_sql
from accounts.closing import Amount, close_month, correct
from accounts.daily_sql import lock_days, repair_days
from accounts.ledger import settle_batch
from accounts.models import CallRecord, ClosedMonth, Correction, UsageDaily
from accounts.verification import differences
from routing.models import RuntimeSettings
from tests.accounts.books import admit, person, settlement, snapshot
from tests.fakes.gateway_process import wait_until

NOVEMBER = date(2026, 11, 1)
# In UTC the last hours of November, in Shanghai the first of December.
MOMENT = datetime(2026, 11, 30, 20, tzinfo=UTC)
DECEMBER = MOMENT + timedelta(days=9)


@skipUnless(connection.vendor == "postgresql", "on SQLite one transaction writes at a time")
class Races(TransactionTestCase):
    def setUp(self) -> None:
        self.key, self.secret = person()
        self.call = admit(self.secret, now=MOMENT)
        # The worker of the call has not heard of it yet.
        RuntimeSettings.objects.create(pk=1, business_time_zone="Asia/Shanghai")

    def settle(self) -> None:
        with transaction.atomic():
            settle_batch([settlement(self.call.call_id, ended_at=MOMENT)], snapshot())

    def beside(self, work: Callable[[], object]) -> threading.Thread:
        """Start `work` on a connection of its own, and return when it waits for a lock."""

        def run() -> None:
            try:
                work()
            finally:
                connection.close()

        thread = threading.Thread(target=run)
        thread.start()
        wait_until(self.somebody_waits)
        return thread

    def somebody_waits(self) -> bool:
        with connection.cursor() as cursor:
            cursor.execute(
                "SELECT count(*) FROM pg_locks l JOIN pg_database d ON d.oid = l.database"
                " WHERE NOT l.granted AND d.datname = current_database()"
            )
            return bool(cursor.fetchone()[0])

    def test_a_booking_that_has_begun_is_counted_by_the_close(self) -> None:
        with transaction.atomic():
            ledger_sql.lock_running([self.call.call_id])
            closing = self.beside(lambda: close_month(NOVEMBER, now=DECEMBER))
            settle_batch([settlement(self.call.call_id, ended_at=MOMENT)], snapshot())
        closing.join()
        self.assertEqual(CallRecord.objects.get().booked_on, date(2026, 11, 30))
        self.assertEqual(ClosedMonth.objects.get().totals["calls"], 1)
        self.assertEqual(list(differences()), [])

    def test_a_booking_that_begins_during_the_close_goes_into_the_open_month(self) -> None:
        for work in (
            self.settle,
            lambda: correct(Amount(Decimal(1), "USD"), "why", key=self.key, corrects_on=NOVEMBER, now=DECEMBER),
        ):
            with self.subTest(), transaction.atomic():
                with connection.cursor() as cursor:
                    cursor.execute("LOCK TABLE accounts_callrecord IN EXCLUSIVE MODE")
                booking = self.beside(work)
                ClosedMonth.objects.get_or_create(month=NOVEMBER)
            booking.join()
        self.assertEqual(CallRecord.objects.get().booked_on, date(2026, 12, 1))
        self.assertGreater(Correction.objects.get().booked_on, date(2026, 11, 30))
        self.assertFalse(UsageDaily.objects.filter(date__lte=date(2026, 11, 30), date__gte=NOVEMBER).exists())

    def test_a_settle_during_a_rebuild_is_neither_lost_nor_doubled(self) -> None:
        for has_begun in (True, False):
            with self.subTest(has_begun=has_begun):
                self.call = admit(self.secret, now=MOMENT)
                UsageDaily.objects.update(calls=9)
                with transaction.atomic():
                    if not has_begun:
                        lock_days()
                        settling = self.beside(self.settle)
                        repair_days(NOVEMBER, date(2026, 12, 1))
                    else:
                        settle_batch([settlement(self.call.call_id, ended_at=MOMENT)], snapshot())
                        settling = self.beside(self.rebuild)
                settling.join()
                self.assertEqual(list(differences()), [])
        self.assertEqual(UsageDaily.objects.get().calls, 2)

    def rebuild(self) -> None:
        with transaction.atomic():
            lock_days()
            repair_days(NOVEMBER, date(2026, 12, 1))
