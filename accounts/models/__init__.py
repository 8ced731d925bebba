"""People, keys, quotas, money and the books."""

from accounts.models.audit import AuditEntry
from accounts.models.books import Attempt, CallRecord, UsageDaily, Worker
from accounts.models.closing import ClosedMonth, Correction, MonthlyExport
from accounts.models.invoices import Invoice, InvoiceLine
from accounts.models.notices import Notification, NotificationChannel
from accounts.models.people import ApiKey, KeyHandover, KeyNetwork, Team, User
from accounts.models.quotas import Quota, QuotaRaise, QuotaWindow
from accounts.models.rates import ExchangeRate

__all__ = [
    "ApiKey",
    "Attempt",
    "AuditEntry",
    "CallRecord",
    "ClosedMonth",
    "Correction",
    "ExchangeRate",
    "Invoice",
    "InvoiceLine",
    "KeyHandover",
    "KeyNetwork",
    "MonthlyExport",
    "Notification",
    "NotificationChannel",
    "Quota",
    "QuotaRaise",
    "QuotaWindow",
    "Team",
    "UsageDaily",
    "User",
    "Worker",
]
