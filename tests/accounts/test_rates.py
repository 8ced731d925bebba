"""Converting between currencies."""

from datetime import date, timedelta
from decimal import Decimal
from typing import Any

from django.core.exceptions import ValidationError
from django.test import TestCase
from django.utils import timezone
from hypothesis import given
from hypothesis import strategies as st

from accounts.models import ClosedMonth, ExchangeRate
from accounts.rates import Rates, convert
from gateway.config.export import export
from routing.models import RuntimeSettings
from tests.admin.pages import AdminTestCase, row_url
from tests.gateway.config_files import ConfigCase

D = Decimal
DAY = date(2026, 11, 1)


def rate(pair: str, value: str, since: date = DAY) -> ExchangeRate:
    start, _, end = pair.partition("/")
    return ExchangeRate(from_currency=start, to_currency=end, rate=D(value), valid_from=since)


def test_the_rate_of_the_day_counts() -> None:
    later = DAY + timedelta(days=10)
    rates = Rates([rate("USD/CNY", "7.2", later), rate("USD/CNY", "7.1")])
    found = [rates.convert(D(2), "USD", DAY + timedelta(days=days), "CNY") for days in (-1, 0, 9, 10, 400)]
    assert found == [None, D("14.2"), D("14.2"), D("14.4"), D("14.4")]


def test_a_rate_turned_round_is_divided_by_and_rounded_once() -> None:
    rates = Rates([rate("USD/CNY", "7")])
    assert rates.convert(D(7), "CNY", DAY, "USD") == 1
    assert rates.convert(D(1), "CNY", DAY, "USD") == D("0.1428571429")
    # With the inverse rounded to ten places first this would be 999999.9999…
    assert rates.convert(D(7_000_000), "CNY", DAY, "USD") == 1_000_000
    # Half to even, at the tenth place.
    halves = Rates([rate("USD/EUR", "0.5")])
    assert halves.convert(D("0.0000000001"), "USD", DAY, "EUR") == 0
    assert halves.convert(D("0.0000000003"), "USD", DAY, "EUR") == D("0.0000000002")


def test_a_direct_rate_comes_before_a_turned_one_and_that_before_a_common_currency() -> None:
    direct, turned = rate("USD/CNY", "7"), rate("CNY/USD", "0.2")
    through = [rate("USD/EUR", "0.5"), rate("CNY/EUR", "0.125")]
    assert Rates([direct, turned, *through]).convert(D(1), "USD", DAY, "CNY") == 7
    assert Rates([turned, *through]).convert(D(1), "USD", DAY, "CNY") == 5
    assert Rates(through).convert(D(1), "USD", DAY, "CNY") == 4


def test_of_several_common_currencies_the_newest_rates_count() -> None:
    old, new = DAY, DAY + timedelta(days=5)
    euro = [rate("USD/EUR", "0.5", new), rate("EUR/CNY", "8", old)]
    yen = [rate("USD/JPY", "150", new), rate("CNY/JPY", "30", new)]
    assert Rates([*euro, *yen]).convert(D(1), "USD", new, "CNY") == 5
    assert Rates([*yen, *euro]).convert(D(1), "USD", new, "CNY") == 5
    assert Rates(euro).convert(D(1), "USD", new, "CNY") == 4
    assert Rates(euro).convert(D(1), "USD", old, "CNY") is None  # one of its rates is not there yet


def test_no_rate_is_no_answer() -> None:
    rates = Rates([rate("USD/CNY", "7"), rate("EUR/GBP", "0.8")])
    assert rates.convert(D(1), "USD", DAY, "GBP") is None
    assert rates.convert(D(1), "XXX", DAY, "USD") is None
    assert rates.convert(D("1.5"), "XXX", DAY, "XXX") == D("1.5")
    # Two common currencies are one too many.
    chain = Rates([rate("AAA/BBB", "2"), rate("BBB/CCC", "2"), rate("CCC/DDD", "2")])
    assert chain.convert(D(1), "AAA", DAY, "CCC") == 4
    assert chain.convert(D(1), "AAA", DAY, "DDD") is None


@given(
    st.decimals(min_value=0, max_value=10**9, places=10),
    st.decimals(min_value=D("0.01"), max_value=1000, places=8),
)
def test_there_and_back_loses_no_more_than_the_rounding(amount: Decimal, value: Decimal) -> None:
    rates = Rates([rate("USD/CNY", str(value))])
    there = rates.convert(amount, "USD", DAY, "CNY")
    assert there is not None
    back = rates.convert(there, "CNY", DAY, "USD")
    assert back is not None
    # Half of the last place of the amount between, turned back, and half of the last place.
    assert abs(back - amount) <= D("5e-11") / value + D("5e-11")


class StoredRates(TestCase):
    def test_one_amount_is_converted_from_the_database(self) -> None:
        rate("USD/CNY", "7.12345678").save()
        with self.assertNumQueries(1):
            assert convert(D("0.1"), "USD", DAY, "CNY") == D("0.712345678")
        with self.assertNumQueries(0):
            assert convert(D("0.1"), "USD", DAY, "USD") == D("0.1")

    def test_what_is_no_rate_is_refused_by_field(self) -> None:
        rate("USD/CNY", "7").save()
        for row, field in (
            (rate("USD/USD", "1"), "to_currency"),
            (rate("USD/EUR", "0"), "rate"),
            (rate("USD/EUR", "-1"), "rate"),
            (rate("usd/EUR", "1"), "from_currency"),
            (rate("USD/CNY", "8"), "valid_from"),
            (rate("USD/EUR", "0.123456789"), "rate"),
        ):
            with self.subTest(row=row), self.assertRaises(ValidationError) as refused:
                row.full_clean()
            self.assertIn(field, refused.exception.message_dict)
        rate("CNY/USD", "0.14").full_clean()


class ClosedMonths(TestCase):
    """Finance printed the converted amounts of a closed month: no later rate makes them others."""

    def setUp(self) -> None:
        rate("USD/CNY", "7").save()
        ClosedMonth.objects.create(month=DAY, totals={})

    def refused(self, row: ExchangeRate) -> set[str]:
        try:
            row.full_clean()
        except ValidationError as error:
            return set(error.message_dict)
        return set()

    def test_a_rate_that_would_move_a_closed_month_is_refused(self) -> None:
        for row in (
            rate("USD/CNY", "8", DAY + timedelta(days=29)),
            rate("CNY/USD", "0.2"),  # in its own direction it would count first
            rate("CNY/USD", "0.2", DAY - timedelta(days=9)),  # and goes on to
        ):
            with self.subTest(row=row, since=row.valid_from):
                self.assertEqual(self.refused(row), {"valid_from"})

    def test_a_rate_of_the_open_month_is_taken(self) -> None:
        self.assertEqual(self.refused(rate("USD/CNY", "8", DAY + timedelta(days=30))), set())

    def test_a_rate_before_one_that_holds_all_through_the_closed_month_is_taken(self) -> None:
        self.assertEqual(self.refused(rate("USD/CNY", "6", DAY - timedelta(days=30))), set())

    def test_what_no_rate_converted_may_still_be_converted(self) -> None:
        self.assertEqual(self.refused(rate("EUR/USD", "1.1", DAY)), set())

    def test_a_common_currency_that_would_become_the_better_way_counts_too(self) -> None:
        rate("EUR/USD", "1.1", DAY).save()  # CNY -> EUR goes through USD
        self.assertEqual(self.refused(rate("CNY/EUR", "0.1", DAY)), {"valid_from"})


class RatesPage(AdminTestCase):
    def post(self, url: str, **fields: str) -> Any:
        data = {"from_currency": "USD", "to_currency": "CNY", "rate": "7.1", "valid_from": "2026-01-01", "note": ""}
        return self.client.post(url, {**data, **fields})

    def test_rates_are_added_and_duplicates_refused(self) -> None:
        url = "/admin/accounts/exchangerate/add/"
        self.assertEqual(self.post(url).status_code, 302)
        response = self.post(url, rate="7.2")
        self.assertEqual(set(response.context["adminform"].form.errors), {"valid_from"})
        self.assertEqual(self.post(url, valid_from="2026-02-01", rate="7.2").status_code, 302)
        self.assertEqual(ExchangeRate.objects.count(), 2)

    def test_a_rate_in_use_stays_and_one_to_come_may_be_changed(self) -> None:
        used, coming = rate("USD/CNY", "7"), rate("USD/CNY", "8", timezone.now().date() + timedelta(days=9))
        used.save()
        coming.save()
        for row, status in ((used, 403), (coming, 302)):
            when = row.valid_from.isoformat()
            self.assertEqual(self.post(row_url(row), rate="9", valid_from=when).status_code, status)
            delete = row_url(row).replace("/change/", "/delete/")
            self.assertEqual(self.client.post(delete, {"post": "yes"}).status_code, status)
        self.assertEqual([row.rate for row in ExchangeRate.objects.all()], [7])


class RatesFile(ConfigCase):
    def test_rates_and_the_currency_of_reports_come_from_a_file_and_go_into_it(self) -> None:
        later = (timezone.now() + timedelta(days=30)).date().isoformat()
        file: dict[str, Any] = {
            "exchange_rates": [
                {"from": "USD", "to": "CNY", "rate": 7.1, "valid_from": "2026-01-01", "note": "央行"},
                {"from": "USD", "to": "CNY", "rate": 7.2, "valid_from": later},
            ],
            "settings": {"report_currency": "CNY"},
        }
        self.assertEqual(len(self.apply(file)), 3)
        self.assertEqual(RuntimeSettings.load().report_currency, "CNY")
        before = list(ExchangeRate.objects.values())
        self.assertEqual(self.apply(file), ["No changes."])
        text = export()
        self.assertEqual(self.apply(text, "--prune"), ["No changes."])
        self.assertEqual(list(ExchangeRate.objects.values()), before)
        ExchangeRate.objects.all().delete()
        self.apply(text)
        self.assertEqual(list(ExchangeRate.objects.values_list("rate", "note")), [(D("7.2"), ""), (D("7.1"), "央行")])
        file["exchange_rates"][1]["rate"] = 7.3
        self.assertEqual(self.apply(file), [f"~ exchange rate USD/CNY {later}: rate 7.2 -> 7.3"])
        file["exchange_rates"][0]["rate"] = 6
        self.assertIn("exchange_rates[0].rate: is in use", self.refused(file)[0])

    def test_each_fault_has_its_path(self) -> None:
        good = {"from": "USD", "to": "CNY", "rate": 7, "valid_from": "2026-01-01"}
        faults: tuple[tuple[dict[str, Any], str], ...] = (
            ({"rate": 0}, "rate: A rate is more than 0."),
            ({"rate": -1}, "rate: must be a number of at least 0"),
            ({"rate": "7"}, "rate: must be a number"),
            ({"to": "USD"}, "to: A currency is worth itself"),
            ({"from": "yuan"}, "from: must be a currency code"),
            ({"valid_from": "1.1.2026"}, "valid_from: must be a day like"),
            ({"valid_from": "2026-02-30"}, "valid_from: must be a day like"),
        )
        for wrong, problem in faults:
            with self.subTest(problem=problem):
                problems = self.refused({"exchange_rates": [good | wrong]})
                self.assertTrue(any(f"exchange_rates[0].{problem}" in line for line in problems), problems)
        self.assertIn("described twice", self.refused({"exchange_rates": [good, good]})[0])
        self.assertEqual(ExchangeRate.objects.count(), 0)


def test_a_factor_converts_sums_as_each_amount_is_converted() -> None:
    rates = Rates([rate("USD/CNY", "7.1"), rate("CNY/EUR", "0.13")])
    assert rates.factor("USD", DAY, "USD") == 1
    assert rates.factor("USD", DAY, "CNY") == D("7.1")
    assert rates.factor("USD", DAY, "EUR") == D("0.923")
    assert rates.factor("CNY", DAY, "USD") == D("0.140845070422535211267605633803")
    assert rates.factor("USD", DAY - timedelta(days=1), "CNY") is None


def test_changes_are_the_days_on_which_another_rate_begins() -> None:
    days = [DAY + timedelta(days=number) for number in range(5)]
    rates = Rates([rate("USD/CNY", "7", days[0]), rate("USD/EUR", "1", days[2]), rate("USD/CNY", "8", days[2])])
    assert rates.changes(days[0], days[4]) == [days[2]]
    assert rates.changes(days[0], days[1]) == []
