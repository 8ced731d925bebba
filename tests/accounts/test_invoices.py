"""Invoice files: read exactly or not at all, and held against the books."""

from datetime import date, datetime
from decimal import Decimal
from typing import Any

from django.test import SimpleTestCase, TestCase

from accounts.invoice_values import amount_of, day_of, decimal_mark
from accounts.invoices import AlreadyKept, Reading, keep_invoice, read_invoice
from accounts.models import Correction, ExchangeRate, Invoice, InvoiceLine, UsageDaily
from accounts.reconciliation import Sides, reconcile
from accounts.reports import Period
from tests.accounts.books import person
from tests.accounts.test_tables import workbook

TODAY = date(2026, 12, 1)
NOVEMBER = Period(date(2026, 11, 1), date(2026, 11, 30))


class Values(SimpleTestCase):
    def test_days_are_read_as_invoices_write_them(self) -> None:
        for value in (
            "2026-11-01", "2026/11/1", "2026.11.01", "20261101", "2026年11月1日", "2026-11-01 00:00:00",
            "2026-11-01T08:00:00+08:00", "２０２６-11-01", datetime(2026, 11, 1, 8), date(2026, 11, 1), 46327,
            Decimal("46327.5"),
        ):  # fmt: skip
            with self.subTest(value=value):
                self.assertEqual(day_of(value, TODAY), date(2026, 11, 1))

    def test_days_that_could_be_others_and_days_that_are_none_are_refused(self) -> None:
        for value in ("", "11/01/2026", "01.11.2026", "2026-13-01", "2026-02-30", "1999-12-31", "2026-12-02", "now", 5):
            with self.subTest(value=value), self.assertRaises(ValueError):
                day_of(value, TODAY)

    def test_amounts_are_read_exactly(self) -> None:
        for text, amount in (
            ("1.5", "1.5"), ("1,234.56", "1234.56"), ("1.234,56", "1234.56"), ("1,234,567", "1234567"),
            ("1 234.5", "1234.5"), ("1'234.50", "1234.5"), ("0,5", "0.5"), ("-3.2", "-3.2"), ("(3.2)", "-3.2"),
            ("3.2-", "-3.2"), ("−3.2", "-3.2"), ("¥1,234.50", "1234.5"), ("￥12", "12"), ("-¥12.5", "-12.5"),
            ("12.5元", "12.5"), ("CNY 7", "7"), ("7 RMB", "7"), ("１２．５", "12.5"), ("1.5E-05", "0.000015"),
            ("1.234", "1.234"), (".5", ".5"), ("+4", "4"),
        ):  # fmt: skip
            with self.subTest(text=text):
                self.assertEqual(amount_of(text, "", "CNY"), Decimal(amount))
        self.assertEqual(amount_of(3, "", "CNY"), 3)

    def test_an_amount_that_may_be_two_is_refused_unless_the_file_shows_which(self) -> None:
        with self.assertRaisesMessage(ValueError, "may be 1234 or 1.234"):
            amount_of("1,234", decimal_mark(["1,234", "2"]), "CNY")
        self.assertEqual(amount_of("1,234", decimal_mark(["1,234", "2.50"]), "CNY"), 1234)
        self.assertEqual(amount_of("1,234", decimal_mark(["1,234", "2,50"]), "CNY"), Decimal("1.234"))
        self.assertEqual(amount_of("1.234", decimal_mark(["1.234", "2,50"]), "CNY"), 1234)

    def test_what_is_no_amount_is_refused(self) -> None:
        for text in ("", "free", "1,23,4", "1.2.3", "12,34.5", "(5", "$5", "5 EUR", "NaN", "1e99", "900000000", "--5"):
            with self.subTest(text=text), self.assertRaises(ValueError):
                amount_of(text, "", "CNY")


class Reading_(TestCase):
    def read(self, text: str, currency: str = "CNY") -> Reading:
        return read_invoice("invoice.csv", text.encode(), currency, TODAY)

    def test_a_file_in_chinese_is_read(self) -> None:
        text = '阿里云账单,,\n日期,模型名称,金额（元）,用量\n2026年11月1日,qwen-max,"1,234.50",2000\n2026/11/2,,-3,\n合计,,1231.5,\n'
        reading = read_invoice("账单.csv", text.encode("gbk"), "CNY", TODAY)
        self.assertEqual(reading.problems, [])
        first, second = reading.lines
        self.assertEqual(
            (first.date, first.model_name, first.amount), (date(2026, 11, 1), "qwen-max", Decimal("1234.5"))
        )
        self.assertEqual((first.tokens, second.tokens, second.amount), (2000, None, Decimal(-3)))
        self.assertEqual((reading.encoding, reading.sums_left_out, reading.total), ("gb18030", 1, Decimal("1231.5")))

    def test_a_workbook_is_read(self) -> None:
        content = workbook(("Date", "Model", "Cost (USD)"), (datetime(2026, 11, 1), "gpt", 0.1))
        reading = read_invoice("invoice.xlsx", content, "USD", TODAY)
        self.assertEqual(reading.problems, [])
        self.assertEqual(reading.total, Decimal("0.1"))

    def test_each_wrong_line_is_named(self) -> None:
        reading = self.read(
            "date,amount,currency\n2026-11-01,1.0,CNY\n2026-11-31,1.0,\n2026-11-02,x,\n2026-11-03,1.0,USD\n"
        )
        self.assertEqual([line for line, _text in reading.problems], [3, 4, 5])

    def test_a_sum_that_is_none_is_a_problem(self) -> None:
        reading = self.read("date,amount\n2026-11-01,1.5\nTotal,2.5\n")
        self.assertEqual([line for line, _text in reading.problems], [3])

    def test_titles_must_be_there_and_mean_one_thing(self) -> None:
        self.assertTrue(self.read("2026-11-01,1.5\n").problems)
        self.assertTrue(self.read("date,amount,cost\n2026-11-01,1.5,2\n").problems)
        self.assertTrue(self.read("date,amount (USD)\n2026-11-01,1.5\n").problems)
        self.assertTrue(self.read("date,amount\n").problems)
        self.assertTrue(self.read("date,amount,tokens\n2026-11-01,1.5,many\n").problems)

    def test_what_cannot_be_decoded_is_a_problem_not_a_fault(self) -> None:
        self.assertTrue(read_invoice("x.csv", b"\xff\xff\xff\xff", "CNY", TODAY).problems)

    def test_the_same_file_is_kept_once_unless_it_was_withdrawn(self) -> None:
        text = "date,amount\n2026-11-01,1.5\n2026-11-02,2\n"
        reading = self.read(text)
        invoice = keep_invoice("main", "a.csv", text.encode(), reading, None)
        self.assertEqual(InvoiceLine.objects.count(), 2)
        with self.assertRaises(AlreadyKept):
            keep_invoice("main", "b.csv", text.encode(), reading, None)
        self.assertEqual(InvoiceLine.objects.count(), 2)
        keep_invoice("other", "a.csv", text.encode(), reading, None)
        Invoice.objects.filter(pk=invoice.pk).update(is_withdrawn=True)
        keep_invoice("main", "a.csv", text.encode(), reading, None)

    def test_nothing_is_half_saved(self) -> None:
        reading = self.read("date,amount\n2026-11-01,1.5\n2026-11-02,x\n")
        self.assertEqual(len(reading.lines), 1)
        with self.assertRaises(ValueError):
            keep_invoice("main", "a.csv", b"", reading, None)
        self.assertEqual((Invoice.objects.count(), InvoiceLine.objects.count()), (0, 0))


class Reconciling(TestCase):
    def setUp(self) -> None:
        self.key = person("dev1")[0]

    def day(self, day: int, cost: str, model: str = "big", currency: str = "CNY", **fields: Any) -> None:
        UsageDaily.objects.create(
            **{
                "date": date(2026, 11, day),
                "key": self.key,
                "user": self.key.user,
                "provider_name": "main",
                "model_name": model,
                "currency": currency,
                "calls": 2,
                "cost": Decimal(cost),
                **fields,
            }
        )

    def invoice(self, text: str, currency: str = "CNY") -> Invoice:
        content = f"date,model,amount\n{text}".encode()
        return keep_invoice("main", "a.csv", content, read_invoice("a.csv", content, currency, TODAY), None)

    def test_days_stand_side_by_side_and_those_of_one_side_are_named(self) -> None:
        self.day(1, "10")
        self.day(2, "5")
        self.day(2, "7", provider_name="other")
        self.invoice("2026-11-01,,11\n2026-11-03,,4\n2026-12-01,,9\n")
        result = reconcile("main", NOVEMBER)
        self.assertEqual([day.date.day for day in result.days], [1, 2, 3])
        first = result.days[0].sides
        self.assertEqual((first.booked, first.invoiced, first.difference), (Decimal(10), Decimal(11), Decimal(1)))
        self.assertEqual(first.percent, Decimal("9.09"))
        self.assertEqual([day.day for day in result.only_booked], [2])
        self.assertEqual([day.day for day in result.only_invoiced], [3])
        self.assertEqual((result.total.booked, result.total.invoiced), (Decimal(15), Decimal(15)))

    def test_models_are_compared_where_the_invoice_names_them(self) -> None:
        self.day(1, "10")
        self.day(1, "2", "small")
        self.day(2, "3")
        self.invoice("2026-11-01,big,10\n2026-11-02,,3\n")
        first, second = reconcile("main", NOVEMBER).days
        self.assertEqual([name for name, _sides in first.models], ["big", "small"])
        self.assertEqual((first.models[1][1].invoiced, second.models), (None, []))

    def test_a_correction_belongs_to_the_day_that_it_corrects(self) -> None:
        self.day(1, "10")
        self.day(20, "8")  # with the corrections that were booked on it
        for corrects, cost in ((date(2026, 11, 1), "-2"), (date(2026, 10, 5), "3")):
            Correction.objects.create(
                key=self.key,
                user=self.key.user,
                provider_name="main",
                model_name="big",
                cost=Decimal(cost),
                currency="CNY",
                reason="x",
                corrects_on=corrects,
                booked_on=date(2026, 11, 20),
            )
        first, second = reconcile("main", NOVEMBER).days
        self.assertEqual((first.sides.usage, first.sides.corrections), (Decimal(10), Decimal(-2)))
        self.assertEqual(second.sides.booked, Decimal(7))

    def test_amounts_in_another_currency_are_converted_and_that_is_said(self) -> None:
        ExchangeRate.objects.create(
            from_currency="USD", to_currency="CNY", rate=Decimal(7), valid_from=date(2026, 1, 1)
        )
        self.day(1, "2", currency="USD")
        self.day(1, "2", currency="EUR", model="small")
        self.invoice("2026-11-01,,14\n")
        result = reconcile("main", NOVEMBER)
        self.assertEqual((result.currency, result.converted, result.missing_rates), ("CNY", {"USD"}, {"EUR"}))
        self.assertEqual(result.total.difference, 0)

    def test_withdrawn_invoices_count_no_more(self) -> None:
        invoice = self.invoice("2026-11-01,,14\n")
        Invoice.objects.filter(pk=invoice.pk).update(is_withdrawn=True)
        self.assertEqual(reconcile("main", NOVEMBER).days, [])

    def test_a_percentage_of_nothing_is_none(self) -> None:
        self.assertIsNone(Sides(usage=Decimal(1)).percent)
