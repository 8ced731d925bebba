"""Exact money in the database: a Decimal in Python, an integer of ten-billionths in the column.

SQLite keeps decimals as floating point, so sums made in SQL would drift there; integers add up exactly on every
database, and the ledger adds in SQL.
"""

from decimal import ROUND_HALF_EVEN, Decimal
from typing import TYPE_CHECKING, Any

from django.core.exceptions import ValidationError
from django.db import models
from django.utils.translation import gettext_lazy as _

PLACES = 10
_SCALE = 10**PLACES
_QUANTUM = Decimal(1).scaleb(-PLACES)


def to_units(amount: Decimal) -> int:
    """Return `amount` as an integer of ten-billionths, rounded half to even."""
    return int((amount * _SCALE).to_integral_value(ROUND_HALF_EVEN))


def from_units(units: Any) -> Decimal:
    """Return the amount behind a column value."""
    return Decimal(int(units)).scaleb(-PLACES)


if TYPE_CHECKING:
    _Field = models.Field[Any, Any]
else:
    _Field = models.Field


class MoneyField(_Field):
    """An amount with ten decimal places. The currency stands in a column beside it."""

    description = _("Amount of money")

    def get_internal_type(self) -> str:
        return "BigIntegerField"

    def from_db_value(self, value: Any, _expression: Any, _connection: Any) -> Decimal | None:
        return None if value is None else from_units(value)

    def to_python(self, value: Any) -> Decimal | None:
        if value is None or isinstance(value, Decimal):
            return value
        try:
            return Decimal(str(value)).quantize(_QUANTUM)
        except ArithmeticError as error:
            raise ValidationError(_("Enter a number."), code="invalid") from error

    def get_prep_value(self, value: Any) -> int | None:
        amount = self.to_python(super().get_prep_value(value))
        return None if amount is None else to_units(amount)
