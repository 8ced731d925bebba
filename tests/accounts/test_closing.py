"""Corrections are appended, months are closed for good, and what is found out later lands in the open month."""

import io
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from django.core.exceptions import ValidationError
from django.core.management import CommandError, call_command
from django.db import IntegrityError, transaction
from django.test import TestCase

from accounts import late_prices
from accounts.closing import Amount, MonthNotClosable, close_month, correct, next_month, preview
from accounts.late_prices import price_calls
from accounts.models import AuditEntry, CallRecord, ClosedMonth, Correction, Quota, QuotaWindow, Team, UsageDaily, User
from accounts.reaper import reap_calls
from accounts.unpriced import unpriced_by_model
from accounts.verification import differences
from providers.models import Provider
from providers.target import PriceList
from providers.translation.usage import Usage
from routing.models import RuntimeSettings
from routing.snapshot import SettingsSnapshot
from tests.accounts.books import NOW, admit, person, quota, settle, snapshot, target

D = Decimal
NOVEMBER = date(2026, 11, 1)
DECEMBER = NOW + timedelta(days=20)  # the 13th
UNPRICED = snapshot(target(price=None))
YUAN = PriceList("CNY", D(4), D(16), D(1), D(5), "price")


class ClosingCase(TestCase):
    def setUp(self) -> None:
        self.team = Team.objects.create(name="platform")
        self.key, self.secret = person(team=self.team)
        self.boss = User.objects.create_superuser("boss")

    def call(self, now: datetime = NOW, **fields: Any) -> CallRecord:
        admitted = admit(self.secret, now=now, view=UNPRICED)
        settle(admitted, UNPRICED, ended_at=now, **fields)
        return CallRecord.objects.get(pk=admitted.call_id)

    def unpriced(self, now: datetime = NOW, **fields: Any) -> CallRecord:
        return self.call(now, cost=None, currency="", cost_source="", usage=Usage(1000, 500), **fields)

    def close(self, month: date = NOVEMBER, now: datetime = DECEMBER) -> ClosedMonth:
        return close_month(month, self.boss, "as agreed", now)

    def assert_books_agree(self) -> None:
        self.assertEqual(list(differences()), [])


class Correcting(ClosingCase):
    def correct(self, cost: Any = "-0.2", currency: str = "USD", now: datetime = NOW, **subject: Any) -> Correction:
        return correct(Amount(D(cost), currency), "credit note 17", by=self.boss, now=now, **subject)

    def test_the_cost_of_a_call_is_corrected_beside_it(self) -> None:
        limit = quota(self.key, Quota.Unit.COST, Quota.Window.MONTH, 10)
        call = self.call(cost=D("0.5"), scene_name="code", status="failed")
        row = self.correct(call=call)
        self.assertEqual((row.call, row.user, row.team, row.made_by), (call, self.key.user, self.team, self.boss))
        self.assertEqual((row.corrects_on, row.booked_on, row.source), (NOW.date(), NOW.date(), "manual"))
        unchanged = CallRecord.objects.get()
        self.assertEqual((unchanged.cost, unchanged.decision), (D("0.5"), call.decision))
        day = UsageDaily.objects.get()
        self.assertEqual((day.calls, day.cost, day.uncached_cost, day.failed_cost), (1, D("0.3"), D("0.3"), D("0.5")))
        self.assertEqual(QuotaWindow.objects.get(quota=limit).used, D("0.5"))
        self.assert_books_agree()

    def test_another_currency_and_no_call_have_a_row_of_their_own(self) -> None:
        self.correct(-3, "CNY", key=self.key, corrects_on=date(2026, 11, 3), provider_name="main")
        day = UsageDaily.objects.get()
        self.assertEqual((day.date, day.calls, day.cost, day.currency), (date(2026, 11, 3), 0, -3, "CNY"))
        self.assertEqual((day.user, day.team, day.provider_name), (self.key.user, self.team, "main"))
        self.assert_books_agree()

    def test_tokens_are_corrected_too(self) -> None:
        correct(Amount(output_tokens=-5), "counted twice", call=self.call(), now=NOW)
        self.assertEqual(set(UsageDaily.objects.values_list("currency", "output_tokens")), {("USD", 20), ("", -5)})
        self.assert_books_agree()

    def test_of_a_closed_month_in_the_open_one(self) -> None:
        call = self.call()
        self.close()
        row = self.correct(call=call, now=DECEMBER)
        self.assertEqual((row.corrects_on, row.booked_on), (NOW.date(), DECEMBER.date()))
        self.assertEqual(UsageDaily.objects.get(date__month=11).cost, D("0.00054"))
        self.assertEqual(UsageDaily.objects.get(date__month=12).cost, D("-0.2"))
        self.assert_books_agree()

    def test_bad_amounts_are_refused_and_book_nothing(self) -> None:
        call, running = self.call(), admit(self.secret)
        days = list(UsageDaily.objects.values())
        for amount, subject in (
            (Amount(), {"call": call}),
            (Amount(D("1e9"), "USD"), {"call": call}),
            (Amount(D("NaN"), "USD"), {"call": call}),
            (Amount(D("0.00000000001"), "USD"), {"call": call}),
            (Amount(D(1), ""), {"call": call}),
            (Amount(D(1), "usd"), {"call": call}),
            (Amount(D(1), "DOLLAR"), {"call": call}),
            (Amount(input_tokens=10**15), {"call": call}),
            (Amount(D(1), "USD"), {}),
            (Amount(D(1), "USD"), {"key": self.key, "corrects_on": date(2026, 11, 24)}),
            (Amount(D(1), "USD"), {"call": CallRecord.objects.get(pk=running.call_id)}),
        ):
            with self.subTest(amount=amount), pytest.raises(ValidationError):
                correct(amount, "why", now=NOW, **subject)
        with pytest.raises(ValidationError):
            correct(Amount(D(1), "USD"), "  ", call=call, now=NOW)
        with pytest.raises(ValidationError):
            correct(Amount(D(1), "USD"), "x" * 301, call=call, now=NOW)
        self.assertEqual((list(UsageDaily.objects.values()), Correction.objects.count()), (days, 0))

    def test_a_row_that_prices_have_left_stays_while_corrections_are_in_it(self) -> None:
        call = self.unpriced()
        correct(Amount(output_tokens=-5), "counted twice", call=call, now=NOW)
        price_calls("main", "big", lambda _moment: YUAN, by="boss")
        self.assertEqual(
            set(UsageDaily.objects.values_list("currency", "calls", "output_tokens")), {("CNY", 1, 500), ("", 0, -5)}
        )
        self.assert_books_agree()


class Closing(ClosingCase):
    def refused(self, month: date = NOVEMBER, now: datetime = DECEMBER) -> str:
        with pytest.raises(MonthNotClosable) as refusal:
            self.close(month, now)
        self.assertFalse(ClosedMonth.objects.filter(month=month).exists())
        return str(refusal.value)

    def test_what_the_days_add_up_to_is_kept(self) -> None:
        self.call(cost=D("0.1"), reference_cost=D(2), reference_currency="CNY")
        self.call(cost=D("0.2"), status="failed")
        self.call(NOW + timedelta(days=2), cost=D(3), currency="CNY")
        self.unpriced()
        row = self.close()
        self.assertEqual((row.month, row.closed_by, row.note), (NOVEMBER, self.boss, "as agreed"))
        self.assertEqual((row.totals["calls"], row.totals["failed_calls"], row.totals["unpriced_calls"]), (4, 1, 1))
        self.assertEqual(row.totals["input_tokens"], 3 * 80 + 1000)
        self.assertEqual(D(row.totals["costs"]["USD"]["cost"]), D("0.3"))
        self.assertEqual(D(row.totals["costs"]["USD"]["failed_cost"]), D("0.2"))
        self.assertEqual(D(row.totals["costs"]["CNY"]["cost"]), 3)
        self.assertEqual(D(row.totals["reference_costs"]["CNY"]), 2)
        self.assert_books_agree()
        UsageDaily.objects.filter(currency="CNY").update(cost=D(4))
        self.assertIn("closed month 2026-11: costs is", next(differences()))

    def test_only_a_month_that_is_over_where_the_business_is(self) -> None:
        self.call()
        RuntimeSettings.objects.create(pk=1, business_time_zone="Asia/Shanghai")
        first = datetime(2026, 11, 30, 16, tzinfo=UTC)
        self.assertIn("2026-11 is not over", self.refused(now=first - timedelta(seconds=1)))
        self.assertIn("2026-12 is not over", self.refused(date(2026, 12, 1)))
        self.assertIn("2027-01 is not over", self.refused(date(2027, 1, 1)))
        self.close(now=first)

    def test_months_are_closed_in_order_and_once(self) -> None:
        self.call(datetime(2026, 9, 30, 12, tzinfo=UTC))
        self.call()
        self.assertEqual(next_month(DECEMBER), date(2026, 9, 1))
        self.assertIn("Close 2026-09 first", self.refused())
        self.close(date(2026, 9, 1))
        self.assertEqual(next_month(DECEMBER), NOVEMBER)  # there are none of October
        self.close()
        self.assertIsNone(next_month(DECEMBER))
        with pytest.raises(MonthNotClosable, match="2026-11 is closed already"):
            self.close()
        self.assertIn("2026-10 is closed already", self.refused(date(2026, 10, 1)))

    def test_not_while_a_call_of_it_runs(self) -> None:
        RuntimeSettings.objects.create(pk=1, business_time_zone="Asia/Shanghai")
        admit(self.secret, now=NOW + timedelta(minutes=1))
        running = admit(self.secret)
        admit(self.secret, now=DECEMBER)  # none of its business
        self.assertIn(
            "2 calls that began in this month are still running, the first since 2026-11-23 18:11", self.refused()
        )
        settle(running)
        self.assertIn("1 call that began in this month is still running, since 2026-11-23 18:12", self.refused())
        CallRecord.objects.update(worker_id=None)
        reap_calls(snapshot(), DECEMBER)
        self.close()

    def test_not_while_its_books_disagree(self) -> None:
        self.call()
        self.call(DECEMBER)
        UsageDaily.objects.filter(date__month=12).update(calls=7)
        self.assertEqual(preview(NOVEMBER, DECEMBER).problems, [])
        UsageDaily.objects.filter(date__month=11).update(calls=7)
        [problem] = preview(NOVEMBER, DECEMBER).problems
        self.assertIn("calls is 7, the entries say 1", problem)
        self.assertEqual(self.refused(), problem)

    def test_a_late_settle_by_another_time_zone_is_booked_on_the_first_open_day(self) -> None:
        # In UTC this is November; when the month was closed, the business was ahead.
        late = admit(self.secret, now=datetime(2026, 11, 30, 20, tzinfo=UTC))
        RuntimeSettings.objects.create(pk=1, business_time_zone="Asia/Shanghai")
        self.call()
        self.close()
        self.assertEqual(settle(late, snapshot()), 1)
        self.assertEqual(CallRecord.objects.get(pk=late.call_id).booked_on, date(2026, 12, 1))
        self.assertEqual(UsageDaily.objects.get(date__month=12).date, date(2026, 12, 1))
        ahead = snapshot(settings=SettingsSnapshot(business_time_zone=ZoneInfo("Asia/Shanghai")))
        settle(admit(self.secret, now=DECEMBER, view=ahead), ahead)
        self.assertEqual(UsageDaily.objects.filter(date=DECEMBER.date()).count(), 1)
        self.assert_books_agree()

    def test_settling_asks_no_more_of_the_database_for_it(self) -> None:
        calls = [admit(self.secret), admit(self.secret)]
        with self.assertNumQueries(4):
            settle(calls[0])
        ClosedMonth.objects.create(month=date(2026, 10, 1))
        with self.assertNumQueries(4):
            settle(calls[1])

    def test_the_command_closes_says_what_and_says_why_not(self) -> None:
        today = datetime.now(UTC).date().replace(day=1)
        last = (today - timedelta(days=1)).replace(day=1)
        before = (last - timedelta(days=1)).replace(day=1)
        for month in (before, last):
            self.call(datetime(month.year, month.month, 15, tzinfo=UTC), cost=D("0.25"))

        def run(*arguments: str) -> str:
            output = io.StringIO()
            call_command("close_month", *arguments, stdout=output)
            return output.getvalue()

        for wrong in ("november", f"{today:%Y-%m}", f"{last:%Y-%m}"):
            with pytest.raises(CommandError):
                run(wrong)
        self.assertIn(f"{before:%Y-%m} would be closed: 1 calls, 0.25", run(f"{before:%Y-%m}", "--dry-run"))
        self.assertFalse(ClosedMonth.objects.exists())
        said = run(f"{last:%Y-%m}", "--earlier", "--note", "audited")
        self.assertIn(f"{before:%Y-%m} is closed: 1 calls, 0.2500000000 USD.\n{last:%Y-%m} is closed", said)
        self.assertEqual(set(ClosedMonth.objects.values_list("note", flat=True)), {"audited"})


class LatePricesOfClosedMonths(ClosingCase):
    def price(self, **options: Any) -> late_prices.Summary:
        return price_calls("main", "big", lambda _moment: YUAN, by="boss", user=self.boss, **options)

    def test_their_price_is_a_correction_of_the_open_month_exactly_once(self) -> None:
        limit = quota(self.key, Quota.Unit.COST, Quota.Window.TOTAL, 10, currency="CNY")
        closed = self.unpriced(scene_name="code")
        last = datetime.now(UTC).date().replace(day=1) - timedelta(days=1)
        ClosedMonth.objects.create(month=last.replace(day=1))
        CallRecord.objects.update(booked_on=last)
        UsageDaily.objects.update(date=last)
        frozen = (list(CallRecord.objects.values()), list(UsageDaily.objects.values()))
        dry = self.price(dry_run=True)
        summary = self.price()
        self.assertEqual(dry, summary)
        self.assertEqual((summary.priced, summary.corrected, summary.corrected_costs), (0, 1, {"CNY": D("0.012")}))
        row = Correction.objects.get()
        self.assertEqual((row.call, row.source, row.cost, row.currency), (closed, "late_price", D("0.012"), "CNY"))
        self.assertEqual((row.corrects_on, row.made_by, row.reason), (last, self.boss, "boss: CNY 4 / 16"))
        self.assertEqual(row.booked_on, datetime.now(UTC).date())
        self.assertEqual(list(CallRecord.objects.values()), frozen[0])
        self.assertEqual(list(UsageDaily.objects.filter(date=last).values()), frozen[1])
        self.assertEqual(UsageDaily.objects.get(date=row.booked_on).cost, D("0.012"))
        self.assertEqual(QuotaWindow.objects.get(quota=limit).used, 0)
        self.assertFalse(CallRecord.objects.filter(late_prices.UNPRICED).exists())
        # The closed day goes on to count it, and nobody is asked to price it any more.
        self.assertEqual(sum(UsageDaily.objects.values_list("unpriced_calls", flat=True)), 1)
        self.assertEqual(unpriced_by_model(UsageDaily.objects.all(), Correction.objects.all()), {})
        self.assertEqual(self.price(), late_prices.Summary())
        self.assertEqual(Correction.objects.count(), 1)
        with pytest.raises(IntegrityError), transaction.atomic():
            Correction.objects.create(
                call=closed, key=self.key, user=self.key.user, source="late_price", cost=D(1), currency="CNY",
                reason="again", corrects_on=last, booked_on=row.booked_on,
            )  # fmt: skip
        self.assertEqual([line for line in differences() if "closed month" not in line], [])

    def test_calls_of_open_months_are_priced_in_place_in_the_same_run(self) -> None:
        self.unpriced()
        opened = self.unpriced(DECEMBER)
        self.close()
        before = UsageDaily.objects.filter(date__month=11).values().get()
        summary = self.price()
        self.assertEqual((summary.priced, summary.corrected), (1, 1))
        self.assertEqual(CallRecord.objects.get(pk=opened.pk).cost, D("0.012"))
        self.assertEqual(UsageDaily.objects.filter(date__month=11).values().get(), before)
        self.assert_books_agree()

    def test_each_run_is_in_the_audit_log(self) -> None:
        Provider.objects.create(name="main", kind="openai_compatible", base_url="https://relay.example/v1")
        self.price()
        self.unpriced()
        self.price(dry_run=True)
        found = AuditEntry.objects.filter(note="Calls of main/big priced afterwards.")
        self.assertFalse(found.exists())
        self.price()
        entry = found.get()
        self.assertEqual((entry.object_type, entry.object_name), ("providers.provider", "main"))
        self.assertEqual(entry.changes["priced_calls"], [None, 1])
        self.assertEqual(entry.changes["cost"], [None, "0.012 CNY"])

    def test_the_command_says_so(self) -> None:
        self.unpriced()
        self.close()
        provider = Provider.objects.create(name="main", kind="openai_compatible", base_url="https://relay.example/v1")
        model = provider.models.create(model_id="big")
        model.prices.create(
            currency="CNY", input_per_million=4, output_per_million=16, valid_from=NOW - timedelta(days=1)
        )
        output = io.StringIO()
        call_command("price_calls", "--model", "main/big", stdout=output)
        self.assertIn(
            "main/big: 0 calls priced, 0.\n1 calls are of closed months: their price booked as", output.getvalue()
        )
        self.assertIn("of the open month, 0.012 CNY.", output.getvalue())


class Names(ClosingCase):
    def test_what_is_deactivated_keeps_its_name_in_the_books(self) -> None:
        self.call(scene_name="code", provider_name="gone", model_name="gone-model")
        self.team.is_active = self.key.is_active = self.key.user.is_active = False
        for row in (self.team, self.key, self.key.user):
            row.save(update_fields=["is_active"])
        names = ("user__username", "key__name", "team__name", "provider_name", "model_name", "scene_name")
        expected = ("dev1", "laptop", "platform", "gone", "gone-model", "code")
        for model in (CallRecord, UsageDaily):
            self.assertEqual(model.objects.values_list(*names).get(), expected)
        for subject in (self.key, self.key.user, self.team):
            with pytest.raises(IntegrityError):  # ProtectedError is one
                subject.delete()
        self.assertEqual(UsageDaily.objects.values_list(*names).get(), expected)
