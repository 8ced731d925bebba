"""Workbooks of typed cells, written row by row: a long one needs no more memory than a short one."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import IO, Any, Self

from openpyxl import Workbook
from openpyxl.cell import WriteOnlyCell
from openpyxl.cell.cell import ILLEGAL_CHARACTERS_RE
from openpyxl.styles import Alignment, Font, PatternFill
from openpyxl.utils import get_column_letter

from accounts.exports.cells import Cell

# What a sheet of Excel holds, the header and the totals included.
EXCEL_ROWS = 1_048_576
COUNT, MONEY, DAY, MONTH, MOMENT, SHARE, TEXT = (
    "#,##0",
    "#,##0.00########",
    "yyyy-mm-dd",
    "yyyy-mm",
    "yyyy-mm-dd hh:mm:ss",
    "0.0%",
    "@",
)
_WIDTHS = {COUNT: 14, MONEY: 18, DAY: 12, MONTH: 10, MOMENT: 20, SHARE: 10}
_BOLD = Font(bold=True)
_SHADE = PatternFill("solid", fgColor="E4ECF2")
_WRAPPED = Alignment(wrap_text=True, vertical="top")
_FORBIDDEN_IN_NAMES = str.maketrans(dict.fromkeys("[]:*?/\\", " "))


class TooManyRows(ValueError):
    """A sheet has no room for so many rows."""


@dataclass(frozen=True, slots=True)
class Formula:
    """What a table calculation is to work out; nothing of it may be chosen by people."""

    text: str


@dataclass(frozen=True, slots=True)
class SheetColumn:
    """A column: its title, how its numbers are shown, whether the last row adds them up."""

    title: str
    shown_as: str = TEXT
    is_summed: bool = False
    width: int = 0


class Book:
    """A workbook in the making. A context manager: what is not saved leaves no temporary file behind."""

    def __init__(self) -> None:
        self._book: Any = Workbook(write_only=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        for sheet in self._book.worksheets:
            if not sheet.closed:
                sheet.close()
                sheet._writer.cleanup()

    def add(
        self,
        name: str,
        columns: Sequence[SheetColumn],
        rows: Iterable[Sequence[Cell | Formula]],
        total: str = "",
        size: int = 0,
    ) -> int:
        """Add a sheet: a header that stays in sight, the rows, and if `total` names it the row of their sums.

        Returns how many rows there were. `size` is their number if it is known; only then the header has filters.
        Raises `TooManyRows`.
        """
        sheet = self._book.create_sheet(name.translate(_FORBIDDEN_IN_NAMES)[:31])
        sheet.freeze_panes = "A2"
        for position, column in enumerate(columns, 1):
            width = column.width or _WIDTHS.get(column.shown_as, 24)
            sheet.column_dimensions[get_column_letter(position)].width = width
        if size:
            sheet.auto_filter.ref = f"A1:{get_column_letter(len(columns))}{size + 1}"
        sheet.append([self._styled(sheet, column.title, TEXT, is_head=True) for column in columns])
        count = 0
        for row in rows:
            count += 1
            if count + 2 > EXCEL_ROWS:
                raise TooManyRows
            sheet.append([self._cell(sheet, value, column) for value, column in zip(row, columns, strict=True)])
        if total and count:
            sheet.append(self._totals(sheet, columns, total, count))
        return count

    def add_words(self, name: str, rows: Iterable[Sequence[Cell]]) -> None:
        """Add a sheet of names and values, to be read."""
        sheet = self._book.create_sheet(name.translate(_FORBIDDEN_IN_NAMES)[:31])
        sheet.column_dimensions["A"].width, sheet.column_dimensions["B"].width = 28, 60
        for head, *rest in rows:
            cells = [self._styled(sheet, head, TEXT)]
            for value in rest:
                shown_as = MOMENT if isinstance(value, datetime) else DAY if isinstance(value, date) else TEXT
                cell = self._cell(sheet, value, SheetColumn("", shown_as))
                if cell is not None:
                    cell.alignment = _WRAPPED
                cells.append(cell)
            sheet.append(cells)

    def save(self, file: IO[bytes]) -> None:
        """Write the workbook."""
        self._book.save(file)

    def _totals(self, sheet: Any, columns: Sequence[SheetColumn], total: str, count: int) -> list[Any]:
        cells = []
        for position, column in enumerate(columns, 1):
            letter = get_column_letter(position)
            # 109 leaves out what a filter hides.
            value: str | None = f"=SUBTOTAL(109,{letter}2:{letter}{count + 1})" if column.is_summed else None
            cell = self._styled(sheet, total if position == 1 else value, column.shown_as)
            if column.is_summed:
                cell.data_type = "f"
            cells.append(cell)
        return cells

    @staticmethod
    def _styled(sheet: Any, value: Cell, shown_as: str, is_head: bool = False) -> Any:
        known: Any = ILLEGAL_CHARACTERS_RE.sub("", value) if isinstance(value, str) else value
        cell = WriteOnlyCell(sheet, known)
        if isinstance(value, str):
            cell.data_type = "s"
        cell.font, cell.number_format = _BOLD, shown_as
        if is_head:
            cell.fill, cell.alignment = _SHADE, _WRAPPED
        return cell

    @staticmethod
    def _cell(sheet: Any, value: Cell | Formula, column: SheetColumn) -> Any:
        if value is None or value == "":
            return None
        if isinstance(value, Formula):
            cell = WriteOnlyCell(sheet, value.text)
            cell.data_type, cell.number_format = "f", column.shown_as
            return cell
        if isinstance(value, str):
            cell = WriteOnlyCell(sheet, ILLEGAL_CHARACTERS_RE.sub("", value))
            # Else a name that begins with = would be a formula.
            cell.data_type = "s"
            return cell
        # Excel knows no time zones.
        known: Any = value.replace(tzinfo=None) if isinstance(value, datetime) else value
        cell = WriteOnlyCell(sheet, known)
        cell.number_format = column.shown_as if column.shown_as != TEXT else _format_of(value)
        return cell


def _format_of(value: Cell) -> str:
    return "0" if isinstance(value, int) else "General"
