"""Cells of comma-separated files that a table calculation opens without running them."""

import csv
import io
from collections.abc import Iterable, Sequence
from datetime import date, datetime
from decimal import Decimal

Cell = str | int | Decimal | date | datetime | None

# Without a byte order mark Excel takes UTF-8 for the local code page, in China GBK.
BOM = "\ufeff".encode()
# What makes a cell a formula, also in the full width of East Asian input methods.
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")


def guarded(text: str) -> str:
    """Return `text`, which people chose, so that no table calculation takes it for a formula."""
    return f"'{text}" if text.startswith(_FORMULA) else text


def plain(number: Decimal) -> str:
    """Return all digits of `number`, without an exponent and without trailing zeros."""
    return f"{number.normalize():f}" if number else "0"


def cell_text(value: Cell) -> str:
    """Return what stands in a file for `value`: text guarded, numbers exact, times to the second, nothing for None."""
    if value is None:
        return ""
    if isinstance(value, str):
        return guarded(value)
    if isinstance(value, Decimal):
        return plain(value)
    if isinstance(value, datetime):
        return f"{value:%Y-%m-%d %H:%M:%S}"
    return value.isoformat() if isinstance(value, date) else str(value)


def csv_bytes(rows: Iterable[Sequence[Cell]]) -> bytes:
    """Return `rows` as lines of comma-separated values in UTF-8, without a byte order mark."""
    text = io.StringIO()
    csv.writer(text, lineterminator="\r\n").writerows([cell_text(value) for value in row] for row in rows)
    return text.getvalue().encode()
