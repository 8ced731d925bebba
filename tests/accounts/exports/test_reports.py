"""Reports as files: typed cells, sums by formula, and what was asked beside them."""

import csv
import io
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

from django.test import SimpleTestCase, TestCase
from django.utils import translation
from openpyxl import load_workbook

from accounts.exports import sheets
from accounts.exports.reports import report_csv, report_xlsx
from accounts.exports.sheets import Book, SheetColumn, TooManyRows
from accounts.models import ExchangeRate, Team, UsageDaily
from accounts.reports import Period, Query, Report, run
from tests.accounts.books import person

NOVEMBER = Period(date(2026, 11, 1), date(2026, 11, 30))
NOW = datetime(2026, 12, 2, tzinfo=UTC)


class Reports(TestCase):
    @classmethod
    def setUpTestData(cls) -> None:
        cls.team = Team.objects.create(name="=evil()")
        key = person("dev1", cls.team)[0]
        for day, cost, currency in ((1, "1.25", "USD"), (2, "7", "CNY"), (2, "3", "EUR")):
            UsageDaily.objects.create(
                date=date(2026, 11, day),
                key=key,
                user=key.user,
                team=cls.team,
                provider_name="main",
                model_name="big",
                currency=currency,
                calls=2,
                input_tokens=1000,
                cost=Decimal(cost),
                uncached_cost=Decimal(cost),
            )
        for valid_from, rate in ((date(2026, 1, 1), 5), (date(2026, 6, 1), 6), (date(2026, 11, 2), 7)):
            ExchangeRate.objects.create(from_currency="USD", to_currency="CNY", rate=rate, valid_from=valid_from)

    def report(self, *by: str, **filters: Any) -> Report:
        return run(Query(NOVEMBER, by, filters))

    def book(self, report: Report, language: str = "en") -> Any:
        with translation.override(language):
            return load_workbook(io.BytesIO(report_xlsx(report, NOW, "root")))

    def test_cells_are_what_they_are_and_names_are_no_formulas(self) -> None:
        sheet = self.book(self.report("day", "team")).worksheets[0]
        titles = [cell.value for cell in sheet[1]]
        first = dict(zip(titles, sheet[2], strict=True))
        self.assertEqual(first["Day"].value, datetime(2026, 11, 1))
        self.assertEqual((first["Team"].value, first["Team"].data_type), ("=evil()", "s"))
        self.assertEqual((first["Calls"].value, first["Calls"].number_format), (2, "#,##0"))
        self.assertEqual(first["Cost in USD"].value, 1.25)
        self.assertIn("0.00", first["Cost (USD)"].number_format)

    def test_the_header_stays_in_sight_and_the_last_row_adds_up_what_is_shown(self) -> None:
        sheet = self.book(self.report("day", "team")).worksheets[0]
        self.assertEqual(sheet.freeze_panes, "A2")
        last = sheet.max_row
        self.assertEqual(sheet.auto_filter.ref, f"A1:{sheet.cell(1, sheet.max_column).column_letter}{last - 1}")
        calls = [cell.value for cell in sheet[1]].index("Calls")
        letter = sheet.cell(1, calls + 1).column_letter
        self.assertEqual(sheet[last][calls].value, f"=SUBTOTAL(109,{letter}2:{letter}{last - 1})")
        self.assertEqual(sheet[last][0].value, "Total")

    def test_the_second_sheet_says_what_was_asked_and_what_the_numbers_rest_on(self) -> None:
        words = [tuple(row) for row in self.book(self.report("day", team=self.team.pk)).worksheets[1].values]
        said = [f"{name}: {value}" for name, value in words]
        self.assertIn("Period: 2026-11-01 – 2026-11-30", said)
        self.assertIn("Only: team: =evil()", said)
        self.assertIn("Time zone: UTC", said)
        # Those in force in these days, not the one before.
        rates = [line for line in said if line.startswith("Exchange rate")]
        self.assertEqual([line[-10:] for line in rates], ["2026-06-01", "2026-11-02"])
        self.assertTrue(any("EUR" in line for line in said if line.startswith("Note")))

    def test_names_are_in_the_language_of_the_reader(self) -> None:
        sheet = self.book(self.report("team"), "zh-hans").worksheets[0]
        self.assertEqual(sheet.cell(1, 1).value, "团队")

    def test_the_lines_of_the_csv_add_up_to_its_last(self) -> None:
        content = b"".join(report_csv(self.report("day", "team"))).decode("utf-8-sig")
        titles, *lines, total = csv.reader(io.StringIO(content))
        self.assertEqual(lines[0][:2], ["2026-11-01", "'=evil()"])
        for position, title in enumerate(titles[2:], 2):
            with self.subTest(title=title):
                self.assertEqual(sum(Decimal(line[position]) for line in lines), Decimal(total[position]))

    def test_a_report_of_one_sum_has_a_row(self) -> None:
        sheet = self.book(self.report()).worksheets[0]
        self.assertEqual(sheet.cell(2, 1).value, "All")


class Sheets(SimpleTestCase):
    def test_more_rows_than_a_sheet_holds_are_refused(self) -> None:
        self.addCleanup(setattr, sheets, "EXCEL_ROWS", sheets.EXCEL_ROWS)
        sheets.EXCEL_ROWS = 5
        with Book() as book:
            self.assertEqual(book.add("x", [SheetColumn("a")], [["1"]] * 3), 3)
        with Book() as book, self.assertRaises(TooManyRows):
            book.add("x", [SheetColumn("a")], [["1"]] * 4)

    def test_characters_that_no_workbook_holds_are_left_out(self) -> None:
        file = io.BytesIO()
        with Book() as book:
            book.add("a/b:c", [SheetColumn("a")], [["x\x07y"]])
            book.save(file)
        sheet = load_workbook(file).worksheets[0]
        self.assertEqual((sheet.title, sheet["A2"].value), ("a b c", "xy"))
