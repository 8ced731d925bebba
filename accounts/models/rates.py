"""What one currency is worth in another, from a day on."""

from typing import Any

from django.core.exceptions import ValidationError
from django.core.validators import RegexValidator
from django.db import models
from django.db.models import Q
from django.utils.translation import gettext_lazy as _

from providers.row import Row

_currency = RegexValidator(r"^[A-Z]{3}\Z")


class ExchangeRate(Row):
    """How much of `to_currency` one unit of `from_currency` is worth. Dated and appended, so a report never moves."""

    from_currency = models.CharField(_("from"), max_length=3, validators=[_currency])
    to_currency = models.CharField(_("to"), max_length=3, validators=[_currency])
    rate = models.DecimalField(_("rate"), max_digits=18, decimal_places=8)
    valid_from = models.DateField(_("valid from"))
    note = models.CharField(_("note"), max_length=200, blank=True)
    created_at = models.DateTimeField(_("created"), auto_now_add=True)

    class Meta:
        verbose_name = _("exchange rate")
        verbose_name_plural = _("exchange rates")
        ordering = ["from_currency", "to_currency", "-valid_from"]
        constraints = [
            # Also the look-up of the rate in force on a day.
            models.UniqueConstraint(
                "from_currency", "to_currency", "valid_from", name="accounts_exchangerate_unique_day"
            ),
            models.CheckConstraint(condition=Q(rate__gt=0), name="accounts_exchangerate_positive"),
        ]

    def __str__(self) -> str:
        return f"1 {self.from_currency} = {self.rate.normalize():f} {self.to_currency}"

    def clean(self) -> None:
        """Raise `ValidationError` by field for a pair that is none, a rate that is none, a second one of a day, and one
        that would move the amounts of a closed month.
        """
        # It is made of rows of this model.
        from accounts.rates import moved_closed_day

        problems: dict[str, Any] = {}
        if self.from_currency and self.from_currency == self.to_currency:
            problems["to_currency"] = _("A currency is worth itself; choose another one.")
        if self.rate is not None and self.rate <= 0:
            problems["rate"] = _("A rate is more than 0.")
        same = ExchangeRate.objects.filter(
            from_currency=self.from_currency, to_currency=self.to_currency, valid_from=self.valid_from
        )
        if self.valid_from is not None and same.exclude(pk=self.pk).exists():
            problems["valid_from"] = _("There is a rate of these currencies from this day on already.")
        if not problems and self.valid_from is not None and self.rate is not None and self.from_currency:
            moved = moved_closed_day(self)
            if moved is not None:
                problems["valid_from"] = _(
                    "The month of %(day)s is closed, and its amounts are converted already; let the rate begin in an"
                    " open month."
                ) % {"day": moved}
        if problems:
            raise ValidationError(problems)
