"""Days and amounts as invoices write them. What could mean two things is refused, never guessed."""

import re
import unicodedata
from collections.abc import Iterable
from datetime import date, datetime, timedelta
from decimal import Decimal, InvalidOperation

from django.utils.translation import gettext as _

from accounts.money import PLACES
from accounts.tables import Value, text_of

# More than the column of an amount holds.
MAX_AMOUNT = Decimal(900_000_000)
_QUANTUM = Decimal(1).scaleb(-PLACES)
_FIRST_DAY = date(2000, 1, 1)
_DAY = re.compile(
    r"(?P<year>\d{4})(?:-(?P<m1>\d{1,2})-(?P<d1>\d{1,2})|/(?P<m2>\d{1,2})/(?P<d2>\d{1,2})"
    r"|\.(?P<m3>\d{1,2})\.(?P<d3>\d{1,2})|(?P<m4>\d{2})(?P<d4>\d{2})|年(?P<m5>\d{1,2})月(?P<d5>\d{1,2})日)"
    r"(?:[T ]\d{1,2}:\d{2}(?::\d{2}(?:\.\d+)?)?(?:Z|[+-]\d{2}:?\d{2})?)?\Z"
)
# How currencies are written beside an amount. ¥ is the yen's sign too, so it names none.
_SIGNS = {"$": "USD", "us$": "USD", "€": "EUR", "£": "GBP", "元": "CNY", "人民币": "CNY", "rmb": "CNY", "美元": "USD"}
_NUMBER = re.compile(r"(?P<before>[^\d.,(+-]*)(?P<number>\(?[+-]?[\d.,' ]*\d(?:[eE][+-]?\d+)?-?\)?)(?P<after>\D*)\Z")


def day_of(value: Value, today: date) -> date:
    """Return the day that a cell holds. Raises `ValueError` with a text for the reader."""
    if isinstance(value, datetime):
        day = value.date()
    elif isinstance(value, date):
        day = value
    elif isinstance(value, int | Decimal) and 30_000 < value < 80_000:
        # A day of Excel in a cell that was not formatted as one.
        day = date(1899, 12, 30) + timedelta(days=int(value))
    else:
        day = _written_day(str(value))
    if day < _FIRST_DAY:
        raise ValueError(_("The day is before 2000."))
    if day > today:
        raise ValueError(_("The day is in the future."))
    return day


def _written_day(text: str) -> date:
    if not text:
        raise ValueError(_("The day is missing."))
    match = _DAY.match(unicodedata.normalize("NFKC", text).strip())
    if match is None:
        raise ValueError(_("“%(text)s” is no day like 2026-11-01.") % {"text": text[:40]})
    month, day = (next(match[f"{part}{form}"] for form in range(1, 6) if match[f"{part}{form}"]) for part in "md")
    try:
        return date(int(match["year"]), int(month), int(day))
    except ValueError:
        raise ValueError(_("There is no day “%(text)s”.") % {"text": text[:40]}) from None


def currency_of(text: str) -> str:
    """Return the code of the currency that `text` names, "" for none. Raises `ValueError` for one that is unknown."""
    name = unicodedata.normalize("NFKC", text).strip().casefold()
    if name in ("", "¥"):
        return ""
    if name in _SIGNS:
        return _SIGNS[name]
    if re.fullmatch(r"[a-z]{3}", name):
        return name.upper()
    raise ValueError(_("“%(text)s” is no currency.") % {"text": text[:20]})


def decimal_mark(values: Iterable[Value]) -> str:
    """Return "." or "," when amounts of a file show which of them is the decimal mark, else ""."""
    marks = {mark for value in values if isinstance(value, str) for mark in _shown(value)}
    return marks.pop() if len(marks) == 1 else ""


def _shown(text: str) -> Iterable[str]:
    digits = re.sub(r"[^\d.,]", "", unicodedata.normalize("NFKC", text))
    for mark, other in ((".", ","), (",", ".")):
        whole, found, decimals = digits.rpartition(mark)
        groups = digits.count(other)
        if (found and mark not in whole and other not in decimals and (other in whole or len(decimals) != 3)) or (
            groups > 1 and mark not in digits
        ):
            yield mark


def amount_of(value: Value, mark: str, currency: str) -> Decimal:
    """Return the amount that a cell holds, in `currency`, to ten places; a credit is below zero.

    `mark` is what `decimal_mark` found. Raises `ValueError` with a text for the reader.
    """
    if isinstance(value, int | Decimal):
        amount = Decimal(value)
    else:
        amount = _written_amount(text_of(value), mark, currency)
    if abs(amount) >= MAX_AMOUNT:
        raise ValueError(_("The amount is too large."))
    return amount.quantize(_QUANTUM)


def _written_amount(text: str, mark: str, currency: str) -> Decimal:
    if not text:
        raise ValueError(_("The amount is missing."))
    wrong = ValueError(_("“%(text)s” is no amount.") % {"text": text[:40]})
    # Minus signs as typesetters and East Asian input methods write them; no-break spaces become spaces.
    clean = unicodedata.normalize("NFKC", text).replace("\u2212", "-").replace("\u2019", "'").strip()
    signs = clean[:1] if clean[:1] in ("-", "+") else ""
    clean = clean[len(signs) :].strip()
    match = _NUMBER.match(clean)
    if match is None:
        raise wrong
    named = {code for code in (currency_of(match["before"]), currency_of(match["after"])) if code}
    if named - {currency}:
        raise ValueError(_("The amount is in %(other)s, not in %(currency)s.") % _pair(named.pop(), currency))
    number = match["number"].replace(" ", "'")
    if number.startswith("(") != number.endswith(")"):
        raise wrong
    # Below zero are -5, (5) and 5-; two signs at once say nothing.
    body = number.strip("()")
    signs += ("-" if body != number else "") + "".join(mark for mark in (body[:1], body[-1:]) if mark in ("-", "+"))
    if len(signs) > 1:
        raise wrong
    sign, number = -1 if signs == "-" else 1, body.strip("+-")
    try:
        return sign * Decimal(_plain(number, mark, text))
    except InvalidOperation:
        raise wrong from None


def _pair(other: str, currency: str) -> dict[str, str]:
    return {"other": other, "currency": currency}


def _plain(number: str, mark: str, text: str) -> str:
    """Return `number` without separators of thousands, with a point as its decimal mark."""
    for decimal, group in ((".", ","), (",", ".")):
        grouped = re.fullmatch(rf"\d{{1,3}}(?:[{group}']\d{{3}})+(?:[{decimal}](\d+))?", number)
        if grouped and (grouped[1] or number.count(group) > 1 or "'" in number):
            return re.sub(rf"[{group}']", "", number).replace(decimal, ".")
    if re.fullmatch(r"\d{1,3},\d{3}", number) and not mark:
        example = number.replace(",", "")
        raise ValueError(
            _("“%(text)s” may be %(whole)s or %(fraction)s. Write it without a comma.")
            % {"text": text[:40], "whole": example, "fraction": number.replace(",", ".")}
        )
    if mark == "," or (mark == "" and "," in number and "." not in number):
        # With a decimal comma, 1.234 is more than a thousand.
        if re.fullmatch(r"\d{1,3}\.\d{3}", number):
            return number.replace(".", "")
        return number.replace(",", ".", 1)
    if re.fullmatch(r"\d{1,3},\d{3}", number):
        return number.replace(",", "")
    if "," in number or "'" in number:
        raise ValueError(_("“%(text)s” is no amount.") % {"text": text[:40]})
    return number
