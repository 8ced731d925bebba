"""Lists of people as table calculations save them, and files that are none."""

import io
import pyexpat
import zipfile
from datetime import date
from typing import Any

import pytest
from django.core.exceptions import ValidationError
from openpyxl import Workbook

from accounts import people_files
from accounts.people_files import read

CSV = "用户名,姓名\r\nlilei,李雷\r\n"


def cells(data: bytes) -> list[list[str]]:
    table = read(data)
    return [line.cells for line in [table.head, *table.lines]]


def workbook(*rows: list[Any], merge: str = "", formats: dict[str, str] | None = None) -> bytes:
    book = Workbook()
    sheet = book.active
    for row in rows:
        sheet.append(row)
    if merge:
        sheet.merge_cells(merge)
    for cell, number_format in (formats or {}).items():
        sheet[cell].number_format = number_format
    target = io.BytesIO()
    book.save(target)
    return target.getvalue()


def fault(data: bytes) -> str:
    with pytest.raises(ValidationError) as raised:
        read(data)
    return raised.value.messages[0]


@pytest.mark.parametrize(
    ("encoding", "named"),
    [("utf-8", "UTF-8"), ("utf-8-sig", "UTF-8"), ("utf-16", "UTF-16"), ("gbk", "GB18030"), ("gb18030", "GB18030")],
)
def test_the_encoding_is_found_and_named(encoding: str, named: str) -> None:
    assert cells(CSV.encode(encoding)) == [["用户名", "姓名"], ["lilei", "李雷"]]
    assert read(CSV.encode(encoding)).form == f"CSV in {named}, separated by “,”"


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "，"])
def test_the_separator_is_found(delimiter: str) -> None:
    assert cells(CSV.replace(",", delimiter).encode()) == [["用户名", "姓名"], ["lilei", "李雷"]]


def test_a_line_that_names_the_separator_is_no_row() -> None:
    assert cells(b"sep=;\nusername;team\na;b, c\n") == [["username", "team"], ["a", "b, c"]]


def test_rows_are_numbered_as_in_the_file_and_empty_ones_left_out() -> None:
    table = read(b'\n\nusername,name\n\n,,\na,"two\nlines"\n  ,\nb,x\n,,\n\n')
    assert [(line.number, line.cells) for line in table.lines] == [(6, ["a", "two\nlines"]), (9, ["b", "x"])]


def test_spaces_around_and_of_other_kinds_are_spaces() -> None:
    assert cells("username,name\n a\u3000, Ada\xa0L \n".encode()) == [["username", "name"], ["a", "Ada L"]]


def test_a_formula_is_named_at_its_cell() -> None:
    [line] = read(b"username,team\na,=1+1\n").lines
    assert line.faults == {1: "is a formula; enter its value"}


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "The file is empty."),
        (b" \r\n\r\n", "The file is empty."),
        (b"\xef\xbb\xbf", "The file is empty."),
        (b",,\n,,\n", "The file is empty."),
        (b"username,name\n", "The file has a head, but no row below it."),
        (b"username\na" + b"a" * people_files.MAX_BYTES, "The file has more than 5 MB."),
        (b"username\n" + b"a\n" * 10_001, "The file has more than 10000 rows. Split it."),
        (b"username\n" + b"\n" * 100_001 + b"a", "The file has more than 10000 rows. Split it."),
        (b"%PDF-1.7 \xe2\xe3\xcf\xd3", "This is neither a CSV file nor an Excel workbook."),
        (b"\x89PNG\r\n\x1a\n\x00", "This is neither a CSV file nor an Excel workbook."),
        ("username\na".encode("utf-16-le"), "This is neither a CSV file nor an Excel workbook."),
        (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "This is an old Excel file (.xls), or one with a password."),
        (b"PK\x03\x04garbage", "This Excel workbook cannot be read."),
        (b"username\nok\n\xff\xff\xff\n", "Line 3 is text neither in UTF-8 nor in GB18030."),
        (b"\xff\xfeu\x00\n", "Line 1 is text neither in UTF-8 nor in GB18030."),
        (b'username,name\na,"x" y\n', "Line 2 cannot be read: "),
        (b'username,name\na,"never closed\n', "Line 2 cannot be read: "),
        (b"username\n" + b"," * 60 + b"x\n", "Row 2 has more than 50 cells."),
        (b"username\n" + b"a" * 200_000, "Line 2 cannot be read: field larger than field limit"),
    ],
)
def test_what_is_no_list_says_why(data: bytes, message: str) -> None:
    assert fault(data).startswith(message)


def test_a_workbook_is_read_as_a_person_sees_it() -> None:
    data = workbook(
        ["username", "name", "active"],
        [1001.0, "李雷", True],
        [7, " Ada ", None],
        [None, None, None],
        ["x", 1.5, False],
        formats={"A3": "0000"},
    )
    assert read(data).form == "Excel workbook"
    assert cells(data) == [
        ["username", "name", "active"],
        ["1001", "李雷", "true"],
        ["0007", "Ada"],
        ["x", "1.5", "false"],
    ]
    assert [line.number for line in read(data).lines] == [2, 3, 5]


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("=A1", "is a formula; enter its value"),
        (date(2026, 3, 1), "was made a date by Excel"),
        (123456789012345678, "is a number that Excel has rounded"),
        ("#N/A", "holds the error #N/A"),
    ],
)
def test_what_excel_made_of_a_text_is_named_at_its_cell(value: Any, message: str) -> None:
    [line] = read(workbook(["username", "team"], ["a", value])).lines
    assert line.faults[1].startswith(message)


def test_merged_cells_are_named() -> None:
    assert "A2:A3 are merged" in fault(workbook(["username"], ["a"], [None], merge="A2:A3"))


def test_a_workbook_that_unpacks_to_a_lot_is_not_unpacked() -> None:
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("[Content_Types].xml", "x")
        archive.writestr("xl/worksheets/sheet1.xml", b"0" * (people_files.MAX_UNPACKED_BYTES + 1))
    assert len(target.getvalue()) < people_files.MAX_BYTES
    assert fault(target.getvalue()) == "Unpacked, the workbook has more than 50 MB."


def test_a_text_that_many_cells_share_is_counted_in_each() -> None:
    data = workbook(["username", *["x"] * 20], *[["a", *["x" * 30_000] * 20] for _number in range(30)])
    assert len(data) < 100_000
    assert fault(data) == "The file has more than 10 MB."


def test_another_zip_file_is_no_workbook() -> None:
    for names in (["a.txt"], ["[Content_Types].xml"], ["[Content_Types].xml", "xl/workbook.xml"]):
        target = io.BytesIO()
        with zipfile.ZipFile(target, "w") as archive:
            for name in names:
                archive.writestr(name, "x")
        assert "workbook" in fault(target.getvalue()).lower()


def test_every_cut_of_a_workbook_is_refused_with_words() -> None:
    data = workbook(["username"], ["a"])
    for length in range(4, len(data) - 1, 97):
        assert fault(data[:length])


def test_the_parser_refuses_entities_that_grow() -> None:
    # Of this version on. accounts/tables.py relies on it.
    assert pyexpat.version_info >= (2, 4, 1)
