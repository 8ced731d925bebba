"""The rollup is the sum of calls and corrections in every of its sums; what is wrong is found, named and repaired."""

import io
import threading
from datetime import date, timedelta
from decimal import Decimal
from typing import Any

from django.core.management import CommandError, call_command
from django.db import connection, transaction
from django.db.models import F
from django.test import TestCase, TransactionTestCase
from django.test.utils import CaptureQueriesContext

from accounts.closing import close_month
from accounts.ledger import settle_batch
from accounts.models import CallRecord, ClosedMonth, Correction, Quota, QuotaWindow, Team, UsageDaily
from accounts.verification import consistent_view, differences
from providers.pricing import cost_of, uncached_cost_of
from providers.target import PriceList, Tier
from providers.translation.usage import Usage
from tests.accounts.books import NOW, admit, person, quota, settle, settlement, snapshot

D = Decimal
FREE: dict[str, Any] = {"cost": None, "currency": "", "cost_source": ""}


class Sums(TestCase):
    def setUp(self) -> None:
        self.key, self.secret = person(team=Team.objects.create(name="platform"))

    def end(self, **fields: Any) -> None:
        settle(admit(self.secret), **fields)

    def day(self, **wanted: Any) -> UsageDaily:
        self.assertEqual(list(differences()), [])
        return UsageDaily.objects.get(**wanted)

    def test_what_failed_and_what_a_fallback_answered_have_their_own_costs(self) -> None:
        self.end(cost=D(1))
        self.end(cost=D(2), status="failed")
        self.end(cost=D(4), status="lost")
        self.end(cost=D(8), fallbacks=2)
        self.end(cost=D(16), status="failed", fallbacks=1)
        self.end(cost=D(32), status="cancelled")
        day = self.day()
        self.assertEqual((day.calls, day.failed_calls, day.fallback_calls), (6, 3, 2))
        self.assertEqual((day.cost, day.failed_cost, day.fallback_cost), (63, 22, 24))

    def test_only_what_has_a_cost_and_a_reference_was_compared(self) -> None:
        self.end(cost=D(1), reference_cost=D(7), reference_currency="CNY")
        self.end(cost=D(2), reference_cost=D(9), reference_currency="USD")
        self.end(cost=D(4))
        self.end(**FREE, reference_cost=D(11), reference_currency="CNY")
        for currency, cost, reference, compared in (("CNY", 1, 7, 1), ("USD", 2, 9, 2)):
            day = self.day(reference_currency=currency)
            self.assertEqual((day.currency, day.cost), ("USD", cost))
            self.assertEqual((day.reference_cost, day.compared_cost), (reference, compared))
        unpriced = self.day(currency="")
        self.assertEqual((unpriced.reference_currency, unpriced.reference_cost, unpriced.unpriced_calls), ("", 0, 1))
        self.assertEqual(self.day(currency="USD", reference_currency="").compared_cost, 0)

    def test_what_caching_saved_follows_tiers_writes_for_an_hour_and_what_the_platform_charged(self) -> None:
        price = PriceList(
            "USD", D(3), D(15), D("0.3"), D("3.75"), "price", (Tier(1000, D(6), D(22), D("0.6"), D("7.5")),), D(6)
        )
        cases = [
            # 900 prompt tokens, and 3600 at the prices of the tier, whichever way they came.
            (Usage(100, 10, 300, 500, cache_write_1h_tokens=200), D("0.002865"), D("0.00285")),
            (Usage(100, 10, 3000, 500, cache_write_1h_tokens=200), D("0.00637"), D("0.02182")),
            (Usage(100, 10, 300, 500, cost=D("0.002"), cache_write_1h_tokens=200), D("0.002"), D("0.001985")),
        ]
        for usage, cost, uncached in cases:
            booked, currency, source = cost_of(usage, price)
            self.assertEqual((booked, uncached_cost_of(usage, booked, currency, price)), (cost, uncached))
            self.end(usage=usage, cost=booked, cost_source=source, uncached_cost=uncached)
        self.end(cost=D(1), uncached_cost=None)  # it cannot be told: nothing was saved
        self.assertEqual(self.day().uncached_cost, sum(uncached for _usage, _cost, uncached in cases) + 1)

    def test_amounts_with_more_places_than_the_books_keep_add_up_within_a_batch(self) -> None:
        limit = quota(self.key, Quota.Unit.COST, Quota.Window.TOTAL, 1)
        calls = [admit(self.secret) for _number in range(40)]
        cost = D("0.00000000016")
        settle_batch(
            [
                settlement(call.call_id, cost=cost, reference_cost=cost, reference_currency="USD", uncached_cost=cost)
                for call in calls
            ],
            snapshot(),
        )
        self.assertEqual(self.day().cost, 40 * D("0.0000000002"))
        self.assertEqual(QuotaWindow.objects.get(quota=limit).used, 40 * D("0.0000000002"))

    def test_a_currency_without_a_cost_is_none(self) -> None:
        self.end(cost=None, currency="USD")
        self.assertEqual(self.day().currency, "")


class BooksCase(TestCase):
    """Five settled calls on one day and one that runs, with quotas of each unit on each subject."""

    def setUp(self) -> None:
        self.team = Team.objects.create(name="platform")
        self.key, self.secret = person(team=self.team)
        for subject in (self.key, self.key.user, self.team):
            quota(subject, Quota.Unit.TOKENS, Quota.Window.DAY, 10**6)
            quota(subject, Quota.Unit.COST, Quota.Window.MONTH, 100)
            quota(subject, Quota.Unit.REQUESTS, Quota.Window.TOTAL, 100)
        for number in range(5):
            settle(admit(self.secret), usage=Usage(number, number), cost=D(number) / 7, scene_name="code")
        admit(self.secret)


class Verifying(BooksCase):
    def verify(self, *options: str) -> str:
        output = io.StringIO()
        with self.assertRaisesMessage(CommandError, "The books do not agree."):
            call_command("verify_ledger", *options, stderr=output)
        return output.getvalue()

    def test_books_that_agree_say_so(self) -> None:
        output = io.StringIO()
        call_command("verify_ledger", stdout=output)
        self.assertEqual(output.getvalue(), "The books agree.\n")

    def test_the_first_difference_is_printed_or_all(self) -> None:
        UsageDaily.objects.update(calls=F("calls") + 1, cost=D(2))
        QuotaWindow.objects.filter(quota__unit="tokens").update(used=1)
        QuotaWindow.objects.filter(quota__team=self.team, quota__unit="requests").update(reserved=7)
        self.assertEqual(self.verify().count("\n"), 1)
        printed = self.verify("--all")
        self.assertEqual(printed.count("\n"), 2 + 3 + 1)
        self.assertIn(" main big code main USD -]: calls is 6, the entries say 5", printed)
        self.assertIn(": cost is 2, the entries say 1.4285714286", printed)
        self.assertIn("used is 1, the calls say 20", printed)
        self.assertIn("reserved is 7, the running calls hold 1", printed)

    def test_each_sum_is_compared(self) -> None:
        for field in UsageDaily._meta.get_fields():
            if field.name in ("id", "date", "key", "user", "team") or field.get_internal_type() == "CharField":
                continue
            with self.subTest(field=field.name):
                UsageDaily.objects.update(**{field.name: F(field.name) + 1})
                [found] = differences()
                self.assertIn(f": {field.name} is ", found)
                UsageDaily.objects.update(**{field.name: F(field.name) - 1})
        self.assertEqual(list(differences()), [])

    def test_rows_that_are_missing_and_rows_of_nothing_are_found(self) -> None:
        row = UsageDaily.objects.get()
        UsageDaily.objects.filter(pk=row.pk).update(scene_name="other")
        found = list(differences())
        self.assertTrue(any("missing, the entries say calls is 5" in line for line in found))
        self.assertTrue(any("calls is 5, the entries say 0" in line for line in found))

    def test_a_changed_call_is_found_in_the_rollup_and_in_every_window(self) -> None:
        CallRecord.objects.filter(input_tokens=4).update(input_tokens=5, cost=D(3))
        found = list(differences())
        self.assertEqual(sum("daily usage" in line for line in found), 3)  # tokens, cost, cost without cache
        self.assertEqual(sum("quota window" in line for line in found), 6)

    def test_the_number_of_queries_does_not_grow_with_the_books(self) -> None:
        def queries() -> int:
            with CaptureQueriesContext(connection) as context:
                self.assertEqual(list(differences()), [])
            return len(context)

        few = queries()
        for number in range(12):
            _key, secret = person(f"user{number}", self.team)
            quota(_key, Quota.Unit.TOKENS, Quota.Window.DAY, 10**6)
            settle(admit(secret, now=NOW + timedelta(days=number)), model_name=f"m{number}")
            admit(secret, now=NOW + timedelta(days=number))
        self.assertEqual(queries(), few)

    def test_a_closed_month_that_was_changed_is_found(self) -> None:
        ClosedMonth.objects.create(month=date(2026, 11, 1), totals={"calls": 4})
        found = list(differences())
        self.assertIn("closed month 2026-11: calls is 5, it was closed with 4", found)


class AtOneMoment(TransactionTestCase):
    def test_what_is_written_meanwhile_waits_for_nobody_and_is_not_seen(self) -> None:
        _key, secret = person()
        settle_now = [admit(secret), admit(secret)]
        settle(settle_now[0])

        def write() -> None:
            try:
                with transaction.atomic():
                    settle(settle_now[1])
            finally:
                connection.close()

        with consistent_view():
            self.assertEqual(UsageDaily.objects.get().calls, 1)
            writer = threading.Thread(target=write)
            writer.start()
            writer.join()
            self.assertEqual(list(differences()), [])
            self.assertEqual(UsageDaily.objects.get().calls, 1)
        self.assertEqual(UsageDaily.objects.get().calls, 2)
        self.assertEqual(close_month(date(2026, 11, 1), now=NOW + timedelta(days=9)).totals["calls"], 2)


class Rebuilding(BooksCase):
    def rebuild(self, *options: str) -> str:
        output = io.StringIO()
        call_command("rebuild_usage", *options, stdout=output)
        return output.getvalue()

    def test_what_is_wrong_is_repaired_and_said(self) -> None:
        settle(admit(self.secret, now=NOW + timedelta(days=30)), model_name="small")
        before = {row["date"]: row for row in UsageDaily.objects.values()}
        UsageDaily.objects.filter(model_name="big").update(calls=9, cost=D(1), input_tokens=0)
        UsageDaily.objects.filter(model_name="small").delete()
        UsageDaily.objects.create(
            date=NOW.date(), key=self.key, user=self.key.user, team=self.team, provider_name="nobody", calls=3
        )
        dry = self.rebuild("--dry-run")
        self.assertIn("2026-11: 1 rows would change, -3 calls, +0 tokens\n", dry)
        self.assertIn("2026-11: 1 rows would change, -4 calls, +10 tokens, +0.4285714286 USD\n", dry)
        self.assertIn("2026-12: 1 rows would change, +1 calls, +100 tokens, +0.00054 USD\n", dry)
        self.assertNotEqual(list(differences()), [])
        self.assertEqual(self.rebuild(), dry.replace("would change", "changed"))
        self.assertEqual(list(differences()), [])
        after = {row["date"]: row for row in UsageDaily.objects.values()}
        for row in (*before.values(), *after.values()):
            del row["id"]
        self.assertEqual(after, before)
        self.assertIn("nothing to change", self.rebuild())

    def test_only_the_days_asked_for(self) -> None:
        settle(admit(self.secret, now=NOW + timedelta(days=1)))
        UsageDaily.objects.update(calls=9)
        self.rebuild("--from", "2026-11-24", "--to", "2026-11-24")
        self.assertEqual(dict(UsageDaily.objects.values_list("date", "calls")), {NOW.date(): 9, date(2026, 11, 24): 1})
        for wrong in (("--from", "today"), ("--from", "2026-11-25", "--to", "2026-11-24")):
            with self.assertRaises(CommandError):
                self.rebuild(*wrong)

    def test_a_closed_month_is_left_as_it_is(self) -> None:
        settle(admit(self.secret, now=NOW + timedelta(days=30)))
        ClosedMonth.objects.create(month=date(2026, 11, 1))
        UsageDaily.objects.update(calls=9)
        output = io.StringIO()
        with self.assertRaisesMessage(CommandError, "Closed months are left as they are: 2026-11."):
            call_command("rebuild_usage", stdout=output)
        self.assertIn("2026-11: 1 rows differ, -4 calls", output.getvalue())
        self.assertIn("2026-12: 1 rows changed, -8 calls", output.getvalue())
        self.assertEqual(set(UsageDaily.objects.values_list("date__month", "calls")), {(11, 9), (12, 1)})

    def test_corrections_are_part_of_the_sum(self) -> None:
        Correction.objects.create(
            key=self.key, user=self.key.user, team=self.team, cost=D("-0.5"), currency="USD", reason="credit",
            corrects_on=NOW.date(), booked_on=NOW.date(), provider_name="main", model_name="big", scene_name="code",
            kind="main", output_tokens=-3,
        )  # fmt: skip
        self.assertIn("2026-11: 1 rows changed, +0 calls, -3 tokens, -0.5 USD", self.rebuild())
        self.assertEqual(list(differences()), [])
