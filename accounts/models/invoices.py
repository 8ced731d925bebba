"""What the providers say that they charged, to be held against the books."""

from django.db import models
from django.utils.translation import gettext_lazy as _

from accounts.models.people import User
from accounts.money import MoneyField
from providers.row import Row


class Invoice(Row):
    """An uploaded invoice file of one provider. Withdrawn, never deleted."""

    provider_name = models.CharField(_("provider"), max_length=60)
    currency = models.CharField(_("currency"), max_length=3)
    file_name = models.CharField(_("file"), max_length=200)
    sha256 = models.CharField(max_length=64, editable=False)
    note = models.CharField(_("note"), max_length=200, blank=True)
    is_withdrawn = models.BooleanField(_("withdrawn"), default=False)
    uploaded_by = models.ForeignKey(
        User, models.PROTECT, related_name="invoices", null=True, blank=True, verbose_name=_("uploaded by")
    )
    created_at = models.DateTimeField(_("uploaded"), auto_now_add=True)

    class Meta:
        verbose_name = _("invoice")
        verbose_name_plural = _("invoices")
        ordering = ["-created_at"]
        constraints = [
            # The same file twice would count twice.
            models.UniqueConstraint(
                "provider_name",
                "sha256",
                condition=models.Q(is_withdrawn=False),
                name="accounts_invoice_unique_file",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.provider_name}: {self.file_name}"


class InvoiceLine(models.Model):
    """What a provider charged for a day, of one model or of all."""

    invoice = models.ForeignKey(Invoice, models.CASCADE, related_name="lines", verbose_name=_("invoice"))
    date = models.DateField(_("date"))
    model_name = models.CharField(_("model"), max_length=200, blank=True)
    amount = MoneyField(_("amount"))
    tokens = models.BigIntegerField(_("tokens"), null=True, blank=True)

    class Meta:
        verbose_name = _("invoice line")
        verbose_name_plural = _("invoice lines")
        ordering = ["invoice_id", "date", "model_name"]
        # One provider's month.
        indexes = [models.Index("invoice", "date", name="accounts_invoiceline_day")]

    def __str__(self) -> str:
        return f"{self.date} {self.model_name}".rstrip()
