"""Invoice files of the providers: read as a whole or not at all, kept once."""

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal

from django.db import IntegrityError, transaction
from django.utils.translation import gettext as _

from accounts.invoice_values import amount_of, currency_of, day_of, decimal_mark
from accounts.models import Invoice, InvoiceLine, User
from accounts.tables import TableError, Value, first_rows, header_name, read_table, text_of

# A header may stand below a title and a few words.
_HEADER_WITHIN = 20
_MAX_TOKENS = 2**63 - 1
# Titles of columns as `header_name` compares them, in English and Chinese.
_TITLES: dict[str, str] = {
    "date": "date day usagedate billingdate billdate chargedate 日期 账单日期 消费日期 使用日期 用量日期 计费日期",
    "model": "model modelname modelid 模型 模型名称 模型id 模型名",
    "amount": (
        "amount cost charge fee total totalcost totalamount billedcost price 金额 费用 总金额 总费用 消费金额 应付金额 "
        "实付金额 账单金额"
    ),
    "currency": "currency billingcurrency currencycode 币种 货币 货币单位",
    "tokens": "tokens totaltokens tokencount usage quantity token数 tokens数 总token数 用量 使用量",
}
_COLUMNS = {title: column for column, titles in _TITLES.items() for title in titles.split(" ")}
_SUM_OF_ALL = ("total", "sum", "grandtotal", "合计", "总计", "共计")
_SUM_OF_SOME = ("subtotal", "小计")


@dataclass(frozen=True, slots=True)
class Line:
    """What a line of the file charges; `number` is its line there."""

    number: int
    date: date
    model_name: str
    amount: Decimal
    tokens: int | None


@dataclass(slots=True)
class Reading:
    """What a file holds. With any problem nothing of it may be kept."""

    currency: str
    encoding: str = ""
    lines: list[Line] = field(default_factory=list)
    problems: list[tuple[int | None, str]] = field(default_factory=list)  # line of the file, text
    sums_left_out: int = 0

    @property
    def total(self) -> Decimal:
        """The sum of all lines."""
        return sum((line.amount for line in self.lines), Decimal(0))


class AlreadyKept(Exception):
    """The same file of the same provider was uploaded before; it would count twice."""


def read_invoice(name: str, content: bytes, currency: str, today: date) -> Reading:
    """Return what the file `name` charges in `currency`; every problem of it is in the answer, none is raised.

    A line that sums up others is left out, if it is their sum. Days after `today` are refused.
    """
    reading = Reading(currency)
    try:
        table = read_table(name, content)
    except TableError as error:
        reading.problems.append((None, str(error)))
        return reading
    reading.encoding = table.encoding
    for position, (line, titles) in enumerate(first_rows(table, _HEADER_WITHIN)):
        columns = _columns(titles)
        if "date" in columns and "amount" in columns:
            reading.problems += [(line, problem) for problem in _problems_of(columns, titles, currency)]
            if not reading.problems:
                _read_lines(reading, table.rows[position + 1 :], {name: at[0] for name, at in columns.items()}, today)
            break
    else:
        text = _("There is no line with the titles of the columns: a date and an amount are needed.")
        reading.problems.append((None, text))
    if not reading.problems and not reading.lines:
        reading.problems.append((None, _("The file charges nothing.")))
    return reading


def _columns(titles: Sequence[Value]) -> dict[str, list[int]]:
    columns: dict[str, list[int]] = {}
    for position, title in enumerate(titles):
        name = re.sub(r"\([^)]*\)", "", header_name(title))
        if column := _COLUMNS.get(name):
            columns.setdefault(column, []).append(position)
    return columns


def _problems_of(columns: dict[str, list[int]], titles: Sequence[Value], currency: str) -> list[str]:
    problems = [
        _("Two columns may be meant: “%(first)s” and “%(second)s”. Leave one of them.")
        % {"first": text_of(titles[at[0]]), "second": text_of(titles[at[1]])}
        for at in columns.values()
        if len(at) > 1
    ]
    # As in "Amount (USD)".
    named = re.search(r"\(([a-z]{3}|元|美元|人民币)\)", header_name(titles[columns["amount"][0]]))
    if named and (code := currency_of(named[1])) != currency:
        problems.append(_("The amounts are in %(other)s, not in %(currency)s.") % {"other": code, "currency": currency})
    return problems


def _read_lines(
    reading: Reading, rows: list[tuple[int, tuple[Value, ...]]], columns: dict[str, int], today: date
) -> None:
    def cell(row: tuple[Value, ...], column: str) -> Value:
        position = columns.get(column, len(row))
        return row[position] if position < len(row) else ""

    mark = decimal_mark(cell(row, "amount") for _number, row in rows)
    for number, row in rows:
        kind = header_name(next(value for value in row if value != ""))
        try:
            if kind in (*_SUM_OF_SOME, *_SUM_OF_ALL):
                amount = amount_of(cell(row, "amount"), mark, reading.currency)
                if kind in _SUM_OF_ALL and amount != reading.total:
                    values = {"stated": f"{amount.normalize():f}", "sum": f"{reading.total.normalize():f}"}
                    raise ValueError(_("The file says %(stated)s in all, but its lines add up to %(sum)s.") % values)
                reading.sums_left_out += 1
                continue
            currency = currency_of(text_of(cell(row, "currency")))
            if currency and currency != reading.currency:
                values = {"other": currency, "currency": reading.currency}
                raise ValueError(_("The amount is in %(other)s, not in %(currency)s.") % values)
            reading.lines.append(
                Line(
                    number,
                    day_of(cell(row, "date"), today),
                    _model(text_of(cell(row, "model"))),
                    amount_of(cell(row, "amount"), mark, reading.currency),
                    _tokens(cell(row, "tokens")),
                )
            )
        except ValueError as error:
            reading.problems.append((number, str(error)))


def _model(text: str) -> str:
    if len(text) > 200:
        raise ValueError(_("The name of the model is longer than 200 characters."))
    return text


def _tokens(value: Value) -> int | None:
    text = text_of(value).replace(",", "").replace(" ", "")
    if not text:
        return None
    if not re.fullmatch(r"-?[0-9]{1,19}", text) or abs(int(text)) > _MAX_TOKENS:
        raise ValueError(_("“%(text)s” is no number of tokens.") % {"text": text[:40]})
    return int(text)


def keep_invoice(
    provider_name: str, file_name: str, content: bytes, reading: Reading, user: User | None, note: str = ""
) -> Invoice:
    """Keep all lines of `reading`, in one transaction.

    Raises `AlreadyKept` when the same content is there for this provider and was not withdrawn, `ValueError` when the
    reading has problems.
    """
    if reading.problems:
        raise ValueError("a file with problems is not kept")
    try:
        with transaction.atomic():
            invoice = Invoice.objects.create(
                provider_name=provider_name,
                currency=reading.currency,
                file_name=file_name[:200],
                sha256=hashlib.sha256(content).hexdigest(),
                note=note,
                uploaded_by=user,
            )
            InvoiceLine.objects.bulk_create(
                (
                    InvoiceLine(
                        invoice=invoice,
                        date=line.date,
                        model_name=line.model_name,
                        amount=line.amount,
                        tokens=line.tokens,
                    )
                    for line in reading.lines
                ),
                batch_size=500,
            )
    except IntegrityError as error:
        raise AlreadyKept from error
    return invoice
