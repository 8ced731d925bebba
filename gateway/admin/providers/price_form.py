"""The form of a price: what depends on the size of the input is entered as a line per tier."""

import json
import re
from typing import TYPE_CHECKING, Any

from django import forms
from django.core.exceptions import ValidationError
from django.utils.text import capfirst
from django.utils.translation import gettext_lazy as _

from gateway.admin.line_fields import LinesField
from providers.models import Price
from providers.price_rows import TIER_PRICES

if TYPE_CHECKING:
    _ModelForm = forms.ModelForm[Price]
else:
    _ModelForm = forms.ModelForm

_TIER = re.compile(r"(?P<above>[\d,_ ]+)[:：](?P<prices>.+)")


class TiersField(LinesField):
    """Prices by the size of the input, such as `32000: 6.1 / 24`; a JSON list, as files have it, is one too."""

    def to_python(self, value: Any) -> Any:
        """Return the tiers as the model has them; it checks their figures. Raises `ValidationError` for other lines."""
        text = str(value or "").strip()
        if text.startswith(("[", "{")):
            try:
                return json.loads(text, parse_float=str)  # no figure becomes a float
            except ValueError:
                raise ValidationError(_("Enter a valid JSON list, or a line for each tier.")) from None
        return [_tier(number, line) for number, line in enumerate(self.split(text), 1)]

    def validate(self, value: Any) -> None:
        """Leave the check to the model."""


def _tier(number: int, line: str) -> dict[str, Any]:
    found = _TIER.fullmatch(line)
    prices = [] if found is None else [price.strip() for price in found["prices"].split("/")]
    if found is None or not 2 <= len(prices) <= len(TIER_PRICES):
        text = _("Line %(number)d: enter the size and the prices as in this example: 32000: 6.1 / 24")
        raise ValidationError(text, params={"number": number})
    above = int("0" + re.sub(r"\D", "", found["above"])[:18])
    # A price that is left out between two strokes is as the model says of an empty one.
    return {"above": above} | {name: price for name, price in zip(TIER_PRICES, prices, strict=False) if price}


class PriceForm(_ModelForm):
    """A new price."""

    tiers = TiersField(
        label=capfirst(_("tiers")),
        help_text=_(
            "Prices of a whole call whose input exceeds a size, one tier per line: size: input / output / cache read /"
            " cache write / cache write for 1 hour. The last three may be left out. Example: 32000: 6.1 / 24"
        ),
    )

    def clean_currency(self) -> str:
        """Return the code in capital letters."""
        return str(self.cleaned_data["currency"]).upper()
