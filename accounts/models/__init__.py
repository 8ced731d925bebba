"""People, keys, quotas, money and the books."""

from accounts.models.books import Attempt, CallRecord, UsageDaily, Worker
from accounts.models.people import ApiKey, KeyNetwork, Team, User
from accounts.models.quotas import Quota, QuotaRaise, QuotaWindow
from accounts.models.rates import ExchangeRate

__all__ = [
    "ApiKey",
    "Attempt",
    "CallRecord",
    "ExchangeRate",
    "KeyNetwork",
    "Quota",
    "QuotaRaise",
    "QuotaWindow",
    "Team",
    "UsageDaily",
    "User",
    "Worker",
]
