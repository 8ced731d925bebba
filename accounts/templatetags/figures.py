"""Numbers in pages that are printed."""

from decimal import Decimal
from typing import Any

from django import template
from django.utils.translation import gettext

register = template.Library()


@register.filter
def money(amount: Any) -> str:
    """Return an amount for reading: cents, below one unit four decimals or as many as it has; None: no rate."""
    if amount is None:
        return gettext("no rate")
    value = Decimal(amount)
    if not value:
        return "0.00"
    if abs(value) >= 1:
        return f"{value:,.2f}"
    return f"{value:.4f}" if abs(value) >= Decimal("0.0001") else f"{value.normalize():f}"


@register.filter
def signed(amount: Any) -> str:
    """Return a difference with its sign."""
    text = money(amount)
    return f"+{text}" if amount is not None and Decimal(amount) > 0 else text


@register.filter
def grouped(number: Any) -> str:
    """Return a count in groups of three digits."""
    return f"{int(number):,}"
