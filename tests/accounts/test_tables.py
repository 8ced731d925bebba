"""Tables that people upload: every usual encoding is read, and nothing is guessed."""

import io
import zipfile
from datetime import datetime
from decimal import Decimal
from unittest import TestCase

from openpyxl import Workbook

from accounts import tables
from accounts.tables import TableError, read_table, text_of

TEXT = "日期,模型,金额\r\n2026-11-01,通义千问,1.5\r\n"
ROWS = [(1, ("日期", "模型", "金额")), (2, ("2026-11-01", "通义千问", "1.5"))]


def workbook(*rows: tuple[object, ...]) -> bytes:
    """Return an .xlsx file with the rows."""
    book, content = Workbook(), io.BytesIO()
    for row in rows:
        book.active.append(row)  # type: ignore[union-attr]
    book.save(content)
    return content.getvalue()


class Separated(TestCase):
    def refused(self, content: bytes, name: str = "table.csv") -> TableError:
        with self.assertRaises(TableError) as caught:
            read_table(name, content)
        return caught.exception

    def test_every_usual_encoding_is_read(self) -> None:
        for encoding, found in (
            ("utf-8", "utf-8"),
            ("utf-8-sig", "utf-8"),
            ("utf-16", "utf-16-le"),
            ("gbk", "gb18030"),
            ("gb2312", "gb18030"),
            ("gb18030", "gb18030"),
        ):
            with self.subTest(encoding=encoding):
                table = read_table("table.csv", TEXT.encode(encoding))
                self.assertEqual((table.rows, table.encoding), (ROWS, found))
        self.assertEqual(read_table("t.csv", b"\xfe\xff" + TEXT.encode("utf-16-be")).rows, ROWS)
        self.assertEqual(read_table("t.csv", b"name\r\nx\x00".replace(b"\x00", b"")).rows[1], (2, ("x",)))

    def test_a_western_code_page_is_refused_instead_of_read_as_chinese(self) -> None:
        self.assertIn("encoding", str(self.refused("name,team\r\nJürgen Müller,Küche\r\n".encode("cp1252"))))

    def test_bytes_of_no_encoding_are_refused_with_their_line(self) -> None:
        self.assertEqual(self.refused(b"date,amount\r\n2026-11-01,\xff\xff\xff\r\n").line, 2)

    def test_what_stands_between_cells_is_found(self) -> None:
        for content in (b"a;b\n1,5;2\n", b"a\tb\n1,5\t2\n", b'a,b\n"1,5",2\n', b"sep=;\r\na;b\r\n1,5;2\r\n"):
            with self.subTest(content=content):
                self.assertEqual([row for _line, row in read_table("t.csv", content).rows], [("a", "b"), ("1,5", "2")])

    def test_lines_keep_their_numbers_across_empty_and_broken_cells(self) -> None:
        rows = read_table("t.csv", b'a,b\n\n"two\nlines",2\n,,\nlast,3\n').rows
        self.assertEqual([line for line, _row in rows], [1, 3, 6])

    def test_a_quote_that_never_ends_is_refused_with_its_line(self) -> None:
        self.assertEqual(self.refused(b'a,b\n1,"2\n3,4\n').line, 2)

    def test_what_is_no_table_is_refused(self) -> None:
        self.refused(b"")
        self.refused(b" \r\n ")
        self.refused(b"PK\x03\x04rest", "table.xlsx")
        self.refused(b"a,b\n1,2\n", "table.xlsx")
        self.assertIn(".xls", str(self.refused(b"\xd0\xcf\x11\xe0\xa1\xb1")))
        self.refused(b"a\n" + b"x" * tables.MAX_BYTES)
        self.refused(b"a\n" * (tables.MAX_ROWS + 2))
        self.refused(b"," * 200 + b"x\n")
        self.refused(b"a,b\n1,\x00" + b"x" * 300)


class Sheets(TestCase):
    def test_cells_keep_their_types(self) -> None:
        day = datetime(2026, 11, 1)
        rows = read_table(
            "t.xlsx", workbook(("date", "n", "x"), (day, 3, 0.1), (None, None, None), (" a ", True, -2.5))
        )
        self.assertEqual(
            rows.rows,
            [(1, ("date", "n", "x")), (2, (day, 3, Decimal("0.1"))), (4, ("a", "TRUE", Decimal("-2.5")))],
        )
        self.assertEqual([text_of(value) for value in rows.rows[1][1]], ["2026-11-01", "3", "0.1"])

    def test_an_archive_that_is_no_workbook_is_refused(self) -> None:
        content = io.BytesIO()
        with zipfile.ZipFile(content, "w") as archive:
            archive.writestr("readme.txt", "hello")
        with self.assertRaises(TableError):
            read_table("t.xlsx", content.getvalue())
